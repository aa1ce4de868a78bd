"""Why a slice is accepted or refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..engine.predictor import SlicePredictor, SliceResult
from ..prompts.projection import mask_bounds
from . import records
from .records import SliceRecord
from .settings import PropagationSettings
from .shapes import centroid, iou, shifted

MAX_DEPTH = 3.0
"""Half in-plane sizes beyond which the doubt of depth grows no more."""
SMALLEST_DROP = 0.05
MAX_OBLIQUITY_DEG = 60.0
"""Steepest course of a structure to the slice normal that motion compensation follows."""


@dataclass(frozen=True)
class Terms:
    """Settings together with the geometry of the slices that they apply to.

    Attributes:
        settings: the user's.
        shape: (rows, columns).
        pixel_spacing: (row, column) in mm.
        slice_spacing: mm.
        goes_on: the predictor's method of that name, or None.
    """

    settings: PropagationSettings
    shape: tuple[int, int]
    pixel_spacing: tuple[float, float]
    slice_spacing: float
    goes_on: Callable[[np.ndarray, int, int], bool | None] | None = None

    @classmethod
    def of(cls, settings: PropagationSettings, predictor: SlicePredictor) -> Terms:
        """Terms for the slices of a predictor."""
        return cls(
            settings,
            tuple(predictor.shape),
            tuple(predictor.pixel_spacing),
            float(predictor.slice_spacing),
            getattr(predictor, "goes_on", None),
        )

    @property
    def min_margin_px(self) -> tuple[float, float]:
        """Smallest margin of a projected box, (rows, columns): half a slice spacing, unless set in mm."""
        margin = self.settings.box_extension_mm
        margin = 0.5 * self.slice_spacing if margin is None else margin
        return margin / self.pixel_spacing[0], margin / self.pixel_spacing[1]

    @property
    def max_shift_mm(self) -> float:
        """Farthest that motion compensation moves a mask from one slice to the next."""
        return self.slice_spacing * math.tan(math.radians(MAX_OBLIQUITY_DEG))

    def is_full(self, mask: np.ndarray) -> bool:
        """True when a mask covers so much of the slice that it cannot be an object."""
        return np.count_nonzero(mask) >= self.settings.full_fraction * mask.size


class Confidence:
    """How low the predicted IoU may fall on the way outward: a fall below the best so far, less with every step deeper.

    Args:
        terms: settings and geometry.
        seed: mask of the seed slice, not empty.
        start: its index.
    """

    def __init__(self, terms: Terms, seed: np.ndarray, start: int) -> None:
        self._terms, self._start, self._best = terms, start, 0.0
        row0, row1, col0, col1 = mask_bounds(seed)
        height, width = (row1 - row0) * terms.pixel_spacing[0], (col1 - col0) * terms.pixel_spacing[1]
        self._half_size_mm = (height + width) / 4

    def least(self, index: int) -> float:
        """Smallest predicted IoU with which slice ``index`` is accepted."""
        settings = self._terms.settings
        if settings.confidence_drop >= 1:
            return 0.0
        depth = abs(index - self._start) * self._terms.slice_spacing / self._half_size_mm
        beyond = min(max(depth - 1.0, 0.0), MAX_DEPTH - 1.0)
        allowed = settings.confidence_drop - settings.depth_doubt * beyond
        return self._best - max(allowed, min(SMALLEST_DROP, settings.confidence_drop))

    def accept(self, predicted_iou: float) -> None:
        """Remember an accepted slice."""
        self._best = max(self._best, predicted_iou)


def judge(
    terms: Terms,
    last: np.ndarray,
    index: int,
    result: SliceResult,
    accepted: str,
    steps: int = 1,
    least: float = 0.0,
) -> SliceRecord:
    """Compare a slice's mask with the last accepted one.

    Args:
        terms: settings and geometry.
        last: last accepted mask, not empty.
        index: slice of ``result``.
        result: the model's answer.
        accepted: reason to record when nothing is wrong.
        steps: slices from ``last`` to here.
        least: predicted IoU below which the mask is refused (:class:`Confidence`).

    Returns:
        A record whose reason is ``accepted`` or ``stopped:...``: absent, full, object_score, iou, area,
        predicted_iou, confidence, the first that applies.
    """
    settings, mask = terms.settings, result.mask
    area = int(np.count_nonzero(mask))
    numbers = {
        "area": area,
        "predicted_iou": float(result.predicted_iou),
        "object_score": None if result.object_score is None else float(result.object_score),
    }
    if not area:
        return SliceRecord(index, records.STOPPED_ABSENT, iou=0.0, area_ratio=0.0, **numbers)
    shift = _displacement(terms, last, mask, steps) if settings.motion_compensation else None
    overlap = iou(last if shift is None else shifted(last, shift), mask)
    ratio = area / np.count_nonzero(last)
    if terms.is_full(mask):
        reason = records.STOPPED_FULL
    elif result.object_score is not None and result.object_score <= 0:
        reason = records.STOPPED_OBJECT_SCORE
    elif overlap < settings.iou_threshold:
        reason = records.STOPPED_IOU
    elif not 1 / settings.area_ratio <= ratio <= settings.area_ratio:
        reason = records.STOPPED_AREA
    elif result.predicted_iou < settings.predicted_iou_threshold:
        reason = records.STOPPED_PREDICTED_IOU
    elif result.predicted_iou < least:
        reason = records.STOPPED_CONFIDENCE
    else:
        reason = accepted
    return SliceRecord(index, reason, iou=overlap, area_ratio=float(ratio), shift=shift, **numbers)


def _displacement(terms: Terms, last: np.ndarray, mask: np.ndarray, steps: int) -> tuple[int, int]:
    """Movement of the centroid in whole pixels; (0, 0) when it is farther than a structure can lean."""
    moved = np.subtract(centroid(mask), centroid(last))
    if np.hypot(*(moved * terms.pixel_spacing)) > steps * terms.max_shift_mm:
        return 0, 0
    rows, cols = np.rint(moved)
    return int(rows), int(cols)
