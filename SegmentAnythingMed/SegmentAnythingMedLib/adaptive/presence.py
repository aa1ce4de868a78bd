"""Is the structure on this slice? Asked of a candidate, answered with a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .candidates import Candidate

LEAST_SHARE = 0.3
"""Part of the prior's contrast to its surroundings that must be left."""
LEAST_IOU = 0.1
LEAST_PX = 4


@dataclass(frozen=True)
class PresenceRule:
    """When a slice shows the structure.

    Attributes:
        presence: largest appearance distance, in units of the prior's own, for a slice of a structure that is there.
        sure: the same where there is no other evidence: for the structure as a whole, beyond its expected ends, and for
            part matches.
        displacement_mm: largest distance of the centroid from the expected one.
        least_px: smallest area in pixels.
    """

    presence: float
    sure: float
    displacement_mm: float
    least_px: float = LEAST_PX

    def verdict(self, candidate: Candidate, *, sure: bool = False) -> tuple[bool, str]:
        """Present or not, and why not (empty when present); ``sure`` asks for more."""
        limit = self.sure if sure else self.presence
        area = int(np.count_nonzero(candidate.mask))
        if not area:
            return False, "the model finds nothing that looks like it"
        if area < self.least_px:
            return False, f"only {area} pixels are left"
        if candidate.rho is not None and candidate.rho > limit:
            return False, f"looks {candidate.rho:.1f} times as unlike the prior as its own slices do"
        if candidate.share is not None and candidate.share < LEAST_SHARE:
            return False, f"{max(candidate.share, 0):.0%} of its contrast to the surroundings is left"
        if candidate.predicted_iou is not None and candidate.predicted_iou < LEAST_IOU:
            return False, "the model itself does not trust its answer"
        if candidate.displacement_mm is not None and candidate.displacement_mm > self.displacement_mm:
            return False, f"lies {candidate.displacement_mm:.0f} mm from where it is expected"
        return True, ""
