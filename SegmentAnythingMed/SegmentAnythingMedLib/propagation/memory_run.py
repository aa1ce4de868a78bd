"""A part of a propagation with memory: what a run keeps beyond its masks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..engine.memory_bank import SliceMemory
from ..engine.tracking import TrackedSlice
from .records import Run


@dataclass(eq=False)
class MemoryRun(Run):
    """A run whose slices can be corrected later and whose seeds are remembered.

    Attributes:
        memories: prompted slice -> what it left.
        low_res: slice -> float16 [h, w] logits, from which a correction on the slice starts.
        base: for a correction, the logits that it started from; else None.
        left: slices beside the start of a walk -> what they left, for the walk the other way (coupled only).
    """

    memories: dict[int, SliceMemory] = field(default_factory=dict, repr=False)
    low_res: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    base: np.ndarray | None = field(default=None, repr=False)
    left: dict[int, SliceMemory] = field(default_factory=dict, repr=False)

    def prompted(self, index: int, answer: TrackedSlice) -> None:
        """Keep what a prompted slice leaves."""
        self.memories[index] = answer.memory
        self.low_res[index] = answer.low_res
