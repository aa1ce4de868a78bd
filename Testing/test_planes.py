"""Slice stacks: any voxel axis, views, coordinates there and back."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.planes import SliceStack, choose_axis
from SegmentAnythingMedLib.space.volume import Volume


def volume(spacing=(0.5, 2.0, 3.0), shape=(4, 5, 6)) -> Volume:
    return Volume(np.arange(np.prod(shape)).reshape(shape), Affine.from_parts(spacing))


@pytest.mark.parametrize(
    ("axis", "count", "shape", "pixel_spacing", "slice_spacing"),
    [
        ("k", 4, (5, 6), (2.0, 0.5), 3.0),
        ("j", 5, (4, 6), (3.0, 0.5), 2.0),
        ("i", 6, (4, 5), (3.0, 2.0), 0.5),
    ],
)
def test_geometry_of_the_three_axes(axis, count, shape, pixel_spacing, slice_spacing):
    stack = SliceStack(volume(), axis)
    assert (stack.axis, stack.count, len(stack), stack.shape) == (axis, count, count, shape)
    assert stack.pixel_spacing == pytest.approx(pixel_spacing)
    assert stack.slice_spacing == pytest.approx(slice_spacing)
    assert stack.image(0).shape == shape


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_a_pixel_is_the_voxel_that_its_coordinates_say(axis):
    image = volume()
    stack = SliceStack(image, axis)
    rng = np.random.default_rng(0)
    for _ in range(20):
        n, row, col = rng.integers(stack.count), rng.integers(stack.shape[0]), rng.integers(stack.shape[1])
        i, j, k = stack.to_ijk(n, [(col, row)])[0].astype(int)
        assert stack.image(n)[row, col] == image.voxels[k, j, i]
    points = rng.uniform(0, 4, (30, 3))
    index, xy = stack.to_plane(points)
    back = stack.to_ijk(index, xy)
    position = {"k": 2, "j": 1, "i": 0}[axis]
    np.testing.assert_array_equal(index, np.rint(points[:, position]))
    others = [n for n in range(3) if n != position]
    np.testing.assert_array_equal(back[:, others], points[:, others])


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_slices_are_views(axis):
    image = volume()
    stack = SliceStack(image, axis)
    assert np.shares_memory(stack.image(1), image.voxels)
    with pytest.raises(ValueError, match="read-only"):
        stack.image(1)[0, 0] = 1
    mask = np.zeros(image.shape, bool)
    stack.mask_slice(mask, 2)[1, 3] = True
    i, j, k = stack.to_ijk(2, [(3, 1)])[0].astype(int)
    assert mask[k, j, i]
    assert mask.sum() == 1


def test_channels_stay_last():
    colour = Volume(np.zeros((4, 5, 6, 3), np.uint8), Affine(np.eye(4)))
    assert SliceStack(colour, "i").image(0).shape == (4, 5, 3)


def test_what_does_not_exist_is_refused():
    stack = SliceStack(volume(), "k")
    for call, code in (
        (lambda: stack.image(4), "option.slice"),
        (lambda: stack.image(-1), "option.slice"),
        (lambda: stack.mask_slice(np.zeros((1, 5, 6)), 0), "volume.shape"),
        (lambda: SliceStack(volume(), "axial"), "option.axis"),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("spacing", "shape", "axis"),
    [
        ((1, 1, 1), (4, 5, 6), "k"),
        ((1, 1, 5), (4, 5, 6), "k"),
        ((1, 5, 1), (4, 5, 6), "j"),
        ((5, 1, 1), (4, 5, 6), "i"),
        ((1.0, 1.0001, 0.9999), (4, 5, 6), "k"),
        ((1, 1, 5), (4, 1, 6), "j"),
        ((1, 1, 1), (4, 5, 1), "i"),
        ((1, 1, 1), (1, 1, 9), "k"),
    ],
)
def test_the_axis_of_acquisition(spacing, shape, axis):
    image = volume(spacing, shape)
    assert choose_axis(image) == axis
    assert SliceStack(image).axis == axis


def test_slice_distance_of_a_sheared_grid_is_measured_across():
    matrix = np.diag([1.0, 1, 2, 1])
    matrix[1, 2] = 1.5  # K leans: its step is 2.5 mm long, the slices are 2 mm apart
    stack = SliceStack(Volume(np.zeros((3, 3, 3)), Affine(matrix)), "k")
    assert stack.slice_spacing == pytest.approx(2.0)
