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
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...propagation.settings import PropagationSettings
from . import review
from .collecting import check_choice, scan_of, target_of
from .engine_host import EngineHost
from .events import Callback, Listeners
from .live import take_prompts
from .markups import seed_masks
from .plans import import_engine
from .propagating import PropagationTask
from .requests import DIRECTIONS, EstimateRequest, ModelChoice, Scan
from .scribe import Scribe
from .segment_state import Candidates
from .targets import Target
from .tasks import EstimateTask, PrepareTask, Task, TaskBoard, wait_for

if TYPE_CHECKING:
    from ...propagation.records import SliceRecord


class Controller:
    """State of one module: what is chosen, what runs, what was found.

    Args:
        host: model and sessions; one of its own by default.
        before_first_use: called in the main thread before torch is imported for the first time (installation).

    Attributes:
        volume, segmentation, segment_id: what is worked on; may be changed at any time, running work stays with what it
            was started for.
        model_name: of the catalogue, or path of a checkpoint.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        axis: ``auto``, ``k``, ``j``, ``i``.
        window: ``auto``, a preset, ``LEVEL,WIDTH``, or ``display``: as the volume is shown.
        settings: how to walk; ``limits`` are the first and last slice.
        direction: ``both``, ``up``, ``down``.
        engine: ``auto``, ``prompt``, ``memory`` (SAM 2 family), see ``propagation.engines``.
        live: answer prompts at once.
        overwrite_painted: write on slices that the user painted, too.
        painted_as_seeds: start from the slices that the user painted, too.
        want_candidates: ask for SAM's three masks after each live answer.
    """

    def __init__(self, host: EngineHost | None = None, before_first_use: Callable[[], None] | None = None) -> None:
        self.host = EngineHost() if host is None else host
        self.listeners = Listeners()
        self.scribe = Scribe()
        self.board = TaskBoard(self.listeners, self._before_the_first_job)
        self.volume: Any = None
        self.segmentation: Any = None
        self.segment_id = ""
        self.model_name, self.device = "built-in", "auto"
        self.axis, self.window = "auto", "auto"
        self.settings = PropagationSettings()
        self.direction, self.engine, self.live = "both", "auto", True
        self.overwrite_painted, self.painted_as_seeds, self.want_candidates = False, True, True
        self.generation = 0
        self._install = before_first_use
        self._changed_at: float | None = None

    def listen(self, callback: Callback) -> None:
        """Call ``callback(event, data)`` from now on; adding it again changes nothing."""
        self.listeners.add(callback)

    def unlisten(self, callback: Callback) -> None:
        """Call it no more."""
        self.listeners.remove(callback)

    @property
    def busy(self) -> bool:
        """True while something runs, waits, or has to be looked at."""
        return bool(self.board.tasks) or self._changed_at is not None

    @property
    def propagating(self) -> bool:
        """True while a propagation runs or waits."""
        return any(isinstance(task, PropagationTask) for task in self.board.tasks)

    def poll(self) -> None:
        """Take in changed prompts, write what the worker has finished, tell the listeners; over in milliseconds."""
        began, self._changed_at = self._changed_at, None
        if began is not None and self._chosen:
            self.board.guarded(lambda: take_prompts(self, began))
        self.board.poll()
        self.board.tell_busy(self._changed_at is not None)

    def wait(self, timeout: float | None = None) -> bool:
        """Poll until nothing is left to do; False after ``timeout`` seconds. For the console and for tests."""
        return wait_for(self.poll, lambda: self.busy, self.board, timeout)

    # ---- what the user does ----

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
            raise InputError("option.direction", f"Expected both, up or down; got {direction!r}.")
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
        self._verdict("Accepted.")

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
        self.listeners.tell("status", f"{len(masks)} slices are used as seeds of the next propagation.")
        return len(masks)

    @property
    def candidates(self) -> Candidates | None:
        """What the model offers for the slice that was prompted last."""
        target = self.target()
        return None if target is None else review.candidates(self.scribe, target)

    def choose_candidate(self, number: int) -> None:
        """Put another of the model's masks (0 is the best) into the segment; a propagation will start from it.

        Raises:
            InputError: ``option.candidate`` when there is none of this number; ``job.running``.
        """
        self._check_idle()
        target = self._wanted()
        offered = self.scribe.state(target).offered
        if offered is None or not 0 <= number < len(offered.masks):
            raise InputError("option.candidate", f"Expected a candidate that is offered; got number {number + 1}.")
        for note in review.choose(self, target, offered, number):
            self.listeners.tell("status", note)
        self.tell_candidates(target)
        self.changed(target)

    @property
    def records(self) -> Mapping[int, SliceRecord]:
        """Slice -> record of the current segment."""
        target = self.target()
        return {} if target is None else dict(self.scribe.state(target).records)

    @property
    def status(self) -> str:
        """``draft``, ``accepted``, or empty when this module has written nothing into the current segment."""
        target = self.target()
        return "" if target is None else self.scribe.status(target)

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

    # ---- what the scene does ----

    def scene_closing(self) -> None:
        """The scene is being closed: everything running is cancelled, nothing will be written."""
        self.generation += 1
        if self.board.tasks:
            self.listeners.tell("dropped", "The scene was closed; what was running was cancelled.")
        self.board.clear()
        self._changed_at = None
        self.scribe.forget()
        self.volume = self.segmentation = None
        self.segment_id = ""
        if self.board.started:
            self.board.start(Task(self, self.host.forget))
        self.board.tell_busy()

    def node_removed(self, node: Any) -> None:
        """A node has left the scene: work for it is cancelled, and it is not worked on any more."""
        lost = self._drop(lambda task: task.concerns(node))
        if lost:
            self.listeners.tell(
                "dropped", "An image or segmentation was removed; what was running for it was cancelled."
            )
        if node is self.volume:
            self.volume = None
        if node is self.segmentation:
            self.segmentation, self.segment_id = None, ""
        self.scribe.forget(node)

    def close(self, timeout: float = 5.0) -> bool:
        """The module or the application ends; True when the worker has ended too."""
        self.generation += 1
        self.listeners.clear()
        self.board.clear()
        self._changed_at = None
        return self.board.worker.stop(timeout)

    # ---- what the tasks need ----

    @property
    def model(self) -> ModelChoice:
        """What the worker is to open."""
        return ModelChoice(self.model_name, self.device)

    @property
    def resolved_axis(self) -> str | None:
        """``k``, ``j`` or ``i``; None without a volume."""
        return None if self.volume is None else self.scan().axis

    def scan(self) -> Scan:
        """The current volume for the worker.

        Raises:
            InputError: ``volume.*``.
        """
        return scan_of(self.volume, self.axis, self.window)

    def target(self) -> Target | None:
        """The current segment on the current volume; None when something is missing."""
        return self._wanted() if self._chosen else None

    def refuse(self, target: Target, what: str) -> bool:
        """True, and said in words, when nothing may be written to a target any more."""
        why = target.fault(self.generation)
        if why:
            self.listeners.tell("dropped", f"{what}: {why}.")
        return bool(why)

    def changed(self, target: Target) -> None:
        """A target was written to."""
        self.listeners.tell("undo")
        if self._is_current(target):
            self.listeners.tell("records", self.records)

    def tell_candidates(self, target: Target) -> None:
        """What is offered has changed."""
        if self._is_current(target):
            self.listeners.tell("candidates", self.candidates)

    @property
    def _chosen(self) -> bool:
        if self.volume is None or self.segmentation is None or self.segmentation.GetSegmentation() is None:
            return False
        return self.segmentation.GetSegmentation().GetSegment(self.segment_id or "") is not None

    def _is_current(self, target: Target) -> bool:
        chosen = (self.volume, self.segmentation, self.segment_id)
        return (target.volume, target.segmentation, target.segment_id) == chosen

    def _wanted(self) -> Target:
        check_choice(self.volume, self.segmentation, self.segment_id)
        return target_of(self.generation, self.volume, self.segmentation, self.segment_id, self.scan(), "")

    def _check_idle(self) -> None:
        if self.propagating:
            raise InputError("job.running", "A propagation is running; wait for its end or cancel it first.")

    def _drop(self, which: Callable[[Task], bool]) -> int:
        found = [task for task in self.board.tasks if which(task)]
        for task in found:
            self.board.drop(task)
        self.board.tell_busy(self._changed_at is not None)
        return len(found)

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

    def _before_the_first_job(self) -> None:
        if self._install is not None:
            self._install()
        import_engine()
