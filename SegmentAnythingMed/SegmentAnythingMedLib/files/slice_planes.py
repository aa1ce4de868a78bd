"""Slices as planes in the patient: where contours and frames live, and how masks move between such stacks.

A volume that was interpolated from its series (gantry tilt, uneven spacing, gaps) has other slices than the stored
ones. Contours and frames refer to stored slices, so that masks go through them. Everything is done with two step
vectors and one origin per slice: no plane is special.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..space.volume import Volume

PARALLEL_COSINE = 0.9995
"""Planes count as parallel up to 1.8 degrees; DICOM writers round direction cosines and contour points."""

_EDGE = 1e-6


@dataclass(frozen=True, eq=False)
class SlicePlanes:
    """Parallel slices, sorted along their normal.

    Attributes:
        origins: float64 [N, 3], LPS in mm of each slice's first pixel's centre.
        step_i: float64 [3], LPS step in mm from one column to the next.
        step_j: float64 [3], LPS step in mm from one row to the next.
        shape: (rows, columns).
        thickness: distance in mm that a slice stands for where it has no neighbour.
    """

    origins: np.ndarray
    step_i: np.ndarray
    step_j: np.ndarray
    shape: tuple[int, int]
    thickness: float

    @property
    def normal(self) -> np.ndarray:
        """Unit normal, float64 [3], on the side to which the slices go; I x J for a single slice."""
        normal = np.cross(self.step_i, self.step_j)
        normal /= np.linalg.norm(normal)
        return -normal if (self.origins[-1] - self.origins[0]) @ normal < 0 else normal

    @property
    def offsets(self) -> np.ndarray:
        """Place of every slice along the normal in mm, float64 [N], increasing."""
        return self.origins @ self.normal

    @property
    def reach(self) -> np.ndarray:
        """Half the distance in mm to the nearer neighbour, per slice, float64 [N]."""
        gaps = np.diff(self.offsets)
        if len(gaps) == 0:
            return np.array([self.thickness / 2])
        return np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf)) / 2

    def to_pixels(self, points: np.ndarray, slices: np.ndarray | int) -> np.ndarray:
        """LPS in mm [M, 3] -> continuous (I, J) [M, 2] within slice ``slices`` (one, or one per point)."""
        return (points - self.origins[slices]) @ np.linalg.pinv(np.stack([self.step_i, self.step_j], axis=1)).T

    def to_lps(self, pixels: np.ndarray, index: int) -> np.ndarray:
        """Continuous (I, J) [M, 2] of slice ``index`` -> LPS in mm [M, 3]."""
        return self.origins[index] + pixels @ np.stack([self.step_i, self.step_j])

    def parallel(self, normal: np.ndarray) -> bool:
        """True if a plane with this unit normal (either direction) is parallel to the slices."""
        return bool(abs(float(self.normal @ normal)) >= PARALLEL_COSINE)


def grid_planes(volume: Volume) -> SlicePlanes:
    """The K slices of a volume's own grid, whatever it was read from."""
    matrix = volume.affine.matrix
    origins = matrix[:3, 3] + np.arange(volume.shape[0])[:, None] * matrix[:3, 2]
    planes = SlicePlanes(origins, matrix[:3, 0], matrix[:3, 1], volume.shape[1:], 1.0)
    return replace(planes, thickness=abs(float(matrix[:3, 2] @ planes.normal)))


def stored_planes(volume: Volume) -> SlicePlanes:
    """The slices of the series that a volume was read from; the volume's own where it comes from no series."""
    source = volume.source
    if source is None:
        return grid_planes(volume)
    row, column = source.orientation
    return SlicePlanes(
        source.positions,
        row * source.pixel_spacing[1],
        column * source.pixel_spacing[0],
        source.slice_shape,
        float(volume.spacing[2]),
    )


def to_stored(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """A mask of a volume on the stored slices of its series.

    Args:
        mask: bool [K, J, I] of ``volume``.
        volume: what was segmented.

    Returns:
        bool [N, rows, columns]. The mask itself where the volume's slices are the stored ones; else cut at the zero of
        the signed distance in mm, interpolated linearly, so that edges do not jump by half a voxel.

    Raises:
        InputError: ``volume.shape``.
    """
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != volume.shape:
        raise InputError("volume.shape", f"Expected a mask of shape {volume.shape}, got {mask.shape}.")
    if volume.source is None or not volume.source.resampled:
        return mask
    planes = stored_planes(volume)
    out = np.zeros((len(planes.origins), *planes.shape), dtype=bool)
    if not mask.any():
        return out
    low, high = _box(mask)
    signed = _signed_distance(mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], volume)
    start = volume.affine.lps_to_ijk(planes.origins)
    linear = volume.affine.inverse[:3, :3]
    step_i, step_j = linear @ planes.step_i, linear @ planes.step_j
    rows, columns = np.arange(planes.shape[0])[:, None], np.arange(planes.shape[1])[None, :]
    for n in range(len(out)):
        ijk = [start[n, a] + step_j[a] * rows + step_i[a] * columns for a in range(3)]
        places = [ijk[2 - a] - low[a] for a in range(3)]
        out[n] = ndimage.map_coordinates(signed, places, order=1, mode="constant", cval=-1.0) > 0
    return out


def _box(mask: np.ndarray) -> tuple[list[int], list[int]]:
    """Bounding box of a mask with two voxels of room: (first, one past the last) along K, J, I."""
    low, high = [], []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low.append(max(int(used[0]) - 2, 0))
        high.append(min(int(used[-1]) + 3, mask.shape[axis]))
    return low, high


def _signed_distance(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """Distance in mm to the mask's edge, positive inside; a pixel's edge lies halfway between centres."""
    spacing = tuple(float(s) for s in volume.spacing[::-1])
    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded, spacing)
    outside = ndimage.distance_transform_edt(~padded, spacing)
    return (inside - outside)[1:-1, 1:-1, 1:-1]


def to_volume(stored: np.ndarray, volume: Volume) -> np.ndarray:
    """A mask or labels on the stored slices of a series -> the grid of the volume read from it, nearest pixel.

    Args:
        stored: [N, rows, columns], boolean, integer or real.
        volume: the volume.

    Returns:
        Same type, [K, J, I]; 0 outside the stored slices.
    """
    if volume.source is None or not volume.source.resampled:
        return stored
    planes = stored_planes(volume)
    gaps = np.diff(planes.offsets)
    reach = float(gaps.max()) / 2 if len(gaps) else planes.thickness / 2
    return transfer(stored, planes, grid_planes(volume), reach)


def transfer(values: np.ndarray, source: SlicePlanes, target: SlicePlanes, reach: float) -> np.ndarray:
    """Values of one stack of slices at the pixels of another, nearest slice and nearest pixel.

    Args:
        values: [N, rows, columns] of ``source``.
        source: where they lie; need not be parallel, evenly spaced or aligned to ``target``.
        target: where they are wanted.
        reach: farthest distance in mm from a source slice at which it still counts.

    Returns:
        Same type as ``values``, [M, rows, columns] of ``target``; 0 beyond the source.
    """
    out = np.zeros((len(target.origins), *target.shape), dtype=values.dtype)
    offsets, normal = source.offsets, source.normal
    rows, columns = np.arange(target.shape[0])[:, None], np.arange(target.shape[1])[None, :]
    back = np.linalg.pinv(np.stack([source.step_i, source.step_j], axis=1))
    corners = np.array([0.0, (target.step_j @ normal) * (target.shape[0] - 1)])[:, None]
    corners = corners + np.array([0.0, (target.step_i @ normal) * (target.shape[1] - 1)])
    for m, origin in enumerate(target.origins):
        if (
            origin @ normal + corners.max() < offsets[0] - reach
            or origin @ normal + corners.min() > offsets[-1] + reach
        ):
            continue
        along = (origin @ normal) + (target.step_j @ normal) * rows + (target.step_i @ normal) * columns
        nearest = _nearest(offsets, along)
        inside = np.abs(offsets[nearest] - along) <= reach + _EDGE
        if not inside.any():
            continue
        row, column = np.nonzero(inside)
        points = origin + row[:, None] * target.step_j + column[:, None] * target.step_i
        which = nearest[inside]
        pixels = np.floor((points - source.origins[which]) @ back.T + 0.5 + _EDGE).astype(np.int64)
        held = ((pixels >= 0) & (pixels < source.shape[::-1])).all(axis=1)
        out[m, row[held], column[held]] = values[which[held], pixels[held, 1], pixels[held, 0]]
    return out


def _nearest(sorted_values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of the nearest of sorted values for each wanted one; of two at equal distance, the lower."""
    upper = np.clip(np.searchsorted(sorted_values, wanted - _EDGE), 0, len(sorted_values) - 1)
    lower = np.maximum(upper - 1, 0)
    return np.where(
        np.abs(sorted_values[lower] - wanted) <= np.abs(sorted_values[upper] - wanted) + _EDGE, lower, upper
    )
