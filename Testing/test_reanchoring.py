"""A structure that is lost on the way is looked for once more, and both tracks become one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive import visit_results as words_of
from SegmentAnythingMedLib.adaptive.candidates import Candidate
from SegmentAnythingMedLib.adaptive.following import Followed, Follower
from SegmentAnythingMedLib.adaptive.presence import PresenceRule
from SegmentAnythingMedLib.adaptive.reanchoring import anchor_again, joined, lost_parts
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.errors import Cancelled
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.types import SlicePrompts

COUNT = 20
RULE = PresenceRule(presence=3.0, sure=2.0, displacement_mm=30.0)


def column(slices, rows: int, cols: int = 10) -> np.ndarray:
    """A structure of 10 x 10 pixels on some slices."""
    mask = np.zeros((COUNT, 64, 64), dtype=bool)
    mask[list(slices), rows : rows + 10, cols : cols + 10] = True
    return mask


EXPECTED = column(range(4, 16), 10)
SETTINGS = VisitSettings(extent_mm=5, search_mm=10)
BENT = column(range(4, 10), 10) | column(range(10, 16), 25)
"""The upper half has slid aside by more than its size."""


class Seeing:
    """An asker whose model sees the truth where the hint touches it."""

    def __init__(self, truth: np.ndarray, iou: float = 0.9) -> None:
        session = SimpleNamespace(pixel_spacing=(1.0, 1.0), slice_spacing=2.5)
        self.truth, self.iou, self.arena = truth, iou, SimpleNamespace(follow_up=session)

    def ask(self, index: int, hint: np.ndarray, source: str) -> Candidate:
        mask = self.truth[index] if (hint & self.truth[index]).any() else np.zeros_like(hint)
        return answer(index, mask, source=source, iou=self.iou)


def answer(index: int, mask: np.ndarray, rho: float = 1.0, source: str = "propagated", iou: float = 0.9) -> Candidate:
    return Candidate(index, source, mask, mask.astype(np.float32), iou, rho, None, 0.0, SlicePrompts())


def followed(asker: Seeing, opinions=None, rule: PresenceRule = RULE, progress: Progress | None = None) -> Followed:
    follower = Follower(asker, rule, SETTINGS, None, {}, progress or Progress())
    follower.follow(EXPECTED)
    anchor_again(follower, EXPECTED, lambda part: opinions or {}, lambda masks: asker)
    return follower.found


ASIDE = {"recognised": column(range(10, 16), 24)}


def test_the_lost_half_is_found_from_a_second_anchor() -> None:
    assert not followed(Seeing(BENT)).stack(BENT.shape)[10:].any()
    found = followed(Seeing(BENT), ASIDE)
    assert np.array_equal(found.stack(BENT.shape), BENT)
    assert found.again == [(10, 15)]
    assert not set(found.refused) & set(found.chosen)


def test_what_lies_apart_is_another_thing() -> None:
    nearby = PresenceRule(presence=3.0, sure=2.0, displacement_mm=12.0)
    found = followed(Seeing(BENT), ASIDE, nearby)
    assert max(found.chosen) == 9
    assert not found.again


def test_a_doubtful_answer_is_no_anchor() -> None:
    assert not followed(Seeing(BENT, iou=0.6), ASIDE).again


def test_a_shrunken_structure_stays_small() -> None:
    small = column(range(6, 12), 10)
    found = followed(Seeing(small), {"larger": EXPECTED, **ASIDE})
    assert np.array_equal(found.stack(small.shape), small)
    assert not found.again


def test_slices_between_both_tracks_are_filled_where_something_is_seen() -> None:
    truth = BENT.copy()
    truth[9:11] = column([9, 10], 18)[9:11]  # on the way: neither end's mask grows into it by itself
    found = followed(Seeing(truth), {"recognised": column(range(11, 16), 27)})
    assert set(range(4, 16)) == set(found.chosen)


def test_a_cancel_ends_the_second_look() -> None:
    follower = Follower(Seeing(BENT), RULE, SETTINGS, None, {}, progress := Progress())
    follower.follow(EXPECTED)
    progress.cancel()
    with pytest.raises(Cancelled):
        anchor_again(follower, EXPECTED, lambda part: ASIDE, lambda masks: follower.asker)


def test_caps_and_single_slices_are_no_loss() -> None:
    masks = EXPECTED.copy()
    masks[16:18, 10, 10:14] = True  # a thin end
    found = set(range(4, 16)) - {8}
    assert lost_parts(masks, found) == []
    assert lost_parts(masks, found - {12, 13, 14, 15}) == [[12, 13, 14, 15]]


def test_tracks_that_disagree_are_joined_where_their_scores_cross() -> None:
    here, there = column(range(COUNT), 10), column(range(COUNT), 40)
    first = {n: answer(n, here[n], rho=0.5 + 0.2 * n) for n in range(10)}
    second = {n: answer(n, there[n], rho=2.7 - 0.2 * n) for n in range(4, 14)}
    out = joined(first, second)
    assert sorted(n for n in out if out[n] is second.get(n)) == list(range(6, 14))
    mirrored = joined(
        {COUNT - 1 - n: answer(COUNT - 1 - n, here[n], one.rho) for n, one in first.items()},
        {COUNT - 1 - n: answer(COUNT - 1 - n, there[n], one.rho) for n, one in second.items()},
    )
    assert sorted(n for n in mirrored if mirrored[n].mask[45, 12]) == [COUNT - 1 - n for n in range(13, 5, -1)]


def test_tracks_that_agree_keep_the_better_answer_of_every_slice() -> None:
    here = column(range(COUNT), 10)
    first = {n: answer(n, here[n], rho=1.0) for n in range(8)}
    second = {n: answer(n, here[n], rho=0.8 if n == 6 else 1.2) for n in range(5, 12)}
    out = joined(first, second)
    assert [n for n in sorted(out) if out[n] is second.get(n)] == [6, 8, 9, 10, 11]


def test_prompts_of_a_person_are_not_touched() -> None:
    drawn = column(range(COUNT), 40)
    prompts = {12: SlicePrompts(mask=drawn[12])}
    asker = Seeing(BENT)
    asker.given = lambda index, asked, source: answer(index, asked.mask, 9.0, words_of.EDITED, 0.2)
    follower = Follower(asker, RULE, SETTINGS, None, prompts, Progress())
    follower.follow(EXPECTED)
    anchor_again(follower, EXPECTED, lambda part: ASIDE, lambda masks: follower.asker)
    assert np.array_equal(follower.found.chosen[12].mask, drawn[12])
