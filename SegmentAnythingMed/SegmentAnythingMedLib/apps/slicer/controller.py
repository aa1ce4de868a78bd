"""What the module does, without Qt: prompts to masks, masks through the slices, and back again.

    controller = Controller()
    controller.volume, controller.segmentation, controller.segment_id = volume, segmentation, "Segment_1"
    controller.listen(lambda event, data: ...)   # events.EVENTS says what comes with which event
    controller.prompts_changed()                 # after every change of the prompts; cheap
    controller.poll()                            # from a timer, every 30 ms while ``busy``

The slow work is done by one worker thread (``worker``, ``engine_host``); everything here runs in the main thread and is
over in milliseconds. A result is written only when scene, nodes, segment, image and prompts are still those that it was
made for; else it is dropped with a sentence.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from slicer.i18n import tr as _

from ...errors import InputError
from . import review
from .collecting import check_choice
from .controller_core import ControllerCore
from .live import take_prompts
from .markups import seed_masks
from .propagating import PropagationTask
from .requests import DIRECTIONS, EstimateRequest
from .tasks import EstimateTask, PrepareTask


class Controller(ControllerCore):
    """What the user can do; see :class:`~.controller_core.ControllerCore` for what is chosen, told and waited for."""

    def prompts_changed(self) -> None:
        """The prompts of the scene have changed in some way; they are looked at in the next :meth:`poll`."""
        if self._changed_at is None:
            self._changed_at = time.perf_counter()
        self.board.tell_busy(True)

    def segment_slice(self) -> None:
        """Answer all prompts of the current segment again: with another model, after an undo, or while not ``live``.

        Raises:
            InputError: ``volume.*``, ``segment.*``.
            PromptError: ``prompt.none``.
        """
        check_choice(self.volume, self.segmentation, self.segment_id)
        take_prompts(self, time.perf_counter(), force=True)

    def propagate(
        self,
        direction: str | None = None,
        limits: tuple[int, int] | None = None,
        segment_ids: Iterable[str] | None = None,
    ) -> None:
        """Start a propagation in the background.

        Args:
            direction: ``both``, ``up`` (to higher slice numbers), ``down``; None takes the controller's.
            limits: first and last slice; None takes those of ``settings``.
            segment_ids: several segments at once share what the network sees; None is the current one.

        Raises:
            InputError: ``option.direction``, ``job.running``, ``volume.*``, ``segment.*``.
            PromptError: ``prompt.none`` when none of the segments has a prompt.
        """
        direction = self.direction if direction is None else direction
        if direction not in DIRECTIONS:
            raise InputError(
                "option.direction", _("Expected both, up or down; got {direction!r}.").format(direction=direction)
            )
        self._check_idle()
        ids = [self.segment_id] if segment_ids is None else list(segment_ids)
        for segment_id in ids or [""]:
            check_choice(self.volume, self.segmentation, segment_id)
        limits = self.settings.limits if limits is None else limits
        self.board.start(PropagationTask.prepare(self, ids, direction, limits))

    def cancel(self) -> None:
        """Stop what runs and drop what waits; what is finished is kept."""
        for task in self.board.tasks:
            task.job.cancel()

    def undo(self) -> bool:
        """Take back the last write of this module in the current segmentation; prompts stay as they are."""
        return self._in_history("undo")

    def redo(self) -> bool:
        """Do again what was undone last."""
        return self._in_history("redo")

    @property
    def can_undo(self) -> bool:
        """True if there is a step to take back."""
        history = self.scribe.known_history(self.segmentation)
        return history is not None and history.can_undo

    @property
    def can_redo(self) -> bool:
        """True if there is a step to do again."""
        history = self.scribe.known_history(self.segmentation)
        return history is not None and history.can_redo

    def accept(self, reviewer: str = "") -> None:
        """The current segment is as the user wants it: reviewed, no draft any more."""
        self._check_idle()
        review.accept(self.scribe, self._wanted(), reviewer)
        self._verdict(_("Accepted."))

    def reject(self) -> None:
        """Put back what was there before the first mask since the last accept; what the user painted stays."""
        target = self._wanted()
        self._drop(lambda task: task.concerns(target.segmentation))
        self._verdict(review.reject(self.scribe, target))

    def seed_from_segment(
        self,
        segmentation: Any = None,
        segment_id: str | None = None,
        slices: Iterable[int] | None = None,
        keep: bool = True,
    ) -> int:
        """Use slices of a segment as seeds of the current one in its next propagations.

        Args:
            segmentation: where the segment is; None is the current one.
            segment_id: of the segment; None is the current one itself.
            slices: those to use; None takes all that have content.
            keep: take them as they are; False shows them to the model as a hint.

        Returns:
            How many slices are used.

        Raises:
            InputError: ``segment.*``, ``volume.*``.
            PromptError: ``prompt.mask_empty``.
        """
        target = self._wanted()
        source = self.segmentation if segmentation is None else segmentation
        name = self.segment_id if segment_id is None else segment_id
        masks = seed_masks(source, name, self.volume, target.axis, slices, keep)
        self.scribe.state(target).seeds = tuple(masks)
        self.listeners.tell(
            "status", _("{count} slices are used as seeds of the next propagation.").format(count=len(masks))
        )
        return len(masks)

    def choose_candidate(self, number: int) -> None:
        """Put another of the model's masks (0 is the best) into the segment; a propagation will start from it.

        Raises:
            InputError: ``option.candidate`` when there is none of this number; ``job.running``.
        """
        self._check_idle()
        target = self._wanted()
        offered = self.scribe.state(target).offered
        if offered is None or not 0 <= number < len(offered.masks):
            raise InputError(
                "option.candidate", _("Expected a candidate that is offered; got number {n}.").format(n=number + 1)
            )
        for note in review.choose(self, target, offered, number):
            self.listeners.tell("status", note)
        self.tell_candidates(target)
        self.changed(target)

    def estimate(self, limits: tuple[int, int] | None = None) -> None:
        """Measure what a propagation would cost; the answer comes as ``estimate``."""
        limits = self.settings.limits if limits is None else limits
        self.board.start(EstimateTask(self, self.host.estimate, EstimateRequest(self.scan(), self.model, limits)))

    def prepare(self) -> None:
        """Open the model, and read the volume's intensities, before the first prompt."""
        scan = None if self.volume is None else self.scan()
        self.board.start(PrepareTask(self, self.host.prepare, scan, self.model))

    def finish(self) -> None:
        """Bring back the closed surfaces that were set aside while prompting; takes seconds for large segments."""
        if self.segmentation is not None:
            self.scribe.finish(self.segmentation)

    def _check_idle(self) -> None:
        if self.propagating:
            raise InputError("job.running", _("A propagation is running; wait for its end or cancel it first."))

    def _in_history(self, what: str) -> bool:
        history = self.scribe.known_history(self.segmentation)
        if history is None:
            return False
        self._drop(lambda task: task.concerns(self.segmentation))
        done = getattr(history, what)()
        if done:
            self.scribe.reread(self.segmentation)
            for note in history.notes:
                self.listeners.tell("status", note)
        self.listeners.tell("undo")
        self.listeners.tell("records", self.records)
        self.listeners.tell("candidates", self.candidates)
        return done

    def _verdict(self, words: str) -> None:
        self.listeners.tell("undo")
        self.listeners.tell("records", self.records)
        self.listeners.tell("candidates", self.candidates)
        self.listeners.tell("status", words)
