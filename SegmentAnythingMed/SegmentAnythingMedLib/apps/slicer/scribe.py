"""The one place where the controller's results get into segments: writers, undo, states, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import SegmentAnythingMedError
from .describing import describe
from .editing import restore_derived
from .geometry import dimensions
from .history import History
from .painted import EMPTY, FOREIGN
from .prompt_nodes import segment_of, tag_of
from .provenance import TAG, read_provenance, record_of
from .reading import read_slice
from .segment_state import Before, SegmentState
from .writing import SegmentWriter, WriteResult

if TYPE_CHECKING:
    from ...prompts.volume_prompts import Prompt
    from .requests import Facts
    from .targets import Target

ANSWERED_TAG = "SegmentAnythingMed.Answered"
"""Slices whose prompts were answered, so that a scene that is opened again does not answer them anew."""
_SHAPES = {"k": (1, 0), "j": (2, 0), "i": (2, 1)}
"""axis -> positions in (I, J, K) of (row, column)."""


class Scribe:
    """Writers, histories and states of the segments of a scene.

    Attributes:
        last_key: of the target that was written to last; empty after an undo.
    """

    def __init__(self) -> None:
        self._histories: dict[Any, History] = {}
        self._states: dict[tuple[Any, str, Any, str], SegmentState] = {}
        self._before: dict[tuple[Any, str, Any], Before] = {}
        self.last_key = ""

    def history(self, segmentation: Any) -> History:
        """The steps of a segmentation; begun when there is none."""
        if segmentation not in self._histories:
            self._histories[segmentation] = History(segmentation)
        return self._histories[segmentation]

    def known_history(self, segmentation: Any) -> History | None:
        """The steps of a segmentation, or None while nothing was written to it."""
        return self._histories.get(segmentation)

    def state(self, target: Target) -> SegmentState:
        """What is remembered of a target's segment, from its tags when it was made in an earlier session."""
        key = (target.segmentation, target.segment_id, target.volume, target.axis)
        if key not in self._states:
            self._states[key] = self._restored(target)
        return self._states[key]

    def before(self, target: Target) -> Before:
        """What a reject goes back to."""
        return self._before.setdefault((target.segmentation, target.segment_id, target.volume), Before())

    def forget(self, node: Any = None) -> None:
        """Let go of a segmentation or volume that was removed, or (None) of all."""
        if node is None:
            for kept in (self._histories, self._states, self._before):
                kept.clear()
            return
        self._histories.pop(node, None)
        for kept in (self._states, self._before):
            for key in [key for key in kept if node in key]:
                del kept[key]

    def write(
        self,
        target: Target,
        masks: Mapping[int, np.ndarray],
        *,
        overwrite_painted: bool = False,
        join: bool = False,
    ) -> WriteResult:
        """Set slices of a target's segment, and remember what was there; see :meth:`SegmentWriter.write`."""
        before = self.before(target)
        new = [index for index in masks if not before.knows(target.axis, index)]
        tag = tag_of(target.segment, TAG)
        for index in new:
            before.remember(target.axis, index, self.read(target, index))
        writer = SegmentWriter(target.segmentation, target.volume, self.history(target.segmentation))
        try:
            written = writer.write(
                target.segment_id, masks, target.axis, overwrite_painted=overwrite_painted, join=join
            )
        except SegmentAnythingMedError:
            before.forget(target.axis, new)
            raise
        before.forget(target.axis, set(new) & set(written.slices_protected))
        self.last_key = target.key
        if before and before.tag is None:
            before.tag = tag
        return written

    def read(self, target: Target, index: int) -> np.ndarray:
        """One slice of a target's segment, bool [rows, columns]."""
        return read_slice(target.segmentation, target.segment_id, target.volume, target.axis, index)

    def status(self, target: Target) -> str:
        """``draft``, ``accepted``, or empty."""
        return read_provenance(target.segmentation, target.segment_id).status

    def finish(self, segmentation: Any) -> None:
        """Make the closed surfaces again that were set aside by the first write."""
        restore_derived(segmentation)

    def reread(self, segmentation: Any) -> None:
        """After an undo: the tables are as the segments' tags say; which prompts were answered stays."""
        self.last_key = ""
        for (owner, segment_id, _, axis), state in self._states.items():
            if owner is segmentation and segmentation.GetSegmentation().GetSegment(segment_id) is not None:
                known = read_provenance(segmentation, segment_id)
                records = known.records if known.axis == axis else ()
                state.records = {record.index: record for record in map(record_of, records)}
                state.offered = None

    def ours(self, target: Target) -> set[int]:
        """Slices on which this module's last write left something."""
        written = read_provenance(target.segmentation, target.segment_id).written
        if written is None or written.axis != target.axis:
            return set()
        return {index for index, value in written.hashes.items() if value not in (EMPTY, FOREIGN)}

    def describe(
        self,
        target: Target,
        facts: Facts,
        prompts: Iterable[Prompt],
        settings: Mapping[str, Any] | None = None,
        ends: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Put into the segment's tags how it was made, and which prompts were answered."""
        describe(target, facts, prompts, self.state(target).records.values(), settings, ends, notes)
        self.keep_answered(target)

    def keep_answered(self, target: Target) -> None:
        """Store the marks of the answered prompts beside the segment."""
        state = self.state(target)
        marks = {str(index): mark for index, mark in sorted(state.marks.items())}
        chosen = sorted(index for index in state.chosen if index in state.marks)
        form = {"axis": state.axis, "marks": marks, "chosen": chosen}
        target.segment.SetTag(ANSWERED_TAG, json.dumps(form, separators=(",", ":")))

    def slice_shape(self, target: Target) -> tuple[int, int]:
        """(rows, columns) of a slice."""
        size = dimensions(target.volume)
        row, column = _SHAPES[target.axis]
        return size[row], size[column]

    def _restored(self, target: Target) -> SegmentState:
        state = SegmentState(target.axis)
        segment = segment_of(target.segmentation, target.segment_id)
        known = read_provenance(target.segmentation, target.segment_id)
        if known.axis == target.axis:
            state.records = {record.index: record for record in map(record_of, known.records)}
        try:
            form = json.loads(tag_of(segment, ANSWERED_TAG) or "{}")
            if form.get("axis") == target.axis:
                state.marks = {int(index): str(mark) for index, mark in form["marks"].items()}
                state.chosen = {n: (state.marks[n], self.read(target, n)) for n in map(int, form["chosen"])}
        except (ValueError, TypeError, KeyError, AttributeError):  # another program's, or damaged: answered anew
            state.marks, state.chosen = {}, {}
        return state
