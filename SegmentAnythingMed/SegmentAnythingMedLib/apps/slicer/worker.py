"""One thread that does the slow work, one job after the other; the main thread asks it and collects the results.

The thread is made once and lives as long as the module: a GPU keeps plans per thread, and a new thread for every prompt
would pay for them again. Jobs get numpy data and plain values; nothing of the scene may be touched from here.
"""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from ...errors import Cancelled, DeviceError, SegmentAnythingMedError, is_lack_of_memory
from ...progress import Progress
from .garbage import GUARD

QUEUED, RUNNING, DONE, FAILED, CANCELLED, REPLACED = "queued", "running", "done", "failed", "cancelled", "replaced"
END_S = 1.5
"""Seconds to wait for the thread when the application, or the tool that owns it, goes; it is a daemon."""
_NUMBERS = itertools.count(1)


class Job:
    """One piece of work; made by :meth:`Worker.submit`.

    Attributes:
        number: 1, 2, ... in the order of submission.
        tag: whatever the submitter wants to find again, or None.
        progress: what the function reports to; may be read from any thread.
        state: ``queued``, ``running``, ``done``, ``failed``, ``cancelled`` or ``replaced`` (never started: a newer job
            with the same key came).
        result: what the function returned, or None.
        error: what went wrong, always one of the library's errors; ``job.failed`` for what nobody foresaw.
        details: traceback of an unforeseen error as text, for a log; else empty.
        seconds: time that the function ran.
    """

    def __init__(self, function: Callable[..., Any], arguments: tuple, tag: Any, replaces: Any) -> None:
        self.number = next(_NUMBERS)
        self.tag, self.replaces = tag, replaces
        self.progress = Progress()
        self.state = QUEUED
        self.result: Any = None
        self.error: SegmentAnythingMedError | None = None
        self.details = ""
        self.seconds = 0.0
        self._work: tuple[Callable[..., Any], tuple] | None = (function, arguments)
        self._told: deque[Any] = deque()
        self._finished = threading.Event()

    @property
    def finished(self) -> bool:
        """True when nothing more will come."""
        return self._finished.is_set()

    def cancel(self) -> None:
        """Ask it to stop at the next clean place; a queued job does not start."""
        self.progress.cancel()

    def tell(self, item: Any) -> None:
        """Hand a part of the result to the main thread before the end (called by the function)."""
        self._told.append(item)

    def told(self) -> list[Any]:
        """What was told since the last call, in order."""
        items = []
        while self._told:
            items.append(self._told.popleft())
        return items

    def _run(self) -> str:
        """Do it; returns the state in which it ends."""
        function, arguments = self._work
        self.state, begun = RUNNING, time.perf_counter()
        try:
            self.progress.check()
            self.result = function(*arguments, self)
            return DONE
        except SegmentAnythingMedError as error:
            self.error = _bare(error)
            return CANCELLED if isinstance(error, Cancelled) else FAILED
        except BaseException as error:  # noqa: BLE001 - the thread outlives whatever a job raises, SystemExit too
            self.error = as_library_error(error)
            self.details = "".join(traceback.format_exception(error))
            return FAILED
        finally:
            self.seconds = time.perf_counter() - begun

    def _end(self, state: str) -> None:
        self._work = None  # the arguments hold an image
        self.state = state
        self._finished.set()


def _bare(error: SegmentAnythingMedError) -> SegmentAnythingMedError:
    """The error without the frames that raised it: they hold images and features."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)


def as_library_error(error: BaseException) -> SegmentAnythingMedError:
    """Any exception as one with a code: ``device.memory``, ``job.failed``; one of the library's stays as it is."""
    if isinstance(error, SegmentAnythingMedError):
        return error
    text = str(error).strip().splitlines()
    first = text[0][:200] if text else ""
    if is_lack_of_memory(error):
        return DeviceError(
            "device.memory",
            "There is too little free memory for this model and image. What was finished is kept; close other "
            "programs, choose a smaller model, or compute on the CPU.",
        )
    return SegmentAnythingMedError(
        "job.failed",
        f"An unexpected error stopped this step ({type(error).__name__}: {first}). What was finished is kept, nothing "
        "else was changed; please report it with the text in the log.",
    )


class Worker:
    """A queue of jobs and the daemon thread that does them. The thread starts with the first job.

    Args:
        name: of the thread, for debuggers.
    """

    def __init__(self, name: str = "SegmentAnythingMed worker") -> None:
        self._name = name
        self._change = threading.Condition()
        self._queue: deque[Job] = deque()
        self._finished: deque[Job] = deque()
        self._running: Job | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def running(self) -> Job | None:
        """The job that is being done."""
        return self._running

    @property
    def busy(self) -> bool:
        """True while a job runs or waits."""
        with self._change:
            return self._running is not None or bool(self._queue)

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, once it was needed."""
        return self._thread

    def submit(self, function: Callable[..., Any], *arguments: Any, tag: Any = None, replaces: Any = None) -> Job:
        """Queue ``function(*arguments, job)``.

        Args:
            function: runs in the worker's thread; reports to and asks ``job.progress``.
            arguments: numpy data and plain values.
            tag: kept in the job.
            replaces: a key; jobs of the same key that have not started are dropped and never reported.

        Raises:
            SegmentAnythingMedError: ``worker.stopped`` after :meth:`stop`.
        """
        job = Job(function, arguments, tag, replaces)
        with self._change:
            if self._stopping:
                raise SegmentAnythingMedError("worker.stopped", "The module is closing; nothing new can be started.")
            GUARD.hold(self)
            if replaces is not None:
                for old in [old for old in self._queue if old.replaces == replaces]:
                    self._queue.remove(old)
                    old._end(REPLACED)
            self._queue.append(job)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._change.notify_all()
        return job

    def poll(self) -> list[Job]:
        """Jobs that ended since the last call, in order; for the main thread. Replaced jobs are not among them."""
        if self.busy:
            GUARD.sweep()
        else:
            GUARD.release(self)
        jobs = []
        while self._finished:
            jobs.append(self._finished.popleft())
        return jobs

    def wait(self, job: Job, timeout: float | None = None) -> bool:
        """Block until a job has ended; False when ``timeout`` seconds passed first. It stays in :meth:`poll`."""
        return job._finished.wait(timeout)

    def cancel_all(self) -> None:
        """Cancel everything that runs or waits."""
        with self._change:
            for job in (*self._queue, *([self._running] if self._running else ())):
                job.cancel()

    def stop(self, timeout: float = 5.0) -> bool:
        """Cancel everything and end the thread, for good.

        Returns:
            False when the thread was still inside a step of the network after ``timeout`` seconds; it is a daemon and
            does not hold up the end of the program.
        """
        with self._change:
            self._stopping = True
            for job in self._queue:
                job.cancel()
            if self._running is not None:
                self._running.cancel()
            self._change.notify_all()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended:
            GUARD.release(self)
        return ended

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._queue and not self._stopping:
                    self._change.wait()
                if not self._queue:
                    return
                job = self._running = self._queue.popleft()
            state = job._run()
            with self._change:
                self._running = None
                self._finished.append(job)
                job._end(state)
            del job  # the thread waits for the next one without holding on to this one's result
