"""Progress on a terminal only; one interrupt cancels, the second stops."""

from __future__ import annotations

import io
import os
import signal
import threading
import time

import pytest
from SegmentAnythingMedLib.apps.terminal import ProgressBar, Stopwatch, cancel_on_interrupt, describe_progress, say
from SegmentAnythingMedLib.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_to_a_file():
    stream = io.StringIO()
    with ProgressBar(stream, delay_s=0) as bar:
        Progress(bar.listen).start("Working", 3)
        bar.draw()
    assert stream.getvalue() == ""


def test_a_terminal_sees_a_line_and_is_left_clean():
    stream = Terminal()
    with ProgressBar(stream, delay_s=0) as bar:
        progress = Progress(bar.listen)
        progress.start("Working", 4)
        progress.advance()
        bar.draw()
        assert "Working  [######" in stream.getvalue()
        assert "1/4" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_short_steps_show_nothing():
    stream = Terminal()
    with ProgressBar(stream, delay_s=60) as bar:
        Progress(bar.listen).start("Working", 4)
        bar.draw()
    assert stream.getvalue() == ""


def test_a_step_that_reports_nothing_is_shown_by_the_thread():
    stream = Terminal()
    with ProgressBar(stream, delay_s=0) as bar:
        Progress(bar.listen).start("Opening the model")
        deadline = time.monotonic() + 5
        while "Opening the model" not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "Opening the model  0:0" in stream.getvalue()


def test_lines():
    progress = Progress()
    progress.start("Propagating")
    assert describe_progress(progress) == "Propagating  0:00"
    progress.advance(17)
    assert describe_progress(progress) == "Propagating  17 done  0:00"
    progress.start("Encoding", 2)
    progress.advance(2)
    assert describe_progress(progress) == f"Encoding  [{'#' * 24}] 2/2  0:00 left"
    progress.cancel()
    assert "cancelling" in describe_progress(progress)


def test_one_line_is_said():
    stream = io.StringIO()
    say("warning: two\nlines  and spaces", stream)
    assert stream.getvalue() == "warning: two lines and spaces\n"


def test_the_first_interrupt_cancels_and_the_second_stops():
    progress, before = Progress(), signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with cancel_on_interrupt(progress):
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                seen.append(progress.cancelled)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert seen == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_interrupts_are_left_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with cancel_on_interrupt(Progress()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_stopwatch():
    watch = Stopwatch()
    for _ in range(2):
        with watch.measure("step"):
            time.sleep(0.002)
    assert 0.004 <= watch.seconds["step"] <= watch.total
