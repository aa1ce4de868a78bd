"""What SAM 2 remembers of an object while it walks through the slices, and no more than it can read.

A slice leaves a map (what the object looked like there) and a pointer (which object it was). Slices that the user
prompted are *conditioning*: they are read from everywhere. Of the others the network reads the maps of the last six and
the pointers of the last fifteen, so older ones are forgotten and a long volume costs no more than a short one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAP_REACH = 6
"""Slices back whose maps SAM 2 reads (its seven memories less the conditioning one)."""
POINTER_REACH = 15
"""Slices back whose pointers it reads (sixteen less one)."""
CORRECTION_REACH = 7
"""Slices on either side of a corrected one whose memory may carry the mistake."""


@dataclass(frozen=True, eq=False)
class SliceMemory:
    """What one slice leaves behind; made and read by the tracker only.

    Attributes:
        map: [1, C, h, w] on the tracker's device, or None when it is out of reach and only the pointer is left.
        pointer: [1, D].
        score: logit of "the object is on this slice".
    """

    map: Any
    pointer: Any
    score: float

    @property
    def nbytes(self) -> int:
        """Bytes of map and pointer."""
        return sum(int(array.nbytes) for array in (self.map, self.pointer) if array is not None)


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network reads for one slice.

    Attributes:
        conditioning: slice -> memory, in the order of the slices.
        recent: slice -> memory of other slices.
    """

    conditioning: Mapping[int, SliceMemory]
    recent: Mapping[int, SliceMemory]


class MemoryBank:
    """Memory of one object.

    Args:
        conditioning: memories of prompted slices.
        most: conditioning slices that one slice reads: the nearest before, the nearest after, then the nearest of the
            others; 0 reads all.
        keep: slices whose memory is kept although the walk has left them behind (``range``), for a second walk.
    """

    def __init__(self, conditioning: Mapping[int, SliceMemory], most: int = 0, keep: range | tuple[()] = ()) -> None:
        self._conditioning = dict(sorted(conditioning.items()))
        self._recent: dict[int, SliceMemory] = {}
        self._most, self._keep = most, keep

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is remembered."""
        return sum(memory.nbytes for memory in (*self._conditioning.values(), *self._recent.values()))

    @property
    def recent(self) -> Mapping[int, SliceMemory]:
        """Memories of slices that are not conditioning."""
        return self._recent

    def remember(self, index: int, memory: SliceMemory, step: int) -> None:
        """Keep the memory of a slice on a walk in direction ``step`` (+1 or -1), and drop what is out of reach.

        The next slice is ``index + step``: it reads maps of slices up to ``MAP_REACH`` behind itself, pointers up to
        ``POINTER_REACH``.
        """
        self._recent[index] = memory
        for other in list(self._recent):
            behind = (index + step - other) * step
            if other in self._keep:
                continue
            if behind > POINTER_REACH or behind < 0:
                del self._recent[other]
            elif behind > MAP_REACH and self._recent[other].map is not None:
                old = self._recent[other]
                self._recent[other] = SliceMemory(None, old.pointer, old.score)

    def read(self, index: int, backward: bool = False) -> Reading:
        """What slice ``index`` reads on a walk forward or backward.

        Conditioning slices that are not among ``most`` are read as ordinary ones where they are near enough, as
        SAM 2 does (``select_closest_cond_frames``).
        """
        chosen = nearest(index, self._conditioning, self._most)
        conditioning = {n: memory for n, memory in self._conditioning.items() if n in chosen}
        others = {n: memory for n, memory in self._conditioning.items() if n not in chosen}
        recent = {}
        for n, memory in {**others, **self._recent}.items():
            behind = n - index if backward else index - n
            if 0 < behind <= POINTER_REACH:
                recent[n] = memory if behind <= MAP_REACH else SliceMemory(None, memory.pointer, memory.score)
        return Reading(conditioning, recent)


def nearest(index: int, slices: Mapping[int, Any] | list[int], most: int) -> set[int]:
    """The conditioning slices that slice ``index`` reads: the nearest before it, the nearest after it, then others."""
    if most <= 0 or len(slices) <= most:
        return set(slices)
    before = max((n for n in slices if n < index), default=None)
    after = min((n for n in slices if n >= index), default=None)
    chosen = [n for n in (before, after) if n is not None]
    if most == 1:
        return {min(chosen, key=lambda n: abs(n - index))}
    others = sorted((n for n in slices if n not in chosen), key=lambda n: abs(n - index))
    return {*chosen, *others[: most - len(chosen)]}
