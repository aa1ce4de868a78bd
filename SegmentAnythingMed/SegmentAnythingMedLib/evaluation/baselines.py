"""From one box on one slice to a volume, without any model: the floor that propagation has to beat.

Volumes are stacks of slices [N, H, W] in slice order (a view of the voxels along any axis); boxes are in plane
coordinates of ``prompts.types``. All functions return bool [N, H, W] and leave the input as it is.
"""

from __future__ import annotations

import math

import numpy as np
from skimage.filters import threshold_otsu

from ..prompts.types import Box
from .boxes2d import (
    box_of_mask,
    check_seed,
    ellipse_in_box,
    fill_box,
    grey,
    grow_box,
    object_is_bright,
    otsu_in_box,
    third_half_axis_mm,
)
from .growcut import growcut_of_box

__all__ = [
    "copy_through",
    "ellipse_in_box",
    "ellipsoid_of_box",
    "fill_box",
    "growcut_of_box",
    "otsu_in_box",
    "otsu_walk",
]


def copy_through(mask: np.ndarray, count: int, limits: tuple[int, int]) -> np.ndarray:
    """One mask on every slice of a range.

    Args:
        mask: bool [H, W].
        count: slices of the volume, N.
        limits: (first, last) slice, inclusive; clipped to the volume.
    """
    out = np.zeros((count, *mask.shape), dtype=bool)
    out[max(limits[0], 0) : max(limits[1] + 1, 0)] = mask
    return out


def ellipsoid_of_box(
    shape: tuple[int, int, int],
    seed: int,
    box: Box,
    pixel_spacing: tuple[float, float],
    slice_spacing: float,
    limits: tuple[int, int] | None = None,
) -> np.ndarray:
    """The ellipsoid that fills the box on its slice and is as deep as it is wide.

    With ``limits`` the depth is not guessed: the ellipsoid reaches from the outer face of the first slice to the outer
    face of the last, with the seed slice as its widest (two half-ellipsoids).

    Args:
        shape: (N, H, W).
        seed: slice of the box.
        box: (x0, y0, x1, y1), plane coordinates.
        pixel_spacing: (row, column) in mm.
        slice_spacing: distance of slices in mm.
        limits: (first, last) slice of the object, inclusive, when known.

    Raises:
        InputError: ``option.seed`` when the seed is not a slice of the volume or not within the limits.
        PromptError: ``prompt.box_empty``.
    """
    check_seed(seed, shape[0], limits)
    depth = third_half_axis_mm(box, pixel_spacing) / slice_spacing
    below, above = (depth, depth) if limits is None else (seed - limits[0] + 0.5, limits[1] - seed + 0.5)
    out = np.zeros(shape, dtype=bool)
    for n in range(shape[0]):
        height = (n - seed) / (above if n > seed else below)
        if abs(height) < 1.0:
            out[n] = ellipse_in_box(shape[1:], box, math.sqrt(1.0 - height * height))
    return out


def otsu_walk(
    stack: np.ndarray,
    seed: int,
    box: Box,
    *,
    iou_threshold: float = 0.5,
    box_extension: float = 0.05,
    limits: tuple[int, int] | None = None,
) -> np.ndarray:
    """Otsu's threshold walked from slice to slice in the grown box of the last mask, until neighbours disagree.

    Bright or dark is decided once, on the seed slice; the threshold is that of each slice's box. The box grows by
    ``box_extension`` of its size on each side, at least one pixel. A direction ends where the IoU of neighbouring masks
    falls below ``iou_threshold`` (that slice stays empty).

    Args:
        stack: [N, H, W] or [N, H, W, C], any numeric type.
        seed: slice of the box.
        box: (x0, y0, x1, y1), plane coordinates.
        iou_threshold: 0..1.
        box_extension: fraction of the box's sides.
        limits: (first, last) slice that may be reached, inclusive.

    Raises:
        InputError: ``option.seed``.
        PromptError: ``prompt.box_empty``.
    """
    check_seed(seed, len(stack), limits)
    low, high = (0, len(stack) - 1) if limits is None else (max(limits[0], 0), min(limits[1], len(stack) - 1))
    bright = _polarity(grey(stack[seed]), box)
    out = np.zeros(np.shape(stack)[:3], dtype=bool)
    out[seed] = otsu_in_box(stack[seed], box, bright)
    for indices in (range(seed + 1, high + 1), range(seed - 1, low - 1, -1)):
        last = out[seed]
        for n in indices:
            around = box_of_mask(last)
            if around is None:
                break
            mask = otsu_in_box(stack[n], grow_box(around, box_extension, least=1.0), bright)
            union = np.count_nonzero(mask | last)
            if union == 0 or np.count_nonzero(mask & last) / union < iou_threshold:
                break
            out[n] = last = mask
    return out


def _polarity(image: np.ndarray, box: Box) -> bool:
    values = image[fill_box(image.shape, box)]
    if values.size == 0 or values.min() == values.max():
        return True
    return object_is_bright(image > threshold_otsu(values), box)
