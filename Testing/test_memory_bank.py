"""What is remembered, what can be read, and how much of it there is."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.engine.memory_bank import MAP_REACH, POINTER_REACH, MemoryBank, SliceMemory, nearest


def memory(index: int) -> SliceMemory:
    return SliceMemory(np.zeros((1, 4, 8, 8), dtype=np.float16), np.full((1, 4), index, dtype=np.float32), 1.0)


@pytest.mark.parametrize("step", [1, -1])
def test_what_is_out_of_reach_is_forgotten(step):
    bank = MemoryBank({50: memory(50)})
    for n in range(1, 40):
        bank.remember(50 + step * n, memory(n), step)
    reading = bank.read(50 + step * 40, backward=step < 0)
    behind = sorted((40 - abs(index - 50)) for index in reading.recent)
    assert behind == list(range(1, POINTER_REACH + 1))
    with_maps = sorted(40 - abs(index - 50) for index, one in reading.recent.items() if one.map is not None)
    assert with_maps == list(range(1, MAP_REACH + 1))
    assert bank.nbytes == (1 + MAP_REACH) * 512 + (1 + POINTER_REACH) * 16


def test_slices_to_keep_are_kept_whole():
    bank = MemoryBank({0: memory(0)}, keep=range(1, 4))
    for n in range(1, 40):
        bank.remember(n, memory(n), 1)
    assert {1, 2, 3} <= set(bank.recent)
    assert bank.recent[2].map is not None
    assert set(bank.read(0, backward=True).recent) == {1, 2, 3}, "the rest is gone"
    assert 3 not in bank.read(39).recent


def test_nothing_ahead_is_read():
    bank = MemoryBank({0: memory(0)})
    bank.remember(5, memory(5), 1)
    assert bank.read(5).recent == {}
    assert bank.read(4).recent == {}
    assert set(bank.read(6).recent) == {5}


def test_nearest_conditioning_slices_before_and_after_come_first():
    slices = [0, 10, 20, 30, 40]
    assert nearest(22, slices, 0) == set(slices)
    assert nearest(22, slices, 5) == set(slices)
    assert nearest(22, slices, 1) == {20}
    assert nearest(22, slices, 2) == {20, 30}
    assert nearest(22, slices, 3) == {10, 20, 30}
    assert nearest(45, slices, 2) == {30, 40}
    assert nearest(-3, slices, 1) == {0}


def test_the_choice_of_conditioning_slices_is_sam2s():
    utilities = pytest.importorskip("sam2.modeling.sam2_utils", reason="the optional package sam2 is not installed")
    rng = np.random.default_rng(0)
    for _ in range(200):
        slices = {int(n): None for n in sorted(rng.choice(60, rng.integers(1, 12), replace=False))}
        index, most = int(rng.integers(0, 60)), int(rng.integers(2, 8))
        theirs, _ = utilities.select_closest_cond_frames(index, slices, most)
        assert nearest(index, slices, most) == set(theirs)


def test_conditioning_slices_that_are_not_chosen_are_read_as_ordinary_ones():
    bank = MemoryBank({n: memory(n) for n in (0, 10, 20, 23)}, most=2)
    reading = bank.read(25)
    assert set(reading.conditioning) == {20, 23}
    assert set(reading.recent) == {10}
    assert reading.recent[10].map is None
