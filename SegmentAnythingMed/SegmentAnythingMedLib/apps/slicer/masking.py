"""What the Segment Editor allows: where may be edited, at which intensities, and who may be overwritten.

The settings are those of the editor's parameter node for this segmentation. Without one everything is editable and no
other segment loses a voxel. A segment whose status is Completed never loses one, whatever the overwrite mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from ...space.affine import Affine
from ...space.volume import Volume, map_mask
from .editing import image_of
from .geometry import dimensions
from .labelmaps import Box, layer_of, map_between

_EDITOR_TAG = "SegmentEditor"
_EVERYWHERE = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere


@dataclass(frozen=True, eq=False)
class EditRules:
    """The Segment Editor's masking for one segmentation.

    Attributes:
        mask_mode: ``vtkMRMLSegmentationNode.EditAllowed...``.
        mask_segment_id: for the mode that allows one segment only.
        intensity: (lowest, highest) editable intensity, both included, or None.
        source: the volume whose intensities count, or None.
        overwrite: ``vtkMRMLSegmentEditorNode.Overwrite...``; None is the same as ``OverwriteNone``.
    """

    mask_mode: int = _EVERYWHERE
    mask_segment_id: str = ""
    intensity: tuple[float, float] | None = None
    source: slicer.vtkMRMLScalarVolumeNode | None = None
    overwrite: int | None = None

    @classmethod
    def of(
        cls, segmentation: slicer.vtkMRMLSegmentationNode, editor: slicer.vtkMRMLSegmentEditorNode | None = None
    ) -> EditRules:
        """The rules that are in force for a segmentation.

        Args:
            segmentation: that will be edited.
            editor: parameter node of a Segment Editor; None takes that of the Segment Editor module, if it exists. One
                that works on another segmentation says nothing about this one.
        """
        node = editor or segmentation.GetScene().GetSingletonNode(_EDITOR_TAG, "vtkMRMLSegmentEditorNode")
        if node is None or node.GetSegmentationNode() is not segmentation:
            return cls()
        masked = bool(node.GetSourceVolumeIntensityMask())
        return cls(
            node.GetMaskMode(),
            node.GetMaskSegmentID() or "",
            tuple(node.GetSourceVolumeIntensityMaskRange()) if masked else None,
            node.GetSourceVolumeNode() if masked else None,
            node.GetOverwriteMode(),
        )

    def allowed(
        self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, to_ras: np.ndarray, box: Box
    ) -> np.ndarray | None:
        """Cells of a box that may be changed, bool [K, J, I]; None when all may."""
        allowed = None
        if self.mask_mode != _EVERYWHERE:
            forbidden = slicer.vtkOrientedImageData()
            reference = image_of(box, None, to_ras)
            segmentation.GenerateEditMask(forbidden, self.mask_mode, reference, segment_id, self.mask_segment_id)
            shape = tuple(high - low for low, high in box[::-1])
            allowed = vtk_to_numpy(forbidden.GetPointData().GetScalars()).reshape(shape) == 0
        if self.intensity is not None and self.source is not None and self.source.GetImageData() is not None:
            editable = self._in_range(segmentation, to_ras, box)
            allowed = editable if allowed is None else allowed & editable
        return allowed

    def overwritten(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> list[str]:
        """Ids of the segments that may lose voxels to another one, without those that are completed."""
        return [other for other in self._in_reach(segmentation, segment_id) if not completed(segmentation, other)]

    def protected(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> list[str]:
        """Ids of completed segments that the overwrite mode would take voxels from."""
        return [other for other in self._in_reach(segmentation, segment_id) if completed(segmentation, other)]

    def _in_reach(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> list[str]:
        # not at file scope: the class comes with a module of Slicer that may be loaded after this file
        modes = slicer.vtkMRMLSegmentEditorNode
        if self.overwrite in (None, modes.OverwriteNone):
            return []
        ids = [other for other in segmentation.GetSegmentation().GetSegmentIDs() if other != segment_id]
        display = segmentation.GetDisplayNode()
        if self.overwrite == modes.OverwriteVisibleSegments and display is not None:
            ids = [other for other in ids if display.GetSegmentVisibility(other)]
        return ids

    def _in_range(self, segmentation: slicer.vtkMRMLSegmentationNode, to_ras: np.ndarray, box: Box) -> np.ndarray:
        size = dimensions(self.source)
        voxels = vtk_to_numpy(self.source.GetImageData().GetPointData().GetScalars()).reshape(size[::-1])
        low, high = self.intensity
        editable = (voxels >= low) & (voxels <= high)
        grid = map_between(self.source, segmentation, to_ras)
        shape = tuple(high - low for low, high in box[::-1])
        cells = Volume(np.broadcast_to(np.False_, shape), Affine(np.eye(4)).shifted([low for low, _ in box]))
        return map_mask(editable, Volume(editable, Affine(grid.to_cells)), cells)


def completed(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """True when the user has set the status of a segment to Completed."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    return segment is not None and logic.GetSegmentStatus(segment) == logic.Completed


def on_other_grids(segmentation: slicer.vtkMRMLSegmentationNode, ids: list[str], to_ras: np.ndarray) -> list[str]:
    """Those of some segments that have voxels on another grid than ``to_ras``; they are never overwritten."""
    layers = {other: layer_of(segmentation, other) for other in ids}
    return [n for n, layer in layers.items() if layer is not None and not _same_grid(layer.to_ras, to_ras)]


def _same_grid(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one, other, atol=1e-4)


def reads_from(segmentation: slicer.vtkMRMLSegmentationNode, ids: list[str], to_ras: np.ndarray, box: Box) -> dict:
    """Segments of ``ids`` that have cells in a box of a grid: id -> bool [K, J, I].

    Segments on another grid are left out; see :func:`on_other_grids`.
    """
    labels: dict[int, tuple[np.ndarray, set[int]]] = {}
    found = {}
    for other in ids:
        layer = layer_of(segmentation, other)
        if layer is None or not _same_grid(layer.to_ras, to_ras):
            continue
        key = layer.labels.__array_interface__["data"][0]
        if key not in labels:
            values = layer.values(box)
            labels[key] = values, set(np.unique(values).tolist())
        values, present = labels[key]
        if layer.value in present:
            found[other] = values == layer.value
    return found
