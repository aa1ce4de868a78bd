"""What the Segment Editor effect does between a prompt and a mask: prompts by slice, worker, writing. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...errors import Cancelled, SegmentAnythingMedError
from ...propagation.settings import PropagationSettings
from .collecting import check_choice, scan_of, target_of
from .effect_prompts import Place, PromptedSlice, box_prompt, point_prompt, ras_of_pixels
from .effect_provenance import describe_answer, describe_propagation, writing
from .effect_writing import write_slices
from .engine_host import EngineHost
from .plans import import_engine
from .reading import read_slice
from .requests import ModelChoice, PredictRequest, PropagateRequest
from .saying import said
from .targets import Target
from .worker import END_S, Job, Worker

BOX = 2


class EffectSession:
    """State of the effect while an editor shows it.

    Args:
        scripted_effect: the effect's adaptor.
        say: told in words what happens; an empty text when there is nothing to say.
        before_first_use: called with the name of a model before it is asked for the first time (installation).

    Attributes:
        slices: prompted slices by place.
        model: what to ask.
        window: as ``estimate_mapping``.
    """

    def __init__(
        self, scripted_effect: Any, say: Callable[[str], None], before_first_use: Callable[[str], None] | None = None
    ) -> None:
        self._effect, self._say, self._before_first_use = scripted_effect, say, before_first_use
        self.slices: dict[Place, PromptedSlice] = {}
        self.model, self.window = ModelChoice(), "auto"
        self._worker: Worker | None = None
        self._host = EngineHost()
        self._running: Job | None = None
        self._ready: set[str] = set()

    @property
    def busy(self) -> bool:
        """True while an answer is awaited."""
        return self._running is not None

    def point(self, slice_node: Any, pixel: Sequence[float], label: int) -> None:
        """A click: 1 inside, 0 outside of the object.

        Raises:
            SegmentAnythingMedError: the prompt cannot be used, or the network cannot be had.
        """
        axis, index, prompt = point_prompt(slice_node, self._volume(), pixel, label)
        self._add(axis, index, prompt, (ras_of_pixels(slice_node, [pixel]), label))

    def box(self, slice_node: Any, pixel: Sequence[float], opposite: Sequence[float]) -> None:
        """A rectangle around the object.

        Raises:
            SegmentAnythingMedError: as :meth:`point`.
        """
        axis, index, prompt = box_prompt(slice_node, self._volume(), pixel, opposite)
        corners = [pixel, (opposite[0], pixel[1]), opposite, (pixel[0], opposite[1])]
        self._add(axis, index, prompt, (ras_of_pixels(slice_node, corners), BOX))

    def propagate(self) -> None:
        """From the prompted slices of the selected segment through the volume, along the axis of the last prompt.

        Raises:
            SegmentAnythingMedError: as :meth:`point`.
        """
        editor = self._editor()
        segment_id = editor.GetSelectedSegmentID()
        places = [place for place in self.slices if place.segment_id == segment_id]
        if not places:
            self._say(_("Click on the object, or draw a box around it, in a slice view first."))
            return
        axis = places[-1].axis
        target, scan = self._target(axis)
        prompts = {target.key: tuple(self._prompts(target))}
        request = PropagateRequest(scan, self.model, prompts, PropagationSettings())
        self._start(self._host.propagate, request, target, None)

    def cancel(self) -> None:
        """Stop what runs; what was done stays."""
        if self._running is not None:
            self._running.cancel()

    def clear(self) -> None:
        """Forget all prompts; masks stay."""
        self.slices.clear()
        self._say("")

    def poll(self) -> bool:
        """Write what has come, say what is going on; True when something was written. Call it from a timer."""
        job = self._running
        if job is None:
            return False
        if not job.finished:
            self._say(_progress_words(job))
            return False
        self._worker.poll()
        self._running = None
        try:
            return self._finish(job)
        except SegmentAnythingMedError as error:
            self._say(said(error))
            return False

    def wait(self, seconds: float) -> bool:
        """Block until the answer is there, at most so long; then ``poll`` (for tests and scripts)."""
        return self._running is None or self._worker.wait(self._running, seconds)

    def close(self) -> None:
        """Stop the worker and forget everything."""
        self.slices.clear()
        self._running = None
        if self._worker is not None:
            self._worker.stop(END_S)
            self._worker = None

    def _add(self, axis: str, index: int, prompt: Any, mark: tuple[np.ndarray, int]) -> None:
        target, scan = self._target(axis)
        place = Place(target.segment_id, axis, index)
        held = self.slices.get(place)
        now = read_slice(target.segmentation, target.segment_id, target.volume, axis, index)
        if held is None or (held.after is not None and not np.array_equal(now, held.after)):
            # Undone, painted or edited since: the earlier prompts do not describe this content any more.
            held = PromptedSlice(now)
        self.slices.pop(place, None)
        self.slices[place] = held  # last: ``propagate`` follows its axis
        held.prompts.append(prompt)
        held.marks.append(mark)
        request = PredictRequest(scan, self.model, tuple(held.prompts))
        self._start(self._host.predict, request, target, place)

    def _start(self, function: Callable[..., Any], request: Any, target: Target, place: Place | None) -> None:
        if self.model.name not in self._ready:
            if self._before_first_use is not None:
                self._before_first_use(self.model.name)
            import_engine()
            self._ready.add(self.model.name)
        if self._worker is None:
            self._worker = Worker("SegmentAnythingMed effect")
        if self._running is not None:
            self._running.cancel()
        self._running = self._worker.submit(function, request, tag=(target, place))
        self._say(_("Computing ..."))

    def _finish(self, job: Job) -> bool:
        target, place = job.tag
        if job.error is not None:
            self._say("" if isinstance(job.error, Cancelled) else said(job.error))
            return False
        fault = target.fault(0)
        editor = self._effect.parameterSetNode()
        if fault or editor is None or editor.GetSegmentationNode() is not target.segmentation:
            reason = fault or _("the editor shows another segmentation")
            self._say(_("The result was dropped: {reason}.").format(reason=reason))
            return False
        masks, notes = self._masks(job.result, target, place)
        with writing(target, masks):
            written = write_slices(self._effect, target.segment_id, masks, target.axis)
        held = self.slices.get(place) if place is not None else None
        if held is not None:
            held.after = read_slice(target.segmentation, target.segment_id, target.volume, place.axis, place.index)
        if masks:
            self._describe(job.result, target, place)
        self._say(" ".join(map(said, notes)) or _("Slices done: {count}.").format(count=len(masks)))
        return written

    def _describe(self, result: Any, target: Target, place: Place | None) -> None:
        prompts = self._prompts(target)
        if place is None:
            describe_propagation(target, result, prompts, PropagationSettings().to_json())
        else:
            describe_answer(target, result, prompts)

    def _prompts(self, target: Target) -> list[Any]:
        """All prompts of a segment along an axis, in the order of their slices."""
        mine = [place for place in self.slices if (place.segment_id, place.axis) == (target.segment_id, target.axis)]
        return [prompt for place in mine for prompt in self.slices[place].prompts]

    def _masks(self, result: Any, target: Target, place: Place | None) -> tuple[dict[int, np.ndarray], tuple[str, ...]]:
        """What the slices are to hold: the answer, added to what they held before the first prompt."""
        if place is not None:
            held = self.slices.get(place)
            if held is None:  # cleared while it was computed
                return {}, ()
            answer = result.masks.get(place.index, np.zeros_like(held.before))
            return {place.index: held.before | answer}, result.notes
        if result.errors:
            raise result.errors[target.key]
        found = result.results[target.key]
        held_before = {
            place.index: held.before
            for place, held in self.slices.items()
            if (place.segment_id, place.axis) == (target.segment_id, target.axis)
        }
        masks = {}
        for index, mask in found.masks.items():
            before = held_before.get(index)
            if before is None:
                before = read_slice(target.segmentation, target.segment_id, target.volume, target.axis, index)
            masks[index] = before | mask
        return masks, found.notes

    def _target(self, axis: str) -> tuple[Target, Any]:
        editor = self._editor()
        volume, segmentation = editor.GetSourceVolumeNode(), editor.GetSegmentationNode()
        check_choice(volume, segmentation, editor.GetSelectedSegmentID())
        scan = scan_of(volume, axis, self.window)
        return target_of(0, volume, segmentation, editor.GetSelectedSegmentID(), scan, ""), scan

    def _editor(self) -> slicer.vtkMRMLSegmentEditorNode:
        return self._effect.parameterSetNode()

    def _volume(self) -> Any:
        editor = self._editor()
        check_choice(editor.GetSourceVolumeNode(), editor.GetSegmentationNode(), editor.GetSelectedSegmentID())
        return editor.GetSourceVolumeNode()


def _progress_words(job: Job) -> str:
    progress = job.progress
    if not progress.done:
        return _("Computing ...")
    seconds = progress.longest_s
    if seconds is None:
        return _("Slices done: {done}").format(done=progress.done)
    return _("Slices done: {done}, at most {seconds} s to go").format(done=progress.done, seconds=round(seconds))
