"""Part matching (P2SAM) as one of the opinions: where on a slice do the parts of the prior's structure lie?

Into how many parts a structure is split is decided once, on the prior, and kept for the whole volume: a number that
changes from slice to slice makes a structure flicker.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from ..engine.results import SessionResult
from ..engine.session import Session
from ..prompts.projection import mask_bounds
from ..prompts.types import SlicePrompts
from ..propagation.shapes import dice
from . import visit_results as words_of
from .candidates import Asker, Candidate
from .mask_distance import distance_to
from .one_shot import OneShotMethod
from .references import PriorLooks
from .views import View, square_region, view

COUNTS = (1, 2, 3)
"""Numbers of parts that are tried on the prior."""
_SIDE = 2.0
"""Side of the part of the slice that is searched, in sizes of the structure, plus the distance searched."""
_TRIALS = 3
"""Slices of the prior on which the number of parts is chosen."""
_AS_GOOD = 0.005
"""Mean Dice below the best one with which a smaller number of parts is preferred."""


class PartMatcher:
    """Finds one structure by its parts, in a square around where it is expected.

    Args:
        looks: the structure on the prior.
        method_of: number of parts -> the method with that number, usually P2SAM.
        reach_mm: positive points lie within this distance of the expected mask.
    """

    def __init__(self, looks: PriorLooks, method_of: Callable[[int], OneShotMethod], reach_mm: float) -> None:
        self.looks, self.reach_mm = looks, reach_mm
        self._methods = {count: method_of(count) for count in COUNTS}

    @cached_property
    def parts(self) -> int:
        """Parts of the structure: the smallest number that finds it best on slices of the prior, each by the others."""
        slices = self.looks.indices
        places = np.linspace(0, len(slices) - 1, min(_TRIALS, len(slices)))
        tried = sorted({slices[int(place + 0.5)] for place in places})
        scores = {count: float(np.mean([self._trial(method, n) for n in tried])) for count, method in
                  self._methods.items()}  # fmt: skip
        return min(count for count, score in scores.items() if score >= max(scores.values()) - _AS_GOOD)

    def _trial(self, method: OneShotMethod, index: int) -> float:
        truth, session = self.looks.mask[index], self.looks.session
        others = self.looks.one_shot(index, without=index) or self.looks.one_shot(index)
        target = self._target(session, index, truth)
        return dice(method.segment(others, target, restrict=self._near(session, truth)).mask, truth)

    def match(self, asker: Asker, index: int, expected: np.ndarray) -> Candidate:
        """What part matching finds on a slice of the follow-up.

        Args:
            asker: of the structure.
            index: slice of the arena.
            expected: bool [H, W], not empty.
        """
        session = asker.arena.follow_up
        target = self._target(session, index, expected)
        result = self._methods[self.parts].segment(
            self.looks.one_shot(index), target,
            restrict=self._near(session, expected), avoid=asker.arena.neighbours[index] & ~expected,
        )  # fmt: skip
        answer = SessionResult(
            mask=result.mask,
            logits=result.logits,
            predicted_iou=float(np.nan_to_num(result.predicted_iou)),
            region=target.frame.region,
        )
        prompts = SlicePrompts(points=result.points, labels=result.labels)
        return asker.measured(index, words_of.MATCHED, answer, None if prompts.empty else prompts)

    def _target(self, session: Session, index: int, expected: np.ndarray) -> View:
        row0, row1, col0, col1 = mask_bounds(expected)
        dy, dx = session.pixel_spacing
        longest = max((row1 - row0) * dy, (col1 - col0) * dx)
        centre = ((col0 + col1 - 1) / 2, (row0 + row1 - 1) / 2)
        return view(session, index, square_region(session, centre, _SIDE * longest + self.reach_mm))

    def _near(self, session: Session, expected: np.ndarray) -> np.ndarray:
        return distance_to(expected, session.pixel_spacing) <= self.reach_mm
