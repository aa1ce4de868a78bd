"""Why a slice is accepted or refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.predictor import SlicePredictor, SliceResult
from . import records
from .records import SliceRecord
from .settings import PropagationSettings
from .shapes import centroid, iou, shifted

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
        goes_on, contrast, mean_under, reference: the predictor's methods of these names, or None.
    """

    settings: PropagationSettings
    shape: tuple[int, int]
    pixel_spacing: tuple[float, float]
    slice_spacing: float
    goes_on: Callable[[np.ndarray, int, int], bool | None] | None = None
    contrast: Callable[[np.ndarray, int], tuple[float, float] | None] | None = None
    mean_under: Callable[[np.ndarray, int], float] | None = None
    reference: Callable[[np.ndarray, int], Any | None] | None = None

    @classmethod
    def of(cls, settings: PropagationSettings, predictor: SlicePredictor) -> Terms:
        """Terms for the slices of a predictor."""
        return cls(
            settings,
            tuple(predictor.shape),
            tuple(predictor.pixel_spacing),
            float(predictor.slice_spacing),
            *(getattr(predictor, name, None) for name in ("goes_on", "contrast", "mean_under", "reference")),
        )

    @property
    def min_margin_px(self) -> tuple[float, float]:
        """Smallest margin of a projected box, (rows, columns): half a pixel, unless set in mm."""
        margin = self.settings.box_extension_mm
        if margin is None:
            return 0.5, 0.5
        return margin / self.pixel_spacing[0], margin / self.pixel_spacing[1]

    def references(self, *known: tuple[np.ndarray, int]) -> tuple[Any, ...]:
        """What the object looks like under masks of slices where it is known, as far as the model can use it."""
        if self.reference is None:
            return ()
        found = (self.reference(mask, index) for mask, index in known)
        return tuple(reference for reference in found if reference is not None)

    @property
    def max_shift_mm(self) -> float:
        """Farthest that motion compensation moves a mask from one slice to the next."""
        return self.slice_spacing * math.tan(math.radians(MAX_OBLIQUITY_DEG))

    def is_full(self, mask: np.ndarray) -> bool:
        """True when a mask covers so much of the slice that it cannot be an object."""
        return np.count_nonzero(mask) >= self.settings.full_fraction * mask.size


def judge(
    terms: Terms,
    last: np.ndarray,
    index: int,
    result: SliceResult,
    accepted: str,
    steps: int = 1,
    least: float = 0.0,
    appearance: float | None = None,
) -> SliceRecord:
    """Compare a slice's mask with the last accepted one.

    Args:
        terms: settings and geometry.
        last: last accepted mask, not empty.
        index: slice of ``result``.
        result: the model's answer.
        accepted: reason to record when nothing is wrong.
        steps: slices from ``last`` to here.
        least: predicted IoU below which the mask is refused (``evidence.Confidence``).
        appearance: part of the seed's contrast that is left, or None (``evidence.Appearance``).

    Returns:
        A record whose reason is ``accepted`` or ``stopped:...``: absent, full, object_score, iou, area,
        predicted_iou, confidence, appearance, the first that applies.
    """
    settings, mask = terms.settings, result.mask
    area = int(np.count_nonzero(mask))
    numbers = {
        "area": area,
        "predicted_iou": float(result.predicted_iou),
        "appearance": appearance,
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
    elif appearance is not None and appearance < settings.appearance:
        reason = records.STOPPED_APPEARANCE
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
