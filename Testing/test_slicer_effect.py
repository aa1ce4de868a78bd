"""The Segment Editor effect on real segmentations and views: prompts, undo, masking, propagation, clean leaving."""

from __future__ import annotations

import numpy as np
import pytest
from effect_bench import ANSWER_S, bench, dice, real_bench, stub

pytestmark = pytest.mark.usefixtures("rendering")
__all__ = ["bench", "real_bench", "stub"]


@pytest.mark.parametrize("kind", ["straight", "oblique", "left_handed", "permuted", "oblique_transformed"])
def test_a_click_segments_the_slice(bench, kind: str) -> None:
    here = bench(kind)
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    (place,) = here.effect.session.slices
    number = "kji".index(place.axis)
    assert place.index == here.phantom.centre[2 - number]
    cells = np.moveaxis(here.cells(), number, 0)
    truth = np.moveaxis(here.phantom.mask, number, 0)
    assert dice(cells[place.index], truth[place.index]) > 0.9
    assert np.flatnonzero(cells.any(axis=(1, 2))).tolist() == [place.index]


def test_with_the_built_in_model(real_bench) -> None:
    here = real_bench("oblique_transformed")
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    k = here.phantom.centre[2]
    assert dice(here.cells()[k], here.phantom.mask[k]) > 0.8


def test_a_box_segments_the_slice(bench) -> None:
    here = bench()
    k = here.phantom.centre[2]
    rows, columns = np.nonzero(here.phantom.mask[k])
    start, end = here.pixel((columns.min(), rows.min(), k)), here.pixel((columns.max(), rows.max(), k))
    here.view.mouse("move", *start)
    here.view.mouse("press", *start)
    here.view.mouse("move", *end)
    here.view.mouse("release", *end)
    here.answer()
    assert dice(here.cells()[k], here.phantom.mask[k]) > 0.85
    (held,) = here.effect.session.slices.values()
    assert type(held.prompts[0]).__name__ == "BoxPrompt"
    np.testing.assert_allclose(held.prompts[0].corner0[:2], (columns.min(), rows.min()), atol=1)
    np.testing.assert_allclose(held.prompts[0].corner1[:2], (columns.max(), rows.max()), atol=1)


@pytest.mark.parametrize("key", ["ctrl", "shift"])
def test_a_key_makes_the_point_negative(bench, key: str) -> None:
    here = bench()
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    i, j, k = here.phantom.centre
    here.view.click(*here.pixel((i + 12, j, k)), **{key: True})
    here.answer()
    (held,) = here.effect.session.slices.values()
    assert [prompt.label for prompt in held.prompts] == [1, 0]
    assert held.prompts[1].position[2] == k


def test_each_answer_is_one_undo_step(bench) -> None:
    here = bench()
    i, j, k = here.phantom.centre
    here.view.click(*here.pixel((i, j, k)))
    here.answer()
    first = here.cells()
    here.view.click(*here.pixel((i + 4, j + 2, k)))
    here.answer()
    second = here.cells()
    here.editor.undo()
    np.testing.assert_array_equal(here.cells(), first if (first != second).any() else np.zeros_like(first))
    while here.cells().any():
        here.editor.undo()
    here.editor.redo()
    np.testing.assert_array_equal(here.cells(), first)


def test_content_of_the_slice_is_kept(bench) -> None:
    import slicer

    here = bench()
    k = here.phantom.centre[2]
    painted = np.zeros_like(here.phantom.mask)
    painted[k, 2:6, 2:6] = True
    painted[k + 3, 10:20, 10:20] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        painted.astype(np.uint8), here.segmentation, here.segment, here.phantom.node
    )
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    assert here.cells()[painted].all()
    assert here.cells()[k].sum() > 100 + painted[k].sum()


def test_masking_of_the_editor_is_honoured(bench) -> None:
    import slicer

    here = bench()
    k = here.phantom.centre[2]
    here.editor.node.SourceVolumeIntensityMaskOn()
    here.editor.node.SetSourceVolumeIntensityMaskRange(190, 400)
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    voxels = slicer.util.arrayFromVolume(here.phantom.node)
    assert here.cells()[k].any()
    assert voxels[here.cells()].min() >= 190


def test_other_segments_are_overwritten_only_where_the_editor_says_so(bench) -> None:
    import slicer

    here = bench()
    other = here.segmentation.GetSegmentation().AddEmptySegment("", "other")
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        here.phantom.mask.astype(np.uint8), here.segmentation, other, here.phantom.node
    )
    here.editor.node.SetOverwriteMode(here.editor.node.OverwriteNone)
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    left = slicer.util.arrayFromSegmentBinaryLabelmap(here.segmentation, other, here.phantom.node) > 0
    np.testing.assert_array_equal(left, here.phantom.mask)
    assert here.cells().any()


def test_propagation_is_one_undo_step(bench) -> None:
    here = bench()
    i, j, k = here.phantom.centre
    here.view.click(*here.pixel((i, j, k)))
    here.answer()
    first = here.cells()
    here.effect.options.propagate_button.click()
    assert here.effect.options.cancel_button.enabled
    assert not here.effect.options.propagate_button.enabled
    here.answer()
    assert here.cells()[k - 2].any()
    assert here.cells()[k + 2].any()
    assert dice(here.cells(), here.phantom.mask) > 0.7
    here.editor.undo()
    np.testing.assert_array_equal(here.cells(), first)


def test_propagation_without_prompts_says_so(bench) -> None:
    here = bench()
    here.effect.options.propagate_button.click()
    assert "Click on the object" in here.effect.options.status.text
    assert not here.effect.session.busy


def test_after_an_undo_prompts_start_anew(bench) -> None:
    here = bench()
    i, j, k = here.phantom.centre
    here.view.click(*here.pixel((i, j, k)))
    here.answer()
    here.editor.undo()
    here.view.click(*here.pixel((i + 3, j, k)))
    here.answer()
    (held,) = here.effect.session.slices.values()
    assert len(held.prompts) == 1


def test_oblique_views_are_refused_in_words(bench) -> None:
    here = bench()
    matrix = here.view.node.GetSliceToRAS()
    turned = np.eye(4)
    a = np.deg2rad(20)
    turned[1:3, 1:3] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    import slicer

    slicer.util.updateVTKMatrixFromArray(matrix, slicer.util.arrayFromVTKMatrix(matrix) @ turned)
    here.view.node.UpdateMatrices()
    here.view.click(150, 150)
    assert "Rotate" in here.effect.options.status.text
    assert not here.effect.session.busy


def test_views_turned_in_their_plane_take_points_but_no_boxes(bench) -> None:
    import slicer

    here = bench()
    matrix = here.view.node.GetSliceToRAS()
    turned = np.eye(4)
    a = np.deg2rad(30)
    turned[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    slicer.util.updateVTKMatrixFromArray(matrix, slicer.util.arrayFromVTKMatrix(matrix) @ turned)
    here.view.node.UpdateMatrices()
    for kind, at in (("press", (100, 100)), ("move", (200, 180)), ("release", (200, 180))):
        here.view.mouse(kind, *at)
    assert "rectangle" in here.effect.options.status.text
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    assert here.cells().any()


def test_a_hidden_segment_is_not_edited(bench) -> None:
    here = bench()
    here.segmentation.GetDisplayNode().SetSegmentVisibility(here.segment, False)
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    assert not here.cells().any()


def test_a_segment_that_is_gone_drops_the_answer(bench) -> None:
    here = bench()
    here.view.click(*here.pixel(here.phantom.centre))
    assert here.effect.session.wait(ANSWER_S)
    here.segmentation.GetSegmentation().RemoveSegment(here.segment)
    here.effect.session.poll()
    assert "dropped" in here.effect.options.status.text


def test_changed_voxels_drop_the_answer(bench) -> None:
    import slicer

    here = bench()
    here.view.click(*here.pixel(here.phantom.centre))
    assert here.effect.session.wait(ANSWER_S)
    slicer.util.arrayFromVolume(here.phantom.node)[:] = 0
    slicer.util.arrayFromVolumeModified(here.phantom.node)
    here.effect.session.poll()
    assert "dropped" in here.effect.options.status.text
    assert not here.cells().any()


def test_prompts_are_seen_on_their_slice_only(bench) -> None:
    here = bench()
    plain = here.view.array()
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    here.segmentation.GetDisplayNode().SetVisibility(False)
    marked = here.view.array()
    i, j, k = here.phantom.centre
    here.view.look_at(here.phantom.world((i, j, k + 3)))
    elsewhere = here.view.array()
    x, y = here.pixel(here.phantom.centre)
    rows, columns = np.nonzero(green(marked))
    assert np.abs(rows - (300 - y)).max() < 10
    assert np.abs(columns - x).max() < 10
    assert not green(plain).any()
    assert not green(elsewhere).any()


def green(picture: np.ndarray) -> np.ndarray:
    return picture[..., 1].astype(int) - picture[..., 0] > 80


def test_the_timer_writes_without_help(bench) -> None:
    from standin.qt_gui import GUI

    here = bench()
    here.view.click(*here.pixel(here.phantom.centre))
    GUI.pump_until(lambda: not here.effect.session.busy, seconds=ANSWER_S)
    assert here.cells().any()
    assert not here.effect._timer.active


def test_model_is_kept_in_the_editors_node(bench) -> None:
    here = bench()
    assert here.editor.node.GetAttribute("Segment Anything.Model") == "built-in"
    names = [here.effect.options.model_selector.itemText(n) for n in range(here.effect.options.model_selector.count)]
    assert names[0] == "built-in"
    here.effect.options.model_selector.currentIndex = 1
    assert here.editor.node.GetAttribute("Segment Anything.Model") == names[1]
    assert here.effect.session.model.name == names[1]
    here.editor.effect.setParameter("Model", "built-in")
    assert here.effect.options.model == "built-in"


def test_clear_forgets_prompts_and_keeps_the_mask(bench) -> None:
    here = bench()
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    here.effect.options.clear_button.click()
    assert here.effect.session.slices == {}
    assert here.cells().any()


def test_leaving_while_it_computes_leaves_nothing(bench) -> None:
    here = bench()
    here.view.click(*here.pixel(here.phantom.centre))
    worker = here.effect.session._worker
    here.editor.close()
    assert worker.thread is None or not worker.thread.is_alive()
    assert not here.cells().any()
    here.view.click(*here.pixel(here.phantom.centre))
    assert not here.cells().any()


def test_registering_twice_changes_nothing(bench) -> None:
    import slicer
    from SegmentAnythingMedLib.apps.slicer.effect_registration import register_effect

    bench()
    register_effect()
    assert list(slicer.qSlicerSegmentEditorEffectFactory.instance().effects) == ["Segment Anything"]
    assert not hasattr(slicer, "SegmentEditorSegmentAnythingEffect")


def test_bent_transforms_are_refused_in_words(bench) -> None:
    import slicer
    import vtk

    here = bench()
    grid, bent = vtk.vtkImageData(), vtk.vtkBSplineTransform()
    grid.SetDimensions(4, 4, 4)
    grid.SetSpacing(50, 50, 50)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    grid.GetPointData().GetScalars().Fill(3.0)
    bent.SetCoefficientData(grid)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bent")
    node.SetAndObserveTransformFromParent(bent)
    here.phantom.node.SetAndObserveTransformNodeID(node.GetID())
    here.view.click(150, 150)
    assert "arden" in here.effect.options.status.text
    assert not here.effect.session.busy
