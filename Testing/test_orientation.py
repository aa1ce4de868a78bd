"""How slices are shown: the radiological convention, from any storage and along any axis."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from SegmentAnythingMedLib import Session
from SegmentAnythingMedLib.engine.orientation import Orientation
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel

EVERY = [Orientation(*switches) for switches in product((False, True), repeat=3)]


def stack_of(directions: np.ndarray, axis: str) -> SliceStack:
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    return SliceStack(Volume(np.zeros((4, 5, 6), dtype=np.int16), Affine(matrix)), axis)


@pytest.mark.parametrize("axis", ["k", "j", "i"])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_from_every_storage_the_standard_planes_look_as_radiologists_know_them(order, axis: str) -> None:
    for signs in product((1.0, -1.0), repeat=3):
        directions = np.eye(3)[:, list(order)] * signs
        stack = stack_of(directions, axis)
        shown = Orientation.of(stack)
        origin, right, below = (
            stack.volume.affine.ijk_to_lps(stack.to_ijk(0, [shown_to_stored(shown, point, stack.shape)]))[0]
            for point in ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0))
        )
        normal = int(np.argmax(np.abs(np.cross(right - origin, below - origin))))
        expected = {2: ([1, 0, 0], [0, 1, 0]), 1: ([1, 0, 0], [0, 0, -1]), 0: ([0, 1, 0], [0, 0, -1])}[normal]
        assert np.allclose((right - origin, below - origin), expected)


def shown_to_stored(orientation: Orientation, point: tuple[float, float], shape: tuple[int, int]):
    """Found by looking, not by the formula under test."""
    places = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1)
    x, y = orientation.show(places)[int(point[1]), int(point[0])]
    return float(x), float(y)


def test_a_dicom_axial_slice_is_shown_as_it_is() -> None:
    assert Orientation.of(stack_of(np.eye(3), "k")) == Orientation()


@pytest.mark.parametrize("orientation", EVERY)
def test_pixels_points_and_boxes_move_together_and_come_back(orientation: Orientation) -> None:
    image = np.arange(30.0).reshape(5, 6)
    shown = orientation.show(image)
    assert shown.shape == orientation.pair((5, 6))
    assert np.array_equal(orientation.store(shown), image)
    colour = np.dstack([image] * 3)
    assert np.array_equal(orientation.store(orientation.show(colour)), colour)
    points = np.array([[4.0, 1.0], [0.0, 3.0]])
    moved = orientation.show_points(points, (5, 6)).astype(int)
    assert shown[moved[:, 1], moved[:, 0]].tolist() == [image[1, 4], image[3, 0]]
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:3, 2:6] = True
    prompts = orientation.show_prompts(SlicePrompts(points, np.array([1, 0]), (1.5, 0.5, 5.5, 2.5), mask), (5, 6))
    rows, cols = np.nonzero(prompts.mask)
    assert prompts.box == (cols.min() - 0.5, rows.min() - 0.5, cols.max() + 0.5, rows.max() + 0.5)
    assert prompts.labels.tolist() == [1, 0]


@pytest.mark.parametrize("signs", list(product((1.0, -1.0), repeat=2)))
def test_a_session_answers_in_stored_pixels(signs: tuple[float, float]) -> None:
    voxels = np.zeros((1, 40, 60), dtype=np.int16)
    voxels[0, 5:15, 30:50] = 100
    volume = Volume(voxels, Affine(np.diag([signs[0], signs[1], 2.0, 1.0])), modality="MR")
    session = Session(volume, StubModel(), window="range")
    answer = session.predict(0, SlicePrompts(box=(28.0, 3.0, 51.0, 16.0)))
    truth = voxels[0] > 0
    assert np.count_nonzero(answer.mask ^ truth) <= 0.15 * np.count_nonzero(truth)
    again = session.predict(0, SlicePrompts(np.array([[40.0, 10.0]]), np.array([1])), previous=answer)
    assert again.mask[10, 40]
    assert not again.mask[30, 10]
    assert np.array_equal(again.mask, again.logits > 0)
