"""GrowCut: labels conquer their neighbours where the image offers no resistance.

Vezhnevets & Konouchine 2005, "GrowCut: interactive multi-label N-D image segmentation by cellular automata": a cell of
strength s attacks a neighbour with s * g(difference), g = 1 - |difference| / range, and takes it if that is stronger
than the neighbour's own strength. The fixed point is a largest-product path, whatever the order of the attacks; sweeps
along the axes, a plane at a time, reach it in a few rounds where synchronous steps need as many as the path is long.
"""

from __future__ import annotations

import math

import numpy as np

from ..prompts.types import Box
from .boxes2d import check_seed, ellipse_in_box, fill_box, grey, grow_box, third_half_axis_mm


def growcut(values: np.ndarray, seeds: np.ndarray, max_rounds: int = 60) -> np.ndarray:
    """Object mask that grows from seeds.

    Args:
        values: [N, H, W], any numeric type; neighbours are those across a face.
        seeds: int8 [N, H, W]: 1 object, -1 background, 0 to be decided.
        max_rounds: bound on the number of rounds; one round sweeps every axis both ways.

    Returns:
        bool [N, H, W]; False where neither side arrived.
    """
    values = np.asarray(values, dtype=np.float32)
    span = float(values.max() - values.min()) if values.size else 0.0
    strength = (seeds != 0).astype(np.float32)
    labels = seeds.astype(np.int8)
    passes = []
    for axis in range(values.ndim):
        steps = np.abs(np.diff(values, axis=axis))
        ease = 1.0 - steps / span if span else np.ones_like(steps)
        passes.append(tuple(np.moveaxis(array, axis, 0) for array in (strength, labels, ease)))
    for _ in range(max_rounds):
        changes = [_sweep(*arrays) for arrays in passes]
        if not any(changes):
            break
    return labels == 1


def growcut_of_box(
    stack: np.ndarray,
    seed: int,
    box: Box,
    pixel_spacing: tuple[float, float],
    slice_spacing: float,
    *,
    limits: tuple[int, int] | None = None,
    margin: float = 0.25,
    core: float = 0.5,
) -> np.ndarray:
    """GrowCut with seeds taken from one box.

    Object: the ellipse of ``core`` times the half-axes on the seed slice. Background: everything outside the box on the
    seed slice; on the other slices everything outside the box grown by ``margin``; and the slices beyond the limits, or
    beyond 1.5 times the depth of :func:`ellipsoid_of_box` where there are none. The rest is decided by the automaton.

    Args:
        stack: [N, H, W] or [N, H, W, C], best mapped to the display range, as the differences are taken relative to the
            range of values around the box.
        seed: slice of the box.
        box: (x0, y0, x1, y1), plane coordinates.
        pixel_spacing: (row, column) in mm.
        slice_spacing: distance of slices in mm.
        limits: (first, last) slice of the object, inclusive, when known.
        margin: fraction of the box's sides.
        core: fraction of the box's half-axes.

    Raises:
        InputError: ``option.seed``.
        PromptError: ``prompt.box_empty``.
    """
    count, height, width = np.shape(stack)[:3]
    check_seed(seed, count, limits)
    reach = math.ceil(1.5 * third_half_axis_mm(box, pixel_spacing) / slice_spacing)
    low, high = (seed - reach, seed + reach) if limits is None else limits
    low, high = max(low, 0), min(high, count - 1)
    out = np.zeros((count, height, width), dtype=bool)
    window = fill_box((height, width), grow_box(box, margin))
    if not window.any():
        return out
    # One more pixel and slice on every side, where there is one, for the background seeds.
    slices = slice(max(low - 1, 0), min(high + 2, count))
    rows, columns = _span(window.any(axis=1)), _span(window.any(axis=0))
    seeds = np.zeros((slices.stop - slices.start, rows.stop - rows.start, columns.stop - columns.start), dtype=np.int8)
    seeds[:, ~window[rows, columns]] = -1
    seeds[: low - slices.start] = -1
    seeds[high + 1 - slices.start :] = -1
    on_seed = seeds[seed - slices.start]
    on_seed[~fill_box((height, width), box)[rows, columns]] = -1
    on_seed[ellipse_in_box((height, width), box, core)[rows, columns]] = 1
    values = np.stack([grey(stack[n])[rows, columns] for n in range(slices.start, slices.stop)])
    out[slices, rows, columns] = growcut(values, seeds)
    return out


def _span(line: np.ndarray) -> slice:
    """Range of the True entries with one more on either side, within the array."""
    hit = np.flatnonzero(line)
    return slice(max(int(hit[0]) - 1, 0), min(int(hit[-1]) + 2, len(line)))


def _sweep(strength: np.ndarray, labels: np.ndarray, ease: np.ndarray) -> bool:
    """One sweep forth and back along axis 0, in place; True if a cell changed hands or gained strength."""
    changed = False
    count = len(strength)
    for target, source in [(n + 1, n) for n in range(count - 1)] + [(n, n + 1) for n in range(count - 2, -1, -1)]:
        attack = strength[source] * ease[min(source, target)]
        wins = attack > strength[target]
        if wins.any():
            strength[target][wins] = attack[wins]
            labels[target][wins] = labels[source][wins]
            changed = True
    return changed
