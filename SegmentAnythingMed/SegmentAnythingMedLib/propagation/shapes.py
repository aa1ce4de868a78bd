"""Shapes between two masks: signed distances, interpolated, after Raya and Udupa (1990)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..prompts.projection import mask_bounds


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two bool masks; 0 when both are empty (an empty mask confirms nothing)."""
    both = np.count_nonzero(first & second)
    either = np.count_nonzero(first) + np.count_nonzero(second) - both
    return float(both / either) if either else 0.0


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two masks of any shape, 0..1; 1 for two empty ones."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2.0 * np.count_nonzero(first & second) / total if total else 1.0


def centroid(mask: np.ndarray) -> tuple[float, float]:
    """Mean (row, column) of the True pixels of a mask that is not empty."""
    row0, row1, col0, col1 = mask_bounds(mask)
    crop = mask[row0:row1, col0:col1]
    rows, cols = np.count_nonzero(crop, axis=1), np.count_nonzero(crop, axis=0)
    area = rows.sum()
    return row0 + float(rows @ np.arange(len(rows))) / area, col0 + float(cols @ np.arange(len(cols))) / area


def window(mask: np.ndarray, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Pixels ``origin .. origin + size`` of a mask as a new array; False outside the mask."""
    out = np.zeros(size, dtype=mask.dtype)
    inner, outer = _common(mask.shape, origin, size)
    out[inner] = mask[outer]
    return out


def paste(patch: np.ndarray, origin: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A mask of ``shape`` that is the patch at ``origin`` and False elsewhere; what hangs over is cut off."""
    out = np.zeros(shape, dtype=patch.dtype)
    inner, outer = _common(shape, origin, patch.shape)
    out[outer] = patch[inner]
    return out


def _common(shape: tuple[int, int], origin: tuple[int, int], size: tuple[int, int]) -> tuple[tuple, tuple]:
    low = [max(o, 0) for o in origin]
    high = [max(min(o + s, n), lo) for o, s, n, lo in zip(origin, size, shape, low, strict=True)]
    inner = tuple(slice(lo - o, hi - o) for lo, hi, o in zip(low, high, origin, strict=True))
    outer = tuple(slice(lo, hi) for lo, hi in zip(low, high, strict=True))
    return inner, outer


def shifted(mask: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """The mask moved by (rows, columns) pixels; what leaves the slice is lost."""
    return paste(mask, shift, mask.shape) if shift != (0, 0) else mask


def signed_distance(mask: np.ndarray, pixel_spacing: tuple[float, float]) -> np.ndarray:
    """Distance to the border of a mask in mm, positive inside; the mask needs a background pixel on every side."""
    inside = ndimage.distance_transform_edt(mask, sampling=pixel_spacing)
    outside = ndimage.distance_transform_edt(~mask, sampling=pixel_spacing)
    # The border runs between pixels, the transforms measure from centre to centre.
    half = 0.5 * min(pixel_spacing)
    return np.where(mask, inside - half, half - outside)


class ShapeBlend:
    """Shapes on the way from one mask to another.

    Masks that do not overlap are moved onto each other first and the blend travels with the centroid, since the zero
    level of a blend of two distant signed distances is empty.

    Args:
        first: bool [H, W], not empty.
        second: bool [H, W], not empty.
        pixel_spacing: (row, column) in mm.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray, pixel_spacing: tuple[float, float]) -> None:
        self._shape = first.shape
        if (first & second).any():
            row0, row1, col0, col1 = mask_bounds(first | second)
            self._origins = ((row0 - 1, col0 - 1),) * 2
            size = (row1 - row0 + 2, col1 - col0 + 2)
        else:
            self._origins, size = _centred(first, second)
        self._distances = [
            signed_distance(window(mask, origin, size), pixel_spacing)
            for mask, origin in zip((first, second), self._origins, strict=True)
        ]

    def at(self, weight: float) -> np.ndarray:
        """The shape at ``weight`` (0: the first mask, 1: the second), bool [H, W]."""
        level = (1 - weight) * self._distances[0] + weight * self._distances[1]
        # Rounded first, so that a flipped stack meets the same ties.
        origin = tuple(
            int(np.floor(round((1 - weight) * a + weight * b, 6) + 0.5)) for a, b in zip(*self._origins, strict=True)
        )
        inside = level > 1e-9
        if not inside.any():  # masks with holes need not overlap even when centred
            inside = (self._distances[0] > 0) | (self._distances[1] > 0)
        return paste(inside, origin, self._shape)


def _centred(first: np.ndarray, second: np.ndarray) -> tuple[tuple[tuple[int, int], ...], tuple[int, int]]:
    centres, reach = [], np.zeros(2, dtype=int)
    for mask in (first, second):
        centre = np.round(centroid(mask)).astype(int)
        row0, row1, col0, col1 = mask_bounds(mask)
        reach = np.maximum(reach, np.maximum(centre - (row0, col0), (row1 - 1, col1 - 1) - centre))
        centres.append(centre)
    origins = tuple(tuple(int(v) for v in centre - reach - 1) for centre in centres)
    return origins, tuple(int(v) for v in 2 * reach + 3)
