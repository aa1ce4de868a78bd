"""Bad input from the command line: the code, the words, one line, exit code 2, and nothing written or changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from SegmentAnythingMedLib.apps import cli
from SegmentAnythingMedLib.errors import DeviceError
from SegmentAnythingMedLib.files.images import save_mask, save_volume
from SegmentAnythingMedLib.models import catalog, entries
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel, save_balls, two_balls

POINT = "--point 20,20,10"
SEGMENT = "segment balls.nii.gz --window 100,160 --output m.nii.gz --report r.json --figure f.png"
PROMPTS = {"version": 1, "objects": [{"name": "a", "prompts": [{"type": "point", "position": [20, 20, 10]}]}]}


def write(name: str, content: object) -> None:
    Path(name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def make_bad_files() -> None:
    """Everything that the table needs, in the working folder."""
    volume, labels = two_balls()
    save_mask(np.zeros(volume.shape, dtype=bool), volume, "empty_mask.nii.gz")
    save_mask(labels, volume, "two_labels.nii.gz")
    elsewhere = Volume(volume.voxels, Affine(volume.affine.shifted((500, 0, 0)).matrix))
    save_mask(labels == 1, elsewhere, "elsewhere.nii.gz")
    save_volume(Volume(volume.voxels * 0.01, volume.affine), "fractions.nii.gz")
    save_volume(Volume(np.full((4, 5, 6), np.nan, dtype=np.float32), volume.affine), "nan.nii.gz")
    Path("zero.nii.gz").touch()
    Path("cut.nii.gz").write_bytes(Path("balls.nii.gz").read_bytes()[:300])
    Path("empty_folder").mkdir()
    Path("folder.nii.gz").mkdir()
    write("text.txt", "hello")
    write("page.safetensors", "<!DOCTYPE html><html></html>")
    write("broken.json", "{")
    write("version.json", {**PROMPTS, "version": 9})
    write("no_objects.json", {"version": 1, "objects": []})
    write("size.json", {**PROMPTS, "size": [5, 5, 5]})
    write("unknown.json", {"version": 1, "objects": [{"name": "a", "prompts": [{"type": "wish"}]}]})
    np.savez("array.npz", voxels=volume.voxels)


CASES = [
    # (command line, code, words)
    ("", "option.usage", "required"),
    ("paint balls.nii.gz", "option.usage", "invalid choice"),
    ("segment", "option.usage", "IMAGE"),
    (f"segment balls.nii.gz {POINT}", "option.usage", "--output"),
    (f"{SEGMENT} {POINT} --colour blue", "option.usage", "--colour"),
    (f"{SEGMENT} {POINT} --proj mask", "option.usage", "--proj"),
    (f"{SEGMENT} --point", "option.usage", "expected one argument"),
    # images
    (f"segment no.nii.gz --output m.nii.gz {POINT}", "input.missing", "no.nii.gz was not found"),
    (f"segment zero.nii.gz --output m.nii.gz {POINT}", "input.empty", "0 bytes"),
    (f"segment cut.nii.gz --output m.nii.gz {POINT}", "input.truncated", "cut.nii.gz"),
    (f"segment text.txt --output m.nii.gz {POINT}", "input.unsupported", "expected a DICOM folder"),
    (f"segment array.npz --output m.nii.gz {POINT}", "input.unsafe", "can carry code"),
    (f"segment empty_folder --output m.nii.gz {POINT}", "dicom.no_series", "no files at all"),
    (f"segment nan.nii.gz --output m.nii.gz {POINT}", "volume.all_nan", "no voxel is a number"),
    ("info no.nii.gz", "input.missing", "check the path"),
    ("info balls.nii.gz --axis x", "option.axis", "k, j, i or auto"),
    ("info balls.nii.gz --window sunny", "option.window", "sunny"),
    # prompts
    (SEGMENT, "prompt.none", "--point"),
    (f"{SEGMENT} --point 20,20,99", "prompt.outside", "20,20,99"),
    (f"{SEGMENT} --point -3,20,10", "prompt.outside", "-3,20,10"),
    (f"{SEGMENT} --point 200,20,10 --space lps", "prompt.outside", "which is voxel"),
    (f"{SEGMENT} --point 20,20", "prompt.position", "'20,20'"),
    (f"{SEGMENT} --point 20,20,nan", "prompt.position", "finite"),
    (f"{SEGMENT} --point 20,20,10,2", "prompt.label", "1 .inside. or 0"),
    (f"{SEGMENT} --point 20,20,10,0", "prompt.only_negative", "positive"),
    (f"{SEGMENT} --box 9,9,31,31", "prompt.position", "five numbers"),
    (f"{SEGMENT} --box 9,9,9,9,10", "prompt.box_empty", "area"),
    (f"{SEGMENT} --box 70,70,90,90,10", "prompt.outside", "inside the volume"),
    (f"{SEGMENT} --box 9,9,31,31,24", "prompt.outside", "24"),
    (f"{SEGMENT} --box 9,9,31,31,10 --space lps", "prompt.position", "two corners"),
    (f"{SEGMENT} {POINT} --space mni", "option.space", "ijk, lps or ras"),
    (f"{SEGMENT} --mask empty_mask.nii.gz", "prompt.mask_empty", "empty_mask.nii.gz"),
    (f"{SEGMENT} --mask elsewhere.nii.gz", "mask.elsewhere", "lies elsewhere"),
    (f"{SEGMENT} --mask fractions.nii.gz", "volume.dtype", "whole numbers"),
    (f"{SEGMENT} --mask no.nii.gz", "input.missing", "no.nii.gz"),
    (f"{SEGMENT} {POINT} --mask two_labels.nii.gz", "prompt.mixed", "one label"),
    (f"{SEGMENT} {POINT} --prompts size.json", "prompt.mixed", "--prompts"),
    (f"{SEGMENT} --prompts no.json", "input.missing", "no.json"),
    (f"{SEGMENT} --prompts broken.json", "prompt.json", "broken.json"),
    (f"{SEGMENT} --prompts version.json", "prompt.json", "version 1"),
    (f"{SEGMENT} --prompts unknown.json", "prompt.json", "objects.0..prompts.0..type"),
    (f"{SEGMENT} --prompts no_objects.json", "prompt.none", "at least one object"),
    (f"{SEGMENT} --prompts size.json", "prompt.wrong_volume", "5 x 5 x 5"),
    (f"{SEGMENT} --point 60,3,10", "prompt.no_mask", "found no object"),
    # settings
    (f"{SEGMENT} {POINT} --iou-threshold 1.5", "option.iou_threshold", "between 0 and 1"),
    (f"{SEGMENT} {POINT} --iou-threshold nan", "option.iou_threshold", "between 0 and 1"),
    (f"{SEGMENT} {POINT} --iou-threshold half", "option.iou_threshold", "'half'"),
    (f"{SEGMENT} {POINT} --projection magic", "option.projection", "magic"),
    (f"{SEGMENT} {POINT} --limits 5", "option.limits", "LO,HI"),
    (f"{SEGMENT} {POINT} --limits 9,5", "option.limits", "LO <= HI"),
    (f"{SEGMENT} {POINT} --limits 12,14", "prompt.outside_limits", "12 to 14"),
    (f"{SEGMENT} {POINT} --axis z", "option.axis", "'z'"),
    (f"{SEGMENT} {POINT} --window 40,-5", "option.window", "above zero"),
    (f"{SEGMENT} {POINT} --window header", "option.window", "found none"),
    (f"{SEGMENT} {POINT} --seed -1", "option.seed", "whole number"),
    # models and devices
    (f"{SEGMENT} {POINT} --model sam-vit-x", "model.unknown", "nearest: sam-vit"),
    (f"{SEGMENT} {POINT} --model no.pth", "checkpoint.missing", "check the path"),
    (f"{SEGMENT} {POINT} --model page.safetensors", "checkpoint.html", "web page"),
    (f"{SEGMENT} {POINT} --model sam-vit-b", "checkpoint.missing", "sam_vit_b_01ec64.pth"),
    (f"{SEGMENT} {POINT} --device abacus", "device.unknown", "abacus"),
    (f"{SEGMENT} {POINT} --device cuda:99", "device.missing", "--device cpu"),
    # outputs
    (f"segment balls.nii.gz {POINT} --output m.txt", "output.format", "m.txt"),
    (f"segment balls.nii.gz {POINT} --output no/m.nii.gz", "output.folder", "does not exist"),
    (f"segment balls.nii.gz {POINT} --output folder.nii.gz", "output.not_a_file", "is a folder"),
    (f"segment balls.nii.gz {POINT} --output balls.nii.gz", "output.is_input", "balls.nii.gz is an input"),
    ("segment balls.nii.gz --mask labels.nii.gz --output labels.nii.gz", "output.is_input", "labels.nii.gz"),
    ("segment balls.nii.gz --prompts size.json --output m.nii --report size.json", "output.is_input", "size.json"),
    (f"{SEGMENT} {POINT} --report r.txt", "output.format", "ending in .json"),
    (f"{SEGMENT} {POINT} --figure f.pdf", "output.format", "ending in .png"),
    (f"{SEGMENT} {POINT} --report no/r.json", "output.folder", "r.json"),
    # evaluate
    ("evaluate labels.nii.gz", "option.usage", "REF"),
    ("evaluate no.nii.gz labels.nii.gz", "input.missing", "no.nii.gz"),
    ("evaluate labels.nii.gz labels.nii.gz --label 9", "option.label", "it has 1, 2"),
    ("evaluate labels.nii.gz labels.nii.gz --label liver", "option.label", "'liver'"),
    ("evaluate labels.nii.gz labels.nii.gz --label 0", "option.label", "of 1 or more"),
    ("evaluate fractions.nii.gz labels.nii.gz", "volume.dtype", "whole numbers"),
    ("evaluate elsewhere.nii.gz labels.nii.gz", "mask.elsewhere", "lies elsewhere"),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    before = Path.cwd()
    os.chdir(folder)
    save_balls(folder)
    make_bad_files()
    for name in ("m.nii.gz", "r.json", "f.png"):
        write(name, "of yesterday")
    os.chdir(before)
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def stub_for_known_names(monkeypatch) -> None:
    """The built-in model is replaced; every other name goes the real way."""
    real = catalog.load_model

    def load(name="built-in", device="auto", family=None):
        if name == "built-in" and device == "auto":
            return StubModel()
        return real(name, device, family)

    monkeypatch.setattr(catalog, "load_model", load)


@pytest.mark.parametrize(("line", "code", "words"), CASES, ids=[f"{n}-{case[1]}" for n, case in enumerate(CASES)])
def test_bad_input(prepared, monkeypatch, capsys, line, code, words):
    monkeypatch.chdir(prepared)
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(prepared / "models"))
    stub_for_known_names(monkeypatch)
    before = snapshot(prepared)
    exit_code = cli.main(line.split())
    out, err = capsys.readouterr()
    errors = [text for text in err.splitlines() if text.startswith("error: ")]
    assert err.splitlines()[-1:] == errors, err
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {code}: "), errors[0]
    assert re.search(words, errors[0])
    assert errors[0].endswith((".", ")"))
    assert (exit_code, out) == (2, "")
    assert snapshot(prepared) == before


def test_an_error_for_machines(prepared, monkeypatch, capsys):
    monkeypatch.chdir(prepared)
    assert cli.main([*SEGMENT.split(), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "prompt.none"
    assert err.startswith("error: prompt.none: ")


def test_a_disk_that_fills_up_at_the_end(prepared, monkeypatch, capsys):
    from SegmentAnythingMedLib.apps import figure

    def full(path, *_, **__):
        Path(path).write_bytes(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(prepared)
    stub_for_known_names(monkeypatch)
    monkeypatch.setattr(figure, "save_montage", full)
    before = snapshot(prepared)
    assert cli.main([*SEGMENT.split(), *POINT.split()]) == 2
    assert "error: output.not_writable: Cannot write f.png: No space left on device." in capsys.readouterr().err
    assert snapshot(prepared) == before


def test_memory_that_runs_out(prepared, monkeypatch, capsys):
    def fail(*_, **__):
        raise DeviceError("device.memory", "The machine has too little free memory.")

    monkeypatch.chdir(prepared)
    monkeypatch.setattr(catalog, "load_model", fail)
    before = snapshot(prepared)
    assert cli.main([*SEGMENT.split(), *POINT.split()]) == 2
    assert capsys.readouterr().err.startswith("error: device.memory: ")
    assert snapshot(prepared) == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(prepared)
    tmp_path.chmod(0o555)
    line = f"segment balls.nii.gz {POINT} --output {tmp_path}/m.nii.gz"
    assert cli.main(line.split()) == 2
    assert "error: output.not_writable: " in capsys.readouterr().err
    tmp_path.chmod(0o755)
    assert list(tmp_path.iterdir()) == []
