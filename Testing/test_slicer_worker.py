"""The worker thread: order, replacement, cancel, errors, end. No Slicer, no torch."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest
from conftest import REPOSITORY
from SegmentAnythingMedLib.apps.slicer.worker import Worker, as_library_error
from SegmentAnythingMedLib.errors import Cancelled, DeviceError, PromptError, SegmentAnythingMedError

MODULE = REPOSITORY / "SegmentAnythingMed"


@pytest.fixture
def worker():
    made = Worker()
    yield made
    assert made.stop(5)


class Gate:
    """A job that runs until it is let go, or cancelled."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, value, job):
        self.entered.set()
        while not self.open.wait(0.005):
            job.progress.check()
        return value


def wait(worker, job):
    assert worker.wait(job, 10)
    return job


def test_no_thread_before_the_first_job_and_one_for_all_of_them(worker):
    assert worker.thread is None
    threads = {wait(worker, worker.submit(lambda job: threading.current_thread())).result for _ in range(3)}
    assert threads == {worker.thread}
    assert worker.thread is not threading.main_thread()
    assert worker.thread.daemon


def test_results_come_in_order_with_their_tags(worker):
    jobs = [worker.submit(lambda n, job: n * n, n, tag=f"job {n}") for n in range(5)]
    wait(worker, jobs[-1])
    done = worker.poll()
    assert [(job.tag, job.result, job.state) for job in done] == [(f"job {n}", n * n, "done") for n in range(5)]
    assert worker.poll() == []


def test_a_waiting_job_is_replaced_by_a_newer_one_of_its_key_only(worker):
    gate = Gate()
    running = worker.submit(gate, "running", replaces="live")
    assert gate.entered.wait(5)
    old, other = worker.submit(lambda job: 1, replaces="live"), worker.submit(lambda job: 2, replaces="else")
    new = worker.submit(lambda job: 3, replaces="live")
    assert (old.state, old.finished) == ("replaced", True)
    gate.open.set()
    wait(worker, new)
    assert [job.result for job in worker.poll()] == ["running", 2, 3]
    assert (running.state, other.state) == ("done", "done")


def test_a_running_job_is_cancelled_at_its_next_check_and_a_waiting_one_never_starts(worker):
    gate, started = Gate(), []
    running, waiting = worker.submit(gate, 1), worker.submit(lambda job: started.append(1))
    assert gate.entered.wait(5)
    waiting.cancel()
    running.cancel()
    wait(worker, waiting)
    assert (running.state, waiting.state, started) == ("cancelled", "cancelled", [])
    assert isinstance(running.error, Cancelled)
    assert isinstance(waiting.error, Cancelled)
    assert len(worker.poll()) == 2


def test_parts_are_told_before_the_end(worker):
    gate = Gate()

    def work(job):
        job.tell("first")
        job.progress.start("Step", 4)
        job.progress.advance()
        gate("", job)
        job.tell("second")

    job = worker.submit(work)
    assert gate.entered.wait(5)
    assert job.told() == ["first"]
    assert (job.progress.label, job.progress.done, job.progress.total) == ("Step", 1, 4)
    gate.open.set()
    wait(worker, job)
    assert job.told() == ["second"]


def raising(error):
    def work(job):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PromptError("prompt.none", "Nothing."), "prompt.none"),
        (ZeroDivisionError("by zero"), "job.failed"),
        (MemoryError(), "device.memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "device.memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "device.memory"),
        (RuntimeError("shapes differ"), "job.failed"),
        (SystemExit(3), "job.failed"),
        (KeyboardInterrupt(), "job.failed"),
    ],
)
def test_an_error_is_a_result_and_the_thread_lives_on(worker, error, code):
    failed = wait(worker, worker.submit(raising(error)))
    assert (failed.state, failed.error.code) == ("failed", code)
    assert isinstance(failed.error, SegmentAnythingMedError)
    thread = worker.thread
    assert wait(worker, worker.submit(lambda job: "still here")).result == "still here"
    assert worker.thread is thread
    assert [job.state for job in worker.poll()] == ["failed", "done"]


def test_an_unforeseen_error_brings_its_text_and_traceback(worker):
    job = wait(worker, worker.submit(raising(ZeroDivisionError("by zero"))))
    assert "ZeroDivisionError: by zero" in job.error.message
    assert "in work" in job.details
    assert as_library_error(DeviceError("device.missing", "No.")).code == "device.missing"


def test_arguments_and_frames_of_a_finished_job_are_let_go(worker):
    class Image:
        pass

    def fail(image, job):
        local = image
        raise PromptError("prompt.none", str(local))

    image = Image()
    gone = weakref.ref(image)
    job = wait(worker, worker.submit(fail, image))
    del image
    gc.collect()
    assert job.error.code == "prompt.none"
    assert gone() is None


class Cycle:
    """Garbage that only the collector can take apart; says where that happened."""

    def __init__(self, seen: list) -> None:
        self.itself, self.seen = self, seen

    def __del__(self) -> None:
        self.seen.append(threading.current_thread())


def test_the_main_threads_garbage_is_never_taken_apart_in_the_worker(worker):
    """VTK and Qt objects in reference cycles crashed the application when the worker's thread collected them."""
    seen: list[threading.Thread] = []

    def allocate(job):
        for _ in range(200):
            job.progress.check()
            kept = [[n] for n in range(1000)]  # far more than what starts an automatic collection
        return len(kept)

    gc.collect()
    assert gc.isenabled()
    job = worker.submit(allocate)
    for _ in range(200):
        Cycle(seen)
    assert worker.wait(job, 30)
    assert not gc.isenabled()
    worker.poll()
    assert gc.isenabled(), "when the worker sleeps, the collection goes on"
    gc.collect()
    assert len(seen) == 200
    assert set(seen) == {threading.main_thread()}


def test_young_garbage_is_collected_by_polling_while_a_job_runs(worker, monkeypatch):
    monkeypatch.setattr("SegmentAnythingMedLib.apps.slicer.garbage.INTERVAL_S", 0.0)
    seen: list[threading.Thread] = []
    gate = Gate()
    job = worker.submit(gate, 1)
    Cycle(seen)
    time.sleep(0.01)
    worker.poll()
    assert seen == [threading.main_thread()]
    gate.open.set()
    assert worker.wait(job, 10)
    worker.poll()


def test_a_collection_that_the_user_switched_off_stays_off(worker):
    gc.disable()
    try:
        job = worker.submit(lambda job: 1)
        assert worker.wait(job, 10)
        worker.poll()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_stop_ends_a_running_job_and_refuses_new_ones():
    worker, gate = Worker(), Gate()
    running = worker.submit(gate, 1)
    waiting = worker.submit(lambda job: 1)
    assert gate.entered.wait(5)
    assert worker.stop(5)
    assert not worker.thread.is_alive()
    assert (running.state, waiting.state) == ("cancelled", "cancelled")
    with pytest.raises(SegmentAnythingMedError) as caught:
        worker.submit(lambda job: 1)
    assert caught.value.code == "worker.stopped"
    assert worker.stop(0)


def test_a_step_that_cannot_be_interrupted_does_not_hold_up_the_end_of_the_program():
    code = (
        "import time; from SegmentAnythingMedLib.apps.slicer.worker import Worker\n"
        "worker = Worker(); job = worker.submit(lambda job: time.sleep(60)); time.sleep(0.1); print(worker.stop(0.1))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=MODULE, capture_output=True, text=True, timeout=30)
    assert (ran.stdout.strip(), ran.returncode) == ("False", 0), ran.stderr


def test_the_room_needs_the_standard_library_only():
    code = (
        "import sys; import SegmentAnythingMedLib.apps.slicer.worker;"
        "print([m for m in ('numpy', 'torch', 'slicer', 'vtk', 'qt') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=MODULE, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr
