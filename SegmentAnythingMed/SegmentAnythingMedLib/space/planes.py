"""A volume as a stack of slices along any of its three voxel axes.

The axis is a voxel axis (``k``, ``j`` or ``i``), not an anatomical one: nothing branches on axial, coronal or sagittal.

    axis   slice n is             rows  columns
    k      voxels[n]              J     I
    j      voxels[:, n]           K     I
    i      voxels[:, :, n]        K     J
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from .volume import Volume

AXES = ("k", "j", "i")
_PLANE = {"k": (2, 1, 0), "j": (1, 2, 0), "i": (0, 2, 1)}
"""axis -> positions in (I, J, K) of (slice, row, column)."""

_TIE = 1.01
"""Spacings within 1 % count as equal when the stack axis is chosen."""


class SliceStack:
    """Slices of a volume along one voxel axis, as views.

    Attributes:
        volume: the volume.
        axis: ``k``, ``j`` or ``i``.
        count: number of slices.
        shape: (rows, columns) of a slice.
        pixel_spacing: (between rows, between columns) in mm.
        slice_spacing: distance in mm from one slice to the next, measured across the slices.

    Raises:
        InputError: ``option.axis`` for anything but ``k``, ``j``, ``i`` and ``auto``.
    """

    def __init__(self, volume: Volume, axis: str = "auto") -> None:
        if axis == "auto":
            axis = choose_axis(volume)
        if axis not in _PLANE:
            raise InputError("option.axis", f"Expected the axis k, j, i or auto, got {axis!r}.")
        self.volume, self.axis = volume, axis
        self._order = _PLANE[axis]
        size, spacing = volume.shape[::-1], volume.spacing
        slice_axis, row_axis, col_axis = self._order
        self.count = int(size[slice_axis])
        self.shape = (int(size[row_axis]), int(size[col_axis]))
        self.pixel_spacing = (float(spacing[row_axis]), float(spacing[col_axis]))
        self.slice_spacing = self._distance_across()

    def _distance_across(self) -> float:
        """Slice distance along the normal: on a sheared grid less than the length of the step."""
        steps = self.volume.affine.matrix[:3, :3]
        slice_axis, row_axis, col_axis = self._order
        normal = np.cross(steps[:, row_axis], steps[:, col_axis])
        return float(abs(normal @ steps[:, slice_axis]) / np.linalg.norm(normal))

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """Slice ``index`` as a read-only view, [rows, columns] or [rows, columns, C].

        Raises:
            InputError: ``option.slice`` when there is no such slice.
        """
        return self._cut(self.volume.voxels, index)

    def mask_slice(self, mask: np.ndarray, index: int) -> np.ndarray:
        """Slice ``index`` of a [K, J, I] array on the volume's grid as a view; writing to it writes to ``mask``.

        Raises:
            InputError: ``volume.shape`` when ``mask`` does not have the volume's shape; ``option.slice``.
        """
        if mask.shape[:3] != self.volume.shape:
            raise InputError("volume.shape", f"Expected a mask of shape {self.volume.shape}, got {mask.shape}.")
        return self._cut(mask, index)

    def _cut(self, array: np.ndarray, index: int) -> np.ndarray:
        if not 0 <= index < self.count:
            raise InputError(
                "option.slice", f"Expected a slice 0 to {self.count - 1} on axis {self.axis}, got {index}."
            )
        return array[(slice(None),) * AXES.index(self.axis) + (int(index),)]

    def to_plane(self, ijk: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Voxel indices -> slices and plane coordinates.

        Args:
            ijk: [N, 3] continuous I, J, K. Not checked against the volume.

        Returns:
            Slice numbers int64 [N] (nearest slice) and (x, y) = (column, row) float64 [N, 2].
        """
        points = np.asarray(ijk, dtype=np.float64).reshape(-1, 3)
        slice_axis, row_axis, col_axis = self._order
        return np.floor(points[:, slice_axis] + 0.5).astype(np.int64), points[:, [col_axis, row_axis]]

    def to_ijk(self, index: ArrayLike, xy: ArrayLike) -> np.ndarray:
        """Slice numbers (one, or [N]; may be continuous) and (x, y) [N, 2] -> I, J, K, float64 [N, 3]."""
        xy = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
        slice_axis, row_axis, col_axis = self._order
        out = np.empty((len(xy), 3), dtype=np.float64)
        out[:, slice_axis] = index
        out[:, col_axis], out[:, row_axis] = xy[:, 0], xy[:, 1]
        return out


def choose_axis(volume: Volume) -> str:
    """The axis along which a volume was most likely acquired.

    An axis with a single slice wins (a 2-D image, a localizer); else the axis with the largest spacing; ``k`` when
    spacings are equal within 1 %.
    """
    sizes = dict(zip(AXES, volume.shape, strict=True))
    for axis in AXES:
        if sizes[axis] == 1:
            return axis
    spacing = dict(zip(AXES, volume.spacing[::-1], strict=True))
    best = "k"
    for axis in ("j", "i"):
        if spacing[axis] > spacing[best] * _TIE:
            best = axis
    return best
