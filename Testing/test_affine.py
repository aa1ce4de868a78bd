"""Affines: round trips, refusals, RAS and LPS."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.affine import Affine, lps_to_ras, matrix_ras_to_lps, ras_to_lps


def oblique() -> Affine:
    direction = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    return Affine.from_parts((0.7, 0.9, 5.0), (-120.5, 33.25, 812.0), direction)


def test_parts_come_back():
    affine = oblique()
    np.testing.assert_allclose(affine.spacing, (0.7, 0.9, 5.0))
    np.testing.assert_allclose(affine.origin, (-120.5, 33.25, 812.0))
    again = Affine.from_parts(affine.spacing, affine.origin, affine.direction)
    np.testing.assert_allclose(again.matrix, affine.matrix, atol=1e-12)


def test_a_step_along_an_axis_is_the_column_of_direction_times_spacing():
    affine = oblique()
    start, end = affine.ijk_to_lps([[3, 4, 5], [3, 4, 6]])
    np.testing.assert_allclose(end - start, affine.direction[:, 2] * 5.0)


def test_points_return_from_patient_space():
    rng = np.random.default_rng(1)
    points = rng.uniform(-50, 500, (40, 3))
    affine = oblique()
    np.testing.assert_allclose(affine.lps_to_ijk(affine.ijk_to_lps(points)), points, atol=1e-9)
    np.testing.assert_allclose(affine.inverse @ affine.matrix, np.eye(4), atol=1e-12)


def test_ras_is_lps_with_two_axes_turned():
    np.testing.assert_array_equal(lps_to_ras([[1, 2, 3]]), [[-1, -2, 3]])
    np.testing.assert_array_equal(ras_to_lps(lps_to_ras([4.0, -5.0, 6.0])), [4, -5, 6])
    matrix = oblique().matrix
    point = np.array([1.0, 2.0, 3.0, 1.0])
    np.testing.assert_allclose((matrix_ras_to_lps(matrix) @ point)[:3], ras_to_lps((matrix @ point)[:3]))


def test_shear_is_allowed_and_seen():
    matrix = np.eye(4)
    matrix[1, 2] = 0.3
    assert not Affine(matrix).is_orthogonal()
    assert oblique().is_orthogonal()
    np.testing.assert_allclose(Affine(matrix).lps_to_ijk(Affine(matrix).ijk_to_lps([[1, 2, 3]])), [[1, 2, 3]])


def test_displacement_is_the_largest_over_the_grid():
    affine = oblique()
    turned = Affine(affine.matrix @ np.diag([1.01, 1, 1, 1]))
    assert affine.displacement(turned, (10, 20, 101)) == pytest.approx(100 * 0.7 * 0.01)
    assert affine.displacement(affine, (10, 20, 101)) == 0
    assert affine.almost_equal(turned, 0.01)
    assert not affine.almost_equal(turned, 1e-4)


def test_shifted_moves_the_first_voxel():
    affine = oblique()
    moved = affine.shifted((5, -2, 7))
    np.testing.assert_allclose(moved.ijk_to_lps([[0, 0, 0]]), affine.ijk_to_lps([[5, -2, 7]]))
    np.testing.assert_allclose(moved.spacing, affine.spacing)


@pytest.mark.parametrize(
    ("spacing", "origin"),
    [((0, 1, 1), (0, 0, 0)), ((1, -1, 1), (0, 0, 0)), ((1, np.nan, 1), (0, 0, 0)), ((1, 1, 1), (0, np.inf, 0))],
)
def test_bad_parts_are_refused(spacing, origin):
    with pytest.raises(InputError) as caught:
        Affine.from_parts(spacing, origin)
    assert caught.value.code == "volume.geometry"


@pytest.mark.parametrize(
    "matrix",
    [np.eye(3), np.zeros((4, 4)), np.diag([1.0, 1, 1, 2]), [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]],
)
def test_bad_matrices_are_refused(matrix):
    with pytest.raises(InputError) as caught:
        Affine(matrix)
    assert caught.value.code == "volume.geometry"


def test_the_matrix_cannot_be_changed():
    affine = oblique()
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 5
