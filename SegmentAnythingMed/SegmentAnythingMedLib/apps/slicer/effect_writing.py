"""Masks into the selected segment through the Segment Editor itself: its undo, its masking, its overwrite mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer

from .editing import image_of, trimmed
from .labelmaps import grid_of, layer_of, map_between
from .region import Region


def write_slices(scripted_effect: Any, segment_id: str, masks: Mapping[int, np.ndarray], axis: str) -> bool:
    """Set slices of a segment to masks, as one undo step of the editor.

    Args:
        scripted_effect: the effect's adaptor; its editor works on the segmentation and its source volume.
        segment_id: of the segment.
        masks: slice of the source volume -> bool [rows, columns].
        axis: ``k``, ``j`` or ``i`` of the source volume.

    Returns:
        False when nothing had to be changed; then there is no undo step.

    Raises:
        InputError: ``segment.*``, ``volume.*``.
    """
    editor = scripted_effect.parameterSetNode()
    segmentation, volume = editor.GetSegmentationNode(), editor.GetSourceVolumeNode()
    grid = map_between(volume, segmentation, grid_of(segmentation, segment_id))
    region = Region.of_change(masks, axis, grid, layer_of(segmentation, segment_id))
    if region is None:
        return False
    scripted_effect.saveStateForUndo()
    modes = slicer.qSlicerSegmentEditorAbstractEffect
    changes = (
        (region.now & ~region.want, modes.ModificationModeRemove),
        (region.want & ~region.now, modes.ModificationModeAdd),
    )
    for cells, mode in changes:
        if cells.any():
            box, inside = trimmed(region.box, cells)
            image = image_of(box, to_ras=grid.to_ras, cells=inside)
            scripted_effect.modifySegmentByLabelmap(segmentation, segment_id, image, mode)
    return True
