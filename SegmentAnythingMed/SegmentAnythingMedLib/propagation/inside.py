"""The gap between two seeds: both walks over the whole gap, blended, held to the interpolated shape."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from . import records
from .predictor import Request, SliceResult
from .records import Run, SliceRecord
from .shapes import ShapeBlend, iou
from .step import parts_of, predict_from
from .stopping import Terms

LOGIT_LIMIT = 10.0
"""Logits are cut here before blending, so that one overconfident walk does not outvote the other."""


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
    upward: dict[int, tuple[np.ndarray, float]] = {}
    source = masks[0]
    for index in range(low + 1, high):
        result, source = yield from _chain(index, source, shapes[index], terms)
        upward[index] = _kept(result)
    source = masks[1]
    for index in range(high - 1, low, -1):
        result, source = yield from _chain(index, source, shapes[index], terms)
        weight = (index - low) / (high - low)
        _decide(run, index, weight, upward.pop(index), _kept(result), shapes.pop(index), terms)


def _chain(
    index: int, source: np.ndarray, shape: np.ndarray, terms: Terms
) -> Generator[Request, SliceResult, tuple[SliceResult, np.ndarray]]:
    """One step of a walk; the next step starts from the shape when this one went astray."""
    result = yield from predict_from(index, parts_of(source, terms.settings), terms)
    astray = iou(result.mask, shape) < terms.settings.prior_iou or not result.mask.any()
    return result, shape if astray else result.mask


def _kept(result: SliceResult) -> tuple[np.ndarray, float]:
    """Logits as they wait for the other walk (float16: a gap may be long) and the predicted IoU."""
    return np.clip(result.logits, -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.float16), float(result.predicted_iou)


def _decide(
    run: Run,
    index: int,
    weight: float,
    upward: tuple[np.ndarray, float],
    downward: tuple[np.ndarray, float],
    shape: np.ndarray,
    terms: Terms,
) -> None:
    logits = np.float32(1 - weight) * upward[0] + np.float32(weight) * downward[0]
    mask = logits > 1e-4  # not 0: the halves of an exact tie differ by rounding when the stack is flipped
    overlap, area = iou(mask, shape), int(np.count_nonzero(mask))
    fits = area > 0 and overlap >= terms.settings.prior_iou and not terms.is_full(mask)
    record = SliceRecord(
        index,
        records.BLEND if fits else records.INTERPOLATED,
        iou=overlap,
        area=area,
        predicted_iou=(1 - weight) * upward[1] + weight * downward[1],
        rejected=None if fits else _refusal(area, terms.is_full(mask)),
    )
    run.accept(record, mask if fits else shape)


def _refusal(area: int, full: bool) -> str:
    if not area:
        return records.STOPPED_ABSENT
    return records.STOPPED_FULL if full else records.STOPPED_IOU
