"""Where on a slice something looks like a prototype: cosine maps on the token grid, in pixels, and their peaks."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..models.frame import Frame
from .parts import unit

_FINER = 4
"""Low-resolution masks of SAM have four times the cells of its tokens; maps take the same step on their way."""


def similarity_maps(prototypes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Cosine of each prototype with each token.

    Args:
        prototypes: float32 [n, C] of length 1.
        tokens: float32 [h, w, C], raw.

    Returns:
        float32 [n, h, w], -1..1.
    """
    return np.moveaxis(unit(tokens) @ prototypes.T, -1, 0)


def in_pixels(maps: np.ndarray, frame: Frame, *, all_steps: bool = True) -> np.ndarray:
    """Maps of the token grid in shown pixels, upsampled in the released code's steps.

    Bilinear to four times the grid, to the network's input, without the padding to the region's pixels.

    Args:
        maps: float32 [n, h, w] over the whole input.
        frame: of the view.
        all_steps: False leaves out the network's input where padding can be cut off without: peaks hardly move, and it
            takes a third of the time.

    Returns:
        float32 [n, H, W]; minus infinity outside the region.
    """
    content = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))[None]
    content = F.interpolate(content, scale_factor=_FINER, mode="bilinear")
    side = content.shape[-1]
    if all_steps or any(length * side % frame.size for length in frame.content):
        content, side = F.interpolate(content, size=(frame.size, frame.size), mode="bilinear"), frame.size
    rows, cols = (length * side // frame.size for length in frame.content)
    content = content[..., :rows, :cols]
    region = frame.region
    patch = F.interpolate(content, size=(region.height, region.width), mode="bilinear")[0].numpy()
    pasted = frame.paste(patch)
    return pasted if pasted is patch else np.where(seen_pixels(frame), pasted, -np.inf).astype(np.float32)


def seen_pixels(frame: Frame) -> np.ndarray:
    """Pixels of the slice that the frame's region shows, bool [H, W]."""
    seen = np.zeros(frame.slice_shape, dtype=bool)
    region = frame.region
    seen[max(region.row0, 0) : max(region.row1, 0), max(region.col0, 0) : max(region.col1, 0)] = True
    return seen


def highest(values: np.ndarray, allowed: np.ndarray | None = None) -> tuple[float, float] | None:
    """(x, y) of the highest value of a map [H, W], the first in row-major order; None when no pixel is allowed.

    Args:
        values: minus infinity where there is nothing.
        allowed: bool [H, W], or None for everywhere.
    """
    masked = values if allowed is None else np.where(allowed, values, -np.inf)
    flat = int(np.argmax(masked))
    row, col = divmod(flat, values.shape[1])
    return None if masked[row, col] == -np.inf else (float(col), float(row))


def lowest(values: np.ndarray, allowed: np.ndarray | None = None) -> tuple[float, float] | None:
    """(x, y) of the lowest finite value; see :func:`highest`."""
    return highest(np.where(np.isfinite(values), -values, -np.inf), allowed)
