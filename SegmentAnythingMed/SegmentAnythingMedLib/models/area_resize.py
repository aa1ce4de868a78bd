"""Resizing by pixel areas, with the numbers of OpenCV's ``INTER_AREA``, which LiteMedSAM was trained with.

Smaller: each new pixel is the mean of the old ones that it covers, weighted by the covered part. Larger: OpenCV changes
to a linear blend whose weights depend on where a new pixel's edge falls; both are separable.
"""

from __future__ import annotations

import numpy as np


def area_resize(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """An image at another size.

    Args:
        image: uint8 [h, w] or [h, w, C].
        rows, cols: new size.

    Returns:
        uint8 [rows, cols] or [rows, cols, C]; OpenCV's result, one grey level off at most where the image grows.
    """
    height, width = image.shape[:2]
    if (height, width) == (rows, cols):
        return image
    shrinking = rows <= height and cols <= width  # OpenCV averages only where neither side grows
    vertical, horizontal = _weights(height, rows, shrinking), _weights(width, cols, shrinking)
    resized = np.einsum("rh,hw...,cw->rc...", vertical, image.astype(np.float32), horizontal, optimize=True)
    halved = (height, width) == (2 * rows, 2 * cols)  # there OpenCV rounds halves up
    return np.clip(np.floor(resized + 0.5) if halved else np.rint(resized), 0, 255).astype(np.uint8)


def _weights(length: int, size: int, shrinking: bool) -> np.ndarray:
    """float32 [size, length]: how much of each old pixel goes into each new one; rows sum to one."""
    inverse = size / length
    scale = 1.0 / inverse  # in this order, as OpenCV does: the last bit decides on which pixel an edge falls
    new = np.arange(size, dtype=np.float64)[:, None]
    old = np.arange(length, dtype=np.float64)[None]
    if shrinking:
        covered = np.minimum((new + 1) * scale, old + 1) - np.maximum(new * scale, old)
        weights = np.clip(covered, 0, None)
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    first = np.floor(new * scale)
    share = (new + 1) - (first + 1) * inverse
    share = np.where(share <= 0, 0.0, share - np.floor(share))
    share = np.where(first >= length - 1, 0.0, share)
    weights = (old == np.minimum(first, length - 1)) * (1 - share) + (old == first + 1) * share
    return weights.astype(np.float32)
