"""The command ``adapt`` from outside, around a stand-in for its engine: files, exit codes, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from adapt_stub import stub_adapt
from dicom_balls import save_ball_series
from SegmentAnythingMedLib.apps import adapt_command, cli
from SegmentAnythingMedLib.apps.adapt_report import SCHEMA_PATH
from SegmentAnythingMedLib.apps.adapt_request import METHODS
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.drafts import Draft
from SegmentAnythingMedLib.files.images import load_volume, save_mask, save_volume
from SegmentAnythingMedLib.files.rtstruct import read_structure_set
from SegmentAnythingMedLib.files.rtstruct_write import write_rtstruct
from SegmentAnythingMedLib.files.structures import load_structures
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel, save_balls, two_balls

FILES = ("adapt", "--prior", "balls.nii.gz", "--prior-mask", "labels.nii.gz", "--follow-up", "today.nii.gz")
DICOM = ("adapt", "--prior", "ct", "--prior-mask", "prior.dcm", "--follow-up", "ct2")


@pytest.fixture(scope="module")
def visits(tmp_path_factory) -> Path:
    """Two visits as files and as DICOM series, with an approved RTSTRUCT of the prior."""
    folder = tmp_path_factory.mktemp("adapt")
    save_balls(folder)
    volume, labels = two_balls()
    save_volume(Volume(np.roll(volume.voxels, 2, axis=2), volume.affine), folder / "today.nii.gz")
    series = load_volume(save_ball_series(folder / "ct", SeriesInstanceUID="1.2.3.50", StudyInstanceUID="1.2.3.60"))
    save_ball_series(folder / "ct2")
    write_rtstruct(folder / "prior.dcm", series, [Draft("Left", labels == 1), Draft("Right", labels == 2)])
    return folder


@pytest.fixture
def folder(visits, monkeypatch) -> Path:
    """The visits, with everything that a test adds taken away again."""
    before = set(visits.rglob("*"))
    monkeypatch.chdir(visits)
    monkeypatch.setattr(adapt_command, "load_model", lambda *_: StubModel())
    monkeypatch.setattr(adapt_command, "adapt", stub_adapt)
    yield visits
    for path in sorted(set(visits.rglob("*")) - before, reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


def report_of(path: str) -> dict:
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    jsonschema.validate(report, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    return report


def test_files_to_files(folder, capsys):
    code, out, err = run(capsys, *FILES, "--output", "new", "--figure", "f.png")
    assert code == 0, err
    assert sorted(os.listdir("new")) == ["report.json", "structures.nii.gz", "transform.tfm"]
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "mask", "report", "figure", "transform", "accepted", "visits", "green", "green",
    ]  # fmt: skip
    assert "label 1: found" in lines[-2]
    report = report_of("new/report.json")
    assert report["outputs"] == {
        "mask": "structures.nii.gz",
        "report": "report.json",
        "figure": "f.png",
        "transform": "transform.tfm",
    }
    assert set(report["seconds"]) == {"read", "model", "segment", "total"}
    labels = load_volume("new/structures.nii.gz")
    assert labels.same_grid(load_volume("today.nii.gz"))
    for one in report["structures"]:
        assert np.count_nonzero(labels.voxels == one["label"]) == one["voxels"] > 0
    assert str(folder) not in json.dumps(report)


def test_a_transform_that_was_found_can_be_used_again(folder, capsys):
    assert run(capsys, *FILES, "--output", "one")[0] == 0
    code, _, err = run(capsys, *FILES, "--output", "two", "--transform", "one/transform.tfm")
    assert code == 0, err
    assert sorted(os.listdir("two")) == ["report.json", "structures.nii.gz"]
    first, second = report_of("one/report.json"), report_of("two/report.json")
    assert first["transform"]["sha256"] == second["transform"]["sha256"]
    assert second["registration"] is None


def test_dicom_to_dicom(folder, capsys):
    pytest.importorskip("highdicom")
    code, out, err = run(capsys, *DICOM, "--output", "out", "--write", "nifti,rtstruct,seg", "--json")
    assert code == 0, err
    report = report_of("out/report.json")
    assert json.loads(out) == report
    assert sorted(os.listdir("out")) == [
        "report.json", "structures.nii.gz", "structures.rtstruct.dcm", "structures.seg.dcm", "transform.tfm",
    ]  # fmt: skip
    today = load_volume("ct2")
    labels = load_volume("out/structures.nii.gz").voxels
    for name in ("rtstruct", "seg"):
        found = load_structures(f"out/structures.{name}.dcm", today)
        assert list(found.masks) == ["Left", "Right"]
        for value, mask in enumerate(found.masks.values(), 1):
            np.testing.assert_array_equal(mask, labels == value)
        assert report["dicom"][name]["dice"] == 1.0
    before, after = read_structure_set("prior.dcm"), read_structure_set("out/structures.rtstruct.dcm")
    assert after.approval == "UNAPPROVED"
    assert after.image_uids == set(today.source.sop_instance_uids)
    assert [roi.tracking_uid for roi in after.rois] == [roi.tracking_uid for roi in before.rois]
    follows = pydicom.dcmread("out/structures.rtstruct.dcm").PredecessorStructureSetSequence[0]
    assert follows.ReferencedSOPInstanceUID == before.sop_instance_uid
    segments = pydicom.dcmread("out/structures.seg.dcm").SegmentSequence
    assert [segment.TrackingUID for segment in segments] == [roi.tracking_uid for roi in before.rois]
    assert before.sop_instance_uid in segments[0].SegmentDescription
    assert "SECRET" not in Path("out/report.json").read_text() + err


def test_options_reach_the_engine(folder, capsys, monkeypatch):
    seen = {}

    def engine(prior, follow_up, model, **given):
        seen.update(given, names=list(prior.masks))
        return stub_adapt(prior, follow_up, model, **given)

    monkeypatch.setattr(adapt_command, "adapt", engine)
    sitk.WriteTransform(sitk.TranslationTransform(3, (2.0, 0.0, 0.0)), "t.tfm")
    code, _, err = run(
        capsys, *DICOM, "--output", "out", "--structures", "right", "--transform", "t.tfm", "--method", "registration",
        "--protocol", "published", "--allow", "visits.patient, visits.dates", "--policy", "segmented", "--policy",
        "Right=warped", "--axis", "j", "--window", "100,160",
    )  # fmt: skip
    assert code == 0, err
    assert seen["names"] == ["Right"]
    assert seen["transform"].kind == "translation"
    assert (seen["method"], seen["protocol"]) == ("registration", "published")
    assert tuple(seen["allow"]) == ("visits.patient", "visits.dates")
    assert (seen["settings"].policy_of("Left"), seen["settings"].policy_of("Right")) == ("segmented", "warped")
    assert (seen["settings"].axis, seen["settings"].window) == ("j", "100,160")
    assert seen["facts"].series_uid == "1.2.3.4"
    report = report_of("out/report.json")
    assert report["transform"]["kind"] == "translation"
    assert report["prior"]["structures"]["names"] == ["Right"]


REFUSED = [
    (("--output", "out", "--method", "magic"), "option.method", "p2sam, persam"),
    (("--output", "out", "--protocol", "mine"), "option.protocol", "default, published"),
    (("--output", "out", "--write", "stl"), "option.write", "nifti, rtstruct, seg"),
    (("--output", "out", "--policy", "Left=magic"), "option.policy", "segmented, warped"),
    (("--output", "out", "--policy", "=warped"), "option.policy", "segmented, warped"),
    (("--output", "out", "--axis", "z"), "option.axis", "z"),
    (("--output", "out", "--structures", ","), "option.structures", "names"),
    (("--output", "out", "--structures", "Heart"), "structures.unknown", "'label 1', 'label 2'; got 'Heart'"),
    (("--output", "out", "--transform", "gone.tfm"), "input.missing", "gone.tfm"),
    (("--output", "out", "--transform", "today.nii.gz"), "visits.transform", "today.nii.gz"),
    (("--output", "out", "--write", "rtstruct"), "rtstruct.no_series", "NIfTI"),
    (("--output", "today.nii.gz"), "output.not_a_folder", "is a file"),
    (("--output", "no/out"), "output.folder", "create it first"),
    (("--output", "out", "--report", "no/r.json"), "output.folder", "r.json"),
    (("--output", "out", "--figure", "f.pdf"), "output.format", ".png"),
    (("--output", "out", "--report", "labels.nii.gz"), "output.format", ".json"),
    (("--output", "out", "--prior", "gone.nii.gz"), "input.missing", "gone.nii.gz"),
    (("--output", "out", "--follow-up", "gone.nii.gz"), "input.missing", "gone.nii.gz"),
    (("--output", "out", "--prior-mask", "gone.dcm"), "input.missing", "gone.dcm"),
    (("--output", "out", "--prior-mask", "empty.nii.gz"), "structures.empty", "no structure"),
    (("--output", "ct", "--prior", "ct"), "output.is_input", "folder of images"),
    (("--output", "ct/new", "--prior", "ct"), "output.is_input", "folder of images"),
    ((), "option.usage", "--output"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED, ids=[f"{n}-{c[1]}" for n, c in enumerate(REFUSED)])
def test_refused_before_anything_is_written(folder, capsys, arguments, code, words):
    if "empty.nii.gz" in arguments:
        volume, labels = two_balls()
        save_mask(labels == 9, volume, "empty.nii.gz")
    before = snapshot(folder)
    exit_code, out, err = run(capsys, *FILES, *arguments)
    assert (exit_code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"error: {code}: "), err
    assert words in err
    assert snapshot(folder) == before


@pytest.mark.parametrize(("module", "package"), [("ot", "POT"), ("sklearn.cluster", "scikit-learn")])
def test_a_missing_package_is_said_before_any_work(folder, capsys, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(adapt_command, "read_visits", lambda *_, **__: pytest.fail("refused before any work"))
    before = snapshot(folder)
    code, _, err = run(capsys, *FILES, "--output", "new")
    assert code == 2
    assert err.startswith("error: adaptive.package: ")
    assert package in err
    assert "segment-anything-med[adaptive]" in err
    assert snapshot(folder) == before


def test_an_engine_that_refuses_leaves_nothing(folder, capsys, monkeypatch):
    def refuse(*_, **__):
        raise InputError("visits.patient", "The visits are of different patients.")

    monkeypatch.setattr(adapt_command, "adapt", refuse)
    before = snapshot(folder)
    code, out, _ = run(capsys, *FILES, "--output", "new", "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "visits.patient"
    assert snapshot(folder) == before


def test_a_disk_that_fills_up_leaves_what_was_there(folder, capsys, monkeypatch):
    def full(path, *_, **__):
        Path(path).write_bytes(b"part")
        raise OSError(28, "No space left on device")

    assert run(capsys, *FILES, "--output", "out")[0] == 0
    before = snapshot(folder)
    monkeypatch.setattr("SegmentAnythingMedLib.apps.adapt_figure.save_visit_figure", full)
    code, _, err = run(capsys, *FILES, "--output", "out", "--figure", "f.png")
    assert code == 2
    assert "output.not_writable: Cannot write f.png: No space left on device." in err
    assert snapshot(folder) == before


def test_what_has_no_draft_gets_no_dicom_file(folder, capsys, monkeypatch):
    """Everything resolved: an empty image of labels, a report that says so, and no invented contour."""

    def nothing(prior, follow_up, model, **given):
        both = PriorVisit(prior.volume, {**prior.masks, "third": next(iter(prior.masks.values()))})
        result = stub_adapt(both, follow_up, model, **given)
        result.structures.pop("Left")
        return result

    from SegmentAnythingMedLib.adaptive.visit_results import PriorVisit

    monkeypatch.setattr(adapt_command, "adapt", nothing)
    code, _, err = run(capsys, *DICOM, "--output", "out", "--write", "nifti,rtstruct,seg")
    assert code == 0, err
    assert sorted(os.listdir("out")) == ["report.json", "structures.nii.gz", "transform.tfm"]
    assert not load_volume("out/structures.nii.gz").voxels.any()
    assert "no DICOM file was written" in err


def test_a_cancel_keeps_what_is_finished(folder, capsys, monkeypatch):
    def stopped(*arguments, **given):
        return replace(stub_adapt(*arguments, **given), completed=False)

    monkeypatch.setattr(adapt_command, "adapt", stopped)
    code, _, err = run(capsys, *FILES, "--output", "out")
    assert code == 0
    assert "Cancelled: the masks are what was finished before." in err
    assert report_of("out/report.json")["completed"] is False
    assert Path("out/structures.nii.gz").is_file()


def test_a_second_interrupt_leaves_nothing(folder, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapt_command, "adapt", interrupted)
    before = snapshot(folder)
    assert run(capsys, *FILES, "--output", "new")[0] == 130
    assert snapshot(folder) == before


def test_regions_without_a_voxel_are_said(folder, capsys):
    dataset = pydicom.dcmread("prior.dcm")
    del dataset.ROIContourSequence[1].ContourSequence
    dataset.save_as("half.dcm")
    line = ["half.dcm" if text == "prior.dcm" else text for text in DICOM]
    code, _, err = run(capsys, *line, "--output", "out")
    assert code == 0
    assert "Right: left out, it is empty." in err
    code, _, err = run(capsys, *line, "--output", "out", "--structures", "Right")
    assert code == 2
    assert "error: structures.empty: " in err
    assert "Right: it is empty" in err


def test_114_structures_of_another_frame_of_reference(folder, capsys):
    dataset = pydicom.dcmread("prior.dcm")
    for roi in dataset.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.3.8"
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3.8"
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].ContourImageSequence = []
    for drawn in dataset.ROIContourSequence:
        for contour in drawn.ContourSequence:
            del contour.ContourImageSequence
    dataset.save_as("other.dcm")
    line = ["other.dcm" if text == "prior.dcm" else text for text in DICOM]
    before = snapshot(folder)
    code, _, err = run(capsys, *line, "--output", "out")
    assert code == 2
    assert "error: visits.frame: " in err
    assert "allow visits.frame" in err
    assert snapshot(folder) == before
    code, _, err = run(capsys, *line, "--output", "out", "--allow", "visits.frame")
    assert code == 0
    assert "used on request" in err
    assert any("used on request" in one["text"] for one in report_of("out/report.json")["warnings"])


def test_methods_are_those_of_the_library():
    from SegmentAnythingMedLib.adaptive.methods import METHOD_NAMES

    assert set(METHODS) == {*METHOD_NAMES, "registration"}


@pytest.mark.parametrize("asked", [True, False])
def test_calibrations_are_kept_only_where_it_is_asked(folder, capsys, monkeypatch, asked: bool) -> None:
    given = {}

    def noting(*visits, **options):
        given.update(options)
        return stub_adapt(*visits, **options)

    monkeypatch.setattr(adapt_command, "adapt", noting)
    code, _, _ = run(capsys, *FILES, "--output", "out", *(("--cache", "kept") if asked else ()))
    assert code == 0
    store = given["calibrations"]
    assert (store is not None) == asked == (folder / "kept").exists()
    assert not asked or store.folder.parent == Path("kept")


def test_a_cache_that_cannot_be_written_is_told(folder, capsys) -> None:
    (folder / "kept").write_text("in the way")
    code, _, _ = run(capsys, *FILES, "--output", "out", "--cache", "kept")
    assert code == 0
    assert any("not kept on disk" in one["text"] for one in report_of("out/report.json")["warnings"])
