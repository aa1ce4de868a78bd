"""Memory that runs out in the middle: less is taken, step by step, before the work is given up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib.apps.pipelines import segment_volume
from SegmentAnythingMedLib.engine import step_down
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.engine.step_down import FEWER, ON_CPU
from SegmentAnythingMedLib.errors import DeviceError, is_lack_of_memory, is_lost_device
from SegmentAnythingMedLib.models import encoding
from SegmentAnythingMedLib.models.encoding import run_encoder
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.walk import propagate
from stub_model import StubModel, two_balls
from tiny_sam import stock_sam
from tiny_sam2 import require_sam2

INFO = ModelInfo("tiny", "sam", "vit_64", "0" * 64, "test", "Apache-2.0")
GPU = "cpu:0"
"""Computes like the CPU and is called otherwise: a stand-in for a GPU."""
BOX = SlicePrompts(box=(10, 10, 30, 30))
LACKS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
]


def failing(work, error, when):
    """``work``, but the error is raised while ``when()``."""

    def tried(*arguments, **options):
        if when():
            raise error
        return work(*arguments, **options)

    return tried


def times(count: int):
    left = [count]

    def more() -> bool:
        left[0] -= 1
        return left[0] >= 0

    return more


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__ + str(error)[:20])
@pytest.mark.parametrize("call", ["encode", "decode"])
def test_fewer_features_are_kept_before_anything_is_given_up(monkeypatch, error, call):
    volume, labels = two_balls()
    model = StubModel()
    session = Session(volume, model, window="100,160")
    allowed = session.cache.ram_bytes
    monkeypatch.setattr(model, call, failing(getattr(model, call), error, times(1)))
    mask = session.predict(10, BOX).mask
    assert np.array_equal(mask, labels[10] == 1)
    assert session.cache.ram_bytes == allowed // 4
    assert session.lean.notes == [FEWER]


def test_what_is_never_enough_is_an_error_with_numbers_and_the_session_lives(monkeypatch):
    volume, labels = two_balls()
    model, short = StubModel(), [True]
    session = Session(volume, model, window="100,160")
    monkeypatch.setattr(model, "encode", failing(model.encode, MemoryError(), lambda: short[0]))
    with pytest.raises(DeviceError, match=r"of \d+\.\d GiB are free.*smaller model") as caught:
        session.predict(10, BOX)
    assert caught.value.code == "device.memory"
    short[0] = False
    assert np.array_equal(session.predict(10, BOX).mask, labels[10] == 1)


def test_other_errors_are_not_repeated(monkeypatch):
    session, calls = Session(two_balls()[0], StubModel()), []
    monkeypatch.setattr(
        session.model, "encode", failing(None, RuntimeError("size mismatch"), lambda: not calls.append(1))
    )
    with pytest.raises(RuntimeError, match="size mismatch"):
        session.predict(10, BOX)
    assert len(calls) == 1


def sam(device: str) -> SamModel:
    return SamModel(stock_sam(), INFO, device=device, precision="fp32", preprocessing="medsam", notes=("A note.",))


def test_a_gpu_that_is_too_small_hands_over_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=0))
    volume, _ = two_balls()
    wanted = Session(volume, sam("cpu"), window="100,160").predict(10, BOX)
    model, encode = sam(GPU), SamModel.encode

    def full(self, images, frames):
        if self.device == GPU:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, images, frames)

    monkeypatch.setattr(SamModel, "encode", full)
    session = Session(volume, model, window="100,160")
    found = session.predict(10, BOX)
    assert session.model is model, "whoever holds the model goes on with it"
    assert (model.device, model.preprocessing, model.notes) == ("cpu", "medsam", ("A note.",))
    assert session.lean.notes == [FEWER, ON_CPU]
    np.testing.assert_allclose(found.logits, wanted.logits, atol=1e-4)


def test_a_job_says_in_its_report_what_it_had_to_do(monkeypatch):
    volume, labels = two_balls()
    model = StubModel()
    monkeypatch.setattr(model, "encode", failing(model.encode, MemoryError(), times(1)))
    result = segment_volume(volume, [BoxPrompt((9, 9, 10), (31, 31, 10))], model, window="100,160")
    assert np.array_equal(result.labels[10] == 1, labels[10] == 1)
    assert FEWER in [remark.text for remark in result.remarks if remark.source == "job"]


def test_tracking_with_memory_is_repeated_as_a_whole(monkeypatch):
    video = pytest.importorskip("video_predictor", reason="the optional package sam2 is not installed")
    require_sam2()
    model = video.our_model(video.official_video())
    settings = MemorySettings(iou_threshold=0.0, area_ratio=1000.0, limits=(3, 6))
    box = SlicePrompts(box=(18.0, 13.0, 42.0, 37.0))

    def run(spoil: bool):
        session = Session(video.blobs(9), model, axis="k", window="50,300")
        if spoil:
            network = session.tracker._network
            network.tracked = failing(network.tracked, MemoryError(), times(1))
        return propagate(session, {4: box}, settings), session

    wanted, found = run(False)[0], run(True)
    assert np.array_equal(found[0].stack(), wanted.stack())
    assert found[1].lean.notes == [FEWER]


def test_one_image_that_does_not_fit_is_tried_in_half_precision(monkeypatch):
    monkeypatch.setattr(encoding, "autocast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**34))
    layer, room = torch.nn.Linear(4, 4), {torch.bfloat16: True, torch.float32: False}

    def run(batch):
        found = layer(batch)
        if not room[found.dtype]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (found,)

    options = {"device": GPU, "dtype": None, "name": "tiny"}
    (found,) = run_encoder(run, torch.ones(2, 4), **options)
    assert found.dtype is torch.float32
    np.testing.assert_allclose(found, layer(torch.ones(2, 4)).detach(), atol=0.05)
    with torch.no_grad():
        layer.bias.fill_(float("inf"))
    with pytest.raises(DeviceError, match="needs more memory for one slice"):
        run_encoder(run, torch.ones(1, 4), **options)


def test_a_gpu_that_is_gone_is_said_and_nothing_is_repeated(monkeypatch):
    session, calls = Session(two_balls()[0], StubModel()), []
    error = RuntimeError("CUDA error: unspecified launch failure")
    monkeypatch.setattr(session.model, "encode", failing(None, error, lambda: not calls.append(1)))
    with pytest.raises(DeviceError, match="--device cpu") as caught:
        session.predict(10, BOX)
    assert caught.value.code == "device.lost"
    assert len(calls) == 1


def test_which_errors_are_a_lack_of_memory():
    assert all(map(is_lack_of_memory, [*LACKS, DeviceError("device.memory", "x")]))
    others = [RuntimeError("size mismatch"), ValueError("out of memory"), DeviceError("device.lost", "x")]
    assert not any(map(is_lack_of_memory, others))
    assert not any(map(is_lost_device, [*LACKS, RuntimeError("CUDA error: invalid argument")]))


def test_a_smaller_cache_drops_what_it_has_no_room_for():
    cache = FeatureCache(ram_bytes=4096, overflow_bytes=0)
    from test_features import features, key

    for number in range(4):
        cache.put(key(number), features(number))
    cache.shrink()
    assert (cache.ram_bytes, len(cache)) == (1024, 1)


def test_sizes_are_left_out_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(step_down, "free_memory", lambda: None)
    assert "GiB" not in str(step_down._too_little("cpu"))
