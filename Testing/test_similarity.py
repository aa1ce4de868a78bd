"""Similarity maps: cosines, the released steps of upsampling, peaks that never lie in padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from SegmentAnythingMedLib.adaptive.parts import unit
from SegmentAnythingMedLib.adaptive.similarity import highest, in_pixels, lowest, seen_pixels, similarity_maps
from SegmentAnythingMedLib.models.frame import Frame, Region


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_maps_are_cosines_whatever_the_length_of_the_tokens():
    tokens, prototypes = noise(5, 6, 9), unit(noise(3, 9, seed=1))
    maps = similarity_maps(prototypes, tokens)
    assert maps.shape == (3, 5, 6)
    assert maps[1, 2, 3] == pytest.approx(
        float(tokens[2, 3] @ prototypes[1]) / float(np.linalg.norm(tokens[2, 3])), abs=1e-6
    )
    assert np.allclose(maps, similarity_maps(prototypes, tokens * 7), atol=1e-6)
    assert np.isfinite(similarity_maps(prototypes, np.zeros_like(tokens))).all()


def test_upsampling_takes_the_released_steps():
    frame = Frame.longest_side((70, 90), (1.0, 1.0), 128)
    maps = noise(2, 8, 8)
    step = F.interpolate(torch.from_numpy(maps)[None], size=(32, 32), mode="bilinear", align_corners=False)
    step = F.interpolate(step, size=(128, 128), mode="bilinear", align_corners=False)
    rows, cols = frame.content
    step = F.interpolate(step[..., :rows, :cols], size=(70, 90), mode="bilinear", align_corners=False)
    assert np.array_equal(in_pixels(maps, frame), step[0].numpy())


@pytest.mark.parametrize(("shape", "same"), [((100, 100), False), ((60, 120), False), ((71, 90), True)])
def test_fewer_steps_hardly_move_peaks(shape, same):
    frame = Frame.longest_side(shape, (1.0, 1.0), 128)
    y, x = np.mgrid[:8, :8]
    centres = [(1.7, 3.2), (2.4, 1.1), (3.0, 5.6)]
    maps = np.stack([np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 6) for cy, cx in centres]).astype(np.float32)
    whole, short = in_pixels(maps, frame), in_pixels(maps, frame, all_steps=False)
    assert np.array_equal(whole, short) == same  # where padding cannot be cut off the steps are taken
    assert np.abs(whole - short).max() < 0.05
    for one, other in zip(whole, short, strict=True):
        assert np.abs(np.array(highest(one)) - highest(other)).max() <= 2


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (64, 64)])
def test_points_never_lie_in_padding_and_both_geometries_agree(shape):
    """SAM pads, SAM 2 squashes: the peak of the same place is found within a pixel, with (x, y) = (column, row)."""
    padded, squashed = Frame.longest_side(shape, (1.0, 1.0), 1024), Frame.squash(shape, 1024)
    target = np.array([(0.7 * shape[1], 0.3 * shape[0])])
    found = []
    for frame in (padded, squashed):
        (x, y), = frame.to_network(target)  # fmt: skip
        cells = (np.arange(64) + 0.5) * 16 - 0.5
        bump = np.exp(-((cells[None, :] - x) ** 2 + (cells[:, None] - y) ** 2) / (2 * 60.0**2)).astype(np.float32)
        if frame is padded:
            bump[(frame.content[0] + 15) // 16 :] = bump[:, (frame.content[1] + 15) // 16 :] = 5  # padding shines
        found.append(highest(in_pixels(bump[None], frame)[0]))
    for x, y in found:
        assert 0 <= x < shape[1]
        assert 0 <= y < shape[0]
    if shape[0] == shape[1]:
        assert np.abs(np.array(found[0]) - found[1]).max() <= 1
        assert np.abs(np.array(found) - target).max() <= 1


def test_sam_and_sam2_frames_place_a_peak_on_the_same_pixel():
    for shape in ((48, 96), (96, 48), (75, 100)):
        found = []
        for frame in (Frame.longest_side(shape, (1.0, 1.0), 1024), Frame.squash(shape, 1024)):
            (x, y), = frame.to_network(np.array([(0.4 * shape[1], 0.55 * shape[0])]))  # fmt: skip
            cells = (np.arange(64) + 0.5) * 16 - 0.5
            sx, sy = frame.scale
            far = ((cells[None, :] - x) / sx) ** 2 + ((cells[:, None] - y) / sy) ** 2
            found.append(highest(in_pixels(-far[None].astype(np.float32), frame)[0]))
        assert np.abs(np.array(found[0]) - found[1]).max() <= 1


def test_nothing_is_found_outside_a_region_or_what_is_allowed():
    frame = Frame.squash((30, 40), 64, Region(-5, 10, 15, 30))
    values = in_pixels(noise(1, 8, 8), frame)[0]
    assert np.array_equal(np.isfinite(values), seen_pixels(frame))
    assert np.count_nonzero(seen_pixels(frame)) == 15 * 20
    x, y = lowest(values)
    assert values[int(y), int(x)] == values[np.isfinite(values)].min()
    allowed = np.zeros((30, 40), dtype=bool)
    allowed[3, 12] = True
    assert highest(values, allowed) == (12.0, 3.0)
    assert highest(values, np.roll(allowed, 20, axis=0)) is None


def test_ties_go_to_the_first_in_row_major_order():
    values = np.zeros((4, 5), dtype=np.float32)
    values[2, 1] = values[1, 3] = 1
    assert highest(values) == (3.0, 1.0)
