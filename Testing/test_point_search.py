"""From a click to an object (``engine/point_search.py``), with a decoder that answers as it is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from SegmentAnythingMedLib.engine.point_search import find_object
from SegmentAnythingMedLib.models.frame import Region
from SegmentAnythingMedLib.prompts.types import SlicePrompts

SHAPE, CLICK = (128, 128), (64, 64)


@dataclass(frozen=True, eq=False)
class Answer:
    mask: np.ndarray
    logits: np.ndarray
    predicted_iou: float
    region: Region | None


def disc(radius: float, column: int = CLICK[0]) -> np.ndarray:
    rows, cols = np.indices(SHAPE)
    return (rows - CLICK[1]) ** 2 + (cols - column) ** 2 <= radius**2


def answer(mask: np.ndarray, iou: float, region: Region | None, height: float = 5.0) -> Answer:
    return Answer(mask, np.where(mask, height, -height).astype(np.float32), iou, region)


def found(answers) -> tuple[np.ndarray, list]:
    """The mask that is looked at closely; ``answers``: (side of the square or 0, several) -> answers."""
    asked = []

    def decode(region, prompts, several):
        asked.append((region, prompts))
        if prompts.mask is not None:
            return [answer(prompts.mask, 1.0, region)]
        return [answer(*one, region) if len(one) == 2 else answer(one[0], one[1], region, one[2])
                for one in answers(0 if region is None else region.height)]  # fmt: skip

    prompts = SlicePrompts(np.array([CLICK], float), np.array([1]))
    result = find_object(decode, prompts, SHAPE, (1.0, 1.0), lambda box: Region(0, 0, *SHAPE), several=False)
    return result[0].mask, asked


def test_squares_halve_and_the_best_answer_is_looked_at_once_more() -> None:
    mask, asked = found(lambda side: [(disc(10), 0.9)])
    assert np.array_equal(mask, disc(10))
    sides = [region.height for region, prompts in asked if region is not None and prompts.mask is None]
    assert sides == sorted(sides, reverse=True)
    assert len(sides) >= 2
    assert asked[-1][1].mask is not None


def test_what_several_squares_show_beats_what_one_is_a_little_surer_of() -> None:
    mask, _ = found(lambda side: [(disc(10), 0.80)] if side else [(disc(30), 0.95)])
    assert np.array_equal(mask, disc(10))


def test_a_sharp_border_beats_a_vague_one() -> None:
    mask, _ = found(lambda side: [] if side else [(disc(10), 0.85), (disc(30), 0.90, 0.5)])
    assert np.array_equal(mask, disc(10))


def test_an_answer_without_the_click_loses() -> None:
    mask, _ = found(lambda side: [] if side else [(disc(10, 100), 0.95), (disc(10), 0.7)])
    assert np.array_equal(mask, disc(10))


def test_nothing_found_is_an_empty_mask_and_a_pixel_is_more_than_nothing() -> None:
    nothing = np.zeros(SHAPE, dtype=bool)
    mask, asked = found(lambda side: [(nothing, 0.9)])
    assert not mask.any()
    assert all(prompts.mask is None for _, prompts in asked)
    pixel = nothing.copy()
    pixel[CLICK[1], CLICK[0]] = True
    assert found(lambda side: [(pixel, 0.2), (nothing, 0.9)])[0].any()
