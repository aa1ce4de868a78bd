from __future__ import annotations

import os
import threading

import numpy as np
from SegmentAnythingMedLib.engine import feature_overflow, features
from SegmentAnythingMedLib.engine.feature_overflow import FeatureOverflow
from SegmentAnythingMedLib.engine.features import FeatureCache
from test_features import KIB, key
from test_features import features as made


def stored(value: float, kib: int = 1):
    return FeatureCache(overflow_bytes=0).put(key(0), made(value, kib))


def test_what_is_read_is_what_was_written():
    overflow = FeatureOverflow(10 * KIB)
    for number in range(3):
        assert overflow.put(key(number), stored(number + 0.1))
    for number in (2, 0, 1):
        found, wanted = overflow.get(key(number)), stored(number + 0.1)
        assert found.frame == wanted.frame
        assert found.tensors["image_embedding"].dtype == np.float16
        np.testing.assert_array_equal(found.tensors["image_embedding"], wanted.tensors["image_embedding"])
    assert overflow.get(key(7)) is None
    assert overflow.nbytes == 3 * KIB
    overflow.put(key(1), stored(9))
    assert overflow.nbytes == 3 * KIB, "features of a key do not change"


def test_a_walk_that_comes_again_finds_every_slice():
    cache, misses = FeatureCache(ram_bytes=3 * KIB), []
    for _ in range(3):
        for number in range(12):
            if cache.get(key(number)) is None:
                misses.append(number)
                cache.put(key(number), made(number))
            assert cache.get(key(number)).tensors["image_embedding"][0, 0, 0] == number
    assert misses == list(range(12))
    assert cache.nbytes == 3 * KIB
    cache.clear()
    assert cache.get(key(0)) is None
    assert cache.overflow.nbytes == 0


def test_without_it_such_a_walk_finds_nothing():
    cache, misses = FeatureCache(ram_bytes=3 * KIB, overflow_bytes=0), 0
    for _ in range(2):
        for number in range(4):
            misses += cache.get(key(number)) is None
            cache.put(key(number), made(number))
    assert misses == 8


def test_nothing_has_a_name_on_disk(tmp_path):
    overflow = FeatureOverflow(10 * KIB, tmp_path)
    overflow.put(key(1), stored(1))
    if os.name == "posix":
        assert list(tmp_path.iterdir()) == []
    overflow.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_full_file_keeps_what_came_first():
    overflow = FeatureOverflow(2 * KIB)
    assert [overflow.put(key(number), stored(number)) for number in range(4)] == [True, True, False, False]
    assert overflow.get(key(0)) is not None
    assert overflow.get(key(3)) is None
    assert "no room" in overflow.problem
    overflow.clear()
    assert overflow.problem is None


def test_half_of_the_free_disk_is_left_to_others(monkeypatch, tmp_path):
    usage = feature_overflow.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(feature_overflow.shutil, "disk_usage", lambda _: usage._replace(free=4 * KIB))
    overflow = FeatureOverflow(100 * KIB, tmp_path)
    assert [overflow.put(key(number), stored(number)) for number in range(3)] == [True, True, False]


def test_a_disk_that_refuses_does_not_stop_the_work_and_memory_takes_more(monkeypatch, tmp_path):
    cache = FeatureCache()
    assert cache.ram_bytes == features.RAM_BYTES
    cache.overflow = FeatureOverflow(10**6, tmp_path / "missing")
    cache.overflow.put(key(0), stored(0))
    assert "not kept on disk" in cache.overflow.problem
    assert cache.ram_bytes == features.RAM_BYTES_ALONE
    cache.put(key(1), made(1))
    assert cache.get(key(1)) is not None


def test_a_disk_that_fills_up_while_writing(monkeypatch, tmp_path):
    overflow = FeatureOverflow(10**6, tmp_path)
    overflow.put(key(0), stored(0))

    class Full:
        def seek(self, _: int) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(overflow, "_file", Full())
    assert not overflow.put(key(1), stored(1))
    assert "No space left" in overflow.problem
    assert overflow.get(key(0)) is None, "what was there is forgotten, not read wrongly"


def test_large_files_do_not_go_where_memory_pretends_to_be_a_disk(monkeypatch):
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    if os.path.isdir("/var/tmp"):
        assert feature_overflow._large_temporary() == "/var/tmp"
    monkeypatch.setenv("TMPDIR", "/")
    assert feature_overflow._large_temporary() != "/var/tmp"


def test_threads_share_one_file():
    cache, wrong = FeatureCache(ram_bytes=2 * KIB), []

    def work(start: int) -> None:
        for step in range(60):
            number = (start * 7 + step) % 12
            found = cache.get(key(number)) or cache.put(key(number), made(number))
            if found.tensors["image_embedding"][0, 0, 0] != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.nbytes <= 2 * KIB
