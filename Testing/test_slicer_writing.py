"""Masks into segments: only what is asked for, after the editor's rules, without harm to anything else."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import editing, labelmaps
from SegmentAnythingMedLib.apps.slicer.history import History
from SegmentAnythingMedLib.apps.slicer.writing import SegmentWriter, read_segment, read_slice
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.planes import AXES
from test_slicer_geometry import bend, put_under, random_affine

pytestmark = pytest.mark.usefixtures("slicer_host")
KINDS = ["straight", "oblique", "left_handed", "permuted", "transformed", "oblique_transformed"]
SEGMENTATION = slicer.vtkMRMLSegmentationNode
EDITOR = slicer.vtkMRMLSegmentEditorNode
SURFACE = "Closed surface"


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


def put(segmentation, segment_id, volume, mask) -> None:
    """Slicer's own way to set a whole segment."""
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, segment_id, volume)


def get(segmentation, segment_id, volume) -> np.ndarray:
    """Slicer's own way to read one."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, volume) > 0


def block(shape, *ranges) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*pair) for pair in ranges)] = True
    return mask


def planes(mask, axis, indices):
    return {int(n): np.take(mask, n, axis=AXES.index(axis)) for n in indices}


def dice(a, b) -> float:
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)


def snapshot(segmentation, volume):
    content = segmentation.GetSegmentation()
    return {n: read_segment(segmentation, n, volume) for n in content.GetSegmentIDs()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def editor_of(segmentation, **settings):
    """The parameter node of the Segment Editor module, as visiting the module makes it."""
    node = EDITOR()
    node.SetSingletonTag("SegmentEditor")
    node = slicer.mrmlScene.AddNode(node)
    node.SetAndObserveSegmentationNode(segmentation)
    for name, value in settings.items():
        getattr(node, f"Set{name}")(value)
    return node


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


MODES = [
    "EditAllowedEverywhere",
    "EditAllowedInsideAllSegments",
    "EditAllowedInsideVisibleSegments",
    "EditAllowedOutsideAllSegments",
    "EditAllowedOutsideVisibleSegments",
    "EditAllowedInsideSingleSegment",
]


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


def other_grid(phantom, name):
    """A volume whose grid a segmentation takes: finer, coarser, turned, cropped or moved against the scan."""
    matrix = phantom.ijk_to_world.copy()
    shape = phantom.mask.shape
    if name == "finer":
        matrix[:3, 0] /= 2
        matrix[:3, 1] /= 1.5
        shape = (24, 120, 192)
    elif name == "turned":
        turn = random_affine(2)[:3, :3]
        turn /= np.linalg.norm(turn, axis=0)
        matrix[:3, :3] = turn * 0.6
        corners = np.array([phantom.world((i, j, k)) for i in (0, 95) for j in (0, 79) for k in (0, 23)])
        low = (corners @ turn).min(axis=0)
        shape = tuple(int(n) for n in np.ceil(((corners @ turn).max(axis=0) - low) / 0.6)[::-1] + 1)
        matrix[:3, 3] = turn @ low
    elif name == "cropped":
        matrix[:3, 3] = phantom.world((10, 5, 2))
        shape = (20, 70, 80)
    elif name == "half a voxel":
        matrix[:3, 3] = phantom.world((0.5, 0.5, 0))
    elif name == "coarse":
        matrix[:3, :3] = matrix[:3, :3] @ np.diag([4, 4, 3])
        shape = (8, 20, 24)
    return slicer.util.addVolumeFromArray(np.zeros(shape, np.int16), ijkToRAS=matrix, name=name)


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
