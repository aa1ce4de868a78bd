"""What the controller tells the panel, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

EVENTS = {
    "prompts": "the prompts of the current segment were read: markups.Collected",
    "busy": "True when something runs or waits, False when all is done",
    "progress": "Step",
    "slice_result": "Written: masks of prompted slices are in the segment",
    "candidates": "segment_state.Candidates, or None: what the model offers for the slice prompted last",
    "propagated": "Propagated: a propagation has ended",
    "records": "slice -> SliceRecord of the current segment",
    "dropped": "a sentence: a result came too late and was not written",
    "status": "a sentence worth showing, nothing is wrong",
    "error": "SegmentAnythingMedError",
    "undo": "None: what undo and redo would do has changed",
    "estimate": "plain values: seconds, slices, most_seconds, most_slices, memory_bytes (estimate.Estimate)",
    "visit": "None: the drafts of the prior visit have changed: a proposal, results, a verdict",
    "model": "requests.Facts: a model was opened or used",
}
"""Event -> what comes with it."""
Callback = Callable[[str, Any], None]


@dataclass(frozen=True)
class Step:
    """How far a job is.

    Attributes:
        label: what is being done.
        done: slices so far.
        total: all of them, or None. With ``at_most`` it is an upper bound: most walks end before.
        remaining_s: seconds to go (at most), or None.
        at_most: whether ``total`` and ``remaining_s`` are upper bounds.
    """

    label: str
    done: int
    total: int | None
    remaining_s: float | None
    at_most: bool


@dataclass(frozen=True)
class Written:
    """Masks of prompted slices that are in the segment now.

    Attributes:
        segment_id: where.
        axis: of the slices.
        slices: that hold the answer now, whether they had to be changed or not.
        protected: slices left alone because the user had painted there.
        notes: for the user.
        seconds: from the first change of the prompts to the updated segment.
    """

    segment_id: str
    axis: str
    slices: tuple[int, ...]
    protected: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Propagated:
    """A propagation of one or several segments that has ended.

    Attributes:
        axis: of the slices.
        slices: segment id -> slices written.
        protected: segment id -> slices left alone because the user had painted there.
        ends: segment id -> why it ends at the lower and upper side.
        completed: False after a cancel.
        notes: for the user.
        encodes: slices that the encoder saw.
        seconds: that it took.
    """

    axis: str
    slices: Mapping[str, tuple[int, ...]]
    protected: Mapping[str, tuple[int, ...]]
    ends: Mapping[str, tuple[str, str]]
    completed: bool
    notes: tuple[str, ...]
    encodes: int
    seconds: float


class Listeners:
    """Callbacks ``(event, data)``; each is held once, however often it is added."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []

    def add(self, callback: Callback) -> None:
        """Tell this one too."""
        if callback not in self._callbacks:
            self._callbacks.append(callback)

    def remove(self, callback: Callback) -> None:
        """Tell it no more; unknown ones are ignored."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def clear(self) -> None:
        """Tell nobody."""
        self._callbacks.clear()

    def tell(self, event: str, data: Any = None) -> None:
        """Call everybody, in the order in which they were added."""
        if event not in EVENTS:
            raise KeyError(event)
        for callback in tuple(self._callbacks):
            callback(event, data)
