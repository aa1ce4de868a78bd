"""Masks into segmentations with another grid than the scan's, or with none."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import labelmaps
from SegmentAnythingMedLib.apps.slicer.history import History
from SegmentAnythingMedLib.apps.slicer.writing import SegmentWriter, read_segment, read_slice
from SegmentAnythingMedLib.errors import InputError
from slicer_reference import (
    bend,
    dice,
    get,
    other_grid,
    planes,
    put,
    put_under,
)

pytestmark = pytest.mark.usefixtures("slicer_host")


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


@pytest.mark.parametrize("together", [False, True])
def test_only_one_of_segmentation_and_scan_is_moved(make_volume, make_segmentation, together):
    phantom = make_volume("oblique")
    segmentation, segment_id = make_segmentation(phantom.node)
    shift = np.eye(4)
    shift[:3, 3] = phantom.ijk_to_world[:3, :3] @ [3, -2, 1]  # whole voxels: the same grid in the world, moved
    put_under(segmentation, shift)
    if together:
        phantom.node.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert np.array_equal(read_slice(segmentation, segment_id, phantom.node, "k", 12), phantom.mask[12])
    assert np.array_equal(get(segmentation, segment_id, phantom.node)[12], phantom.mask[12])


@pytest.mark.parametrize("grid", ["finer", "turned", "cropped", "half a voxel"])
@pytest.mark.parametrize("filled", [False, True])
def test_a_segmentation_with_another_grid_gets_masks_in_the_right_place(make_volume, make_segmentation, grid, filled):
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(other_grid(phantom, grid))
    if filled:
        put(
            segmentation,
            segment_id,
            slicer.util.getNode(grid),
            slicer.util.arrayFromVolume(slicer.util.getNode(grid)) > -1,
        )
    history = History(segmentation)
    writer = SegmentWriter(segmentation, phantom.node, history)
    before = read_segment(segmentation, segment_id, phantom.node)
    result = writer.write(segment_id, planes(phantom.mask, "k", range(24)), "k", overwrite_painted=True)
    assert result.slices_written == tuple(range(24))
    mine = read_segment(segmentation, segment_id, phantom.node)
    assert dice(mine, phantom.mask) >= 0.97
    theirs = get(segmentation, segment_id, phantom.node)  # resampled by Slicer
    assert dice(theirs, phantom.mask) >= 0.97
    assert dice(theirs, mine) >= 0.97
    one = writer.write(segment_id, {12: np.zeros((80, 96), bool)}, "k")
    assert one.slices_protected == ()
    now = read_segment(segmentation, segment_id, phantom.node)
    assert not now[12].any()
    assert np.array_equal(np.delete(now, 12, axis=0), np.delete(mine, 12, axis=0))
    assert history.undo()
    assert history.undo()
    assert np.array_equal(read_segment(segmentation, segment_id, phantom.node), before)


def test_a_segmentation_in_a_bent_space_is_refused(scene):
    phantom, segmentation, segment_id = scene
    bend(segmentation)
    with pytest.raises(InputError, match=r"Bent or one above it bends space") as refused:
        SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert refused.value.code == "volume.transform"
    segmentation.SetAndObserveTransformNodeID(None)
    assert not read_segment(segmentation, segment_id, phantom.node).any()


def test_a_grid_that_cannot_hold_the_masks_is_refused_in_words(make_volume, make_segmentation):
    phantom = make_volume("oblique")
    segmentation, segment_id = make_segmentation(other_grid(phantom, "coarse"))
    history = History(segmentation)
    with pytest.raises(
        InputError, match=r"too coarse: one of its voxels is 4\.0 voxels .* Specify geometry"
    ) as refused:
        SegmentWriter(segmentation, phantom.node, history).write(segment_id, planes(phantom.mask, "k", range(24)), "k")
    assert refused.value.code == "segment.grid"
    assert not history.can_undo
    assert not get(segmentation, segment_id, phantom.node).any()


def test_a_segmentation_without_geometry_takes_that_of_the_scan(make_volume):
    phantom = make_volume("oblique_transformed")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "bare")
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "organ")
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert np.array_equal(get(segmentation, segment_id, phantom.node)[12], phantom.mask[12])
    assert np.array_equal(read_slice(segmentation, segment_id, phantom.node, "k", 12), phantom.mask[12])
    assert labelmaps.reference_grid(segmentation) is not None
    assert segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole()) is phantom.node


def test_a_segmentation_with_a_geometry_keeps_it(scene):
    phantom, segmentation, segment_id = scene
    name = "Reference image geometry"
    before = segmentation.GetSegmentation().GetConversionParameter(name)
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert segmentation.GetSegmentation().GetConversionParameter(name) == before
