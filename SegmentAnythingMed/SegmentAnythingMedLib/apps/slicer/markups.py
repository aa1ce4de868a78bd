"""Prompts of a segment, read from its Markups nodes in voxel indices of a volume.

Positions go from the world through the volume's transforms and its full affine. What cannot be used is left out, and
that is said in words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...errors import PromptError
from ...prompts.json_form import prompts_to_json
from ...prompts.volume_prompts import (
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    StopMark,
    VolumePrompts,
)
from ...space.planes import SliceStack
from ...space.volume import Volume
from .boxes import box_of_roi
from .geometry import map_points, world_to_ijk
from .prompt_nodes import (
    BOX,
    POSITIVE,
    ROLES,
    SCRIBBLE,
    SCRIBBLE_NEGATIVE,
    STOP,
    VOLUME_REFERENCE,
    orphans,
    prompt_node,
    prompt_nodes,
    remove_prompts,
    role_of,
    segment_of,
    show_only,
)
from .reading import content_slices, read_slice
from .volumes import volume_from_node

__all__ = [
    "ROLES",
    "Collected",
    "collect",
    "orphans",
    "prompt_node",
    "prompt_nodes",
    "remove_prompts",
    "seed_masks",
    "show_only",
]


@dataclass(frozen=True, eq=False)
class Collected:
    """Prompts of a segment for one volume and axis.

    Attributes:
        prompts: in voxel indices (I, J, K): positive points, negative points, boxes, scribbles, stop marks.
        notes: what was left out or taken differently, in words.
        slices: slices with a prompt (stop marks not counted), ascending.
        fingerprint: equal for equal prompts, 32 hex digits.
    """

    prompts: list[Prompt]
    notes: tuple[str, ...]
    slices: tuple[int, ...]
    fingerprint: str

    def __bool__(self) -> bool:
        return bool(self.prompts)


def collect(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume: slicer.vtkMRMLScalarVolumeNode,
    axis: str,
) -> Collected:
    """The prompts of a segment as the library wants them.

    Points that are not placed yet (the one that follows the mouse) or undefined are left out. Points outside the
    volume, empty and oblique boxes are left out with a note. Prompts that were made on another volume are used where
    they are in space, with a note.

    Args:
        segmentation: in a scene.
        segment_id: of the segment.
        volume: that is segmented, under any linear transforms.
        axis: ``k``, ``j`` or ``i``, along which slices are segmented.

    Raises:
        InputError: ``segment.*``, ``volume.*``, ``option.axis``.
    """
    segment_of(segmentation, segment_id)
    reader = _Reader(volume, axis)
    nodes = prompt_nodes(segmentation, segment_id)
    for role in ROLES:
        for node in nodes:
            if role_of(node) == role:
                reader.add(node, role)
                reader.remark_volume(node)
    return Collected(reader.prompts, tuple(reader.notes), tuple(sorted(reader.slices)), reader.fingerprint())


def seed_masks(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume: slicer.vtkMRMLScalarVolumeNode,
    axis: str,
    slices: Iterable[int] | None = None,
    keep: bool = True,
) -> list[MaskPrompt]:
    """A segment as seeds: one mask prompt for each of its slices.

    Args:
        segmentation: in a scene.
        segment_id: the segment that is used; it is not changed.
        volume: on whose grid the masks are wanted.
        axis: ``k``, ``j`` or ``i``.
        slices: those that are wanted; None takes every slice with content. Empty ones are left out.
        keep: True: the masks are final. False: they are hints for the model.

    Raises:
        InputError: ``segment.*``, ``volume.*``, ``option.axis``, ``option.slice``.
        PromptError: ``prompt.mask_empty`` when there is nothing in any of the slices.
    """
    wanted = content_slices(segmentation, segment_id, volume, axis) if slices is None else sorted(set(slices))
    masks = {index: read_slice(segmentation, segment_id, volume, axis, index) for index in wanted}
    found = [MaskPrompt(mask, index, axis, keep) for index, mask in masks.items() if mask.any()]
    if not found:
        name = segment_of(segmentation, segment_id).GetName()
        raise PromptError(
            "prompt.mask_empty",
            _("Expected a segment with content as the seed; {name} is empty there.").format(name=name),
        )
    return found


class _Reader:
    """Turns nodes into prompts, one volume and axis."""

    def __init__(self, volume_node: slicer.vtkMRMLScalarVolumeNode, axis: str) -> None:
        self.node = volume_node
        self.volume: Volume = volume_from_node(volume_node)
        self.stack = SliceStack(self.volume, axis)
        self.to_ijk = world_to_ijk(volume_node)
        self.prompts: list[Prompt] = []
        self.notes: list[str] = []
        self.slices: set[int] = set()

    def add(self, node: slicer.vtkMRMLMarkupsNode, role: str) -> None:
        """Read a node of a role."""
        if role == BOX:
            self._add_box(node)
        elif role in (SCRIBBLE, SCRIBBLE_NEGATIVE):
            self._add_scribble(node, 1 if role == SCRIBBLE else 0)
        else:
            self._add_points(node, role)

    def remark_volume(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        """Tell when a prompt was made on another volume."""
        made_on = node.GetNodeReference(VOLUME_REFERENCE)
        if made_on is not None and made_on is not self.node and len(_defined_points(node)):
            self.notes.append(
                _("{name} was placed on {volume}; its place in space is used here.").format(
                    name=node.GetName(), volume=made_on.GetName()
                )
            )

    def fingerprint(self) -> str:
        """Hash of axis, shape and prompts, 32 hex digits."""
        form = prompts_to_json(VolumePrompts({"object": self.prompts}))
        text = json.dumps([self.stack.axis, self.volume.shape, form], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _add_points(self, node: slicer.vtkMRMLMarkupsNode, role: str) -> None:
        for index, ijk in self._inside(_defined_points(node), node.GetName()):
            if role == STOP:
                self.prompts.append(StopMark(index))
            else:
                self.prompts.append(PointPrompt(tuple(ijk), 1 if role == POSITIVE else 0))
                self.slices.add(index)

    def _add_box(self, node: slicer.vtkMRMLMarkupsROINode) -> None:
        if not _is_drawn(node):
            return
        try:
            box, note = box_of_roi(node, self.to_ijk, self.stack)
        except PromptError as error:
            self.notes.append(_("{name} is left out: {error}").format(name=node.GetName(), error=error))
            return
        self.prompts.append(box)
        self.slices.add(int(self.stack.to_plane([box.corner0])[0][0]))
        if note:
            self.notes.append(f"{node.GetName()}: {note}")

    def _add_scribble(self, node: slicer.vtkMRMLMarkupsCurveNode, label: int) -> None:
        placed = _defined_points(node)
        line = slicer.util.arrayFromMarkupsCurvePoints(node, world=True) if len(placed) > 1 else placed
        ijk, inside = self._place(line, node.GetName())
        # a line that leaves the volume comes back as another line
        breaks = np.flatnonzero(np.diff(inside.astype(np.int8))) + 1
        for part in np.split(np.arange(len(ijk)), breaks):
            if len(part) and inside[part[0]]:
                self.prompts.append(ScribblePrompt(ijk[part], label))
                self.slices.update(self._crossed(ijk[part]))

    def _crossed(self, line: np.ndarray) -> Iterator[int]:
        """Slices that a line crosses."""
        indices = self._indices(line)
        for start, end in zip(indices, indices[1:] if len(indices) > 1 else indices, strict=False):
            yield from range(min(start, end), max(start, end) + 1)

    def _indices(self, ijk: np.ndarray) -> list[int]:
        return np.clip(self.stack.to_plane(ijk)[0], 0, self.stack.count - 1).tolist()

    def _inside(self, world: np.ndarray, name: str) -> list[tuple[int, np.ndarray]]:
        """(slice, voxel index) of the positions that lie in the volume."""
        ijk, inside = self._place(world, name)
        return list(zip(self._indices(ijk[inside]), ijk[inside], strict=True))

    def _place(self, world: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Voxel indices [N, 3], and which of them lie in the volume; a note counts the others by slice."""
        ijk = map_points(self.to_ijk, world).round(6)
        inside = self.volume.contains(ijk)
        if not inside.all():
            where = ", ".join(f"{n}" for n in np.unique(self.stack.to_plane(ijk[~inside])[0]))
            self.notes.append(
                _(
                    "{name}: {n} of {count} points lie outside of the volume (slice {where} of axis {axis}) and are "
                    "left out."
                ).format(name=name, n=int((~inside).sum()), count=len(ijk), where=where, axis=self.stack.axis)
            )
        return ijk, inside


def _is_drawn(roi: slicer.vtkMRMLMarkupsROINode) -> bool:
    """False while the user is still drawing a ROI: its second corner follows the mouse, or it has no size yet."""
    states = [roi.GetNthControlPointPositionStatus(n) for n in range(roi.GetNumberOfControlPoints())]
    return bool(states) and all(state == roi.PositionDefined for state in states) and any(roi.GetSize())


def _defined_points(node: slicer.vtkMRMLMarkupsNode) -> np.ndarray:
    """World positions [N, 3] of the control points that the user has placed; a preview under the mouse is not one."""
    position, found = [0.0, 0.0, 0.0], []
    for n in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(n) == node.PositionDefined:
            node.GetNthControlPointPositionWorld(n, position)
            found.append(tuple(position))
    return np.array(found, dtype=np.float64).reshape(-1, 3)
