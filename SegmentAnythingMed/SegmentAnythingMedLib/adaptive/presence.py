"""Is the structure on this slice? Asked of a candidate, answered with a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .candidates import Candidate

LEAST_SHARE, LEAST_SHARE_AS_SURE = 0.3, 0.1
"""Part of the prior's contrast to its surroundings that must be left; where the model is as sure as on the prior."""
LEAST_IOU = 0.1
LEAST_PX = 4

UNSURE, AS_SURE = 0.65, 0.9
"""Predicted IoU over that on the prior's own slices: below, an answer convinces nobody; from there, it does sooner."""


@dataclass(frozen=True)
class PresenceRule:
    """When a slice shows the structure.

    Attributes:
        presence: largest appearance distance, in units of the prior's own, for a slice of a structure that is there.
        sure: the same where there is no other evidence: for the structure as a whole, beyond its expected ends, and for
            part matches.
        displacement_mm: largest distance of the centroid from the expected one.
        least_px: smallest area in pixels.
        iou: predicted IoU of the model on the prior's own slices; None or 0 where it tells nothing.
    """

    presence: float
    sure: float
    displacement_mm: float
    least_px: float = LEAST_PX
    iou: float | None = None

    def convincing(self, candidate: Candidate) -> bool:
        """Whether an answer shows the structure where nothing else tells that it is there.

        A model that is as sure as on the prior's own slices may find it a little changed; one that is much less sure
        may have outlined what is left of its surroundings.
        """
        if self._surety(candidate) < UNSURE:
            return False
        return self.verdict(candidate, sure=self._surety(candidate) < AS_SURE)[0]

    def certain(self, candidates: Sequence[Candidate]) -> bool:
        """Whether the model is as sure of most of the answers as on the prior's own slices."""
        return 2 * sum(self._surety(candidate) >= AS_SURE for candidate in candidates) > len(candidates)

    def _surety(self, candidate: Candidate) -> float:
        """Predicted IoU over that on the prior's own slices; in between where either is not known."""
        if not self.iou or candidate.predicted_iou is None:
            return (UNSURE + AS_SURE) / 2
        return candidate.predicted_iou / self.iou

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
        least = LEAST_SHARE if self._surety(candidate) < AS_SURE else LEAST_SHARE_AS_SURE
        if candidate.share is not None and candidate.share < least:
            return False, f"{max(candidate.share, 0):.0%} of its contrast to the surroundings is left"
        if candidate.predicted_iou is not None and candidate.predicted_iou < LEAST_IOU:
            return False, "the model itself does not trust its answer"
        if candidate.displacement_mm is not None and candidate.displacement_mm > self.displacement_mm:
            return False, f"lies {candidate.displacement_mm:.0f} mm from where it is expected"
        return True, ""
