"""GrowCut against its definition, and seeded from a box."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
from SegmentAnythingMedLib.evaluation.boxes2d import box_of_mask
from SegmentAnythingMedLib.evaluation.growcut import growcut, growcut_of_box
from SegmentAnythingMedLib.evaluation.metrics import dice


def strongest_paths(values: np.ndarray, seeds: np.ndarray, label: int) -> np.ndarray:
    """Second implementation: largest product of (1 - |difference| / range) over paths from the seeds of one label."""
    span = values.max() - values.min()
    best = np.zeros(values.shape)
    queue = [(-1.0, tuple(map(int, p))) for p in np.argwhere(seeds == label)]
    while queue:
        strength, at = heapq.heappop(queue)
        if -strength <= best[at]:
            continue
        best[at] = -strength
        for axis, step in itertools.product(range(values.ndim), (-1, 1)):
            to = (*at[:axis], at[axis] + step, *at[axis + 1 :])
            if 0 <= to[axis] < values.shape[axis] and seeds[to] == 0:
                heapq.heappush(queue, (strength * (1 - abs(values[at] - values[to]) / span), to))
    return best


def test_sweeps_reach_the_fixed_point_of_the_automaton() -> None:
    rng = np.random.default_rng(5)
    values = rng.random((4, 9, 8)).astype(np.float32)
    seeds = np.zeros(values.shape, dtype=np.int8)
    seeds[1, 4, 4], seeds[:, 0], seeds[3, 8, 7] = 1, -1, 1
    ours, theirs = strongest_paths(values, seeds, 1), strongest_paths(values, seeds, -1)
    clear = np.abs(ours - theirs) > 1e-5
    assert clear.mean() > 0.9
    assert np.array_equal(growcut(values, seeds)[clear], (ours > theirs)[clear])


def test_regions_with_sharp_borders_are_filled_completely() -> None:
    values = np.zeros((1, 30, 30))
    values[0, 8:20, 10:25] = 100.0
    seeds = np.zeros(values.shape, dtype=np.int8)
    seeds[0, 12, 12], seeds[0, 0, 0] = 1, -1
    assert np.array_equal(growcut(values, seeds), values > 50)


def test_flat_image_without_background_seeds_is_all_object() -> None:
    seeds = np.zeros((2, 5, 5), dtype=np.int8)
    assert not growcut(np.full(seeds.shape, 3), seeds).any()
    seeds[0, 2, 2] = 1
    assert growcut(np.full(seeds.shape, 3), seeds).all()


def organ_and_image(inside: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    k, j, i = np.mgrid[:24, :60, :64].astype(float)
    organ = ((k - 12) / 7) ** 2 + ((j - 30) / 18) ** 2 + ((i - 32) / 15) ** 2 <= 1
    rng = np.random.default_rng(2)
    return organ, np.where(organ, inside, 0.3) + rng.normal(0, 0.02, organ.shape)


def test_box_seeds_find_an_organ() -> None:
    organ, image = organ_and_image()
    box = box_of_mask(organ[12])
    before = image.copy()
    assert dice(growcut_of_box(image, 12, box, (1.0, 1.0), 2.5), organ) > 0.95
    assert np.array_equal(image, before)


def test_growth_is_bounded_by_box_and_limits() -> None:
    """In an image without borders nothing stops the automaton but the background seeds."""
    box = (20.5, 20.5, 40.5, 36.5)
    flat = np.zeros((24, 60, 64), dtype=np.uint8)
    mask = growcut_of_box(flat, 12, box, (1.0, 1.0), 2.5, limits=(10, 13))
    assert mask[12].any()
    assert not mask[:10].any()
    assert not mask[14:].any()
    assert box_of_mask(mask.any(axis=0))[0] >= 20.5 - 0.25 * 20
    free = growcut_of_box(flat, 12, box, (1.0, 1.0), 2.5)
    reach = np.flatnonzero(free.any(axis=(1, 2)))
    assert reach[0] >= 12 - 6  # 1.5 * 9 mm in slices of 2.5 mm, rounded up
    assert reach[-1] <= 12 + 6
    tight = growcut_of_box(flat, 12, box, (1.0, 1.0), 2.5, limits=(12, 12))
    assert np.flatnonzero(tight.any(axis=(1, 2))).tolist() == [12]


def test_volume_edges_and_colour() -> None:
    organ, image = organ_and_image()
    part = slice(12, 16)
    box = box_of_mask(organ[12])
    assert dice(growcut_of_box(image[part], 0, box, (1.0, 1.0), 2.5), organ[part]) > 0.95
    colour = np.repeat(image[..., None], 3, axis=3)
    assert dice(growcut_of_box(colour, 12, box, (1.0, 1.0), 2.5), organ) > 0.95
    outside = growcut_of_box(image, 12, (200.0, 200.0, 220.0, 220.0), (1.0, 1.0), 2.5)
    assert not outside.any()
