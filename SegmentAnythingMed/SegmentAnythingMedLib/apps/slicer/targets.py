"""Where a result is meant to go, and whether that place is still the same when it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from .volumes import volume_revision


@dataclass(frozen=True, eq=False)
class Target:
    """A segment and the image it is drawn on, as they were when a job was asked for.

    Attributes:
        generation: of the scene; counts closed scenes.
        volume: node that was segmented.
        segmentation: node that the result goes to.
        segment_id: of the segment; it is found by this, whatever its name and place in the list.
        revision: of the volume's voxels and geometry.
        fingerprint: of the prompts.
        axis: ``k``, ``j`` or ``i``.
        segment: the segment itself: ids are given again after a deletion.
    """

    generation: int
    volume: Any
    segmentation: Any
    segment_id: str
    revision: str
    fingerprint: str
    axis: str
    segment: Any

    @property
    def key(self) -> str:
        """Names the segment in requests and among the states."""
        return f"{self.segmentation.GetID()}/{self.segment_id}"

    def fault(self, generation: int) -> str:
        """Why a result must not be written, as the end of a sentence; empty when nothing has changed.

        The prompts are not looked at: see ``Controller``.
        """
        if generation != self.generation:
            return _("the scene was closed")
        if not is_in_scene(self.segmentation):
            return _("the segmentation was removed")
        segmentation = self.segmentation.GetSegmentation()
        if segmentation is None or segmentation.GetSegment(self.segment_id) is not self.segment:
            return _("the segment was removed")
        if not is_in_scene(self.volume):
            return _("the image was removed")
        if volume_revision(self.volume) != self.revision:
            return _("the image has changed (another frame of the sequence, other voxels or another geometry)")
        return ""


def is_in_scene(node: Any) -> bool:
    """True if exactly this node is in the scene: after a close, other nodes get the same ids."""
    return node is not None and node.GetID() is not None and slicer.mrmlScene.GetNodeByID(node.GetID()) is node
