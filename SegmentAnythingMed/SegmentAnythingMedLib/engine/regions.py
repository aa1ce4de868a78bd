"""Which part of a slice a model is shown.

Two kinds of model, one rule each. A model that *uses regions* always sees a square about ``SIDE`` times the object. A
whole-slice model is shown a square of four times the object when the object would be tiny at network scale (spec of the
engine, "small-object zoom"). Nearly equal prompts share a region because an old one is kept while it fits; regions are
not snapped to a grid, so that a flipped or cropped copy of a slice gets the same region of the same object.
"""

from __future__ import annotations

import math

import numpy as np

from ..models.frame import Region
from ..models.interface import PromptableModel
from ..prompts.types import Box, SlicePrompts

SIDE = 1.8
"""Side of the region over the longer side of the object's box, for models that use regions."""
SIDE_RANGE = (1.3, 2.7)
"""Sides that an existing region may have to be used again (the built-in model was trained on 1.35 to 2.8)."""
MARGIN = 0.06
"""Room that an existing region must leave around the box, in longer sides of the box. The crops that the built-in model
was trained on leave 0.09 around the object, and the prompt is up to 0.05 off it."""
SMALLEST_PX = 20
ZOOM_BELOW_PX = 32
ZOOM_SIDE = 4.0
ZOOM_SMALLEST_PX = 64


def extent_of(prompts: SlicePrompts) -> Box | None:
    """Box around everything positive: box, mask and positive points; ``None`` for points alone."""
    boxes = []
    if prompts.box is not None:
        boxes.append(prompts.box)
    if prompts.mask is not None and prompts.mask.any():
        rows, cols = np.flatnonzero(prompts.mask.any(axis=1)), np.flatnonzero(prompts.mask.any(axis=0))
        boxes.append((cols[0] - 0.5, rows[0] - 0.5, cols[-1] + 0.5, rows[-1] + 0.5))
    if not boxes:
        return None
    for x, y in prompts.points[prompts.labels == 1]:
        boxes.append((x - 0.5, y - 0.5, x + 0.5, y + 0.5))
    array = np.asarray(boxes, dtype=np.float64)
    return (*array[:, :2].min(axis=0).tolist(), *array[:, 2:].max(axis=0).tolist())


def square(centre: tuple[float, float], side_mm: float, pixel_spacing: tuple[float, float]) -> Region:
    """Region of ``side_mm`` around (x, y): whole pixels, rounded outward; the side grows in steps of 8 %."""
    side_mm = 1.08 ** math.ceil(math.log(side_mm) / math.log(1.08) - 1e-6)
    rows, cols = (max(1.0, side_mm / 2 / spacing) for spacing in pixel_spacing)
    x, y = centre[0] + 0.5, centre[1] + 0.5
    row0, col0 = math.floor(y - rows + 1e-6), math.floor(x - cols + 1e-6)
    return Region(row0, col0, math.ceil(y + rows - 1e-6), math.ceil(x + cols - 1e-6))


def longest_mm(box: Box, pixel_spacing: tuple[float, float]) -> float:
    """Longer side of a box in mm."""
    return max((box[2] - box[0]) * pixel_spacing[1], (box[3] - box[1]) * pixel_spacing[0])


def choose_region(
    model: PromptableModel, box: Box, slice_shape: tuple[int, int], pixel_spacing: tuple[float, float]
) -> Region | None:
    """The region for an object in ``box``; ``None`` is the whole slice."""
    longest = longest_mm(box, pixel_spacing)
    pixel = max(pixel_spacing)
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    if model.uses_regions:
        return square(centre, max(SIDE * longest, SMALLEST_PX * pixel), pixel_spacing)
    whole = max(slice_shape[0] * pixel_spacing[0], slice_shape[1] * pixel_spacing[1])
    if longest * model.image_size / whole >= ZOOM_BELOW_PX:
        return None
    side = max(ZOOM_SIDE * longest, ZOOM_SMALLEST_PX * pixel)
    return square(centre, side, pixel_spacing) if side < 0.75 * whole else None


def still_fits(region: Region, box: Box, pixel_spacing: tuple[float, float]) -> bool:
    """True if a region chosen for another box is as good for this one."""
    longest = longest_mm(box, pixel_spacing)
    side = region.height * pixel_spacing[0]
    smallest = SMALLEST_PX * max(pixel_spacing)
    if side > max(SIDE_RANGE[1] * longest, 1.2 * smallest) or side < SIDE_RANGE[0] * longest:
        return False
    mx, my = MARGIN * longest / pixel_spacing[1], MARGIN * longest / pixel_spacing[0]
    return region.contains_box((box[0] - mx, box[1] - my, box[2] + mx, box[3] + my))
