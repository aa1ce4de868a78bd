"""A structure through the slices: second looks, gaps, ends."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive import visit_results as words_of
from SegmentAnythingMedLib.adaptive.candidates import Candidate
from SegmentAnythingMedLib.adaptive.following import Follower, without_crumbs
from SegmentAnythingMedLib.adaptive.presence import PresenceRule
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from visit_phantom import SPACING, ellipsoid

RULE = PresenceRule(presence=3.0, sure=2.0, displacement_mm=50.0)
SETTINGS = VisitSettings(extent_mm=10)


class Seeing:
    """An asker whose model sees the truth wherever the hint touches it; ``rho`` per slice."""

    def __init__(self, truth: np.ndarray, rho: dict[int, float] | None = None) -> None:
        session = SimpleNamespace(pixel_spacing=SPACING[:2], slice_spacing=SPACING[2])
        self.truth, self.rho, self.arena = truth, rho or {}, SimpleNamespace(follow_up=session)

    def ask(self, index: int, hint: np.ndarray, source: str) -> Candidate:
        mask = self.truth[index] if (hint & self.truth[index]).any() else np.zeros_like(hint)
        return Candidate(
            index, source, mask, mask.astype(np.float32), 0.9, self.rho.get(index, 1.0), None, 0.0, SlicePrompts()
        )

    def given(self, index: int, prompts: SlicePrompts, source: str) -> Candidate:
        return Candidate(index, source, prompts.mask, prompts.mask * 1.0, 0.2, 9.0, None, 0.0, prompts)


def followed(asker: Seeing, masks: np.ndarray, settings: VisitSettings = SETTINGS, given=None):
    return Follower(asker, RULE, settings, None, given or {}, Progress()).follow(masks)


def test_growth_beyond_the_expected_ends_is_followed_to_its_end() -> None:
    truth = ellipsoid(radius_mm=15)
    found = followed(Seeing(truth), ellipsoid(radius_mm=9))
    areas = truth.sum(axis=(1, 2))
    assert np.array_equal(found.stack(truth.shape)[areas > 80], truth[areas > 80])
    assert not found.stack(truth.shape)[areas == 0].any()


def column(low: int, high: int, count: int = 40, rows: tuple[int, int] = (20, 32)) -> np.ndarray:
    """A structure of equal slices low..high."""
    mask = np.zeros((count, 48, 48), dtype=bool)
    mask[low : high + 1, slice(*rows), 20:32] = True
    return mask


@pytest.mark.parametrize(
    ("truth", "last", "open_end"), [((18, 25), 25, False), ((18, 28), 28, False), ((18, 39), 29, True)]
)
def test_the_range_is_extended_once_where_the_last_slice_is_still_clear(truth, last: int, open_end: bool) -> None:
    expected = column(18, 21)  # 4 slices: the range ends 4 slices beyond, then once more
    found = followed(Seeing(column(*truth)), expected)
    assert max(found.chosen) == last
    assert found.open_ends == ([last] if open_end else [])


def test_the_range_is_not_extended_for_a_remnant() -> None:
    truth = column(18, 39)
    truth[24:, 23:, :] = False
    truth[24:, :, 22:] = False  # 6 pixels of 144
    wide = np.where(np.arange(40)[:, None, None] < 24, 0.9, 0.3)
    asker = Seeing(truth)
    plain = asker.ask

    def doubting(index: int, hint: np.ndarray, source: str) -> Candidate:
        return replace(plain(index, hint, source), predicted_iou=float(wide[index, 0, 0]))

    asker.ask = doubting
    assert max(followed(asker, column(18, 21)).chosen) <= 25


def test_no_walk_when_it_is_not_wanted() -> None:
    rough = ellipsoid(radius_mm=9)
    found = followed(Seeing(ellipsoid(radius_mm=15)), rough, VisitSettings(propagate=False))
    assert set(found.chosen) == set(np.flatnonzero(rough.any(axis=(1, 2))).tolist())


def test_slices_without_the_structure_are_refused_in_words() -> None:
    truth = ellipsoid(radius_mm=7)
    found = followed(Seeing(truth), ellipsoid(radius_mm=14))
    assert set(found.chosen) == set(np.flatnonzero(truth.any(axis=(1, 2))).tolist())
    assert all(found.refused.values())
    assert not set(found.refused) & set(found.chosen)


def test_a_walk_beyond_the_end_asks_for_more_than_a_slice_inside() -> None:
    truth, rough = ellipsoid(radius_mm=15), ellipsoid(radius_mm=9)
    last = int(np.flatnonzero(rough.any(axis=(1, 2)))[-1])
    doubtful = dict.fromkeys(range(len(truth)), 2.5)
    found = followed(Seeing(truth, doubtful), rough)
    assert last in found.chosen
    assert last + 1 not in found.chosen


def test_prompts_of_a_person_stay() -> None:
    drawn = ellipsoid(radius_mm=5)[10]
    found = followed(Seeing(ellipsoid()), ellipsoid(), given={10: SlicePrompts(mask=drawn)})
    assert found.chosen[10].source == words_of.EDITED
    assert np.array_equal(found.chosen[10].mask, drawn)


def test_small_parts_far_from_the_structure_are_dropped() -> None:
    body, crumb, expected_crumb = ellipsoid(), np.zeros_like(ellipsoid()), np.zeros_like(ellipsoid())
    crumb[10, 5:8, 5:8] = True
    expected_crumb[3, 60:63, 60:63] = True
    out = without_crumbs(body | crumb | expected_crumb, ellipsoid(radius_mm=10) | expected_crumb)
    assert np.array_equal(out, body | expected_crumb)
