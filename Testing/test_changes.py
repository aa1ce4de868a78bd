"""Sizes on both visits."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.changes import changes_between, longest_diameter_mm
from visit_phantom import SHAPE, ellipsoid, visit

VOLUME = visit(None)


def test_a_sphere_has_its_diameter() -> None:
    assert longest_diameter_mm(ellipsoid(radius_mm=12), VOLUME) == pytest.approx(24, abs=1.6)
    assert longest_diameter_mm(np.zeros(SHAPE, bool), VOLUME) == 0


def test_a_slanted_rod_is_measured_along_itself() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4, np.arange(10, 50), np.arange(10, 50)] = True
    assert longest_diameter_mm(mask, VOLUME) == pytest.approx(39 * np.sqrt(2) + 1, abs=0.5)


def test_changes_are_relative_to_the_prior() -> None:
    prior, draft = ellipsoid(radius_mm=10), ellipsoid((10, 36, 41), 12.6)
    changes = changes_between(VOLUME, prior, VOLUME, draft, prior)
    assert changes.volume_percent == pytest.approx(100, abs=8)
    assert changes.diameter_percent == pytest.approx(26, abs=10)
    assert changes.centroid_shift_mm == pytest.approx(5, abs=0.3)
    assert changes.prior_ml == pytest.approx(4.19, abs=0.2)


def test_nothing_left_is_minus_a_hundred_percent() -> None:
    nothing = np.zeros(SHAPE, dtype=bool)
    changes = changes_between(VOLUME, ellipsoid(), VOLUME, nothing, ellipsoid())
    assert (changes.volume_percent, changes.diameter_percent, changes.centroid_shift_mm) == (-100, -100, None)
