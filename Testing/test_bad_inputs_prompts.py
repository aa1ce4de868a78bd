"""Faults 43 to 60 of the list of things to survive, as far as prompts and propagation meet them: code and words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from propagation_stub import SHAPE, StubPredictor, box_of, disc, discs, point
from SegmentAnythingMedLib.errors import InputError, PromptError, SegmentAnythingMedError
from SegmentAnythingMedLib.prompts.resolve import MAX_POINTS, resolve
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.prompts.volume_prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    StopMark,
    VolumePrompts,
    mask_prompts,
)
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume

COUNT = 12
TRUTH = discs([8] * COUNT)
STACK = SliceStack(Volume(TRUTH.astype(np.int16), Affine.from_parts((1, 1, 2), (10, 20, 30))), "k")
INSIDE = PointPrompt((28, 24, 5))
FLAT = np.zeros(SHAPE, dtype=bool)

REFUSED_PROMPTS = {
    "43 no objects": ([], "prompt.none", "at least one"),
    "44 point below": ([PointPrompt((-1, 3, 3))], "prompt.outside", r"-1,3,3 \(ijk\)"),
    "44 point behind the last slice": ([PointPrompt((3, 3, 12))], "prompt.outside", "0,0,0 to 55,47,11"),
    "44 point in mm": ([PointPrompt((0, 20, 30), space="lps")], "prompt.outside", r"\(lps\), which is voxel -10,0,0"),
    "44 box": ([BoxPrompt((70, 3, 3), (90, 9, 3))], "prompt.outside", "70,3,3"),
    "44 box on no slice": ([BoxPrompt((7, 3, 40), (9, 9, 40))], "prompt.outside", "7,3,40"),
    "44 scribble": ([ScribblePrompt([(3, 3, 3), (1e12, 3, 3)])], "prompt.outside", "voxels"),
    "44 stop mark": ([INSIDE, StopMark(12)], "prompt.outside", "slice 0 to 11"),
    "44 mask": ([MaskPrompt(disc(3), -1)], "prompt.outside", "slice 0 to 11"),
    "46 negative point": ([PointPrompt((28, 24, 5), 0)], "prompt.only_negative", "positive"),
    "46 negative points": ([PointPrompt((n, 24, 5), 0) for n in (3, 9)], "prompt.only_negative", "positive"),
    "46 stop mark": ([StopMark(3)], "prompt.only_negative", "positive"),
    "49 box without area": ([BoxPrompt((9, 9, 3), (9, 9, 3))], "prompt.box_empty", "with an area"),
    "49 box over slices": ([BoxPrompt((9, 9, 3), (19, 19, 6))], "prompt.box_slices", "slices 3, 6"),
    "51 empty scribble alone": ([ScribblePrompt([])], "prompt.none", "at least one"),
    "51 empty mask alone": ([MaskPrompt(FLAT, 3)], "prompt.none", "at least one"),
    "57 mask of another volume": ([MaskPrompt(np.ones((9, 9)), 3)], "prompt.wrong_volume", "48 x 56 pixels.*9 x 9"),
    "57 mask of another axis": ([MaskPrompt(disc(3), 3, "j")], "prompt.wrong_axis", "of axis j"),
    "not a prompt": (["here"], "prompt.kind", "point, box, mask"),
}


@pytest.mark.parametrize("name", REFUSED_PROMPTS)
def test_refused(name: str) -> None:
    prompts, code, words = REFUSED_PROMPTS[name]
    with pytest.raises(PromptError, match=words) as caught:
        resolve(VolumePrompts.single(prompts), STACK)
    assert caught.value.code == code


def test_43_no_object_at_all() -> None:
    for call in (lambda: resolve(VolumePrompts(), STACK), lambda: propagate_objects(StubPredictor(TRUTH), {})):
        with pytest.raises(PromptError, match="at least one object") as caught:
            call()
        assert caught.value.code == "prompt.none"


def test_57_prompts_of_a_volume_of_another_size() -> None:
    prompts = VolumePrompts({"a": [INSIDE]}, size=(512, 512, 90))
    with pytest.raises(PromptError, match=r"56 x 48 x 12 voxels.*512 x 512 x 90") as caught:
        resolve(prompts, STACK)
    assert caught.value.code == "prompt.wrong_volume"


def test_the_object_is_named_when_there_are_several() -> None:
    with pytest.raises(PromptError, match=r"Object 'b': .*inside the volume"):
        resolve(VolumePrompts({"a": [INSIDE], "b": [PointPrompt((99, 0, 0))]}), STACK)


REFUSED_VALUES = {
    "position of two": (lambda: PointPrompt((1, 2)), "prompt.position"),
    "position NaN": (lambda: PointPrompt((1, 2, math.nan)), "prompt.position"),
    "position infinite": (lambda: BoxPrompt((1, 2, 3), (1, math.inf, 3)), "prompt.position"),
    "position text": (lambda: PointPrompt("123"), "prompt.position"),
    "position None": (lambda: PointPrompt(None), "prompt.position"),
    "box of four numbers": (lambda: BoxPrompt.in_plane((1, 2, 3, 4), "k"), "prompt.position"),
    "label 2": (lambda: PointPrompt((1, 2, 3), 2), "prompt.label"),
    "label text": (lambda: ScribblePrompt([], "inside"), "prompt.label"),
    "space": (lambda: PointPrompt((1, 2, 3), space="xyz"), "option.space"),
    "mask of three axes": (lambda: MaskPrompt(np.ones((2, 2, 2)), 1), "prompt.mask"),
    "mask axis": (lambda: MaskPrompt(disc(3), 1, "axial"), "option.axis"),
    "slice 1.5": (lambda: StopMark(1.5), "prompt.position"),
    "empty mask volume": (lambda: mask_prompts(np.zeros((12, 48, 56)), STACK), "prompt.mask_empty"),
    "mask volume of another shape": (lambda: mask_prompts(np.ones((2, 2, 2)), STACK), "volume.shape"),
}


@pytest.mark.parametrize("name", REFUSED_VALUES)
def test_values_are_refused_when_they_are_made(name: str) -> None:
    make, code = REFUSED_VALUES[name]
    with pytest.raises(SegmentAnythingMedError, match="Expected") as caught:
        make()
    assert caught.value.code == code


def notes_of(*prompts) -> tuple[ObjectSeeds, str]:
    found = resolve(VolumePrompts.single(prompts), STACK)["object"]
    return found, " ".join(found.notes)


def test_47_of_contradictory_points_the_last_counts() -> None:
    found, notes = notes_of(PointPrompt((9, 9, 5)), PointPrompt((9.2, 9, 5), 0), INSIDE)
    assert found.seeds[5].labels.tolist() == [0, 1]
    assert "inside and outside" in notes
    _, notes = notes_of(INSIDE, INSIDE)
    assert notes == "", "twice the same is no contradiction"


def test_48_ten_thousand_points_are_thinned() -> None:
    rng = np.random.default_rng(0)
    many = [PointPrompt((*rng.uniform(0, 47, 2), 5), int(rng.integers(2))) for _ in range(10_000)]
    found, notes = notes_of(*many)
    assert len(found.seeds[5].points) == 2 * MAX_POINTS
    assert "points;" in notes


def test_49_an_inverted_box_is_put_in_order() -> None:
    found, notes = notes_of(BoxPrompt((20, 9, 5), (12, 4, 5)))
    assert found.seeds[5].box == (11.5, 3.5, 20.5, 9.5)
    assert "inverted" in notes


def test_50_a_box_larger_than_the_image_is_clipped() -> None:
    found, notes = notes_of(BoxPrompt((-30, 9, 5), (900, 20, 5)))
    assert found.seeds[5].box == (-0.5, 8.5, 55.5, 20.5)
    assert "clipped" in notes


def test_two_boxes_on_a_slice() -> None:
    found, notes = notes_of(BoxPrompt((1, 1, 5), (5, 5, 5)), BoxPrompt((10, 10, 5), (15, 15, 5)))
    assert found.seeds[5].box == (9.5, 9.5, 15.5, 15.5)
    assert "more than one box" in notes


def test_51_empty_scribbles_and_masks_are_left_out() -> None:
    found, notes = notes_of(INSIDE, ScribblePrompt([]), MaskPrompt(FLAT, 7))
    assert list(found.seeds) == [5]
    assert "empty scribble" in notes
    assert "mask on slice 7 is empty" in notes


def test_52_a_seed_without_an_answer_changes_nothing() -> None:
    before = propagate(StubPredictor(TRUTH), {5: point(28, 24)})
    kept = before.stack()
    with pytest.raises(PromptError, match="Nothing was changed") as caught:
        propagate(StubPredictor(TRUTH), {5: point(1, 1)}, previous=before)
    assert caught.value.code == "prompt.no_mask"
    assert np.array_equal(before.stack(), kept)


def test_53_a_mask_that_fills_a_slice_is_not_carried_on() -> None:
    truth = TRUTH.copy()
    truth[8:] = True

    stub = StubPredictor(truth)
    settings = PropagationSettings(projection="single_point", iou_threshold=0, area_ratio=1e9, patience=0)
    result = propagate(stub, {5: point(28, 24)}, settings)
    assert result.upper == 7
    assert result.end_upper == "stopped:full"


def test_54_a_leak_ends_the_walk_and_says_where() -> None:
    truth = TRUTH.copy()
    truth[8:] = disc(20)
    result = propagate(StubPredictor(truth), {5: point(28, 24)}, PropagationSettings(projection="single_point"))
    assert result.upper == 7
    assert result.end_upper == "stopped:iou"
    assert result.records[8].to_json()["iou"] < 0.5
    assert result.records[8].area_ratio > 2


REFUSED_SETTINGS = {
    "55 IoU NaN": ({"iou_threshold": math.nan}, "between 0 and 1 for iou_threshold; got nan"),
    "55 IoU text": ({"iou_threshold": "0.5"}, "iou_threshold"),
    "55 IoU -0.1": ({"iou_threshold": -0.1}, "got -0.1"),
    "55 IoU 1.1": ({"iou_threshold": 1.1}, "got 1.1"),
    "55 IoU None": ({"iou_threshold": None}, "got None"),
    "55 IoU True": ({"iou_threshold": True}, "got True"),
    "area ratio 0.5": ({"area_ratio": 0.5}, "of 1 or more"),
    "area ratio infinite": ({"area_ratio": math.inf}, "area_ratio"),
    "patience 1.5": ({"patience": 1.5}, "whole number for patience"),
    "patience -1": ({"patience": -1}, "patience"),
    "components 0": ({"max_components": 0}, "max_components"),
    "switch 1": ({"motion_compensation": 1}, "true or false"),
    "extension -1": ({"box_extension": -1}, "box_extension"),
    "extension in mm text": ({"box_extension_mm": "wide"}, "box_extension_mm"),
    "projection": ({"projection": "lasso"}, "projection"),
    "limits 3": ({"limits": 3}, "two slice numbers"),
    "limits inverted": ({"limits": (5, 3)}, "LO <= HI"),
    "limits text": ({"limits": ("a", "b")}, "whole|number"),
    "limits as published": ({"limits": (3, 5), "as_published": True}, "published rules"),
}


@pytest.mark.parametrize("name", REFUSED_SETTINGS)
def test_settings_are_checked(name: str) -> None:
    values, words = REFUSED_SETTINGS[name]
    with pytest.raises(InputError, match=words) as caught:
        PropagationSettings(**values)
    assert caught.value.code == f"option.{next(iter(values))}"


def test_55_the_ends_of_the_range_mean_what_they_say() -> None:
    truth = discs([8] * 6 + [5] * 6)
    seeds = {2: SlicePrompts(box=box_of(truth[2]))}
    wide = PropagationSettings(iou_threshold=0, area_ratio=1000)
    assert propagate(StubPredictor(truth), seeds, wide).upper == 11
    strict = PropagationSettings(iou_threshold=1, area_ratio=1000)
    assert propagate(StubPredictor(truth), seeds, strict).upper == 5


def test_56_a_structure_that_splits_is_reported() -> None:
    truth = discs([12] * 8)
    truth[4:, :, 26:31] = False
    result = propagate(StubPredictor(truth), {2: point(20, 24)}, PropagationSettings(projection="box", area_ratio=3))
    assert "split" in result.records[4].note
    assert result.upper == 7


REFUSED_SEEDS = {
    "43 nothing": ({}, "prompt.none"),
    "43 empty prompts": ({3: SlicePrompts()}, "prompt.empty"),
    "44 slice 12": ({12: point(28, 24)}, "prompt.outside"),
    "44 slice -1": ({-1: point(28, 24)}, "prompt.outside"),
    "46 negative": ({3: point(28, 24, 0)}, "prompt.only_negative"),
    "57 mask of another size": ({3: SlicePrompts(mask=np.ones((5, 5), bool))}, "prompt.wrong_volume"),
}


@pytest.mark.parametrize("name", REFUSED_SEEDS)
def test_the_engine_refuses_before_it_calls_the_model(name: str) -> None:
    seeds, code = REFUSED_SEEDS[name]
    stub = StubPredictor(TRUTH)
    with pytest.raises(PromptError, match="Expected") as caught:
        propagate(stub, seeds)
    assert caught.value.code == code
    assert not stub.calls


def test_prompts_outside_the_limits() -> None:
    stub = StubPredictor(TRUTH)
    with pytest.raises(PromptError, match=r"within the limits 2 to 4.*5") as caught:
        propagate(stub, {5: point(28, 24)}, PropagationSettings(limits=(2, 4)))
    assert caught.value.code == "prompt.outside_limits"
    result = propagate(stub, {5: point(28, 24), 8: point(28, 24)}, PropagationSettings(limits=(2, 6)))
    assert max(result.masks) == 6
    assert any("slice 8 are outside the limits" in note for note in result.notes)


def test_60_prompts_edited_while_running_do_not_reach_the_run() -> None:
    seeds = {5: point(28, 24)}
    stub = StubPredictor(TRUTH)
    predict = stub.predict

    def meddling(index: int, prompts: SlicePrompts, *, propagated: bool = False):
        seeds[9] = point(1, 1)
        seeds.pop(5, None)
        return predict(index, prompts, propagated=propagated)

    stub.predict = meddling
    result = propagate(stub, seeds)
    assert len(result.masks) == COUNT
    assert result.records[5].reason == "seed"
