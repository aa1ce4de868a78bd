"""Faults of models, weights and devices, by the numbers of the specification's list (workflow, 5.7 D and E).

Most have their test beside the file that deals with them; the table says where, and a test here sees to it that they
are there. What no other file tests is tested below.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from SegmentAnythingMedLib.apps import pipelines
from SegmentAnythingMedLib.apps.cli import OUR_FAULT, USERS_INPUT, main
from SegmentAnythingMedLib.apps.installation import broken_package
from SegmentAnythingMedLib.errors import DeviceError
from SegmentAnythingMedLib.files.images import save_volume
from SegmentAnythingMedLib.models import device
from SegmentAnythingMedLib.models.device import choose_device, limit_threads
from stub_model import StubModel, two_balls

WHERE = {
    61: [
        "test_catalog.test_a_missing_checkpoint_says_which_file_from_where_to_where",
        "test_downloads.test_offline",
        "test_model_commands.test_offline_names_file_and_folder",
    ],
    62: [
        "test_fetch.test_a_cut_at_60_percent_is_gone_on_with",
        "test_downloads.test_a_cut_leaves_nothing_under_the_name",
        "test_checkpoints.test_a_download_cut_short",
    ],
    63: ["test_downloads.test_a_wrong_hash_is_removed", "test_checkpoints.test_another_hash_is_refused"],
    64: [
        "test_downloads.test_a_page_that_passes_for_a_file",
        "test_fetch.test_a_web_page_is_not_kept",
        "test_checkpoints.test_bytes_that_are_no_weights",
    ],
    65: [
        "test_checkpoints.test_a_malicious_pickle_is_not_executed",
        "test_checkpoints.test_a_plain_malicious_pickle_is_not_executed",
        "test_checkpoints.test_no_second_try_without_the_guard",
    ],
    66: ["test_checkpoints.test_an_old_torch_reads_no_pickle"],
    67: [
        "test_catalog.test_a_wrong_variant_is_told_by_a_short_diff",
        "test_checkpoints.test_mismatch_is_told_shortly_and_nothing_is_loaded",
    ],
    68: [
        "test_model_commands.test_a_licence_must_be_accepted",
        "test_downloads.test_research_only_weights_where_work_is_commercial",
    ],
    69: ["test_catalog.test_an_unknown_name_lists_the_nearest"],
    70: [
        "test_sam.test_overflow_in_half_precision_is_repeated_in_float32",
        "test_sam.test_nan_in_float32_is_an_error",
        "test_bad_inputs_models.test_70_nan_is_the_programs_fault_and_writes_nothing",
    ],
    71: [
        "test_device.test_auto_falls_back_to_cpu_when_the_gpu_cannot_compute",
        "test_device.test_missing_gpu_says_what_to_do",
    ],
    72: [
        "test_step_down.test_fewer_features_are_kept_before_anything_is_given_up",
        "test_step_down.test_a_gpu_that_is_too_small_hands_over_to_the_cpu",
        "test_step_down.test_one_image_that_does_not_fit_is_tried_in_half_precision",
        "test_step_down.test_what_is_never_enough_is_an_error_with_numbers_and_the_session_lives",
        "test_look_ahead.test_memory_too_short_for_several_slices_is_enough_for_one",
        "test_look_ahead.test_what_does_not_help_is_followed_by_the_next_steps",
        "test_sam.test_a_batch_that_does_not_fit_is_split",
    ],
    73: ["test_estimate.test_what_the_machine_cannot_do_is_refused_before_it_is_begun"],
    74: [
        "test_step_down.test_a_gpu_that_is_gone_is_said_and_nothing_is_repeated",
        "test_bad_inputs_models.test_74_a_gpu_that_is_gone_ends_the_job_and_leaves_earlier_results",
    ],
    75: ["test_sam.test_a_batch_that_does_not_fit_is_split"],
    76: ["test_bad_inputs_models.test_76_apples_gpu_is_not_offered_and_the_cpu_is_taken"],
    77: [
        "test_device.test_threads_are_limited_to_what_is_granted",
        "test_bad_inputs_models.test_77_one_core_means_one_thread",
    ],
    78: [
        "test_bad_inputs_models.test_78_a_broken_pytorch_is_named_with_its_cause",
        "test_bad_inputs_models.test_78_two_of_a_package_are_named",
    ],
}
"""Number -> tests."""
TESTING = Path(__file__).parent


@cache
def names_in(module: str) -> set[str]:
    tree = ast.parse((TESTING / f"{module}.py").read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", range(61, 79))
def test_every_fault_has_a_test(number):
    missing = [name for name in WHERE[number] if name.split(".")[1] not in names_in(name.split(".")[0])]
    assert not missing


@pytest.fixture
def ball(tmp_path) -> list[str]:
    """Arguments of a job on two balls, whose model a test provides."""
    save_volume(two_balls()[0], tmp_path / "image.nii.gz")
    (tmp_path / "mask.nii.gz").write_bytes(b"from before")
    return [
        "segment", str(tmp_path / "image.nii.gz"), "--box", "9,9,31,31,10", "--window", "100,160",
        "--output", str(tmp_path / "mask.nii.gz"), "--json",
    ]  # fmt: skip


def opened(monkeypatch, model: StubModel) -> None:
    monkeypatch.setattr(pipelines, "_opened", lambda *_: (model, {"model": 0.0}))


def failing_after(count: int, error: Exception) -> StubModel:
    def fail(done: int) -> None:
        if done > count:
            raise error

    return StubModel(fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA error: unspecified launch failure"), "device.lost"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "device.lost"),
    ],
)
def test_74_a_gpu_that_is_gone_ends_the_job_and_leaves_earlier_results(ball, monkeypatch, capsys, error, code):
    opened(monkeypatch, failing_after(4, error))
    assert main(ball) == OUR_FAULT
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["code"] == code
    assert "--device cpu" in told["message"]
    assert Path(ball[ball.index("--output") + 1]).read_bytes() == b"from before"
    opened(monkeypatch, StubModel())
    Path(ball[ball.index("--output") + 1]).unlink()
    assert main(ball) == 0, "the next case is done"


def test_70_nan_is_the_programs_fault_and_writes_nothing(ball, monkeypatch, capsys):
    from SegmentAnythingMedLib.models.encoding import nan_error

    opened(monkeypatch, failing_after(0, nan_error("stub", "mask decoder")))
    assert main(ball) == OUR_FAULT
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "model.nan"
    assert Path(ball[ball.index("--output") + 1]).read_bytes() == b"from before"


def test_76_apples_gpu_is_not_offered_and_the_cpu_is_taken(monkeypatch):
    monkeypatch.setattr(device, "_cuda_count", lambda: 0)
    assert choose_device("auto") == "cpu"
    with pytest.raises(DeviceError, match="auto, cpu, cuda or cuda:N") as caught:
        choose_device("mps")
    assert caught.value.code == "device.unknown"


def test_77_one_core_means_one_thread(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(device, "available_cpus", lambda: 1)
    try:
        assert limit_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ('raise ImportError("libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent")', "undefined symbol"),
        ('raise OSError("libcudart.so.12: cannot open shared object file")', "libcudart.so.12"),
        ("import a_part_of_torch_that_is_missing", "a_part_of_torch_that_is_missing"),
    ],
)
def test_78_a_broken_pytorch_is_named_with_its_cause(tmp_path, sample, line, cause):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(line)
    paths = os.pathsep.join([str(tmp_path), str(REPOSITORY / "SegmentAnythingMed")])
    done = subprocess.run(
        [sys.executable, "-m", "SegmentAnythingMedLib.apps.cli", "info", str(sample / "ct.nii.gz"), "--json"],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == USERS_INPUT
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)["error"]
    assert told["code"] == "model.package"
    assert told["message"].startswith("PyTorch cannot be imported (")
    assert cause in told["message"]
    assert f"is installed 2 times, in {tmp_path}" in told["message"]
    assert "--force-reinstall torch" in told["message"]


def test_78_two_of_a_package_are_named(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "torch").mkdir(parents=True)
        (tmp_path / name / "torch" / "__init__.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "one"), str(tmp_path / "two")])
    text = str(broken_package(ImportError("DLL load failed", name="torch._C")))
    assert f"2 times, in {tmp_path / 'one'} and {tmp_path / 'two'}; keep one." in text


def test_files_that_cannot_be_read_are_not_taken_for_a_broken_package():
    assert broken_package(PermissionError(13, "Permission denied")) is None
