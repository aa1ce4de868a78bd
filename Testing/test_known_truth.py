"""Follow-ups with known truth: what was asked for is what happened."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.evaluation.known_truth import Change, _deformation, inpainted, make_follow_up
from SegmentAnythingMedLib.evaluation.metrics import dice
from visit_phantom import ellipsoid, visit

LESION = ellipsoid()


def made(**change):
    return make_follow_up(visit(LESION), {"lesion": LESION}, Change("test", **change), seed=3)


@pytest.mark.parametrize("infiltrating", [False, True])
@pytest.mark.parametrize("growth", [0.5, 1.5])
def test_growth_is_what_was_asked_for(growth: float, infiltrating: bool) -> None:
    pair = made(growth=growth, infiltrating=infiltrating)
    assert pair.masks["lesion"].sum() / LESION.sum() == pytest.approx(growth, rel=0.08)
    grey = pair.volume.voxels
    ring = ellipsoid(radius_mm=20) & ~ellipsoid(radius_mm=17)
    assert grey[pair.masks["lesion"]].mean() - grey[ring].mean() > 150  # the image changed with the mask


def test_a_shift_moves_image_and_mask_together() -> None:
    pair = made(shift_mm=12)
    assert pair.displacement_mm == pytest.approx(12, abs=2.5)
    grey, truth = pair.volume.voxels, pair.masks["lesion"]
    assert grey[truth].mean() - grey[LESION & ~truth].mean() > 100
    assert dice(truth, LESION) < 0.75


def test_a_deformation_reaches_its_length_and_does_not_fold() -> None:
    spacing = np.array([2.5, 1.0, 1.0])
    field = _deformation(LESION.shape, spacing, 15.0, np.random.default_rng(1))
    assert np.sqrt((field**2).sum(axis=0)).max() == pytest.approx(15)
    steps = [[np.gradient(part, s, axis=axis) for axis, s in enumerate(spacing)] for part in field]
    jacobian = np.linalg.det(np.moveaxis(np.array(steps), (0, 1), (-2, -1)) + np.eye(3))
    assert jacobian.min() > 0


def test_a_vanished_lesion_leaves_tissue_and_an_empty_mask() -> None:
    pair = made(vanished=True)
    assert not pair.masks["lesion"].any()
    ring = ellipsoid(radius_mm=22) & ~ellipsoid(radius_mm=17)
    assert abs(pair.volume.voxels[LESION].mean() - pair.volume.voxels[ring].mean()) < 40


def test_a_look_alike_is_in_the_image_but_not_in_the_truth() -> None:
    pair = made(look_alike=True)
    assert dice(pair.masks["lesion"], LESION) == 1.0
    brighter = (pair.volume.voxels - visit(LESION).voxels) > 120
    assert brighter.sum() > 0.4 * LESION.sum()
    assert not (brighter & LESION).any()


def test_the_same_seed_makes_the_same_pair_and_the_prior_is_left_alone() -> None:
    volume, mask = visit(LESION), LESION.copy()
    before = volume.voxels.copy()
    change = Change("test", deformation_mm=10, growth=1.3, noise=0.03, gamma=1.2)
    first, second = (make_follow_up(volume, {"lesion": mask}, change, seed=5) for _ in range(2))
    assert np.array_equal(first.volume.voxels, second.volume.voxels)
    assert np.array_equal(volume.voxels, before)
    assert np.array_equal(mask, LESION)
    assert not np.array_equal(make_follow_up(volume, {"lesion": mask}, change, seed=6).volume.voxels, before)


def test_inpainting_changes_nothing_outside_the_hole() -> None:
    image = visit(LESION).voxels
    out = inpainted(image, LESION, np.array([2.5, 1, 1]))
    assert np.array_equal(out[~ellipsoid(radius_mm=16)], image[~ellipsoid(radius_mm=16)])


def test_what_vanished_leaves_no_halo_of_its_blur() -> None:
    """A PET image shows a hot lesion well beyond its contour."""
    spacing = np.array([10.0, 4.0, 4.0])
    hot = 1.0 + 9.0 * ndimage.gaussian_filter(LESION.astype(float), 3.2 / spacing)
    near = ndimage.binary_dilation(LESION)
    assert hot[near & ~LESION].max() > 4
    assert inpainted(hot.astype(np.float32), LESION, spacing)[near].max() < 1.5


def test_bone_beside_a_structure_is_not_scattered_into_its_place() -> None:
    image = np.random.default_rng(3).normal(100, 3, LESION.shape).astype(np.float32)
    image[LESION] = 160
    image[:, :, 50:53] = 1000
    out = inpainted(image, LESION, np.array([2.5, 1, 1]))
    assert out[LESION].min() > 70
    assert out[LESION].max() < 140


def test_an_empty_structure_cannot_change() -> None:
    with pytest.raises(InputError) as caught:
        make_follow_up(visit(None), {"lesion": np.zeros_like(LESION)}, Change("test"))
    assert caught.value.code == "segment.empty"
