"""What propagation with memory asks for: a prompted slice, or the next slice as the model remembers the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..prompts.types import SlicePrompts
from .look_ahead import NOWHERE, announce
from .memory_bank import MemoryBank, SliceMemory
from .predictor import SliceResult


@dataclass(frozen=True, eq=False)
class TrackedSlice(SliceResult):
    """A :class:`SliceResult` that leaves a memory.

    Attributes:
        memory: for a ``MemoryBank``.
        low_res: float16 [h, w] logits of the network, for a later correction on this slice.
    """

    memory: SliceMemory | None = None
    low_res: np.ndarray | None = None


class Tracker(Protocol):
    """A model with memory on the slices of one volume."""

    def prompted(
        self,
        index: int,
        prompts: SlicePrompts,
        *,
        verbatim: bool = False,
        bank: MemoryBank | None = None,
        base: np.ndarray | None = None,
        backward: bool = False,
    ) -> TrackedSlice:
        """Segment a slice from its own prompts.

        Args:
            index: slice, ``0..count - 1``.
            prompts: all prompts of the object on this slice.
            verbatim: take ``prompts.mask`` as it is; else it is a prompt like the others and gets refined.
            bank: memory of other prompted slices to look with; None looks at the slice alone.
            base: ``low_res`` of an earlier answer on this slice that the points correct.
            backward: the walk that gave it went towards slice 0.
        """
        ...

    def tracked(self, index: int, bank: MemoryBank, *, backward: bool = False) -> TrackedSlice:
        """Segment a slice without prompts from what the bank remembers.

        Args:
            index: slice.
            bank: with at least one conditioning slice; it is not changed.
            backward: the walk goes towards slice 0.
        """
        ...


@dataclass(frozen=True, eq=False)
class PromptedRequest:
    """One call of :meth:`Tracker.prompted` that a run waits for; see ``predictor.Request``."""

    index: int
    prompts: SlicePrompts
    verbatim: bool = False
    bank: MemoryBank | None = None
    base: np.ndarray | None = None
    backward: bool = False

    def serve(self, predictor: Any) -> TrackedSlice:
        """The answer."""
        wishes = {"verbatim": self.verbatim, "bank": self.bank, "base": self.base, "backward": self.backward}
        return predictor.tracker.prompted(self.index, self.prompts, **wishes)


@dataclass(frozen=True, eq=False)
class TrackedRequest:
    """One call of :meth:`Tracker.tracked` that a run waits for; ``onward`` as in ``predictor.Request``."""

    index: int
    bank: MemoryBank
    backward: bool = False
    onward: Sequence[int] = NOWHERE

    def serve(self, predictor: Any) -> TrackedSlice:
        """The answer."""
        announce(predictor, self.index, self.onward)
        return predictor.tracker.tracked(self.index, self.bank, backward=self.backward)
