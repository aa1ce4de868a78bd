"""The user's verdict on what the model wrote: another candidate, accepted, rejected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from slicer.i18n import tr as _

from ...propagation import records
from ...propagation.records import SliceRecord
from .acceptance import accept as accept_provenance
from .prompt_nodes import tag_of
from .provenance import ACCEPTED, TAG, read_provenance, write_provenance
from .segment_state import Candidates

if TYPE_CHECKING:
    from .controller import Controller
    from .requests import CandidatesResult
    from .scribe import Scribe
    from .targets import Target


def candidates(scribe: Scribe, target: Target) -> Candidates | None:
    """What is offered for the slice that was prompted last, and which of it is in the segment."""
    offered = scribe.state(target).offered
    if offered is None:
        return None
    there = scribe.read(target, offered.index)
    same = [n for n, mask in enumerate(offered.masks) if np.array_equal(mask, there)]
    return Candidates(offered.index, offered.predicted_iou, same[0] if same else -1)


def choose(controller: Controller, target: Target, offered: CandidatesResult, number: int) -> tuple[str, ...]:
    """Put a candidate into the segment; returns notes for the user."""
    scribe, state = controller.scribe, controller.scribe.state(target)
    mask, index = offered.masks[number], offered.index
    written = scribe.write(target, {index: mask}, overwrite_painted=controller.overwrite_painted)
    if index in written.slices_protected:
        return written.notes
    state.chosen[index] = (offered.mark, mask)
    state.records[index] = SliceRecord(
        index, records.SEED, area=int(np.count_nonzero(mask)), predicted_iou=offered.predicted_iou[number],
        note=f"candidate {number + 1} chosen by the user",
    )  # fmt: skip
    scribe.keep_answered(target)
    return written.notes


def accept(scribe: Scribe, target: Target, reviewer: str) -> None:
    """Reviewed and accepted: what is there now is what a reject goes back to."""
    accept_provenance(target.segmentation, target.segment_id, reviewer)
    scribe.before(target).clear()


def reject(scribe: Scribe, target: Target) -> str:
    """Go back to what was there before the first mask since the last accept; one undo step. Returns words.

    What the user painted stays. After a reload only the slices whose content still is what was written are emptied:
    what had been there before is not known any more.
    """
    if scribe.before(target):
        return _put_back(scribe, target)
    known = read_provenance(target.segmentation, target.segment_id)
    ours = scribe.ours(target)
    if known.status == ACCEPTED or not ours:
        return _("There is nothing to reject: the model has written nothing since the last accept.")
    empty = np.zeros(scribe.slice_shape(target), dtype=bool)
    written = scribe.write(target, dict.fromkeys(ours, empty))
    known = read_provenance(target.segmentation, target.segment_id)
    write_provenance(target.segmentation, target.segment_id, replace(known, records=(), ends=None, status=""))
    _clear(scribe, target)
    return _words(len(written.slices_written), written.slices_protected)


def _put_back(scribe: Scribe, target: Target) -> str:
    tag_before, remembered = scribe.before(target).tag, scribe.before(target).slices()
    done, left, first = 0, set(), True
    for axis in dict.fromkeys(entry[0] for entry in remembered):
        masks = {index: mask for one, index, mask in remembered if one == axis}
        written = scribe.write(replace(target, axis=axis), masks, join=not first)
        done, first = done + len(written.slices_written), first and not written.voxels_changed
        left |= set(written.slices_protected)
    if tag_before:
        target.segment.SetTag(TAG, tag_before)
    elif tag_of(target.segment, TAG):
        target.segment.RemoveTag(TAG)
    _clear(scribe, target)
    return _words(done, tuple(sorted(left)))


def _clear(scribe: Scribe, target: Target) -> None:
    """The prompts stay, and stay answered: a rejected mask must not come back by itself."""
    state = scribe.state(target)
    state.records.clear()
    state.chosen.clear()
    state.offered = None
    scribe.before(target).clear()
    scribe.keep_answered(target)


def _words(done: int, left: tuple[int, ...]) -> str:
    said = _("Rejected: {count} slices are as they were before.").format(count=done)
    if not left:
        return said
    return said + " " + _("{count} slices that you painted were left as they are.").format(count=len(left))
