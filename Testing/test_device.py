from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib.errors import DeviceError
from SegmentAnythingMedLib.models import device


def pretend_cuda(monkeypatch, count: int, fault: str | None = None, capability: tuple[int, int] = (8, 0)) -> None:
    monkeypatch.setattr(device, "_cuda_count", lambda: count)
    monkeypatch.setattr(device, "_cuda_fault", lambda index: fault)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name=None: capability)


@pytest.mark.parametrize(
    ("wish", "count", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("CPU", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_chooses_what_is_there(monkeypatch, wish, count, chosen):
    pretend_cuda(monkeypatch, count)
    assert device.choose_device(wish) == chosen


def test_auto_falls_back_to_cpu_when_the_gpu_cannot_compute(monkeypatch):
    pretend_cuda(monkeypatch, 1, fault="no kernel image is available")
    assert device.choose_device("auto") == "cpu"
    with pytest.raises(DeviceError, match=r"no kernel image.*--device cpu") as caught:
        device.choose_device("cuda")
    assert caught.value.code == "device.unusable"


def test_auto_takes_the_second_gpu_when_the_first_cannot_compute(monkeypatch):
    pretend_cuda(monkeypatch, 2)
    monkeypatch.setattr(device, "_cuda_fault", lambda index: "old" if index == 0 else None)
    assert device.choose_device("auto") == "cuda:1"


@pytest.mark.parametrize("wish", ["cuda", "cuda:3"])
def test_missing_gpu_says_what_to_do(monkeypatch, wish):
    pretend_cuda(monkeypatch, 0)
    with pytest.raises(DeviceError, match=r"sees 0 CUDA devices; use --device cpu") as caught:
        device.choose_device(wish)
    assert caught.value.code == "device.missing"


@pytest.mark.parametrize("wish", ["gpu", "cuda:", "cuda:x", "cuda:-1", "mps", "", "cuda:²"])
def test_unknown_names_are_refused(wish):
    with pytest.raises(DeviceError, match="auto, cpu, cuda or cuda:N") as caught:
        device.choose_device(wish)
    assert caught.value.code == "device.unknown"


@pytest.mark.parametrize("has_bf16", [False, True])
def test_a_cpu_computes_in_fp32_unless_asked(monkeypatch, has_bf16):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: has_bf16)
    assert device.autocast_dtype("cpu") is None


def test_emulated_precision_is_refused(monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    for precision in ("bf16", "fp16"):
        with pytest.raises(DeviceError, match="emulate") as caught:
            device.autocast_dtype("cpu", precision)
        assert caught.value.code == "device.precision"
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    assert device.autocast_dtype("cpu", "bf16") is torch.bfloat16


def test_flags_decide_about_bf16(monkeypatch):
    for flags, expected in [({"avx512_f": True}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags, raising=False)
        assert device.cpu_has_bf16() is expected


def test_flags_are_read_from_the_system_by_older_torch(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(device, "_proc_flags", lambda: ["sse2", "amx_bf16"])
    assert device.cpu_has_bf16()


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ((6, 1), None),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
        ((9, 0), torch.bfloat16),
    ],
)
def test_gpu_precision_follows_its_generation(monkeypatch, capability, dtype):
    pretend_cuda(monkeypatch, 1, capability=capability)
    assert device.autocast_dtype("cuda:0") is dtype
    assert device.autocast_dtype("cuda:0", "fp32") is None


@pytest.mark.parametrize(("gibibytes", "batch"), [(4, 1), (24, 4)])
def test_gpus_with_room_encode_several_slices_together(monkeypatch, gibibytes, batch):
    pretend_cuda(monkeypatch, 1)
    room = SimpleNamespace(total_memory=gibibytes << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: room)
    profile = device.choose_profile("cuda:0")
    assert profile == device.Profile(torch.bfloat16, batch)
    assert profile.look_ahead == batch - 1, "the slice that is asked for is one of the batch"


@pytest.mark.parametrize("has_bf16", [False, True])
def test_a_cpu_encodes_slice_by_slice_in_fp32(monkeypatch, has_bf16):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: has_bf16)
    assert device.choose_profile("cpu") == device.Profile(None, 1)


def test_unknown_precision_is_refused():
    with pytest.raises(DeviceError, match="auto, fp32, fp16, bf16"):
        device.autocast_dtype("cpu", "int8")


def test_autocast_without_dtype_changes_nothing():
    layer = torch.nn.Linear(4, 4)
    with device.autocast("cpu", None):
        assert layer(torch.ones(1, 4)).dtype is torch.float32
    with device.autocast("cpu", torch.bfloat16):
        assert layer(torch.ones(1, 4)).dtype is torch.bfloat16


def test_threads_are_limited_to_what_is_granted(monkeypatch):
    torch.set_num_threads(4)
    monkeypatch.setattr(device, "available_cpus", lambda: 2)
    assert device.limit_threads() == 2
    assert torch.get_num_threads() == 2
    assert device.limit_threads(1) == 1
    monkeypatch.setattr(device, "available_cpus", lambda: 64)
    assert device.limit_threads() == 1, "a thread count that the user lowered is not raised"


def test_available_cpus_respects_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(device, "_cgroup_quota", lambda: None)
    assert device.available_cpus() == 8
    monkeypatch.setattr(device, "_cgroup_quota", lambda: 2.5)
    assert device.available_cpus() == 2
    monkeypatch.setattr(device, "_cgroup_quota", lambda: 0.5)
    assert device.available_cpus() == 1


def test_quota_is_read_from_both_kinds_of_cgroups(tmp_path):
    root, own = tmp_path / "cgroup", tmp_path / "self"
    (root / "job" / "step").mkdir(parents=True)
    own.write_text("0::/job/step\n")
    assert device._cgroup_quota(root, own) is None
    (root / "job" / "step" / "cpu.max").write_text("max 100000\n")
    assert device._cgroup_quota(root, own) is None
    (root / "job" / "cpu.max").write_text("150000 100000\n")
    assert device._cgroup_quota(root, own) == pytest.approx(1.5)
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (root / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert device._cgroup_quota(root, own) == pytest.approx(1.5)
    (root / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    assert device._cgroup_quota(root, own) == pytest.approx(1.0)


def test_features_come_back_as_float32():
    tensor = device.to_device(np.ones((2, 3), dtype=np.float16), "cpu")
    assert tensor.dtype is torch.float32
    assert tuple(tensor.shape) == (2, 3)


def test_description_names_precision_and_threads():
    facts = device.describe_device("cpu")
    assert facts["device"] == "cpu"
    assert (facts["precision"], facts["batch"]) == ("float32", 1)
    assert facts["threads"] == torch.get_num_threads()
