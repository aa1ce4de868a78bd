"""Polygons and pixels: tracing and filling undo each other exactly, holes, islands and bridges included."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.files.contours import area, contains, fill, keyholes, trace

RING = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)


@pytest.mark.parametrize("seed", range(60))
def test_trace_and_fill_undo_each_other(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 15, 2)) < rng.choice([0.1, 0.4, 0.6, 0.9])
    polygons = trace(mask)
    np.testing.assert_array_equal(fill(polygons, mask.shape), mask)
    assert sum(map(area, polygons)) == pytest.approx(mask.sum())
    joined = keyholes(polygons)
    np.testing.assert_array_equal(fill(joined, mask.shape), mask)
    assert [area(polygon) > 0 for polygon in joined] == [True] * sum(area(p) > 0 for p in polygons)
    assert sum(map(area, joined)) == pytest.approx(mask.sum())


def test_a_lone_pixel_is_a_square_of_four_points():
    mask = np.zeros((4, 5), bool)
    mask[2, 3] = True
    (square,) = trace(mask)
    assert sorted(map(tuple, square)) == [(2.5, 1.5), (2.5, 2.5), (3.5, 1.5), (3.5, 2.5)]


def test_pixels_that_touch_at_a_corner_are_two_islands():
    assert len(trace(np.eye(2, dtype=bool))) == 2


def test_ring_with_island_has_two_outer_polygons_and_a_hole():
    assert sorted(area(p) for p in trace(RING)) == [-9.0, 1.0, 25.0]
    assert sorted(area(p) for p in keyholes(trace(RING))) == [1.0, 16.0]


def test_bridges_have_no_width_and_stay_on_the_mask():
    joined = max(keyholes(trace(RING)), key=area)
    steps = np.roll(joined, -1, axis=0) - joined
    assert (np.count_nonzero(steps, axis=1) <= 1).all()  # along pixel edges, the bridge too
    assert joined.min() == -0.5
    assert joined.max() == 4.5


def test_empty_mask_and_polygons_off_the_image():
    assert trace(np.zeros((3, 3), bool)) == []
    square = np.array([[-9.0, -9], [20, -9], [20, 20], [-9, 20]])
    assert fill([square], (3, 4)).all()
    assert not fill([square + 50], (3, 4)).any()
    assert not fill([square - 50], (3, 4)).any()


def test_points_inside_agree_with_the_fill():
    rng = np.random.default_rng(1)
    polygons = [rng.random((7, 2)) * 12 - 1, rng.random((5, 2)) * 12 - 1]
    rows, columns = np.indices((10, 11))
    inside = contains(polygons, np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float))
    np.testing.assert_array_equal(inside.reshape(10, 11), fill(polygons, (10, 11)))
