"""A stub model with memory on a phantom: it returns the true object, unless told otherwise, and logs what it read."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from propagation_stub import StubPredictor, touched
from SegmentAnythingMedLib.engine.memory_bank import MemoryBank, SliceMemory
from SegmentAnythingMedLib.engine.tracking import TrackedSlice
from SegmentAnythingMedLib.prompts.types import SlicePrompts


@dataclass
class Call:
    """One question: ``reads`` are the conditioning slices and those whose maps are there, ``pointers`` all others."""

    index: int
    kind: str
    backward: bool = False
    reads: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    pointers: tuple[int, ...] = ()
    prompts: SlicePrompts | None = None
    verbatim: bool = False
    base: np.ndarray | None = None
    nbytes: int = 0


class StubTracker(StubPredictor):
    """Answers from a true volume [n, H, W]; ``answers`` and ``scores`` replace what it says on single slices."""

    def __init__(self, truth: np.ndarray, slice_spacing: float = 1.0) -> None:
        super().__init__(truth, slice_spacing)
        self.tracker = SimpleNamespace(prompted=self.prompted, tracked=self.tracked)
        self.asked: list[Call] = []
        self.answers: dict[int, np.ndarray] = {}
        self.scores: dict[int, float] = {}
        self.refined: np.ndarray | None = None

    def order(self, kind: str = "tracked") -> list[tuple[int, bool]]:
        """(slice, backward) of the questions of a kind, in order."""
        return [(call.index, call.backward) for call in self.asked if call.kind == kind]

    def prompted(self, index, prompts, *, verbatim=False, bank=None, base=None, backward=False) -> TrackedSlice:
        call = Call(index, "prompted", backward, prompts=prompts, verbatim=verbatim, base=base)
        self._note(call, index, bank)
        if verbatim:
            return self._answer(index, np.asarray(prompts.mask, dtype=bool), 10.0)
        if prompts.mask is not None and self.refined is not None:
            return self._answer(index, self.refined, 5.0)
        return self._answer(index, self.answers.get(index, touched(self.truth[index], prompts)), 5.0)

    def tracked(self, index: int, bank: MemoryBank, *, backward: bool = False) -> TrackedSlice:
        self._note(Call(index, "tracked", backward), index, bank)
        mask = self.answers.get(index, self.truth[index])
        return self._answer(index, mask, self.scores.get(index, 5.0 if mask.any() else -5.0))

    def _note(self, call: Call, index: int, bank: MemoryBank | None) -> None:
        if bank is not None:
            reading = bank.read(index, call.backward)
            maps = tuple(sorted(n for n, memory in reading.recent.items() if memory.map is not None))
            call.reads = tuple(sorted(reading.conditioning)), maps
            call.pointers = tuple(sorted(reading.recent))
            call.nbytes = bank.nbytes
        self.asked.append(call)

    def _answer(self, index: int, mask: np.ndarray, score: float) -> TrackedSlice:
        mask = mask if score > 0 else np.zeros_like(mask)
        logits = np.where(mask, 5.0, -5.0).astype(np.float32)
        memory = SliceMemory(np.zeros(64, dtype=np.float16), np.full(4, index, dtype=np.float32), score)
        return TrackedSlice(mask, logits, 0.9, score, 1, memory, logits[::4, ::4].astype(np.float16))
