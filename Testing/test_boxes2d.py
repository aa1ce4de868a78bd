"""Single-slice baselines."""

from __future__ import annotations

import math

import numpy as np
import pytest
from SegmentAnythingMedLib.errors import InputError, PromptError
from SegmentAnythingMedLib.evaluation.boxes2d import (
    box_of_mask,
    check_seed,
    ellipse_in_box,
    fill_box,
    grow_box,
    otsu_in_box,
    third_half_axis_mm,
)

SHAPE = (40, 50)
BOX = (9.5, 4.5, 29.5, 34.5)  # columns 10..29, rows 5..34


def test_fill_box_takes_the_pixels_of_the_box() -> None:
    mask = fill_box(SHAPE, BOX)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[5:35, 10:30] = True
    assert np.array_equal(mask, expected)
    assert box_of_mask(mask) == BOX


def test_box_over_the_edge_is_cut_by_the_slice() -> None:
    assert np.array_equal(fill_box((4, 4), (-9.0, 1.5, 99.0, 99.0)), np.arange(4)[:, None].repeat(4, 1) >= 2)
    assert not fill_box((4, 4), (10.0, 10.0, 20.0, 20.0)).any()


def test_ellipse_touches_the_sides_and_has_its_area() -> None:
    mask = ellipse_in_box(SHAPE, BOX)
    assert box_of_mask(mask) == BOX
    assert mask.sum() == pytest.approx(math.pi * 10 * 15, rel=0.02)
    assert np.array_equal(mask[5:35], mask[34:4:-1])
    assert not (mask & ~fill_box(SHAPE, BOX)).any()
    assert ellipse_in_box(SHAPE, BOX, 0.5).sum() == pytest.approx(mask.sum() / 4, rel=0.1)


@pytest.mark.parametrize("bright", [True, False])
def test_otsu_finds_the_object_whether_bright_or_dark(bright: bool) -> None:
    rng = np.random.default_rng(0)
    organ = ellipse_in_box(SHAPE, (11.0, 6.0, 28.0, 33.0))
    image = np.where(organ == bright, 120, 40) + rng.integers(-5, 6, SHAPE)
    assert np.array_equal(otsu_in_box(image.astype(np.int16), BOX), organ)
    assert np.array_equal(otsu_in_box(image.astype(np.float32), BOX, bright), organ)
    other = otsu_in_box(image, BOX, not bright)
    assert np.array_equal(other, fill_box(SHAPE, BOX) & ~organ)


def test_otsu_takes_colour_and_survives_a_flat_box() -> None:
    organ = ellipse_in_box(SHAPE, (11.0, 6.0, 28.0, 33.0))
    colour = np.where(organ[..., None], (200, 90, 30), (10, 60, 30)).astype(np.uint8)
    assert np.array_equal(otsu_in_box(colour, BOX), organ)
    assert np.array_equal(otsu_in_box(np.full(SHAPE, 7), BOX), fill_box(SHAPE, BOX))
    assert np.array_equal(otsu_in_box(np.full(SHAPE, np.float32(0.1)), BOX, False), fill_box(SHAPE, BOX))


def test_otsu_of_a_box_of_one_pixel() -> None:
    image = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    assert np.argwhere(otsu_in_box(image, (9.5, 4.5, 10.5, 5.5))).tolist() == [[5, 10]]
    assert otsu_in_box(image, (9.5, 4.5, 11.5, 5.5)).sum() == 1


@pytest.mark.parametrize("function", [lambda box: fill_box(SHAPE, box), lambda box: ellipse_in_box(SHAPE, box)])
@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 9.0), (9.0, 5.0, 5.0, 9.0), (5.0, 9.0, 9.0, 9.0), (math.nan, 0, 4, 4)])
def test_an_empty_box_is_refused(function, box) -> None:
    with pytest.raises(PromptError, match="x1 > x0") as caught:
        function(box)
    assert caught.value.code == "prompt.box_empty"


def test_boxes_of_masks_and_growing() -> None:
    assert box_of_mask(np.zeros(SHAPE, dtype=bool)) is None
    assert grow_box((0.0, 0.0, 10.0, 20.0), 0.1) == (-1.0, -2.0, 11.0, 22.0)
    assert grow_box((0.0, 0.0, 10.0, 20.0), 0.05, least=1.0) == (-1.0, -1.0, 11.0, 21.0)


def test_third_half_axis_is_the_mean_half_side_in_mm() -> None:
    assert third_half_axis_mm((0.0, 0.0, 10.0, 20.0), (0.5, 2.0)) == pytest.approx((10 * 2.0 / 2 + 20 * 0.5 / 2) / 2)


@pytest.mark.parametrize(("seed", "limits"), [(-1, None), (7, None), (2, (3, 5)), (6, (3, 5)), (8, (3, 20))])
def test_seed_must_be_within_volume_and_limits(seed: int, limits: tuple[int, int] | None) -> None:
    with pytest.raises(InputError, match=f"but is {seed}") as caught:
        check_seed(seed, 7, limits)
    assert caught.value.code == "option.seed"
    check_seed(4, 7, (3, 5))
