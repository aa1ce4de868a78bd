"""Is the structure on this slice?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.calibration import surety
from SegmentAnythingMedLib.adaptive.candidates import Candidate, contrast_to_ring
from SegmentAnythingMedLib.adaptive.presence import PresenceRule

MASK = np.zeros((20, 20), dtype=bool)
MASK[5:12, 6:14] = True
GOOD = Candidate(3, "segmented", MASK, MASK.astype(np.float32), 0.8, 1.2, 0.9, 3.0, None)
RULE = PresenceRule(presence=3.0, sure=2.0, displacement_mm=15.0, least_px=10)


def test_a_good_answer_is_present_and_needs_no_words() -> None:
    assert RULE.verdict(GOOD) == (True, "")


def test_what_was_not_measured_does_not_count_against_it() -> None:
    assert RULE.verdict(replace(GOOD, rho=None, share=None, displacement_mm=None, predicted_iou=None))[0]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"mask": np.zeros_like(MASK)}, "nothing"),
        ({"mask": MASK & (np.indices(MASK.shape)[0] == 5)}, "pixels"),
        ({"rho": 3.5}, "unlike"),
        ({"share": 0.1}, "contrast"),
        ({"share": -0.5}, "contrast"),
        ({"predicted_iou": 0.02}, "trust"),
        ({"displacement_mm": 16.0}, "16 mm"),
    ],
)
def test_every_refusal_has_its_reason(change: dict, word: str) -> None:
    present, why = RULE.verdict(replace(GOOD, **change))
    assert not present
    assert word in why


def test_contrast_is_counted_from_the_surroundings() -> None:
    image = np.where(MASK, 0.7, 0.2)
    assert contrast_to_ring(image, MASK) == pytest.approx(0.5)
    assert contrast_to_ring(image, np.ones_like(MASK)) is None


def test_to_be_sure_takes_more() -> None:
    doubtful = replace(GOOD, rho=2.5)
    assert RULE.verdict(doubtful)[0]
    assert not RULE.verdict(doubtful, sure=True)[0]


def test_a_model_as_sure_as_on_the_prior_convinces_sooner() -> None:
    rule, changed = replace(RULE, iou=0.8), replace(GOOD, rho=2.5, share=0.2)
    assert rule.convincing(replace(changed, predicted_iou=0.75))
    assert not rule.convincing(replace(changed, predicted_iou=0.70))
    assert not RULE.convincing(replace(changed, predicted_iou=0.75))  # nothing to compare with
    assert not rule.convincing(replace(GOOD, rho=3.5))
    assert not rule.convincing(replace(GOOD, share=0.05))


def test_a_model_much_less_sure_than_on_the_prior_convinces_nobody() -> None:
    rule = replace(RULE, iou=0.8)
    assert rule.convincing(replace(GOOD, predicted_iou=0.55))
    assert not rule.convincing(replace(GOOD, predicted_iou=0.50))
    assert RULE.convincing(replace(GOOD, predicted_iou=0.50))


def test_certain_is_most_of_the_answers_as_sure_as_on_the_prior() -> None:
    rule, sure, less = replace(RULE, iou=0.8), replace(GOOD, predicted_iou=0.75), replace(GOOD, predicted_iou=0.6)
    assert rule.certain([sure, sure, less])
    assert not rule.certain([sure, less])
    assert not rule.certain([sure, less, less])
    assert not rule.certain([])


@pytest.mark.parametrize(
    ("own", "beside", "told"),
    [
        ((0.80, 0.84, 0.76), (0.1, 0.0, 0.75), 0.80),  # much less sure of what is beside it
        ((0.80, 0.84, 0.76), (0.75, 0.8, 0.1), 0.0),  # about as sure
        ((0.80, 0.84, 0.76), (), 0.80),  # no room beside it, but it varies
        ((0.90, 0.90, 0.91), (), 0.0),  # always the same
    ],
)
def test_surety_counts_where_it_tells_the_structure_from_other_things(own, beside, told) -> None:
    answers, elsewhere = ([replace(GOOD, predicted_iou=value) for value in some] for some in (own, beside))
    assert surety(answers, elsewhere) == pytest.approx(told)
