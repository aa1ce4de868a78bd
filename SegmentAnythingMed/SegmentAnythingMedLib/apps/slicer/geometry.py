"""Where things of the scene lie: world (RAS, mm) to voxels of a volume node, through the affine and all transforms.

Matrices here are RAS, as everything in a MRML scene; the turn to the library's LPS is made in ``volumes`` only. A
transform counts when every one of the chain up to the world is linear; others cannot be inverted exactly for a whole
slice and are refused in words.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ...errors import InputError
from ...space.planes import AXES

VIEW_TOLERANCE_DEG = 1.0
"""A slice view looks along a voxel axis when its normal is within this angle of the normal of that axis' slices."""
_COLUMN = {"i": 0, "j": 1, "k": 2}


def array_of(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A VTK matrix as float64 [4, 4]."""
    return np.array([[matrix.GetElement(row, col) for col in range(4)] for row in range(4)], dtype=np.float64)


def matrix_of(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """Numbers [4, 4] as a VTK matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def map_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [N, 3] through an affine [4, 4], float64 [N, 3]."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def local_to_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """The node's own RAS -> world RAS through its parent transforms, float64 [4, 4].

    Raises:
        InputError: ``volume.transform`` when one of the transforms is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not parent.IsTransformToWorldLinear() or not parent.GetMatrixTransformToWorld(matrix):
        raise InputError(
            "volume.transform",
            _(
                "Expected {name} under linear transforms only; {transform} or one above it bends space. Harden the "
                "transform first (Transforms module), or take the node out of it."
            ).format(name=node.GetName(), transform=parent.GetName()),
        )
    return array_of(matrix)


def own_ijk_to_ras(volume_node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Voxel (I, J, K) -> RAS of the node itself, parent transforms left out, float64 [4, 4]."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    return array_of(matrix)


def ijk_to_world(volume_node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Voxel (I, J, K) -> world RAS in mm through the affine and all parent transforms, float64 [4, 4].

    Raises:
        InputError: ``volume.transform``.
    """
    return local_to_world(volume_node) @ own_ijk_to_ras(volume_node)


def world_to_ijk(volume_node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """World RAS in mm -> continuous voxel (I, J, K), the inverse of :func:`ijk_to_world`, float64 [4, 4].

    Raises:
        InputError: ``volume.transform``.
    """
    return np.linalg.inv(ijk_to_world(volume_node))


def axis_of_view(
    slice_node: slicer.vtkMRMLSliceNode,
    volume_node: slicer.vtkMRMLVolumeNode,
    tolerance_deg: float = VIEW_TOLERANCE_DEG,
) -> str | None:
    """The voxel axis whose slices a view shows, or None when the view is oblique to all of them.

    Args:
        slice_node: of the view.
        volume_node: under any linear transforms.
        tolerance_deg: largest angle between the normals of the view and of the slices.

    Raises:
        InputError: ``volume.transform``.
    """
    view = array_of(slice_node.GetSliceToRAS())[:3, 2]
    steps = ijk_to_world(volume_node)[:3, :3]
    for axis in AXES:
        normal = slice_normal(steps, axis)
        cosine = abs(view @ normal) / np.linalg.norm(view)
        if cosine >= np.cos(np.deg2rad(tolerance_deg)):
            return axis
    return None


def slice_normal(steps: np.ndarray, axis: str) -> np.ndarray:
    """Unit normal of the slices along an axis, float64 [3]; on a sheared grid it is not the step of that axis."""
    in_plane = [steps[:, n] for n in range(3) if n != _COLUMN[axis]]
    normal = np.cross(*in_plane)
    return normal / np.linalg.norm(normal)


def slice_centre(volume_node: slicer.vtkMRMLVolumeNode, axis: str, index: int) -> np.ndarray:
    """World RAS of the middle of a slice in mm, float64 [3].

    Raises:
        InputError: ``option.axis``, ``option.slice``, ``volume.empty``, ``volume.transform``.
    """
    size = dimensions(volume_node)
    if axis not in _COLUMN:
        raise InputError("option.axis", _("Expected the axis k, j or i; got {axis!r}.").format(axis=axis))
    last = size[_COLUMN[axis]] - 1
    if not 0 <= index <= last:
        raise InputError(
            "option.slice",
            _("Expected a slice 0 to {last} on axis {axis}; got {index}.").format(last=last, axis=axis, index=index),
        )
    ijk = (np.array(size, dtype=np.float64) - 1) / 2
    ijk[_COLUMN[axis]] = index
    return map_points(ijk_to_world(volume_node), ijk)[0]


def dimensions(volume_node: slicer.vtkMRMLVolumeNode) -> tuple[int, int, int]:
    """Voxels along I, J, K.

    Raises:
        InputError: ``volume.empty`` for a node without voxels.
    """
    image = volume_node.GetImageData()
    size = (0, 0, 0) if image is None else image.GetDimensions()
    if 0 in size:
        raise InputError(
            "volume.empty",
            _("Expected voxels in {name}; it has none. Load it first.").format(name=volume_node.GetName()),
        )
    return tuple(int(n) for n in size)


def show_slice(volume_node: slicer.vtkMRMLVolumeNode, axis: str, index: int) -> None:
    """Move all slice views to the middle of a slice; their orientation and zoom stay as they are.

    Args:
        volume_node: any volume of the scene.
        axis: ``k``, ``j`` or ``i``.
        index: slice number.

    Raises:
        InputError: as :func:`slice_centre`.
    """
    centre = slice_centre(volume_node, axis, index)
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode", volume_node.GetScene()):
        node.JumpSliceByCentering(*centre)
