"""Every change of a prompt is heard, nothing else is, and nothing is left observed."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def watched(slicer_host, make_volume, make_segmentation):
    """(prompt_node of a role, list that grows with every change, the watch)."""
    from SegmentAnythingMedLib.apps.slicer.prompt_nodes import prompt_node
    from SegmentAnythingMedLib.apps.slicer.prompt_watch import PromptWatch

    volume = make_volume().node
    segmentation, segment_id = make_segmentation(volume)
    heard: list[int] = []
    watch = PromptWatch(lambda: heard.append(1))
    watch.start()
    yield lambda role: prompt_node(segmentation, segment_id, volume, role), heard, watch
    watch.stop()
    assert watch.Observations == []


def test_points_boxes_and_scribbles_are_heard(watched) -> None:
    import slicer
    import vtk

    make, heard, _watch = watched
    points, box, scribble = make("positive"), make("box"), make("scribble")
    for change in (
        lambda: points.AddControlPointWorld(vtk.vtkVector3d(1, 1, 1)),
        lambda: points.SetNthControlPointPosition(0, 2, 2, 2),
        lambda: points.RemoveNthControlPoint(0),
        lambda: box.SetSize(10, 10, 2),
        lambda: box.SetCenter(vtk.vtkVector3d(1, 2, 3)),
        lambda: box.SetAndObserveObjectToNodeMatrix(vtk.vtkMatrix4x4()),
        lambda: slicer.util.updateMarkupsControlPointsFromArray(scribble, np.eye(3)),
        lambda: slicer.mrmlScene.RemoveNode(scribble),
    ):
        heard.clear()
        change()
        assert heard


def test_the_users_own_markups_are_not_heard(watched) -> None:
    import slicer
    import vtk

    _make, heard, _watch = watched
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
    own.AddControlPointWorld(vtk.vtkVector3d(1, 1, 1))
    own.SetNthControlPointPosition(0, 2, 2, 2)
    slicer.mrmlScene.RemoveNode(own)
    assert heard == []


def test_starting_again_doubles_nothing(watched) -> None:
    import vtk

    make, heard, watch = watched
    points = make("negative")
    points.AddControlPointWorld(vtk.vtkVector3d(1, 1, 1))
    heard.clear()
    points.SetNthControlPointPosition(0, 2, 2, 2)
    once = len(heard)
    watch.start()
    heard.clear()
    points.SetNthControlPointPosition(0, 3, 3, 3)
    assert len(heard) == once
