"""The report fits its schema, says what is needed to repeat the work, and names no person and no folder."""

from __future__ import annotations

import hashlib
import json
import re

import jsonschema
import numpy as np
import pytest
from SegmentAnythingMedLib.apps.pipelines import Remark, segment_volume
from SegmentAnythingMedLib.apps.report import DICOM_NAME, SCHEMA_PATH, SCHEMA_VERSION, build_report, to_text
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.volume_prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    StopMark,
    VolumePrompts,
)
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel, two_balls

WINDOW = "100,160"
SCHEMA = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))


def check(report: dict) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(to_text(report)))


def all_kinds() -> VolumePrompts:
    drawn = np.zeros((64, 64), dtype=bool)
    drawn[40:50, 36:46] = True
    first = [BoxPrompt((9, 9, 10), (31, 31, 10)), StopMark(13), PointPrompt((20, 20, 5), 0)]
    second = [MaskPrompt(drawn, 14), ScribblePrompt(np.array([[38, 44, 15], [42, 44, 15]])), PointPrompt((40, 44, 16))]
    return VolumePrompts({"one": first, "two": second})


@pytest.fixture(scope="module")
def result():
    volume, _ = two_balls()
    volume = Volume(volume.voxels, volume.affine, modality="MR", name="balls.nii.gz", notes=("A note.",))
    return segment_volume(volume, all_kinds(), StubModel(), window=WINDOW)


def test_it_fits_the_schema(result):
    report = build_report(result, seconds={"read": 0.1}, seed=3, outputs={"mask": "m.nii.gz"})
    check(report)
    assert report["schema_version"] == SCHEMA_VERSION
    assert report["settings"]["seed"] == 3
    assert set(report["seconds"]) == {"read", "model", "segment"}


def test_the_schema_refuses_what_is_not_a_report(result):
    report = build_report(result)
    for spoil in (
        lambda r: r.pop("model"),
        lambda r: r.update(patient="x"),
        lambda r: r.update(schema_version="2.0"),
        lambda r: r["objects"][0]["records"][0].update(reason="because"),
        lambda r: r["model"].update(sha256="abc"),
    ):
        spoilt = json.loads(to_text(report))
        spoil(spoilt)
        with pytest.raises(jsonschema.ValidationError):
            check(spoilt)


def test_prompts_are_there_in_voxels_and_in_mm(result):
    report = build_report(result)
    affine = result.volume.affine
    assert [one["name"] for one in report["prompts"]] == ["one", "two"]
    box = report["prompts"][0]["prompts"][0]
    assert box["ijk"] == [[9, 9, 10], [31, 31, 10]]
    assert np.allclose(box["lps"], affine.ijk_to_lps(box["ijk"]))
    kinds = [prompt["type"] for one in report["prompts"] for prompt in one["prompts"]]
    assert kinds == ["box", "stop", "point", "mask", "scribble", "point"]


def test_objects_have_labels_volumes_and_a_reason_for_every_slice(result):
    one, two = build_report(result)["objects"]
    assert (one["label"], two["label"]) == (1, 2)
    for entry in (one, two):
        assert entry["voxels"] == np.count_nonzero(result.labels == entry["label"])
        assert entry["volume_ml"] == pytest.approx(entry["voxels"] * 0.002)
        accepted = [r["index"] for r in entry["records"] if not r["reason"].startswith("stopped:")]
        assert accepted == np.flatnonzero((result.labels == entry["label"]).any(axis=(1, 2))).tolist()
    assert one["end_upper"] == "stopped:user"
    assert {"index": 13, "reason": "stopped:user"} in one["records"]


def test_what_was_used(result):
    report = build_report(result)
    assert report["model"] == {
        "name": "stub", "family": "stub", "variant": "test",
        "sha256": "ab" * 32, "source": "stub.bin", "licence": "MIT",
    }  # fmt: skip
    assert report["device"]["device"] == "cpu"
    assert report["preprocessing"]["intensity"]["lower"] == 20
    assert report["preprocessing"]["axis"] == "k"
    assert report["counters"]["encodes"] == result.counters.encodes > 0
    assert report["memory"]["peak_gpu_bytes"] is None
    assert report["labels_sha256"] == hashlib.sha256(result.labels.tobytes()).hexdigest()
    assert {"source": "image", "text": "A note."} in report["warnings"]


def test_remarks_from_outside_come_first(result):
    warnings = build_report(result, remarks=[Remark("prompts", "Moved.")])["warnings"]
    assert warnings[0] == {"source": "prompts", "text": "Moved."}


def test_the_image_is_known_by_its_content():
    volume, _ = two_balls()
    changed = volume.voxels.copy()
    changed[0, 0, 0] += 1
    hashes = [
        build_report(segment_volume(one, [BoxPrompt((9, 9, 10), (31, 31, 10))], StubModel(), window=WINDOW))["image"]
        for one in (volume, Volume(volume.voxels, volume.affine), Volume(changed, volume.affine))
    ]
    assert hashes[0]["voxels_sha256"] == hashes[1]["voxels_sha256"] != hashes[2]["voxels_sha256"]


def test_the_name_of_a_dicom_folder_stays_out():
    volume, _ = two_balls()
    volume = Volume(volume.voxels, volume.affine, name="DOE^JANE", source=object())
    result = segment_volume(volume, [BoxPrompt((9, 9, 10), (31, 31, 10))], StubModel(), window=WINDOW)
    report = build_report(result)
    assert report["image"]["name"] == DICOM_NAME
    assert "DOE" not in to_text(report)


def test_no_folder_is_named(result):
    assert re.search(r'"(/|[A-Za-z]:\\\\)', to_text(build_report(result))) is None


def test_after_a_cancel_it_says_so():
    volume, _ = two_balls()
    progress = Progress()
    model = StubModel(lambda count: progress.cancel() if count == 3 else None)
    prompts = [BoxPrompt((9, 9, 10), (31, 31, 10))]
    report = build_report(segment_volume(volume, prompts, model, window=WINDOW, progress=progress))
    check(report)
    assert report["completed"] is False
    assert report["objects"][0]["end_upper"] == "cancelled"
    assert report["warnings"][-1]["source"] == "job"


def test_without_propagation():
    volume, _ = two_balls()
    result = segment_volume(
        volume, [BoxPrompt((9, 9, 10), (31, 31, 10))], StubModel(), window=WINDOW, propagate=False
    )  # fmt: skip
    report = build_report(result)
    check(report)
    assert report["settings"]["propagate"] is False
    assert report["objects"][0]["end_lower"] == "not propagated"
