"""What happened on a slice, in words, and how much doubt it deserves. No Qt: the table, a report and tests use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from slicer.i18n import tr as _

from ...adaptive import visit_results
from ...propagation import records
from ...propagation.records import SliceRecord
from .saying import said

LITTLE_OVERLAP, SOME_OVERLAP = 0.70, 0.85
"""IoU with the neighbouring mask below which a slice is doubtful, deserves a look."""
UNSURE, LESS_SURE = 0.60, 0.75
"""The same for the model's own estimate of its IoU."""


class Doubt(IntEnum):
    """How much a slice deserves to be looked at."""

    SURE = 0
    LOOK = 1
    DOUBTFUL = 2


@dataclass(frozen=True)
class SliceRow:
    """A line of the slice table.

    Attributes:
        index: slice.
        words: what happened there.
        iou: overlap with the neighbour, 0..1, or None.
        predicted_iou: the model's own estimate, 0..1, or None.
        doubt: how much the slice deserves a look.
        accepted: the slice carries a mask.
    """

    index: int
    words: str
    iou: float | None
    predicted_iou: float | None
    doubt: Doubt
    accepted: bool


def reason_words(reason: str) -> str:
    """What happened on a slice, for a reason of :mod:`~SegmentAnythingMedLib.propagation.records`."""
    known = {
        records.SEED: _("From your prompts"),
        records.DRAWN: _("Your own mask"),
        records.FORWARD: _("Followed upwards"),
        records.BACKWARD: _("Followed downwards"),
        records.BLEND: _("Between two of your slices"),
        records.INTERPOLATED: _("Shape filled in, not seen by the model"),
        visit_results.SEGMENTED: _("Prior visit: found by the model"),
        visit_results.PROPAGATED: _("Prior visit: followed from the next slice"),
        visit_results.MATCHED: _("Prior visit: found by its look"),
        visit_results.WARPED: _("Prior visit: moved contour, not seen by the model"),
        visit_results.EDITED: _("Prior visit: from your prompts"),
    }
    return known[reason] if reason in known else _("End: {why}").format(why=end_words(reason))


def end_words(reason: str) -> str:
    """Why a walk ended; unknown reasons as they are."""
    known = {
        records.EDGE: _("last slice of the volume"),
        records.LIMIT: _("limit reached, the structure may go on"),
        records.CANCELLED: _("cancelled"),
        records.STOPPED_ABSENT: _("nothing found"),
        records.STOPPED_FULL: _("mask filled the whole slice"),
        records.STOPPED_IOU: _("too little overlap with the neighbour"),
        records.STOPPED_AREA: _("area changed too much"),
        records.STOPPED_PREDICTED_IOU: _("model unsure"),
        records.STOPPED_CONFIDENCE: _("model much less sure than before"),
        records.STOPPED_APPEARANCE: _("pixels no longer look like the object"),
        records.STOPPED_OBJECT_SCORE: _("model says the object is gone"),
        records.STOPPED_USER: _("your stop mark"),
    }
    return known.get(reason, reason)


def doubt_words(doubt: Doubt) -> str:
    """Name of a degree of doubt."""
    return {Doubt.SURE: _("fine"), Doubt.LOOK: _("look"), Doubt.DOUBTFUL: _("doubtful")}[doubt]


def doubt_of(record: SliceRecord) -> Doubt:
    """How much a slice deserves to be looked at.

    A refused answer is doubtful, because the object may go on behind it; a slice on which nothing was found, or which
    the user marked, is an end like any other.
    """
    if record.reason in (records.DRAWN, records.STOPPED_USER, records.STOPPED_ABSENT):
        return Doubt.SURE
    if not record.accepted or record.reason == records.INTERPOLATED:
        return Doubt.DOUBTFUL
    iou = 1.0 if record.iou is None or record.reason == records.SEED else record.iou
    predicted = 1.0 if record.predicted_iou is None else record.predicted_iou
    if iou < LITTLE_OVERLAP or predicted < UNSURE:
        return Doubt.DOUBTFUL
    return Doubt.LOOK if iou < SOME_OVERLAP or predicted < LESS_SURE else Doubt.SURE


def row_of(record: SliceRecord) -> SliceRow:
    """A record as a line of the table."""
    words = reason_words(record.reason)
    if record.rejected:
        words = _("{what} ({why})").format(what=words, why=reason_words(record.rejected))
    if record.note:
        words = _("{what}; {note}").format(what=words, note=said(record.note))
    return SliceRow(record.index, words, record.iou, record.predicted_iou, doubt_of(record), record.accepted)


def rows_of(found: Mapping[int, SliceRecord], doubtful_first: bool = False) -> list[SliceRow]:
    """Lines of the table by falling slice number, as one looks down a body; or the most doubtful first."""
    rows = sorted((row_of(record) for record in found.values()), key=lambda row: -row.index)
    if not doubtful_first:
        return rows
    return sorted(rows, key=lambda row: (-row.doubt, _worst(row)))


def next_doubtful(rows: Iterable[SliceRow], current: int | None) -> int | None:
    """The next slice above ``current`` that deserves a look, beginning again at the lowest; None if there is none."""
    doubtful = sorted(row.index for row in rows if row.doubt is not Doubt.SURE)
    if not doubtful:
        return None
    return next((index for index in doubtful if current is None or index > current), doubtful[0])


def _worst(row: SliceRow) -> float:
    return min(1.0 if value is None else value for value in (row.iou, row.predicted_iou))
