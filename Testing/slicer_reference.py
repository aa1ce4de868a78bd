"""Segments, editor settings and transforms by Slicer's own means: what the tests of our means compare with."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from SegmentAnythingMedLib.apps.slicer.reading import read_segment
from SegmentAnythingMedLib.space.planes import AXES

KINDS = ["straight", "oblique", "left_handed", "permuted", "transformed", "oblique_transformed"]
SEGMENTATION = slicer.vtkMRMLSegmentationNode
EDITOR = slicer.vtkMRMLSegmentEditorNode


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


def random_affine(seed: int) -> np.ndarray:
    """Oblique, anisotropic, and left-handed for odd seeds."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if (np.linalg.det(rotation) > 0) == bool(seed % 2):
        rotation[:, 0] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag(rng.uniform(0.3, 5, 3))
    matrix[:3, 3] = rng.uniform(-300, 300, 3)
    return matrix


def put_under(node, *matrices: np.ndarray) -> None:
    """Parent transforms, the innermost first."""
    child = node
    for matrix in matrices:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        slicer.util.updateTransformMatrixFromArray(transform, matrix)
        child.SetAndObserveTransformNodeID(transform.GetID())
        child = transform


def bend(node) -> None:
    """A parent transform that is not linear."""
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for point in np.random.default_rng(0).uniform(-50, 50, (8, 3)):
        source.InsertNextPoint(point)
        target.InsertNextPoint(point + np.sin(point / 10) * 5)
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Bent")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())


def add_points(node, phantom, *voxels) -> None:
    for ijk in voxels:
        node.AddControlPointWorld(*phantom.world(ijk))
