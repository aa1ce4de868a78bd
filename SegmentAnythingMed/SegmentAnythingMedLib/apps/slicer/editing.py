"""Changes to the cells of a segment, through the Segment Editor's own logic.

The logic keeps shared layers in order and gives a segment a layer of its own where it overlaps another one. It is given
a parameter node of our own, outside of the scene: neither the editor's settings nor its selection are touched.
Which segments lose voxels to another one is decided in ``masking``, and each loses them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from .geometry import matrix_of
from .labelmaps import Box, layer_of

_DERIVED_ATTRIBUTE = "SegmentAnythingMed.Representations"
_SEPARATOR = ";"


class CellEditor:
    """Sets and clears cells of the segments of one segmentation.

    Args:
        segmentation: in a scene, stored as a binary labelmap.
    """

    def __init__(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        self._segmentation = segmentation
        self._settings = slicer.vtkMRMLSegmentEditorNode()
        self._settings.SetOverwriteMode(self._settings.OverwriteNone)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(segmentation.GetScene())
        self._logic.SetSegmentEditorNode(self._settings)
        self._logic.SetSegmentationNode(segmentation)

    def add(self, segment_id: str, to_ras: np.ndarray, box: Box, cells: np.ndarray) -> None:
        """Give cells to a segment; other segments keep theirs.

        Args:
            segment_id: of the segment.
            to_ras: grid of its layer.
            box: cells that ``cells`` covers.
            cells: bool [K, J, I]; True cells become the segment's.
        """
        if cells.any():
            modifier = image_of(*trimmed(box, cells), to_ras)
            mode = self._logic.ModificationModeAdd
            self._logic.ModifySegmentByLabelmap(self._segmentation, segment_id, modifier, mode, False, False)

    def remove(self, segment_id: str, box: Box, cells: np.ndarray) -> None:
        """Take cells from a segment; other segments stay as they are.

        Done in place: the logic would give a segment that shares its layer a layer of its own first.
        """
        layer = layer_of(self._segmentation, segment_id)
        if layer is not None and cells.any() and layer.clear(*trimmed(box, cells)):
            image = self._segmentation.GetBinaryLabelmapInternalRepresentation(segment_id)
            image.GetPointData().GetScalars().Modified()
            image.Modified()


def image_of(box: Box, cells: np.ndarray | None, to_ras: np.ndarray) -> slicer.vtkOrientedImageData:
    """Cells [K, J, I] of a box as an oriented image (0 and 1); None gives zeros."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(n for low, high in box for n in (low, high - 1)))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.SetImageToWorldMatrix(matrix_of(to_ras))
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = 0 if cells is None else cells.ravel()
    return image


def trimmed(box: Box, cells: np.ndarray) -> tuple[Box, np.ndarray]:
    """The smallest box around the True cells (there is one), and those cells."""
    ranges, cut = [], []
    for place, (low, _) in enumerate(box):
        axis = 2 - place
        filled = np.flatnonzero(cells.any(axis=tuple(n for n in range(3) if n != axis)))
        first, last = int(filled[0]), int(filled[-1]) + 1
        ranges.append((low + first, low + last))
        cut.append(slice(first, last))
    return tuple(ranges), np.ascontiguousarray(cells[tuple(cut[::-1])])


def set_derived_aside(segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Remove surfaces and other forms made from the labelmap, and remember them: each change would make them anew.

    A closed surface of a large segment takes seconds. :func:`restore_derived` makes them once, when writing is over.
    """
    content = segmentation.GetSegmentation()
    source = content.GetSourceRepresentationName()
    names: list[str] = []
    content.GetContainedRepresentationNames(names)
    derived = sorted({*derived_aside(segmentation), *(name for name in names if name != source)})
    if not derived or not content.GetNumberOfSegments():
        return
    segmentation.SetAttribute(_DERIVED_ATTRIBUTE, _SEPARATOR.join(derived))
    for name in names:
        if name != source:
            content.RemoveRepresentation(name)


def derived_aside(segmentation: slicer.vtkMRMLSegmentationNode) -> tuple[str, ...]:
    """Names of the representations that wait for :func:`restore_derived`."""
    names = segmentation.GetAttribute(_DERIVED_ATTRIBUTE)
    return tuple(names.split(_SEPARATOR)) if names else ()


def restore_derived(segmentation: slicer.vtkMRMLSegmentationNode) -> tuple[str, ...]:
    """Make the representations again that were set aside; returns their names."""
    names = derived_aside(segmentation)
    for name in names:
        segmentation.GetSegmentation().CreateRepresentation(name)
    if names:
        segmentation.RemoveAttribute(_DERIVED_ATTRIBUTE)
    return names


@contextmanager
def derived_kept(segmentation: slicer.vtkMRMLSegmentationNode) -> Iterator[None]:
    """Several writes in a block; surfaces that were there before are right again after it."""
    set_derived_aside(segmentation)
    try:
        yield
    finally:
        restore_derived(segmentation)
