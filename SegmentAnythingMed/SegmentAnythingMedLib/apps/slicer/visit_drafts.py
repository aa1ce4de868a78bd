"""Drafts of a prior visit in the scene: new segments named after the prior ones, masks with their origin, the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ...propagation.records import STOPPED_ABSENT, SliceRecord
from ...space.planes import SliceStack
from .describing import describe
from .markups import collect
from .new_segments import new_segmentation
from .prompt_nodes import tag_of
from .provenance import TAG, read_provenance
from .visit_prompts import settle
from .volumes import volume_from_node

if TYPE_CHECKING:
    from ...adaptive.visit_results import Adaptation, StructureResult
    from .adapting import AdaptAnswer
    from .scribe import Scribe
    from .targets import Target

MODE = "prior visit"
TERMINOLOGY_TAGS = ("TerminologyEntry", "Segmentation.TerminologyEntry")
REJECTED = "rejected"


@dataclass(frozen=True)
class VisitRow:
    """A line of the table of structures.

    Attributes:
        segment_id: of the draft.
        name: of the structure.
        outcome: ``found``, ``possibly resolved``, ``not in image``, ``registration only``.
        colour: ``green``, ``amber``, ``red``.
        reasons: sentences.
        slices: to look at.
        changes: ``prior_ml``, ``follow_up_ml``, ``volume_percent`` and the same of ``diameter``, plain numbers.
        status: ``draft``, ``accepted``, ``rejected``, or empty before it is written.
    """

    segment_id: str
    name: str
    outcome: str
    colour: str
    reasons: tuple[str, ...]
    slices: tuple[int, ...]
    changes: Mapping[str, float | None] = field(default_factory=dict)
    status: str = ""


def new_drafts(prior: Any, segment_ids: Mapping[str, str], today: Any) -> tuple[Any, dict[str, str]]:
    """A new segmentation of today's image with an empty segment per structure; the prior's is not touched.

    Name, colour and terminology are those of the prior's segments.

    Args:
        prior: segmentation of the prior visit.
        segment_ids: structure -> its segment in ``prior``.
        today: today's volume node.

    Returns:
        The segmentation, and structure -> id of its draft.
    """
    node = new_segmentation(today)
    name = _("{prior}, today").format(prior=prior.GetName())
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    drafts = {}
    for structure, segment_id in segment_ids.items():
        before = prior.GetSegmentation().GetSegment(segment_id)
        made = node.GetSegmentation().AddEmptySegment("", structure, before.GetColor())
        for tag in TERMINOLOGY_TAGS:
            value = tag_of(before, tag)
            if value:
                node.GetSegmentation().GetSegment(made).SetTag(tag, value)
        drafts[structure] = made
    return node, drafts


def write_draft(scribe: Scribe, target: Target, answer: AdaptAnswer, name: str, join: bool) -> bool:
    """Write a structure's draft into its segment, and how it was made into the segment's tags.

    Args:
        scribe: of the controller.
        target: the draft's segment.
        answer: of the worker.
        name: of the structure.
        join: make one undo step with the write before.

    Returns:
        True when something was written.

    Raises:
        InputError: ``segment.*``, ``volume.*``.
    """
    adaptation, one = answer.adaptation, answer.adaptation.structures[name]
    stack = SliceStack(volume_from_node(target.volume), target.axis)
    cuts = {index: stack.mask_slice(one.mask, index) for index in range(stack.count)}
    before = set(scribe.ours(target))
    masks = {index: cut for index, cut in cuts.items() if cut.any() or index in before}
    changed = bool(masks) and bool(scribe.write(target, masks, join=join).voxels_changed)
    state = scribe.state(target)
    state.records = records_of(one)
    settle(target.segmentation, target.segment_id)
    prompts = collect(target.segmentation, target.segment_id, target.volume, target.axis).prompts
    notes = (*adaptation.remarks, *one.remarks, *one.flag.reasons)
    settings = {**adaptation.settings.to_json(), **_settings(adaptation, one)}
    describe(target, answer.facts, prompts, state.records.values(), settings, None, notes)
    return changed


def records_of(one: StructureResult) -> dict[int, SliceRecord]:
    """What was decided on each slice, for the list of slices."""
    from ...adaptive.visit_results import OUTSIDE

    return {
        decision.index: SliceRecord(
            decision.index,
            decision.source or STOPPED_ABSENT,
            predicted_iou=decision.predicted_iou,
            note=decision.words,
        )
        for decision in one.slices
        if decision.outcome != OUTSIDE
    }


def row_of(one: StructureResult, segment_id: str, status: str = "") -> VisitRow:
    """A result as a line of the table."""
    return VisitRow(
        segment_id, one.name, one.outcome, one.flag.colour, tuple(one.flag.reasons), tuple(map(int, one.flag.slices)),
        _changes(one), status,
    )  # fmt: skip


def stored_rows(segmentation: Any) -> list[VisitRow]:
    """Lines of the drafts that a segmentation holds, from the tags of its segments: also after a scene was opened."""
    rows = []
    content = None if segmentation is None else segmentation.GetSegmentation()
    for n in range(content.GetNumberOfSegments() if content is not None else 0):
        segment_id = content.GetNthSegmentID(n)
        if MODE not in tag_of(content.GetSegment(segment_id), TAG):
            continue  # not worth reading
        known = read_provenance(segmentation, segment_id)
        held = (known.settings or {}).get("visit")
        if isinstance(held, Mapping) and (known.settings or {}).get("mode") == MODE:
            rows.append(
                VisitRow(
                    segment_id,
                    content.GetSegment(segment_id).GetName(),
                    str(held.get("outcome", "")),
                    str(held.get("colour", "")),
                    tuple(map(str, held.get("reasons", ()))),
                    tuple(int(n) for n in held.get("slices", ())),
                    dict(held.get("changes", {})),
                    known.status,
                )
            )
    return rows


def _settings(adaptation: Adaptation, one: StructureResult) -> dict[str, Any]:
    transform = adaptation.transform.describe()
    return {
        "mode": MODE,
        "method": adaptation.method,
        "protocol": adaptation.protocol,
        "transform": {name: transform[name] for name in ("kind", "source", "sha256") if name in transform},
        "findings": [finding.words for finding in adaptation.findings],
        "visit": {
            "structure": one.name,
            "outcome": one.outcome,
            "colour": one.flag.colour,
            "reasons": list(one.flag.reasons),
            "slices": [int(index) for index in one.flag.slices],
            "changes": dict(_changes(one)),
        },
    }


def _changes(one: StructureResult) -> dict[str, float | None]:
    names = (
        "prior_ml", "follow_up_ml", "volume_percent", "prior_diameter_mm", "follow_up_diameter_mm",
        "diameter_percent", "centroid_shift_mm",
    )  # fmt: skip
    found = {name: getattr(one.changes, name) for name in names}
    return {name: None if value is None else round(float(value), 3) for name, value in found.items()}
