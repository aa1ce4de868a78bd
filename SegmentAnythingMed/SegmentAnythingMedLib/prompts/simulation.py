"""A robot user: prompts derived from a reference mask, for training and evaluation.

Rules of the MedicoSAM protocol (Algorithm 1, step 4; evaluation with iterative correction) and a deterministic
variant that always clicks the deepest point of the largest error. Points are ``(x, y)`` in plane coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import PromptError
from .projection import mask_bounds
from .types import Box

Point = tuple[float, float]


def first_point(mask: np.ndarray) -> Point:
    """Deepest point of a bool [H, W] mask: the maximum of its distance transform, the slice's edge counting as border.

    Raises:
        PromptError: ``prompt.mask_empty``.
    """
    row0, row1, col0, col1 = _bounds(mask)
    depth = ndimage.distance_transform_edt(np.pad(mask[row0:row1, col0:col1], 1))
    row, col = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return float(col - 1 + col0), float(row - 1 + row0)


def random_point(mask: np.ndarray, rng: np.random.Generator) -> Point:
    """A pixel of the mask, all equally likely.

    Raises:
        PromptError: ``prompt.mask_empty``.
    """
    row0, row1, col0, col1 = _bounds(mask)
    rows, cols = np.nonzero(mask[row0:row1, col0:col1])
    pick = int(rng.integers(len(rows)))
    return float(cols[pick] + col0), float(rows[pick] + row0)


def correction(
    reference: np.ndarray, prediction: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[Point, int] | None:
    """One click that corrects the largest error.

    The largest 8-connected component among missed and wrongly covered pixels is clicked: at its deepest point, or
    with ``rng`` at a random pixel of its deeper half (people do not hit the very centre).

    Returns:
        The point and its label (1: object missed there, 0: too much there), or None when nothing is wrong.
    """
    best: tuple[int, np.ndarray, int] | None = None
    for errors, label in ((reference & ~prediction, 1), (prediction & ~reference, 0)):
        component = _largest_component(errors)
        if component is not None and (best is None or component[0] > best[0]):
            best = (*component, label)
    if best is None:
        return None
    _, area, label = best
    if rng is None:
        return first_point(area), label
    depth = ndimage.distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]
    return random_point(depth >= 0.5 * depth.max(), rng), label


def correction_pair(
    reference: np.ndarray, prediction: np.ndarray, rng: np.random.Generator, ring_px: int = 3
) -> list[tuple[Point, int]]:
    """The published correction: one positive and one negative point, uniform.

    Positive from the missed pixels, else from the correct ones; negative from the wrongly covered pixels, else from
    the ring (:func:`ring_negative`). (MedicoSAM Algorithm 1: ``ring_px`` 3; its evaluation: 5.)
    """
    missed, extra = reference & ~prediction, prediction & ~reference
    points = [(random_point(missed if missed.any() else reference, rng), 1)]
    negative = random_point(extra, rng) if extra.any() else ring_negative(reference, rng, ring_px)
    if negative is not None:
        points.append((negative, 0))
    return points


def ring_negative(mask: np.ndarray, rng: np.random.Generator, ring_px: int = 10) -> Point | None:
    """A background pixel inside the bounding box enlarged by ``ring_px``; else any background pixel; else None."""
    row0, row1, col0, col1 = _bounds(mask)
    near = np.zeros_like(mask)
    near[max(row0 - ring_px, 0) : row1 + ring_px, max(col0 - ring_px, 0) : col1 + ring_px] = True
    near &= ~mask
    if near.any():
        return random_point(near, rng)
    return None if mask.all() else random_point(~mask, rng)


def jitter_box(mask: np.ndarray, fraction: float, rng: np.random.Generator, *, outward: bool = False) -> Box:
    """Bounding box of a mask with every side moved at random.

    Args:
        mask: bool [H, W].
        fraction: largest movement as a part of the box's width (for x) or height (for y).
        rng: source of randomness.
        outward: move outward only (the training rule of MedicoSAM and MedSAM); else both ways.

    Returns:
        (x0, y0, x1, y1) in plane coordinates, inside the slice.
    """
    row0, row1, col0, col1 = _bounds(mask)
    dx, dy = fraction * (col1 - col0), fraction * (row1 - row0)
    low = 0.0 if outward else -1.0
    grow = rng.uniform(low, 1.0, size=4)
    height, width = mask.shape
    return (
        max(col0 - 0.5 - grow[0] * dx, -0.5),
        max(row0 - 0.5 - grow[1] * dy, -0.5),
        min(col1 - 0.5 + grow[2] * dx, width - 0.5),
        min(row1 - 0.5 + grow[3] * dy, height - 0.5),
    )


@dataclass(frozen=True)
class VolumeCorrection:
    """One action of a robot user on a volume.

    Attributes:
        index: slice.
        point: (x, y) on it.
        label: 1 object missed, 0 too much.
        stop: True when the reference is empty on that slice: a stop mark is the better action there.
    """

    index: int
    point: Point
    label: int
    stop: bool


def volume_correction(reference: np.ndarray, prediction: np.ndarray) -> VolumeCorrection | None:
    """The next action on a volume of slices: the worst slice of the largest error component, its deepest point.

    Args:
        reference: bool [n, H, W].
        prediction: bool [n, H, W].
    """
    found: list[tuple[int, np.ndarray, int]] = []
    for errors, label in ((reference & ~prediction, 1), (prediction & ~reference, 0)):
        component = _largest_component(errors)
        if component is not None:
            found.append((*component, label))
    if not found:
        return None
    _, component_mask, label = max(found, key=lambda item: item[0])
    index = int(np.argmax(component_mask.reshape(len(component_mask), -1).sum(axis=1)))
    return VolumeCorrection(
        index, first_point(component_mask[index]), label, stop=label == 0 and not bool(reference[index].any())
    )


def _largest_component(mask: np.ndarray) -> tuple[int, np.ndarray] | None:
    labels, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, dtype=bool))
    if not count:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = int(np.argmax(sizes))
    return int(sizes[largest]), labels == largest


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    bounds = mask_bounds(mask)
    if bounds is None:
        raise PromptError("prompt.mask_empty", "Expected a mask with at least one pixel; it is empty.")
    return bounds
