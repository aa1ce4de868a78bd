"""Baselines through a volume."""

from __future__ import annotations

import math

import numpy as np
import pytest
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.evaluation.baselines import copy_through, ellipsoid_of_box, otsu_walk
from SegmentAnythingMedLib.evaluation.boxes2d import box_of_mask
from SegmentAnythingMedLib.evaluation.metrics import dice

SHAPE = (25, 60, 64)
ROW_MM, COLUMN_MM, SLICE_MM = 1.0, 0.8, 2.0
SEED = 12


def ellipsoid(half_mm: tuple[float, float, float]) -> np.ndarray:
    """Half-axes K, J, I in mm around voxel (12, 30, 32)."""
    k, j, i = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(float)
    k, j, i = (k - SEED) * SLICE_MM, (j - 30) * ROW_MM, (i - 32) * COLUMN_MM
    return (k / half_mm[0]) ** 2 + (j / half_mm[1]) ** 2 + (i / half_mm[2]) ** 2 <= 1


ORGAN = ellipsoid((15.0, 18.0, 12.0))
BOX = box_of_mask(ORGAN[SEED])


def noisy(mask: np.ndarray, inside: float = 130.0, outside: float = 50.0, sigma: float = 4.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.where(mask, inside, outside) + rng.normal(0, sigma, mask.shape)


def test_ellipsoid_guesses_the_depth_from_the_box() -> None:
    mask = ellipsoid_of_box(SHAPE, SEED, BOX, (ROW_MM, COLUMN_MM), SLICE_MM)
    assert dice(mask, ORGAN) > 0.95  # half-axes 18 and 12 mm: the guess of 15 mm is right here
    assert box_of_mask(mask[SEED]) == BOX
    half = ((BOX[2] - BOX[0]) * COLUMN_MM + (BOX[3] - BOX[1]) * ROW_MM) / 4
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [
        n for n in range(SHAPE[0]) if abs(n - SEED) * SLICE_MM < half
    ]


def test_ellipsoid_reaches_its_limits_exactly() -> None:
    mask = ellipsoid_of_box(SHAPE, SEED, BOX, (ROW_MM, COLUMN_MM), SLICE_MM, limits=(3, 14))
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == list(range(3, 15))
    areas = mask.sum(axis=(1, 2))
    assert areas.argmax() == SEED
    assert (np.diff(areas[3:13]) > 0).all()


def test_ellipsoid_is_cut_by_the_volume() -> None:
    mask = ellipsoid_of_box((4, *SHAPE[1:]), 1, BOX, (ROW_MM, COLUMN_MM), SLICE_MM)
    assert mask.any(axis=(1, 2)).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_otsu_walk_follows_an_organ_and_stops_at_its_end(sign: int) -> None:
    mask = otsu_walk(sign * noisy(ORGAN), SEED, BOX)
    assert dice(mask, ORGAN) > 0.95
    got, true = (np.flatnonzero(m.any(axis=(1, 2))) for m in (mask, ORGAN))
    assert abs(int(got[0]) - int(true[0])) <= 1
    assert abs(int(got[-1]) - int(true[-1])) <= 1


def test_otsu_walk_stops_where_neighbours_disagree() -> None:
    """An organ that suddenly moves by more than half its size ends the walk there; the other side goes on."""
    image = noisy(np.broadcast_to(ORGAN[SEED], SHAPE), sigma=0.0)
    image[17:] = np.roll(image[17:], 14, axis=2)
    mask = otsu_walk(image, SEED, BOX)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == list(range(17))
    patient = otsu_walk(image, SEED, BOX, iou_threshold=0.0)
    assert patient[17:].any(axis=(1, 2)).all()


def test_otsu_walk_respects_limits_and_keeps_its_input() -> None:
    image = noisy(ORGAN)
    before = image.copy()
    mask = otsu_walk(image, SEED, BOX, limits=(10, 13))
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [10, 11, 12, 13]
    assert np.array_equal(image, before)


def test_otsu_walk_works_on_any_axis_and_on_colour() -> None:
    image = noisy(ORGAN)
    along = otsu_walk(np.moveaxis(image, 2, 0), 32, box_of_mask(np.moveaxis(ORGAN, 2, 0)[32]))
    assert dice(np.moveaxis(along, 0, 2), ORGAN) > 0.95
    colour = np.repeat(image[..., None], 3, axis=3)
    assert dice(otsu_walk(colour, SEED, BOX), ORGAN) > 0.95


def test_copy_through() -> None:
    mask = copy_through(ORGAN[SEED], 25, (-3, 4))
    assert mask.shape == SHAPE
    assert (mask[:5] == ORGAN[SEED]).all()
    assert not mask[5:].any()


@pytest.mark.parametrize(
    "function",
    [
        lambda seed: ellipsoid_of_box(SHAPE, seed, BOX, (1.0, 1.0), 1.0, limits=(5, 20)),
        lambda seed: otsu_walk(np.zeros(SHAPE), seed, BOX, limits=(5, 20)),
    ],
)
@pytest.mark.parametrize("seed", [4, 21, 25, -1])
def test_a_seed_outside_is_refused(function, seed: int) -> None:
    with pytest.raises(InputError, match="seed slice"):
        function(seed)


def test_volume_of_the_guessed_ellipsoid() -> None:
    mask = ellipsoid_of_box((61, 80, 80), 30, (19.5, 19.5, 59.5, 59.5), (1.0, 1.0), 1.0)
    assert mask.sum() == pytest.approx(4 / 3 * math.pi * 20**3, rel=0.02)
