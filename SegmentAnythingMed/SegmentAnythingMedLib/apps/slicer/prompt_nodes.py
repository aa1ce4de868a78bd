"""Prompts as nodes of the scene: which Markups belong to which segment, made, found, shown, removed.

A node is ours when it carries the attribute ``SegmentAnythingMed.Role``; all others are the user's and never touched. A
prompt belongs to a segment when the segment's id and its key agree: the key is a random word in a tag of the segment,
so that a new segment that happens to get the id of a deleted one does not inherit its prompts. The undo of the Segment
Editor can take the tag away; then the id alone decides, unless the prompt was seen without its segment before.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import slicer
import vtk
from slicer.i18n import tr as _

from ...errors import InputError, PromptError
from . import folders

POSITIVE, NEGATIVE, BOX, STOP = "positive", "negative", "box", "stop"
SCRIBBLE, SCRIBBLE_NEGATIVE = "scribble", "scribble_negative"
ROLES = (POSITIVE, NEGATIVE, BOX, SCRIBBLE, SCRIBBLE_NEGATIVE, STOP)
ROLE_ATTRIBUTE = "SegmentAnythingMed.Role"
SEGMENT_ATTRIBUTE = "SegmentAnythingMed.Segment"
KEY_ATTRIBUTE = "SegmentAnythingMed.PromptKey"
SEGMENTATION_REFERENCE = "SegmentAnythingMed.Segmentation"
VOLUME_REFERENCE = "SegmentAnythingMed.Volume"
ORPHAN_ATTRIBUTE = "SegmentAnythingMed.Orphan"
KEY_TAG = KEY_ATTRIBUTE

_CLASSES = {
    POSITIVE: "vtkMRMLMarkupsFiducialNode",
    NEGATIVE: "vtkMRMLMarkupsFiducialNode",
    STOP: "vtkMRMLMarkupsFiducialNode",
    BOX: "vtkMRMLMarkupsROINode",
    SCRIBBLE: "vtkMRMLMarkupsCurveNode",
    SCRIBBLE_NEGATIVE: "vtkMRMLMarkupsCurveNode",
}
_COLOURS = {
    POSITIVE: (0.15, 0.8, 0.2),
    NEGATIVE: (0.9, 0.15, 0.15),
    STOP: (0.55, 0.55, 0.55),
    BOX: (1.0, 0.85, 0.1),
    SCRIBBLE: (0.15, 0.8, 0.2),
    SCRIBBLE_NEGATIVE: (0.9, 0.15, 0.15),
}
_LABELS = {POSITIVE: "+", NEGATIVE: "-", STOP: "stop", BOX: "box", SCRIBBLE: "+", SCRIBBLE_NEGATIVE: "-"}
_LISTS = (POSITIVE, NEGATIVE, STOP)


def segment_of(segmentation: slicer.vtkMRMLSegmentationNode | None, segment_id: str) -> slicer.vtkSegment:
    """The segment with an id.

    Raises:
        InputError: ``segment.no_segmentation`` for no segmentation or one that is no longer in a scene,
            ``segment.missing`` for a segment that is not in it.
    """
    if segmentation is None or segmentation.GetScene() is None or segmentation.GetSegmentation() is None:
        raise InputError(
            "segment.no_segmentation",
            _("Expected a segmentation of the scene; it is not there any more. Choose another."),
        )
    segment = segmentation.GetSegmentation().GetSegment(segment_id or "")
    if segment is None:
        raise InputError(
            "segment.missing",
            _("Expected a segment of {name}; the one asked for is not there any more. Choose another.").format(
                name=segmentation.GetName()
            ),
        )
    return segment


def prompt_node(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume: slicer.vtkMRMLVolumeNode | None,
    role: str,
    create: bool = True,
) -> slicer.vtkMRMLMarkupsNode | None:
    """The node into which the next prompt of a role is placed.

    Points and stop marks of a segment share one list for each role. Every box and every scribble is a node of its own:
    an unused one is given again, else a new one is made.

    Args:
        segmentation: in a scene.
        segment_id: of the segment that is prompted.
        volume: that is segmented; the prompt remembers it.
        role: one of ``ROLES``.
        create: False looks only.

    Raises:
        InputError: ``segment.no_segmentation``, ``segment.missing``.
        PromptError: ``prompt.role``.
    """
    _check_role(role)
    segment = segment_of(segmentation, segment_id)
    nodes = prompt_nodes(segmentation, segment_id)
    for node in nodes:
        if role_of(node) == role and (role in _LISTS or not node.GetNumberOfControlPoints()):
            if volume is not None:
                node.SetNodeReferenceID(VOLUME_REFERENCE, volume.GetID())
            return node
    if not create:
        return None
    return _create(segmentation, segment_id, segment, volume, role, nodes)


def prompt_nodes(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> list[slicer.vtkMRMLMarkupsNode]:
    """All prompt nodes of a segment in the order in which they were made; of a segment that is gone, none."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id or "")
    if segment is None:
        return []
    key = tag_of(segment, KEY_TAG)
    return [node for node in all_prompt_nodes(segmentation.GetScene()) if _belongs(node, segmentation, segment_id, key)]


def all_prompt_nodes(scene: slicer.vtkMRMLScene | None) -> list[slicer.vtkMRMLMarkupsNode]:
    """Every prompt node of a scene, of all segments and of none."""
    if scene is None:
        return []
    nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsNode", scene)
    return [node for node in nodes if role_of(node) is not None]


def orphans(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLMarkupsNode]:
    """Prompt nodes whose segment is not there (any more): kept, never used for another one, for the user to remove.

    When the segment comes back by an undo, they are its prompts again.
    """
    lost = []
    for node in all_prompt_nodes(scene):
        owner = node.GetNodeReference(SEGMENTATION_REFERENCE)
        if owner is None or node not in prompt_nodes(owner, node.GetAttribute(SEGMENT_ATTRIBUTE)):
            node.SetAttribute(ORPHAN_ATTRIBUTE, "1")
            lost.append(node)
        elif node.GetAttribute(ORPHAN_ATTRIBUTE):
            node.RemoveAttribute(ORPHAN_ATTRIBUTE)
    return lost


def role_of(node: slicer.vtkMRMLNode) -> str | None:
    """Role of a prompt node, or None: then the node is not ours."""
    role = node.GetAttribute(ROLE_ATTRIBUTE)
    return role if role in ROLES else None


def remove_prompts(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> int:
    """Remove the prompts of a segment and its folder; returns how many nodes there were."""
    return remove_nodes(segmentation.GetScene(), prompt_nodes(segmentation, segment_id))


def remove_nodes(scene: slicer.vtkMRMLScene, nodes: Iterable[slicer.vtkMRMLMarkupsNode]) -> int:
    """Remove some prompt nodes, and folders of ours that become empty; the user's own nodes are left alone.

    Returns:
        How many nodes were removed.
    """
    ours = [node for node in nodes if role_of(node) is not None]
    for node in ours:
        folders.remove(node)
    if ours:
        folders.remove_empty(scene)
    return len(ours)


def show_only(segmentation: slicer.vtkMRMLSegmentationNode | None, segment_id: str) -> None:
    """Show the prompts of one segment; those of all others are kept, hidden and locked.

    Args:
        segmentation: of the segment; None hides all prompts of the scene that is current.
        segment_id: the segment; one that does not exist hides all.
    """
    scene = slicer.mrmlScene if segmentation is None else segmentation.GetScene()
    shown = [] if segmentation is None else prompt_nodes(segmentation, segment_id)
    for node in all_prompt_nodes(scene):
        visible = node in shown
        node.SetLocked(not visible)
        node.CreateDefaultDisplayNodes()
        node.SetDisplayVisibility(visible)


def tag_of(segment: slicer.vtkSegment, name: str) -> str:
    """A tag of a segment as text; empty when it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def _belongs(node: slicer.vtkMRMLNode, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, key: str) -> bool:
    if node.GetNodeReference(SEGMENTATION_REFERENCE) is not segmentation:
        return False
    if node.GetAttribute(SEGMENT_ATTRIBUTE) != segment_id:
        return False
    if key:
        return node.GetAttribute(KEY_ATTRIBUTE) == key
    return not node.GetAttribute(ORPHAN_ATTRIBUTE)


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise PromptError(
            "prompt.role", _("Expected one of {known}; got {role!r}.").format(known=", ".join(ROLES), role=role)
        )


def _create(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    segment: slicer.vtkSegment,
    volume: slicer.vtkMRMLVolumeNode | None,
    role: str,
    siblings: list,
) -> slicer.vtkMRMLMarkupsNode:
    scene = segmentation.GetScene()
    key = tag_of(segment, KEY_TAG)
    if not key:
        key = siblings[0].GetAttribute(KEY_ATTRIBUTE) if siblings else uuid.uuid4().hex[:12]
        segment.SetTag(KEY_TAG, key)
    name = scene.GenerateUniqueName(f"{segment.GetName()} {_LABELS[role]}")
    node = scene.AddNewNodeByClass(_CLASSES[role], name)
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    node.SetAttribute(SEGMENT_ATTRIBUTE, segment_id)
    node.SetAttribute(KEY_ATTRIBUTE, key)
    node.SetNodeReferenceID(SEGMENTATION_REFERENCE, segmentation.GetID())
    if volume is not None:
        node.SetNodeReferenceID(VOLUME_REFERENCE, volume.GetID())
    _style(node, role)
    folders.put_away(node, segmentation, segment.GetName(), siblings)
    return node


def _style(node: slicer.vtkMRMLMarkupsNode, role: str) -> None:
    """Green is inside, red is outside, yellow is the box; small, and without words over the image."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSelectedColor(*_COLOURS[role])
    display.SetColor(*_COLOURS[role])
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(role == STOP)
    display.SetGlyphScale(2.0)
    display.SetTextScale(2.5)
    if role in _LISTS:
        node.SetControlPointLabelFormat(_LABELS[role])
    if role == BOX:
        display.SetFillVisibility(False)
