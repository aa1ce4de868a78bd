"""The prior's contours and image on the follow-up's grid.

A mask is warped as the signed distance to its border, sampled once: no steps where thick slices meet thin ones, no
holes where a coarse grid is filled from a fine one. Only the region of the structure is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..space.affine import Affine
from ..space.volume import Volume
from .inversion import inverse_points
from .mask_distance import signed_distance
from .pulling import CUBIC, LINEAR, NEAREST, pull
from .transforms import VisitTransform

_RIM = 2
"""Voxels around a mask that are kept: the border lies half a voxel outside of it, interpolation needs one more."""

_PROBES = 9
"""Points per axis of the box around a structure that are followed to find its region on the follow-up."""

_FAR_MM = 1.0e4
INTERPOLATIONS = {"linear": LINEAR, "nearest": NEAREST, "cubic": CUBIC}


@dataclass(frozen=True, eq=False)
class WarpedMask:
    """A structure of the prior on the follow-up's grid.

    Attributes:
        mask: bool [K, J, I] of the follow-up.
        outside_fraction: share of the warped structure's volume outside the follow-up's field of view, 0..1.
        touches_edge: the structure reaches the border of the prior's image and may have gone on beyond it.
        rescued: the structure is too small for the follow-up's grid, and the voxel nearest to it was taken.
    """

    mask: np.ndarray
    outside_fraction: float
    touches_edge: bool = False
    rescued: bool = False

    @property
    def in_image(self) -> bool:
        """False when no part of the structure lies in the follow-up's field of view."""
        return bool(self.mask.any())


def warp_mask(mask: np.ndarray, prior: Volume, follow_up: Volume, transform: VisitTransform) -> WarpedMask:
    """Bring a structure of the prior to the follow-up.

    Args:
        mask: bool [K, J, I] of ``prior``, not empty.
        prior: the volume that ``mask`` lies on.
        follow_up: the volume whose grid is wanted.
        transform: follow-up -> prior.

    Returns:
        The mask on the follow-up's grid; empty where the structure lies outside of it.

    Raises:
        InputError: ``segment.shape`` when the mask is not on the prior's grid; ``segment.empty``.
    """
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != prior.shape:
        raise InputError("segment.shape", f"Expected a mask of shape {prior.shape}, got {mask.shape}.")
    box = ndimage.find_objects(mask.view(np.uint8))
    if not box:
        raise InputError("segment.empty", "The structure is empty on the prior visit; leave it out.")
    box = box[0]
    near = np.pad(mask[box], _RIM)
    start = [part.start - _RIM for part in box]
    affine = prior.affine.shifted(start[::-1])
    distance = signed_distance(near, prior.spacing)
    low, high = _region(near.shape, affine, follow_up, transform)
    shape = tuple(int(n) for n in (high - low)[::-1])
    grid = follow_up.affine.shifted(low)
    warped = pull(distance, affine, transform, grid, shape, outside=_FAR_MM)
    inside, rescued = warped < 0.0, False
    if not inside.any() and warped.min() < _FAR_MM:
        inside, rescued = warped == warped.min(), True
    out = np.zeros(follow_up.shape, dtype=bool)
    here, there = _common(low[::-1], shape, follow_up.shape)
    out[there] = inside[here]
    total, kept = int(np.count_nonzero(inside)), int(np.count_nonzero(out))
    return WarpedMask(
        mask=out,
        outside_fraction=1.0 if total == 0 else 1.0 - kept / total,
        touches_edge=any(part.start == 0 or part.stop == n for part, n in zip(box, mask.shape, strict=True)),
        rescued=rescued and kept > 0,
    )


def warp_image(
    prior: Volume,
    follow_up: Volume,
    transform: VisitTransform,
    *,
    interpolation: str = "linear",
    outside: float | None = None,
) -> Volume:
    """The prior's image on the follow-up's grid.

    Args:
        prior: [K, J, I] or [K, J, I, C].
        follow_up: the volume whose grid is wanted.
        transform: follow-up -> prior.
        interpolation: ``linear``, ``nearest`` or ``cubic``.
        outside: value where the prior has no voxel; its smallest one by default.

    Raises:
        InputError: ``option.interpolation``.
    """
    if interpolation not in INTERPOLATIONS:
        raise InputError("option.interpolation", f"Expected one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}.")
    if outside is None:
        outside = float(np.nanmin(prior.voxels))
    voxels = pull(
        prior.voxels, prior.affine, transform, follow_up.affine, follow_up.shape,
        interpolator=INTERPOLATIONS[interpolation], outside=outside,
    )  # fmt: skip
    return replace(prior, voxels=voxels, affine=follow_up.affine, source=None)


def voxels_of(mask: np.ndarray, most: int) -> np.ndarray:
    """Indices (I, J, K) of voxels of a mask [K, J, I], every n-th where there are more than ``most``, int64 [N, 3]."""
    flat = np.flatnonzero(mask)
    flat = flat[:: max(1, -(-len(flat) // most))]
    return np.stack(np.unravel_index(flat, mask.shape)[::-1], axis=1)


def _region(
    shape: tuple[int, ...], affine: Affine, follow_up: Volume, transform: VisitTransform
) -> tuple[np.ndarray, np.ndarray]:
    """First and last-plus-one (I, J, K) on the follow-up's grid, which it may exceed, of a box of the prior."""
    steps = [np.linspace(-0.5, n - 0.5, _PROBES) for n in shape[::-1]]
    probes = affine.ijk_to_lps(np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3))
    places, miss = inverse_points(transform, probes)
    ijk = follow_up.affine.lps_to_ijk(places)
    rim = 1.0 + np.percentile(miss, 95) / follow_up.spacing
    return np.floor(ijk.min(axis=0) - rim).astype(int), np.ceil(ijk.max(axis=0) + rim).astype(int) + 1


def _common(
    start: np.ndarray, shape: tuple[int, ...], whole: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a region (first index, shape) and the whole grid meet: indices into the region, and into the grid."""
    low = [max(-int(s), 0) for s in start]
    high = [max(min(n, w - int(s)), first) for s, n, w, first in zip(start, shape, whole, low, strict=True)]
    here = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    there = tuple(slice(a + int(s), b + int(s)) for a, b, s in zip(low, high, start, strict=True))
    return here, there
