"""Structures of DICOM files on the command line: as prompts, as results, to compare, to look at."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from dicom_balls import save_ball_series
from SegmentAnythingMedLib.apps import cli
from SegmentAnythingMedLib.apps.report import SCHEMA_PATH
from SegmentAnythingMedLib.files.drafts import Draft
from SegmentAnythingMedLib.files.images import load_volume, save_mask
from SegmentAnythingMedLib.files.rtstruct import read_structure_set
from SegmentAnythingMedLib.files.rtstruct_write import write_rtstruct
from SegmentAnythingMedLib.files.structures import load_structures
from SegmentAnythingMedLib.models import catalog
from stub_model import StubModel, save_balls, two_balls

BOX = "9,9,31,31,10"
SEGMENT = ("segment", "ct", "--window", "100,160", "--output", "m.nii.gz")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    save_ball_series(tmp_path / "ct")
    save_balls(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "load_model", lambda name="built-in", device="auto", family=None: StubModel())
    return tmp_path


@pytest.fixture
def prior(folder):
    """An RTSTRUCT of both balls on the series."""
    volume, labels = load_volume("ct"), two_balls()[1]
    drafts = [Draft("Left ball", labels == 1), Draft("Right ball", labels == 2)]
    write_rtstruct("prior.dcm", volume, drafts)
    return volume, labels


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_all_kinds_of_files_at_once(folder, capsys):
    pytest.importorskip("highdicom")
    code, out, err = run(
        capsys, *SEGMENT, "--box", BOX, "--write", "seg,nifti,rtstruct", "--report", "r.json", "--figure", "f.png"
    )
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["mask", "report", "figure", "rtstruct", "seg", "label"]
    mask = load_volume("m.nii.gz").voxels > 0
    image = load_volume("ct")
    for name in ("m.rtstruct.dcm", "m.seg.dcm"):
        np.testing.assert_array_equal(load_structures(name, image).masks["object"], mask)
    report = json.loads(Path("r.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA_PATH.read_text()))
    assert report["outputs"] == {
        "mask": "m.nii.gz", "report": "r.json", "figure": "f.png", "rtstruct": "m.rtstruct.dcm", "seg": "m.seg.dcm"
    }  # fmt: skip
    for kind in ("rtstruct", "seg"):
        assert (report["dicom"][kind]["names"], report["dicom"][kind]["dice"]) == (["object"], 1.0)
    found = read_structure_set("m.rtstruct.dcm")
    assert found.approval == "UNAPPROVED"
    assert found.rois[0].algorithm == "SEMIAUTOMATIC"
    assert found.image_uids == set(image.source.sop_instance_uids)
    assert "SECRET" not in Path("r.json").read_text()


def test_dicom_only(folder, capsys):
    code, out, err = run(capsys, *SEGMENT, "--box", BOX, "--write", "rtstruct", "--json")
    assert code == 0, err
    assert json.loads(out)["outputs"] == {"rtstruct": "m.rtstruct.dcm"}
    assert not Path("m.nii.gz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--write", "pdf"), "option.write", "nifti, rtstruct, seg"),
        (("--write", ","), "option.write", "nifti, rtstruct, seg"),
        (("--structures", "a"), "option.structures", "--mask"),
        (("--mask", "labels.nii.gz", "--structures", ","), "option.structures", "names of structures"),
        (("--output", "no/m.nii.gz", "--write", "rtstruct"), "output.folder", "m.rtstruct.dcm"),
        (("--report", "ct", "--write", "rtstruct"), "output.format", "ending in .json"),
    ],
)
def test_refused(folder, capsys, arguments, code, words):
    before = sorted(folder.iterdir())
    box = () if "--mask" in arguments else ("--box", BOX)
    exit_code, out, err = run(capsys, *SEGMENT, *box, *arguments)
    assert (exit_code, out) == (2, "")
    assert err.startswith(f"error: {code}: ")
    assert words in err
    assert sorted(folder.iterdir()) == before


def test_a_label_that_is_not_there(folder, capsys):
    line = ("segment", "balls.nii.gz", "--output", "m.nii.gz", "--mask", "labels.nii.gz", "--structures", "7")
    code, _, err = run(capsys, *line)
    assert code == 2
    assert err.startswith("error: structures.unknown: Expected one of the structures 'label 1', 'label 2'; got '7'")


@pytest.mark.parametrize(("kind", "word"), [("rtstruct", "DICOM series"), ("seg", "DICOM series")])
def test_other_images_cannot_have_dicom_structures(folder, capsys, monkeypatch, kind, word):
    monkeypatch.setattr(catalog, "load_model", lambda *_: pytest.fail("refused before any work"))
    line = ("segment", "balls.nii.gz", "--box", BOX, "--output", "m.nii.gz", "--write", f"nifti,{kind}")
    code, _, err = run(capsys, *line)
    assert code == 2
    assert err.startswith(f"error: {kind}.no_series: ")
    assert word in err
    assert "NIfTI" in err
    assert not Path("m.nii.gz").exists()


def test_22_a_series_without_a_frame_of_reference(folder, capsys):
    save_ball_series(folder / "lost", FrameOfReferenceUID=None)
    line = ("segment", "lost", "--window", "100,160", "--box", BOX, "--output", "m.nii.gz")
    assert run(capsys, *line)[0] == 0
    code, _, err = run(capsys, *line, "--write", "rtstruct")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: rtstruct.no_frame_of_reference: ")


def test_seg_without_highdicom_is_refused_before_any_work(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    monkeypatch.setattr(catalog, "load_model", lambda *_: pytest.fail("refused before any work"))
    code, _, err = run(capsys, *SEGMENT, "--box", BOX, "--write", "seg")
    assert code == 2
    assert "install.highdicom" in err


def test_contours_as_prompts(prior, capsys):
    _, labels = prior
    code, out, err = run(capsys, *SEGMENT, "--mask", "prior.dcm", "--json")
    assert code == 0, err
    assert [entry["name"] for entry in json.loads(out)["objects"]] == ["Left ball", "Right ball"]
    np.testing.assert_array_equal(load_volume("m.nii.gz").voxels, labels)
    code, out, err = run(capsys, *SEGMENT, "--mask", "prior.dcm", "--structures", "right ball", "--json")
    assert code == 0, err
    assert [entry["name"] for entry in json.loads(out)["objects"]] == ["Right ball"]
    np.testing.assert_array_equal(load_volume("m.nii.gz").voxels, labels == 2)


def measures(capsys, *arguments: str) -> dict:
    code, out, err = run(capsys, "evaluate", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_compare_any_two_kinds(prior, capsys):
    volume, labels = prior
    save_mask(labels, volume, "truth.nii.gz")
    save_mask(labels == 2, volume, "right.nii.gz")
    assert measures(capsys, "truth.nii.gz", "prior.dcm")["dice"] == 1.0
    assert measures(capsys, "prior.dcm", "truth.nii.gz")["dice"] == 1.0
    both = measures(capsys, "prior.dcm", "prior.dcm", "--image", "ct", "--structure", "Left ball")
    assert (both["dice"], both["structure"]) == (1.0, "Left ball")
    one = measures(capsys, "right.nii.gz", "prior.dcm", "--structure", "Right ball")
    assert one["dice"] == 1.0
    assert any("holds one label, 1" in note for note in one["warnings"])
    assert measures(capsys, "right.nii.gz", "prior.dcm", "--structure", "1")["dice"] == 0.0


def test_two_dicom_files_need_a_grid(prior, capsys):
    code, _, err = run(capsys, "evaluate", "prior.dcm", "prior.dcm")
    assert code == 2
    assert err.startswith("error: option.image: ")
    code, _, err = run(capsys, "evaluate", "prior.dcm", "prior.dcm", "--image", "ct", "--structure", "Heart")
    assert code == 2
    assert err.startswith("error: structures.unknown: ")


def test_what_a_structure_file_holds(prior, capsys):
    code, out, _ = run(capsys, "info", "prior.dcm")
    assert code == 0
    assert "RT Structure Set" in out
    assert "UNAPPROVED" in out
    assert "Left ball: SEMIAUTOMATIC" in out
    code, out, _ = run(capsys, "info", "prior.dcm", "--json")
    facts = json.loads(out)
    assert [(one["number"], one["name"]) for one in facts["structures"]] == [(1, "Left ball"), (2, "Right ball")]
    assert all(one["contours"] > 5 for one in facts["structures"])


def test_what_a_segmentation_holds(shared_data, capsys):
    code, out, err = run(capsys, "info", str(shared_data / "pet-headneck-dicom-seg" / "seg.dcm"))
    assert code == 0, err
    assert "DICOM Segmentation, binary" in out
