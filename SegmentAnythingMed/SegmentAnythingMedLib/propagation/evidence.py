"""What a walk remembers of the object in order to notice that it has lost it."""

from __future__ import annotations

import numpy as np

from ..prompts.projection import mask_bounds
from .stopping import Terms

MAX_DEPTH = 3.0
"""Half in-plane sizes beyond which the doubt of depth grows no more."""
SMALLEST_DROP = 0.05


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


class Appearance:
    """How much of the seed's contrast is left under a mask: 1 looks like the object, 0 like what surrounded it.

    Args:
        terms: settings, geometry and the predictor's pixels.
        seed: mask of the seed slice, not empty.
        start: its index.
    """

    def __init__(self, terms: Terms, seed: np.ndarray, start: int) -> None:
        self._mean_under = terms.mean_under
        wanted = terms.settings.appearance > 0 and terms.contrast is not None and terms.mean_under is not None
        self._contrast = terms.contrast(seed, start) if wanted else None

    def share(self, mask: np.ndarray, index: int) -> float | None:
        """For a mask on slice ``index``; None where the seed does not stand out or the mask is empty."""
        if self._contrast is None or not mask.any():
            return None
        inside, outside = self._contrast
        return (self._mean_under(mask, index) - outside) / (inside - outside)
