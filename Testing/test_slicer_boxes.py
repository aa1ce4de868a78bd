"""Boxes: a ROI in the world is a rectangle on a slice, or it is refused in words."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import geometry, markups, prompt_nodes
from SegmentAnythingMedLib.apps.slicer.boxes import place_box
from SegmentAnythingMedLib.prompts.resolve import resolve
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, VolumePrompts
from SegmentAnythingMedLib.space.planes import SliceStack
from slicer_reference import (
    KINDS,
)

pytestmark = pytest.mark.usefixtures("slicer_host")


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


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


def test_boxes_and_points_clicked_in_a_view(slicer_host, make_volume, make_segmentation, slice_view):
    """Slicer's own way of placing: what follows the mouse is no prompt, what was clicked lies under the pixel."""
    phantom = make_volume("straight")
    segmentation, segment_id = make_segmentation(phantom.node)
    view = slice_view()
    view.show(phantom.node)
    geometry.show_slice(phantom.node, "k", 12)
    interaction = slicer_host.applogic.GetInteractionNode()
    pixel = 96 / 256  # of the view, in voxels

    def place(role, *corners):
        node = markups.prompt_node(segmentation, segment_id, phantom.node, role)
        slicer.modules.markups.logic().SetActiveList(node)
        interaction.SetCurrentInteractionMode(interaction.Place)
        found = []
        for corner in corners:
            x, y, _ = view.ras_to_view(phantom.world(corner))
            view.mouse("move", x, y)
            found.append(len(markups.collect(segmentation, segment_id, phantom.node, "k").prompts))
            view.mouse("press", x, y)
            view.mouse("release", x, y)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        collected = markups.collect(segmentation, segment_id, phantom.node, "k")
        return found, collected

    before, collected = place("positive", (40, 40, 12))
    assert before == [0]
    np.testing.assert_allclose(collected.prompts[0].position, (40, 40, 12), atol=pixel)
    before, collected = place("box", (30, 25, 12), (60, 55, 12))
    assert before == [1, 1]
    box = collected.prompts[1]
    np.testing.assert_allclose([box.corner0, box.corner1], [(30.5, 25.5, 12), (59.5, 54.5, 12)], atol=pixel)
    assert collected.notes == ("organ box: the box is 11 slices thick and prompts the one in its middle, 12.",)


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
