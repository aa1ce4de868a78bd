"""The model's answer and the warped contour in one mask."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.fusing import agreement_of_images, fuse, surroundings
from SegmentAnythingMedLib.evaluation.metrics import dice
from visit_phantom import SPACING, ellipsoid

STEPS = np.array(SPACING[::-1])
TRUTH = ellipsoid()


def picture(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.02, mask.shape)
    return (0.3 + 0.4 * mask + noise).astype(np.float32)


def logits(mask: np.ndarray, height: float = 3.0) -> np.ndarray:
    return np.where(mask, height, -height).astype(np.float32)


EVERY = np.ones(len(TRUTH), dtype=bool)


def test_a_contour_that_fits_corrects_the_model() -> None:
    rough = ellipsoid((10, 38, 36), 12.0)
    fused = fuse(logits(rough, 1.0), EVERY, TRUTH, picture(TRUTH), picture(TRUTH, 1), STEPS, 1.0)
    assert dice(fused.mask, TRUTH) > dice(rough, TRUTH) + 0.03
    assert fused.fit > 0.7


def test_a_contour_that_does_not_fit_is_not_heard() -> None:
    today = ellipsoid(radius_mm=17)
    fused = fuse(logits(today), EVERY, TRUTH, picture(today), picture(TRUTH, 1), STEPS, 1.0)
    assert dice(fused.mask, today) > 0.97


def test_weight_zero_is_the_model_alone() -> None:
    rough = ellipsoid((10, 40, 36), 10.0)
    fused = fuse(logits(rough), EVERY, TRUTH, picture(TRUTH), picture(TRUTH, 1), STEPS, 0.0)
    assert np.array_equal(fused.mask, rough)


def test_nothing_is_added_on_slices_that_were_not_decided() -> None:
    decided = EVERY.copy()
    decided[:10] = False
    fused = fuse(logits(TRUTH), decided, TRUTH, picture(TRUTH), picture(TRUTH, 1), STEPS, 1.0)
    assert not fused.mask[:10].any()
    assert fused.mask[10:].any()


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.6, 0.25), (1.7, -0.2)])
def test_other_brightness_and_contrast_are_no_disagreement(slope: float, offset: float) -> None:
    trust = agreement_of_images(slope * picture(TRUTH) + offset, picture(TRUTH, 1), TRUTH, TRUTH, STEPS)
    near = ellipsoid(radius_mm=16)
    assert trust[near].mean() > 0.8
    assert trust.min() >= 0
    assert trust.max() <= 1


def test_nothing_far_from_both_opinions_matters() -> None:
    rough = ellipsoid((10, 38, 36), 9.0)
    both = [picture(TRUTH), picture(TRUTH, 1)]
    part = surroundings(rough | TRUTH, STEPS)
    assert any(cut.start > 0 for cut in part)
    whole = fuse(logits(rough, 1.0), EVERY, TRUTH, *both, STEPS, 1.0)
    near = fuse(logits(rough, 1.0)[part], EVERY[part[0]], TRUTH[part], *(b[part] for b in both), STEPS, 1.0)
    assert np.array_equal(near.mask, whole.mask[part])
    assert near.fit == pytest.approx(whole.fit, abs=1e-6)
    far = np.ones(TRUTH.shape, bool)
    far[part] = False
    assert not whole.mask[far].any()
