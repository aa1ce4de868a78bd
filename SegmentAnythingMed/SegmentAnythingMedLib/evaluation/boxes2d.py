"""What a box alone says about a slice, without any model: the floor that a model has to beat.

A box is a strong hint. An ellipse in it overlaps well with most organs on their middle slices, so results of a model
are shown beside these. All functions take boxes in plane coordinates of ``prompts.types`` and return bool [H, W].
"""

from __future__ import annotations

import numpy as np
from skimage.filters import threshold_otsu

from ..errors import InputError, PromptError
from ..prompts.types import Box

CENTRE = 0.5
"""Half-axes of the central ellipse that tells object from background, as a fraction of the box's half-sides."""


def fill_box(shape: tuple[int, int], box: Box) -> np.ndarray:
    """All pixels whose centre lies in the box.

    Args:
        shape: (rows, columns).
        box: (x0, y0, x1, y1), plane coordinates.

    Raises:
        PromptError: ``prompt.box_empty``.
    """
    x0, y0, x1, y1 = _checked(box)
    columns, rows = np.arange(shape[1]), np.arange(shape[0])
    return ((rows > y0) & (rows < y1))[:, None] & ((columns > x0) & (columns < x1))[None, :]


def ellipse_in_box(shape: tuple[int, int], box: Box, scale: float = 1.0) -> np.ndarray:
    """All pixels whose centre lies in the ellipse that touches the four sides of the box.

    Args:
        shape: (rows, columns).
        box: (x0, y0, x1, y1), plane coordinates.
        scale: factor on both half-axes.

    Raises:
        PromptError: ``prompt.box_empty``.
    """
    x0, y0, x1, y1 = _checked(box)
    x = (np.arange(shape[1]) - (x0 + x1) / 2) / (scale * (x1 - x0) / 2)
    y = (np.arange(shape[0]) - (y0 + y1) / 2) / (scale * (y1 - y0) / 2)
    return x[None, :] ** 2 + y[:, None] ** 2 <= 1.0


def otsu_in_box(image: np.ndarray, box: Box, bright: bool | None = None) -> np.ndarray:
    """Pixels of the box on the object's side of Otsu's threshold of the box (Otsu 1979).

    The object is the class, bright or dark, that holds most of the central ellipse of the box (half the
    half-axes). Without contrast in the box the whole box is returned.

    Args:
        image: [H, W] or [H, W, C] (channels are averaged), any numeric type.
        box: (x0, y0, x1, y1), plane coordinates.
        bright: True or False fixes the class; None lets the vote decide.

    Raises:
        PromptError: ``prompt.box_empty``.
    """
    image = grey(image)
    inside = fill_box(image.shape, box)
    values = image[inside]
    if values.size == 0 or values.min() == values.max():
        return inside
    above = image > threshold_otsu(values)
    if bright is None:
        bright = object_is_bright(above, box)
    return inside & (above if bright else ~above)


def object_is_bright(above: np.ndarray, box: Box) -> bool:
    """True if at least half of the box's central ellipse is above the threshold.

    Args:
        above: bool [H, W], pixels above the threshold.
        box: (x0, y0, x1, y1), plane coordinates.
    """
    centre = ellipse_in_box(above.shape, box, CENTRE)
    if not centre.any():
        centre = fill_box(above.shape, box)
    return bool(above[centre].mean() >= 0.5) if centre.any() else True


def box_of_mask(mask: np.ndarray) -> Box | None:
    """Smallest box (x0, y0, x1, y1) around all pixels of bool [H, W], edges on pixel borders; None when empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]) - 0.5, float(rows[0]) - 0.5, float(columns[-1]) + 0.5, float(rows[-1]) + 0.5


def grow_box(box: Box, fraction: float, least: float = 0.0) -> Box:
    """The box with each side moved outward by ``fraction`` of its width or height, at least ``least`` pixels."""
    x0, y0, x1, y1 = box
    dx, dy = max(fraction * (x1 - x0), least), max(fraction * (y1 - y0), least)
    return x0 - dx, y0 - dy, x1 + dx, y1 + dy


def grey(image: np.ndarray) -> np.ndarray:
    """[H, W] of [H, W] or [H, W, C]: the mean of the channels, float32; a single channel stays as it is."""
    image = np.asarray(image)
    return image if image.ndim == 2 else image.mean(axis=2, dtype=np.float32)


def third_half_axis_mm(box: Box, pixel_spacing: tuple[float, float]) -> float:
    """What a box says about the unseen direction: the mean of its two half-sides in mm.

    Args:
        box: (x0, y0, x1, y1), plane coordinates.
        pixel_spacing: (row, column) distance of pixel centres in mm.
    """
    return ((box[2] - box[0]) * pixel_spacing[1] + (box[3] - box[1]) * pixel_spacing[0]) / 4


def check_seed(seed: int, count: int, limits: tuple[int, int] | None) -> None:
    """Raise InputError ``option.seed`` unless ``seed`` is one of ``count`` slices and within ``limits`` (inclusive)."""
    low, high = (0, count - 1) if limits is None else limits
    if not max(low, 0) <= seed <= min(high, count - 1):
        raise InputError(
            "option.seed",
            f"The seed slice must be one of the {count} slices and within the limits {low}..{high}, but is {seed}.",
        )


def _checked(box: Box) -> Box:
    x0, y0, x1, y1 = (float(v) for v in box)
    if not (x1 > x0 and y1 > y0):
        raise PromptError("prompt.box_empty", f"A box needs x1 > x0 and y1 > y0, but is {(x0, y0, x1, y1)}.")
    return x0, y0, x1, y1
