"""Jobs of the worker as the main thread sees them, and the board on which the running ones hang."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import Cancelled, SegmentAnythingMedError
from .events import Listeners, Step
from .worker import REPLACED, Job, Worker

if TYPE_CHECKING:
    from .controller import Controller

_LOG = logging.getLogger("SegmentAnythingMed")


class Task:
    """One job and what becomes of its result.

    Attributes:
        function: of the engine host.
        arguments: for it.
        replaces: key by which a newer task takes the place of one that has not started, or None.
        job: once it is on the board.
    """

    replaces: str | None = None

    def __init__(self, controller: Controller, function: Callable[..., Any], *arguments: Any) -> None:
        self.controller, self.function, self.arguments = controller, function, arguments
        self.job: Job | None = None

    def look(self) -> None:
        """Called in every poll while the job is on the board."""

    def done(self, result: Any) -> None:
        """The job has come to its end with a result."""

    def failed(self, error: SegmentAnythingMedError) -> None:
        """The job has come to its end with an error, or was cancelled before there was a result."""
        if not isinstance(error, Cancelled):
            self.controller.listeners.tell("error", error)

    def concerns(self, node: Any) -> bool:
        """True if the task is pointless without this node."""
        return False


class ForgetTask(Task):
    """The worker lets go of images; it needs no model."""


class EstimateTask(Task):
    """What a propagation would cost."""

    replaces = "estimate"

    def done(self, result: Any) -> None:
        """Tell it."""
        self.controller.listeners.tell("estimate", result)


class PrepareTask(Task):
    """Opens the model ahead of the first prompt."""

    replaces = "prepare"

    def done(self, result: Any) -> None:
        """Tell which model it is."""
        if result is not None:
            self.controller.listeners.tell("model", result)


class TaskBoard:
    """The tasks that run or wait, and the worker that does them.

    Args:
        listeners: told of ``busy``, ``progress`` and ``error``.
        before: called with a task in the main thread before it is started.
    """

    def __init__(self, listeners: Listeners, before: Callable[[Task], None]) -> None:
        self.worker = Worker()
        self._listeners, self._before = listeners, before
        self._tasks: list[Task] = []
        self._was_busy = False
        self._shown: tuple | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Those that run or wait."""
        return tuple(self._tasks)

    @property
    def busy(self) -> bool:
        """True while there are tasks, or the worker is still at one that was dropped: polling must go on."""
        return bool(self._tasks) or self.worker.busy

    def start(self, task: Task) -> None:
        """Give a task to the worker.

        Raises:
            SegmentAnythingMedError: ``worker.stopped``, ``model.torch``.
        """
        self._before(task)
        task.job = self.worker.submit(task.function, *task.arguments, tag=task, replaces=task.replaces)
        self._tasks = [other for other in self._tasks if other.job.state != REPLACED]
        self._tasks.append(task)
        self.tell_busy()

    def drop(self, task: Task) -> None:
        """Cancel a task and never hear of it again."""
        task.job.cancel()
        if task in self._tasks:
            self._tasks.remove(task)

    def clear(self) -> None:
        """Cancel everything and never hear of it again."""
        for task in self.tasks:
            self.drop(task)

    def poll(self) -> None:
        """Look at what runs, take in what has ended."""
        for task in self.tasks:
            self.guarded(task.look)
        for job in self.worker.poll():
            task = job.tag
            if task not in self._tasks:
                continue
            self._tasks.remove(task)
            if job.details:
                _LOG.error("%s", job.details)
            if job.error is None:
                self.guarded(lambda task=task, job=job: task.done(job.result))
            else:
                self.guarded(lambda task=task, job=job: task.failed(job.error))
        self._tell_progress()

    def guarded(self, action: Callable[[], Any]) -> None:
        """What the library refuses is told, and does not stop the others."""
        try:
            action()
        except SegmentAnythingMedError as error:
            self._listeners.tell("error", error)

    def tell_busy(self, more: bool = False) -> None:
        """Tell when there begins to be, or is no more, something to do."""
        busy = self.busy or more
        if busy != self._was_busy:
            self._was_busy = busy
            self._listeners.tell("busy", busy)

    def _tell_progress(self) -> None:
        running = next((task.job for task in self._tasks if task.job is self.worker.running), None)
        if running is None or not running.progress.label:
            self._shown = None
            return
        progress = running.progress
        at_most = progress.total is None and progress.at_most is not None
        total = progress.done + progress.at_most if at_most else progress.total
        shown = (running.number, progress.label, progress.done, total)
        if shown != self._shown:
            self._shown = shown
            step = Step(progress.label, progress.done, total, progress.longest_s, at_most)
            self._listeners.tell("progress", step)


def wait_for(poll: Callable[[], None], busy: Callable[[], bool], timeout: float | None) -> bool:
    """Poll until nothing is left to do; False after ``timeout`` seconds. For the console and for tests."""
    end = None if timeout is None else time.monotonic() + timeout
    poll()
    while busy():
        if end is not None and time.monotonic() > end:
            return False
        time.sleep(0.005)
        poll()
    return True
