"""Matching of the structure's old picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from SegmentAnythingMedLib.adaptive.arena import open_arena
from SegmentAnythingMedLib.adaptive.localise import correlations, find_place, moved
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.space.intensity import estimate_mapping
from stub_model import StubModel
from visit_phantom import ellipsoid, visit

PRIOR = ellipsoid()


def test_correlation_is_the_textbook_one() -> None:
    random = np.random.default_rng(0)
    image, picture = random.normal(size=(5, 9, 8)), random.normal(size=(3, 4, 4))
    weight = random.uniform(0, 1, size=picture.shape)
    scores = correlations(image, picture, weight)
    assert scores.shape == (3, 6, 5)
    for place in [(0, 0, 0), (2, 5, 4), (1, 3, 2)]:
        part = image[tuple(slice(p, p + n) for p, n in zip(place, picture.shape, strict=True))]
        a, b = (x - np.average(x, weights=weight) for x in (part, picture))
        wanted = (weight * a * b).sum() / np.sqrt((weight * a**2).sum() * (weight * b**2).sum())
        assert scores[place] == pytest.approx(wanted, abs=1e-6)


def test_brightness_and_contrast_do_not_matter_and_flat_places_score_nothing() -> None:
    random = np.random.default_rng(1)
    image = random.normal(size=(4, 8, 8))
    picture, weight = image[1:3, 2:6, 3:7], np.ones((2, 4, 4))
    assert correlations(3 * image - 7, picture, weight)[1, 2, 3] == pytest.approx(1, abs=1e-6)
    assert not correlations(np.zeros((4, 8, 8)), picture, weight).any()


def arena_of(today) -> object:
    prior = visit(PRIOR)
    mappings = (estimate_mapping(prior, "auto"), estimate_mapping(today, "auto"))
    return open_arena(
        prior, PRIOR, today, PRIOR, [], VisitTransform.identity(), StubModel(), mappings, "k", VisitSettings()
    )


@pytest.mark.parametrize("offset", [(0, 0, 0), (2, -6, 9), (-1, 12, 0)])
def test_a_moved_lesion_is_recognised_where_it_went(offset: tuple[int, int, int]) -> None:
    truth = ellipsoid(tuple(np.add((10, 36, 36), offset)))
    arena = arena_of(visit(truth, seed=4, contrast=200.0))
    place = find_place(arena, 20.0)
    assert np.abs(np.subtract(place.offset, offset)).max() <= 1
    assert place.recognised
    assert place.shift_mm <= 20
    centre = np.array(ndimage.center_of_mass(arena.cut(truth)))
    hottest = np.array(np.unravel_index(np.argmax(place.heat_map), place.heat_map.shape))
    assert np.linalg.norm((hottest - centre) * arena.spacing) < 5


def test_nothing_is_recognised_where_nothing_is() -> None:
    place = find_place(arena_of(visit(None, seed=4)), 20.0)
    assert place.likeness < 0.6
    assert place.heat_map.max() <= 1


def test_moving_a_mask_loses_what_leaves() -> None:
    mask = np.zeros((3, 4, 5), dtype=bool)
    mask[0, 0, 0] = mask[2, 3, 4] = True
    out = moved(mask, (1, 1, -1))
    assert out.sum() == 0
    out = moved(mask, (1, 0, 2))
    assert out.sum() == 1
    assert out[1, 0, 2]


def test_a_part_is_looked_for_to_the_side_only() -> None:
    offset = (2, -6, 9)
    truth = ellipsoid(tuple(np.add((10, 36, 36), offset)))
    place = find_place(arena_of(visit(truth, seed=4, contrast=200.0)), 20.0, within_slices=True)
    assert place.offset[0] == 0
    assert np.abs(np.subtract(place.offset[1:], offset[1:])).max() <= 2
