"""Masks and images through transforms: oblique, flipped, permuted, sheared grids; nothing depends on axis order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from registration_phantom import bump, rotation
from SegmentAnythingMedLib.adaptive.bspline import SplineGrid
from SegmentAnythingMedLib.adaptive.inversion import inverse_points, inverted
from SegmentAnythingMedLib.adaptive.mask_distance import signed_distance
from SegmentAnythingMedLib.adaptive.pulling import displacements, pull
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.warping import voxels_of, warp_image, warp_mask
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

CENTRE = np.array([12.0, -7.0, 30.0])
RADII = np.array([14.0, 9.0, 11.0])


def grid(shape, spacing, direction=None, centre=CENTRE, shear=0.0):
    """A volume of zeros whose middle lies at ``centre``."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if direction is None else direction) * np.asarray(spacing, dtype=float)
    matrix[:3, 2] += shear * matrix[:3, 1]
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Volume(np.zeros(shape, dtype=np.int16), Affine(matrix))


def ellipsoid(points):
    """Signed size: below 1 inside the ellipsoid at CENTRE."""
    return np.linalg.norm((points - CENTRE) / RADII, axis=-1)


def points_of(volume):
    k, j, i = np.indices(volume.shape)
    return volume.affine.ijk_to_lps(np.stack([i, j, k], axis=-1).reshape(-1, 3)).reshape(*volume.shape, 3)


PERMUTED = [np.eye(3)[:, list(order)] * signs for order, signs in
            zip(itertools.permutations(range(3)), [(1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, 1), (1, -1, -1),
                                                   (-1, -1, -1)], strict=True)]  # fmt: skip
PRIORS = {
    "plain": {"shape": (40, 60, 64), "spacing": (0.9, 1.0, 1.5)},
    "oblique": {"shape": (40, 60, 64), "spacing": (0.9, 1.0, 1.5), "direction": rotation(0.3, -0.5, 0.7)},
    "sheared": {"shape": (40, 60, 64), "spacing": (0.9, 1.0, 1.5), "shear": 0.2},
}
TARGETS = {f"axes{n}": {"shape": (44, 52, 30), "spacing": (1.1, 1.3, 1.2), "direction": d}
           for n, d in enumerate(PERMUTED)}  # fmt: skip
TARGETS["oblique"] = {"shape": (30, 50, 50), "spacing": (1.1, 1.1, 2.0), "direction": rotation(-0.6, 0.2, 0.4)}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("prior", PRIORS)
def test_a_known_rigid_move_lands_where_it_should_on_any_grid(prior, target):
    before = grid(**PRIORS[prior])
    mask = ellipsoid(points_of(before)) < 1
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = rotation(0.1, 0.2, -0.15), (3.0, -4.0, 2.0)
    transform = VisitTransform.from_matrix(rigid)
    moved_centre = transform.inverse().map_points(CENTRE)[0]
    after = grid(**TARGETS[target], centre=moved_centre)
    warped = warp_mask(mask, before, after, transform)
    size = ellipsoid(transform.map_points(points_of(after).reshape(-1, 3)).reshape(*after.shape, 3))
    # a voxel may be wrong only where its centre lies within half a voxel (of either grid) of the border
    slack = 0.75 * max(before.spacing.max(), after.spacing.max()) / RADII.min()
    assert warped.mask[size < 1 - slack].all()
    assert not warped.mask[size > 1 + slack].any()
    truth = size < 1
    assert np.count_nonzero(warped.mask) == pytest.approx(np.count_nonzero(truth), rel=0.03)
    assert not warped.touches_edge


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (1.7, 0.6, 3.1), (4.0, 4.0, 4.0)])
def test_identity_between_grids_is_exact_to_half_a_voxel(spacing):
    before = grid((30, 40, 44), (1.0, 1.2, 2.0))
    mask = np.zeros(before.shape, dtype=bool)
    mask[8:20, 10:25, 12:30] = True
    after = grid((50, 70, 90), spacing, centre=CENTRE + 0.3)
    warped = warp_mask(mask, before, after, VisitTransform.identity()).mask
    ijk = before.affine.lps_to_ijk(points_of(after).reshape(-1, 3)).reshape(*after.shape, 3)
    edges = np.array([[11.5, 9.5, 7.5], [29.5, 24.5, 19.5]])
    depth = np.minimum(ijk - edges[0], edges[1] - ijk).min(axis=-1)  # voxels of the prior inside the box
    assert warped[depth > 0.5].all()
    assert not warped[depth < -0.5].any()


def test_identity_on_the_same_grid_changes_no_voxel():
    before = grid((12, 20, 20), (0.7, 0.7, 3.0))
    mask = np.random.default_rng(0).random(before.shape) < 0.2
    warped = warp_mask(mask, before, before, VisitTransform.identity())
    assert np.array_equal(warped.mask, mask)
    assert warped.touches_edge
    assert warped.outside_fraction == 0.0


def test_what_leaves_the_field_of_view_is_counted_and_what_is_beyond_it_is_not_in_the_image():
    before = grid((20, 30, 30), (1.0, 1.0, 1.0))
    mask = np.zeros(before.shape, dtype=bool)
    mask[4:14, 10:20, 10:20] = True
    half = grid((20, 30, 30), (1.0, 1.0, 1.0), centre=CENTRE + np.array([0, 0, 9]))
    warped = warp_mask(mask, before, half, VisitTransform.identity())
    assert warped.outside_fraction == pytest.approx(0.5)
    assert np.count_nonzero(warped.mask) == 500
    gone = warp_mask(mask, before, grid((20, 30, 30), (1, 1, 1), centre=CENTRE + 100), VisitTransform.identity())
    assert not gone.in_image
    assert gone.outside_fraction == 1.0


def test_a_lesion_of_two_voxels_is_not_lost_on_a_coarser_grid():
    before = grid((20, 30, 30), (1.0, 1.0, 1.0))
    mask = np.zeros(before.shape, dtype=bool)
    mask[10, 14, 14:16] = True
    after = grid((6, 8, 8), (5.0, 5.0, 5.0), centre=CENTRE + 2.4)
    warped = warp_mask(mask, before, after, VisitTransform.identity())
    place = before.affine.ijk_to_lps([[14.5, 14, 10]])
    (found,) = np.argwhere(warped.mask)
    assert warped.rescued
    assert np.abs(after.affine.ijk_to_lps(found[None, ::-1]) - place).max() <= 2.5 + 0.5


def test_masks_that_are_empty_or_of_another_shape_are_refused():
    before = grid((5, 6, 7), (1, 1, 1))
    for shape, code in (((5, 6, 7), "segment.empty"), ((7, 6, 5), "segment.shape")):
        with pytest.raises(InputError) as caught:
            warp_mask(np.zeros(shape, dtype=bool), before, before, VisitTransform.identity())
        assert caught.value.code == code


def test_an_image_lands_where_its_mask_does_and_keeps_its_channels():
    before = grid(**PRIORS["oblique"])
    voxels = np.stack([points_of(before)[..., n] for n in range(2)], axis=-1).astype(np.float32)
    image = Volume(voxels, before.affine, modality="MR")
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = rotation(0.1, 0.0, -0.1), (1.0, 2.0, -1.0)
    transform = VisitTransform.from_matrix(rigid)
    after = grid((20, 20, 20), (1, 1, 1), PERMUTED[3])
    pulled = warp_image(image, after, transform, outside=-999.0)
    truth = transform.map_points(points_of(after).reshape(-1, 3)).reshape(*after.shape, 3)[..., :2]
    inside = pulled.voxels[..., 0] > -900
    assert inside.mean() > 0.9
    assert np.abs(pulled.voxels[inside] - truth[inside]).max() < 1e-3
    with pytest.raises(InputError, match="Expected one of"):
        warp_image(image, after, transform, interpolation="best")


def test_a_deformation_carries_the_mask_and_can_be_undone():
    before = grid((40, 60, 64), (0.9, 1.0, 1.5))
    mask = ellipsoid(points_of(before)) < 1
    transform = bump(CENTRE, (0.0, 6.0, 0.0), width_mm=25.0)
    warped = warp_mask(mask, before, before, transform).mask
    truth = ellipsoid(transform.map_points(points_of(before).reshape(-1, 3)).reshape(*before.shape, 3)) < 1
    assert 2 * np.count_nonzero(warped & truth) / (warped.sum() + truth.sum()) > 0.98
    assert 2 * np.count_nonzero(warped & mask) / (warped.sum() + mask.sum()) < 0.75
    probes = CENTRE + np.random.default_rng(1).uniform(-12, 12, (50, 3))
    found, miss = inverse_points(transform, probes)
    assert np.abs(transform.map_points(found) - probes).max() < 0.06
    assert miss.max() < 0.06
    back, worst = inverted(transform, before, spacing_mm=3.0)
    assert worst < 0.3
    assert np.abs(back.map_points(probes) - found).max() < 0.4


def test_a_spline_is_followed_closely_on_grids_much_finer_than_its_knots():
    region = sitk.Image([40, 36, 30], sitk.sitkFloat32)
    region.SetSpacing((2.0, 2.0, 2.0))
    region.SetOrigin((CENTRE - 35).tolist())
    splines = SplineGrid.around(np.array([78.0, 70.0, 58.0]), 14.0)
    coefficients = 5 * np.random.default_rng(4).standard_normal((3, *splines.count[::-1])) * splines.free()
    transform = VisitTransform(splines.transform(coefficients, region), "known")
    fine = grid((30, 70, 90), (0.6, 0.5, 1.2), rotation(0.2, 0.1, -0.3))
    ramp = grid((60, 60, 60), (3.0, 3.0, 3.0))
    places = points_of(ramp).astype(np.float32)
    seen = pull(places, ramp.affine, transform, fine.affine, fine.shape)
    exact = points_of(fine) + displacements(transform, fine.affine, fine.shape)
    inside = ramp.contains(ramp.affine.lps_to_ijk(exact.reshape(-1, 3))).reshape(fine.shape)
    assert inside.mean() > 0.9
    assert np.abs(seen - exact)[inside].max() < 0.15
    assert np.abs(seen - exact)[inside].mean() < 0.02


def test_displacements_on_a_permuted_grid_are_those_of_the_points():
    volume = grid((6, 7, 8), (3.0, 4.0, 5.0), PERMUTED[4], shear=0.1)
    for transform in (bump(CENTRE, (2.0, -5.0, 3.0), 20.0), VisitTransform.translation((1, 2, 3))):
        field = displacements(transform, volume.affine, volume.shape)
        points = points_of(volume)
        truth = transform.map_points(points.reshape(-1, 3)).reshape(points.shape) - points
        assert np.abs(field - truth).max() < 1e-6


def test_signed_distance_crosses_zero_half_way_between_voxels():
    mask = np.zeros((5, 9, 9), dtype=bool)
    mask[2, 3:6, 3:6] = True
    distance = signed_distance(mask, np.array([2.0, 2.0, 5.0]))
    assert distance[2, 4, 2] == pytest.approx(2.0)
    assert distance[2, 4, 3] == pytest.approx(-2.0)
    assert distance[1, 4, 4] == pytest.approx(5.0)
    assert distance[2, 4, 4] == pytest.approx(-4.0)


def test_voxels_are_thinned_evenly():
    mask = np.zeros((10, 20, 30), dtype=bool)
    mask[2:8, 5:15, 10:27] = True
    assert np.array_equal(voxels_of(mask, 10_000), np.argwhere(mask)[:, ::-1])
    some = voxels_of(mask, 100)
    assert 50 <= len(some) <= 100
    assert mask[tuple(some.T[::-1])].all()
    assert np.abs(some.mean(axis=0) - np.argwhere(mask)[:, ::-1].mean(axis=0)).max() < 1.0
    assert voxels_of(np.zeros((2, 2, 2), dtype=bool), 5).shape == (0, 3)
