"""A drawing on a slice view becomes a prompt node: a box parallel to the voxels, or a scribble."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...errors import PromptError
from ...prompts.volume_prompts import BoxPrompt
from .boxes import place_box
from .geometry import axis_of_view, ijk_to_world, map_points, world_to_ijk
from .prompt_nodes import BOX, prompt_node

SCRIBBLE_POINTS = 24
"""Control points of a scribble at most; the line between them is what counts."""
_COLUMN = {"i": 0, "j": 1, "k": 2}


def add_drawing(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume: slicer.vtkMRMLVolumeNode,
    role: str,
    slice_node: slicer.vtkMRMLSliceNode,
    points: np.ndarray,
    axis: str,
) -> slicer.vtkMRMLMarkupsNode:
    """Make a prompt node of what was drawn in a view.

    Args:
        segmentation, segment_id, volume: whom the prompt is for.
        role: ``box``, ``scribble``, ``scribble_negative``.
        slice_node: of the view.
        points: RAS mm [N, 3]; of a box its four corners.
        axis: ``k``, ``j`` or ``i``, along which slices are segmented.

    Raises:
        PromptError: ``prompt.oblique_view`` for a box in a view that is oblique to the voxels, ``prompt.other_axis`` in
            one that shows other slices than those that are segmented; nothing is made.
        InputError: ``volume.transform``, ``segment.*``.
    """
    if role == BOX:
        shown = axis_of_view(slice_node, volume)
        if shown is None:
            raise PromptError(
                "prompt.oblique_view",
                _(
                    "Expected a view that shows slices of the image; this one is oblique to them. Turn it with "
                    "'Rotate to volume plane' (pin menu of the view), or use points, which can be set in any view."
                ),
            )
        if shown != axis:
            raise PromptError(
                "prompt.other_axis",
                _(
                    "Expected a box in a view of the slices that are segmented (along {wanted}); this view shows "
                    "slices along {shown}. Draw it in the other view, or change Slices in the settings."
                ).format(wanted=axis.upper(), shown=shown.upper()),
            )
        box = box_in_voxels(map_points(world_to_ijk(volume), points), axis)
        node = prompt_node(segmentation, segment_id, volume, role)
        with slicer.util.NodeModify(node):
            place_box(node, box, ijk_to_world(volume), axis)
        return node
    node = prompt_node(segmentation, segment_id, volume, role)
    node.SetCurveTypeToLinear()
    slicer.util.updateMarkupsControlPointsFromArray(node, thinned(points, SCRIBBLE_POINTS))
    return node


def box_in_voxels(corners: np.ndarray, axis: str) -> BoxPrompt:
    """The box around corners [N, 3] in voxels (I, J, K) on the nearest slice along ``axis``, a pixel wide at least."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low - 1) / 2, 0)
    column = _COLUMN[axis]
    middle[column], half[column] = np.round(corners[:, column].mean()), 0
    return BoxPrompt(tuple(middle - half), tuple(middle + half))


def thinned(points: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the points [N, 3], evenly along the way, with both ends."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    points = points[np.concatenate([[True], steps > 0])]
    if len(points) <= count:
        return points
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return points[np.unique(np.searchsorted(way, np.linspace(0, way[-1], count)))]
