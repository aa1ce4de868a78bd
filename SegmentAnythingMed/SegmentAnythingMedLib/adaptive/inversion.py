"""The way back, from the prior to the follow-up, for transforms that have no formula for it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike
from scipy import ndimage

from ..space.affine import Affine
from ..space.volume import Volume
from .pulling import displacements
from .transforms import VisitTransform, affine_transform, chain

_ENOUGH_MM = 0.05


def inverse_points(transform: VisitTransform, points: ArrayLike, iterations: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Points of the follow-up that a transform maps to given points of the prior.

    Exact for a linear transform; otherwise by fixed-point iteration on the deformation, which converges while
    neighbouring points keep their order (no folding).

    Args:
        transform: follow-up -> prior.
        points: LPS points of the prior [N, 3] in mm.
        iterations: at most this many.

    Returns:
        LPS points of the follow-up, float64 [N, 3]; and by how many mm each is mapped beside its goal, float64 [N].
    """
    goal = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    back = np.linalg.inv(transform.linear_part)
    found = goal @ back[:3, :3].T + back[:3, 3]
    if transform.is_linear:
        return found, np.zeros(len(found))
    best, error = found, np.full(len(goal), np.inf)
    for _ in range(iterations):
        miss = goal - transform.map_points(found)
        distance = np.linalg.norm(miss, axis=1)
        better = distance < error
        best, error = np.where(better[:, None], found, best), np.minimum(distance, error)
        if not len(error) or error.max() <= _ENOUGH_MM:
            break
        found = found + miss @ back[:3, :3].T
    return best, error


def inverted(transform: VisitTransform, over: Volume, spacing_mm: float = 4.0) -> tuple[VisitTransform, float]:
    """Prior -> follow-up, as a displacement field over the box of a volume of the prior.

    Args:
        transform: follow-up -> prior.
        over: the volume of the prior; outside of its box only the linear part is inverted.
        spacing_mm: of the field.

    Returns:
        The transform, and the largest distance in mm by which going there and back misses, over the field's points.
    """
    if transform.is_linear:
        return transform.inverse(), 0.0
    grid, shape = _box_grid(_corners(over), spacing_mm, 0.0)
    goal = grid.ijk_to_lps(_all_indices(shape))
    linear = transform.linear_part
    back = np.linalg.inv(linear)
    there = goal @ back[:3, :3].T + back[:3, 3]
    # the deformation, sampled where the answers must lie: the iteration never calls the transform again
    field_grid, field_shape = _box_grid(there, spacing_mm, 40.0)
    field = displacements(transform, field_grid, field_shape)
    found, error = _iterate(field, field_grid, goal, there, back)
    offsets = found @ linear[:3, :3].T + linear[:3, 3] - goal
    image = sitk.GetImageFromArray(offsets.reshape(*shape, 3), isVector=True)
    image.SetSpacing(grid.spacing.tolist())
    image.SetOrigin(grid.origin.tolist())
    path = chain(sitk.DisplacementFieldTransform(image), affine_transform(back))
    return VisitTransform(path, f"{transform.source}, inverted"), float(error.max())


def _iterate(
    field: np.ndarray, grid: Affine, goal: np.ndarray, start: np.ndarray, back: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    found, best, error = start, start, np.full(len(goal), np.inf)
    for _ in range(30):
        at = grid.lps_to_ijk(found)[:, ::-1].T
        moved = [ndimage.map_coordinates(field[..., n], at, order=1, mode="nearest") for n in range(3)]
        miss = goal - found - np.stack(moved, axis=1)
        distance = np.linalg.norm(miss, axis=1)
        better = distance < error
        best, error = np.where(better[:, None], found, best), np.minimum(distance, error)
        if error.max() <= _ENOUGH_MM:
            break
        found = found + miss @ back[:3, :3].T
    return best, error


def _corners(volume: Volume) -> np.ndarray:
    ends = [(-0.5, n - 0.5) for n in volume.shape[::-1]]
    return volume.affine.ijk_to_lps(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, -1).T)


def _box_grid(points: np.ndarray, spacing_mm: float, margin_mm: float) -> tuple[Affine, tuple[int, int, int]]:
    """A grid along L, P, S around points; its affine and shape (K, J, I)."""
    low, high = points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm
    count = np.maximum(np.ceil((high - low) / spacing_mm).astype(int) + 1, 2)
    return Affine.from_parts((spacing_mm,) * 3, low), tuple(int(n) for n in count[::-1])


def _all_indices(shape: tuple[int, int, int]) -> np.ndarray:
    return np.indices(shape, dtype=np.float64).reshape(3, -1).T[:, ::-1]
