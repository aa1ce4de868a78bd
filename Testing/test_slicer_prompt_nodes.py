"""Prompt nodes: owned by a segment, in a folder, kept with the scene; the user's own markups stay alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import folders, geometry, markups, prompt_nodes
from SegmentAnythingMedLib.apps.slicer.boxes import place_box
from SegmentAnythingMedLib.errors import InputError, PromptError
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, PointPrompt
from slicer_reference import (
    add_points,
)

pytestmark = pytest.mark.usefixtures("slicer_host")


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


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
