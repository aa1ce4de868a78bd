"""The classifier of single voxels, learnt on the prior (``adaptive/tissue.py``)."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.tissue import ELSEWHERE, learn_tissue, voxel_features
from SegmentAnythingMedLib.errors import InputError
from visit_phantom import SPACING, ellipsoid

STEPS = np.array(SPACING[::-1])
MASK = ellipsoid()


def picture(mask: np.ndarray, contrast: float = 0.4, seed: int = 0) -> np.ndarray:
    return (0.3 + contrast * mask + np.random.default_rng(seed).normal(0, 0.03, mask.shape)).astype(np.float32)


def test_a_structure_of_its_own_brightness_is_told_anywhere() -> None:
    tissue = learn_tissue(picture(MASK), MASK, STEPS)
    assert tissue.accuracy > 0.95
    moved = ellipsoid((10, 20, 50), 9.0)
    logits = tissue.logits(picture(moved, seed=1), np.ones_like(moved), STEPS)
    assert ((logits > 0) == moved).mean() > 0.97
    assert logits.dtype == np.float32


def test_what_looks_like_its_surroundings_teaches_nothing() -> None:
    assert learn_tissue(picture(MASK, contrast=0.0), MASK, STEPS) is None


ONE_SLICE = MASK & (np.arange(len(MASK)) == 10)[:, None, None]


@pytest.mark.parametrize("mask", [np.zeros_like(MASK), ellipsoid(radius_mm=2.0), ONE_SLICE])
def test_too_little_teaches_nothing(mask: np.ndarray) -> None:
    assert learn_tissue(picture(mask), mask, STEPS) is None


def test_only_what_is_asked_is_answered_and_always_alike() -> None:
    tissue = learn_tissue(picture(MASK), MASK, STEPS)
    where = np.zeros_like(MASK)
    where[8:12] = True
    logits = tissue.logits(picture(MASK, seed=2), where, STEPS)
    assert np.allclose(logits[0], ELSEWHERE)
    again = learn_tissue(picture(MASK), MASK, STEPS).logits(picture(MASK, seed=2), where, STEPS)
    assert np.array_equal(logits, again)


def test_features_follow_brightness_and_contrast() -> None:
    image = picture(MASK)
    first, second = voxel_features(image, STEPS), voxel_features(2 * image + 1, STEPS)
    assert first.shape == (*MASK.shape, 6)
    assert np.allclose(second[..., :4], 2 * first[..., :4] + 1, atol=1e-4)
    assert np.allclose(second[..., 4:], 2 * first[..., 4:], atol=5e-3)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(InputError, match="scikit-learn") as caught:
        learn_tissue(picture(MASK), MASK, STEPS)
    assert caught.value.code == "adaptive.package"


def test_fine_voxels_are_thinned_out_and_told_as_well() -> None:
    fine = [mask.repeat(3, axis=1).repeat(3, axis=2) for mask in (MASK, ellipsoid((10, 20, 50), 9.0))]
    steps = STEPS / np.array([1, 3, 3])
    tissue = learn_tissue(picture(fine[0]), fine[0], steps)
    logits = tissue.logits(picture(fine[1], seed=1), np.ones_like(fine[1]), steps)
    assert logits.shape == fine[1].shape
    assert ((logits > 0) == fine[1]).mean() > 0.97
