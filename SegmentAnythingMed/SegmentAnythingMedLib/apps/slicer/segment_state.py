"""What the controller remembers of a segment between two prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...prompts.volume_prompts import MaskPrompt
    from ...propagation.records import SliceRecord
    from .requests import CandidatesResult


@dataclass(frozen=True, eq=False)
class Candidates:
    """SAM's masks for the prompts of one slice.

    Attributes:
        index: slice.
        predicted_iou: of each, best first.
        chosen: the one that is in the segment, or -1 when none of them is.
    """

    index: int
    predicted_iou: tuple[float, ...]
    chosen: int


@dataclass
class SegmentState:
    """One segment on one volume and axis.

    Attributes:
        axis: ``k``, ``j`` or ``i``.
        marks: slice -> mark of the prompts whose mask was written last; a slice is done again when it differs.
        records: slice -> record, for the table.
        chosen: slice -> (mark of the prompts, mask that the user chose among the candidates).
        offered: candidates of the slice that was prompted last, or None.
        seeds: slices of a segment that the user wants as seeds; not kept with the scene.
        kinds: what sorts of prompts were answered last, in order.
        moving: the last answer was to prompts that had only been moved.
    """

    axis: str
    marks: dict[int, str] = field(default_factory=dict)
    records: dict[int, SliceRecord] = field(default_factory=dict)
    chosen: dict[int, tuple[str, np.ndarray]] = field(default_factory=dict)
    offered: CandidatesResult | None = None
    seeds: tuple[MaskPrompt, ...] = ()
    kinds: tuple[str, ...] = ()
    moving: bool = False

    def moved(self, kinds: tuple[str, ...]) -> bool:
        """Take note of the prompts that are answered now; True in the middle of a move, which is one undo step."""
        was_moving, self.moving = self.moving, kinds == self.kinds
        self.kinds = kinds
        return self.moving and was_moving

    def chosen_for(self, marks: Mapping[int, str]) -> dict[int, np.ndarray]:
        """Chosen masks whose prompts are still the same."""
        return {index: mask for index, (mark, mask) in self.chosen.items() if marks.get(index) == mark}


class Before:
    """What was on the slices of a segment before the first mask since the last accept.

    Attributes:
        tag: provenance at that time, or None while nothing was written since.
    """

    def __init__(self) -> None:
        self.tag: str | None = None
        self._kept: dict[tuple[str, int], tuple[np.ndarray, tuple[int, int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    def knows(self, axis: str, index: int) -> bool:
        """True if the slice is kept already."""
        return (axis, index) in self._kept

    def remember(self, axis: str, index: int, mask: np.ndarray) -> None:
        """Keep a slice as packed bits, once."""
        self._kept.setdefault((axis, index), (np.packbits(mask), mask.shape))

    def forget(self, axis: str, indices: Iterable[int]) -> None:
        """These slices were not written after all."""
        for index in indices:
            self._kept.pop((axis, index), None)

    def slices(self) -> list[tuple[str, int, np.ndarray]]:
        """Axis, slice and mask, the last one first: slices of different axes cross."""
        return [
            (axis, index, np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool))
            for (axis, index), (bits, shape) in reversed(self._kept.items())
        ]

    def clear(self) -> None:
        """From here on, what is there now is what a reject goes back to."""
        self._kept.clear()
        self.tag = None
