"""Mask -> prompts of the next slice, in every mode, ours and as published."""

from __future__ import annotations

import numpy as np
import pytest
from propagation_stub import SHAPE, disc
from scipy import ndimage
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.prompts.projection import (
    MAX_POINTS,
    Projection,
    boundary_distance,
    mask_bounds,
    peaks,
    project,
)
from skimage.feature import peak_local_max
from skimage.segmentation import find_boundaries


def rectangle(row0: int, row1: int, col0: int, col1: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[row0:row1, col0:col1] = True
    return mask


@pytest.mark.parametrize(
    ("mode", "box", "mask", "points", "single"),
    [
        ("mask", True, True, False, False),
        ("box", True, False, False, False),
        ("points", False, False, True, False),
        ("points_and_mask", False, True, True, False),
        ("single_point", False, False, True, True),
        ("box+points", True, False, True, False),
        ("box + mask + points", True, True, True, False),
        ({"use_box": True, "use_mask": False, "use_points": True}, True, False, True, False),
    ],
)
def test_modes(mode, box: bool, mask: bool, points: bool, single: bool) -> None:
    assert Projection.parse(mode) == Projection(box, mask, points, single)
    prompts = project(disc(9), mode, box_extension=0.5)
    assert (prompts.box is not None, prompts.mask is not None, len(prompts.points) > 0) == (box, mask, points)
    if single:
        assert prompts.labels.tolist() == [1]
    elif points:
        assert set(prompts.labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    "value",
    [
        "masks",
        "",
        "box+",
        "box+lasso",
        None,
        3,
        {},
        {"use_box": True},
        {"use_box": False, "use_mask": False, "use_points": False},
        {"use_box": 1, "use_mask": 0, "use_points": 0},
        {"use_box": True, "use_mask": True, "use_points": True, "use_scribble": True},
    ],
)
def test_unknown_modes_are_refused(value) -> None:
    with pytest.raises(InputError, match="Expected a projection") as caught:
        Projection.parse(value)
    assert caught.value.code == "option.projection"


def test_names_survive_a_round_trip() -> None:
    for mode in ("mask", "box", "points", "points_and_mask", "single_point", "box+points", "box+mask+points"):
        assert str(Projection.parse(mode)) == mode


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        (0, (19.5, 9.5, 39.5, 19.5)),
        (2, (17.5, 7.5, 41.5, 21.5)),
        (0.1, (17.5, 8.5, 41.5, 20.5)),
        (100, (-0.5, -0.5, 55.5, 47.5)),
    ],
)
def test_box_edges_lie_on_pixel_borders_and_inside_the_slice(extension: float, expected: tuple) -> None:
    assert project(rectangle(10, 20, 20, 40), "box", box_extension=extension).box == pytest.approx(expected)


def test_the_smallest_margin_counts_per_direction() -> None:
    prompts = project(rectangle(10, 20, 20, 40), "box", box_extension=0.1, min_margin_px=(3.0, 0.5))
    assert prompts.box == pytest.approx((17.5, 6.5, 41.5, 22.5))


def test_the_published_box_has_maxima_plus_one_and_rounded_numbers() -> None:
    assert project(rectangle(10, 20, 20, 40), "box", box_extension=0, as_published=True).box == (20, 10, 40, 20)
    assert project(rectangle(10, 20, 20, 40), "box", box_extension=0.13, as_published=True).box == (17, 9, 43, 21)
    assert project(rectangle(0, 48, 0, 56), "box", box_extension=5, as_published=True).box == (0, 0, 56, 48)


@pytest.mark.parametrize("as_published", [False, True])
def test_an_empty_mask_gives_no_prompt_at_all(as_published: bool) -> None:
    assert project(np.zeros(SHAPE, dtype=bool), "mask", as_published=as_published).empty


@pytest.mark.parametrize("extension", [0, 0.05, 0.25, 6])
def test_points_lie_on_the_right_side(extension: float) -> None:
    mask = disc(9) | disc(6, (24, 40))
    prompts = project(mask, "points", box_extension=extension)
    for (x, y), label in zip(prompts.points.astype(int), prompts.labels, strict=True):
        assert mask[y, x] == bool(label)


def test_a_single_point_is_the_deepest() -> None:
    assert project(disc(9), "single_point").points.tolist() == [[28.0, 24.0]]


def test_an_object_that_fills_its_box_is_where_padding_matters() -> None:
    mask = rectangle(10, 20, 20, 40)
    ours = project(mask, "single_point", box_extension=0)
    x, y = ours.points[0]
    assert abs(y - 14.5) <= 1, "in the middle of the short side"
    assert 24 <= x <= 35
    crop = mask[10:20, 20:40]
    assert boundary_distance(crop)[0, 0] < boundary_distance(crop)[5, 10]
    x, y = project(mask, "single_point", box_extension=0, as_published=True).points[0]
    assert not (abs(y - 14.5) <= 1 and 24 <= x <= 35), "unpadded, no border is seen and the place is arbitrary"


def test_points_at_the_edge_of_the_slice_treat_it_as_border() -> None:
    mask = rectangle(0, 10, 20, 40)
    x, y = project(mask, "single_point", box_extension=0.2).points[0]
    assert abs(y - 4.5) <= 1
    assert 24 <= x <= 35


def test_points_as_published_agree_with_scikit_image() -> None:
    mask = disc(9) | disc(7, (30, 42)) | disc(5, (15, 15))
    prompts = project(mask, "points", box_extension=4, as_published=True)
    x0, y0, x1, y1 = map(int, project(mask, "box", box_extension=4, as_published=True).box)
    crop = mask[y0:y1, x0:x1]
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(find_boundaries(crop, mode="outer") == 0), 1)
    for label, values, spacing in ((1, distance * crop, 3), (0, distance * ~crop, 5)):
        expected = peak_local_max(values, min_distance=spacing, exclude_border=False) + np.array([y0, x0])
        found = prompts.points[prompts.labels == label][:, ::-1].astype(int)
        assert sorted(map(tuple, found)) == sorted(map(tuple, expected))


def test_peaks_agree_with_scikit_image_on_noise() -> None:
    rng = np.random.default_rng(3)
    for distance in (1, 3, 5):
        values = ndimage.gaussian_filter(rng.random((60, 70)), 1.5)
        expected = peak_local_max(values, min_distance=distance, exclude_border=False)
        assert np.array_equal(peaks(values, distance), expected)
        assert np.array_equal(peaks(values, distance, limit=4), expected[:4])


def test_points_are_few() -> None:
    rng = np.random.default_rng(0)
    rough = ndimage.gaussian_filter(rng.random((200, 200)), 3) > 0.5
    prompts = project(rough, "points")
    assert np.count_nonzero(prompts.labels == 1) <= MAX_POINTS
    assert np.count_nonzero(prompts.labels == 0) <= MAX_POINTS


def test_one_pixel_still_gives_a_point_and_a_box() -> None:
    mask = rectangle(7, 8, 9, 10)
    assert project(mask, "points").points[0].tolist() == [9.0, 7.0]
    assert project(mask, "box", box_extension=0).box == (8.5, 6.5, 9.5, 7.5)


def test_bounds() -> None:
    assert mask_bounds(rectangle(3, 9, 4, 11)) == (3, 9, 4, 11)
    assert mask_bounds(np.zeros(SHAPE, dtype=bool)) is None
