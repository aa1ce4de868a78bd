"""One slice from its neighbour: project the mask, ask the model, join the parts."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from ..engine.look_ahead import NOWHERE
from ..engine.predictor import Request, SliceResult
from ..prompts.projection import mask_bounds, project
from .settings import PropagationSettings
from .stopping import Terms

Step = Generator[Request, SliceResult, SliceResult]
_EIGHT = np.ones((3, 3), dtype=bool)


def parts_of(mask: np.ndarray, settings: PropagationSettings) -> list[np.ndarray]:
    """The components of a mask that are worth a prompt of their own, largest first; the mask itself when it is one.

    A box around two blobs tends to return one of them or the filled hull, so a structure that splits is followed
    part by part (spec 1.1.7).
    """
    bounds = mask_bounds(mask)
    if bounds is None:
        return []
    if not settings.multi_component:
        return [mask]
    row0, row1, col0, col1 = bounds
    labels, count = ndimage.label(mask[row0:row1, col0:col1], structure=_EIGHT)
    if count == 1:
        return [mask]
    sizes = np.bincount(labels.ravel())[1:]
    worthy = np.flatnonzero(sizes >= settings.min_component * sizes.sum())
    worthy = worthy[np.argsort(-sizes[worthy], kind="stable")][: settings.max_components]
    if not len(worthy):
        worthy = [int(np.argmax(sizes))]
    parts = []
    for label in worthy:
        part = np.zeros_like(mask)
        part[row0:row1, col0:col1] = labels == label + 1
        parts.append(part)
    return parts


def predict_from(
    index: int,
    parts: list[np.ndarray],
    terms: Terms,
    references: tuple[Any, ...] = (),
    onward: Sequence[int] = NOWHERE,
) -> Step:
    """Ask for slice ``index`` with prompts from the parts of a neighbour's mask (at least one, none empty).

    Args:
        index: slice.
        parts: from :func:`parts_of`.
        terms: settings and geometry.
        references: from :meth:`Terms.references`.
        onward: slices that the walk comes to next, see ``Request``.

    Returns:
        The union of the answers: logits are the largest, the predicted IoU is weighted by area.
    """
    settings = terms.settings
    # A single point is SAM's weakest prompt on the single-mask output; the best of three candidates serves it better.
    single_mask = not settings.projection.single
    answers = []
    for part in parts:
        prompts = project(
            part, settings.projection, box_extension=settings.box_extension, min_margin_px=terms.min_margin_px
        )
        prompts = replace(prompts, references=references)
        near = settings.near is not False
        answers.append((yield Request(index, prompts, propagated=single_mask, near=near, onward=onward)))
    return answers[0] if len(answers) == 1 else _joined(answers)


def _joined(answers: list[SliceResult]) -> SliceResult:
    areas = np.array([max(np.count_nonzero(answer.mask), 1) for answer in answers], dtype=np.float64)
    scores = [answer.object_score for answer in answers if answer.object_score is not None]
    return SliceResult(
        mask=np.logical_or.reduce([answer.mask for answer in answers]),
        logits=np.maximum.reduce([answer.logits for answer in answers]),
        predicted_iou=float(np.average([answer.predicted_iou for answer in answers], weights=areas)),
        object_score=max(scores) if scores else None,
        candidates=max(answer.candidates for answer in answers),
    )
