"""Tokens of a mask: the released rule to the letter, and the area rule that loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.tokens import background_cells, covered, foreground_cells, spread_out
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.models.frame import Frame, Region

SHAPE = (64, 64)


def whole(rows: int, cols: int) -> Frame:
    return Frame.longest_side((rows, cols), (1.0, 1.0), 1024)


def disc(rows: int, cols: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.mgrid[:rows, :cols]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2


def test_published_rule_is_three_of_the_four_central_pixels():
    """On a slice of the network's own size nothing is interpolated, so the rule can be told pixel by pixel."""
    mask = np.random.default_rng(0).random((1024, 1024)) < 0.6
    centres = mask.reshape(64, 16, 64, 16)[:, 7:9, :, 7:9].sum(axis=(1, 3))
    assert np.array_equal(foreground_cells(mask, whole(1024, 1024), SHAPE, "published"), centres >= 3)


def test_a_lesion_of_1197_pixels_gives_about_19_tokens():
    mask = disc(512, 512, (250.3, 201.7), 19.52)
    assert np.count_nonzero(mask) == pytest.approx(1197, abs=6)
    frame = whole(512, 512)
    assert np.count_nonzero(foreground_cells(mask, frame, SHAPE, "published")) == pytest.approx(19, abs=2)
    assert np.count_nonzero(foreground_cells(mask, frame, SHAPE)) == pytest.approx(19, abs=2)


def test_published_rule_loses_small_objects_and_the_area_rule_does_not():
    mask = disc(512, 512, (256.0, 256.0), 2.5)  # at the corner of four cells
    frame = whole(512, 512)
    assert not foreground_cells(mask, frame, SHAPE, "published").any()
    cells = foreground_cells(mask, frame, SHAPE)
    assert np.argwhere(cells).tolist() == [[31, 31], [31, 32], [32, 31], [32, 32]]


@pytest.mark.parametrize("radius", [0.6, 1.5, 3.0, 5.0])
def test_the_area_rule_never_returns_nothing_and_only_cells_that_are_touched(radius):
    rng = np.random.default_rng(int(radius * 10))
    for _ in range(5):
        mask = disc(384, 288, rng.uniform(20, 260, 2), radius)
        frame = whole(384, 288)
        cells = foreground_cells(mask, frame, SHAPE)
        assert cells.any()
        assert (covered(mask, frame, SHAPE)[cells] > 0).all()


def test_covered_parts_add_up_to_the_area_of_the_mask():
    mask = disc(96, 130, (40, 70), 21.3)
    for frame in (whole(96, 130), Frame.squash((96, 130), 128), Frame.squash((96, 130), 128, Region(-7, 30, 88, 125))):
        sx, sy = frame.scale
        cell = (frame.size / 16) ** 2 / sx / sy
        assert covered(mask, frame, (16, 16)).sum() * cell == pytest.approx(np.count_nonzero(mask))


def test_covered_does_not_see_past_the_region():
    mask = np.ones((100, 100), dtype=bool)
    frame = Frame.longest_side((100, 100), (1.0, 1.0), 64, Region(10, 10, 42, 74))  # half of the input is padding
    share = covered(mask, frame, (8, 8))
    assert np.allclose(share[:4], 1)
    assert np.allclose(share[4:], 0)


def test_padding_is_background_in_the_released_code_only():
    mask = disc(384, 288, (100, 100), 40)
    frame = whole(384, 288)
    valid = np.arange(64)[None, :].repeat(64, 0) < 48
    published = background_cells(mask, frame, SHAPE, valid, "published")
    ours = background_cells(mask, frame, SHAPE, valid)
    assert published[:, 48:].all()
    assert not ours[:, 48:].any()
    assert np.array_equal(published, ~foreground_cells(mask, frame, SHAPE, "published"))


def test_background_keeps_near_the_object_and_off_its_border():
    mask = disc(512, 512, (256, 256), 24)  # six cells across
    valid = np.ones(SHAPE, dtype=bool)
    near = background_cells(mask, whole(512, 512), SHAPE, valid, reach=1.0)
    rows, cols = np.nonzero(near)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (23, 40, 23, 40)
    assert (covered(mask, whole(512, 512), SHAPE)[near] < 0.25).all()


def test_a_mask_that_fills_the_view_has_no_background_and_the_released_rule_no_foreground():
    mask = np.ones((512, 512), dtype=bool)
    frame = whole(512, 512)
    assert foreground_cells(mask, frame, SHAPE).all()
    assert not foreground_cells(mask, frame, SHAPE, "published").any()
    assert not background_cells(mask, frame, SHAPE, np.ones(SHAPE, bool), reach=2.0).any()


def test_unknown_rule_is_refused():
    with pytest.raises(InputError) as caught:
        foreground_cells(np.ones((8, 8), bool), Frame.squash((8, 8), 16), (2, 2), "nearest")
    assert caught.value.code == "option.token_rule"


def test_thinning_is_even_and_leaves_few_alone():
    tokens = np.arange(100)[:, None]
    assert np.array_equal(spread_out(tokens, 100), tokens)
    thin = spread_out(tokens, 10)[:, 0]
    assert np.array_equal(np.diff(thin), np.full(9, 10))
