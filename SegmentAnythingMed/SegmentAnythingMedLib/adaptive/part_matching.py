"""Part matching (P2SAM) as one of the opinions: where on a slice do the parts of the prior's structure lie?"""

from __future__ import annotations

import numpy as np

from ..engine.results import SessionResult
from ..prompts.projection import mask_bounds
from ..prompts.types import SlicePrompts
from . import visit_results as words_of
from .candidates import Asker, Candidate
from .mask_distance import distance_to
from .one_shot import OneShotMethod
from .views import square_region, view

_SIDE = 2.0
"""Side of the part of the slice that is searched, in sizes of the structure, plus the distance searched."""


class PartMatcher:
    """Finds a structure by its parts, in a square around where it is expected.

    Args:
        method: usually P2SAM.
        reach_mm: positive points lie within this distance of the expected mask.
    """

    def __init__(self, method: OneShotMethod, reach_mm: float) -> None:
        self.method, self.reach_mm = method, reach_mm

    def match(self, asker: Asker, index: int, expected: np.ndarray) -> Candidate:
        """What part matching finds on a slice.

        Args:
            asker: of the structure.
            index: slice of the arena.
            expected: bool [H, W], not empty.
        """
        session = asker.arena.follow_up
        row0, row1, col0, col1 = mask_bounds(expected)
        dy, dx = session.pixel_spacing
        longest = max((row1 - row0) * dy, (col1 - col0) * dx)
        centre = ((col0 + col1 - 1) / 2, (row0 + row1 - 1) / 2)
        region = square_region(session, centre, _SIDE * longest + self.reach_mm)
        target = view(session, index, region)
        near = distance_to(expected, session.pixel_spacing) <= self.reach_mm
        result = self.method.segment(
            asker.looks.one_shot(index), target, restrict=near, avoid=asker.arena.neighbours[index] & ~expected
        )
        answer = SessionResult(
            mask=result.mask,
            logits=result.logits,
            predicted_iou=float(np.nan_to_num(result.predicted_iou)),
            region=target.frame.region,
        )
        prompts = SlicePrompts(points=result.points, labels=result.labels)
        return asker.measured(index, words_of.MATCHED, answer, None if prompts.empty else prompts)
