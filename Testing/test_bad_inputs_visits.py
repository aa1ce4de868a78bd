"""Faults of two visits, from files to files through the real engine: refused, allowed and recorded, or never invented.

The numbers are those of the list of faults in the specification (workflow, 5.7 I).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_balls import save_ball_series
from SegmentAnythingMedLib.adaptive import visits
from SegmentAnythingMedLib.adaptive.registration_report import RegistrationReport, StructureFit
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.apps import adapt_command
from SegmentAnythingMedLib.files.drafts import Draft
from SegmentAnythingMedLib.files.images import load_volume, save_mask, save_volume
from SegmentAnythingMedLib.files.mask_agreement import dice
from SegmentAnythingMedLib.files.rtstruct import read_structure_set
from SegmentAnythingMedLib.files.rtstruct_write import write_rtstruct
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel, two_balls
from test_adapt_cli import report_of, run, snapshot

PRIOR = {"SeriesInstanceUID": "1.2.3.50", "StudyInstanceUID": "1.2.3.60", "FrameOfReferenceUID": "1.2.3.70",
         "StudyDate": "20260501", "PatientSex": "F", "PatientBirthDate": "19500102"}  # fmt: skip
TODAY = {"StudyDate": "20260901", "PatientSex": "F", "PatientBirthDate": "19500102"}
LINE = ("adapt", "--prior", "prior", "--prior-mask", "prior.dcm", "--follow-up", "today", "--output", "out",
        "--write", "nifti,rtstruct", "--transform", "none", "--method", "registration")  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A prior visit in May with an approved RTSTRUCT; the test adds today's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapt_command, "load_model", lambda *_: StubModel())
    volume, labels = load_volume(save_ball_series(tmp_path / "prior", **PRIOR)), two_balls()[1]
    write_rtstruct("prior.dcm", volume, [Draft("Left", labels == 1), Draft("Right", labels == 2)])
    signed = pydicom.dcmread("prior.dcm")
    signed.ApprovalStatus = "APPROVED"
    signed.save_as("prior.dcm")
    return tmp_path


STOPS = {
    "112 another patient": ({"PatientID": "ANOTHER"}, "visits.patient", "patient id"),
    "112 another sex": ({"PatientSex": "M"}, "visits.patient", "sex"),
    "112 another birth date": ({"PatientBirthDate": "19500103"}, "visits.patient", "birth date"),
    "112 the other side": ({"Laterality": "L"}, "visits.laterality", "side"),
    "113 dates reversed": ({"StudyDate": "20260401"}, "visits.dates", "older than the prior"),
    "113 the same study": ({"StudyInstanceUID": "1.2.3.60"}, "visits.same_study", "same study"),
    "113 the same series": ({"SeriesInstanceUID": "1.2.3.50"}, "visits.same_study", "same series"),
    "123 CT to MR": ({"Modality": "CT"}, "visits.modality", "across modalities"),
}


@pytest.mark.parametrize("fault", STOPS)
def test_refused_unless_allowed_and_then_recorded(folder, capsys, fault):
    tags, code, words = STOPS[fault]
    if "Laterality" in tags:
        save_ball_series(folder / "prior", **PRIOR, Laterality="R")
        line = [text if text != "prior.dcm" else "labels.nrrd" for text in LINE]
        save_mask(two_balls()[1], load_volume("prior"), "labels.nrrd")
    else:
        line = LINE
    save_ball_series(folder / "today", **{**TODAY, **tags})
    before = snapshot(folder)
    exit_code, out, err = run(capsys, *line)
    last = err.splitlines()[-1]
    assert (exit_code, out) == (2, "")
    assert last.startswith(f"error: {code}: ")
    assert words in last
    assert f"llow {code}" in last, "the sentence says how to go on"
    for secret in ("SECRET", "ANOTHER", "1950", "1.2.3."):
        assert secret not in err
    assert snapshot(folder) == before
    exit_code, out, err = run(capsys, *line, "--allow", code)
    assert exit_code == 0, err
    assert f"accepted {code}: " in out
    report = report_of("out/report.json")
    (finding,) = [one for one in report["findings"] if one["code"] == code]
    assert (finding["severity"], finding["overridden"]) == ("stop", True)
    assert "ANOTHER" not in json.dumps(report)
    assert read_structure_set("out/structures.rtstruct.dcm").approval == "UNAPPROVED"  # 124


def test_123_across_modalities_only_warped_contours_are_offered(folder, capsys):
    save_ball_series(folder / "today", **{**TODAY, "Modality": "CT"})
    line = [text if text != "registration" else "p2sam" for text in LINE]
    code, _, err = run(capsys, *line, "--allow", "visits.modality")
    assert code == 0, err
    report = report_of("out/report.json")
    assert {one["outcome"] for one in report["structures"]} == {"registration only"}
    assert {one["draft"] for one in report["structures"]} == {"warped"}
    assert "only what registration carries over is offered" in err


def test_another_code_does_not_help(folder, capsys):
    save_ball_series(folder / "today", **{**TODAY, "PatientID": "ANOTHER"})
    assert run(capsys, *LINE, "--allow", "visits.dates")[0] == 2
    assert not Path("out").exists()


def crop(volume: Volume, first: int) -> Volume:
    return Volume(volume.voxels[first:], volume.affine.shifted((0, 0, first)), modality="MR")


def files(folder: Path, prior: Volume, labels: np.ndarray, today: Volume) -> tuple[str, ...]:
    save_volume(prior, folder / "p.nii.gz")
    save_mask(labels, prior, folder / "l.nii.gz")
    save_volume(today, folder / "t.nii.gz")
    return ("adapt", "--prior", "p.nii.gz", "--prior-mask", "l.nii.gz", "--follow-up", "t.nii.gz", "--output", "out")


def test_118_outside_of_the_new_field_of_view(tmp_path, monkeypatch, capsys):
    """The left ball ends below the cropped follow-up: no mask, in words; the other one is not touched by that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapt_command, "load_model", lambda *_: StubModel())
    volume, labels = two_balls()
    line = files(tmp_path, volume, labels, crop(volume, 17))
    code, out, err = run(capsys, *line, "--transform", "none", "--method", "registration")
    assert code == 0, err
    first, second = report_of("out/report.json")["structures"]
    assert (first["outcome"], first["draft"], first["voxels"]) == ("not in image", "none", 0)
    assert "label 1: not in image" in out
    assert second["voxels"] > 0
    assert np.unique(load_volume("out/structures.nii.gz").voxels).tolist() == [0, 2]


def test_119_visits_that_do_not_overlap(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapt_command, "load_model", lambda *_: StubModel())
    volume, labels = two_balls()
    away = Volume(volume.voxels, volume.affine.shifted((300, 0, 0)), modality="MR")
    line = files(tmp_path, volume, labels, away)
    before = snapshot(tmp_path)
    code, _, err = run(capsys, *line, "--transform", "none", "--method", "registration")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: visits.overlap: ")
    assert "search by appearance alone" in err
    assert snapshot(tmp_path) == before
    code, _, err = run(capsys, *line, "--transform", "none", "--method", "registration", "--allow", "visits.overlap")
    assert code == 0, err
    assert os.listdir("out")
    assert all(one["voxels"] == 0 for one in report_of("out/report.json")["structures"])


def test_122_two_voxels_at_the_edge(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapt_command, "load_model", lambda *_: StubModel())
    volume, _ = two_balls()
    labels = np.zeros(volume.shape, np.uint8)
    labels[0, 20, 20:22] = 1
    line = files(tmp_path, volume, labels, volume)
    code, out, err = run(capsys, *line, "--transform", "none", "--method", "registration")
    assert code == 0, err
    report = report_of("out/report.json")
    assert {"visits.tiny", "visits.edge"} <= {one["code"] for one in report["findings"]}
    (one,) = report["structures"]
    assert one["outcome"] == "registration only"
    assert one["flag"]["colour"] in ("amber", "red")
    assert "green" not in out


class Astray:
    """A registration that folds space: what is left is the rigid alignment, and it says so."""

    def register(self, prior, follow_up, *, structures, progress=None):
        rigid = VisitTransform.translation((1.0, 0.0, 0.0), "registration")
        fits = {name: StructureFit(-0.2, 1.4, 0.03, 0.0, 0.0, 1.0) for name in structures}
        words = ("The deformation folds space; the rigid alignment alone is offered.",)
        return rigid, RegistrationReport("rigid", 0.2, 0.3, 0.25, fits, 0.03, ok=False, words=words, rigid=rigid)


def test_120_a_registration_that_went_astray(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapt_command, "load_model", lambda *_: StubModel())
    monkeypatch.setattr(visits, "SimpleITKRegistrar", Astray)
    volume, labels = two_balls()
    code, out, err = run(capsys, *files(tmp_path, volume, labels, volume), "--method", "registration")
    assert code == 0, err
    report = report_of("out/report.json")
    assert report["registration"]["ok"] is False
    assert report["transform"]["kind"] == "translation"
    assert [one["flag"]["colour"] for one in report["structures"]] == ["red", "red"]
    assert "folds space" in out


def test_121_a_lesion_that_is_gone_and_124(tmp_path, monkeypatch, capsys):
    """With the real model: the left ball has vanished, the right one is still there. No contour is invented."""
    monkeypatch.chdir(tmp_path)
    volume, labels = two_balls()
    noise = np.random.default_rng(0).normal(0, 3, volume.shape)
    voxels = (np.where(labels == 1, 20, volume.voxels) + noise).astype(np.int16)
    today = Volume(voxels, volume.affine, modality="MR")
    line = files(tmp_path, volume, labels, today)
    code, out, err = run(capsys, *line, "--transform", "none", "--device", "cpu", "--figure", "f.png")
    assert code == 0, err
    gone, there = report_of("out/report.json")["structures"]
    assert (gone["outcome"], gone["voxels"], gone["changes"]["volume_percent"]) == ("possibly resolved", 0, -100.0)
    assert gone["flag"]["colour"] != "green"
    assert there["outcome"] == "found"
    found = load_volume("out/structures.nii.gz").voxels
    assert not (found == 1).any()
    assert dice(found == 2, labels == 2) > 0.9
    assert "label 1: possibly resolved" in out
    assert any(one["prompts"] for one in there["slices"])
