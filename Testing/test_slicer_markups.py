"""Prompts as Markups: placed in the world, read in voxels; owned by a segment, kept with the scene."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import folders, geometry, markups, prompt_nodes
from SegmentAnythingMedLib.apps.slicer.boxes import place_box
from SegmentAnythingMedLib.errors import InputError, PromptError
from SegmentAnythingMedLib.prompts.resolve import resolve
from SegmentAnythingMedLib.prompts.volume_prompts import (
    BoxPrompt,
    PointPrompt,
    ScribblePrompt,
    StopMark,
    VolumePrompts,
)
from SegmentAnythingMedLib.space.planes import SliceStack
from test_slicer_geometry import bend, put_under, random_affine

pytestmark = pytest.mark.usefixtures("slicer_host")
KINDS = ["straight", "oblique", "left_handed", "permuted", "transformed", "oblique_transformed"]


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


def add_points(node, phantom, *voxels) -> None:
    for ijk in voxels:
        node.AddControlPointWorld(*phantom.world(ijk))


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_a_box_comes_back_as_it_was_placed(make_volume, make_segmentation, kind, axis):
    phantom = make_volume(kind)
    segmentation, segment_id = make_segmentation(phantom.node)
    low, high = np.array([20.25, 31.0, 7.5]), np.array([44.0, 52.75, 16.0])
    column = "ijk".index(axis)
    low[column] = high[column] = 12
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "box")
    place_box(node, BoxPrompt(tuple(low), tuple(high)), geometry.ijk_to_world(phantom.node), axis)
    found = markups.collect(segmentation, segment_id, phantom.node, axis)
    assert found.notes == ()
    assert found.slices == (12,)
    (box,) = found.prompts
    np.testing.assert_allclose([box.corner0, box.corner1], [low, high], atol=1e-6)
    # the edges that the model is shown are those of the ROI
    seeds = resolve(VolumePrompts.single([box]), SliceStack(markups.volume_from_node(phantom.node), axis))["object"]
    rest = list({"k": (0, 1), "j": (0, 2), "i": (1, 2)}[axis])
    expected = [*(low[rest] - 0.5), *(high[rest] + 0.5)]
    np.testing.assert_allclose(seeds.seeds[12].box, expected, atol=1e-6)


def roi_around(node, phantom, low, high, turn=None) -> None:
    """A ROI with the axes of the volume, mirrored and permuted, whose edges are at two corners in voxels."""
    steps = phantom.ijk_to_world[:3, :3]
    units = steps / np.linalg.norm(steps, axis=0)
    frame = np.eye(4)
    frame[:3, :3] = np.column_stack([-units[:, 1], units[:, 2], units[:, 0]])
    size = (np.array(high) - low) * np.linalg.norm(steps, axis=0)
    if np.linalg.det(frame[:3, :3]) < 0:
        frame[:3, 0] *= -1
    if turn is not None:
        frame[:3, :3] = turn @ frame[:3, :3]
    frame[:3, 3] = phantom.world(tuple((np.array(low) + high) / 2))
    node.SetAndObserveObjectToNodeMatrix(geometry.matrix_of(frame))
    node.SetSize(size[1], size[2], size[0])


@pytest.mark.parametrize("thickness", [0.2, 1.0, 9.0])
def test_a_roi_of_any_thickness_and_order_of_axes_prompts_the_slice_in_its_middle(scene, thickness):
    phantom, segmentation, segment_id = scene
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "box")
    low, high = np.array([20, 30, 10 - thickness / 2]), np.array([50, 55, 10 + thickness / 2])
    roi_around(node, phantom, low, high)
    found = markups.collect(segmentation, segment_id, phantom.node, "k")
    (box,) = found.prompts
    np.testing.assert_allclose([box.corner0, box.corner1], [(20.5, 30.5, 10), (49.5, 54.5, 10)], atol=1e-6)
    assert bool(found.notes) == (thickness > 2)
    if found.notes:
        assert "9 slices thick and prompts the one in its middle, 10" in found.notes[0]


def rotation(degrees: float, normal: np.ndarray) -> np.ndarray:
    a = np.deg2rad(degrees)
    n = normal / np.linalg.norm(normal)
    skew = np.array([[0, -n[2], n[1]], [n[2], 0, -n[0]], [-n[1], n[0], 0]])
    return np.eye(3) + np.sin(a) * skew + (1 - np.cos(a)) * skew @ skew


@pytest.mark.parametrize("about", [0, 2])
def test_an_oblique_box_is_refused_in_words_a_slightly_turned_one_is_not(scene, about):
    phantom, segmentation, segment_id = scene
    normal = phantom.ijk_to_world[:3, about]
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "box")
    roi_around(node, phantom, [20, 30, 9], [50, 55, 11], rotation(12, normal))
    found = markups.collect(segmentation, segment_id, phantom.node, "k")
    assert found.prompts == []
    assert "turned by 12 degrees. Rotate the slice view" in found.notes[0]
    roi_around(node, phantom, [20, 30, 9], [50, 55, 11], rotation(0.5, normal))
    (box,) = markups.collect(segmentation, segment_id, phantom.node, "k").prompts
    np.testing.assert_allclose([box.corner0, box.corner1], [(20.5, 30.5, 10), (49.5, 54.5, 10)], atol=0.5)


def test_boxes_that_cannot_be_used_are_left_out_in_words(scene):
    phantom, segmentation, segment_id = scene
    for low, high, words in (
        ([20, 30, 40], [50, 55, 42], "slice 41 or beside"),
        ([-30, 30, 9], [-10, 55, 11], "beside the image"),
        ([20, 30, 9], [20.4, 55, 11], "at least one pixel"),
    ):
        node = markups.prompt_node(segmentation, segment_id, phantom.node, "box")
        roi_around(node, phantom, low, high)
        found = markups.collect(segmentation, segment_id, phantom.node, "k")
        assert found.prompts == []
        assert words in found.notes[0]
        prompt_nodes.remove_nodes(slicer.mrmlScene, [node])


def test_many_boxes_and_an_unused_one_is_given_again(scene):
    phantom, segmentation, segment_id = scene
    for index in (5, 9):
        node = markups.prompt_node(segmentation, segment_id, phantom.node, "box")
        box = BoxPrompt((20, 30, index), (50, 55, index))
        place_box(node, box, geometry.ijk_to_world(phantom.node), "k")
    unused = markups.prompt_node(segmentation, segment_id, phantom.node, "box")
    assert markups.prompt_node(segmentation, segment_id, phantom.node, "box") is unused
    found = markups.collect(segmentation, segment_id, phantom.node, "k")
    assert found.slices == (5, 9)
    assert len(markups.prompt_nodes(segmentation, segment_id)) == 3


def test_switching_segments_keeps_prompts_and_leaves_the_users_markups_alone(scene, make_segmentation):
    phantom, segmentation, first = scene
    _, second = make_segmentation(phantom.node, "other", segmentation)
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "my landmarks")
    mine.CreateDefaultDisplayNodes()
    add_points(mine, phantom, (40, 40, 12))
    for segment_id, place in ((first, (40, 40, 10)), (second, (20, 20, 5))):
        add_points(markups.prompt_node(segmentation, segment_id, phantom.node, "positive"), phantom, place)
    for shown, hidden in ((first, second), (second, first), (first, second)):
        markups.show_only(segmentation, shown)
        assert [node.GetDisplayVisibility() for node in markups.prompt_nodes(segmentation, shown)] == [1]
        assert [node.GetDisplayVisibility() for node in markups.prompt_nodes(segmentation, hidden)] == [0]
        assert [bool(node.GetLocked()) for node in markups.prompt_nodes(segmentation, hidden)] == [True]
        assert mine.GetDisplayVisibility()
        assert not mine.GetLocked()
    assert markups.collect(segmentation, first, phantom.node, "k").slices == (10,)
    assert markups.collect(segmentation, second, phantom.node, "k").slices == (5,)
    assert markups.remove_prompts(segmentation, first) == 1
    assert markups.collect(segmentation, first, phantom.node, "k").prompts == []
    assert markups.collect(segmentation, second, phantom.node, "k").slices == (5,)
    markups.show_only(None, "")
    assert prompt_nodes.remove_nodes(slicer.mrmlScene, [mine]) == 0
    assert mine.GetNumberOfControlPoints() == 1
    assert mine.GetDisplayVisibility()
    assert prompt_nodes.role_of(mine) is None


def folder_tree():
    """Names of items below each folder of ours."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    return {
        hierarchy.GetItemName(item): [hierarchy.GetItemName(child) for child in children(hierarchy, item)]
        for item in items
        if hierarchy.GetItemDataNode(item) is None
    }


def children(hierarchy, item):
    found: list[int] = []
    hierarchy.GetItemChildren(item, found, False)
    return found


def test_prompts_lie_in_a_folder_per_segment(scene, make_segmentation):
    phantom, segmentation, first = scene
    _, second = make_segmentation(phantom.node, "other", segmentation)
    for segment_id in (first, second):
        for role in ("positive", "box"):
            markups.prompt_node(segmentation, segment_id, phantom.node, role)
    tree = folder_tree()
    assert tree[folders.TOP_NAME] == ["organ", "other"]
    assert tree["organ"] == ["organ +", "organ box"]
    segmentation.GetSegmentation().GetSegment(first).SetName("liver")
    markups.prompt_node(segmentation, first, phantom.node, "stop")
    assert folder_tree()["liver"] == ["organ +", "organ box", "liver stop"]
    markups.remove_prompts(segmentation, first)
    assert folder_tree()[folders.TOP_NAME] == ["other"]
    markups.remove_prompts(segmentation, second)
    assert folders.TOP_NAME not in folder_tree()


def test_an_item_that_the_application_made_is_moved_into_the_folder(scene):
    phantom, segmentation, segment_id = scene
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)

    def make_item(caller, event, node=None):
        for new in slicer.util.getNodesByClass("vtkMRMLMarkupsNode"):
            if not hierarchy.GetItemByDataNode(new):
                hierarchy.CreateItem(hierarchy.GetSceneItemID(), new)

    tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, make_item)
    markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    slicer.mrmlScene.RemoveObserver(tag)
    assert folder_tree()["organ"] == ["organ +"]


def test_everything_comes_back_from_a_saved_scene(scene, make_segmentation, tmp_path):
    phantom, segmentation, first = scene
    _, second = make_segmentation(phantom.node, "other", segmentation)
    add_points(markups.prompt_node(segmentation, first, phantom.node, "positive"), phantom, (40, 40, 10), (41, 30, 8))
    add_points(markups.prompt_node(segmentation, first, phantom.node, "stop"), phantom, (40, 40, 3))
    curve = markups.prompt_node(segmentation, second, phantom.node, "scribble")
    add_points(curve, phantom, (30, 30, 10), (50, 35, 10), (60, 50, 10))
    place_box(
        markups.prompt_node(segmentation, second, phantom.node, "box"),
        BoxPrompt((20, 30, 5), (50, 55, 5)),
        geometry.ijk_to_world(phantom.node),
        "k",
    )
    before = [markups.collect(segmentation, n, phantom.node, "k") for n in (first, second)]
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(path))
    segmentation = slicer.util.getNode("Segmentation")
    volume = slicer.util.getNode("CT")
    after = [markups.collect(segmentation, n, volume, "k") for n in (first, second)]
    for was, now in zip(before, after, strict=True):
        assert was.slices == now.slices
        for one, two in zip(was.prompts, now.prompts, strict=True):
            assert type(one) is type(two)
            if isinstance(one, PointPrompt):
                np.testing.assert_allclose(one.position, two.position, atol=1e-5)
            if isinstance(one, BoxPrompt):
                np.testing.assert_allclose(one.corner0, two.corner0, atol=1e-5)
    assert folder_tree()["organ"] == ["organ +", "organ stop"]
    assert markups.orphans(slicer.mrmlScene) == []


def test_renamed_and_reordered_segments_keep_their_prompts(scene, make_segmentation):
    phantom, segmentation, first = scene
    _, second = make_segmentation(phantom.node, "other", segmentation)
    add_points(markups.prompt_node(segmentation, first, phantom.node, "positive"), phantom, (40, 40, 10))
    content = segmentation.GetSegmentation()
    content.GetSegment(first).SetName("other")
    content.SetSegmentIndex(first, 1)
    assert content.GetNthSegmentID(0) == second
    assert markups.collect(segmentation, first, phantom.node, "k").slices == (10,)
    assert markups.collect(segmentation, second, phantom.node, "k").prompts == []


def test_prompts_of_a_deleted_segment_are_orphans_and_never_another_ones(scene):
    phantom, segmentation, segment_id = scene
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    add_points(node, phantom, (40, 40, 10))
    assert markups.orphans(slicer.mrmlScene) == []
    segmentation.GetSegmentation().RemoveSegment(segment_id)
    assert markups.orphans(slicer.mrmlScene) == [node]
    assert markups.prompt_nodes(segmentation, segment_id) == []
    with pytest.raises(InputError) as refused:
        markups.collect(segmentation, segment_id, phantom.node, "k")
    assert refused.value.code == "segment.missing"
    segmentation.GetSegmentation().AddEmptySegment(segment_id, "organ")  # a new one with the old one's id and name
    assert markups.collect(segmentation, segment_id, phantom.node, "k").prompts == []
    assert markups.prompt_node(segmentation, segment_id, phantom.node, "positive") is not node
    assert markups.orphans(slicer.mrmlScene) == [node]
    slicer.mrmlScene.RemoveNode(segmentation)
    assert len(markups.orphans(slicer.mrmlScene)) == 2


def test_the_segment_editors_undo_brings_prompts_back_to_their_segment(scene):
    phantom, segmentation, segment_id = scene
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(segmentation.GetSegmentation())
    history.SaveState()  # before the segment had a prompt
    node = markups.prompt_node(segmentation, segment_id, phantom.node, "positive")
    add_points(node, phantom, (40, 40, 10))
    history.SaveState()
    segmentation.GetSegmentation().RemoveSegment(segment_id)
    assert markups.orphans(slicer.mrmlScene) == [node]
    history.RestorePreviousState()
    assert markups.orphans(slicer.mrmlScene) == []
    assert markups.prompt_nodes(segmentation, segment_id) == [node]
    history.RestorePreviousState()
    assert markups.prompt_nodes(segmentation, segment_id) == [node]
    assert markups.prompt_node(segmentation, segment_id, phantom.node, "positive") is node


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


def test_roles_and_segments_that_do_not_exist(scene):
    phantom, segmentation, segment_id = scene
    with pytest.raises(PromptError) as refused:
        markups.prompt_node(segmentation, segment_id, phantom.node, "lasso")
    assert refused.value.code == "prompt.role"
    assert markups.prompt_node(segmentation, segment_id, phantom.node, "box", create=False) is None
    for owner, code in ((segmentation, "segment.missing"), (None, "segment.no_segmentation")):
        with pytest.raises(InputError) as missing:
            markups.prompt_node(owner, "no such id", phantom.node, "box")
        assert missing.value.code == code
    assert slicer.util.getNodesByClass("vtkMRMLMarkupsNode") == []


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


def test_a_scene_that_is_added_to_another_brings_its_own_prompts(scene, tmp_path):
    phantom, segmentation, segment_id = scene
    add_points(markups.prompt_node(segmentation, segment_id, phantom.node, "positive"), phantom, (40, 40, 10))
    path = tmp_path / "scene.mrb"
    assert slicer.util.saveScene(str(path))
    add_points(markups.prompt_node(segmentation, segment_id, phantom.node, "positive"), phantom, (30, 30, 5))
    slicer.util.loadScene(str(path), {"clear": False})
    first, second = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert first is segmentation
    assert markups.collect(first, segment_id, phantom.node, "k").slices == (5, 10)
    assert markups.collect(second, segment_id, phantom.node, "k").slices == (10,)
    assert markups.orphans(slicer.mrmlScene) == []


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
