"""Control points of our own and ITK's transform of them are one deformation."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from registration_phantom import rotation
from SegmentAnythingMedLib.adaptive.bspline import SplineGrid


def region(direction=None):
    image = sitk.Image(20, 16, 12, sitk.sitkFloat32)
    image.SetSpacing((2.0, 3.0, 4.0))
    image.SetOrigin((5.0, -7.0, 11.0))
    image.SetDirection((np.eye(3) if direction is None else direction).ravel().tolist())
    return image


LENGTHS = np.array([38.0, 45.0, 44.0])


@pytest.mark.parametrize("direction", [None, rotation(0.3, -0.2, 0.5), np.eye(3)[:, [1, 2, 0]] * (1, -1, 1)])
def test_itk_moves_points_as_the_bases_say(direction):
    image = region(direction)
    grid = SplineGrid.around(LENGTHS, 15.0)
    coefficients = np.random.default_rng(0).normal(0, 4, (3, *grid.count[::-1])) * grid.free()
    transform = grid.transform(coefficients, image)
    for ijk in ((0, 0, 0), (7, 9, 3), (19, 15, 11), (3, 14, 8)):
        weights = [grid.basis(axis, np.array([ijk[axis]]) * image.GetSpacing()[axis])[0] for axis in range(3)]
        along = np.einsum("nabc,a,b,c->n", coefficients, *weights[::-1])
        point = np.array(image.TransformIndexToPhysicalPoint(ijk))
        wanted = point + (np.eye(3) if direction is None else direction) @ along
        assert np.allclose(transform.TransformPoint(point.tolist()), wanted, atol=1e-4)


def test_the_deformation_fades_to_nothing_at_the_border_of_its_domain():
    image, grid = region(), SplineGrid.around(LENGTHS, 15.0)
    transform = grid.transform(np.full((3, *grid.count[::-1]), 5.0) * grid.free(), image)
    far = np.array(image.GetOrigin()) + grid.first + grid.knots_mm + 1e-6
    assert np.allclose(transform.TransformPoint(far.tolist()), far, atol=1e-3)
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint((10, 8, 6)))
    assert np.allclose(transform.TransformPoint(middle.tolist()), middle + 5, atol=0.3)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_wide_patterns_can_move_everything_together_and_never_the_outermost_points(factor):
    grid = SplineGrid.around(np.array([200.0, 40.0, 10.0]), 20.0)
    for axis in range(3):
        patterns = grid.coarser(axis, factor)
        assert patterns.shape[0] == grid.count[axis]
        assert not patterns[:3].any()
        assert not patterns[-3:].any()
        moved = patterns @ np.linalg.lstsq(patterns, grid.free().any(axis=tuple(
            a for a in range(3) if a != 2 - axis)).astype(float), rcond=None)[0]  # fmt: skip
        assert np.allclose(moved[3:-3], 1, atol=0.05)


def test_weights_of_a_place_add_up_to_one():
    grid = SplineGrid.around(LENGTHS, 15.0)
    for axis in range(3):
        assert np.allclose(grid.basis(axis, np.linspace(0, LENGTHS[axis], 30)).sum(axis=1), 1, atol=1e-6)
