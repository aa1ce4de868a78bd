from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import SegmentAnythingMedLib
from SegmentAnythingMedLib.errors import Cancelled
from SegmentAnythingMedLib.files.locks import file_lock
from SegmentAnythingMedLib.progress import Progress

PACKAGE = str(Path(SegmentAnythingMedLib.__file__).parent.parent)
HOLD = """
import sys, time
from SegmentAnythingMedLib.files.locks import file_lock
with file_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A lock that another process holds, and that process."""
    path = tmp_path / "x.lock"
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": PACKAGE}
    )
    assert owner.stdout.readline() == "held\n"
    yield path, owner
    owner.kill()
    owner.wait()
    owner.stdout.close()


def test_a_lock_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with file_lock(tmp_path / "x.lock"):
            assert (tmp_path / "x.lock").is_file()


def test_waiting_for_another_process_shows_and_can_be_cancelled(held):
    labels = []
    progress = Progress(lambda now: labels.append(now.label))
    threading.Timer(0.3, progress.cancel).start()
    with pytest.raises(Cancelled), file_lock(held[0], progress, "Waiting for x"):
        pytest.fail("two owners of one lock")
    assert labels == ["Waiting for x"]


def test_a_killed_owner_leaves_no_lock(held):
    path, owner = held
    threading.Timer(0.3, owner.kill).start()
    with file_lock(path):
        assert owner.wait() != 0


def test_two_threads_take_turns(tmp_path):
    inside, most = [0], [0]

    def work():
        for _ in range(3):
            with file_lock(tmp_path / "x.lock"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.01)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_lock_that_cannot_be_made(tmp_path):
    with pytest.raises(OSError, match="No such file"), file_lock(tmp_path / "none" / "x.lock"):
        pytest.fail("locked nothing")
