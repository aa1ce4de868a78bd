"""What the table of the prior visit says."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")
CHANGES = {
    "prior_ml": 73.04, "follow_up_ml": 51.36, "volume_percent": -29.7, "prior_diameter_mm": 71.2,
    "follow_up_diameter_mm": 61.3, "diameter_percent": 0.4, "centroid_shift_mm": None,
}  # fmt: skip


def row(**values):
    from SegmentAnythingMedLib.apps.slicer.visit_drafts import VisitRow

    common = {"segment_id": "a", "name": "bladder", "outcome": "found", "colour": "amber", "reasons": (), "slices": ()}
    return VisitRow(**{**common, "changes": CHANGES, **values})


def test_sizes_with_the_change_against_the_prior(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer import visit_words as words

    assert words.volume_words(row()) == "51.4 ml, -30 %"
    assert words.diameter_words(row()) == "61 mm, +0 %"
    assert words.volume_words(row(changes={**CHANGES, "volume_percent": None})) == "51.4 ml"
    assert words.volume_words(row(changes={})) == ""
    assert words.sizes_words(row()) == "Volume 73.0 to 51.4 ml, longest diameter 71.2 to 61.3 mm."
    assert words.sizes_words(row(changes={})) == ""


def test_reasons_are_sentences_with_the_slices(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer import visit_words as words

    said = words.reasons_words(row(reasons=("sizes differ", "Look."), slices=(2, 3, 4, 9), changes={}))
    assert said == "Sizes differ. Look. Slices to look at: 2-4, 9."


@pytest.mark.parametrize("colour", ["green", "amber", "red"])
@pytest.mark.parametrize("outcome", ["found", "possibly resolved", "not in image", "registration only"])
def test_a_flag_is_never_colour_alone(slicer_host, colour: str, outcome: str) -> None:
    from SegmentAnythingMedLib.apps.slicer import visit_words as words

    assert words.finding_words(row(colour=colour, outcome=outcome)).startswith(f"{colour}, ")


def test_status(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer import visit_words as words

    assert [words.status_words(status) for status in ("", "draft", "accepted", "rejected")] == [
        "not written", "draft", "accepted", "rejected",
    ]  # fmt: skip
