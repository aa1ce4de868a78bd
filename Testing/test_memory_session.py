"""The whole way with a (random) SAM 2 network: any axis, one encode per slice, edits, errors, report, command line."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from SegmentAnythingMedLib.apps.cli import main
from SegmentAnythingMedLib.apps.describe import describe_job
from SegmentAnythingMedLib.apps.pipelines import segment_volume
from SegmentAnythingMedLib.apps.report import SCHEMA_PATH, build_report, to_text
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.errors import InputError, ModelError, PromptError
from SegmentAnythingMedLib.files.images import save_volume
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, MaskPrompt, VolumePrompts
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel
from tiny_sam2 import require_sam2

video = pytest.importorskip("video_predictor", reason="the optional package sam2 is not installed")

WINDOW = "50,300"
BOX = SlicePrompts(box=(18.0, 13.0, 42.0, 37.0))
LOOSE = MemorySettings(iou_threshold=0.0, area_ratio=1000.0)
"""Masks of random weights jump."""


@pytest.fixture(scope="module", autouse=True)
def _needs_sam2():
    require_sam2()


@pytest.fixture(scope="module")
def model():
    return video.our_model(video.official_video())


@pytest.fixture(scope="module")
def cache():
    return FeatureCache()


def session_of(model, cache, **options) -> Session:
    return Session(video.blobs(9), model, axis="k", window=WINDOW, cache=cache, **options)


def test_every_slice_is_encoded_once_for_directions_objects_and_edits(model):
    session = session_of(model, FeatureCache())
    seeds = {"a": {4: BOX}, "b": {3: SlicePrompts(box=(60, 40, 84, 60))}}
    first = propagate_objects(session, seeds, LOOSE)
    assert session.counters.encodes == len({n for one in first.values() for n in one.records}) == 9
    changed = {**seeds, "c": {5: BOX}, "b": {3: SlicePrompts(box=(60, 41, 84, 60))}}
    second = propagate_objects(session, changed, LOOSE, previous=first)
    assert session.counters.encodes == 9
    assert np.array_equal(second["a"].stack(), first["a"].stack())


def test_results_repeat_on_the_cpu_and_do_not_depend_on_other_objects(model, cache):
    one = propagate(session_of(model, cache), {4: BOX}, LOOSE)
    session = session_of(model, cache)
    both = propagate_objects(session, {"x": {2: SlicePrompts(box=(60, 40, 84, 60))}, "y": {4: BOX}}, LOOSE)
    assert len(one.masks) > 5
    assert np.array_equal(one.stack(), both["y"].stack())
    assert one.to_json()["records"] == both["y"].to_json()["records"]


def test_a_longer_stack_needs_no_more_memory_for_the_bank(model, cache):
    session, sizes = session_of(model, cache), []
    tracked = session.tracker.tracked

    def weigh(index, bank, *, backward=False):
        sizes.append(bank.nbytes)
        return tracked(index, bank, backward=backward)

    session.tracker.tracked = weigh
    propagate(session, {0: BOX}, LOOSE)
    grid = model.image_size // 16
    most = 7 * grid * grid * 64 * 2 + 16 * 256 * 4
    assert len(sizes) == 8
    assert max(sizes) <= most


def test_the_feature_cache_is_bounded_and_a_small_one_only_costs_time(model, cache):
    small = FeatureCache(ram_bytes=400_000)
    tight = propagate(session_of(model, small), {4: BOX}, LOOSE)
    assert small.nbytes <= 400_000
    assert np.array_equal(tight.stack(), propagate(session_of(model, cache), {4: BOX}, LOOSE).stack())


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_any_axis_and_any_orientation_give_the_same_voxels(model, axis):
    volume = video.blobs(9)
    reference = propagate(Session(volume, model, axis="k", window=WINDOW), {4: BOX}, LOOSE).stack()
    order = {"k": (0, 1, 2), "j": (1, 0, 2), "i": (1, 2, 0)}[axis]
    matrix = volume.affine.matrix[:, [*(2 - n for n in order[::-1]), 3]]
    moved = Volume(np.ascontiguousarray(volume.voxels.transpose(order)), Affine(matrix))
    session = Session(moved, model, axis=axis, window=WINDOW)
    assert session.count == 9
    found = propagate(session, {4: BOX}, LOOSE).stack()
    assert np.array_equal(found, reference)


def test_a_flipped_copy_gives_the_flipped_mask(model):
    volume = video.blobs(9)
    reference = propagate(Session(volume, model, axis="k", window=WINDOW), {4: BOX}, LOOSE).stack()
    matrix = volume.affine.matrix.copy()
    matrix[:3, 3] += matrix[:3, 0] * (volume.shape[2] - 1)
    matrix[:3, 0] *= -1
    flipped = Volume(np.ascontiguousarray(volume.voxels[:, :, ::-1]), Affine(matrix))
    last = volume.shape[2] - 1
    box = SlicePrompts(box=(last - BOX.box[2], BOX.box[1], last - BOX.box[0], BOX.box[3]))
    found = propagate(Session(flipped, model, axis="k", window=WINDOW), {4: box}, LOOSE).stack()
    assert np.array_equal(found[:, :, ::-1], reference)


def test_nan_is_an_error_and_the_session_lives_on(model, cache, monkeypatch):
    session = session_of(model, cache)
    before = propagate(session, {4: BOX}, LOOSE)
    real = model.network._encode_new_memory
    with monkeypatch.context() as patch:
        patch.setattr(model.network, "_encode_new_memory", lambda **given: (real(**given)[0] * float("nan"), None))
        with pytest.raises(ModelError) as caught:
            propagate(session, {4: BOX}, LOOSE)
    assert caught.value.code == "model.nan"
    assert "memory encoder" in caught.value.message
    assert np.array_equal(propagate(session, {4: BOX}, LOOSE).stack(), before.stack())


def test_prompts_that_cannot_be_used(model, cache):
    tracker = session_of(model, cache).tracker
    for prompts, code in (
        (SlicePrompts(), "prompt.empty"),
        (SlicePrompts(points=np.array([[3.0, 3.0]]), labels=np.array([0])), "prompt.only_negative"),
    ):
        with pytest.raises(PromptError) as caught:
            tracker.prompted(2, prompts)
        assert caught.value.code == code


def test_a_model_without_memory_has_no_tracker():
    session = Session(video.blobs(9), StubModel(), axis="k", window=WINDOW)
    assert session.tracker is None
    with pytest.raises(InputError) as caught:
        segment_volume(video.blobs(9), [BoxPrompt((18, 13, 4), (42, 37, 4))], StubModel(), engine="memory")
    assert caught.value.code == "option.engine"


def test_the_report_says_which_engine_and_with_which_settings(model, cache):
    drawn = np.zeros((80, 96), dtype=bool)
    drawn[40:60, 66:84] = True
    prompts = VolumePrompts({"a": [BoxPrompt((18, 13, 4), (42, 37, 4))], "b": [MaskPrompt(drawn, 5)]})
    result = segment_volume(
        video.blobs(9), prompts, model, axis="k", window=WINDOW, cache=cache,
        settings=PropagationSettings(projection="box", iou_threshold=0.0, area_ratio=1000.0),
    )  # fmt: skip
    report = json.loads(to_text(build_report(result)))
    jsonschema.Draft202012Validator(json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))).validate(report)
    assert (result.engine, report["settings"]["engine"]) == ("memory", "memory")
    assert report["settings"]["propagation"]["patience"] == 2
    assert report["settings"]["propagation"]["masks"] == "refined"
    assert any("projection" in one["text"] for one in report["warnings"])
    assert "stretched" in report["preprocessing"]["frame"]
    by_name = {one["name"]: one for one in report["objects"]}
    drawn_record = next(one for one in by_name["b"]["records"] if one["index"] == 5)
    assert drawn_record["reason"] == "drawn"
    assert np.array_equal(result.results["b"].masks[5], drawn)
    assert all("object_score" in one for one in by_name["a"]["records"])


def test_prompted_slices_only_and_the_prompt_engine_are_still_there(model, cache):
    box = [BoxPrompt((18, 13, 4), (42, 37, 4))]
    options = {"axis": "k", "window": WINDOW, "cache": cache}
    assert segment_volume(video.blobs(9), box, model, propagate=False, **options).engine is None
    assert segment_volume(video.blobs(9), box, model, engine="prompt", **options).engine == "prompt"


def test_the_estimate_counts_tracking(model, monkeypatch):
    asked = []
    from SegmentAnythingMedLib.engine.memory_tracker import MemoryTracker

    tracked = MemoryTracker.tracked
    monkeypatch.setattr(
        MemoryTracker, "tracked", lambda self, index, bank, **given: asked.append(bank) or tracked(self, index, bank)
    )
    facts = describe_job(video.blobs(9), model, axis="k", window=WINDOW)
    assert len(asked) == 1
    assert facts["estimate"]["seconds_per_slice"] > 0


def test_command_line(tmp_path, capsys, monkeypatch, model):
    image, out = tmp_path / "image.nii.gz", tmp_path / "mask.nii.gz"
    save_volume(video.blobs(5), image)
    monkeypatch.setattr("SegmentAnythingMedLib.models.catalog.load_model", lambda *_: model)
    job = ["segment", str(image), "--output", str(out), "--box", "18,13,42,37,2", "--axis", "k", "--window", WINDOW]
    assert main([*job, "--engine", "both"]) == 2
    assert "option.engine" in capsys.readouterr().err
    assert not out.exists()
    assert main([*job, "--engine", "memory", "--report", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["settings"]["engine"] == "memory"
    assert main([*job, "--engine", "prompt", "--report", str(tmp_path / "r2.json")]) == 0
    assert json.loads((tmp_path / "r2.json").read_text())["settings"]["engine"] == "prompt"


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_stacks(model, count):
    volume = video.blobs(9)
    short = Volume(np.ascontiguousarray(volume.voxels[4 : 4 + count]), volume.affine)
    result = propagate(Session(short, model, axis="k", window=WINDOW), {0: BOX}, LOOSE)
    assert result.records[0].reason == "seed"
    assert set(result.records) == set(range(count))
