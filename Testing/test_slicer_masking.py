"""Masks into segments after the rules of the Segment Editor: editable area, intensities, neighbours, status."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import editing, labelmaps
from SegmentAnythingMedLib.apps.slicer.history import History
from SegmentAnythingMedLib.apps.slicer.writing import SegmentWriter, read_segment, read_slice
from SegmentAnythingMedLib.errors import InputError
from slicer_reference import (
    EDITOR,
    SEGMENTATION,
    block,
    editor_of,
    get,
    other_grid,
    planes,
    put,
    same,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("slicer_host")
MODES = [
    "EditAllowedEverywhere",
    "EditAllowedInsideAllSegments",
    "EditAllowedInsideVisibleSegments",
    "EditAllowedOutsideAllSegments",
    "EditAllowedOutsideVisibleSegments",
    "EditAllowedInsideSingleSegment",
]


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


def test_segmenting_b_does_not_touch_the_finished_a(scene, make_segmentation):
    """Forum: a new segment erased parts of its finished neighbour, and undo did not bring them back."""
    phantom, segmentation, a = scene
    _, b = make_segmentation(phantom.node, "b", segmentation)
    finished = block(phantom.mask.shape, (4, 20), (20, 50), (20, 60))
    put(segmentation, a, phantom.node, finished)
    history = History(segmentation)
    writer = SegmentWriter(segmentation, phantom.node, history)
    result = writer.write(b, planes(phantom.mask, "k", range(6, 18)), "k")
    assert np.array_equal(get(segmentation, a, phantom.node), finished)
    assert np.array_equal(get(segmentation, b, phantom.node)[6:18], phantom.mask[6:18])
    assert result.notes == ()

    history.undo()
    editor_of(segmentation, OverwriteMode=EDITOR.OverwriteAllSegments)  # now the user wants it
    result = writer.write(b, planes(phantom.mask, "k", range(6, 18)), "k")
    lost = finished & phantom.mask & block(finished.shape, (6, 18), (0, 99), (0, 99))
    assert np.array_equal(get(segmentation, a, phantom.node), finished & ~lost)
    assert result.notes == (
        f"organ lost {np.count_nonzero(lost)} voxels: the Segment Editor is set to overwrite other segments.",
    )
    history.undo()
    assert np.array_equal(get(segmentation, a, phantom.node), finished)
    assert not get(segmentation, b, phantom.node).any()

    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetSegmentStatus(segmentation.GetSegmentation().GetSegment(a), logic.Completed)
    result = writer.write(b, planes(phantom.mask, "k", range(6, 18)), "k")
    assert np.array_equal(get(segmentation, a, phantom.node), finished)
    assert not (get(segmentation, b, phantom.node) & finished).any()
    assert result.notes == (f"{np.count_nonzero(lost)} voxels stay with organ, which has the status Completed.",)


def test_overwriting_a_neighbour_keeps_the_layer_that_they_share(scene, make_segmentation):
    phantom, segmentation, first = scene
    ids = [first] + [make_segmentation(phantom.node, f"s{n}", segmentation)[1] for n in range(5)]
    shape = phantom.mask.shape
    for place, n in enumerate(ids):
        put(segmentation, n, phantom.node, block(shape, (0, 24), (12 * place, 12 * place + 12), (0, 96)))
    content = segmentation.GetSegmentation()
    content.CollapseBinaryLabelmaps(False)
    editor_of(segmentation, OverwriteMode=EDITOR.OverwriteAllSegments)
    before = snapshot(segmentation, phantom.node)
    history = History(segmentation)
    SegmentWriter(segmentation, phantom.node, history).write(
        first, planes(phantom.mask, "k", range(6, 18)), "k", overwrite_painted=True
    )
    assert content.GetNumberOfLayers() == 1
    assert np.array_equal(get(segmentation, first, phantom.node)[6:18], phantom.mask[6:18])
    history.undo()
    assert content.GetNumberOfLayers() == 1
    assert same(snapshot(segmentation, phantom.node), before)


def test_a_segment_on_another_grid_is_not_overwritten_and_that_is_said(scene):
    phantom, segmentation, segment_id = scene
    finer = labelmaps.reference_grid(segmentation) @ np.diag([0.5, 0.5, 1, 1])
    image = editing.image_of(((40, 120), (40, 120), (0, 24)), np.ones((24, 80, 80), bool), finer)
    strange = segmentation.AddSegmentFromBinaryLabelmapRepresentation(image, "strange")
    before = read_segment(segmentation, strange, phantom.node)
    editor_of(segmentation, OverwriteMode=EDITOR.OverwriteAllSegments)
    result = SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert result.notes == ("strange lies on another grid of voxels and is not overwritten.",)
    assert np.array_equal(read_segment(segmentation, strange, phantom.node), before)
    assert np.array_equal(read_slice(segmentation, segment_id, phantom.node, "k", 12), phantom.mask[12])


def test_a_completed_segment_is_not_written(scene):
    phantom, segmentation, segment_id = scene
    put(segmentation, segment_id, phantom.node, phantom.mask)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    logic.SetSegmentStatus(segment, logic.Completed)
    writer = SegmentWriter(segmentation, phantom.node)
    with pytest.raises(InputError, match=r"status Completed\. Set its status to In progress") as refused:
        writer.write(segment_id, {12: ~phantom.mask[12]}, "k", overwrite_painted=True)
    assert refused.value.code == "segment.completed"
    assert np.array_equal(get(segmentation, segment_id, phantom.node), phantom.mask)
    logic.SetSegmentStatus(segment, logic.InProgress)
    assert writer.write(segment_id, {12: ~phantom.mask[12]}, "k", overwrite_painted=True).voxels_changed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("intensity", [None, (-500, 100)])
def test_masking_is_that_of_the_segment_editor(slicer_host, make_volume, make_segmentation, mode, intensity):
    """The same modification by the editor's logic, with its own full mask, and by the writer."""
    phantom = make_volume("oblique_transformed")
    shape = phantom.mask.shape
    wanted = block(shape, (6, 18), (15, 65), (15, 75))
    results = []
    for ours in (False, True):
        segmentation, target = make_segmentation(phantom.node, f"target {ours}")
        _, shown = make_segmentation(phantom.node, "shown", segmentation)
        _, hidden = make_segmentation(phantom.node, "hidden", segmentation)
        put(segmentation, shown, phantom.node, block(shape, (0, 24), (0, 80), (10, 40)))
        put(segmentation, hidden, phantom.node, block(shape, (0, 24), (30, 50), (0, 96)))
        put(segmentation, target, phantom.node, block(shape, (0, 12), (40, 60), (20, 50)))
        segmentation.GetDisplayNode().SetSegmentVisibility(hidden, False)
        settings = {"OverwriteMode": EDITOR.OverwriteNone, "MaskMode": getattr(SEGMENTATION, mode)}
        node = editor_of(segmentation, **settings, MaskSegmentID=shown)
        node.SetAndObserveSourceVolumeNode(phantom.node)
        if intensity is not None:
            node.SourceVolumeIntensityMaskOn()
            node.SetSourceVolumeIntensityMaskRange(*intensity)
        if ours:
            writer = SegmentWriter(segmentation, phantom.node)
            result = writer.write(target, planes(wanted, "k", range(6, 18)), "k", overwrite_painted=True)
            restricted = mode != "EditAllowedEverywhere" or intensity is not None
            assert bool(result.notes) == restricted
        else:
            by_the_editor(slicer_host, segmentation, target, phantom.node, node, wanted, range(6, 18))
        results.append(snapshot(segmentation, phantom.node))
        slicer.mrmlScene.RemoveNode(node)
    theirs, mine = (list(result.values()) for result in results)
    assert np.array_equal(theirs[0], mine[0])
    assert np.array_equal(theirs[2], mine[2])
    if mode != "EditAllowedInsideSingleSegment":  # there the editor gives what it takes away to the mask segment
        assert np.array_equal(theirs[1], mine[1])
    if mode != "EditAllowedEverywhere":
        assert not np.array_equal(mine[0][6:18], wanted[6:18])


def test_intensities_may_be_those_of_another_scan(scene):
    phantom, segmentation, segment_id = scene
    finer = other_grid(phantom, "finer")
    slicer.util.arrayFromVolume(finer)[:, :, 90:] = 50
    editor = editor_of(segmentation, SourceVolumeIntensityMask=True)
    editor.SetSourceVolumeIntensityMaskRange(40, 60)
    editor.SetAndObserveSourceVolumeNode(finer)
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    expected = phantom.mask[12] & (np.arange(96) >= 45)
    assert np.array_equal(read_slice(segmentation, segment_id, phantom.node, "k", 12), expected)


def by_the_editor(host, segmentation, segment_id, volume, node, wanted, slices) -> None:
    """Add and remove as the editor's effects do."""
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetMRMLApplicationLogic(host.applogic)
    logic.SetSegmentEditorNode(node)
    logic.SetSegmentationNode(segmentation)
    logic.SetSourceVolumeNode(volume)
    logic.SetCurrentSegmentID(segment_id)
    now = get(segmentation, segment_id, volume)
    on = np.zeros_like(wanted)
    on[list(slices)] = True
    to_ras = labelmaps.reference_grid(segmentation)
    for cells, mode in (
        (now & ~wanted & on, logic.ModificationModeRemove),
        (wanted & ~now & on, logic.ModificationModeAdd),
    ):
        logic.UpdateReferenceGeometryImage()
        logic.ResetModifierLabelmapToDefault()
        box = tuple((0, n) for n in wanted.shape[::-1])
        modifier = logic.GetModifierLabelmap()
        modifier.DeepCopy(editing.image_of(box, cells, to_ras))
        logic.UpdateMaskLabelmap()
        logic.UpdateAlignedSourceVolume()
        logic.ModifySegmentByLabelmap(segmentation, segment_id, modifier, mode, False, False)


def test_an_editor_that_works_on_another_segmentation_says_nothing_about_this_one(scene, make_segmentation):
    phantom, segmentation, segment_id = scene
    other, _ = make_segmentation(phantom.node)
    editor_of(other, MaskMode=SEGMENTATION.EditAllowedInsideAllSegments)
    result = SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert result.voxels_changed == phantom.mask[12].sum()
