"""Slice pixels and network pixels: round trips of points, images and masks, with odd shapes and spacings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib.models.frame import OUTSIDE_LOGIT, Frame, Region

SHAPES = [(512, 512), (300, 200), (37, 91), (1, 64)]
SPACINGS = [(1.0, 1.0), (5.0, 0.8), (0.7, 2.1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("region", [None, Region(-4, 10, 60, 74)])
def test_points_come_back(shape, spacing, region):
    frame = Frame.longest_side(shape, spacing, 128, region)
    points = np.array([[0.0, 0.0], [shape[1] - 1, shape[0] - 1], [3.25, 7.5]])
    assert np.allclose(frame.from_network(frame.to_network(points)), points, atol=1e-9)


def test_longest_side_makes_pixels_square():
    frame = Frame.longest_side((20, 100), (5.0, 1.0), 128)
    assert frame.content == (128, 128)
    assert frame.scale == (1.28, 6.4)


def test_pixel_centres_meet():
    frame = Frame.squash((64, 64), 128)
    assert np.allclose(frame.to_network([[0.0, 0.0]]), 0.5)
    assert np.allclose(frame.to_network([[-0.5, 63.5]]), [[-0.5, 127.5]])


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_disc_survives_the_way_to_the_network_and_back(shape, spacing):
    rows, cols = np.indices(shape)
    y, x = (rows - shape[0] / 2) * spacing[0], (cols - shape[1] / 2) * spacing[1]
    radius = 0.3 * min(shape[0] * spacing[0], shape[1] * spacing[1])
    image = np.clip(radius - np.hypot(x, y), -3, 3).astype(np.float32)
    frame = Frame.longest_side(shape, spacing, 256)
    sampled = frame.sample(frame.crop(image))
    padded = torch.full((1, 256, 256), -9.0)
    padded[:, : sampled.shape[1], : sampled.shape[2]] = sampled
    back = frame.restore(padded)[0] > 0
    truth = image > 0
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.97


def test_region_over_the_edge_repeats_pixels_and_pastes_back():
    image = np.arange(100, dtype=np.float32).reshape(10, 10)
    frame = Frame.squash((10, 10), 16, Region(-2, 6, 6, 14))
    patch = frame.crop(image)
    assert patch.shape == (8, 8)
    assert np.array_equal(patch[0], patch[2])
    assert np.array_equal(patch[:, -1], patch[:, 3])
    full = frame.restore(torch.ones(1, 16, 16))
    assert full.shape == (1, 10, 10)
    assert np.all(full[0, :6, 6:] == 1)
    assert np.all(full[0, 6:] == OUTSIDE_LOGIT)
    assert np.all(full[0, :, :6] == OUTSIDE_LOGIT)


def test_mask_prompt_keeps_place_and_pads_with_background():
    mask = np.zeros((100, 50), dtype=bool)
    mask[40:60, 10:30] = True
    prompt = Frame.longest_side((100, 50), (1.0, 1.0), 128).mask_logits(mask, 64)
    rows, cols = np.nonzero(prompt > 0)
    assert prompt.shape == (64, 64)
    assert np.allclose(np.abs(prompt), 6.907)
    assert abs(rows.mean() - 49.5 * 0.64) < 0.6
    assert abs(cols.mean() - 19.5 * 0.64) < 0.6
    assert np.all(prompt[:, 33:] < 0)


def test_mask_too_small_for_the_prompt_is_none():
    mask = np.zeros((2000, 2000), dtype=bool)
    mask[5, 5] = True
    assert Frame.squash((2000, 2000), 128).mask_logits(mask, 64) is None
