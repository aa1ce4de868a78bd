"""The command line from outside: files, exit codes, what stands on which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from SegmentAnythingMedLib.apps import cli, estimate
from SegmentAnythingMedLib.apps.report import SCHEMA_PATH
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.files.images import load_mask, load_volume, save_mask
from SegmentAnythingMedLib.models import catalog
from stub_model import StubModel, save_balls

BOX = "9,9,31,31,10"
SEGMENT = ("segment", "balls.nii.gz", "--window", "100,160")
ALL = ("--output", "m.nii.gz", "--report", "r.json", "--figure", "f.png")


@pytest.fixture
def model(monkeypatch) -> StubModel:
    stub = StubModel()
    monkeypatch.setattr(catalog, "load_model", lambda name="built-in", device="auto", family=None: stub)
    return stub


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    save_balls(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def dice(mask: np.ndarray, value: int, labels: np.ndarray) -> float:
    a, b = mask > 0, labels == value
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_segment_writes_mask_report_and_figure(folder, model, capsys):
    code, out, err = run(capsys, *SEGMENT, "--box", BOX, *ALL)
    assert code == 0
    assert err == "warning: This model is a stub.\n"
    assert [line.split()[0] for line in out.splitlines()] == ["mask", "report", "figure", "label"]
    image = load_volume("balls.nii.gz")
    mask = load_volume("m.nii.gz")
    assert mask.same_grid(image)
    assert mask.voxels.dtype == np.uint8
    assert dice(mask.voxels, 1, load_mask("labels.nii.gz", image)) > 0.97
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    assert report["outputs"] == {"mask": "m.nii.gz", "report": "r.json", "figure": "f.png"}
    assert {"read", "model", "segment", "total"} == set(report["seconds"])
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    assert str(folder) not in Path("r.json").read_text(encoding="utf-8")
    assert sorted(os.listdir(folder)) == ["balls.nii.gz", "f.png", "labels.nii.gz", "m.nii.gz", "r.json"]


def test_json_on_standard_output_is_the_report(folder, model, capsys):
    code, out, _ = run(capsys, *SEGMENT, "--box", BOX, "--output", "m.nrrd", "--report", "r.json", "--json")
    assert code == 0
    assert json.loads(out) == json.loads(Path("r.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "slices"),
    [
        (("--point", "20,20,10", "--no-propagate"), [10]),
        (("--point", "20,20,10", "--limits", "8,11"), [8, 9, 10, 11]),
        (("--point", "20,20,10", "--point", "20,20,12,0"), [6, 7, 8, 9, 10, 11]),
        (("--point", "20,20,10", "--iou-threshold", "0.9"), [8, 9, 10, 11, 12]),
        (("--point", "25,13,31", "--space", "lps", "--no-propagate"), [10]),
        (("--point", "-25,-13,31", "--space", "ras", "--no-propagate"), [10]),
        (("--box", "9,9,31,31,10", "--projection", "box", "--limits", "9,10"), [9, 10]),
    ],
)
def test_options_do_what_they_say(folder, model, capsys, arguments, slices):
    code, _, err = run(capsys, *SEGMENT, *arguments, "--output", "m.nii.gz")
    assert code == 0, err
    mask = load_volume("m.nii.gz").voxels
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == slices


@pytest.mark.parametrize(("axis", "box"), [("j", "9,0,31,21,20"), ("i", "9,0,31,21,20")])
def test_boxes_on_other_axes(folder, model, capsys, axis, box):
    code, _, err = run(capsys, *SEGMENT, "--axis", axis, "--box", box, "--output", "m.nii.gz")
    assert code == 0, err
    image = load_volume("balls.nii.gz")
    assert dice(load_volume("m.nii.gz").voxels, 1, load_mask("labels.nii.gz", image)) > 0.85


def test_several_objects_from_a_file(folder, model, capsys):
    objects = [
        {"name": "left", "prompts": [{"type": "box", "corner0": [9, 9, 10], "corner1": [31, 31, 10]}]},
        {"name": "right", "prompts": [{"type": "point", "position": [40, 44, 14]}]},
    ]
    Path("p.json").write_text(json.dumps({"version": 1, "objects": objects}))
    code, out, _ = run(capsys, *SEGMENT, "--prompts", "p.json", "--output", "m.nii.gz", "--json")
    assert code == 0
    image = load_volume("balls.nii.gz")
    labels, truth = load_volume("m.nii.gz").voxels, load_mask("labels.nii.gz", image)
    for entry in json.loads(out)["objects"]:
        assert dice(labels == entry["label"], entry["label"], truth) > 0.97


def test_a_seed_mask_is_kept_and_continued(folder, model, capsys):
    image = load_volume("balls.nii.gz")
    seed = np.zeros(image.shape, dtype=bool)
    seed[10, 12:29, 12:29] = True
    save_mask(seed, image, "seed.nii.gz")
    code, _, err = run(capsys, *SEGMENT, "--mask", "seed.nii.gz", "--output", "m.nii.gz")
    assert code == 0, err
    mask = load_volume("m.nii.gz").voxels > 0
    assert np.array_equal(mask[10], seed[10])
    assert mask[9].sum() > seed[10].sum()


def test_the_same_command_gives_the_same_file(folder, model, capsys):
    for name in ("a.nii.gz", "b.nii.gz"):
        assert run(capsys, *SEGMENT, "--box", BOX, "--seed", "5", "--output", name)[0] == 0
    assert Path("a.nii.gz").read_bytes() == Path("b.nii.gz").read_bytes()


def test_evaluate(folder, capsys):
    code, out, err = run(capsys, "evaluate", "labels.nii.gz", "labels.nii.gz", "--label", "2")
    assert (code, err) == (0, "")
    values = {line[:24].strip(): line[24:].split()[0] for line in out.splitlines()}
    assert values["Dice"] == values["NSD (2 mm)"] == "1.0000"
    assert values["HD95"] == values["difference"] == "0.0000"


def test_evaluate_labels(folder, capsys):
    image = load_volume("balls.nii.gz")
    labels = load_mask("labels.nii.gz", image)
    save_mask(labels == 2, image, "one.nii.gz")
    code, out, err = run(capsys, "evaluate", "one.nii.gz", "labels.nii.gz", "--label", "2", "--json")
    found = json.loads(out)
    assert (code, found["dice"], found["label"]) == (0, 1.0, 2)
    assert "it was compared with label 2" in err
    assert found["warnings"]
    code, out, err = run(capsys, "evaluate", "one.nii.gz", "labels.nii.gz", "--json")
    assert 0.3 < json.loads(out)["dice"] < 0.9
    assert "2 labels; all were taken together" in err


def test_evaluate_on_another_grid_says_so(folder, capsys):
    image = load_volume("balls.nii.gz")
    from SegmentAnythingMedLib.space.volume import Volume

    part = Volume(image.voxels[2:], image.affine.shifted((0, 0, 2)))
    save_mask(load_mask("labels.nii.gz", image)[2:], part, "part.nii.gz")
    code, out, err = run(capsys, "evaluate", "part.nii.gz", "labels.nii.gz", "--label", "1", "--json")
    assert (code, json.loads(out)["dice"]) == (0, 1.0)
    assert "resampled" in err


def test_info(folder, model, capsys):
    code, out, err = run(capsys, "info", "balls.nii.gz")
    assert code == 0
    for words in ("64 x 64 x 24", "1 x 1 x 2 mm", "24 along axis k", "stub on cpu", "ms per slice", "MiB"):
        assert words in out
    assert "stub" in err
    code, out, _ = run(capsys, "info", "balls.nii.gz", "--axis", "i", "--window", "lung", "--json")
    facts = json.loads(out)
    assert facts["slices"]["axis"] == "i"
    assert facts["intensity"]["name"] == "lung"
    assert facts["estimate"]["memory_bytes"] > facts["estimate"]["image_bytes"] == 24 * 64 * 64 * 2
    assert facts["image"]["oblique"] is False
    assert sorted(os.listdir(folder)) == ["balls.nii.gz", "labels.nii.gz"]


def test_models(capsys):
    code, out, _ = run(capsys, "models")
    assert code == 0
    assert out.startswith("built-in")
    code, out, _ = run(capsys, "models", "--json")
    names = [entry["name"] for entry in json.loads(out)["models"]]
    assert names[0] == "built-in"
    assert "sam-vit-b" in names


def interrupt(*counts: int):
    def before_decode(count: int) -> None:
        for _ in range(counts.count(count)):
            os.kill(os.getpid(), signal.SIGINT)

    return before_decode


def test_one_interrupt_saves_what_is_done(folder, model, capsys, monkeypatch):
    monkeypatch.setattr(estimate, "TRY_S", 0.0)  # the estimate decodes the prompted slice, and no neighbours
    model.before_decode = interrupt(5)
    code, out, err = run(capsys, *SEGMENT, "--box", BOX, *ALL, "--json")
    assert code == 0
    assert "warning: Cancelled" in err
    report = json.loads(out)
    assert report["completed"] is False
    assert np.count_nonzero(load_volume("m.nii.gz").voxels.any(axis=(1, 2))) == 4
    assert Path("f.png").is_file()


def test_two_interrupts_leave_nothing(folder, model, capsys):
    Path("m.nii.gz").write_text("old")
    model.before_decode = interrupt(4, 4)
    code, out, err = run(capsys, *SEGMENT, "--box", BOX, *ALL)
    assert (code, out) == (130, "")
    assert err == "error: cancelled: Stopped; nothing was written.\n"
    assert sorted(os.listdir(folder)) == ["balls.nii.gz", "labels.nii.gz", "m.nii.gz"]
    assert Path("m.nii.gz").read_text() == "old"


def test_an_interrupt_before_the_first_mask_leaves_nothing(folder, model, capsys, monkeypatch):
    def interrupted(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        return model

    monkeypatch.setattr(catalog, "load_model", interrupted)
    code, _, err = run(capsys, *SEGMENT, "--box", BOX, *ALL)
    assert code == 130
    assert err.startswith("error: cancelled: ")
    assert sorted(os.listdir(folder)) == ["balls.nii.gz", "labels.nii.gz"]


def test_our_own_faults_have_another_code(folder, model, capsys):
    def fail(_count):
        raise ModelError("model.nan", "The network returned numbers that are not finite.")

    model.before_decode = fail
    code, _, err = run(capsys, *SEGMENT, "--box", BOX, *ALL)
    assert code == 1
    assert err == "error: model.nan: The network returned numbers that are not finite.\n"
    assert sorted(os.listdir(folder)) == ["balls.nii.gz", "labels.nii.gz"]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    package = Path(cli.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, timeout=120
    )


def test_as_a_program(tmp_path):
    module = "SegmentAnythingMedLib.apps.cli"
    assert python("-m", module, "--version").stdout.startswith("segment-anything-med ")
    shown = python("-m", module, "segment", "--help")
    assert shown.returncode == 0
    for option in ("--point", "--box", "--mask", "--prompts", "--space", "--axis", "--no-propagate", "--iou-threshold",
                   "--projection", "--limits", "--window", "--model", "--device", "--seed", "--json"):  # fmt: skip
        assert option in shown.stdout
    missing = python("-m", module, "segment", str(tmp_path / "no.nii.gz"), "--point", "1,2,3", "--output", "m.nii.gz")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "error: input.missing: no.nii.gz was not found; check the path.\n"


def test_listing_models_and_refusing_options_needs_no_torch():
    code = "import sys; from SegmentAnythingMedLib.apps.cli import main; main(sys.argv[1:]); "
    code += "print('torch' in sys.modules)"
    for arguments in (("models",), ("segment", "x.nii", "--output", "m.nii"), ("segment",)):
        assert python("-c", code, *arguments).stdout.endswith("False\n")
