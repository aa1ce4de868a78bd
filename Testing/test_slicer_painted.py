"""What the user painted, erased or brought along is known by content, slice by slice."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import provenance
from SegmentAnythingMedLib.apps.slicer.painted import painted_slices, slice_hash
from SegmentAnythingMedLib.apps.slicer.writing import SegmentWriter, read_segment
from slicer_reference import EDITOR, block, editor_of, get, other_grid, planes, put

pytestmark = pytest.mark.usefixtures("slicer_host")
SHAPE = (24, 80, 96)


@pytest.fixture
def desk(make_volume, make_segmentation):
    """A scan and a segment with slices 8 to 15 written."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    writer = SegmentWriter(segmentation, phantom.node)
    writer.write(segment_id, planes(phantom.mask, "k", range(8, 16)), "k")
    return phantom, segmentation, segment_id, writer


def edit(segmentation, segment_id, volume, add=None, erase=None) -> None:
    """A stroke of the user."""
    now = get(segmentation, segment_id, volume)
    if add is not None:
        now |= add
    if erase is not None:
        now &= ~erase
    put(segmentation, segment_id, volume, now)


def painted(desk, axis="k"):
    phantom, segmentation, segment_id, _ = desk
    return painted_slices(segmentation, segment_id, phantom.node, axis)


def test_paint_erase_and_emptying_are_found_slice_by_slice(desk):
    phantom, segmentation, segment_id, writer = desk
    assert painted(desk) == set()
    put(segmentation, segment_id, phantom.node, get(segmentation, segment_id, phantom.node))  # nothing but a copy
    segmentation.GetSegmentation().CollapseBinaryLabelmaps(True)
    assert painted(desk) == set()
    edit(segmentation, segment_id, phantom.node, add=block(SHAPE, (9, 10), (2, 3), (2, 3)))
    assert painted(desk) == {9}
    edit(segmentation, segment_id, phantom.node, erase=block(SHAPE, (11, 12), (40, 41), (48, 49)))
    edit(segmentation, segment_id, phantom.node, erase=block(SHAPE, (13, 14), (0, 80), (0, 96)))
    edit(segmentation, segment_id, phantom.node, add=block(SHAPE, (20, 21), (2, 5), (2, 5)))
    assert painted(desk) == {9, 11, 13, 20}
    assert painted_slices(segmentation, segment_id, phantom.node, "k", [9, 10]) == {9}
    edit(segmentation, segment_id, phantom.node, erase=block(SHAPE, (9, 10), (2, 3), (2, 3)))
    assert painted(desk) == {11, 13, 20}  # back as it was written
    writer.write(segment_id, {11: phantom.mask[11]}, "k", overwrite_painted=True)
    assert painted(desk) == {13, 20}


def test_what_was_there_before_is_the_users(make_volume, make_segmentation):
    phantom = make_volume("straight")
    segmentation, segment_id = make_segmentation(phantom.node)
    put(segmentation, segment_id, phantom.node, block(SHAPE, (3, 7), (10, 20), (10, 20)))
    assert painted_slices(segmentation, segment_id, phantom.node, "k") == {3, 4, 5, 6}
    result = SegmentWriter(segmentation, phantom.node).write(segment_id, planes(phantom.mask, "k", range(5, 10)), "k")
    assert result.slices_protected == (5, 6)
    assert painted_slices(segmentation, segment_id, phantom.node, "k") == {3, 4, 5, 6}


def test_a_segment_that_was_cleared_is_a_new_beginning(desk):
    phantom, segmentation, segment_id, writer = desk
    put(segmentation, segment_id, phantom.node, np.zeros(SHAPE, bool))
    assert painted(desk) == set()
    assert writer.write(segment_id, {12: phantom.mask[12]}, "k").slices_written == (12,)
    assert painted(desk) == set()


@pytest.mark.parametrize("ending", [".mrb", ".seg.nrrd"])
def test_it_outlives_saving_and_loading(desk, tmp_path, ending):
    phantom, segmentation, segment_id, _ = desk
    edit(segmentation, segment_id, phantom.node, add=block(SHAPE, (9, 10), (2, 3), (2, 3)))
    edit(segmentation, segment_id, phantom.node, erase=block(SHAPE, (13, 14), (0, 80), (0, 96)))
    path = tmp_path / f"saved{ending}"
    if ending == ".mrb":
        assert slicer.util.saveScene(str(path))
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(str(path))
        segmentation, volume = slicer.util.getNode("Segmentation"), slicer.util.getNode("CT")
    else:
        assert slicer.util.saveNode(segmentation, str(path))
        transform = segmentation.GetTransformNodeID()
        slicer.mrmlScene.RemoveNode(segmentation)
        segmentation = slicer.util.loadSegmentation(str(path))
        segmentation.SetAndObserveTransformNodeID(transform)
        volume = phantom.node
    assert painted_slices(segmentation, segment_id, volume, "k") == {9, 13}


@pytest.mark.parametrize("grid", ["finer", "cropped", "turned", "half a voxel"])
def test_another_grid_makes_no_false_alarm_and_keeps_real_ones(desk, grid):
    phantom, segmentation, segment_id, _ = desk
    other = other_grid(phantom, grid)
    for axis in ("k", "j", "i"):
        assert painted_slices(segmentation, segment_id, other, axis) == set()
    SegmentWriter(segmentation, other)
    edit(segmentation, segment_id, phantom.node, add=block(SHAPE, (10, 11), (38, 44), (70, 78)))
    found = painted_slices(segmentation, segment_id, other, "k")
    if grid == "turned":
        assert found
    else:
        assert found == {8 if grid == "cropped" else 10}
    assert painted(desk) == {10}


def test_hardening_the_transform_makes_no_false_alarm(desk):
    phantom, segmentation, segment_id, writer = desk
    edit(segmentation, segment_id, phantom.node, add=block(SHAPE, (9, 10), (2, 3), (2, 3)))
    for node in (phantom.node, segmentation):
        node.HardenTransform()
    assert painted(desk) == {9}
    assert writer.write(segment_id, {8: ~phantom.mask[8], 9: phantom.mask[9]}, "k").slices_protected == (9,)
    assert painted(desk) == {9}


@pytest.mark.parametrize("axis", ["j", "i"])
def test_another_axis_makes_no_false_alarm_and_keeps_real_ones(desk, axis):
    phantom, segmentation, segment_id, writer = desk
    assert painted(desk, axis) == set()
    plane = np.zeros((24, 96 if axis == "j" else 80), bool)
    plane[8:16, 40:50] = True
    assert writer.write(segment_id, {45: plane}, axis).slices_protected == ()
    assert painted(desk, axis) == set()
    assert painted(desk, "k") == set()
    edit(segmentation, segment_id, phantom.node, add=block(SHAPE, (10, 11), (38, 44), (70, 78)))
    assert painted(desk, axis) & {38, 39, 40, 41, 42, 43, *range(70, 78)}
    assert 10 in painted(desk, "k")


def test_going_back_to_the_first_grid_after_a_write_on_another(desk):
    phantom, segmentation, segment_id, writer = desk
    edit(segmentation, segment_id, phantom.node, erase=block(SHAPE, (13, 14), (0, 80), (0, 96)))
    cropped = other_grid(phantom, "cropped")
    rows, cols = np.ogrid[:70, :80]
    disc = (rows - 35) ** 2 + (cols - 40) ** 2 < 100
    result = SegmentWriter(segmentation, cropped).write(segment_id, {7: disc, 11: disc}, "k")
    assert result.slices_protected == (11,)  # slice 13 of the scan, erased by the user
    assert painted_slices(segmentation, segment_id, cropped, "k") == {11}
    assert painted(desk) == {13}
    assert writer.write(segment_id, {9: phantom.mask[9], 13: phantom.mask[13]}, "k").slices_protected == (13,)


def test_voxels_that_a_neighbour_took_are_not_painting(desk, make_segmentation):
    phantom, segmentation, segment_id, writer = desk
    _, other = make_segmentation(phantom.node, "other", segmentation)
    editor_of(segmentation, OverwriteMode=EDITOR.OverwriteAllSegments)
    edit(segmentation, segment_id, phantom.node, add=block(SHAPE, (9, 10), (2, 3), (2, 3)))
    before = read_segment(segmentation, segment_id, phantom.node)
    writer.write(other, planes(block(SHAPE, (8, 12), (30, 50), (30, 60)), "k", range(8, 12)), "k")
    assert not np.array_equal(read_segment(segmentation, segment_id, phantom.node), before)
    assert painted(desk) == {9}


def test_a_lost_record_protects_everything(desk):
    _, segmentation, segment_id, _ = desk
    segmentation.GetSegmentation().GetSegment(segment_id).RemoveTag(provenance.TAG)
    assert painted(desk) == set(range(8, 16))


def test_hash_knows_place_and_shape_not_only_pattern():
    mask = np.zeros((9, 12), bool)
    assert slice_hash(mask) == "-"
    mask[2:4, 3:6] = True
    hashes = {slice_hash(mask), slice_hash(np.roll(mask, 1, 0)), slice_hash(np.roll(mask, 1, 1)), slice_hash(mask[:8])}
    assert len(hashes) == 4
    assert slice_hash(mask.copy()) in hashes
