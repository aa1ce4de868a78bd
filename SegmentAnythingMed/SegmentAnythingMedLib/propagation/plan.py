"""Which walks one object needs, given its seeds and stop marks; each depends on nothing but its ends."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from . import records
from .outward import Outward


@dataclass(frozen=True)
class Gap:
    """Slices between two seeds that have no stop mark between them."""

    low: int
    high: int

    @property
    def most(self) -> int:
        """Slices to ask: each twice, on the way up and down."""
        return 2 * (self.high - self.low - 1)


def plan(
    seeds: list[int], stops: list[int], count: int, limits: tuple[int, int] | None
) -> tuple[list[Gap], list[Outward]]:
    """Gaps and outward walks.

    Stop marks split the range: a walk never touches one, and a gap that contains any becomes two walks that end at
    them (micro-sam left more than two stop marks undefined).

    Args:
        seeds: sorted slices with a mask, at least one.
        stops: sorted stop marks, none of them a seed.
        count: slices of the stack.
        limits: first and last slice that may be touched, or None.

    Returns:
        Gaps in order, and walks: upward ones before downward ones.
    """
    low, high = limits or (0, count - 1)
    below = Outward(seeds[0], max(low, 0) - 1, records.EDGE if low <= 0 else records.LIMIT)
    above = Outward(seeds[-1], min(high, count - 1) + 1, records.EDGE if high >= count - 1 else records.LIMIT)
    gaps: list[Gap] = []
    up, down = [_stopped(above, stops)], [_stopped(below, stops)]
    for left, right in pairwise(seeds):
        inner = [stop for stop in stops if left < stop < right]
        if inner:
            up.append(Outward(left, inner[0], records.STOPPED_USER))
            down.append(Outward(right, inner[-1], records.STOPPED_USER))
        elif right - left > 1:
            gaps.append(Gap(left, right))
    return gaps, [*up, *down]


def _stopped(course: Outward, stops: list[int]) -> Outward:
    """The same walk, ended earlier by a stop mark on its way."""
    on_the_way = range(course.start + course.step, course.barrier, course.step)
    for index in on_the_way:
        if index in stops:
            return Outward(course.start, index, records.STOPPED_USER)
    return course
