"""The slice that is looked at, and the prompts that lie on it, in every geometry and along every axis."""

from __future__ import annotations

import numpy as np
import pytest
from slicer_fixtures import VOLUME_KINDS


@pytest.mark.parametrize("kind", VOLUME_KINDS)
@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_shown_slice(slicer_host, make_volume, kind: str, axis: str) -> None:
    import slicer
    from SegmentAnythingMedLib.apps.slicer.clearing import shown_slice
    from SegmentAnythingMedLib.apps.slicer.geometry import show_slice

    phantom = make_volume(kind)
    columns = {"k": (0, 1, 2), "j": (0, 2, 1), "i": (1, 2, 0)}[axis]
    steps = phantom.ijk_to_world[:3, :3]
    across, _down, normal = (steps[:, n] / np.linalg.norm(steps[:, n]) for n in columns)
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    view.SetSliceToRASByNTP(*normal, *across, *phantom.world(phantom.centre), 0)
    assert shown_slice(phantom.node, axis, [view]) == phantom.centre["ijk".index(axis)]
    show_slice(phantom.node, axis, 7)
    assert shown_slice(phantom.node, axis, [view]) == 7
    assert shown_slice(phantom.node, {"k": "j", "j": "i", "i": "k"}[axis], [view]) is None
    assert shown_slice(phantom.node, axis, []) is None


def test_only_the_prompts_of_the_slice_go(slicer_host, make_volume, make_segmentation) -> None:
    import slicer
    import vtk
    from SegmentAnythingMedLib.apps.slicer.clearing import clear_slice
    from SegmentAnythingMedLib.apps.slicer.prompt_nodes import prompt_node, prompt_nodes

    phantom = make_volume("oblique_transformed")
    node, segment_id = make_segmentation(phantom.node)
    other_id = node.GetSegmentation().AddEmptySegment("", "other")

    def add(role: str, *voxels: tuple[float, float, float], segment: str = segment_id) -> None:
        markups = prompt_node(node, segment, phantom.node, role)
        for voxel in voxels:
            markups.AddControlPointWorld(vtk.vtkVector3d(*phantom.world(voxel)))

    add("positive", (10, 10, 5), (20, 20, 6), (30, 30, 5))
    add("stop", (10, 10, 5))
    add("scribble", (5, 5, 5), (9, 9, 5))
    add("scribble", (5, 5, 8), (9, 9, 8))
    add("positive", (10, 10, 5), segment=other_id)
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    own.AddControlPointWorld(vtk.vtkVector3d(*phantom.world((10, 10, 5))))
    assert clear_slice(node, segment_id, phantom.node, "k", 5) == 4
    left = sorted(markups.GetNumberOfControlPoints() for markups in prompt_nodes(node, segment_id))
    assert left == [0, 1, 2]
    assert prompt_nodes(node, other_id)[0].GetNumberOfControlPoints() == 1
    assert own.GetNumberOfControlPoints() == 1
    assert clear_slice(node, segment_id, phantom.node, "k", 5) == 0
