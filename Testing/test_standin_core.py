"""The bench itself: real MRML is real, errors in observers are seen, scenes are fresh, views take clicks."""

from __future__ import annotations

import numpy as np
import pytest
from slicer_fixtures import VOLUME_KINDS


@pytest.mark.parametrize("kind", VOLUME_KINDS)
def test_phantoms_are_where_they_say(slicer_host, make_volume, kind: str) -> None:
    import slicer
    import vtk

    phantom = make_volume(kind)
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(phantom.node.GetParentTransformNode(), None, to_world)
    matrix = vtk.vtkMatrix4x4()
    phantom.node.GetIJKToRASMatrix(matrix)
    for ijk in ((0, 0, 0), phantom.centre, (95, 0, 23)):
        local = matrix.MultiplyPoint([*ijk, 1.0])[:3]
        np.testing.assert_allclose(to_world.TransformPoint(local), phantom.world(ijk), atol=1e-9)
    voxels = slicer.util.arrayFromVolume(phantom.node)
    assert voxels.shape == phantom.mask.shape
    assert voxels[phantom.mask].mean() > 150 > 0 > voxels[~phantom.mask].mean()


def test_a_scene_is_fresh(slicer_host, make_volume) -> None:
    import slicer

    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    make_volume()
    slicer_host.fresh()
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    assert slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton") is not None


def test_errors_in_observers_are_collected(slicer_host, make_volume, capsys) -> None:
    import vtk

    def fail(_caller: object, _event: str) -> None:
        raise ValueError("lost in an observer")

    node = make_volume().node
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, fail)
    with slicer_host.errors.expected("lost in an observer"):
        node.Modified()
    with slicer_host.errors.expected("/missing"):
        reader = vtk.vtkXMLImageDataReader()
        reader.SetFileName("/missing")
        reader.Update()
    assert slicer_host.errors.report() == ""


def test_names_of_the_wheel_only_are_gone(slicer_host) -> None:
    import slicer

    for name in ("arrayFromVolume", "VTKObservationMixin", "getNode", "iter_modules"):
        assert not hasattr(slicer, name)
    assert hasattr(slicer.util, "VTKObservationMixin")


def test_qt_refuses_use_without_gui(slicer_host) -> None:
    import ctk
    import qt

    with pytest.raises(AttributeError, match="no Qt in core mode"):
        _ = qt.QTimer
    with pytest.raises(AttributeError, match="no Qt in core mode"):
        _ = ctk.ctkSliderWidget


def test_unknown_attributes_raise(slicer_host) -> None:
    import slicer

    with pytest.raises(AttributeError):
        slicer.app.doTheImpossible()
    with pytest.raises(AttributeError):
        slicer.app.connect("noSuchSignal()", print)
    with pytest.raises(AttributeError):
        slicer.app.majorVersion = 6
    with pytest.raises(AttributeError):
        _ = slicer.modules.nosuchmodule


def test_click_in_a_view_places_a_point(slicer_host, make_volume, slice_view) -> None:
    import slicer

    phantom = make_volume("oblique")
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.CreateDefaultDisplayNodes()
    target = phantom.world(phantom.centre)
    red = slice_view().show(phantom.node).look_at(target)
    slicer.modules.markups.logic().SetActiveList(points)
    interaction = slicer_host.applogic.GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.Place)
    x, y, _ = red.ras_to_view(target)
    red.window.Render()
    red.click(x, y)
    assert points.GetNumberOfDefinedControlPoints() == 1
    placed = [0.0] * 3
    points.GetNthControlPointPositionWorld(0, placed)
    pixel = np.linalg.norm(red.view_to_ras(0, 0) - red.view_to_ras(1, 0))
    assert np.linalg.norm(np.subtract(placed, target)) < 2 * pixel
    assert red.array().std() > 10


def test_views_of_another_test_are_gone(slicer_host) -> None:
    import slicer

    assert slicer.app.layoutManager().sliceViewNames() == ()
    assert slicer_host.applogic.GetSliceLogics().GetNumberOfItems() == 0


def test_scene_survives_a_bundle(slicer_host, make_volume, make_segmentation, tmp_path) -> None:
    import slicer

    phantom = make_volume("oblique_transformed")
    segmentation, segment = make_segmentation(phantom.node)
    slicer.util.updateSegmentBinaryLabelmapFromArray(phantom.mask.astype(np.uint8), segmentation, segment, phantom.node)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer_host.new_scene()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    volume = slicer.util.getNode("CT")
    again = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
    read = slicer.util.arrayFromSegmentBinaryLabelmap(again, segment, volume)
    np.testing.assert_array_equal(read > 0, phantom.mask)
