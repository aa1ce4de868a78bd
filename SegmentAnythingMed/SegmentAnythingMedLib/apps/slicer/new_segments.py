"""A new segmentation in the place of a volume, a new segment in it."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _


def new_segmentation(volume: Any) -> Any:
    """A segmentation with the place and geometry of a volume, beside it in the subject hierarchy."""
    name = slicer.mrmlScene.GenerateUniqueName(_("Segmentation"))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    # Before the reference geometry, which is kept in the segmentation's own frame.
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item, place = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volume)
    if item and place:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(place))
    return node


def add_segment(node: Any) -> str:
    """Add an empty segment with a free name and colour; returns its ID."""
    return node.GetSegmentation().AddEmptySegment()
