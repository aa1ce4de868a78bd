"""Volumes: views, not copies; masks find their place through affines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume, map_mask


def oblique(shape=(8, 9, 10)) -> Volume:
    direction = Rotation.from_euler("xyz", [20, -35, 150], degrees=True).as_matrix()
    return Volume(np.zeros(shape, np.int16), Affine.from_parts((0.7, 0.9, 3.0), (-20, 33, 812), direction))


def blob(volume: Volume, centre_ijk=(5, 4, 4), radius_mm=3.0) -> np.ndarray:
    """Voxels within a sphere around a place given in indices, defined in patient space."""
    k, j, i = np.meshgrid(*[np.arange(n) for n in volume.shape], indexing="ij")
    points = volume.affine.ijk_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    centre = oblique().affine.ijk_to_lps([centre_ijk])
    return (np.linalg.norm(points - centre, axis=1) < radius_mm).reshape(volume.shape)


def test_voxels_are_a_read_only_view():
    voxels = np.zeros((2, 3, 4), np.int16)
    volume = Volume(voxels, Affine(np.eye(4)))
    assert np.shares_memory(volume.voxels, voxels)
    with pytest.raises(ValueError, match="read-only"):
        volume.voxels[0, 0, 0] = 1
    voxels[0, 0, 0] = 5  # the owner may still write
    assert volume.voxels[0, 0, 0] == 5
    assert (volume.shape, volume.channels) == ((2, 3, 4), 1)
    assert Volume(np.zeros((2, 3, 4, 5)), Affine(np.eye(4))).channels == 5


@pytest.mark.parametrize("shape", [(3, 4), (0, 3, 4), (2, 3, 4, 0), (1, 2, 3, 4, 5)])
def test_shapes_that_are_no_volume(shape):
    with pytest.raises(InputError) as caught:
        Volume(np.zeros(shape), Affine(np.eye(4)))
    assert caught.value.code == "volume.shape"


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3"])
def test_types_that_are_no_intensities(dtype):
    with pytest.raises(InputError) as caught:
        Volume(np.zeros((2, 2, 2), dtype), Affine(np.eye(4)))
    assert caught.value.code == "volume.dtype"


def test_same_grid_allows_header_rounding_only():
    volume = oblique()
    near = Volume(volume.voxels, Affine(volume.affine.matrix.astype(np.float32)))
    assert volume.same_grid(near)
    assert not volume.same_grid(Volume(volume.voxels, volume.affine.shifted((0.2, 0, 0))))
    assert not volume.same_grid(Volume(volume.voxels[1:], volume.affine))


def test_contains_reaches_to_the_borders_of_voxels():
    inside = oblique().contains([[0, 0, 0], [-0.5, 0, 0], [9.49, 8.49, 7.49], [-0.51, 0, 0], [0, 0, 7.6]])
    assert inside.tolist() == [True, True, True, False, False]


def test_voxel_volume_of_a_sheared_grid():
    matrix = np.diag([1.0, 2, 5, 1])
    matrix[0, 2] = 3
    assert Volume(np.zeros((1, 1, 1)), Affine(matrix)).voxel_ml == pytest.approx(0.01)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_masks_return_from_permuted_and_flipped_grids(axes, flips):
    volume = oblique()
    mask = blob(volume)
    assert mask.sum() > 20
    arrays = mask[:: flips[0], :: flips[1], :: flips[2]].transpose(axes)
    # the affine of the same voxels in the new order
    matrix = volume.affine.matrix.copy()
    for column, (flip, size) in enumerate(zip(flips[::-1], volume.shape[::-1], strict=True)):
        if flip < 0:
            matrix[:3, 3] += matrix[:3, column] * (size - 1)
            matrix[:3, column] *= -1
    order = [2 - axes[2 - n] for n in range(3)]
    matrix[:3, :3] = matrix[:3, order]
    other = Volume(np.zeros(arrays.shape), Affine(matrix))
    np.testing.assert_array_equal(blob(other), arrays)
    np.testing.assert_array_equal(map_mask(arrays, other, volume), mask)
    np.testing.assert_array_equal(map_mask(mask, volume, other), arrays)


def test_map_mask_to_a_finer_grid_keeps_the_object():
    volume = oblique((20, 40, 40))
    mask = blob(volume, (20, 20, 10), 8.0)
    fine = Volume(np.zeros((50, 40, 40), np.uint8), Affine(volume.affine.matrix @ np.diag([1, 1, 0.4, 1])))
    moved = map_mask(mask, volume, fine)
    expected = blob(fine, (20, 20, 10), 8.0)
    dice = 2 * (moved & expected).sum() / (moved.sum() + expected.sum())
    assert dice > 0.9
    assert moved.sum() * fine.voxel_ml == pytest.approx(mask.sum() * volume.voxel_ml, rel=0.05)


def test_map_mask_outside_is_background_and_shapes_are_checked():
    volume = oblique()
    far = Volume(volume.voxels, volume.affine.shifted((100, 0, 0)))
    assert not map_mask(np.ones(volume.shape, np.uint8), volume, far).any()
    with pytest.raises(InputError):
        map_mask(np.ones((2, 2, 2)), volume, far)


def test_describe_is_json():
    import json

    text = json.dumps(oblique().with_notes(["something"]).describe())
    assert '"shape_kji": [8, 9, 10]' in text
    assert "something" in text
