"""The robot user."""

from __future__ import annotations

import numpy as np
import pytest
from propagation_stub import SHAPE, ball, box_of, disc
from SegmentAnythingMedLib.errors import PromptError
from SegmentAnythingMedLib.prompts import simulation

EMPTY = np.zeros(SHAPE, dtype=bool)


def at(mask: np.ndarray, point: tuple[float, float]) -> bool:
    x, y = point
    return bool(mask[int(y), int(x)])


def test_first_point_is_the_deepest() -> None:
    assert simulation.first_point(disc(9) | disc(4, (8, 8))) == (28.0, 24.0)


def test_first_point_counts_the_edge_of_the_slice_as_border() -> None:
    mask = EMPTY.copy()
    mask[:11, 20:41] = True
    assert simulation.first_point(mask)[1] == 5.0


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(PromptError, match="at least one pixel") as caught:
        simulation.first_point(EMPTY)
    assert caught.value.code == "prompt.mask_empty"


def test_correction_clicks_the_largest_error() -> None:
    truth, extra, hole = disc(12), disc(4, (8, 8)), disc(6)
    (x, y), label = simulation.correction(truth, (truth & ~hole) | extra)
    assert label == 1
    assert (x, y) == (28.0, 24.0)
    (x, y), label = simulation.correction(truth, truth | extra)
    assert label == 0
    assert (x, y) == (8.0, 8.0)
    assert simulation.correction(truth, truth) is None


def test_random_corrections_stay_in_the_deeper_half_and_repeat_with_the_seed() -> None:
    truth = disc(12)
    clicks = [simulation.correction(truth, EMPTY, np.random.default_rng(seed))[0] for seed in range(30)]
    assert len(set(clicks)) > 10
    assert all((x - 28) ** 2 + (y - 24) ** 2 < 7.5**2 for x, y in clicks)
    assert clicks[3] == simulation.correction(truth, EMPTY, np.random.default_rng(3))[0]


def test_the_published_pair() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = disc(12), disc(12, (24, 34))
    for _ in range(20):
        (positive, one), (negative, zero) = simulation.correction_pair(truth, prediction, rng)
        assert (one, zero) == (1, 0)
        assert at(truth & ~prediction, positive)
        assert at(prediction & ~truth, negative)
        (positive, _), (negative, _) = simulation.correction_pair(truth, truth, rng, ring_px=3)
        assert at(truth, positive)
        assert not at(truth, negative)
        assert 13 <= negative[0] <= 42, "from the ring around the bounding box"
        assert 9 <= negative[1] <= 38


def test_a_full_slice_has_no_negative() -> None:
    full = ~EMPTY
    assert simulation.ring_negative(full, np.random.default_rng(0)) is None
    assert len(simulation.correction_pair(full, full, np.random.default_rng(0))) == 1


def test_jitter_is_bounded_symmetric_and_inside_the_slice() -> None:
    rng = np.random.default_rng(0)
    tight = np.array(box_of(disc(9)))
    boxes = np.array([simulation.jitter_box(disc(9), 0.05, rng) for _ in range(300)])
    side = tight[2] - tight[0]
    assert np.abs(boxes - tight).max() <= 0.05 * side
    assert np.abs((boxes - tight).mean(axis=0)).max() < 0.01 * side
    assert np.ptp(boxes - tight, axis=0).min() > 0.08 * side
    outward = np.array([simulation.jitter_box(disc(9), 0.1, rng, outward=True) for _ in range(100)])
    assert (outward[:, :2] <= tight[:2]).all()
    assert (outward[:, 2:] >= tight[2:]).all()
    assert simulation.jitter_box(~EMPTY, 0.2, rng, outward=True) == (-0.5, -0.5, 55.5, 47.5)


def test_volume_correction_takes_the_worst_slice_of_the_largest_component() -> None:
    truth = ball(20, 8, 9)
    prediction = truth.copy()
    prediction[7:10] &= ~disc(5)
    prediction[8] &= ~disc(6)
    action = simulation.volume_correction(truth, prediction)
    assert (action.index, action.label, action.stop) == (8, 1, False)
    assert action.point == (28.0, 24.0)


def test_volume_correction_asks_for_a_stop_where_nothing_should_be() -> None:
    truth = ball(20, 6, 6)
    prediction = truth.copy()
    prediction[14:18] = disc(9)
    action = simulation.volume_correction(truth, prediction)
    assert (action.label, action.stop) == (0, True)
    assert 14 <= action.index < 18
    assert simulation.volume_correction(truth, truth) is None
