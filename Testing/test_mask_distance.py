"""Distances to masks, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from SegmentAnythingMedLib.adaptive.mask_distance import distance_to, signed_distance
from visit_phantom import SPACING, ellipsoid

STEPS = np.array(SPACING[::-1])


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_exact(seed: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((9, 30, 41)), 2)
    mask = noise > 0.05
    steps = (2.5, 0.7, 0.4)
    assert np.allclose(distance_to(mask, steps), ndimage.distance_transform_edt(~mask, sampling=steps), atol=1e-4)
    plane = mask[4]
    assert np.allclose(distance_to(plane, (0.7, 0.4)), ndimage.distance_transform_edt(~plane, (0.7, 0.4)), atol=1e-4)


def test_inside_is_below_zero() -> None:
    mask = ellipsoid()
    away = signed_distance(mask, np.array(SPACING))
    assert np.array_equal(away < 0, mask)
    inside = ndimage.distance_transform_edt(mask, sampling=STEPS)
    assert np.allclose(away[mask], -inside[mask], atol=1e-4)


def test_nothing_is_infinitely_far() -> None:
    assert np.isinf(distance_to(np.zeros((3, 4), bool), (1, 1))).all()
