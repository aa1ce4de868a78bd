"""From a click to an object when the model must be told how large the object is.

A click says where, not how large. The model is shown the click in squares of falling size; every answer is one more
hypothesis. The best one is looked at once more, closely: a mask that the model thinks good (predicted IoU), that fits
its square, whose border is sharp (Kirillov et al. 2023, appendix B: stability) and that other squares show too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from ..models.frame import Region
from ..prompts.types import Box, SlicePrompts
from .regions import SMALLEST_PX, extent_of, square

STEPS = 2.0
"""Ratio of the sides of successive squares."""
CLIPPED = 0.25
"""Taken off the predicted IoU of a mask that runs into the border of its square: there is more to see."""
TINY = 0.15
"""Taken off for a mask smaller than 1/12 of its square's side: the next square shows it better."""
SHARP, SHARP_LOGIT = 0.5, 1.5
"""Weight of the stability of a mask: its area at this logit over its area at minus this logit."""
SHARED = 0.5
"""Weight of how well the other squares show the same mask: mean of the best IoU in each of them."""


class _Result(Protocol):
    mask: np.ndarray
    logits: np.ndarray
    predicted_iou: float
    region: Region | None


Result = TypeVar("Result", bound=_Result)
Decode = Callable[[Region | None, SlicePrompts, bool], Sequence[Result]]


def find_object(
    decode: Decode,
    prompts: SlicePrompts,
    slice_shape: tuple[int, int],
    pixel_spacing: tuple[float, float],
    region_for: Callable[[Box], Region | None],
    *,
    several: bool = False,
    single_mask: bool = False,
) -> list[Result]:
    """Masks for points alone, best first.

    Args:
        decode: (region, prompts, several masks) -> results.
        prompts: points only, at least one of them positive.
        slice_shape: (rows, columns).
        pixel_spacing: (row, column) in mm.
        region_for: the region that suits a box.
        several: return all candidates of the last look.
        single_mask: never choose among candidates of one square.

    Returns:
        At least one result; its mask may be empty.
    """
    one = len(prompts.points) == 1 and not single_mask
    seen: list[tuple[Region, Result]] = []
    for region in _squares(prompts, slice_shape, pixel_spacing):
        seen += [(region or Region(0, 0, *slice_shape), result) for result in decode(region, prompts, one)]
    shared = _shared(seen)
    scores = [_score(result, prompts, region, slice_shape) for region, result in seen]
    best = seen[int(np.argmax(np.add(scores, SHARED * shared)))][1]
    if not best.mask.any():
        return [best]
    box = extent_of(replace(prompts, mask=best.mask))
    close = decode(region_for(box), replace(prompts, mask=best.mask), several)
    return list(close) if close[0].mask.any() else [best]


def _shared(seen: Sequence[tuple[Region, Result]]) -> np.ndarray:
    """For every hypothesis the mean over the other squares of the best IoU with theirs, 0..1; 0 for one square."""
    either = np.logical_or.reduce([result.mask for _, result in seen])
    masks = np.stack([result.mask[either] for _, result in seen]).astype(np.float32)
    both, areas = masks @ masks.T, masks.sum(axis=1)
    ious = both / np.maximum(areas[:, None] + areas[None] - both, 1)
    squares: dict[Region, list[int]] = {}
    for number, (region, _) in enumerate(seen):
        squares.setdefault(region, []).append(number)
    best = {region: ious[:, numbers].max(axis=1) for region, numbers in squares.items()}
    others = [[values[n] for square, values in best.items() if square != region] for n, (region, _) in enumerate(seen)]
    return np.array([np.mean(values) if values else 0.0 for values in others])


def _squares(
    prompts: SlicePrompts, slice_shape: tuple[int, int], pixel_spacing: tuple[float, float]
) -> list[Region | None]:
    positive = prompts.points[prompts.labels == 1]
    low, high = positive.min(axis=0), positive.max(axis=0)
    centre = (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2)
    spread = 1.3 * max((high[0] - low[0]) * pixel_spacing[1], (high[1] - low[1]) * pixel_spacing[0])
    whole = max(slice_shape[0] * pixel_spacing[0], slice_shape[1] * pixel_spacing[1])
    smallest = max(SMALLEST_PX * max(pixel_spacing), spread)
    squares: list[Region | None] = [None]
    side = whole / STEPS
    while side >= smallest and len(squares) < 6:
        squares.append(square(centre, side, pixel_spacing))
        side /= STEPS
    return squares


def _score(result: Result, prompts: SlicePrompts, region: Region, slice_shape: tuple[int, int]) -> float:
    """Predicted IoU and stability, less what speaks against the square in which the mask was found."""
    mask = result.mask
    if not mask.any():
        return -1.0
    inner, outer = (np.count_nonzero(result.logits > at) for at in (SHARP_LOGIT, -SHARP_LOGIT))
    score = result.predicted_iou + SHARP * inner / max(outer, 1)
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    touches = (
        (rows[0] <= region.row0 and region.row0 > 0)
        or (cols[0] <= region.col0 and region.col0 > 0)
        or (rows[-1] >= region.row1 - 1 and region.row1 < slice_shape[0])
        or (cols[-1] >= region.col1 - 1 and region.col1 < slice_shape[1])
    )
    longest = max((rows[-1] - rows[0] + 1) / region.height, (cols[-1] - cols[0] + 1) / region.width)
    score -= CLIPPED * touches + TINY * (longest < 1 / 12)
    return score - 0.5 * (1 - agreement(mask, prompts))


def agreement(mask: np.ndarray, prompts: SlicePrompts) -> float:
    """Part of the points (at least one) that a mask bool [H, W] has on the right side, 0..1."""
    at = np.clip(np.rint(prompts.points).astype(int), 0, np.array(mask.shape)[::-1] - 1)
    return float(np.mean(mask[at[:, 1], at[:, 0]] == (prompts.labels == 1)))
