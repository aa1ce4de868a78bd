from __future__ import annotations

import os
import stat
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib.engine.feature_store import FeatureStore, pack
from SegmentAnythingMedLib.engine.features import FeatureCache, feature_key, slice_key
from SegmentAnythingMedLib.models.frame import Frame, Region
from SegmentAnythingMedLib.models.interface import ModelInfo, SliceFeatures

FRAME = Frame((20, 30), Region(-2, 0, 18, 30), 64, (43, 64))
MODEL = ModelInfo("tiny", "sam", "vit_64", "0" * 64, "test", "Apache-2.0")
KIB = 1024


def features(value: float = 1.0, kib: int = 1) -> SliceFeatures:
    """Features of ``kib`` KiB once stored as float16."""
    return SliceFeatures({"image_embedding": torch.full((kib, 8, 64), value)}, FRAME)


def key(number: int) -> str:
    return feature_key(f"{number:032x}", MODEL, FRAME)


def files(folder) -> list:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_slice_key_sees_content_dtype_and_shape():
    image = np.arange(12, dtype=np.int16).reshape(3, 4)
    assert slice_key(image) == slice_key(image.copy())
    assert slice_key(image) == slice_key(np.asfortranarray(image)), "the layout in memory does not matter"
    changed = image.copy()
    changed[2, 3] += 1
    others = [changed, image.astype(np.int32), image.reshape(4, 3), image.view(np.uint16), image[:, ::-1]]
    assert len({slice_key(image), *map(slice_key, others)}) == len(others) + 1


def test_feature_key_sees_everything_that_changes_features():
    base = feature_key("a", MODEL, FRAME, {"lower": -160.0, "upper": 240.0})
    assert base == feature_key("a", MODEL, FRAME, {"upper": 240.0, "lower": -160.0})
    others = [
        feature_key("b", MODEL, FRAME, {"lower": -160.0, "upper": 240.0}),
        feature_key("a", replace(MODEL, sha256="1" * 64), FRAME, {"lower": -160.0, "upper": 240.0}),
        feature_key("a", MODEL, Frame.squash((20, 30), 64), {"lower": -160.0, "upper": 240.0}),
        feature_key(
            "a", MODEL, Frame((20, 30), Region(-2, 0, 18, 29), 64, (43, 64)), {"lower": -160.0, "upper": 240.0}
        ),
        feature_key("a", MODEL, FRAME, {"lower": -160.0, "upper": 241.0}),
        feature_key("a", MODEL, FRAME),
        feature_key("a", replace(MODEL, family="medsam"), FRAME, {"lower": -160.0, "upper": 240.0}),
    ]
    assert len({base, *others}) == len(others) + 1


def test_returns_what_was_put_as_half_precision():
    cache = FeatureCache()
    assert cache.get(key(1)) is None
    stored = cache.put(key(1), SliceFeatures({"a": torch.tensor([1 / 3, 2.0])}, FRAME))
    found = cache.get(key(1))
    assert found is stored, "fresh and cached features are the same thing"
    assert found.frame == FRAME
    assert found.tensors["a"].dtype == np.float16
    np.testing.assert_array_equal(found.tensors["a"], np.array([1 / 3, 2.0], dtype=np.float16))
    assert (cache.hits, cache.misses, cache.disk_hits) == (1, 1, 0)


def test_what_is_stored_does_not_follow_the_callers_array():
    array = np.zeros(4, dtype=np.float16)
    cache = FeatureCache()
    cache.put(key(1), SliceFeatures({"a": array}, FRAME))
    array[:] = 7
    assert not cache.get(key(1)).tensors["a"].any()


def test_values_too_large_for_half_precision_stay_finite():
    stored = FeatureCache().put(key(1), SliceFeatures({"a": torch.tensor([1e5, 0.0])}, FRAME))
    assert stored.tensors["a"].dtype == np.float32
    assert stored.tensors["a"][0] == np.float32(1e5)


def test_memory_is_bounded_and_the_least_recently_used_goes():
    cache = FeatureCache(ram_bytes=3 * KIB, overflow_bytes=0)
    for number in range(3):
        cache.put(key(number), features(number))
    assert cache.get(key(0)) is not None
    cache.put(key(3), features(3))
    assert cache.nbytes == 3 * KIB
    assert [cache.get(key(number)) is not None for number in range(4)] == [True, False, True, True]
    cache.put(key(3), features(4))
    assert cache.nbytes == 3 * KIB, "replacing does not count twice"
    cache.put(key(9), features(9, kib=4))
    assert cache.get(key(9)) is None
    assert len(cache) == 3
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_disk_outlives_the_session(tmp_path):
    FeatureCache(folder=tmp_path).put(key(1), features(0.1, kib=3))
    again = FeatureCache(folder=tmp_path)
    found = again.get(key(1))
    assert found.frame == FRAME
    np.testing.assert_array_equal(found.tensors["image_embedding"], np.full((3, 8, 64), 0.1, dtype=np.float16))
    assert again.get(key(1)) is found
    assert (again.hits, again.disk_hits, again.misses) == (2, 1, 0)


def test_file_names_are_keys_and_nothing_is_left_over(tmp_path):
    cache = FeatureCache(folder=tmp_path)
    cache.put(key(1), features())
    cache.put(key(1), features())
    assert [path.name for path in files(tmp_path)] == [f"{key(1)}.features"]
    assert cache.store.nbytes == files(tmp_path)[0].stat().st_size
    with pytest.raises(ValueError, match="hexadecimal"):
        cache.put("../../name", features())
    assert len(files(tmp_path)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_the_folder_is_private_and_a_shared_parent_is_left_alone(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    store = FeatureStore(shared, 10**6)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "damage",
    [
        lambda blob: b"",
        lambda blob: blob[:-1],
        lambda blob: blob[: len(blob) // 2],
        lambda blob: blob[:-5] + bytes([blob[-5] ^ 255]) + blob[-4:],
        lambda blob: b"\x80\x04cos\nsystem\n" + blob,
        lambda blob: blob[:8] + b"\xff\xff\xff\x7f" + blob[12:],
        lambda blob: blob.replace(b"float16", b"object_"),
        lambda blob: blob.replace(b'"crc32"', b'"crc33"'),
        lambda blob: blob.replace(b"[1, 8, 64]", b"[9, 8, 64]"),
        lambda blob: blob.replace(b'"size": 64', b'"size": []'),
    ],
)
def test_damaged_files_are_a_miss_and_go(tmp_path, damage):
    FeatureCache(folder=tmp_path).put(key(1), features())
    path = files(tmp_path)[0]
    healthy = path.read_bytes()
    assert damage(healthy) != healthy
    path.write_bytes(damage(healthy))
    cache = FeatureCache(folder=tmp_path)
    assert cache.get(key(1)) is None
    assert not path.exists()
    cache.put(key(1), features())
    assert FeatureCache(folder=tmp_path).get(key(1)) is not None


def test_quota_drops_what_was_used_longest_ago(tmp_path):
    size = len(pack(FeatureCache().put(key(0), features())))
    store = FeatureStore(tmp_path, 3 * size)
    small = FeatureCache().put(key(0), features())
    for number in range(3):
        store.put(key(number), small)
        os.utime(store.folder / f"{key(number)}.features", (1000 + number, 1000 + number))
    assert store.get(key(0)) is not None
    store.put(key(3), small)
    assert store.nbytes == 3 * size
    assert [store.get(key(number)) is not None for number in range(4)] == [True, False, True, True]
    tiny = FeatureStore(tmp_path / "tiny", size - 1)
    tiny.put(key(1), small)
    assert files(tmp_path / "tiny") == []


def test_clear_removes_files_only_when_asked(tmp_path):
    cache = FeatureCache(folder=tmp_path)
    cache.put(key(1), features())
    cache.clear()
    assert cache.get(key(1)) is not None
    cache.clear(disk=True)
    assert cache.get(key(1)) is None
    assert cache.store.nbytes == 0


def test_a_disk_that_refuses_does_not_stop_the_work(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = FeatureCache(folder=blocked)
    cache.put(key(1), features())
    assert cache.get(key(1)) is not None
    assert "not kept on disk" in cache.store.problem
    assert blocked.read_text() == "not a folder"


def test_a_full_disk_leaves_no_partial_file(tmp_path, monkeypatch):
    cache = FeatureCache(folder=tmp_path)
    cache.put(key(1), features())

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache.put(key(2), features())
    assert "No space left" in cache.store.problem
    assert [path.name for path in files(tmp_path)] == [f"{key(1)}.features"]
    assert cache.get(key(2)) is not None


def test_threads_share_one_cache(tmp_path):
    cache = FeatureCache(ram_bytes=4 * KIB, folder=tmp_path, quota_bytes=40 * KIB)
    wrong = []

    def work(start: int) -> None:
        for step in range(60):
            number = (start * 7 + step) % 12
            found = cache.get(key(number))
            if found is None:
                found = cache.put(key(number), features(number))
            if found.tensors["image_embedding"][0, 0, 0] != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.hits + cache.misses == 240
    assert cache.nbytes <= 4 * KIB
    assert cache.store.nbytes == sum(path.stat().st_size for path in files(tmp_path))
