"""Prompts as Markups: placed in the world, read in voxels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import markups
from SegmentAnythingMedLib.errors import InputError, PromptError
from SegmentAnythingMedLib.prompts.resolve import resolve
from SegmentAnythingMedLib.prompts.volume_prompts import ScribblePrompt, StopMark, VolumePrompts
from SegmentAnythingMedLib.space.planes import SliceStack
from slicer_reference import (
    KINDS,
    add_points,
    bend,
    put_under,
    random_affine,
)

pytestmark = pytest.mark.usefixtures("slicer_host")


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


def prompts_of(collected, kind):
    return [prompt for prompt in collected.prompts if isinstance(prompt, kind)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_points_are_read_to_a_millionth_of_a_voxel(make_volume, make_segmentation, kind, axis):
    phantom = make_volume(kind)
    segmentation, segment_id = make_segmentation(phantom.node)
    places = np.random.default_rng(1).uniform(0, [95, 79, 23], (12, 3))
    for role, part in (("positive", places[:8]), ("negative", places[8:])):
        add_points(markups.prompt_node(segmentation, segment_id, phantom.node, role), phantom, *map(tuple, part))
    found = markups.collect(segmentation, segment_id, phantom.node, axis)
    assert found.notes == ()
    assert [prompt.label for prompt in found.prompts] == [1] * 8 + [0] * 4
    np.testing.assert_allclose([prompt.position for prompt in found.prompts], places, atol=1e-6)
    slices = {int(np.floor(n + 0.5)) for n in places[:, "ijk".index(axis)]}
    assert found.slices == tuple(sorted(slices))


@pytest.mark.parametrize("linear", [True, False])
def test_markups_under_a_transform_of_their_own(scene, linear):
    phantom, segmentation, segment_id = scene
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    rigid = random_affine(4)
    rigid[:3, :3] /= np.linalg.norm(rigid[:3, :3], axis=0)
    if linear:
        put_under(node, rigid, random_affine(5))
    else:
        bend(node)  # markups carry a position in the world all the same
    place = (47.25, 40.5, 11.0)
    node.AddControlPointWorld(*phantom.world(place))
    (point,) = markups.collect(segmentation, segment_id, phantom.node, "k").prompts
    np.testing.assert_allclose(point.position, place, atol=1e-6 if linear else 1e-2)


def test_a_scan_in_a_bent_space_is_refused(scene):
    phantom, segmentation, segment_id = scene
    bend(phantom.node)
    with pytest.raises(InputError) as refused:
        markups.collect(segmentation, segment_id, phantom.node, "k")
    assert refused.value.code == "volume.transform"


def test_what_is_not_placed_yet_is_no_prompt(scene):
    phantom, segmentation, segment_id = scene
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    add_points(node, phantom, (40, 40, 10), (41, 41, 11), (42, 42, 12))
    node.SetNthControlPointPositionMissing(1)
    node.UnsetNthControlPointPosition(0)
    node.SetNthControlPointPosition(2, *phantom.world((42, 42, 12)), node.PositionPreview)
    before = markups.collect(segmentation, segment_id, phantom.node, "k")
    assert before.prompts == []
    assert not before
    node.SetNthControlPointPosition(2, *phantom.world((42, 42, 12)), node.PositionDefined)
    after = markups.collect(segmentation, segment_id, phantom.node, "k")
    assert len(after.prompts) == 1
    assert after.fingerprint != before.fingerprint


def test_points_outside_the_scan_are_left_out_in_words(scene):
    phantom, segmentation, segment_id = scene
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    add_points(node, phantom, (40, 40, 10), (40, 40, 30), (-3, 40, 10), (-0.5, -0.5, -0.5), (95.49, 79.49, 23.49))
    found = markups.collect(segmentation, segment_id, phantom.node, "k")
    assert len(found.prompts) == 3
    assert found.slices == (0, 10, 23)
    (note,) = found.notes
    assert "2 of 5 points lie outside" in note
    assert "slice 10, 30 of axis k" in note
    resolve(VolumePrompts.single(found.prompts), SliceStack(markups.volume_from_node(phantom.node), "k"))


def test_stop_marks_and_scribbles_of_both_signs(scene):
    phantom, segmentation, segment_id = scene
    add_points(markups.prompt_node(segmentation, segment_id, phantom.node, "stop"), phantom, (40, 40, 3), (10, 9, 20))
    for role in ("scribble", "scribble_negative"):
        node = markups.prompt_node(segmentation, segment_id, phantom.node, role)
        node.SetCurveTypeToLinear()
        add_points(node, phantom, (30, 30, 10), (50, 35, 10), (60, 50, 10))
    again = markups.prompt_node(segmentation, segment_id, phantom.node, "scribble")
    assert again.GetNumberOfControlPoints() == 0  # a line of its own
    found = markups.collect(segmentation, segment_id, phantom.node, "k")
    assert {stop.slice for stop in prompts_of(found, StopMark)} == {3, 20}
    assert found.slices == (10,)
    lines = prompts_of(found, ScribblePrompt)
    assert [line.label for line in lines] == [1, 0]
    for line in lines:
        np.testing.assert_allclose(line.polyline[[0, -1]], [(30, 30, 10), (60, 50, 10)], atol=1e-5)
        on_first = line.polyline[line.polyline[:, 0] <= 50]
        np.testing.assert_allclose(on_first[:, 1], 30 + (on_first[:, 0] - 30) / 4, atol=1e-4)
    assert markups.collect(segmentation, segment_id, phantom.node, "j").slices == tuple(range(30, 51))


def test_a_scribble_that_leaves_the_scan_keeps_its_inner_part(scene):
    phantom, segmentation, segment_id = scene
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "scribble")
    node.SetCurveTypeToLinear()
    add_points(node, phantom, (80, 40, 10), (120, 40, 10))
    found = markups.collect(segmentation, segment_id, phantom.node, "k")
    (line,) = found.prompts
    assert 80 <= line.polyline[:, 0].min() < line.polyline[:, 0].max() <= 95.5
    assert "left out" in found.notes[0]


def test_a_segment_as_seed(scene):
    phantom, segmentation, segment_id = scene
    mask = phantom.mask.copy()
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, segment_id, phantom.node)
    for axis, place in (("k", 0), ("j", 1), ("i", 2)):
        found = markups.seed_masks(segmentation, segment_id, phantom.node, axis)
        filled = np.flatnonzero(mask.any(axis=tuple(n for n in range(3) if n != place)))
        assert [prompt.slice for prompt in found] == filled.tolist()
        for prompt in found:
            assert np.array_equal(prompt.mask, np.take(mask, prompt.slice, axis=place))
            assert prompt.keep
    some = markups.seed_masks(segmentation, segment_id, phantom.node, "k", slices=[0, 12, 12], keep=False)
    assert [(prompt.slice, prompt.keep) for prompt in some] == [(12, False)]
    with pytest.raises(PromptError) as refused:
        markups.seed_masks(segmentation, segment_id, phantom.node, "k", slices=[0])
    assert refused.value.code == "prompt.mask_empty"


def test_prompts_of_another_scan_are_used_where_they_are_in_space_and_that_is_said(scene, make_volume):
    phantom, segmentation, segment_id = scene
    other = make_volume("straight", name="MR")
    node = markups.prompt_node(segmentation, segment_id, other.node, "positive")
    add_points(node, other, (48, 40, 12))
    found = markups.collect(segmentation, segment_id, other.node, "k")
    assert found.notes == ()
    there = np.linalg.inv(phantom.ijk_to_world) @ [*other.world((48, 40, 12)), 1]
    found = markups.collect(segmentation, segment_id, phantom.node, "k")
    assert "organ + was placed on MR; its place in space is used here." in found.notes
    for prompt in found.prompts:
        np.testing.assert_allclose(prompt.position, there[:3], atol=1e-6)
    markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    assert not any("placed on" in note for note in markups.collect(segmentation, segment_id, phantom.node, "k").notes)


def test_fingerprint_tells_equal_prompts_from_others(scene):
    phantom, segmentation, segment_id = scene
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    add_points(node, phantom, (40, 40, 10))
    seen = [markups.collect(segmentation, segment_id, phantom.node, "k").fingerprint for _ in range(2)]
    assert seen[0] == seen[1]
    seen.append(markups.collect(segmentation, segment_id, phantom.node, "j").fingerprint)
    node.SetNthControlPointPositionWorld(0, *phantom.world((40, 40.01, 10)))
    seen.append(markups.collect(segmentation, segment_id, phantom.node, "k").fingerprint)
    assert len(set(seen)) == 3
