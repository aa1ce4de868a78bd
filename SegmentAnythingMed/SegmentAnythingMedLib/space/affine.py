"""Where voxels lie in the patient: a full affine, LPS, millimetres.

LPS is the system of DICOM and ITK (x to the patient's left, y to the back, z to the head). RAS, the system of NIfTI and
of Slicer's scene, has the first two axes turned; the two functions at the end are the only place where that is done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError

_RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])
_SMALLEST_SPACING_MM = 1e-6


@dataclass(frozen=True, eq=False)
class Affine:
    """Map from voxel indices to patient space.

    Attributes:
        matrix: float64 [4, 4], read-only; (I, J, K, 1) of a voxel centre -> (L, P, S, 1) in mm. Column n of the upper
            left 3x3 part is the step in mm from one voxel to the next along I, J, K. Shear is allowed.

    Raises:
        InputError: ``volume.geometry`` when the matrix is not finite, not invertible or has no last row (0, 0, 0, 1).
    """

    matrix: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise InputError("volume.geometry", f"Expected a 4x4 affine, got an array of shape {matrix.shape}.")
        if not np.isfinite(matrix).all():
            raise InputError(
                "volume.geometry",
                "Expected finite numbers for origin, spacing and direction, got NaN or infinity; repair the header.",
            )
        if not np.array_equal(matrix[3], [0, 0, 0, 1]):
            raise InputError("volume.geometry", f"Expected the last row of an affine to be 0 0 0 1, got {matrix[3]}.")
        steps = np.linalg.norm(matrix[:3, :3], axis=0)
        if steps.min() < _SMALLEST_SPACING_MM:
            raise InputError(
                "volume.geometry", f"Expected voxel spacings above zero, got {_text(steps)} mm; repair the header."
            )
        if abs(np.linalg.det(matrix[:3, :3] / steps)) < 1e-4:
            raise InputError(
                "volume.geometry", "Expected three independent voxel axes, got parallel ones; repair the directions."
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_parts(
        cls, spacing: ArrayLike, origin: ArrayLike = (0.0, 0.0, 0.0), direction: ArrayLike | None = None
    ) -> Affine:
        """Affine from what image headers store.

        Args:
            spacing: 3 distances in mm along I, J, K, all above zero.
            origin: LPS position of the centre of voxel (0, 0, 0) in mm.
            direction: 3x3, column n is the unit vector of index axis n (I, J, K) in LPS; default: identity.

        Raises:
            InputError: ``volume.geometry`` as for the class, and for a spacing that is zero, negative or not finite.
        """
        steps = np.asarray(spacing, dtype=np.float64)
        if steps.shape != (3,) or not np.isfinite(steps).all() or (steps < _SMALLEST_SPACING_MM).any():
            raise InputError(
                "volume.geometry",
                f"Expected three voxel spacings above zero, got {_text(np.atleast_1d(steps))} mm; repair the header.",
            )
        matrix = np.eye(4)
        axes = np.eye(3) if direction is None else np.asarray(direction, dtype=np.float64).reshape(3, 3)
        matrix[:3, :3] = axes * steps
        matrix[:3, 3] = np.asarray(origin, dtype=np.float64)
        return cls(matrix)

    @property
    def spacing(self) -> np.ndarray:
        """Distance of neighbouring voxel centres along I, J, K in mm, float64 [3]."""
        return np.linalg.norm(self.matrix[:3, :3], axis=0)

    @property
    def direction(self) -> np.ndarray:
        """Unit vectors of I, J, K in LPS as columns, float64 [3, 3]."""
        return self.matrix[:3, :3] / self.spacing

    @property
    def origin(self) -> np.ndarray:
        """LPS position of the centre of voxel (0, 0, 0) in mm, float64 [3]."""
        return self.matrix[:3, 3].copy()

    @property
    def inverse(self) -> np.ndarray:
        """Float64 [4, 4]; (L, P, S, 1) in mm -> (I, J, K, 1), continuous."""
        return np.linalg.inv(self.matrix)

    def ijk_to_lps(self, points: ArrayLike) -> np.ndarray:
        """Voxel indices [N, 3] in the order I, J, K (continuous) -> LPS in mm, float64 [N, 3]."""
        return _map(self.matrix, points)

    def lps_to_ijk(self, points: ArrayLike) -> np.ndarray:
        """LPS in mm [N, 3] -> continuous voxel indices in the order I, J, K, float64 [N, 3]."""
        return _map(self.inverse, points)

    def is_orthogonal(self, tol: float = 1e-3) -> bool:
        """True if the voxel axes are perpendicular: no cosine between two exceeds ``tol`` (1e-3 is 0.06 degrees)."""
        axes = self.direction
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= tol)

    def displacement(self, other: Affine, shape: tuple[int, int, int]) -> float:
        """Largest distance in mm between voxels of equal index in two grids of ``shape`` (K, J, I).

        The difference of two affine maps is affine, so that its maximum lies at a corner of the grid.
        """
        last = [n - 1 for n in shape[::-1]]
        corners = np.array(np.meshgrid(*[(0, n) for n in last], indexing="ij")).reshape(3, -1).T
        return float(np.linalg.norm(self.ijk_to_lps(corners) - other.ijk_to_lps(corners), axis=1).max())

    def almost_equal(self, other: Affine, tol_mm: float = 1e-3) -> bool:
        """True if origin and voxel steps differ by at most ``tol_mm``; see :meth:`displacement` for whole grids."""
        return bool(np.abs(self.matrix - other.matrix).max() <= tol_mm)

    def shifted(self, ijk: ArrayLike) -> Affine:
        """Affine of a grid whose voxel (0, 0, 0) is this grid's voxel ``ijk`` (for crops and pads)."""
        matrix = self.matrix.copy()
        matrix[:3, 3] = self.ijk_to_lps(np.asarray(ijk, dtype=np.float64).reshape(1, 3))[0]
        return Affine(matrix)


def _map(matrix: np.ndarray, points: ArrayLike) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _text(numbers: np.ndarray) -> str:
    return " x ".join(f"{n:g}" for n in numbers)


def lps_to_ras(points: ArrayLike) -> np.ndarray:
    """LPS [..., 3] in mm -> RAS [..., 3] in mm, float64."""
    return np.asarray(points, dtype=np.float64) * _RAS_FROM_LPS


def ras_to_lps(points: ArrayLike) -> np.ndarray:
    """RAS [..., 3] in mm -> LPS [..., 3] in mm, float64."""
    return np.asarray(points, dtype=np.float64) * _RAS_FROM_LPS


def matrix_ras_to_lps(matrix: ArrayLike) -> np.ndarray:
    """Affine [4, 4] that ends in RAS -> the same that ends in LPS (and the other way round), float64."""
    return np.diag([*_RAS_FROM_LPS, 1.0]) @ np.asarray(matrix, dtype=np.float64)
