"""What a person sees in a terminal while something long runs, and how ``^C`` ends it without losing what is done."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from ..progress import Progress

DELAY_S = 1.0
"""Steps shorter than this show nothing."""
_REDRAW_S = 0.2
_BAR = 24


class ProgressBar:
    """A line on standard error for the running step; shows nothing unless that is a terminal.

    Use as a context manager around the work; give :meth:`listen` to a ``Progress``. A thread redraws the line, so that
    a step that reports nothing still shows how long it has been running.

    Args:
        stream: standard error by default.
        delay_s: seconds before a step is shown.
    """

    def __init__(self, stream: TextIO | None = None, delay_s: float = DELAY_S) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.delay_s = delay_s
        self.shown = self.stream.isatty()
        self._progress: Progress | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._drawn = False

    def __enter__(self) -> ProgressBar:
        if self.shown:
            self._thread = threading.Thread(target=self._redraw, name="progress bar", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self.clear()

    def listen(self, progress: Progress) -> None:
        """Listener of a ``Progress``."""
        self._progress = progress

    def draw(self) -> None:
        """Write the line for the current step."""
        progress = self._progress
        if not self.shown or progress is None or not progress.label or progress.elapsed_s < self.delay_s:
            return
        width = shutil.get_terminal_size().columns - 1
        self.stream.write("\r\x1b[K" + describe_progress(progress)[:width])
        self.stream.flush()
        self._drawn = True

    def clear(self) -> None:
        """Take the line away, so that other text can be written."""
        if self._drawn:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._drawn = False

    def _redraw(self) -> None:
        while not self._done.wait(_REDRAW_S):
            self.draw()


def describe_progress(progress: Progress) -> str:
    """One line: label, bar and remaining time where the total is known, else the count and the time so far."""
    if progress.cancelled:
        return f"{progress.label}: cancelling, what is done will be kept; ^C again stops at once"
    if progress.total:
        part = min(progress.done / progress.total, 1.0)
        bar = "#" * int(part * _BAR)
        amount = f"{progress.done}/{progress.total}"
        if progress.unit == "B":
            amount = f"{progress.done / 1e6:.1f}/{progress.total / 1e6:.1f} MB"
        text = f"{progress.label}  [{bar:.<{_BAR}}] {amount}"
        left = progress.remaining_s
        return text if left is None else f"{text}  {_clock(left)} left"
    done = f"{progress.done / 1e6:.1f} MB" if progress.unit == "B" else progress.done
    count = f"  {done} done" if progress.done else ""
    return f"{progress.label}{count}  {_clock(progress.elapsed_s)}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def say(text: str, stream: TextIO | None = None) -> None:
    """Write one line to standard error; line breaks in ``text`` become spaces."""
    stream = sys.stderr if stream is None else stream
    stream.write(" ".join(text.split()) + "\n")
    stream.flush()


def warn(texts: Iterable[str]) -> None:
    """Write each warning once to standard error."""
    for text in dict.fromkeys(texts):
        say(f"warning: {text}")


def print_json(content: Mapping[str, Any]) -> None:
    """Write indented JSON to standard output; numbers that JSON does not know (NaN) are an error."""
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def cancel_on_interrupt(progress: Progress) -> Iterator[None]:
    """The first ``^C`` cancels ``progress``, so that what is done is kept; the second one stops at once.

    Outside the main thread, where no signal can be caught, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_signal: int, _frame: FrameType | None) -> None:
        """The first interrupt asks to finish, the second stops."""
        if progress.cancelled:
            raise KeyboardInterrupt
        progress.cancel()  # and nothing else: a handler that writes can meet a half-written line

    before: Any = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Stopwatch:
    """Seconds spent in named steps, for the report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the stopwatch was made."""
        return time.perf_counter() - self._begun

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time of the block to ``name``."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
