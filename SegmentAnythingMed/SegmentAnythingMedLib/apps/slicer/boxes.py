"""A box of the scene (ROI node) as a box on a slice, through the full affine.

A ROI may be turned, mirrored or moved; it is a prompt when its faces are parallel to the voxel axes of the volume. Its
thickness does not matter: it prompts the slice in its middle, which is where a box drawn in a slice view lies.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ...errors import PromptError
from ...prompts.volume_prompts import BoxPrompt
from ...space.planes import SliceStack
from .geometry import array_of, map_points, matrix_of

BOX_TOLERANCE_DEG = 2.0
"""A box counts as parallel to the voxel axes up to this angle; it is then taken as its bounds."""
_NUMBERS = {"i": 0, "j": 1, "k": 2}


def box_of_roi(roi: slicer.vtkMRMLMarkupsROINode, world_to_ijk: np.ndarray, stack: SliceStack) -> tuple[BoxPrompt, str]:
    """The rectangle that a ROI marks on the slice in its middle.

    Args:
        roi: of the scene, under any linear transforms.
        world_to_ijk: [4, 4] of the volume.
        stack: slices of the volume along the axis that is segmented.

    Returns:
        A box whose edges are those of the ROI to a millionth of a voxel, and a remark (empty when there is none).

    Raises:
        PromptError: ``prompt.oblique_box``, ``prompt.box_empty`` (less than a pixel), ``prompt.outside``.
    """
    centre, edges = _centre_and_edges(roi, world_to_ijk)
    half = _half_sizes(edges, stack)
    low, high = centre - half, centre + half
    across = _NUMBERS[stack.axis]
    index = int(np.floor(centre[across].round(6) + 0.5))
    last = np.array(stack.volume.shape[::-1]) - 0.5
    if not 0 <= index < stack.count or (low > last).any() or (high < -0.5).any():
        raise PromptError(
            "prompt.outside",
            _(
                "Expected the middle of the box on one of the slices 0 to {last} of axis {axis}; it is on slice "
                "{index} or beside the image. Move it into the image."
            ).format(last=stack.count - 1, axis=stack.axis, index=index),
        )
    in_plane = [n for n in range(3) if n != across]
    if ((high - low)[in_plane].round(6) < 1.0).any():
        raise PromptError("prompt.box_empty", _("Expected a box of at least one pixel; it is smaller. Draw it larger."))
    first, second = (low + 0.5).round(6), (high - 0.5).round(6)
    first[across] = second[across] = index
    covered = np.floor(np.array([low[across] + 0.5, high[across] + 0.49]).round(6)).astype(int)
    note = _("the box is {n} slices thick and prompts the one in its middle, {index}.").format(
        n=covered[1] - covered[0] + 1, index=index
    )
    return BoxPrompt(tuple(first), tuple(second)), note if covered[1] - covered[0] > 1 else ""


def place_box(roi: slicer.vtkMRMLMarkupsROINode, box: BoxPrompt, ijk_to_world: np.ndarray, axis: str) -> None:
    """Shape a ROI as a box of voxel indices, one slice thick; :func:`box_of_roi` gives the same box back.

    Args:
        roi: without a parent transform.
        box: in voxel indices (``space="ijk"``).
        ijk_to_world: [4, 4] of the volume.
        axis: of the slices.
    """
    corners = np.array([box.corner0, box.corner1])
    low, high = corners.min(axis=0) - 0.5, corners.max(axis=0) + 0.5
    steps = ijk_to_world[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    frame = np.eye(4)
    frame[:3, :3] = steps / lengths
    if np.linalg.det(frame[:3, :3]) < 0:
        frame[:3, _NUMBERS[axis]] *= -1  # a ROI is right-handed; its size does not care for the sign
    frame[:3, 3] = map_points(ijk_to_world, (low + high) / 2)[0]
    roi.SetAndObserveObjectToNodeMatrix(matrix_of(frame))
    roi.SetSize(*((high - low) * lengths))


def _centre_and_edges(roi: slicer.vtkMRMLMarkupsROINode, world_to_ijk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle [3] and half edges as columns [3, 3] of a ROI in voxel indices."""
    parent = vtk.vtkMatrix4x4()
    node = roi.GetParentTransformNode()
    if node is not None and not (node.IsTransformToWorldLinear() and node.GetMatrixTransformToWorld(parent)):
        raise PromptError(
            "prompt.oblique_box",
            _("Expected a box under linear transforms; {name} bends it. Harden it first.").format(name=node.GetName()),
        )
    to_ijk = world_to_ijk @ array_of(parent) @ array_of(roi.GetObjectToNodeMatrix())
    return to_ijk[:3, 3], to_ijk[:3, :3] * (np.array(roi.GetSize()) / 2)


def _half_sizes(edges: np.ndarray, stack: SliceStack) -> np.ndarray:
    """Half extent along I, J, K; refused when an edge does not run along one voxel axis in space."""
    in_space = stack.volume.affine.matrix[:3, :3] @ edges
    axes = stack.volume.affine.direction
    lengths = np.linalg.norm(in_space, axis=0)
    for n in np.flatnonzero(lengths > 0):
        cosine = np.abs(axes.T @ in_space[:, n]).max() / lengths[n]
        if cosine < np.cos(np.deg2rad(BOX_TOLERANCE_DEG)):
            raise PromptError(
                "prompt.oblique_box",
                _(
                    "Expected a box parallel to the slices and to the rows of the image; it is turned by "
                    "{degrees:.0f} degrees. Rotate the slice view to the volume plane and draw the box again."
                ).format(degrees=np.rad2deg(np.arccos(min(cosine, 1.0)))),
            )
    return np.abs(edges).sum(axis=1)
