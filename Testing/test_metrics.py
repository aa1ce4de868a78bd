"""Metrics against shapes whose numbers are known, and against a second implementation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import ndimage
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.evaluation.metrics import DISTANCES, dice, evaluate_masks, extent_errors, summarise

ANISOTROPIC = (1.0, 2.0, 5.0)  # I, J, K


def cuboid(shape: tuple[int, int, int], low: tuple[int, int, int], size: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))] = True
    return mask


def ball(radius_mm: float, spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> np.ndarray:
    """A ball in the middle; spacing I, J, K, shape K, J, I."""
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing[::-1], strict=True)]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    return k**2 + j**2 + i**2 <= radius_mm**2


def boundary_distances(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Second implementation: distance transform of the boundary voxels of ``b`` read at those of ``a``."""
    edge_a, edge_b = (m & ~ndimage.binary_erosion(m) for m in (a, b))
    return ndimage.distance_transform_edt(~edge_b, sampling=spacing[::-1])[edge_a]


CUBE = cuboid((16, 20, 24), (3, 5, 6), (10, 10, 10))


@pytest.mark.parametrize(
    ("axis", "step_mm", "spacing"),
    [(0, 5.0, ANISOTROPIC), (1, 2.0, ANISOTROPIC), (2, 1.0, ANISOTROPIC), (0, 0.7, (0.3, 0.4, 0.7))],
)
def test_a_cube_moved_by_one_voxel(axis: int, step_mm: float, spacing: tuple[float, float, float]) -> None:
    result = evaluate_masks(np.roll(CUBE, 1, axis=axis), CUBE, spacing)
    assert result["dice"] == pytest.approx(0.9)
    assert result["hd95_mm"] == pytest.approx(step_mm)
    assert 0 < result["assd_mm"] < step_mm
    assert result["flag"] == ""
    assert not result["failed"]
    voxel_ml = math.prod(spacing) / 1000
    assert result["volume_prediction_ml"] == pytest.approx(1000 * voxel_ml)
    assert result["volume_error_ml"] == pytest.approx(0)
    assert (result["nsd"] == pytest.approx(1.0)) == (step_mm <= 2.0)


def test_identical_masks_are_perfect() -> None:
    result = evaluate_masks(CUBE, CUBE.astype(np.int16) * 7, ANISOTROPIC)
    assert (result["dice"], result["nsd"]) == (1.0, 1.0)
    assert [result[name] for name in DISTANCES] == [0.0] * 4


def test_concentric_balls() -> None:
    shape = (31, 31, 31)
    small, large = ball(10, (1, 1, 1), shape), ball(13, (1, 1, 1), shape)
    result = evaluate_masks(large, small, (1, 1, 1), tolerance_mm=2.0)
    assert result["assd_mm"] == pytest.approx(3.0, abs=0.3)
    assert result["hd95_mm"] == pytest.approx(3.0, abs=0.5)
    assert result["nsd"] < 0.1  # a voxel surface is jagged by most of a voxel
    assert evaluate_masks(large, small, (1, 1, 1), tolerance_mm=4.0)["nsd"] == pytest.approx(1.0)
    expected = 2 * 10**3 / (10**3 + 13**3)
    assert result["dice"] == pytest.approx(expected, abs=0.02)
    assert result["volume_reference_ml"] == pytest.approx(4 / 3 * math.pi, rel=0.02)
    assert result["volume_error_ml"] > 0


def test_spacing_is_i_j_k() -> None:
    """A ball on an anisotropic grid is a ball only if the spacing meets the right axes."""
    spacing = (0.8, 1.0, 4.0)
    shape = (15, 50, 60)
    result = evaluate_masks(ball(16, spacing, shape), ball(20, spacing, shape), spacing)
    assert result["assd_mm"] == pytest.approx(4.0, abs=0.5)
    wrong = evaluate_masks(ball(16, spacing, shape), ball(20, spacing, shape), spacing[::-1])
    assert abs(wrong["assd_mm"] - 4.0) > 1.0


def test_distances_agree_with_distance_transforms() -> None:
    rng = np.random.default_rng(3)
    masks = [ndimage.gaussian_filter(rng.normal(size=(14, 40, 36)), (1, 3, 3)) > 0.02 for _ in range(2)]
    first, second = (np.pad(mask, 1) for mask in masks)
    spacing = (0.7, 0.9, 3.0)
    forth, back = boundary_distances(first, second, spacing), boundary_distances(second, first, spacing)
    result = evaluate_masks(first, second, spacing)
    assert result["hd95_mm"] == pytest.approx(max(np.percentile(forth, 95), np.percentile(back, 95)), rel=1e-5)
    assert result["assd_mm"] == pytest.approx(np.concatenate([forth, back]).mean(), rel=1e-5)
    assert result["asd_prediction_to_reference_mm"] == pytest.approx(forth.mean(), rel=1e-5)
    assert result["asd_reference_to_prediction_mm"] == pytest.approx(back.mean(), rel=1e-5)


def test_nsd_weighs_by_area_not_by_voxel_count() -> None:
    """A block of 40 x 40 x 40 mm in 5 mm slices that is one slice too long."""
    shape = (12, 48, 48)
    reference, longer = cuboid(shape, (2, 4, 4), (8, 40, 40)), cuboid(shape, (2, 4, 4), (9, 40, 40))
    nsd = evaluate_masks(longer, reference, (1.0, 1.0, 5.0))["nsd"]
    # Areas 9600 + 10400 mm2. Wrong: the far face 1600, the end face inside 1296 (its rim is near a side), 0..800 of
    # the sides.
    assert 0.80 < nsd < 0.87
    edges = [m & ~ndimage.binary_erosion(m) for m in (longer, reference)]
    pairs = (longer, reference), (reference, longer)
    far = [np.count_nonzero(boundary_distances(*pair, (1.0, 1.0, 5.0)) > 2) for pair in pairs]
    assert 1 - sum(far) / sum(map(np.count_nonzero, edges)) < 0.70  # what counting voxels would say


@pytest.mark.parametrize(
    ("prediction", "reference", "flag", "overlap"),
    [(False, False, "both_empty", 1.0), (False, True, "prediction_empty", 0.0), (True, False, "reference_empty", 0.0)],
)
def test_empty_masks(prediction: bool, reference: bool, flag: str, overlap: float) -> None:
    result = evaluate_masks(CUBE & prediction, CUBE & reference, ANISOTROPIC)
    assert result["flag"] == flag
    assert result["failed"] == (flag != "both_empty")
    assert (result["dice"], result["nsd"]) == (overlap, overlap)
    diagonal = math.hypot(16 * 5.0, 20 * 2.0, 24 * 1.0)
    expected = 0.0 if flag == "both_empty" else diagonal
    assert result["hd95_mm"] == result["assd_mm"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((4, 5, 6), dtype=bool),  # touches every border
        cuboid((4, 5, 6), (0, 0, 0), (1, 1, 1)),  # one voxel in a corner
        np.ones((1, 5, 6), dtype=bool),  # one slice
        np.ones((1, 1, 1), dtype=bool),
        np.ones((1, 1, 9), dtype=bool),
    ],
)
def test_small_and_border_cases_are_finite(mask: np.ndarray) -> None:
    result = evaluate_masks(mask, mask, ANISOTROPIC)
    assert (result["dice"], result["nsd"], result["hd95_mm"], result["assd_mm"]) == (1.0, 1.0, 0.0, 0.0)


def test_a_single_slice_is_measured_along_its_contour() -> None:
    """In 3-D every pixel of a one-slice mask would be surface; then a hole in the middle would cost nothing."""
    disc = np.hypot(*np.mgrid[-20:21, -20:21]) <= 15
    ring = disc & (np.hypot(*np.mgrid[-20:21, -20:21]) > 6)
    result = evaluate_masks(ring[None], disc[None], (1.0, 1.0, 3.0))
    assert result["hd95_mm"] == pytest.approx(9.0, abs=1.0)
    assert result["nsd"] == pytest.approx(30 / 36, abs=0.03)  # circumferences 15 + 15 of 15 + 15 + 6


def test_result_is_json_with_convention_and_library() -> None:
    result = json.loads(json.dumps(evaluate_masks(CUBE, CUBE, ANISOTROPIC)))
    assert result["library"].startswith("MONAI 1.")
    assert "95th" in result["convention"]
    assert "both_empty" in result["convention"]
    assert result["spacing_mm"] == [1.0, 2.0, 5.0]
    assert result["tolerance_mm"] == 2.0


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "tolerance", "code", "words"),
    [
        (CUBE[1:], CUBE, ANISOTROPIC, 2.0, "input.shape_mismatch", r"one shape.*\(15, 20, 24\).*resample"),
        (CUBE[0], CUBE[0], ANISOTROPIC, 2.0, "input.dimensions", "three axes.*has 2"),
        (CUBE * np.nan, CUBE, ANISOTROPIC, 2.0, "input.not_finite", "prediction.*NaN"),
        (CUBE, CUBE, (1.0, 0.0, 1.0), 2.0, "input.spacing", "three positive"),
        (CUBE, CUBE, (1.0, 1.0), 2.0, "input.spacing", "three positive"),
        (CUBE, CUBE, (1.0, math.nan, 1.0), 2.0, "input.spacing", "three positive"),
        (CUBE, CUBE, ANISOTROPIC, -1.0, "option.tolerance", ">= 0 mm, but is -1"),
    ],
)
def test_refuses(prediction, reference, spacing, tolerance, code: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        evaluate_masks(prediction, reference, spacing, tolerance_mm=tolerance)
    assert caught.value.code == code


def test_inputs_are_not_changed() -> None:
    first, second = CUBE.astype(np.uint8), np.roll(CUBE, 2, axis=1).astype(np.int16)
    copies = first.copy(), second.copy()
    evaluate_masks(first, second, ANISOTROPIC)
    assert np.array_equal(first, copies[0])
    assert np.array_equal(second, copies[1])


def test_extent_errors_have_a_sign_and_mm() -> None:
    reference = cuboid((20, 8, 8), (5, 2, 2), (8, 4, 4))
    assert extent_errors(cuboid((20, 8, 8), (4, 2, 2), (12, 4, 4)), reference, 2.5) == (2.5, 7.5)
    assert extent_errors(cuboid((20, 8, 8), (7, 2, 2), (6, 4, 4)), reference, 2.5) == (-5.0, 0.0)
    moved = np.moveaxis(reference, 0, 2)
    assert extent_errors(moved, moved, 2.5, axis=2) == (0.0, 0.0)
    assert extent_errors(np.zeros_like(reference), reference, 2.5) is None


def test_dice_of_slices() -> None:
    assert dice(CUBE[8], np.zeros_like(CUBE[8])) == 0.0
    assert dice(np.zeros((3, 3)), np.zeros((3, 3))) == 1.0
    assert dice(CUBE[8], np.roll(CUBE[8], 5, axis=0)) == pytest.approx(0.5)


def test_summary_counts_failures_instead_of_dropping_them() -> None:
    good = evaluate_masks(CUBE, CUBE, ANISOTROPIC)
    lost = evaluate_masks(CUBE & False, CUBE, ANISOTROPIC)
    summary = summarise([good, good, lost])
    assert (summary["n"], summary["n_failed"]) == (3, 1)
    assert summary["mean"]["dice"] == pytest.approx(2 / 3)
    assert summary["median"]["dice"] == 1.0
    assert summary["mean"]["hd95_mm"] == pytest.approx(lost["hd95_mm"] / 3)
    assert summarise([]) == {"n": 0, "n_failed": 0, "mean": {}, "median": {}}
