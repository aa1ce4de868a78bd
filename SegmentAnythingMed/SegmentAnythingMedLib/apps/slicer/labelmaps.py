"""The voxels of a segment as they lie in the scene: labels in a layer that several segments may share.

Every layer has its own grid and covers only a part of it (its extent). Indices of that grid are called cells here, to
keep them apart from the voxels of the volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ...errors import InputError
from ...space.affine import Affine
from ...space.volume import GRID_TOLERANCE, Volume, map_mask
from .geometry import array_of, dimensions, local_to_world, own_ijk_to_ras
from .prompt_nodes import segment_of

BINARY_LABELMAP = "Binary labelmap"
_REFERENCE_GEOMETRY = "Reference image geometry"
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open ranges along I, J, K."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A labelmap of a segmentation.

    Attributes:
        labels: [K, J, I], a view of the labelmap itself.
        low: cell (I, J, K) of ``labels[0, 0, 0]``.
        value: label of the segment that was asked for.
        to_ras: cells (I, J, K) -> RAS of the segmentation node, float64 [4, 4].
    """

    labels: np.ndarray
    low: tuple[int, int, int]
    value: int
    to_ras: np.ndarray

    def read(self, box: Box) -> np.ndarray:
        """Bool [K, J, I]: which cells of a box are the segment's; cells beyond the layer are not."""
        out = np.zeros(tuple(high - low for low, high in box[::-1]), dtype=bool)
        inner, place = self._overlap(box)
        if inner is not None:
            out[place] = self.labels[inner] == self.value
        return out

    def clear(self, box: Box, cells: np.ndarray) -> bool:
        """Take cells (bool [K, J, I] of a box) from the segment, in the labelmap itself; False when there were none."""
        inner, place = self._overlap(box)
        if inner is None:
            return False
        labels = self.labels[inner]
        mine = cells[place] & (labels == self.value)
        labels[mine] = 0
        return bool(mine.any())

    def values(self, box: Box) -> np.ndarray:
        """Labels of a box, 0 beyond the layer."""
        out = np.zeros(tuple(high - low for low, high in box[::-1]), dtype=self.labels.dtype)
        inner, place = self._overlap(box)
        if inner is not None:
            out[place] = self.labels[inner]
        return out

    @property
    def empty(self) -> bool:
        """True when the segment has no cell in it."""
        return not any((plane == self.value).any() for plane in self.labels)

    @property
    def box(self) -> Box:
        """All cells that the layer covers."""
        return tuple((low, low + n) for low, n in zip(self.low, self.labels.shape[::-1], strict=True))

    def _overlap(self, box: Box) -> tuple[tuple | None, tuple]:
        inner, place = [], []
        for (low, high), start, size in zip(box, self.low, self.labels.shape[::-1], strict=True):
            first, last = max(low, start), min(high, start + size)
            if first >= last:
                return None, ()
            inner.append(slice(first - start, last - start))
            place.append(slice(first - low, last - low))
        return tuple(inner[::-1]), tuple(place[::-1])


def layer_of(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Layer | None:
    """The layer that holds a segment, or None while the segment has no voxels anywhere.

    Raises:
        InputError: ``segment.no_segmentation``, ``segment.missing``, ``segment.representation``.
    """
    segment = segment_of(segmentation, segment_id)
    check_representation(segmentation)
    image = segment.GetRepresentation(BINARY_LABELMAP)
    if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None:
        return None
    extent = image.GetExtent()
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return Layer(labels, (extent[0], extent[2], extent[4]), int(segment.GetLabelValue()), array_of(matrix))


def check_representation(segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Refuse a segmentation that is not stored as voxels.

    Raises:
        InputError: ``segment.representation``.
    """
    content = segmentation.GetSegmentation()
    source = content.GetSourceRepresentationName()
    if content.GetNumberOfSegments() and source != BINARY_LABELMAP:
        raise InputError(
            "segment.representation",
            _(
                "Expected a segmentation that is stored as a binary labelmap; {name} is stored as {kind}. Make "
                "Binary labelmap its source in the Segmentations module first."
            ).format(name=segmentation.GetName(), kind=source.lower()),
        )


def grid_of(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> np.ndarray | None:
    """Cells of a segment -> RAS of the segmentation: of its layer, else of the reference geometry; None for neither."""
    layer = layer_of(segmentation, segment_id)
    return reference_grid(segmentation) if layer is None else layer.to_ras


def reference_grid(segmentation: slicer.vtkMRMLSegmentationNode) -> np.ndarray | None:
    """Cells of the reference geometry -> RAS of the segmentation, or None when it has none."""
    text = segmentation.GetSegmentation().GetConversionParameter(_REFERENCE_GEOMETRY)
    image = slicer.vtkOrientedImageData()
    if not text or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, False):
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return array_of(matrix)


@dataclass(frozen=True, eq=False)
class GridMap:
    """Where the voxels of a volume lie among the cells of a segment.

    Attributes:
        shape: (K, J, I) of the volume.
        to_cells: voxel (I, J, K) -> continuous cell, float64 [4, 4].
        to_ras: cells -> RAS of the segmentation, float64 [4, 4].
        offset: cell of voxel (0, 0, 0) when voxels and cells coincide, else None.
    """

    shape: tuple[int, int, int]
    to_cells: np.ndarray
    to_ras: np.ndarray
    offset: tuple[int, int, int] | None

    def cells(self, box: Box) -> Box:
        """Cells of a box of voxels, where both coincide."""
        return tuple((low + n, high + n) for (low, high), n in zip(box, self.offset, strict=True))


def map_between(
    volume: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, cells_to_ras: np.ndarray | None
) -> GridMap:
    """How the grid of a volume lies in one of a segmentation, through the transforms of both.

    Args:
        volume: under linear transforms.
        segmentation: under linear transforms.
        cells_to_ras: of a segment (:func:`grid_of`); None means the volume's own grid.

    Raises:
        InputError: ``volume.transform``, ``volume.empty``.
    """
    shape = dimensions(volume)[::-1]
    voxels_to_ras = np.linalg.inv(local_to_world(segmentation)) @ local_to_world(volume) @ own_ijk_to_ras(volume)
    return grid_map(shape, voxels_to_ras, voxels_to_ras if cells_to_ras is None else cells_to_ras)


def grid_map(shape: tuple[int, int, int], voxels_to_ras: np.ndarray, cells_to_ras: np.ndarray) -> GridMap:
    """How a grid of voxels lies in one of cells, both in RAS of the segmentation."""
    to_cells = np.linalg.inv(cells_to_ras) @ voxels_to_ras
    shift = np.floor(to_cells[:3, 3] + 0.5)
    corners = np.array([[i, j, k] for i in (0, shape[2]) for j in (0, shape[1]) for k in (0, shape[0])], dtype=float)
    moved = corners @ to_cells[:3, :3].T + to_cells[:3, 3] - corners - shift
    offset = tuple(int(n) for n in shift) if np.abs(moved).max() <= GRID_TOLERANCE else None
    return GridMap(shape, to_cells, cells_to_ras, offset)


def read_voxels(layer: Layer | None, grid: GridMap, box: Box) -> np.ndarray:
    """Bool [K, J, I] of a box of voxels of the volume: which are the segment's, nearest cell."""
    shape = tuple(high - low for low, high in box[::-1])
    if layer is None or 0 in shape:
        return np.zeros(shape, dtype=bool)
    if grid.offset is not None:
        return layer.read(grid.cells(box))
    cells = Affine(np.eye(4)).shifted(layer.low)
    voxels = Affine(grid.to_cells).shifted([low for low, _high in box])
    here = Volume(np.broadcast_to(np.False_, shape), voxels)
    return map_mask(layer.labels == layer.value, Volume(layer.labels, cells), here)
