"""What a controller holds: the choice, the tasks, who is told, what is written where, and the end of a scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ...propagation.settings import PropagationSettings
from . import review
from .collecting import check_choice, scan_of, target_of
from .engine_host import EngineHost
from .events import Callback, Listeners
from .live import take_prompts
from .plans import import_engine, import_model, needs_sam2
from .propagating import PropagationTask
from .requests import ModelChoice, Scan
from .scribe import Scribe
from .segment_state import Candidates
from .targets import Target
from .tasks import ForgetTask, Task, TaskBoard, wait_for

if TYPE_CHECKING:
    from ...propagation.records import SliceRecord


class ControllerCore:
    """State of one module: what is chosen, what runs, what was found.

    Args:
        host: model and sessions; one of its own by default.
        before_first_use: called in the main thread before torch is imported for the first time (installation).
        before_sam2: called in the main thread before a model of the SAM 2 family is opened for the first time.

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

    def __init__(
        self,
        host: EngineHost | None = None,
        before_first_use: Callable[[], None] | None = None,
        before_sam2: Callable[[], None] | None = None,
    ) -> None:
        self.host = EngineHost() if host is None else host
        self.listeners = Listeners()
        self.scribe = Scribe()
        self.board = TaskBoard(self.listeners, self._before_a_job)
        self.volume: Any = None
        self.segmentation: Any = None
        self.segment_id = ""
        self.model_name, self.device = "built-in", "auto"
        self.axis, self.window = "auto", "auto"
        self.settings = PropagationSettings()
        self.direction, self.engine, self.live = "both", "auto", True
        self.overwrite_painted, self.painted_as_seeds, self.want_candidates = False, True, True
        self.generation = 0
        self._install, self._install_sam2 = before_first_use, before_sam2
        self._engine_ready, self._ready_models = False, set()
        self._changed_at: float | None = None

    def listen(self, callback: Callback) -> None:
        """Call ``callback(event, data)`` from now on; adding it again changes nothing."""
        self.listeners.add(callback)

    def unlisten(self, callback: Callback) -> None:
        """Call it no more."""
        self.listeners.remove(callback)

    @property
    def busy(self) -> bool:
        """True while something runs, waits, or has to be looked at: poll as long as it is."""
        return self.board.busy or self._changed_at is not None

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
        return wait_for(self.poll, lambda: self.busy, timeout)

    @property
    def candidates(self) -> Candidates | None:
        """What the model offers for the slice that was prompted last."""
        target = self.target()
        return None if target is None else review.candidates(self.scribe, target)

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

    def scene_closing(self) -> None:
        """The scene is being closed: everything running is cancelled, nothing will be written."""
        self.generation += 1
        if self.board.tasks:
            self.listeners.tell("dropped", _("The scene was closed; what was running was cancelled."))
        self.board.clear()
        self._changed_at = None
        self.scribe.forget()
        self.volume = self.segmentation = None
        self.segment_id = ""
        if self._engine_ready:
            self.board.start(ForgetTask(self, self.host.forget))
        self.board.tell_busy()

    def node_removed(self, node: Any) -> None:
        """A node has left the scene: work for it is cancelled, and it is not worked on any more."""
        lost = self._drop(lambda task: task.concerns(node))
        if lost:
            self.listeners.tell(
                "dropped", _("An image or segmentation was removed; what was running for it was cancelled.")
            )
        if node is self.volume:
            self.volume = None
        if node is self.segmentation:
            self.segmentation, self.segment_id = None, ""
        self.scribe.forget(node)
        if self._engine_ready and node.IsA("vtkMRMLVolumeNode") and node.GetID():
            self.board.start(ForgetTask(self, self.host.forget_volume, f"{node.GetID()}:"))

    def close(self, timeout: float = 5.0) -> bool:
        """The module or the application ends; True when the worker has ended too."""
        self.generation += 1
        self.listeners.clear()
        self.board.clear()
        self._changed_at = None
        return self.board.worker.stop(timeout)

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
            self.listeners.tell("dropped", _("{what}: {why}.").format(what=what, why=why))
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

    def _drop(self, which: Callable[[Task], bool]) -> int:
        found = [task for task in self.board.tasks if which(task)]
        for task in found:
            self.board.drop(task)
        self.board.tell_busy(self._changed_at is not None)
        return len(found)

    def need_engine(self) -> None:
        """Install and import what every job needs, the first time; in the main thread.

        Raises:
            InstallError: ``install.*``. ModelError: ``model.torch``, ``model.package``.
        """
        if not self._engine_ready:
            if self._install is not None:
                self._install()
            import_engine()
            self._engine_ready = True

    def _before_a_job(self, task: Task) -> None:
        """What a job needs is installed and imported here, in the main thread, the first time."""
        self.need_engine()
        if self.model_name in self._ready_models or isinstance(task, ForgetTask):
            return
        if self._install_sam2 is not None and needs_sam2(self.model_name):
            self._install_sam2()
        import_model(self.model_name)
        self._ready_models.add(self.model_name)
