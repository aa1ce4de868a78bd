"""A segment on the grid of a volume: whole, one slice, or just which slices have something."""

from __future__ import annotations

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...errors import InputError
from ...space.planes import AXES
from .labelmaps import Box, GridMap, Layer, grid_of, layer_of, map_between, read_voxels

_POSITION = {"i": 0, "j": 1, "k": 2}


def read_segment(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, volume: slicer.vtkMRMLVolumeNode
) -> np.ndarray:
    """A segment on the grid of a volume, through the transforms of both.

    Args:
        segmentation: with a binary labelmap, under linear transforms.
        segment_id: of the segment.
        volume: under linear transforms; its voxels are not read.

    Returns:
        Bool [K, J, I] of the volume. On another grid every voxel takes the nearest cell of the segment.

    Raises:
        InputError: ``segment.no_segmentation``, ``segment.missing``, ``segment.representation``, ``volume.transform``,
            ``volume.empty``.
    """
    layer, grid = _open(segmentation, segment_id, volume)
    return read_voxels(layer, grid, whole(grid.shape))


def read_slice(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume: slicer.vtkMRMLVolumeNode,
    axis: str,
    index: int,
) -> np.ndarray:
    """One slice of a segment on the grid of a volume; the rest is not touched.

    Args:
        segmentation: as :func:`read_segment`.
        segment_id: of the segment.
        volume: as :func:`read_segment`.
        axis: ``k``, ``j`` or ``i``.
        index: slice number.

    Returns:
        Bool [rows, columns], as ``SliceStack`` cuts them.

    Raises:
        InputError: as :func:`read_segment`, and ``option.axis``, ``option.slice``.
    """
    layer, grid = _open(segmentation, segment_id, volume)
    return read_plane(layer, grid, axis, index)


def content_slices(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, volume: slicer.vtkMRMLVolumeNode, axis: str
) -> list[int]:
    """Slices of a volume on which a segment has something, ascending."""
    layer, grid = _open(segmentation, segment_id, volume)
    check_axis(axis)
    if layer is None:
        return []
    found = read_voxels(layer, grid, whole(grid.shape))
    others = tuple(n for n in range(3) if n != AXES.index(axis))
    return [int(n) for n in np.flatnonzero(found.any(axis=others))]


def read_plane(layer: Layer | None, grid: GridMap, axis: str, index: int) -> np.ndarray:
    """One slice, bool [rows, columns], of a layer that was looked up before."""
    return read_voxels(layer, grid, slice_box(grid.shape, axis, index)).squeeze(AXES.index(check_axis(axis)))


def whole(shape: tuple[int, int, int]) -> Box:
    """All voxels of a volume of shape (K, J, I)."""
    return tuple((0, n) for n in shape[::-1])


def slice_box(shape: tuple[int, int, int], axis: str, index: int) -> Box:
    """The voxels of a slice.

    Raises:
        InputError: ``option.axis``, ``option.slice``.
    """
    box = list(whole(shape))
    place = _POSITION[check_axis(axis)]
    count = box[place][1]
    if not 0 <= index < count:
        raise InputError(
            "option.slice",
            _("Expected a slice 0 to {n} on axis {axis}; got {index}.").format(n=count - 1, axis=axis, index=index),
        )
    box[place] = (int(index), int(index) + 1)
    return tuple(box)


def check_axis(axis: str) -> str:
    """The axis itself.

    Raises:
        InputError: ``option.axis``.
    """
    if axis not in AXES:
        raise InputError("option.axis", _("Expected the axis k, j or i; got {axis!r}.").format(axis=axis))
    return axis


def _open(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, volume: slicer.vtkMRMLVolumeNode
) -> tuple[Layer | None, GridMap]:
    layer = layer_of(segmentation, segment_id)
    return layer, map_between(volume, segmentation, grid_of(segmentation, segment_id))
