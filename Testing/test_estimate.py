"""What a job will take, said before it is done."""

from __future__ import annotations

import time

import numpy as np
import pytest
from SegmentAnythingMedLib.apps import estimate
from SegmentAnythingMedLib.apps.commands import TELL_FROM_S, _tell_estimate
from SegmentAnythingMedLib.apps.estimate import Estimate, duration, estimate_job
from SegmentAnythingMedLib.apps.pipelines import segment_volume
from SegmentAnythingMedLib.apps.terminal import ProgressBar
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.errors import DeviceError
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt
from stub_model import StubModel, two_balls
from tiny_sam2 import require_sam2

BOX = ObjectSeeds.of({10: SlicePrompts(box=(9, 9, 31, 31))})


@pytest.fixture(autouse=True)
def _all_tries(monkeypatch):
    """However slow the machine is that runs the tests."""
    monkeypatch.setattr(estimate, "WARM_S", np.inf)
    monkeypatch.setattr(estimate, "TRY_S", np.inf)


class Slow(StubModel):
    """Takes its time."""

    def __init__(self, encode_s: float, decode_s: float) -> None:
        super().__init__(lambda _: time.sleep(decode_s))
        self.encode_s, self.encodes = encode_s, 0

    def encode(self, images, frames):
        time.sleep(self.encode_s)
        self.encodes += len(images)
        return super().encode(images, frames)


def session_of(model=None) -> Session:
    return Session(two_balls()[0], model or StubModel(), window="100,160")


def test_time_is_measured_on_this_machine():
    found = estimate_job(session_of(Slow(0.05, 0.02)), {"a": BOX}, None, False)
    assert found.seconds_per_slice >= 0.07
    assert found.most_seconds == pytest.approx(24 * found.seconds_per_slice)


@pytest.mark.parametrize(("regions", "seconds"), [(False, 1.75), (True, 3.75)])
def test_encoding_counts_once_for_all_objects_unless_each_has_its_own_region(monkeypatch, regions, seconds):
    monkeypatch.setattr(estimate, "try_slices", lambda *_: estimate.Cost(1.0, 0.25, None, 0))
    model = StubModel()
    model.uses_regions = regions
    assert estimate_job(session_of(model), dict.fromkeys("abc", BOX), None, False).seconds_per_slice == seconds


def test_an_object_is_taken_to_be_as_deep_as_it_is_wide_within_the_limits():
    whole = estimate_job(session_of(), {"a": BOX}, None, False)
    wide = np.flatnonzero((two_balls()[1][10] == 1).any(axis=0)).size  # 1 mm pixels, slices 2 mm apart
    assert abs(whole.slices - (wide / 2 + 3)) <= 2
    assert whole.most_slices == 24
    limited = estimate_job(session_of(), {"a": BOX}, (9, 11), False)
    assert (limited.slices, limited.most_slices) == (3, 3)
    far = ObjectSeeds.of({**BOX.seeds, 20: BOX.seeds[10]})
    assert estimate_job(session_of(), {"a": far}, None, False).slices > whole.slices


def test_an_estimate_changes_neither_the_result_nor_its_encodes():
    model, told = Slow(0.0, 0.0), []
    volume, _ = two_balls()
    with_estimate = segment_volume(
        volume, [BoxPrompt((9, 9, 10), (31, 31, 10))], model, window="100,160", estimated=told.append
    )
    without = segment_volume(volume, [BoxPrompt((9, 9, 10), (31, 31, 10))], model, window="100,160")
    assert with_estimate.counters.encodes == without.counters.encodes
    assert np.array_equal(with_estimate.labels, without.labels)
    assert [type(one) for one in told] == [Estimate]


def test_a_slow_first_slice_is_enough(monkeypatch):
    monkeypatch.setattr(estimate, "WARM_S", 0.0)
    model = Slow(0.01, 0.0)
    estimate_job(session_of(model), {"a": BOX}, None, False)
    assert model.encodes == 1


def test_memory_counts_labels_masks_and_features():
    one, two = (estimate.memory_needed(session_of(), count, 24, 1000) for count in (1, 2))
    assert two - one == 24 * 64 * 64
    assert estimate.memory_needed(session_of(), 1, 24, 3000) - one == 24 * 2000


def test_what_the_machine_cannot_do_is_refused_before_it_is_begun(monkeypatch):
    monkeypatch.setattr(estimate, "machine_memory", lambda: 1000)
    model, told = Slow(0.0, 0.0), []
    with pytest.raises(DeviceError, match=r"needs about .* Nothing was done; crop") as caught:
        segment_volume(
            two_balls()[0], [BoxPrompt((9, 9, 10), (31, 31, 10))], model, window="100,160", estimated=told.append
        )
    assert caught.value.code == "device.memory"
    assert len(told) == 1
    assert model.encodes == 5


def test_tracking_is_measured_with_a_full_memory():
    video = pytest.importorskip("video_predictor", reason="the optional package sam2 is not installed")
    require_sam2()
    session = Session(video.blobs(9), video.our_model(video.official_video()), axis="k", window="50,300")
    found = estimate_job(session, {"a": ObjectSeeds.of({4: SlicePrompts(box=(18, 13, 42, 37))})}, None, True)
    assert session.counters.encodes == 1
    assert found.seconds_per_slice > 0
    assert found.feature_bytes_per_slice == 8 * 128**2


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (100, "1.7 min"), (3600, "60 min"), (9000, "2.5 h")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("per_slice", [0.01, 1.0])
def test_only_long_jobs_are_announced(capsys, per_slice):
    _tell_estimate(ProgressBar(), Estimate(per_slice, 40, 200, 3 << 29, 0))
    said = capsys.readouterr().err
    if 200 * per_slice < TELL_FROM_S:
        assert said == ""
    else:
        assert said.startswith("estimate: about 40 s if the object is as deep as it is wide (40 slices)")
        assert "at most 3.3 min (200 slices)" in said
        assert "1536 MiB" in said
