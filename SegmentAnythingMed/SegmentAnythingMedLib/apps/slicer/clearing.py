"""The slice that the user looks at, and the removal of its prompts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import slicer

from .geometry import array_of, axis_of_view, dimensions, map_points, world_to_ijk
from .prompt_nodes import BOX, SCRIBBLE, SCRIBBLE_NEGATIVE, prompt_nodes, role_of

_COLUMN = {"i": 0, "j": 1, "k": 2}


def shown_slice(
    volume: slicer.vtkMRMLVolumeNode, axis: str, slice_nodes: Iterable[slicer.vtkMRMLSliceNode]
) -> int | None:
    """The slice along an axis that the first view along that axis shows; None when no view does.

    Raises:
        InputError: ``volume.*``.
    """
    count = dimensions(volume)[_COLUMN[axis]]
    for node in slice_nodes:
        if axis_of_view(node, volume) == axis:
            middle = map_points(world_to_ijk(volume), array_of(node.GetSliceToRAS())[:3, 3])[0]
            index = int(np.floor(middle[_COLUMN[axis]].round(6) + 0.5))
            if 0 <= index < count:
                return index
    return None


def clear_slice(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume: slicer.vtkMRMLVolumeNode,
    axis: str,
    index: int,
) -> int:
    """Remove the prompts of a segment that lie on a slice; returns how many points, boxes and scribbles went.

    A scribble over several slices loses its part on this one only by going as a whole.

    Raises:
        InputError: ``volume.transform``.
    """
    to_ijk, removed = world_to_ijk(volume), 0
    for node in prompt_nodes(segmentation, segment_id):
        on_slice = _points_on(node, to_ijk, _COLUMN[axis], index)
        if not on_slice:
            continue
        if role_of(node) in (BOX, SCRIBBLE, SCRIBBLE_NEGATIVE):
            slicer.mrmlScene.RemoveNode(node)
            removed += 1
        else:
            for number in reversed(on_slice):
                node.RemoveNthControlPoint(number)
            removed += len(on_slice)
    return removed


def _points_on(node: slicer.vtkMRMLMarkupsNode, to_ijk: np.ndarray, column: int, index: int) -> list[int]:
    """Numbers of the defined control points on a slice; a box has one in its middle."""
    found, position = [], [0.0, 0.0, 0.0]
    for number in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(number) == node.PositionDefined:
            node.GetNthControlPointPositionWorld(number, position)
            if np.floor(map_points(to_ijk, position)[0][column].round(6) + 0.5) == index:
                found.append(number)
    return found
