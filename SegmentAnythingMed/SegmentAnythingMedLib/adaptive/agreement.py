"""Two opinions about one structure, compared: the warped contour (W) and what the model found (S)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Agreement:
    """Figures of one structure on the follow-up.

    Attributes:
        nsd: share of both surfaces of S and W within ``tolerance_mm`` of each other, 0..1.
        dice: overlap of S and W, 0..1.
        tolerance_mm: of ``nsd``.
        volume_to_warped: volume of S / volume of W; None when W is empty.
        volume_to_prior: volume of S / volume of the structure on the prior visit.
        centroid_shift_mm: distance between the centroids of S and W; None when one is empty.
        roughness: how much the areas of S jump from slice to slice, 0 (smooth) to about 2 (every other slice missing).
        roughness_warped: the same of W, for comparison.
        distance_ratio: appearance distance of S to the prior as a multiple of the prior's own, or None.
        predicted_iou: the model's own estimate, 0..1, or None.
        box_dice: overlap of S with the mask from the warped box alone, 0..1, or None.
        gaps_mm: slice -> distance in mm between the contours of S and W there (larger of the two directed
            95th percentiles, within the slice); infinite where only one of them has the structure.
    """

    nsd: float
    dice: float
    volume_to_warped: float | None
    volume_to_prior: float
    centroid_shift_mm: float | None
    roughness: float
    roughness_warped: float
    tolerance_mm: float = 2.0
    distance_ratio: float | None = None
    predicted_iou: float | None = None
    box_dice: float | None = None
    gaps_mm: Mapping[int, float] = field(default_factory=dict)
