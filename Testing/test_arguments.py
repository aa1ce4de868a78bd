from __future__ import annotations

import json

import numpy as np
import pytest
from SegmentAnythingMedLib.apps.arguments import (
    PromptArguments,
    join_negative_numbers,
    parse_box,
    parse_limits,
    parse_number,
    parse_point,
    parse_whole,
)
from SegmentAnythingMedLib.errors import InputError, PromptError
from SegmentAnythingMedLib.files.images import save_mask
from SegmentAnythingMedLib.prompts.resolve import resolve
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, MaskPrompt, PointPrompt
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume


@pytest.fixture
def volume() -> Volume:
    return Volume(np.zeros((7, 8, 9), dtype=np.int16), Affine.from_parts((1.0, 2.0, 3.0), (10.0, 20.0, 30.0)))


def test_points_are_positive_unless_told():
    assert parse_point("1,2,3") == PointPrompt((1, 2, 3), 1)
    assert parse_point("1,2.5,3,0") == PointPrompt((1, 2.5, 3), 0)
    assert parse_point("-1,-2,3, 1", "ras") == PointPrompt((-1, -2, 3), 1, "ras")


@pytest.mark.parametrize("text", ["", "1", "1,2", "1,2,3,4,5", "a,b,c", "1,2,nan", "1,2,inf", "1;2;3"])
def test_points_that_are_none(text):
    with pytest.raises(PromptError) as caught:
        parse_point(text)
    assert caught.value.code == "prompt.position"
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["1,2,3,2", "1,2,3,-1", "1,2,3,0.5", "1,2,3,x"])
def test_labels_that_are_none(text):
    with pytest.raises(PromptError) as caught:
        parse_point(text)
    assert caught.value.code == "prompt.label"


def test_boxes_have_five_numbers_in_voxels_and_six_in_mm():
    assert parse_box("1,2,3,4,5") == (1, 2, 3, 4, 5)
    assert parse_box("1,2,3,4,5,6", "lps") == (1, 2, 3, 4, 5, 6)
    for text, space in (("1,2,3,4", "ijk"), ("1,2,3,4,5,6", "ijk"), ("1,2,3,4,5", "lps")):
        with pytest.raises(PromptError, match=r"two corners|five numbers"):
            parse_box(text, space)


@pytest.mark.parametrize(
    ("axis", "corners"),
    [("k", ((1, 2, 5), (3, 4, 5))), ("j", ((1, 5, 2), (3, 5, 4))), ("i", ((5, 1, 2), (5, 3, 4)))],
)
def test_a_box_keeps_the_order_of_indices_on_every_axis(volume, axis, corners):
    given = PromptArguments.parse(boxes=["1,2,3,4,5"]).bind(SliceStack(volume, axis))
    assert given.prompts.objects["object"] == [BoxPrompt(*corners)]


def test_a_box_in_mm_is_the_box_in_voxels(volume):
    stack = SliceStack(volume, "k")
    lps = volume.affine.ijk_to_lps([(1, 2, 5), (3, 4, 5)]).ravel()
    in_mm = PromptArguments.parse(boxes=[",".join(map(str, lps))], space="lps").bind(stack)
    in_voxels = PromptArguments.parse(boxes=["1,2,3,4,5"]).bind(stack)
    boxes = [resolve(given.prompts, stack)["object"].seeds[5].box for given in (in_mm, in_voxels)]
    assert boxes[0] == pytest.approx(boxes[1])


def test_nothing_given_and_too_much_given():
    for arguments, code in (({}, "prompt.none"), ({"points": ["1,2,3"], "file": "p.json"}, "prompt.mixed")):
        with pytest.raises(PromptError) as caught:
            PromptArguments.parse(**arguments)
        assert caught.value.code == code
    with pytest.raises(InputError) as caught:
        PromptArguments.parse(points=["1,2,3"], space="xyz")
    assert caught.value.code == "option.space"


def test_a_seed_mask_becomes_drawn_slices(volume, tmp_path):
    mask = np.zeros(volume.shape, dtype=np.uint8)
    mask[2, 3:5, 3:5] = mask[4, 3:5, 3:5] = 1
    save_mask(mask, volume, tmp_path / "seed.nii.gz")
    stack = SliceStack(volume, "k")
    given = PromptArguments.parse(points=["1,1,6"], mask=str(tmp_path / "seed.nii.gz")).bind(stack)
    drawn = [prompt for prompt in given.prompts.objects["object"] if isinstance(prompt, MaskPrompt)]
    assert [prompt.slice for prompt in drawn] == [2, 4]
    assert resolve(given.prompts, stack)["object"].drawn == {2, 4}
    assert list(given.prompts.objects["object"])[-1] == PointPrompt((1, 1, 6))


def test_a_seed_mask_of_several_labels_is_several_objects(volume, tmp_path):
    mask = np.zeros(volume.shape, dtype=np.uint8)
    mask[2, 3:5, 3:5], mask[4, 3:5, 3:5] = 3, 7
    save_mask(mask, volume, tmp_path / "seed.nii.gz")
    path, stack = str(tmp_path / "seed.nii.gz"), SliceStack(volume, "k")
    assert list(PromptArguments.parse(mask=path).bind(stack).prompts.objects) == ["label 3", "label 7"]
    with pytest.raises(PromptError) as caught:
        PromptArguments.parse(points=["1,1,6"], mask=path).bind(stack)
    assert caught.value.code == "prompt.mixed"


def test_an_empty_seed_mask(volume, tmp_path):
    save_mask(np.zeros(volume.shape, dtype=bool), volume, tmp_path / "seed.nii.gz")
    with pytest.raises(PromptError) as caught:
        PromptArguments.parse(mask=str(tmp_path / "seed.nii.gz")).bind(SliceStack(volume))
    assert caught.value.code == "prompt.mask_empty"


def test_a_prompt_file_with_several_objects(volume, tmp_path):
    path = tmp_path / "prompts.json"
    objects = [
        {"name": name, "prompts": [{"type": "point", "position": [1, 2, k]}]} for name, k in (("liver", 1), ("lung", 2))
    ]
    path.write_text(json.dumps({"version": 1, "objects": objects}))
    arguments = PromptArguments.parse(file=str(path))
    assert arguments.files == (path,)
    bound = arguments.bind(SliceStack(volume)).prompts
    assert list(bound.objects) == ["liver", "lung"]
    assert bound.size == (9, 8, 7)


def test_options():
    assert parse_limits(None) is None
    assert parse_limits("3,9") == (3, 9)
    for text in ("3", "3,9,1", "a,b", "-1,4", "1.5,2", ""):
        with pytest.raises(InputError) as caught:
            parse_limits(text)
        assert caught.value.code == "option.limits"
    assert parse_number("0.25") == 0.25
    assert parse_number("half") == "half"
    assert parse_whole(None, "seed") is None
    assert parse_whole("12", "seed") == 12
    for text in ("-1", "x", "1.5", ""):
        with pytest.raises(InputError) as caught:
            parse_whole(text, "seed")
        assert caught.value.code == "option.seed"


def test_negative_numbers_are_not_options():
    assert join_negative_numbers(["--point", "-1.5,2,3", "--box", "-.5,1", "--json"]) == [
        "--point=-1.5,2,3", "--box=-.5,1", "--json",
    ]  # fmt: skip
    assert join_negative_numbers(["--point", "--json", "image", "-1"]) == ["--point", "--json", "image", "-1"]
