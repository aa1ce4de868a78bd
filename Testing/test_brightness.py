"""Both visits shown alike where nothing changed, also when the brightest part of one of them has gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib import PriorVisit, adapt
from SegmentAnythingMedLib.adaptive.arena import open_arena
from SegmentAnythingMedLib.adaptive.brightness import matched_mapping
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.space.intensity import IntensityMapping, estimate_mapping
from stub_model import StubModel
from visit_phantom import SPACING, ellipsoid, visit

STEPS = np.array(SPACING[::-1])
LESION = ellipsoid(radius_mm=14.0)
HOT = 6000.0


def matched(before: np.ndarray, today: np.ndarray, **first) -> tuple[IntensityMapping, IntensityMapping]:
    """The follow-up's mapping, as it was and matched."""
    mappings = [estimate_mapping(replace(visit(None), voxels=voxels), "auto") for voxels in (before, today)]
    mappings[0] = replace(mappings[0], **first)
    return mappings[1], matched_mapping(tuple(mappings), before, today, LESION, STEPS)


@pytest.mark.parametrize("scale", [1.0, 0.3, 7.0])
def test_what_lies_around_is_as_bright_as_before_when_the_hot_lesion_is_gone(scale: float) -> None:
    """Also where the units of the visits differ."""
    before, today = visit(LESION, contrast=HOT).voxels, scale * visit(None, seed=4).voxels
    own, found = matched(before, today)
    around = ~ellipsoid(radius_mm=22.0)
    prior = estimate_mapping(visit(LESION, contrast=HOT), "auto").apply(before)[around].std()
    assert own.apply(today)[around].std() > 3 * prior
    assert found.apply(today)[around].std() == pytest.approx(prior, rel=0.15)
    assert any("contrast" in note for note in found.notes)


def test_a_little_more_or_less_contrast_is_left_alone() -> None:
    own, found = matched(visit(LESION).voxels, 1.2 * visit(ellipsoid(radius_mm=12.0), seed=4).voxels)
    assert found == own


@pytest.mark.parametrize(
    ("today", "first"),
    [
        (visit(None).voxels, {"mode": "window"}),  # the window is the same for both, as of CT
        (np.random.default_rng(1).permuted(visit(None).voxels), {}),
        (np.zeros_like(visit(None).voxels), {}),
    ],
    ids=["window", "other anatomy", "empty"],
)
def test_what_tells_nothing_changes_nothing(today: np.ndarray, first: dict) -> None:
    own, found = matched(visit(LESION, contrast=HOT).voxels, today, **first)
    assert found == own


@pytest.mark.parametrize("comparable", [True, False])
def test_the_stage_shows_today_as_the_prior_was_shown(comparable: bool) -> None:
    """Within a modality; between two, contrasts have nothing to do with each other."""
    prior, today = visit(LESION, contrast=HOT), visit(None, seed=4)
    mappings = (estimate_mapping(prior, "auto"), estimate_mapping(today, "auto"))
    near = VisitSettings(search_mm=8, extent_mm=4)
    arena = open_arena(
        prior, LESION, today, LESION, [], VisitTransform.identity(), StubModel(), mappings, "k", near,
        comparable=comparable,
    )  # fmt: skip
    assert arena.prior.mapping == mappings[0]
    assert (arena.follow_up.mapping.upper > 5 * mappings[1].upper) == comparable
    assert (arena.follow_up.mapping == mappings[1]) != comparable


def test_the_person_is_told() -> None:
    result = adapt(
        PriorVisit(visit(LESION, contrast=HOT), {"lesion": LESION}), visit(None, seed=4), StubModel(),
        transform="none", settings=VisitSettings(search_mm=8, extent_mm=4),
    )  # fmt: skip
    assert any("times the contrast" in words for words in result.structures["lesion"].remarks)
