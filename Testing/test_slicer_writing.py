"""Masks into segments: only what is asked for, without harm to anything else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer.history import History
from SegmentAnythingMedLib.apps.slicer.writing import SegmentWriter, read_segment, read_slice
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.planes import AXES
from slicer_reference import (
    EDITOR,
    KINDS,
    bend,
    block,
    editor_of,
    get,
    planes,
    put,
    same,
    snapshot,
)

pytestmark = pytest.mark.usefixtures("slicer_host")
SURFACE = "Closed surface"


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", AXES)
def test_exactly_the_given_slices_are_set(make_volume, make_segmentation, kind, axis):
    phantom = make_volume(kind)
    segmentation, segment_id = make_segmentation(phantom.node)
    before = block(phantom.mask.shape, (2, 20), (10, 70), (10, 80))
    put(segmentation, segment_id, phantom.node, before)
    chosen = (5, 6, 11)
    result = SegmentWriter(segmentation, phantom.node).write(
        segment_id, planes(phantom.mask, axis, chosen), axis, overwrite_painted=True
    )
    expected = before.copy()
    index = [slice(None)] * 3
    index[AXES.index(axis)] = list(chosen)
    expected[tuple(index)] = phantom.mask[tuple(index)]
    assert np.array_equal(get(segmentation, segment_id, phantom.node), expected)
    assert np.array_equal(read_segment(segmentation, segment_id, phantom.node), expected)
    for n in chosen:
        assert np.array_equal(
            read_slice(segmentation, segment_id, phantom.node, axis, n), np.take(expected, n, axis=AXES.index(axis))
        )
    assert result.slices_written == chosen
    assert result.voxels_changed == np.count_nonzero(expected != before)
    changed = np.argwhere(expected != before)
    low, high = changed.min(axis=0)[::-1], changed.max(axis=0)[::-1] + 1
    assert result.bounds == tuple((int(a), int(b)) for a, b in zip(low, high, strict=True))


def test_a_random_history_of_writes_on_shared_layers(make_volume, make_segmentation):
    """Five segments, overlapping or not, against plain arrays; layers are shared, split and collapsed on the way."""
    phantom = make_volume("straight", (8, 24, 28))
    segmentation, first = make_segmentation(phantom.node)
    ids = [first] + [make_segmentation(phantom.node, f"s{n}", segmentation)[1] for n in range(4)]
    model = {n: np.zeros((8, 24, 28), dtype=bool) for n in ids}
    rng = np.random.default_rng(5)
    history = History(segmentation)
    writer = SegmentWriter(segmentation, phantom.node, history)
    states = []
    for turn in range(60):
        axis = AXES[rng.integers(3)]
        segment_id = ids[rng.integers(5)]
        overwrite = int(rng.integers(3))
        editor = editor_of(segmentation, OverwriteMode=overwrite)
        visible = {n: bool(rng.integers(2)) for n in ids}
        for n in ids:
            segmentation.GetDisplayNode().SetSegmentVisibility(n, visible[n])
        if turn % 9 == 8:
            segmentation.GetSegmentation().CollapseBinaryLabelmaps(False)
        count = model[segment_id].shape[AXES.index(axis)]
        masks = {}
        for index in rng.choice(count, size=rng.integers(1, 4), replace=False):
            mask = np.zeros(np.delete(model[segment_id].shape, AXES.index(axis)), dtype=bool)
            if rng.integers(5):
                rows, cols = (np.sort(rng.integers(0, n + 1, 2)) for n in mask.shape)
                mask[slice(*rows), slice(*cols)] = True
            masks[int(index)] = mask
        states.append({n: one.copy() for n, one in model.items()})
        writer.write(segment_id, masks, axis, overwrite_painted=True)
        was = model[segment_id].copy()
        for index, mask in masks.items():
            np.moveaxis(model[segment_id], AXES.index(axis), 0)[index] = mask
        given = model[segment_id] & ~was
        for n in ids:
            loses = overwrite == EDITOR.OverwriteAllSegments or (
                overwrite == EDITOR.OverwriteVisibleSegments and visible[n]
            )
            if n != segment_id and loses:
                model[n] &= ~given
        if np.array_equal(was, model[segment_id]):
            states.pop()
        assert same(snapshot(segmentation, phantom.node), model), f"turn {turn}"
        slicer.mrmlScene.RemoveNode(editor)
    done = len(states)
    assert done >= 40
    for _ in range(min(done, 50)):
        assert history.undo()
        assert same(snapshot(segmentation, phantom.node), states.pop())
        assert history.notes == ()
    while history.redo():
        assert history.notes == ()
    assert same(snapshot(segmentation, phantom.node), model)


def test_painted_slices_are_left_alone_unless_asked(scene):
    phantom, segmentation, segment_id = scene
    writer = SegmentWriter(segmentation, phantom.node)
    writer.write(segment_id, planes(phantom.mask, "k", range(8, 16)), "k")
    painted = get(segmentation, segment_id, phantom.node)
    painted[10, 5:9, 5:9] = True
    painted[12] = False
    put(segmentation, segment_id, phantom.node, painted)
    smaller = phantom.mask & block(phantom.mask.shape, (0, 24), (0, 40), (0, 96))
    result = writer.write(segment_id, planes(smaller, "k", range(8, 16)), "k")
    assert result.slices_protected == (10, 12)
    assert result.notes == ("Slices painted by you are left as they are: 10, 12.",)
    now = get(segmentation, segment_id, phantom.node)
    for n in range(8, 16):
        assert np.array_equal(now[n], painted[n] if n in (10, 12) else smaller[n])
    again = writer.write(segment_id, planes(smaller, "k", range(8, 16)), "k", overwrite_painted=True)
    assert again.slices_protected == ()
    assert np.array_equal(get(segmentation, segment_id, phantom.node)[8:16], smaller[8:16])


def test_an_identical_write_makes_no_undo_step(scene):
    phantom, segmentation, segment_id = scene
    history = History(segmentation)
    writer = SegmentWriter(segmentation, phantom.node, history)
    assert not writer.write(segment_id, {12: np.zeros((80, 96), bool)}, "k").voxels_changed
    assert not history.can_undo
    writer.write(segment_id, {12: phantom.mask[12]}, "k")
    result = writer.write(segment_id, {12: phantom.mask[12]}, "k")
    assert (result.voxels_changed, result.bounds) == (0, None)
    assert history.undo()
    assert not history.can_undo


def gone(what, segmentation, segment_id, volume) -> None:
    if what == "segment":
        segmentation.GetSegmentation().RemoveSegment(segment_id)
    elif what == "segmentation":
        slicer.mrmlScene.RemoveNode(segmentation)
    elif what == "volume":
        slicer.mrmlScene.RemoveNode(volume)
    elif what == "bent":
        bend(volume)
    else:
        slicer.mrmlScene.Clear()


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("segment", "segment.missing"),
        ("segmentation", "segment.no_segmentation"),
        ("volume", "volume.missing"),
        ("scene", "segment.no_segmentation"),
        ("bent", "volume.transform"),
    ],
)
def test_a_write_to_what_is_gone_is_an_error_and_changes_nothing(scene, make_segmentation, what, code):
    phantom, segmentation, segment_id = scene
    _, other = make_segmentation(phantom.node, "other", segmentation)
    put(segmentation, other, phantom.node, phantom.mask)
    history = History(segmentation)
    writer = SegmentWriter(segmentation, phantom.node, history)
    before = get(segmentation, other, phantom.node)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    gone(what, segmentation, segment_id, phantom.node)
    with pytest.raises(InputError) as refused:
        writer.write(segment_id, {12: phantom.mask[12]}, "k")
    assert refused.value.code == code
    assert not history.can_undo
    if what == "segment":
        assert np.array_equal(get(segmentation, other, phantom.node), before)
        assert slicer.mrmlScene.GetNumberOfNodes() == nodes


@pytest.mark.parametrize(
    ("masks", "axis", "code"),
    [
        ({12: np.zeros((80, 95), bool)}, "k", "volume.shape"),
        ({12: np.zeros((80, 96), bool)}, "j", "volume.shape"),
        ({24: np.zeros((80, 96), bool)}, "k", "option.slice"),
        ({-1: np.zeros((80, 96), bool)}, "k", "option.slice"),
        ({1: np.zeros((80, 96), bool)}, "axial", "option.axis"),
    ],
)
def test_masks_that_do_not_fit_are_refused(scene, masks, axis, code):
    phantom, segmentation, segment_id = scene
    with pytest.raises(InputError) as refused:
        SegmentWriter(segmentation, phantom.node).write(segment_id, masks, axis)
    assert refused.value.code == code


def points_of_surfaces(content, fresh=False):
    """Number of points and bounds of every segment's surface, or of one that is made anew from its labelmap."""
    if fresh:
        copy = slicer.vtkSegmentation()
        copy.DeepCopy(content)
        copy.RemoveRepresentation(SURFACE)
        copy.CreateRepresentation(SURFACE)
        content = copy
    surfaces = [content.GetSegment(n).GetRepresentation(SURFACE) for n in content.GetSegmentIDs()]
    return [(surface.GetNumberOfPoints(), surface.GetBounds()) for surface in surfaces]


def test_whoever_watches_the_segmentation_is_told_of_voxels_that_go(scene):
    phantom, segmentation, segment_id = scene
    writer = SegmentWriter(segmentation, phantom.node)
    writer.write(segment_id, {12: phantom.mask[12]}, "k")
    told = []
    tag = segmentation.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, lambda *_: told.append(1))
    writer.write(segment_id, {12: phantom.mask[12]}, "k")
    assert not told
    writer.write(segment_id, {12: np.zeros((80, 96), bool)}, "k")
    segmentation.RemoveObserver(tag)
    assert told


def test_the_views_follow_a_write_and_its_undo(scene, slice_view):
    phantom, segmentation, segment_id = scene
    segmentation.GetDisplayNode().SetSegmentOverrideColor(segment_id, 1, 0, 0)
    view = slice_view()
    view.show(phantom.node)
    history = History(segmentation)
    writer = SegmentWriter(segmentation, phantom.node, history)
    view.look_at(phantom.world(phantom.centre))
    pictures = [view.array()]
    mask = np.ones(phantom.mask.shape, bool)
    for step in (
        lambda: writer.write(segment_id, planes(mask, "k", range(24)), "k"),
        lambda: writer.write(segment_id, planes(~mask, "k", range(24)), "k"),
        history.undo,
    ):
        step()
        pictures.append(view.array())
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])
    assert np.array_equal(pictures[1], pictures[3])


def test_closed_surfaces_are_made_once_at_the_end(scene, make_segmentation):
    phantom, segmentation, segment_id = scene
    _, other = make_segmentation(phantom.node, "other", segmentation)
    put(segmentation, segment_id, phantom.node, block(phantom.mask.shape, (8, 10), (30, 50), (30, 50)))
    put(segmentation, other, phantom.node, block(phantom.mask.shape, (8, 10), (60, 70), (30, 50)))
    segmentation.CreateClosedSurfaceRepresentation()
    content = segmentation.GetSegmentation()
    history = History(segmentation)
    writer = SegmentWriter(segmentation, phantom.node, history)
    for n in range(6, 19):
        writer.write(segment_id, {n: phantom.mask[n]}, "k", overwrite_painted=True, join=n > 6)
        assert not content.ContainsRepresentation(SURFACE)
    assert writer.finish() == (SURFACE,)
    assert writer.finish() == ()
    grown = points_of_surfaces(content)
    assert grown == points_of_surfaces(content, fresh=True)
    assert min(number for number, _ in grown) > 0
    history.undo()
    assert not content.ContainsRepresentation(SURFACE)
    assert writer.finish() == (SURFACE,)
    assert points_of_surfaces(content) == points_of_surfaces(content, fresh=True)
    assert points_of_surfaces(content) != grown


def test_a_segmentation_stored_as_surfaces_is_refused(scene):
    phantom, segmentation, segment_id = scene
    put(segmentation, segment_id, phantom.node, phantom.mask)
    segmentation.SetSourceRepresentationToClosedSurface()
    with pytest.raises(InputError, match="Make Binary labelmap its source") as refused:
        SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert refused.value.code == "segment.representation"
    with pytest.raises(InputError):
        read_segment(segmentation, segment_id, phantom.node)


def test_shared_layers_stay_shared_and_whole(scene, make_segmentation):
    phantom, segmentation, first = scene
    ids = [first] + [make_segmentation(phantom.node, f"s{n}", segmentation)[1] for n in range(3)]
    shape = phantom.mask.shape
    blocks = {n: block(shape, (4, 20), (10 + 12 * place, 20 + 12 * place), (20, 60)) for place, n in enumerate(ids)}
    for n in ids:
        put(segmentation, n, phantom.node, blocks[n])
    content = segmentation.GetSegmentation()
    content.CollapseBinaryLabelmaps(False)
    assert content.GetNumberOfLayers() == 1
    writer = SegmentWriter(segmentation, phantom.node)
    thinner = blocks[ids[1]] & block(shape, (0, 24), (0, 80), (0, 40))
    writer.write(ids[1], planes(thinner, "k", range(24)), "k", overwrite_painted=True)
    assert content.GetNumberOfLayers() == 1
    for n in ids:
        assert np.array_equal(get(segmentation, n, phantom.node), thinner if n == ids[1] else blocks[n])
    wider = block(shape, (8, 12), (5, 75), (20, 60))  # over its neighbours: overlap needs a layer of its own
    writer.write(ids[1], planes(wider, "k", range(8, 12)), "k")
    for n in ids:
        expected = thinner | wider if n == ids[1] else blocks[n]
        assert np.array_equal(get(segmentation, n, phantom.node), expected)
