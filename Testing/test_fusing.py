"""The model's answer and the warped contour in one mask."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.fusing import agreement_of_images, fuse, surroundings
from SegmentAnythingMedLib.adaptive.tissue import learn_tissue
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
    truth, rough = (np.pad(mask, ((4, 4), (20, 20), (20, 20))) for mask in (TRUTH, ellipsoid((10, 38, 36), 9.0)))
    both, every = [picture(truth), picture(truth, 1)], np.ones(len(truth), dtype=bool)
    tissue = learn_tissue(both[1], truth, STEPS)
    part = surroundings(rough | truth, STEPS)
    assert any(cut.start > 0 for cut in part)
    whole = fuse(logits(rough, 1.0), every, truth, *both, STEPS, 1.0, tissue)
    near = fuse(logits(rough, 1.0)[part], every[part[0]], truth[part], *(b[part] for b in both), STEPS, 1.0, tissue)
    assert np.array_equal(near.mask, whole.mask[part])
    assert near.fit == pytest.approx(whole.fit, abs=1e-6)
    far = np.ones(truth.shape, bool)
    far[part] = False
    assert not whole.mask[far].any()


def test_what_grew_is_recognised_by_its_voxels() -> None:
    today = ellipsoid(radius_mm=15)
    shy = np.where(today, -1.0, -3.0).astype(np.float32)  # the model has not seen that it grew
    shy[TRUTH] = 2.0
    tissue = learn_tissue(picture(TRUTH, 1), TRUTH, STEPS)
    alone, helped = (
        fuse(shy, EVERY, TRUTH, picture(today), picture(TRUTH, 1), STEPS, 1.0, heard) for heard in (None, tissue)
    )
    assert dice(helped.mask, today) > 0.95 > dice(alone.mask, today) + 0.05
    brighter = fuse(shy, EVERY, TRUTH, 1.6 * picture(today) - 0.1, picture(TRUTH, 1), STEPS, 1.0, tissue)
    assert dice(brighter.mask, helped.mask) > 0.98


def test_a_model_that_did_badly_on_the_prior_counts_less() -> None:
    rough = ellipsoid((10, 39, 36), 12.0)
    today = ellipsoid() | ellipsoid((10, 36, 46), 12.0)
    poor, good = (
        fuse(logits(rough), EVERY, TRUTH, picture(today), picture(TRUTH, 1), STEPS, 2.0, skill=skill).mask
        for skill in (0.8, 0.95)
    )
    left = np.s_[:, :, :30]
    assert dice(poor[left], TRUTH[left]) > dice(good[left], TRUTH[left])


def test_a_structure_changed_anywhere_is_believed_less_everywhere() -> None:
    rough = ellipsoid((10, 39, 36), 12.0)
    changed = ellipsoid() | ellipsoid((10, 36, 46), 12.0)
    same, other = (fuse(logits(rough), EVERY, TRUTH, picture(today), picture(TRUTH, 1), STEPS, 2.0) for today in
                   (TRUTH, changed))  # fmt: skip
    left = np.s_[:, :, :30]
    assert same.fit > 0.97 > 0.93 > other.fit
    assert dice(same.mask[left], TRUTH[left]) > dice(other.mask[left], TRUTH[left])


@pytest.mark.parametrize(("radius_mm", "kept"), [(6.0, True), (18.0, False)])
def test_contours_are_evened_as_far_as_the_structure_is_large(radius_mm: float, kept: bool) -> None:
    """A spur of one pixel is a part of a small lesion, and noise at the border of a large organ."""
    whole = ellipsoid(radius_mm=radius_mm)
    middle, spur = len(whole) // 2, whole.copy()
    row = int(np.nonzero(whole[middle])[0].mean())
    edge = int(np.flatnonzero(whole[middle, row]).max())
    spur[:, row, edge + 1 : edge + 3] |= whole.any(axis=(1, 2))[:, None]
    fused = fuse(logits(whole, 0.2), EVERY, spur, picture(spur), picture(spur, 1), STEPS, 1.0)
    assert fused.mask[middle, row, edge + 2] == kept
    assert dice(fused.mask, whole) > 0.9
