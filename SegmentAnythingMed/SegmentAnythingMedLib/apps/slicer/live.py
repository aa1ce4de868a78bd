"""Prompts to masks on the prompted slices, as fast as they come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from ...errors import Cancelled, PromptError, SegmentAnythingMedError
from .collecting import painted_on, prompt_marks, scan_of, target_of
from .events import Written
from .markups import collect
from .requests import CandidatesRequest, CandidatesResult, PredictRequest, PredictResult, Scan
from .tasks import Task
from .visit_prompts import is_proposed

if TYPE_CHECKING:
    from .controller import Controller
    from .markups import Collected
    from .targets import Target


class LiveTask(Task):
    """Segments the slices whose prompts are new.

    Args:
        controller: what it works for.
        scan: the image.
        target: where the masks go.
        collected: the prompts.
        known: slices that need not be done again.
        began: ``time.perf_counter()`` of the change.
    """

    def __init__(
        self, controller: Controller, scan: Scan, target: Target, collected: Collected, known: dict[int, str],
        began: float,
    ) -> None:  # fmt: skip
        request = PredictRequest(scan, controller.model, tuple(collected.prompts), dict(known))
        super().__init__(controller, controller.host.predict, request)
        self.scan, self.target, self.collected, self.began = scan, target, collected, began
        self.replaces = f"live {target.key}"

    def concerns(self, node: Any) -> bool:
        """True for the image and the segmentation."""
        return node in (self.target.volume, self.target.segmentation)

    def done(self, result: PredictResult) -> None:
        """Write the masks, if they are still wanted."""
        controller, target = self.controller, self.target
        if controller.refuse(target, _("The mask of the prompted slice was not written")):
            return
        if prompts_of(target) != target.fingerprint:
            self._ask_again()
            return
        state = controller.scribe.state(target)
        empty = np.zeros(result.shape, dtype=bool)
        masks = {index: result.masks.get(index, empty) for index in result.records}
        masks.update({index: empty for index in state.marks if index not in result.marks})
        for index in (*masks, *(n for n in state.chosen if n not in result.marks)):
            state.chosen.pop(index, None)
        marks = result.marks if result.completed else {n: result.marks[n] for n in result.records}
        self._write(masks, dict(marks), result)
        newest = max(result.records, default=None, key=lambda n: (n in result.masks, n))
        self._offer(newest, result)

    def _ask_again(self) -> None:
        """The prompts have changed since: the newer ones are answered instead, or it is said that they are not."""
        if self.controller.live:
            self.controller.prompts_changed()
        else:
            self.controller.listeners.tell("dropped", _("The mask was not written: the prompts have changed since."))

    def failed(self, error: SegmentAnythingMedError) -> None:
        """Prompts that mean nothing yet take their masks away; everything else is told."""
        if isinstance(error, PromptError) and error.code in ("prompt.only_negative", "prompt.none"):
            clear_all(self.controller, self.target, self.began)
            self.controller.listeners.tell("status", error.message)
        elif not isinstance(error, Cancelled):
            super().failed(error)

    def _write(self, masks: dict[int, np.ndarray], marks: dict[int, str], result: PredictResult) -> None:
        controller, target = self.controller, self.target
        state = controller.scribe.state(target)
        join = state.moved(_kinds(self.collected)) and controller.scribe.last_key == target.key
        written = controller.scribe.write(target, masks, overwrite_painted=controller.overwrite_painted, join=join)
        state.marks = {**{n: mark for n, mark in state.marks.items() if n in result.marks}, **marks}
        for index in masks:
            state.records.pop(index, None)
        state.records.update({n: record for n, record in result.records.items() if n not in written.slices_protected})
        controller.scribe.describe(target, result.facts, self.collected.prompts, None)
        notes = (*self.collected.notes, *result.notes, *written.notes)
        seconds = time.perf_counter() - self.began
        told = Written(
            target.segment_id,
            target.axis,
            tuple(written.slices_written),
            tuple(written.slices_protected),
            notes,
            seconds,
        )
        controller.listeners.tell("slice_result", told)
        controller.listeners.tell("model", result.facts)
        controller.changed(target)

    def _offer(self, index: int | None, result: PredictResult) -> None:
        state = self.controller.scribe.state(self.target)
        state.offered = None
        self.controller.tell_candidates(self.target)
        if self.controller.want_candidates and index is not None and result.completed:
            task = CandidateTask(self.controller, self.scan, self.target, self.collected, index)
            self.controller.board.start(task)


def _kinds(collected: Collected) -> tuple[str, ...]:
    return tuple(f"{type(prompt).__name__}{getattr(prompt, 'label', '')}" for prompt in collected.prompts)


class CandidateTask(Task):
    """SAM's three masks for the slice that was prompted last; after the mask itself, so that it does not wait."""

    replaces = "candidates"

    def __init__(self, controller: Controller, scan: Scan, target: Target, collected: Collected, index: int) -> None:
        request = CandidatesRequest(scan, controller.model, tuple(collected.prompts), index)
        super().__init__(controller, controller.host.candidates, request)
        self.target = target

    def concerns(self, node: Any) -> bool:
        """True for the image and the segmentation."""
        return node in (self.target.volume, self.target.segmentation)

    def done(self, result: CandidatesResult) -> None:
        """Offer them while the prompts are the same."""
        if self.target.fault(self.controller.generation) or prompts_of(self.target) != self.target.fingerprint:
            return
        self.controller.scribe.state(self.target).offered = result
        self.controller.tell_candidates(self.target)

    def failed(self, error: SegmentAnythingMedError) -> None:
        """There is a mask already: no candidates is no fault."""


def prompts_of(target: Target) -> str:
    """Fingerprint of the prompts as they are now."""
    return collect(target.segmentation, target.segment_id, target.volume, target.axis).fingerprint


def take_prompts(controller: Controller, began: float, force: bool = False) -> None:
    """Read the prompts of the current segment, and start what they ask for.

    Args:
        controller: with a volume, a segmentation and a segment.
        began: ``time.perf_counter()`` of the change.
        force: do all prompted slices again, also when their prompts are known, and when not ``live``.

    Raises:
        InputError: ``volume.*``, ``segment.*``. PromptError: with ``force``, ``prompt.none``.
    """
    volume, segmentation, segment_id = controller.volume, controller.segmentation, controller.segment_id
    scan = scan_of(volume, controller.axis, controller.window)
    collected = collect(segmentation, segment_id, volume, scan.axis)
    target = target_of(controller.generation, volume, segmentation, segment_id, scan, collected.fingerprint)
    controller.listeners.tell("prompts", collected)
    if not (controller.live or force) or (is_proposed(segmentation, segment_id) and not force):
        return
    state = controller.scribe.state(target)
    if force and not collected.prompts:
        raise PromptError(
            "prompt.none", _("Expected at least one point, box or scribble of this segment; got no prompt.")
        )
    for task in controller.board.tasks:  # its answer would be out of date
        if isinstance(task, LiveTask | CandidateTask) and task.target.key == target.key:
            controller.board.drop(task)
    if not collected.slices:
        clear_all(controller, target, began)
        return
    marks = prompt_marks(collected.prompts, scan)
    if not force and marks and marks == state.marks:
        return
    controller.board.start(LiveTask(controller, scan, target, collected, {} if force else state.marks, began))


def clear_all(controller: Controller, target: Target, began: float) -> None:
    """No prompt is left that means anything: the masks that came from prompts go, what the user painted stays."""
    state = controller.scribe.state(target)
    if not state.marks or controller.refuse(target, _("Nothing was removed")):
        return
    shape = controller.scribe.slice_shape(target)
    empty = np.zeros(shape, dtype=bool)
    written = controller.scribe.write(target, dict.fromkeys(state.marks, empty))
    for index in state.marks:
        state.records.pop(index, None)
    state.marks, state.chosen, state.offered = {}, {}, None
    seconds = time.perf_counter() - began
    told = Written(
        target.segment_id, target.axis, tuple(written.slices_written), tuple(written.slices_protected),
        tuple(written.notes), seconds,
    )  # fmt: skip
    controller.listeners.tell("slice_result", told)
    controller.tell_candidates(target)
    controller.changed(target)


__all__ = ["CandidateTask", "LiveTask", "clear_all", "painted_on", "prompts_of", "take_prompts"]
