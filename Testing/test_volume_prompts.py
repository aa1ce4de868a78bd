"""Prompts in a volume: spaces, axes, scribbles, drawn masks, and their JSON form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from SegmentAnythingMedLib.errors import InputError, PromptError
from SegmentAnythingMedLib.prompts.json_form import (
    SCHEMA_PATH,
    decode_mask,
    encode_mask,
    load_prompts,
    prompts_from_json,
    prompts_to_json,
)
from SegmentAnythingMedLib.prompts.resolve import MAX_POINTS, SCRIBBLE_POINTS, resolve
from SegmentAnythingMedLib.prompts.volume_prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    ScribblePrompt,
    StopMark,
    VolumePrompts,
    mask_prompts,
)
from SegmentAnythingMedLib.space.affine import Affine, lps_to_ras
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume

SHAPE = (9, 20, 30)  # K, J, I


def oblique() -> Affine:
    a, b = np.deg2rad([20, -12])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return Affine.from_parts((0.7, 0.9, 4.0), (-31.0, 12.5, 77.0), turn @ tilt @ np.diag([-1.0, 1.0, 1.0]))


def stack_of(axis: str = "k", affine: Affine | None = None) -> SliceStack:
    return SliceStack(Volume(np.zeros(SHAPE, dtype=np.int16), affine or Affine(np.eye(4))), axis)


def seeds(*prompts, stack: SliceStack | None = None):
    return resolve(VolumePrompts.single(prompts), stack or stack_of())["object"]


@pytest.mark.parametrize(("axis", "slice_", "xy"), [("k", 4, (11, 7)), ("j", 7, (11, 4)), ("i", 11, (7, 4))])
def test_a_point_lands_on_its_slice_on_every_axis(axis: str, slice_: int, xy: tuple) -> None:
    found = seeds(PointPrompt((11, 7, 4)), stack=stack_of(axis)).seeds
    assert list(found) == [slice_]
    assert found[slice_].points.tolist() == [list(map(float, xy))]
    assert found[slice_].labels.tolist() == [1]


@pytest.mark.parametrize("axis", ["k", "j", "i"])
@pytest.mark.parametrize("space", ["lps", "ras"])
def test_patient_space_means_the_same_voxels_on_an_oblique_volume(axis: str, space: str) -> None:
    stack = stack_of(axis, oblique())

    def there(ijk):
        lps = stack.volume.affine.ijk_to_lps([ijk])[0]
        return tuple(lps if space == "lps" else lps_to_ras(lps))

    corner0, corner1 = {"k": ((3, 4, 5), (12, 9, 5)), "j": ((3, 9, 2), (12, 9, 5)), "i": ((3, 4, 5), (3, 9, 7))}[axis]
    by_index = seeds(PointPrompt((11, 7, 4)), BoxPrompt(corner0, corner1), stack=stack)
    by_place = seeds(
        PointPrompt(there((11, 7, 4)), space=space), BoxPrompt(there(corner0), there(corner1), space), stack=stack
    )
    assert list(by_index.seeds) == list(by_place.seeds)
    for index, prompts in by_index.seeds.items():
        assert by_place.seeds[index].points == pytest.approx(prompts.points, abs=1e-5)
        if prompts.box:
            assert by_place.seeds[index].box == pytest.approx(prompts.box, abs=1e-5)
    assert by_place.notes == ()


def test_box_corners_are_inclusive() -> None:
    found = seeds(BoxPrompt((3, 4, 5), (12, 9, 5)))
    assert found.seeds[5].box == (2.5, 3.5, 12.5, 9.5)


@pytest.mark.parametrize(
    ("axis", "values", "corners"),
    [
        ("k", (3, 4, 12, 9, 5), ((3, 4, 5), (12, 9, 5))),
        ("j", (3, 2, 12, 5, 9), ((3, 9, 2), (12, 9, 5))),
        ("i", (4, 5, 9, 7, 3), ((3, 4, 5), (3, 9, 7))),
    ],
)
def test_five_numbers_of_the_command_line(axis: str, values: tuple, corners: tuple) -> None:
    box = BoxPrompt.in_plane(values, axis)
    assert (box.corner0, box.corner1) == corners


def test_the_corners_of_the_volume_are_inside() -> None:
    for ijk in ((0, 0, 0), (29, 19, 8), (-0.5, -0.5, -0.5), (29.49, 19.49, 8.49), (29.5, 19.5, 8.5)):
        found = seeds(PointPrompt(ijk)).seeds
        assert set(found) <= {0, 8}
    whole = seeds(BoxPrompt((0, 0, 8), (29, 19, 8)))
    assert whole.seeds[8].box == (-0.5, -0.5, 29.5, 19.5)
    assert whole.notes == ()


def test_points_and_box_of_a_slice_come_together() -> None:
    found = seeds(PointPrompt((11, 7, 4)), PointPrompt((2, 2, 4), 0), BoxPrompt((3, 4, 4), (12, 9, 4)))
    assert found.seeds[4].labels.tolist() == [1, 0]
    assert found.seeds[4].box == (2.5, 3.5, 12.5, 9.5)


def test_a_lone_negative_point_is_a_stop_mark() -> None:
    found = seeds(PointPrompt((11, 7, 4)), PointPrompt((11, 7, 7), 0), StopMark(1))
    assert found.stops == {1, 7}
    assert list(found.seeds) == [4]


def test_a_stop_mark_on_a_prompted_slice_is_left_out_with_a_note() -> None:
    found = seeds(PointPrompt((11, 7, 4)), StopMark(4))
    assert found.stops == frozenset()
    assert "slice 4 is left out" in found.notes[0]


def test_drawn_masks_stand_and_hints_do_not() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 5:12] = True
    found = seeds(MaskPrompt(mask, 3), MaskPrompt(mask, 5, keep=False), PointPrompt((11, 7, 3)))
    assert found.drawn == {3}
    assert np.array_equal(found.seeds[3].mask, mask)
    assert len(found.seeds[3].points) == 0
    assert any("kept as it is" in note for note in found.notes)
    assert np.array_equal(found.seeds[5].mask, mask)


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_a_mask_volume_becomes_a_drawn_slice_each(axis: str) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:5, 6:9, 10:14] = 2
    stack = stack_of(axis)
    given = mask_prompts(mask, stack)
    found = seeds(*given, stack=stack)
    assert sorted(found.drawn) == {"k": [3, 4], "j": [6, 7, 8], "i": [10, 11, 12, 13]}[axis]
    back = np.zeros(SHAPE, bool)
    for index, prompts in found.seeds.items():
        stack.mask_slice(back, index)[:] = prompts.mask
    assert np.array_equal(back, mask > 0)


def test_a_scribble_becomes_points_and_a_line() -> None:
    found = seeds(ScribblePrompt([(5, 5, 4), (20, 5, 4), (20, 15, 4)]))
    prompts = found.seeds[4]
    assert len(prompts.points) == SCRIBBLE_POINTS
    assert prompts.points[0].tolist() == [5, 5]
    assert prompts.points[-1].tolist() == [20, 15]
    assert prompts.mask[5, 5:21].all(), "every pixel of the way"
    assert prompts.mask[5:16, 20].all()
    assert prompts.mask.sum() < 100
    assert found.drawn == frozenset(), "a scribble is a hint"


def test_a_scribble_across_slices_prompts_each() -> None:
    found = seeds(ScribblePrompt([(5, 5, 2), (20, 10, 6)]))
    assert list(found.seeds) == [2, 3, 4, 5, 6]


def test_a_negative_scribble_has_points_but_no_mask() -> None:
    found = seeds(PointPrompt((11, 7, 4)), ScribblePrompt([(1, 1, 4), (25, 1, 4)], label=0))
    assert found.seeds[4].mask is None
    assert np.count_nonzero(found.seeds[4].labels == 0) == SCRIBBLE_POINTS


def test_objects_are_resolved_apart() -> None:
    both = resolve(VolumePrompts({"a": [PointPrompt((11, 7, 4))], "b": [PointPrompt((2, 2, 1))]}), stack_of())
    assert list(both["a"].seeds) == [4]
    assert list(both["b"].seeds) == [1]


def test_thinned_points_cover_the_rest() -> None:
    grid = [PointPrompt((i, j, 4)) for i in range(30) for j in range(20)]
    found = seeds(*grid, *grid)
    points = found.seeds[4].points
    assert len(points) == MAX_POINTS
    every = np.array([p.position[:2] for p in grid])
    assert np.linalg.norm(every[:, None] - points[None], axis=2).min(axis=1).max() < 5
    assert any("600 positive points" in note for note in found.notes)


# JSON


def example() -> VolumePrompts:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 5:12] = True
    return VolumePrompts(
        {
            "liver": [
                PointPrompt((1.5, 2, 3)),
                PointPrompt((1, 2, 3), 0, "lps"),
                BoxPrompt((1, 2, 3), (4, 5, 3), "ras"),
                MaskPrompt(mask, 3, "k", keep=False),
                MaskPrompt(mask, 4),
            ],
            "cyst 1": [ScribblePrompt([(5, 5, 4), (20, 5, 4)], 0), StopMark(6)],
        },
        size=(30, 20, 9),
    )


def test_json_round_trip() -> None:
    form = json.loads(json.dumps(prompts_to_json(example()), allow_nan=False))
    again = prompts_from_json(form)
    assert prompts_to_json(again) == form
    assert again.size == (30, 20, 9)
    assert np.array_equal(again.objects["liver"][3].mask, example().objects["liver"][3].mask)
    assert again.objects["liver"][1] == PointPrompt((1, 2, 3), 0, "lps")


def test_json_fits_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(prompts_to_json(example()))
    for name, form in BAD_FORMS.items():
        if name not in ("runs outside the mask", "same name twice", "odd runs"):  # beyond what a schema can say
            assert not validator.is_valid(form), name


def test_the_default_space_is_that_of_the_file() -> None:
    form = one(type="point", position=[1, 2, 3])
    assert prompts_from_json(form).objects["a"][0].space == "ijk"
    assert prompts_from_json({**form, "space": "lps"}).objects["a"][0].space == "lps"


def test_reports_name_both_spaces() -> None:
    affine = oblique()
    form = prompts_to_json(VolumePrompts.single([PointPrompt((11, 7, 4))]), affine)
    prompt = form["objects"][0]["prompts"][0]
    assert prompt["ijk"] == [[11, 7, 4]]
    assert prompt["lps"][0] == pytest.approx(affine.ijk_to_lps([(11, 7, 4)])[0], abs=1e-3)


def test_masks_survive_run_lengths() -> None:
    rng = np.random.default_rng(0)
    for mask in (rng.random((7, 5)) > 0.5, np.zeros((3, 4), bool), np.ones((3, 4), bool)):
        assert np.array_equal(decode_mask(encode_mask(mask)), mask)


def one(**prompt) -> dict:
    return {"version": 1, "objects": [{"name": "a", "prompts": [prompt]}]}


BAD_FORMS = {
    "not an object": [],
    "no version": {"objects": []},
    "other version": {"version": 2, "objects": []},
    "unknown field": {"version": 1, "objects": [], "colour": "red"},
    "objects no list": {"version": 1, "objects": {}},
    "no name": {"version": 1, "objects": [{"prompts": []}]},
    "empty name": {"version": 1, "objects": [{"name": "", "prompts": []}]},
    "same name twice": {"version": 1, "objects": [{"name": "a", "prompts": []}] * 2},
    "size of two": {"version": 1, "objects": [], "size": [1, 2]},
    "unknown kind": one(type="lasso"),
    "no kind": one(position=[1, 2, 3]),
    "prompt no object": {"version": 1, "objects": [{"name": "a", "prompts": [3]}]},
    "position of two": one(type="point", position=[1, 2]),
    "position text": one(type="point", position="here"),
    "label 2": one(type="point", position=[1, 2, 3], label=2),
    "label text": one(type="point", position=[1, 2, 3], label="in"),
    "unknown space": one(type="point", position=[1, 2, 3], space="xyz"),
    "misspelt field": one(type="point", position=[1, 2, 3], lable=1),
    "box with one corner": one(type="box", corner0=[1, 2, 3]),
    "polyline no list": one(type="scribble", polyline=3),
    "slice no number": one(type="stop", slice="last"),
    "runs outside the mask": one(type="mask", slice=1, shape=[2, 2], runs=[3, 5]),
    "odd runs": one(type="mask", slice=1, shape=[2, 2], runs=[3]),
    "mask without area": one(type="mask", slice=1, shape=[0, 2], runs=[]),
    "keep no switch": one(type="mask", slice=1, shape=[2, 2], runs=[], keep="yes"),
    "unknown axis": one(type="mask", slice=1, shape=[2, 2], runs=[], axis="axial"),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_bad_forms_are_refused_with_the_place(name: str) -> None:
    with pytest.raises((PromptError, InputError), match="Expected") as caught:
        prompts_from_json(BAD_FORMS[name])
    assert caught.value.code.startswith(("prompt.", "option."))


def test_prompt_files(tmp_path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(prompts_to_json(example())), encoding="utf-8")
    assert list(load_prompts(path).objects) == ["liver", "cyst 1"]
    for content, code in ((b"{", "prompt.json"), (b"\xff\xfe\x00", "prompt.json"), (b"[" * 100_000, "prompt.json")):
        path.write_bytes(content)
        with pytest.raises(PromptError, match=r"prompts\.json") as caught:
            load_prompts(path)
        assert caught.value.code == code
    with pytest.raises(InputError, match="no file nothing") as caught:
        load_prompts(tmp_path / "nothing.json")
    assert caught.value.code == "input.missing"
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_prompts(tmp_path)
    assert caught.value.code == "input.unreadable"
