"""The gap between two seeds: both walks over the whole gap, blended, held to the interpolated shape."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.look_ahead import after
from ..engine.predictor import Request, SliceResult
from ..prompts.projection import Bounds, mask_bounds
from . import records
from .records import Run, SliceRecord
from .shapes import ShapeBlend, iou
from .step import parts_of, predict_from
from .stopping import Terms

LOGIT_LIMIT = 10.0
"""Logits are cut here before blending, so that one overconfident walk does not outvote the other."""
NEIGHBOURHOOD_PX = 8
"""Pixels farther than this from a walk's own mask and from the expected shape count as its background."""


@dataclass(frozen=True, eq=False)
class Opinion:
    """What one walk says about a slice, cropped to where it matters: a gap may be long.

    Attributes:
        logits: float32 [h, w], cut at +-``LOGIT_LIMIT``.
        bounds: pixels of the slice that they cover.
        predicted_iou: 0..1.
    """

    logits: np.ndarray
    bounds: Bounds
    predicted_iou: float

    @classmethod
    def of(cls, result: SliceResult, shape: np.ndarray) -> Opinion:
        """From the model's answer and the interpolated shape, which is not empty."""
        bounds = row0, row1, col0, col1 = _grown(result.mask | shape)
        logits = np.clip(result.logits[row0:row1, col0:col1], -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.float32)
        return cls(logits, bounds, float(result.predicted_iou))

    def within(self, bounds: Bounds) -> np.ndarray:
        """Logits on a larger rectangle; what was not kept is background."""
        out = np.full((bounds[1] - bounds[0], bounds[3] - bounds[2]), -LOGIT_LIMIT, dtype=np.float32)
        row0, row1, col0, col1 = self.bounds
        out[row0 - bounds[0] : row1 - bounds[0], col0 - bounds[2] : col1 - bounds[2]] = self.logits
        return out


def _grown(mask: np.ndarray) -> Bounds:
    row0, row1, col0, col1 = mask_bounds(mask)
    return (
        max(row0 - NEIGHBOURHOOD_PX, 0),
        min(row1 + NEIGHBOURHOOD_PX, mask.shape[0]),
        max(col0 - NEIGHBOURHOOD_PX, 0),
        min(col1 + NEIGHBOURHOOD_PX, mask.shape[1]),
    )


def fill_gap(
    run: Run, low: int, high: int, masks: tuple[np.ndarray, np.ndarray], terms: Terms
) -> Generator[Request, SliceResult, None]:
    """Fill the slices between seeds ``low`` and ``high``; none is ever left out.

    A slice at part ``w`` of the way gets the logits of the upward walk times ``1 - w`` plus those of the downward
    walk times ``w``. A result that overlaps the shape interpolated between the seeds (signed distances, in mm) by
    less than ``prior_iou`` is replaced by that shape.

    Args:
        run: filled from the upper seed down, when the upward walk is complete.
        low: lower seed slice.
        high: upper seed slice, at least ``low + 2``.
        masks: bool [H, W] masks of the two, not empty.
        terms: settings and geometry.
    """
    blend = ShapeBlend(*masks, terms.pixel_spacing)
    shapes = {index: blend.at((index - low) / (high - low)) for index in range(low + 1, high)}
    upward: dict[int, Opinion] = {}
    source, known = masks[0], terms.references((masks[0], low), (masks[1], high))
    for index in (up := range(low + 1, high)):
        result, source = yield from _chain(index, source, shapes[index], terms, known, after(up, index))
        upward[index] = Opinion.of(result, shapes[index])
    source = masks[1]
    for index in (down := range(high - 1, low, -1)):
        result, source = yield from _chain(index, source, shapes[index], terms, known, after(down, index))
        weight = (index - low) / (high - low)
        shape = shapes.pop(index)
        mask, predicted_iou = blended(upward.pop(index), Opinion.of(result, shape), weight, terms.shape)
        _decide(run, index, mask, predicted_iou, shape, terms)


def _chain(
    index: int, source: np.ndarray, shape: np.ndarray, terms: Terms, known: tuple[Any, ...], onward: range
) -> Generator[Request, SliceResult, tuple[SliceResult, np.ndarray]]:
    """One step of a walk; the next step starts from the shape when this one went astray."""
    result = yield from predict_from(index, parts_of(source, terms.settings), terms, known, onward)
    astray = iou(result.mask, shape) < terms.settings.prior_iou or not result.mask.any()
    return result, shape if astray else result.mask


def blended(upward: Opinion, downward: Opinion, weight: float, shape: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Mask bool [H, W] and predicted IoU of two opinions, the second with ``weight``."""
    pairs = list(zip(upward.bounds, downward.bounds, strict=True))
    bounds = min(pairs[0]), max(pairs[1]), min(pairs[2]), max(pairs[3])
    logits = (1 - weight) * upward.within(bounds) + weight * downward.within(bounds)
    mask = np.zeros(shape, dtype=bool)
    # Not 0: the halves of an exact tie differ by rounding when the stack is flipped.
    mask[bounds[0] : bounds[1], bounds[2] : bounds[3]] = logits > 1e-4
    return mask, (1 - weight) * upward.predicted_iou + weight * downward.predicted_iou


def _decide(run: Run, index: int, mask: np.ndarray, predicted_iou: float, shape: np.ndarray, terms: Terms) -> None:
    overlap, area = iou(mask, shape), int(np.count_nonzero(mask))
    refusal = None
    if not area:
        refusal = records.STOPPED_ABSENT
    elif terms.is_full(mask):
        refusal = records.STOPPED_FULL
    elif overlap < terms.settings.prior_iou:
        refusal = records.STOPPED_IOU
    reason = records.INTERPOLATED if refusal else records.BLEND
    record = SliceRecord(index, reason, iou=overlap, area=area, predicted_iou=predicted_iou, rejected=refusal)
    run.accept(record, shape if refusal else mask)
