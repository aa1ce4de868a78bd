"""Voxels of one grid pulled onto another through a transform: full affines on both sides, whatever the axes do.

ITK's images know no shear and its readers of voxels no permuted axes, so grids are handed to it in index space (spacing
1, no direction) and both affines become part of the transform:

    index of the target -> LPS of the follow-up -> LPS of the prior -> index of the source
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..space.affine import Affine
from .transforms import VisitTransform, affine_transform, chain, parts_of

LINEAR, NEAREST, CUBIC = sitk.sitkLinear, sitk.sitkNearestNeighbor, sitk.sitkBSpline
_NODES_PER_KNOT = 7
_AS_STORED = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}


def pull(
    voxels: np.ndarray,
    affine: Affine,
    transform: VisitTransform,
    target: Affine,
    shape: tuple[int, int, int],
    *,
    interpolator: int = LINEAR,
    outside: float = 0.0,
) -> np.ndarray:
    """Sample an array of the prior on a grid of the follow-up.

    Args:
        voxels: [K, J, I] or [K, J, I, C] on ``affine``.
        affine: of ``voxels``, in the space of the prior.
        transform: follow-up -> prior.
        target: affine of the wanted grid, in the space of the follow-up.
        shape: (K, J, I) of the wanted grid.
        interpolator: :data:`LINEAR`, :data:`NEAREST` or :data:`CUBIC`.
        outside: value where the prior has no voxel.

    Returns:
        [K, J, I] or [K, J, I, C], the type of ``voxels`` (bool as uint8, float16 as float32).
    """
    voxels = np.asarray(voxels)
    stored = voxels.astype(_AS_STORED.get(voxels.dtype, voxels.dtype), copy=False)
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored), isVector=voxels.ndim == 4)
    if transform.matrix is not None:
        path = affine_transform(affine.inverse @ transform.matrix @ target.matrix)
    else:
        path = chain(affine_transform(target.matrix), transform.itk, affine_transform(affine.inverse))
        path = _lighter(path, transform, target, shape)
    size = [int(n) for n in shape[::-1]]
    pulled = sitk.Resample(image, size, path, interpolator, (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist(), outside)
    return sitk.GetArrayFromImage(pulled)


def _lighter(
    path: sitk.Transform, transform: VisitTransform, target: Affine, shape: tuple[int, int, int]
) -> sitk.Transform:
    """A path through B-splines as a field of displacements that is as fine as they bend, where the voxels are finer.

    A B-spline costs many times what the sampling of the image does. Linear between nodes a seventh of a knot apart, a
    bend of 5 mm from one knot to the next is off by less than 0.04 mm.
    """
    knots = _knots_mm(transform)
    if knots is None:
        return path
    stride = np.maximum(np.floor(knots / _NODES_PER_KNOT / np.linalg.norm(target.matrix[:3, :3], axis=0)), 1)
    size = np.ceil((np.array(shape[::-1]) - 1) / stride).astype(int) + 1
    if np.prod(size) * 2 > np.prod(shape):
        return path
    field = sitk.TransformToDisplacementField(
        path, sitk.sitkVectorFloat64, [int(n) for n in size], (0.0,) * 3, stride.tolist()
    )
    return sitk.DisplacementFieldTransform(field)


def _knots_mm(transform: VisitTransform) -> float | None:
    """Least distance of control points; None where anything but B-splines bends space."""
    found = []
    for part in parts_of(transform.itk):
        if part.GetTransformEnum() == sitk.sitkBSplineTransform:
            lengths = np.array(part.GetTransformDomainPhysicalDimensions())
            found.append(float((lengths / np.array(part.GetTransformDomainMeshSize())).min()))
        elif not part.IsLinear():
            return None
    return min(found, default=None)


def displacements(transform: VisitTransform, grid: Affine, shape: tuple[int, int, int]) -> np.ndarray:
    """Where the voxels of a grid go: mapped LPS point minus LPS point, float64 [K, J, I, 3] in mm.

    Args:
        transform: follow-up -> prior.
        grid: affine of a grid in the space of the follow-up; any axes, shear included.
        shape: (K, J, I) of the grid.
    """
    if transform.matrix is None:
        # the field of (index -> LPS -> prior LPS) is (prior LPS - index); index and LPS are then put right
        path = chain(affine_transform(grid.matrix), transform.itk)
        size = [int(n) for n in shape[::-1]]
        field = sitk.TransformToDisplacementField(path, sitk.sitkVectorFloat64, size, (0.0,) * 3, (1.0,) * 3)
        mapped = sitk.GetArrayFromImage(field) + _indices(shape)
        return mapped - _points(grid, shape)
    points = _points(grid, shape)
    return points @ (transform.matrix[:3, :3] - np.eye(3)).T + transform.matrix[:3, 3]


def _indices(shape: tuple[int, int, int]) -> np.ndarray:
    """(I, J, K) of every voxel, float64 [K, J, I, 3]."""
    return np.stack(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij")[::-1], axis=-1)


def _points(grid: Affine, shape: tuple[int, int, int]) -> np.ndarray:
    return grid.ijk_to_lps(_indices(shape)).reshape(*shape, 3)
