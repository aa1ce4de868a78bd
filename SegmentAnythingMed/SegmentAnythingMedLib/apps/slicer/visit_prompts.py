"""The prompts of a prior-visit proposal as nodes of the scene, and back: what a person moved, added or removed.

They are the draft segment's own prompts (:mod:`.prompt_nodes`), so every tool of the module works on them. While a
segment carries the tag ``SegmentAnythingMed.Proposed`` its prompts are not answered one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from ...prompts.types import SlicePrompts
from ...prompts.volume_prompts import BoxPrompt
from ...space.planes import SliceStack
from .boxes import place_box
from .collecting import prompt_marks
from .geometry import ijk_to_world, map_points
from .markups import collect
from .plans import resolved
from .prompt_nodes import BOX, NEGATIVE, POSITIVE, prompt_node, segment_of, tag_of

if TYPE_CHECKING:
    from .requests import Scan

PROPOSED_TAG = "SegmentAnythingMed.Proposed"


def is_proposed(segmentation: Any, segment_id: str) -> bool:
    """True while the prompts of a segment are a proposal to look at."""
    return bool(tag_of(segment_of(segmentation, segment_id), PROPOSED_TAG))


def propose(segmentation: Any, segment_id: str, volume: Any, scan: Scan, prompts: Mapping[int, SlicePrompts]) -> None:
    """Show prompts as Markups of a draft segment: points in two lists, a box per slice."""
    stack, to_world = SliceStack(scan.volume, scan.axis), ijk_to_world(volume)
    segment_of(segmentation, segment_id).SetTag(PROPOSED_TAG, "1")
    for index, given in sorted(prompts.items()):
        if given.box is not None:
            x0, y0, x1, y1 = given.box
            corners = stack.to_ijk(index, [(x0 + 0.5, y0 + 0.5), (x1 - 0.5, y1 - 0.5)])
            node = prompt_node(segmentation, segment_id, volume, BOX)
            with slicer.util.NodeModify(node):
                place_box(node, BoxPrompt(tuple(corners[0]), tuple(corners[1])), to_world, scan.axis)
        for role, label in ((POSITIVE, 1), (NEGATIVE, 0)):
            points = np.asarray(given.points).reshape(-1, 2)[np.asarray(given.labels) == label]
            if len(points):
                node = prompt_node(segmentation, segment_id, volume, role)
                for place in map_points(to_world, stack.to_ijk(index, points)):
                    node.AddControlPointWorld(vtk.vtkVector3d(*place))


def settle(segmentation: Any, segment_id: str) -> None:
    """The proposal was taken: from here on the prompts are answered like all others."""
    segment_of(segmentation, segment_id).RemoveTag(PROPOSED_TAG)


def marks(segmentation: Any, segment_id: str, volume: Any, scan: Scan) -> dict[int, str]:
    """Slice -> what its prompts are now, in a word."""
    return prompt_marks(collect(segmentation, segment_id, volume, scan.axis).prompts, scan)


def edited(
    segmentation: Any,
    segment_id: str,
    volume: Any,
    scan: Scan,
    before: Mapping[int, str],
    known: Mapping[int, SlicePrompts],
) -> dict[int, SlicePrompts]:
    """Slice -> prompts of the slices on which a person changed something.

    Args:
        segmentation, segment_id, volume, scan: of the draft.
        before: :func:`marks` when the proposal was shown.
        known: the proposal; a rough mask among its prompts is kept, it cannot be shown as Markups.

    Raises:
        PromptError: ``prompt.*`` when what is there cannot be used.
    """
    found = collect(segmentation, segment_id, volume, scan.axis).prompts
    now = prompt_marks(found, scan)
    if now == before:
        return {}
    seeds = resolved(found, SliceStack(scan.volume, scan.axis)).seeds
    changed = {index: seeds[index] for index in seeds if now.get(index) != before.get(index)}
    return {
        index: replace(given, mask=known[index].mask if index in known else given.mask)
        for index, given in changed.items()
    }
