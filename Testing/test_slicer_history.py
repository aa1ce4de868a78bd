"""Undo and redo: every write one step, all segments restored, nobody else's work lost."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
import vtk
from SegmentAnythingMedLib.apps.slicer.history import History
from SegmentAnythingMedLib.apps.slicer.painted import painted_slices
from SegmentAnythingMedLib.apps.slicer.writing import SegmentWriter, read_segment
from slicer_reference import EDITOR, block, editor_of, get, planes, put, same, snapshot
from vtk.util.numpy_support import vtk_to_numpy

pytestmark = pytest.mark.usefixtures("slicer_host")


@pytest.fixture
def desk(make_volume, make_segmentation):
    """A scan, a segmentation with two segments, a writer and its history."""
    phantom = make_volume("oblique_transformed")
    segmentation, first = make_segmentation(phantom.node)
    _, second = make_segmentation(phantom.node, "other", segmentation)
    history = History(segmentation)
    return phantom, segmentation, first, second, SegmentWriter(segmentation, phantom.node, history), history


def test_many_levels_back_and_forth(desk):
    phantom, segmentation, first, second, writer, history = desk
    editor_of(segmentation, OverwriteMode=EDITOR.OverwriteAllSegments)
    states = [snapshot(segmentation, phantom.node)]
    for n in range(30):
        mask = block((80, 96), (20 + n % 7, 60), (10 + n, 50 + n % 11))
        writer.write((first, second)[n % 2], {5 + n % 4: mask, 12: mask}, "k", overwrite_painted=True)
        states.append(snapshot(segmentation, phantom.node))
    for level in reversed(range(30)):
        assert history.can_undo
        assert history.undo()
        assert same(snapshot(segmentation, phantom.node), states[level])
    assert not history.can_undo
    assert not history.undo()
    for level in range(1, 31):
        assert history.redo()
        assert same(snapshot(segmentation, phantom.node), states[level])
    assert not history.can_redo
    assert not history.redo()


def test_what_was_undone_is_forgotten_by_the_next_write(desk):
    phantom, segmentation, first, _, writer, history = desk
    writer.write(first, {5: phantom.mask[12]}, "k")
    history.undo()
    assert history.can_redo
    writer.write(first, {6: phantom.mask[12]}, "k")
    assert not history.can_redo
    assert read_segment(segmentation, first, phantom.node).any(axis=(1, 2)).nonzero()[0].tolist() == [6]


def test_a_propagation_that_arrives_in_parts_is_one_step(desk):
    phantom, segmentation, first, _, writer, history = desk
    writer.write(first, {12: phantom.mask[12]}, "k")
    before = snapshot(segmentation, phantom.node)
    for n in range(7, 18):
        if n != 12:
            writer.write(first, {n: phantom.mask[n]}, "k", join=n > 7)
    writer.write(first, {12: phantom.mask[11]}, "k", join=True)
    after = snapshot(segmentation, phantom.node)
    history.undo()
    assert same(snapshot(segmentation, phantom.node), before)
    history.redo()
    assert same(snapshot(segmentation, phantom.node), after)
    history.undo()
    history.undo()
    assert not history.can_undo


def test_painting_after_a_write_outlives_the_undo_of_the_write(desk):
    phantom, segmentation, first, _, writer, history = desk
    writer.write(first, planes(phantom.mask, "k", range(8, 16)), "k")
    painted = get(segmentation, first, phantom.node)
    stroke = block(painted.shape, (10, 11), (0, 6), (0, 6))  # where the write did nothing
    hole = block(painted.shape, (12, 13), (38, 42), (46, 50))  # a part of what it wrote
    put(segmentation, first, phantom.node, (painted | stroke) & ~hole)
    assert history.undo()
    assert np.array_equal(get(segmentation, first, phantom.node), stroke)
    assert history.notes == ("16 voxels were changed since and are left as they are.",)
    assert painted_slices(segmentation, first, phantom.node, "k") == {10}
    assert history.redo()
    assert np.array_equal(get(segmentation, first, phantom.node), painted | stroke)
    assert history.undo()
    assert np.array_equal(get(segmentation, first, phantom.node), stroke)


def test_undo_of_an_overwrite_does_not_take_voxels_that_a_third_one_has_now(desk, make_segmentation):
    phantom, segmentation, first, second, writer, history = desk
    _, third = make_segmentation(phantom.node, "third", segmentation)
    put(segmentation, second, phantom.node, phantom.mask)
    editor_of(segmentation, OverwriteMode=EDITOR.OverwriteAllSegments)
    stripe = block((80, 96), (30, 50), (0, 96))
    writer.write(first, {12: stripe}, "k")
    patch = block(phantom.mask.shape, (12, 13), (35, 40), (45, 50))
    now = get(segmentation, first, phantom.node)
    put(segmentation, first, phantom.node, now & ~patch)
    put(segmentation, third, phantom.node, patch)
    history.undo()
    assert not get(segmentation, first, phantom.node).any()
    assert np.array_equal(get(segmentation, second, phantom.node), phantom.mask & ~patch)
    assert np.array_equal(get(segmentation, third, phantom.node), patch)


def make_editors_history(segmentation):
    """The history that the Segment Editor keeps: whole states, saved before each of its edits."""
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(segmentation.GetSegmentation())
    history.SetMaximumNumberOfStates(10)
    return history


def test_the_segment_editors_own_undo_and_this_one_do_not_spoil_each_other(desk):
    phantom, segmentation, first, second, writer, history = desk
    editors = make_editors_history(segmentation)
    seen = [snapshot(segmentation, phantom.node)]

    def state():
        return snapshot(segmentation, phantom.node)

    writer.write(first, planes(phantom.mask, "k", (11, 12)), "k")
    seen.append(state())
    editors.SaveState()
    put(
        segmentation,
        first,
        phantom.node,
        get(segmentation, first, phantom.node) | block((24, 80, 96), (3, 4), (2, 9), (2, 9)),
    )
    seen.append(state())
    writer.write(second, planes(phantom.mask, "k", (5, 6, 7)), "k")
    assert history.undo()
    assert same(state(), seen[2])  # the user's stroke stays
    assert editors.RestorePreviousState()
    assert same(state(), seen[1])  # the editor takes its stroke back, our first write stays
    assert history.undo()
    assert same(state(), seen[0])
    assert not editors.IsRestoreNextStateAvailable()  # the editor forgets its redo when somebody else edits
    assert history.redo()
    assert same(state(), seen[1])
    assert history.redo()
    after = state()
    assert np.array_equal(after[first], seen[1][first])
    assert np.array_equal(after[second][5:8], phantom.mask[5:8])
    check_layers(segmentation)


def test_the_editors_undo_and_redo_carry_our_write_along(desk):
    phantom, segmentation, first, second, writer, history = desk
    editors = make_editors_history(segmentation)
    editors.SaveState()
    stroke = block((24, 80, 96), (3, 4), (2, 9), (2, 9))
    put(segmentation, first, phantom.node, stroke)
    writer.write(second, {12: phantom.mask[12]}, "k")
    after = snapshot(segmentation, phantom.node)
    editors.RestorePreviousState()  # a state from before both: the write is gone as well...
    assert not any(mask.any() for mask in snapshot(segmentation, phantom.node).values())
    assert editors.IsRestoreNextStateAvailable()
    editors.RestoreNextState()  # ...and comes back with the stroke
    assert same(snapshot(segmentation, phantom.node), after)
    assert painted_slices(segmentation, second, phantom.node, "k") == set()
    assert history.undo()
    assert np.array_equal(read_segment(segmentation, first, phantom.node), stroke)
    assert not read_segment(segmentation, second, phantom.node).any()


def test_any_order_of_both_undos_leaves_whole_segments(desk):
    phantom, segmentation, first, second, writer, history = desk
    editor_of(segmentation, OverwriteMode=EDITOR.OverwriteAllSegments)
    editors = make_editors_history(segmentation)
    rng = np.random.default_rng(11)
    turns = {"write": 0, "paint": 0, "undo": 0, "redo": 0, "editor": 0}
    for _ in range(60):
        what = str(rng.choice(list(turns)))
        turns[what] += 1
        segment_id = (first, second)[rng.integers(2)]
        rows, cols = np.sort(rng.integers(0, 80, (2, 2)), axis=1)
        if what == "write":
            writer.write(segment_id, {int(rng.integers(24)): block((80, 96), rows, cols)}, "k", overwrite_painted=True)
        elif what == "paint":
            editors.SaveState()
            stroke = block((24, 80, 96), (5, 9), rows, cols)
            put(segmentation, segment_id, phantom.node, get(segmentation, segment_id, phantom.node) ^ stroke)
        elif what == "undo":
            history.undo()
        elif what == "redo":
            history.redo()
        elif editors.IsRestorePreviousStateAvailable():
            editors.RestorePreviousState()
        check_layers(segmentation)
        assert set(snapshot(segmentation, phantom.node)) == {first, second}
    assert min(turns.values()) > 3


def check_layers(segmentation) -> None:
    """Every label of every layer belongs to exactly one segment."""
    content = segmentation.GetSegmentation()
    owners = [(content.GetLayerIndex(n), content.GetSegment(n).GetLabelValue()) for n in content.GetSegmentIDs()]
    assert len(set(owners)) == len(owners)
    for layer in range(content.GetNumberOfLayers()):
        image = content.GetLayerDataObject(layer)
        if image is None or image.IsEmpty():
            continue
        values = set(np.unique(vtk_to_numpy(image.GetPointData().GetScalars())))
        assert {int(v) for v in values} - {0} <= {value for index, value in owners if index == layer}


def test_steps_of_a_segment_that_is_gone_are_left_out_in_words(desk):
    phantom, segmentation, first, second, writer, history = desk
    writer.write(first, {12: phantom.mask[12]}, "k")
    writer.write(second, {5: phantom.mask[12]}, "k")
    segmentation.GetSegmentation().RemoveSegment(second)
    assert history.undo()
    assert history.notes == ("A segment of this step was removed since; it is left out.",)
    assert np.array_equal(get(segmentation, first, phantom.node)[12], phantom.mask[12])
    assert history.undo()
    assert not get(segmentation, first, phantom.node).any()


def test_a_segment_that_was_resampled_since_is_left_alone_in_words(desk):
    phantom, segmentation, first, _, writer, history = desk
    writer.write(first, {12: phantom.mask[12]}, "k")
    image = slicer.vtkOrientedImageData()
    representation = segmentation.GetSegmentation().GetSegment(first).GetRepresentation("Binary labelmap")
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        representation, finer_image(representation), image
    )
    representation.DeepCopy(image)
    before = get(segmentation, first, phantom.node)
    assert before.any()
    assert history.undo()
    assert "another grid" in history.notes[0]
    assert np.array_equal(get(segmentation, first, phantom.node), before)


def finer_image(image):
    """Geometry with half the spacing."""
    finer = slicer.vtkOrientedImageData()
    finer.DeepCopy(image)
    finer.SetSpacing(*(n / 2 for n in image.GetSpacing()))
    low = image.GetExtent()
    finer.SetExtent(*(2 * n + (1 if place % 2 else 0) for place, n in enumerate(low)))
    finer.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return finer


def test_old_steps_are_forgotten_by_number_and_by_size(desk):
    phantom, segmentation, first, _, _, _ = desk
    few = History(segmentation, maximum_steps=3)
    writer = SegmentWriter(segmentation, phantom.node, few)
    for n in range(6):
        writer.write(first, {n: phantom.mask[12]}, "k")
    assert [few.undo() for _ in range(4)] == [True, True, True, False]
    small = History(segmentation, maximum_bytes=600)
    writer = SegmentWriter(segmentation, phantom.node, small)
    for n in range(10, 16):
        writer.write(first, {n: phantom.mask[12]}, "k")
    undone = 0
    while small.undo():
        undone += 1
    assert 1 <= undone < 6
    few.clear()
    assert not few.can_redo


def test_what_was_written_is_known_again_after_undo_and_redo(desk):
    phantom, segmentation, first, _, writer, history = desk
    writer.write(first, planes(phantom.mask, "k", (9, 10)), "k")
    writer.write(first, {10: phantom.mask[12], 11: phantom.mask[12]}, "k")
    for step in (history.undo, history.redo, history.undo, history.undo, history.redo, history.redo):
        assert step()
        assert painted_slices(segmentation, first, phantom.node, "k") == set()
