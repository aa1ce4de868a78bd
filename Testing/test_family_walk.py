"""A user's walk with every family: import a file in the published layout, segment the sample CT, read the report."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from SegmentAnythingMedLib.apps.cli import main
from SegmentAnythingMedLib.models import entries
from SegmentAnythingMedLib.models.families import FAMILIES
from test_lora import tuned
from test_sam_med2d import network as adapted
from test_tiny_vit import network_of
from tiny_sam import stock_sam
from tiny_sam2 import official_sam2, require_sam2

BOX = "28,20,60,50,10"


def sam_med2d() -> dict:
    return {"model": adapted.__wrapped__().state_dict(), "optimizer": {"state": {}}}


@cache
def sam2(version: str = "2.1") -> dict:
    require_sam2()
    return {"model": official_sam2("tiny", version, 256).state_dict()}


def medicosam() -> dict:
    state = {f"sam.{name}": tensor for name, tensor in stock_sam().state_dict().items()}
    return {"model_state": state, "decoder_state": {"out_conv.weight": torch.ones(2, 2, 1, 1)}, "epoch": 1}


# family -> (what the file holds, what must be said about it beside the family)
FILES = {
    "sam": (lambda: stock_sam().state_dict(), {}),
    "medsam": (lambda: {"model": stock_sam().state_dict(), "optimizer": {}, "epoch": 9}, {}),
    "medicosam": (medicosam, {}),
    "sam2": (sam2, {"image_size": "256"}),
    "medsam2": (sam2, {"image_size": "256"}),
    "sam-med2d": (sam_med2d, {}),
    "mobile-sam": (lambda: network_of("mobile-sam").state_dict(), {"image_size": "128"}),
    "lite-medsam": (lambda: network_of("lite-medsam").state_dict(), {"image_size": "64"}),
}


def run(*arguments: str, capsys) -> dict:
    """The JSON that a command prints; it must succeed."""
    code = main([*arguments, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err + printed.out
    return json.loads(printed.out)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path


def test_every_family_is_walked():
    assert FILES.keys() == FAMILIES.keys()


@pytest.mark.parametrize("family", FILES)
def test_import_segment_and_report(folder, sample, capsys, family):
    make, more = FILES[family]
    file = folder / "mine.pth"
    torch.save(make(), file)
    Path(f"{file}.json").write_text(json.dumps({"family": family, "licence": "CC0-1.0", **more}))
    run("models", "import", str(file), "--as", "mine", capsys=capsys)
    assert "mine" in {model["name"] for model in run("models", "list", capsys=capsys)["models"]}
    report = folder / "report.json"
    run(
        "segment", str(sample / "ct.nii.gz"), "--box", BOX, "--model", "mine", "--limits", "9,11",
        "--output", str(folder / "mask.nii.gz"), "--report", str(report), capsys=capsys,
    )  # fmt: skip
    report = json.loads(report.read_text(encoding="utf-8"))
    assert report["settings"]["engine"] == ("memory" if family in ("sam2", "medsam2") else "prompt")
    slices = {record["index"]: record["reason"] for record in report["objects"][0]["records"]}
    assert set(slices) == {9, 10, 11}
    assert slices[10] == "seed"
    assert report["objects"][0]["voxels"] > 0
    assert report["counters"]["encodes"] >= 3
    assert report["seconds"]["segment"] > 0
    assert all(one["text"] for one in report["warnings"])
    model = report["model"]
    assert report["preprocessing"]["preparation"] == FAMILIES[family].preparation
    keeps_aspect = family in ("sam", "medicosam", "mobile-sam", "lite-medsam")
    assert ("square pixels" if keeps_aspect else "stretched") in report["preprocessing"]["frame"]
    assert (model["name"], model["family"], model["licence"]) == ("mine", family, "CC0-1.0")
    assert len(model["sha256"]) == 64
    assert (folder / "mask.nii.gz").is_file()


OTHERS = {
    "a low-rank fine-tuning": (lambda: {"model_state": tuned("micro-sam").state_dict()}, {"family": "sam"}, []),
    "SAM 2.0 on single slices": (lambda: sam2("2.0"), {"family": "sam2", "image_size": "256"}, ["--engine", "prompt"]),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_forms_of_these_families_are_walked_too(folder, sample, capsys, kind):
    make, sidecar, options = OTHERS[kind]
    file, report = folder / "best.pt", folder / "report.json"
    torch.save(make(), file)
    Path(f"{file}.json").write_text(json.dumps({"licence": "CC0-1.0", **sidecar}))
    run("models", "import", str(file), "--as", "mine", capsys=capsys)
    run(
        "segment", str(sample / "ct.nii.gz"), "--box", BOX, "--model", "mine", "--limits", "9,11", *options,
        "--output", str(folder / "mask.nii.gz"), "--report", str(report), capsys=capsys,
    )  # fmt: skip
    told = json.loads(report.read_text(encoding="utf-8"))
    assert (told["model"]["family"], told["settings"]["engine"]) == (sidecar["family"], "prompt")
    assert {record["index"] for record in told["objects"][0]["records"]} == {9, 10, 11}
    assert told["objects"][0]["voxels"] > 0
    assert told["counters"]["encodes"] == 3


def test_a_low_rank_fine_tuning_by_path(folder, sample, capsys):
    torch.save({"model_state": tuned("micro-sam").state_dict()}, folder / "best.pt")
    run(
        "segment", str(sample / "ct.nii.gz"), "--box", BOX, "--model", str(folder / "best.pt"), "--no-propagate",
        "--output", str(folder / "mask.nii.gz"), capsys=capsys,
    )  # fmt: skip


def test_a_family_that_cannot_be_told_is_asked_for_on_the_command_line(folder, sample, capsys):
    torch.save(stock_sam().state_dict(), folder / "best.pt")
    arguments = [
        "segment", str(sample / "ct.nii.gz"), "--box", BOX, "--model", str(folder / "best.pt"), "--no-propagate",
        "--output", str(folder / "mask.nii.gz"),
    ]  # fmt: skip
    assert main(arguments) == 2
    assert "error: checkpoint.ambiguous: best.pt is a SAM vit_64" in capsys.readouterr().err
    assert not (folder / "mask.nii.gz").exists()
    assert main([*arguments, "--family", "medsam"]) == 0
