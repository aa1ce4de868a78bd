"""Looking ahead: pixels say whether an object goes on behind a refused slice."""

from __future__ import annotations

import numpy as np
import pytest
from propagation_stub import StubPredictor, box_of, disc, discs
from SegmentAnythingMedLib.engine.appearance import seems_to_go_on
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.walk import propagate

MASK = disc(9)


def image(mask: np.ndarray, contrast: float, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    return contrast * mask + np.random.default_rng(seed).normal(0, noise, mask.shape)


@pytest.mark.parametrize("contrast", [3.0, -3.0])
def test_an_object_that_is_there_goes_on_and_one_that_is_gone_does_not(contrast: float) -> None:
    here = image(MASK, contrast)
    assert seems_to_go_on(here, MASK, image(MASK, contrast, seed=1))
    assert seems_to_go_on(here, MASK, image(disc(8, (25, 29)), contrast, seed=1))
    assert seems_to_go_on(here, MASK, image(disc(0), contrast, seed=1)) is False
    assert seems_to_go_on(here, MASK, image(disc(5), contrast, seed=1)) is False


def test_what_cannot_be_told() -> None:
    assert seems_to_go_on(image(MASK, 0.2), MASK, image(disc(0), 0.2, seed=1)) is None
    assert seems_to_go_on(image(MASK, 3.0), np.ones_like(MASK), image(disc(0), 3.0)) is None, "no surroundings"


def test_colour_is_averaged() -> None:
    here, gone = (np.stack([image(mask, 3.0)] * 3, axis=-1) for mask in (MASK, disc(0)))
    assert seems_to_go_on(here, MASK, here)
    assert not seems_to_go_on(here, MASK, gone)


class SeeingStub(StubPredictor):
    """A stub with pixels: what it sees is ``pixels``, what it answers is ``truth``."""

    def __init__(self, truth: np.ndarray, pixels: np.ndarray) -> None:
        super().__init__(truth)
        self.pixels = pixels.astype(float)

    def goes_on(self, mask: np.ndarray, index: int, beyond: int) -> bool | None:
        return seems_to_go_on(self.pixels[index], mask, self.pixels[beyond])


def test_a_blunt_object_on_k_slices_costs_k_plus_2() -> None:
    truth = discs([0] * 5 + [8] * 7 + [0] * 5)
    stub = SeeingStub(truth, truth)
    result = propagate(stub, {8: SlicePrompts(box=box_of(truth[8]))})
    assert len(stub.visited) == 7 + 2
    assert np.array_equal(result.stack(), truth)
    assert (result.end_lower, result.end_upper) == ("stopped:absent", "stopped:absent")


def test_a_slice_on_which_the_model_fails_is_still_jumped_over() -> None:
    pixels = discs([8] * 11)
    answers = pixels.copy()
    answers[7] = False
    result = propagate(SeeingStub(answers, pixels), {4: SlicePrompts(box=box_of(pixels[4]))})
    assert result.records[7].reason == "interpolated"
    assert result.upper == 10


def test_a_walk_that_has_leaked_out_of_its_object_does_not_look_ahead_either() -> None:
    pixels = discs([0] * 5 + [8] * 7 + [0] * 5)
    answers = pixels.copy()
    answers[12] = disc(8)
    noise = np.random.default_rng(0).normal(0, 0.1, pixels.shape)
    stub = SeeingStub(answers, pixels + noise)
    assert propagate(stub, {8: SlicePrompts(box=box_of(pixels[8]))}).upper == 12
    assert max(stub.visited) == 13


def test_an_object_that_never_stood_out_is_looked_for_behind_a_refused_slice() -> None:
    truth = discs([8] * 11)
    truth[7] = False
    noise = np.random.default_rng(0).normal(0, 1, truth.shape)
    assert propagate(SeeingStub(truth, noise), {4: SlicePrompts(box=box_of(truth[4]))}).upper == 10
