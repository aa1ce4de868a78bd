"""Opinions on where a structure is, and which slices decide between them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.anchors import Start, choose_start, key_slices, opinions, scaled
from SegmentAnythingMedLib.adaptive.candidates import Candidate
from SegmentAnythingMedLib.adaptive.localise import Place
from SegmentAnythingMedLib.adaptive.presence import PresenceRule
from visit_phantom import ellipsoid

HERE, THERE = ellipsoid(), ellipsoid((10, 36, 56), 12.0)
RULE = PresenceRule(presence=3.0, sure=2.0, displacement_mm=50.0)


def place(likeness: float, expected: float) -> Place:
    return Place((0, 0, 20), likeness, expected, 20.0, np.zeros(HERE.shape, np.float32))


def arena() -> SimpleNamespace:
    return SimpleNamespace(warped=HERE, rigid=HERE)


@pytest.mark.parametrize("factor", [0.55, 0.75, 1.25])
def test_scaling_keeps_the_centre(factor: float) -> None:
    out = scaled(HERE, factor)
    assert out.sum() / HERE.sum() == pytest.approx(factor**3, rel=0.12)
    assert np.allclose(np.argwhere(out).mean(axis=0), np.argwhere(HERE).mean(axis=0), atol=0.3)


def test_another_place_must_be_clearly_more_alike() -> None:
    assert "recognised" in opinions(arena(), place(0.8, 0.2))
    assert "recognised" not in opinions(arena(), place(0.8, 0.75))
    assert "recognised" not in opinions(arena(), place(0.3, 0.0))
    assert "rigid" not in opinions(arena(), None)  # says the same as the warped mask
    assert next(iter(opinions(arena(), None))) == "warped"


def test_key_slices_are_inner_ones_with_the_largest_among_them() -> None:
    chosen = key_slices(HERE, 3)
    assert 10 in chosen
    assert len(chosen) <= 4
    areas = HERE.sum(axis=(1, 2))
    assert all(areas[n] >= 0.3 * areas.max() for n in chosen)


class Knowing:
    """An asker whose model sees one structure and says nothing elsewhere."""

    def __init__(self, truth: np.ndarray, rho: float = 1.0) -> None:
        self.truth, self.rho = truth, rho

    def ask(self, index: int, hint: np.ndarray, source: str) -> Candidate:
        touched = (hint & self.truth[index]).any()
        mask = self.truth[index] if touched else np.zeros_like(hint)
        rho = self.rho if touched else float("inf")
        return Candidate(index, source, mask, mask.astype(np.float32), 0.9, rho, None, 0.0, None)


def test_the_start_is_where_the_structure_is_seen() -> None:
    starts = {"warped": HERE, "recognised": THERE}
    seen = choose_start(arena(), lambda masks: Knowing(THERE), RULE, starts, 3)
    assert seen.name == "recognised"
    assert seen.convincing
    assert choose_start(arena(), lambda masks: Knowing(HERE), RULE, starts, 3).name == "warped"


def test_nothing_seen_convinces_nobody() -> None:
    nothing = np.zeros_like(HERE)
    assert not choose_start(arena(), lambda masks: Knowing(nothing), RULE, {"warped": HERE}, 3).convincing
    unlike = choose_start(arena(), lambda masks: Knowing(HERE, rho=2.5), RULE, {"warped": HERE}, 3)
    assert isinstance(unlike, Start)
    assert not unlike.convincing
