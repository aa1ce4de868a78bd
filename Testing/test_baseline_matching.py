"""Matching of cells, hand-on of labels, graph of masks, fusion of candidates: the arithmetic of the baselines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.baselines.fusion import fitted_weights, fused
from SegmentAnythingMedLib.adaptive.baselines.label_walk import KnownCells, hand_on
from SegmentAnythingMedLib.adaptive.baselines.mask_graph import chosen_masks, likeness_maps, point_cells
from SegmentAnythingMedLib.adaptive.baselines.matching import Matches, mutual_matches, spread, strongest_half


def tokens(count: int, seed: int = 0, channels: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, channels))


def test_forth_assignment_is_the_best_of_all() -> None:
    reference, target = tokens(4), tokens(4, 1)
    matches = mutual_matches(reference, np.ones(4, dtype=bool), target)
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in target] for a in reference])
    best = max(sum(cosine[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(4)))
    assert matches.similarity.sum() == pytest.approx(best)
    assert matches.target.tolist() == [0, 1, 2, 3]


def test_a_match_whose_way_back_ends_in_the_background_is_dropped() -> None:
    reference = np.eye(4)[[0, 1, 2]]  # object, object, background
    target = np.array([[1.0, 0, 0, 0], [0, 0.2, 1.0, 0]])  # the second looks like the background
    matches = mutual_matches(reference, np.array([True, True, False]), target)
    assert matches.target.tolist() == [0]


def test_all_matches_stay_when_none_comes_back() -> None:
    reference = np.array([[1.0, 0.2], [0.0, 1.0]])
    matches = mutual_matches(reference, np.array([True, False]), np.array([[0.1, 1.0]]))
    assert matches.target.tolist() == [0]


def test_more_foreground_cells_than_target_cells() -> None:
    assert len(mutual_matches(tokens(9), np.ones(9, dtype=bool), tokens(3, 2)).target) == 3


def test_the_better_half_of_many_matches() -> None:
    many = Matches(np.arange(50), np.linspace(0, 1, 50))
    assert strongest_half(many).target.tolist() == list(range(25, 50))
    few = Matches(np.arange(40), np.linspace(0, 1, 40))
    assert strongest_half(few) is few


def test_spread_keeps_ends_apart() -> None:
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(100, 4).tolist() == [12, 37, 62, 87]


def test_labels_go_to_cells_that_look_alike() -> None:
    known = KnownCells(np.eye(3), np.array([1.0, 0.0, 0.0]))
    soft = hand_on([known], np.eye(3)[[1, 0]] * 7, np.zeros((2, 2)), neighbours=2)
    assert soft[0] < 1e-6
    assert soft[1] > 1 - 1e-6


def test_a_neighbouring_slice_teaches_nearby_cells_only() -> None:
    known = KnownCells(np.eye(2), np.array([0.0, 0.0]))
    beside = KnownCells(np.eye(2)[:1], np.array([1.0]), np.array([[0.0, 0.0]]))
    target = np.eye(2)[[0, 0]]
    soft = hand_on([known, beside], target, np.array([[0.0, 12.0], [0.0, 12.5]]), neighbours=2)
    assert soft[0] == pytest.approx(0.5)
    assert soft[1] == pytest.approx(0.0, abs=1e-6)


def test_likeness_maps_and_their_points() -> None:
    reference, foreground = np.eye(3)[[0, 0, 1]], np.array([True, True, False])
    maps = likeness_maps(reference, foreground, np.eye(3)[[0, 1, 2, 0]])
    assert maps.mean.tolist() == [1, 0, 0, 1]
    assert maps.other.tolist() == [0, 1, 0, 0]
    assert sorted(point_cells(maps)) == [0, 3]
    assert len(point_cells(maps, most=1)) == 1


def test_no_points_where_nothing_differs() -> None:
    maps = likeness_maps(np.ones((2, 3)), np.array([True, False]), np.ones((5, 3)))
    assert len(point_cells(maps)) == 0


def test_masks_that_spill_over_are_left_out() -> None:
    """Cells 0..3 look like the object; the mask of point 1 covers the whole slice."""
    target = np.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1]]
    maps = likeness_maps(np.eye(2), np.array([True, False]), target)
    right, all_cells = np.arange(8) < 4, np.ones(8, dtype=bool)
    places = np.stack([np.arange(8), np.zeros(8)], axis=1).astype(float)
    chosen = chosen_masks(np.array([0, 1, 2]), np.stack([right, all_cells, right]), target, places, maps)
    assert 1 not in chosen
    assert {0, 2} & set(chosen)


def test_no_mask_is_chosen_when_all_are_empty() -> None:
    maps = likeness_maps(np.eye(2), np.array([True, False]), np.eye(2))
    none = chosen_masks(np.array([0]), np.zeros((1, 2), dtype=bool), np.eye(2), np.zeros((2, 2)), maps)
    assert len(none) == 0


def discs(side: int, radii: list[float]) -> np.ndarray:
    rows, cols = np.mgrid[:side, :side]
    away = np.hypot(rows - side / 2, cols - side / 2)
    return np.stack([(radius - away) / 2 for radius in radii]).astype(np.float32)


def test_fitted_weights_prefer_the_candidate_that_fits() -> None:
    logits = discs(64, [6, 14, 30])
    weights = fitted_weights(logits, discs(64, [6])[0] > 0)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.6
    error = [np.count_nonzero((fused(logits, w) > 0) != (logits[0] > 0)) for w in (weights, np.full(3, 1 / 3))]
    assert error[0] < error[1]


def test_pixels_in_bins_give_the_weights_of_all_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from SegmentAnythingMedLib.adaptive.baselines import fusion

    logits, truth = discs(48, [8, 10, 14]), discs(48, [9])[0] > 0
    coarse = fitted_weights(logits, truth, steps=200)
    monkeypatch.setattr(fusion, "BIN", 1e-3)
    assert fitted_weights(logits, truth, steps=200) == pytest.approx(coarse, abs=1e-3)
