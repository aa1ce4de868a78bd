"""Prompt projection: the mask of one slice becomes the prompts of the next.

The modes are those of micro-sam's volume annotator, which MedicoSAM uses (spec of prompt projection, 1.1.1-1.1.2).
The name ``mask`` is historic: it means *box and mask*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from ..errors import InputError
from .types import Box, SlicePrompts

Bounds = tuple[int, int, int, int]
"""Half-open pixel rectangle (row0, row1, col0, col1)."""

POSITIVE_DISTANCE_PX = 3
NEGATIVE_DISTANCE_PX = 5
FINE_SIDE_PX = 96
"""Objects up to this size are searched for points pixel by pixel, larger ones on a coarser grid."""
MAX_POINTS = 8
"""Points kept per label, deepest first; the published rule has no limit, but every point is a token to decode."""


@dataclass(frozen=True)
class Projection:
    """Which prompts are derived from the previous mask.

    Attributes:
        box: the extended bounding box.
        mask: the mask itself as mask prompt.
        points: positive points inside, negative points around.
        single: one positive point only (with ``points``).
    """

    box: bool = False
    mask: bool = False
    points: bool = False
    single: bool = False

    @classmethod
    def parse(cls, value: Projection | str | Mapping[str, Any]) -> Projection:
        """Read a mode name, a literal combination such as ``box+points``, or ``{use_box, use_mask, use_points}``.

        Raises:
            InputError: ``option.projection``.
        """
        if isinstance(value, Projection):
            found = value
        elif isinstance(value, str):
            found = MODES.get(value.strip().lower()) or cls._from_parts(value)
        elif isinstance(value, Mapping):
            found = cls._from_switches(value)
        else:
            found = None
        if found is None or not (found.box or found.mask or found.points) or (found.single and not found.points):
            raise InputError(
                "option.projection",
                f"Expected a projection such as {', '.join(MODES)}, a combination such as box+points, or the three "
                f"switches use_box, use_mask, use_points with at least one on; got {value!r}.",
            )
        return found

    @classmethod
    def _from_parts(cls, text: str) -> Projection | None:
        parts = [part.strip() for part in text.lower().split("+")]
        known = {"box", "mask", "points"}
        return cls(**dict.fromkeys(parts, True)) if len(parts) > 1 and set(parts) <= known else None

    @classmethod
    def _from_switches(cls, switches: Mapping[str, Any]) -> Projection | None:
        if set(switches) != {"use_box", "use_mask", "use_points"}:
            return None
        if not all(isinstance(on, bool) for on in switches.values()):
            return None
        return cls(switches["use_box"], switches["use_mask"], switches["use_points"])

    def __str__(self) -> str:
        for name, mode in MODES.items():
            if mode == self:
                return name
        return "+".join(part for part in ("box", "mask", "points") if getattr(self, part))


MODES: dict[str, Projection] = {
    "mask": Projection(box=True, mask=True),
    "box": Projection(box=True),
    "points": Projection(points=True),
    "points_and_mask": Projection(points=True, mask=True),
    "single_point": Projection(points=True, single=True),
}


def mask_bounds(mask: np.ndarray) -> Bounds | None:
    """Half-open rectangle around the True pixels of a bool [H, W] mask; ``None`` when it is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    row0, row1 = int(rows[0]), int(rows[-1]) + 1
    cols = np.flatnonzero(mask[row0:row1].any(axis=0))
    return row0, row1, int(cols[0]), int(cols[-1]) + 1


def box_margin(bounds: Bounds, extension: float, at_least: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """Margin (rows, columns) in pixels for a box around ``bounds``.

    Args:
        bounds: tight rectangle.
        extension: below 1 a fraction of the box's height and width, from 1 on pixels on each side.
        at_least: smallest margin (rows, columns) in pixels.
    """
    height, width = bounds[1] - bounds[0], bounds[3] - bounds[2]
    rows, cols = (extension, extension) if extension >= 1 else (extension * height, extension * width)
    return max(rows, at_least[0]), max(cols, at_least[1])


def extended_box(bounds: Bounds, margin: tuple[float, float], shape: tuple[int, int]) -> Box:
    """Box in plane coordinates, its edges on pixel borders, clipped to the slice."""
    row0, row1, col0, col1 = bounds
    return (
        max(col0 - 0.5 - margin[1], -0.5),
        max(row0 - 0.5 - margin[0], -0.5),
        min(col1 - 0.5 + margin[1], shape[1] - 0.5),
        min(row1 - 0.5 + margin[0], shape[0] - 0.5),
    )


def published_box(bounds: Bounds, margin: tuple[float, float], shape: tuple[int, int]) -> Box:
    """The published box: minima and maxima + 1, clipped, then rounded; the very numbers that SAM is given there."""
    row0, row1, col0, col1 = bounds
    return (
        float(np.round(max(col0 - margin[1], 0))),
        float(np.round(max(row0 - margin[0], 0))),
        float(np.round(min(col1 + margin[1], shape[1]))),
        float(np.round(min(row1 + margin[0], shape[0]))),
    )


def project(
    mask: np.ndarray,
    projection: Projection | str | Mapping[str, Any] = "mask",
    *,
    box_extension: float = 0.05,
    min_margin_px: tuple[float, float] = (0.0, 0.0),
    as_published: bool = False,
) -> SlicePrompts:
    """Prompts for the neighbouring slice from the mask of this one.

    Args:
        mask: bool [H, W].
        projection: see :meth:`Projection.parse`.
        box_extension: fraction of the box (below 1) or pixels (from 1 on) added on each side.
        min_margin_px: smallest margin (rows, columns); ignored as published.
        as_published: the published arithmetic, unpadded distance transform and unlimited points included.

    Returns:
        Empty prompts when the mask is empty: an empty mask must end the chain, never prompt an arbitrary one.
    """
    wanted = Projection.parse(projection)
    bounds = mask_bounds(mask)
    if bounds is None:
        return SlicePrompts()
    margin = box_margin(bounds, box_extension, (0.0, 0.0) if as_published else min_margin_px)
    box = (published_box if as_published else extended_box)(bounds, margin, mask.shape)
    parts: dict[str, Any] = {}
    if wanted.points:
        crop = _crop_of(box, mask.shape, as_published)
        parts["points"], parts["labels"] = _points(mask, crop, single=wanted.single, as_published=as_published)
    return SlicePrompts(box=box if wanted.box else None, mask=mask if wanted.mask else None, **parts)


def _crop_of(box: Box, shape: tuple[int, int], as_published: bool) -> Bounds:
    if as_published:
        return int(box[1]), int(box[3]), int(box[0]), int(box[2])
    row0, row1 = int(np.floor(box[1] + 0.5)), int(np.ceil(box[3] + 0.5))
    col0, col1 = int(np.floor(box[0] + 0.5)), int(np.ceil(box[2] + 0.5))
    return max(row0, 0), min(row1, shape[0]), max(col0, 0), min(col1, shape[1])


def _points(mask: np.ndarray, crop: Bounds, *, single: bool, as_published: bool) -> tuple[np.ndarray, np.ndarray]:
    row0, row1, col0, col1 = crop
    inside = mask[row0:row1, col0:col1]
    stride = 1 if as_published else _stride(inside)
    inside = inside[stride // 2 :: stride, stride // 2 :: stride]
    distance = boundary_distance(inside, padded=not as_published)
    inner, outer = np.where(inside, distance, 0), np.where(inside, 0, distance)
    deepest = np.array([np.unravel_index(np.argmax(inner), inner.shape)])
    if single:
        positive, negative = deepest, np.zeros((0, 2), dtype=np.int64)
    else:
        limit = None if as_published else MAX_POINTS
        positive = peaks(inner, POSITIVE_DISTANCE_PX, limit)
        negative = peaks(outer, NEGATIVE_DISTANCE_PX, limit)
        if not len(positive) and not as_published:
            positive = deepest
    rows_cols = np.concatenate([positive, negative]) * stride + stride // 2 + np.array([row0, col0])
    labels = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))]).astype(np.int64)
    return rows_cols[:, ::-1].astype(np.float64), labels


def _stride(inside: np.ndarray) -> int:
    """Every how many pixels to look: the place of a point in a large object need not be exact, and distances cost."""
    stride = -(-max(inside.shape) // FINE_SIDE_PX)
    return stride if inside[stride // 2 :: stride, stride // 2 :: stride].any() else 1


def boundary_distance(inside: np.ndarray, *, padded: bool = True) -> np.ndarray:
    """Distance in pixels to the outer boundary of an object in a bool crop, smoothed with a Gaussian of sigma 1.

    Args:
        inside: bool [h, w].
        padded: surround the crop with background first. Without it (as published) an object that touches the edge of
            the crop has no boundary there, and its distances are arbitrary.
    """
    area = np.pad(inside, 1) if padded else inside
    boundary = ndimage.binary_dilation(area) & ~area
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(~boundary), 1.0)
    return distance[1:-1, 1:-1] if padded else distance


def peaks(values: np.ndarray, distance_px: int, limit: int | None = None) -> np.ndarray:
    """Local maxima [N, 2] (row, column) of a map above its minimum, highest first, at least ``distance_px`` apart.

    Same rule as scikit-image's ``peak_local_max`` with maxima on the border allowed (Chebyshev distance); written out
    because Slicer has no scikit-image.
    """
    highest = ndimage.maximum_filter(values, size=2 * distance_px + 1, mode="nearest")
    candidates = np.argwhere((values == highest) & (values > values.min()))
    order = np.argsort(-values[tuple(candidates.T)], kind="stable")
    kept: list[np.ndarray] = []
    for candidate in candidates[order]:
        if limit is not None and len(kept) >= limit:
            break
        if all(np.abs(candidate - other).max() >= distance_px for other in kept):
            kept.append(candidate)
    return np.array(kept, dtype=np.int64).reshape(-1, 2)
