"""Calibrations kept on disk: what is found again is what was made, and nothing else is touched."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib import load_model
from SegmentAnythingMedLib.adaptive.arena import Arena, open_arena
from SegmentAnythingMedLib.adaptive.calibration import Calibration
from SegmentAnythingMedLib.adaptive.calibration_store import CalibrationStore, calibrated, calibration_key
from SegmentAnythingMedLib.adaptive.candidates import Asker
from SegmentAnythingMedLib.adaptive.references import PriorLooks
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.space.intensity import estimate_mapping
from visit_phantom import ellipsoid, visit

MADE = Calibration(0.91, 0.25, 3.0, 2.0, (0.9, 1.1), (4.0, float("inf")), 0.8)
KEY = "0123456789abcdef" * 4
PRIOR = ellipsoid((10, 30, 32), 9.0)


def arena(seed: int = 0, mask: np.ndarray = PRIOR, model=None) -> Arena:
    before, today = visit(PRIOR, seed=seed), visit(PRIOR, seed=9)
    mappings = (estimate_mapping(visit(PRIOR), "auto"),) * 2
    model = model or load_model("built-in")
    near = VisitSettings(search_mm=4, extent_mm=2)
    return open_arena(before, mask, today, PRIOR, [], VisitTransform.identity(), model, mappings, "k", near)


def test_what_was_stored_is_found_by_another_store(tmp_path) -> None:
    CalibrationStore(tmp_path).put(KEY, MADE)
    again = CalibrationStore(tmp_path)
    assert again.get(KEY) == MADE
    assert again.get(KEY[::-1]) is None
    assert (again.hits, again.misses) == (1, 1)
    single = replace(MADE, unit=None)
    again.put(KEY, single)
    assert again.get(KEY) == single


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_the_folder_is_the_users_own(tmp_path) -> None:
    store = CalibrationStore(tmp_path / "new")
    store.put(KEY, MADE)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    (file,) = store.folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"junk", b'x\n{"dice": 1}', bytes(range(256))])
def test_damaged_files_count_as_absent_and_go(tmp_path, damage: bytes) -> None:
    store = CalibrationStore(tmp_path)
    store.put(KEY, MADE)
    (file,) = store.folder.iterdir()
    file.write_bytes(damage)
    assert store.get(KEY) is None
    assert not file.exists()


def test_one_changed_digit_is_noticed(tmp_path) -> None:
    store = CalibrationStore(tmp_path)
    store.put(KEY, MADE)
    (file,) = store.folder.iterdir()
    file.write_text(file.read_text().replace("0.91", "0.19"))
    assert store.get(KEY) is None


def test_the_least_recently_used_go_beyond_the_quota(tmp_path) -> None:
    keys = [f"{n:064x}" for n in range(4)]
    CalibrationStore(tmp_path).put(keys[0], MADE)
    size = sum(file.stat().st_size for file in (tmp_path / "calibrations-v1").iterdir())
    store = CalibrationStore(tmp_path, quota_bytes=int(2.5 * size))
    for age, key in enumerate(keys):
        store.put(key, MADE)
        os.utime(store.folder / f"{key}.calibration", (1000 + age, 1000 + age))
    assert [store.get(key) is not None for key in keys] == [False, False, True, True]
    store.clear()
    assert not list(store.folder.iterdir())


def test_a_disk_that_refuses_ends_the_writing_not_the_job(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = CalibrationStore(tmp_path / "file")
    assert "not kept on disk" in store.problem
    store.put(KEY, MADE)
    assert store.get(KEY) is None


def test_keys_are_hashes_only(tmp_path) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        CalibrationStore(tmp_path).get("../patient")


def test_the_key_follows_the_content() -> None:
    model = load_model("built-in")
    first = arena(model=model)
    looks = PriorLooks(first, 3)
    key = calibration_key(first, looks, 3.0)
    assert key == calibration_key(arena(model=model), looks, 3.0)
    other = ellipsoid((10, 30, 32), 9.0)
    other[10, 30, 32] = False
    changed = arena(mask=other, model=model)
    others = {
        calibration_key(arena(seed=1, model=model), looks, 3.0),
        calibration_key(changed, PriorLooks(changed, 3), 3.0),
        calibration_key(first, PriorLooks(first, 2), 3.0),
        calibration_key(first, looks, 2.5),
    }
    assert len(others | {key}) == 5


def test_a_found_calibration_changes_nothing_but_the_work(tmp_path, monkeypatch) -> None:
    model, answers, decodes = load_model("built-in"), [], []
    for store in (None, CalibrationStore(tmp_path), CalibrationStore(tmp_path)):
        stage = arena(model=model)
        looks = PriorLooks(stage, 3)
        made = calibrated(stage, looks, 3.0, store)
        decodes.append(stage.prior.counters.decodes)
        answer = Asker(stage, looks, made.unit, stage.warped).ask(6, stage.warped[6], "")
        answers.append((made, answer.rho, answer.mask.tobytes(), answer.logits.tobytes()))
    assert answers[0] == answers[1] == answers[2]
    assert decodes[2] < decodes[1] == decodes[0]
    (file,) = (tmp_path / "calibrations-v1").iterdir()
    assert len(file.name) == 64 + len(CalibrationStore.SUFFIX)
