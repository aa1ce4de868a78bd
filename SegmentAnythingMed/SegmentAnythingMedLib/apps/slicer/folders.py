"""Where prompts are kept in the subject hierarchy: a folder of their own beside the segmentation, one per segment.

In the application an item appears by itself for every node, in a bare scene it does not; both are handled. Folders are
found again by the prompts that lie in them, so that they survive saving, renaming and loading into another scene.
"""

from __future__ import annotations

from collections.abc import Iterable

import slicer

TOP_NAME = "Segment Anything prompts"
_MARK = "SegmentAnythingMed.Folder"
_TOP, _SEGMENT = "prompts", "segment"


def put_away(
    node: slicer.vtkMRMLNode, segmentation: slicer.vtkMRMLSegmentationNode, name: str, siblings: Iterable
) -> int:
    """Put a prompt node into the folder of its segment; the folder is made when there is none.

    Args:
        node: the prompt.
        segmentation: that the prompt is for.
        name: of the segment; the folder is (re)named so.
        siblings: other prompt nodes of the same segment.

    Returns:
        The folder's item in the subject hierarchy.
    """
    hierarchy = _hierarchy(node.GetScene())
    folder = next((found for found in map(_folder_of, siblings) if found), 0)
    if not folder:
        folder = hierarchy.CreateFolderItem(_top(hierarchy, segmentation), name)
        hierarchy.SetItemAttribute(folder, _MARK, _SEGMENT)
        hierarchy.SetItemExpanded(folder, False)
    hierarchy.SetItemName(folder, name)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)
    return folder


def remove(node: slicer.vtkMRMLNode) -> None:
    """Remove a node and its item; the application would remove the item by itself, a bare scene does not."""
    scene = node.GetScene()
    hierarchy = _hierarchy(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, False)
    scene.RemoveNode(node)


def remove_empty(scene: slicer.vtkMRMLScene) -> None:
    """Remove folders of ours that hold nothing any more; folders of the user's stay."""
    hierarchy = _hierarchy(scene)
    for kind in (_SEGMENT, _TOP):
        for item in _items(hierarchy):
            if hierarchy.GetItemAttribute(item, _MARK) == kind and not hierarchy.GetNumberOfItemChildren(item):
                hierarchy.RemoveItem(item)


def _hierarchy(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def _items(hierarchy: slicer.vtkMRMLSubjectHierarchyNode) -> list[int]:
    found: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
    return found


def _folder_of(node: slicer.vtkMRMLNode) -> int:
    """Our folder that a prompt lies in, or 0: the user may have moved it elsewhere."""
    hierarchy = _hierarchy(node.GetScene())
    item = hierarchy.GetItemByDataNode(node)
    parent = hierarchy.GetItemParent(item) if item else 0
    return parent if parent and hierarchy.GetItemAttribute(parent, _MARK) == _SEGMENT else 0


def _top(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, segmentation: slicer.vtkMRMLSegmentationNode) -> int:
    """The folder for prompts beside the segmentation: under the same patient and study."""
    item = hierarchy.GetItemByDataNode(segmentation)
    parent = hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()
    children: list[int] = []
    hierarchy.GetItemChildren(parent, children, False)
    for child in children:
        if hierarchy.GetItemAttribute(child, _MARK) == _TOP:
            return child
    folder = hierarchy.CreateFolderItem(parent, TOP_NAME)
    hierarchy.SetItemAttribute(folder, _MARK, _TOP)
    return folder
