"""Cubic B-spline deformations on a regular grid, in a form that can be optimised and that ITK can store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

_FIXED = 3
"""Outermost control points that never move: what is left of the deformation at the border of its domain is nothing."""


@dataclass(frozen=True, eq=False)
class SplineGrid:
    """Control points of a deformation around a region.

    Attributes:
        knots_mm: distance of the control points.
        first: [3], position (I, J, K axes, mm from the region's first voxel) of the first control point.
        count: [3], control points along I, J, K.
    """

    knots_mm: float
    first: np.ndarray
    count: np.ndarray

    @classmethod
    def around(cls, lengths_mm: np.ndarray, knots_mm: float) -> SplineGrid:
        """Control points for a region of ``lengths_mm`` (I, J, K) that is free to move up to its border."""
        inner = np.ceil(np.asarray(lengths_mm) / knots_mm).astype(int)
        slack = inner * knots_mm - lengths_mm
        first = -(_FIXED - 0.5) * knots_mm - slack / 2
        return cls(knots_mm, first, inner + 2 * _FIXED)

    def basis(self, axis: int, places_mm: np.ndarray) -> np.ndarray:
        """Weight of every control point along an axis (0 is I) at places (mm from the first voxel), [N, count]."""
        steps = (np.asarray(places_mm)[:, None] - self.first[axis]) / self.knots_mm - np.arange(self.count[axis])
        return _cubic(np.abs(steps)).astype(np.float32)

    def free(self) -> np.ndarray:
        """Which control points may move, bool [K, J, I]."""
        mask = np.zeros(self.count[::-1], dtype=bool)
        mask[(slice(_FIXED, -_FIXED),) * 3] = True
        return mask

    def coarser(self, axis: int, factor: int) -> np.ndarray:
        """Patterns over the free control points along an axis: B-splines ``factor`` times as wide, [count, M]."""
        count = int(self.count[axis]) - 2 * _FIXED
        if factor == 1:
            weights = np.eye(count)
        else:
            nodes = np.arange(-1, int(np.ceil((count - 1) / factor)) + 2)
            weights = _cubic(np.abs(np.arange(count)[:, None] / factor - nodes))
            weights = weights[:, weights.max(axis=0) > 0.05]
        return np.pad(weights, ((_FIXED, _FIXED), (0, 0))).astype(np.float32)

    def transform(self, coefficients: np.ndarray, image: sitk.Image) -> sitk.BSplineTransform:
        """The deformation as ITK's B-spline transform.

        Args:
            coefficients: [3, K, J, I], mm along the axes (I, J, K) of ``image``.
            image: the region; orthonormal axes.
        """
        direction = np.array(image.GetDirection()).reshape(3, 3)
        origin = np.array(image.GetOrigin())
        # ITK's domain begins one control point after the first
        domain = origin + direction @ (self.first + self.knots_mm)
        mesh = self.count - 3
        spline = sitk.BSplineTransform(3, 3)
        spline.SetTransformDomainOrigin(domain.tolist())
        spline.SetTransformDomainDirection(direction.ravel().tolist())
        spline.SetTransformDomainPhysicalDimensions((mesh * self.knots_mm).tolist())
        spline.SetTransformDomainMeshSize([int(n) for n in mesh])
        moved = np.tensordot(direction, coefficients, axes=1)
        spline.SetParameters(moved.astype(np.float64).ravel().tolist())
        return spline


def _cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic B-spline at distances in units of the knots."""
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far)
