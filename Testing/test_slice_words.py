"""Every reason has words, doubt follows the figures, the next doubtful slice is found in a circle."""

from __future__ import annotations

import pytest
from SegmentAnythingMedLib.propagation import records
from SegmentAnythingMedLib.propagation.records import SliceRecord

REASONS = [value for name, value in vars(records).items() if name.isupper() and isinstance(value, str)]


@pytest.fixture
def words(slicer_host):
    from SegmentAnythingMedLib.apps.slicer import slice_words

    return slice_words


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_words(words, reason: str) -> None:
    said = words.reason_words(reason)
    accepted = (records.SEED, records.DRAWN, records.FORWARD, records.BACKWARD, records.BLEND, records.INTERPOLATED)
    walked = reason in accepted
    assert said.startswith("End: ") is not walked
    assert reason not in said or reason in (records.CANCELLED, records.LIMIT)
    assert ":" not in said.removeprefix("End: ")


def test_an_unknown_reason_is_said_as_it_is(words) -> None:
    assert words.end_words("stopped:new") == "stopped:new"


@pytest.mark.parametrize(
    ("record", "doubt"),
    [
        (SliceRecord(1, records.FORWARD, iou=0.95, predicted_iou=0.9), "SURE"),
        (SliceRecord(1, records.FORWARD, iou=0.80, predicted_iou=0.9), "LOOK"),
        (SliceRecord(1, records.BACKWARD, iou=0.95, predicted_iou=0.7), "LOOK"),
        (SliceRecord(1, records.FORWARD, iou=0.60, predicted_iou=0.9), "DOUBTFUL"),
        (SliceRecord(1, records.FORWARD, iou=0.95, predicted_iou=0.5), "DOUBTFUL"),
        (SliceRecord(1, records.SEED, iou=0.1, predicted_iou=0.9), "SURE"),
        (SliceRecord(1, records.SEED, predicted_iou=0.5), "DOUBTFUL"),
        (SliceRecord(1, records.DRAWN), "SURE"),
        (SliceRecord(1, records.INTERPOLATED, iou=1.0, predicted_iou=1.0), "DOUBTFUL"),
        (SliceRecord(1, records.STOPPED_ABSENT), "SURE"),
        (SliceRecord(1, records.STOPPED_USER), "SURE"),
        (SliceRecord(1, records.STOPPED_IOU, iou=0.2), "DOUBTFUL"),
    ],
)
def test_doubt(words, record: SliceRecord, doubt: str) -> None:
    assert words.doubt_of(record).name == doubt


def test_rows_say_what_was_refused_and_noted(words) -> None:
    row = words.row_of(SliceRecord(4, records.INTERPOLATED, rejected=records.STOPPED_AREA, note="by hand"))
    assert row.words == "Shape filled in, not seen by the model (End: area changed too much); by hand"
    assert (row.index, row.accepted) == (4, True)


def test_order_of_rows(words) -> None:
    found = {
        3: SliceRecord(3, records.SEED, predicted_iou=0.9),
        4: SliceRecord(4, records.FORWARD, iou=0.9, predicted_iou=0.9),
        5: SliceRecord(5, records.FORWARD, iou=0.65, predicted_iou=0.9),
        6: SliceRecord(6, records.STOPPED_IOU, iou=0.1, predicted_iou=0.4),
        2: SliceRecord(2, records.BACKWARD, iou=0.8, predicted_iou=0.9),
    }
    assert [row.index for row in words.rows_of(found)] == [6, 5, 4, 3, 2]
    assert [row.index for row in words.rows_of(found, True)] == [6, 5, 2, 4, 3]
    rows = words.rows_of(found)
    assert [words.next_doubtful(rows, n) for n in (None, 2, 4, 5, 6)] == [2, 5, 5, 6, 2]
    assert words.next_doubtful(words.rows_of({3: found[3]}), 1) is None
