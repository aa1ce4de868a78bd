from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.models.area_resize import area_resize

RAMP = (np.arange(48, dtype=np.int64) ** 2 * 7 % 256).astype(np.uint8).reshape(6, 8)
# What OpenCV 5.0 returns for RAMP with INTER_AREA.
KNOWN = {
    (3, 4): [[64, 90, 172, 118], [112, 202, 156, 102], [160, 122, 140, 150]],
    (4, 5): [[49, 65, 112, 175, 119], [105, 196, 208, 87, 84], [111, 130, 157, 180, 116], [167, 132, 168, 134, 145]],
    (2, 8): [[64, 98, 145, 122, 197, 116, 135, 82], [128, 156, 113, 170, 155, 154, 167, 108]],
    (9, 12): [
        [0, 4, 7, 28, 46, 63, 112, 144, 175, 252, 170, 87],
        [96, 64, 31, 108, 90, 71, 176, 172, 167, 172, 118, 63],
        [192, 124, 55, 188, 134, 79, 240, 200, 159, 92, 66, 39],
        [0, 116, 231, 220, 222, 223, 240, 128, 15, 60, 90, 119],
        [96, 112, 127, 172, 202, 231, 176, 156, 135, 108, 102, 95],
        [192, 108, 23, 124, 182, 239, 112, 184, 255, 156, 114, 71],
        [0, 100, 199, 156, 142, 127, 112, 112, 111, 124, 138, 151],
        [96, 160, 223, 108, 122, 135, 176, 140, 103, 172, 150, 127],
        [192, 220, 247, 60, 102, 143, 240, 168, 95, 220, 162, 103],
    ],
    (7, 8): [
        [0, 7, 28, 63, 112, 175, 252, 87],
        [160, 47, 161, 76, 219, 162, 118, 47],
        [64, 172, 209, 175, 240, 63, 70, 92],
        [96, 127, 172, 231, 176, 135, 108, 95],
        [128, 82, 135, 202, 112, 207, 145, 98],
        [32, 207, 140, 130, 133, 108, 140, 143],
        [192, 247, 60, 143, 240, 95, 220, 103],
    ],
}


@pytest.mark.parametrize("size", KNOWN)
def test_equals_opencv(size):
    ours = area_resize(RAMP, *size).astype(int)
    theirs = np.array(KNOWN[size])
    tolerance = 0 if size[0] <= 6 and size[1] <= 8 else 1
    assert np.abs(ours - theirs).max() <= tolerance


def test_colours_are_resized_one_by_one():
    image = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)
    together = area_resize(image, 4, 5)
    assert together.shape == (4, 5, 3)
    for channel in range(3):
        np.testing.assert_array_equal(together[..., channel], area_resize(image[..., channel].copy(), 4, 5))


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (13, 5)])
def test_a_constant_stays_constant(size):
    assert (area_resize(np.full((6, 8), 77, np.uint8), *size) == 77).all()


def test_the_mean_is_kept_where_pixels_are_averaged():
    noise = np.random.default_rng(0).integers(0, 256, (90, 70)).astype(np.uint8)
    assert abs(area_resize(noise, 31, 17).mean() - noise.mean()) < 0.5
