"""The session: lazy encoding, shared features, regions, corrections; the user's voxels stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib import Session, load_model, propagate
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.regions import choose_region, extent_of, square, still_fits
from SegmentAnythingMedLib.errors import InputError, PromptError, SegmentAnythingMedError
from SegmentAnythingMedLib.models.frame import Region
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume


@pytest.fixture(scope="module")
def model():
    return load_model("built-in", device="cpu")


def ball(count=24, side=120, radius=22.0, spacing=(1.0, 1.0, 2.0)):
    """A bright noisy ball; returns the volume and its mask."""
    k, j, i = np.indices((count, side, side), dtype=np.float64)
    z = (k - (count - 1) / 2) * spacing[2]
    mask = np.sqrt(z**2 + (j - side / 2) ** 2 + (i - side / 2) ** 2) < radius
    noise = np.random.default_rng(1).normal(0, 12, mask.shape)
    voxels = (100 + 150 * mask + noise).astype(np.int16)
    return Volume(voxels, Affine.from_parts(spacing, (0, 0, 0), np.eye(3)), modality="MR"), mask


def box_of(mask):
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (cols[0] - 0.5, rows[0] - 0.5, cols[-1] + 0.5, rows[-1] + 0.5)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_nothing_is_encoded_before_a_prompt_and_one_slice_after_it(model):
    volume, mask = ball()
    session = Session(volume, model)
    assert session.counters.encodes == 0
    prompts = SlicePrompts(box=box_of(mask[12]))
    first = session.predict(12, prompts)
    assert session.counters.encodes == 1
    assert dice(first.mask, mask[12]) > 0.9
    again = session.predict(12, prompts)
    assert session.counters.encodes == 1
    assert np.array_equal(first.logits, again.logits)


def test_propagation_encodes_what_it_visits_and_a_second_run_nothing(model):
    volume, mask = ball()
    before = volume.voxels.copy()
    session = Session(volume, model)
    result = propagate(session, {12: SlicePrompts(box=box_of(mask[12]))})
    assert dice(result.stack(), mask) > 0.88
    assert session.counters.encodes <= len(result.records) + 2
    encodes = session.counters.encodes
    rerun = propagate(session, {12: SlicePrompts(box=box_of(mask[12]))})
    assert session.counters.encodes == encodes
    assert np.array_equal(result.stack(), rerun.stack())
    assert np.array_equal(before, volume.voxels)


def test_pixels_tell_where_the_object_ends_and_nothing_is_encoded_for_it(model):
    volume, mask = ball()
    session = Session(volume, model)
    assert session.goes_on(mask[12], 12, 15)
    assert not session.goes_on(mask[12], 12, 1)
    assert session.counters.encodes == 0


def test_features_know_only_the_pixels_that_the_model_was_shown(model):
    volume, mask = ball()
    cache = FeatureCache()
    first = Session(volume, model, cache=cache)
    prompts = SlicePrompts(box=box_of(mask[12]))
    first.predict(12, prompts)
    for place, encodes in (((12, 2, 2), 0), ((12, 60, 60), 1)):
        changed = volume.voxels.copy()
        changed[place] += 50
        edited = Session(Volume(changed, volume.affine, modality="MR"), model, cache=cache, window=first.mapping)
        edited.predict(12, prompts)
        assert edited.counters.encodes == encodes


def test_two_sessions_share_a_cache_and_a_fresh_one_repeats_the_result(model):
    volume, mask = ball()
    prompts = {12: SlicePrompts(box=box_of(mask[12]))}
    cache = FeatureCache()
    first = Session(volume, model, cache=cache)
    one = propagate(first, prompts).stack()
    second = Session(volume, model, cache=cache)
    two = propagate(second, prompts).stack()
    assert second.counters.encodes == 0
    assert np.array_equal(one, two)
    second.close()
    third = Session(volume, model, cache=cache)
    propagate(third, prompts)
    assert third.counters.encodes == 0, "closing a session must not empty a cache that others share"
    assert np.array_equal(one, propagate(Session(volume, model), prompts).stack())


def test_features_on_disk_outlive_the_session(model, tmp_path):
    volume, mask = ball()
    prompts = SlicePrompts(box=box_of(mask[12]))
    first = Session(volume, model, cache=FeatureCache(folder=tmp_path / "features"))
    one = first.predict(12, prompts)
    first.close()
    second = Session(volume, model, cache=FeatureCache(folder=tmp_path / "features"))
    assert np.array_equal(second.predict(12, prompts).logits, one.logits)
    assert second.counters.encodes == 0
    changed = volume.voxels.copy()
    changed[12, 60, 60] += 500
    third = Session(
        Volume(changed, volume.affine, modality="MR"), model, cache=FeatureCache(folder=tmp_path / "features"),
        window=first.mapping,
    )  # fmt: skip
    third.predict(12, prompts)
    assert third.counters.encodes == 1


def test_a_point_finds_the_object_and_a_correction_starts_from_the_last_mask(model):
    volume, mask = ball()
    session = Session(volume, model)
    point = SlicePrompts(np.array([[60.0, 60.0]]), np.array([1]))
    answer = session.predict(12, point)
    assert dice(answer.mask, mask[12]) > 0.7
    encodes = session.counters.encodes
    more = SlicePrompts(np.array([[60.0, 60.0], [95.0, 60.0]]), np.array([1, 0]))
    corrected = session.predict(12, more, previous=answer)
    assert session.counters.encodes == encodes
    assert not corrected.mask[60, 95]
    assert len(session.candidates(12, point)) == 3


def test_clicks_that_the_corrected_mask_still_contradicts_are_answered_afresh(model, monkeypatch):
    volume, mask = ball()
    session = Session(volume, model)
    click = SlicePrompts(np.array([[60.0, 60.0]]), np.array([1]))
    everything = replace(session.predict(12, click), mask=np.ones((120, 120), dtype=bool))
    clicks = SlicePrompts(np.array([[60.0, 60.0], [5.0, 60.0]]), np.array([1, 0]))
    stubborn = replace(everything, low_res_logits=np.full((64, 64), 20.0, dtype=np.float32), region=None)
    decode, asked = session._decode, []

    def obstinate(index, region, prompts, mask_input, several):
        asked.append(region)
        return [stubborn] if mask_input is not None else decode(index, region, prompts, mask_input, several)

    monkeypatch.setattr(session, "_decode", obstinate)
    answer = session.predict(12, clicks, previous=stubborn)
    assert len(asked) > 2  # the search over sizes
    assert dice(answer.mask, mask[12]) > 0.85
    asked.clear()
    box = replace(clicks, box=(30.0, 30.0, 90.0, 90.0))
    assert session.predict(12, box, previous=stubborn).mask.all()  # a box says what is meant; the mask is kept
    assert len(asked) == 1


def test_prompts_that_cannot_be_used(model):
    volume, _ = ball(count=4)
    session = Session(volume, model)
    with pytest.raises(PromptError) as caught:
        session.predict(0, SlicePrompts())
    assert caught.value.code == "prompt.empty"
    with pytest.raises(PromptError) as caught:
        session.predict(0, SlicePrompts(np.array([[5.0, 5.0]]), np.array([0])))
    assert caught.value.code == "prompt.only_negative"
    with pytest.raises(InputError):
        session.predict(99, SlicePrompts(box=(5, 5, 20, 20)))
    session.close()
    with pytest.raises(SegmentAnythingMedError) as caught:
        session.predict(0, SlicePrompts(box=(5, 5, 20, 20)))
    assert caught.value.code == "session.closed"


def test_encode_ahead_reports_and_can_be_cancelled(model):
    volume, _ = ball(count=6, side=40)
    session = Session(volume, model)
    seen: list[int] = []

    def listener(progress: Progress) -> None:
        seen.append(progress.done)
        if progress.done == 3:
            progress.cancel()

    with pytest.raises(SegmentAnythingMedError) as caught:
        session.encode(range(6), Progress(listener))
    assert caught.value.code == "cancelled"
    assert session.counters.encodes == 3
    assert session.encode(range(6)) == 3


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_any_axis_is_a_stack(model, axis):
    volume, mask = ball(count=60, side=60, radius=17.0, spacing=(1.0, 1.0, 1.0))
    session = Session(volume, model, axis=axis)
    middle = session.stack.mask_slice(mask, 30)
    result = propagate(session, {30: SlicePrompts(box=box_of(middle))})
    out = np.zeros(volume.shape, dtype=bool)
    for index, found in result.masks.items():
        session.stack.mask_slice(out, index)[...] = found
    assert dice(out, mask) > 0.85


class TestRegions:
    def test_region_is_square_in_mm_and_around_the_box(self, model):
        region = choose_region(model, (40, 50, 60, 60), (200, 200), (2.0, 1.0))
        assert region.contains_box((40, 50, 60, 60))
        assert abs(region.height * 2.0 - region.width) <= 2.0
        assert 1.7 * 20 <= region.width <= 2.2 * 20

    @pytest.mark.parametrize("centre", [(50.0, 40.0), (50.5, 40.3), (49.6, 40.9)])
    def test_a_moved_or_flipped_slice_gets_the_same_region(self, centre):
        x, y = centre
        region = square((x, y), 60.0, (2.0, 1.0))
        moved = square((x - 7, y + 4), 60.0, (2.0, 1.0))
        assert moved == Region(region.row0 + 4, region.col0 - 7, region.row1 + 4, region.col1 - 7)
        flipped = square((99 - x, 79 - y), 60.0, (2.0, 1.0))
        assert flipped == Region(80 - region.row1, 100 - region.col1, 80 - region.row0, 100 - region.col0)
        turned = square((y, x), 60.0, (1.0, 2.0))
        assert turned == Region(region.col0, region.row0, region.col1, region.row1)

    def test_an_old_region_is_kept_while_it_fits(self):
        region = Region(0, 0, 60, 60)
        assert still_fits(region, (15, 15, 45, 45), (1, 1))
        assert not still_fits(region, (1, 15, 31, 45), (1, 1))
        assert not still_fits(region, (28, 28, 32, 32), (1, 1))
        assert not still_fits(region, (4, 4, 56, 56), (1, 1))

    def test_extent_joins_box_mask_and_positive_points(self):
        mask = np.zeros((50, 50), dtype=bool)
        mask[10:20, 5:8] = True
        prompts = SlicePrompts(np.array([[30.0, 15.0], [49.0, 49.0]]), np.array([1, 0]), mask=mask)
        assert extent_of(prompts) == (4.5, 9.5, 30.5, 19.5)
        assert extent_of(SlicePrompts(np.array([[3.0, 3.0]]), np.array([1]))) is None

    def test_whole_slice_models_zoom_into_small_objects_only(self):
        class Whole:
            uses_regions = False
            image_size = 1024

        assert choose_region(Whole(), (100, 100, 300, 300), (512, 512), (1, 1)) is None
        zoomed = choose_region(Whole(), (100, 100, 108, 108), (512, 512), (1, 1))
        assert zoomed.width >= 64
        assert zoomed.contains_box((100, 100, 108, 108))
