"""How well a mask that was written agrees with what is read back."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..errors import InputError

LOWEST_DICE = 0.99
LARGEST_EDGE_PX = 0.6


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice of two boolean masks of one shape; 1 when both are empty."""
    size = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
    return 1.0 if size == 0 else 2 * int(np.count_nonzero(one & other)) / size


def edge_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Largest distance in pixels, slice by slice, from the edge of either mask to the other's.

    Args:
        one: bool [N, rows, columns].
        other: the same shape.

    Returns:
        0 for equal masks; infinity where a slice is empty in one mask only.
    """
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        if np.array_equal(a, b):
            continue
        if a.any() != b.any():
            return float("inf")
        edges = [_corners(a), _corners(b)]
        for here, there in (edges, edges[::-1]):
            worst = max(worst, float(ndimage.distance_transform_edt(~there)[here].max()))
    return worst


def _corners(mask: np.ndarray) -> np.ndarray:
    """Corners of pixels that lie on the mask's edge, bool [rows + 1, columns + 1]."""
    padded = np.pad(mask, 1)
    around = np.stack([padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]])
    return around.any(axis=0) & ~around.all(axis=0)


def check_agreement(given: np.ndarray, read: np.ndarray, name: str, kind: str) -> tuple[float, float]:
    """Dice and edge distance of a structure that was written, or an error when they are not good enough.

    Raises:
        InputError: ``<kind>.verification``.
    """
    overlap, edge = dice(given, read), edge_distance(given, read)
    if overlap < LOWEST_DICE or edge > LARGEST_EDGE_PX:
        raise InputError(
            f"{kind}.verification",
            f"The file was read back and {name!r} differs from what was to be written (Dice {overlap:.3f}, edges up to"
            f" {edge:.1f} pixels apart); nothing was kept. Save the masks as NIfTI and report this.",
        )
    return overlap, edge
