"""Where on the follow-up the structure lies, if it has moved against what surrounds it: matching of its old picture.

The picture of the structure on the prior, with a rim, is moved over the arena; the likeness at every offset is the
normalised cross-correlation, which does not mind other brightness or contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from ..engine.session import Session
from .arena import Arena
from .mask_distance import distance_to

LEAST = 0.35
"""Correlation below which nothing was recognised."""
RIM_MM = 5.0
GRID_MM = 1.5
_DISTANCE_COST = 0.15
"""What an offset as long as the search distance costs, in correlation."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where the structure was recognised.

    Attributes:
        offset: (slices, rows, columns) in voxels from the expected place.
        likeness: correlation there, -1..1.
        expected: correlation at the expected place.
        shift_mm: length of the offset.
        heat_map: float32 [N, H, W], likeness of a structure centred at each voxel, 0..1; 0 outside the search;
            None where it was looked for within slices only.
    """

    offset: tuple[int, int, int]
    likeness: float
    expected: float
    shift_mm: float
    heat_map: np.ndarray | None

    @property
    def recognised(self) -> bool:
        """True where the likeness means something."""
        return self.likeness >= LEAST


def find_place(arena: Arena, search_mm: float, *, within_slices: bool = False) -> Place:
    """Look for the prior's picture of the structure around the place where it is expected.

    Args:
        arena: both visits.
        search_mm: how far it may have moved.
        within_slices: only to the side, not along the stack: a part of a long structure looks like its other parts.
    """
    spacing = arena.spacing
    step = np.maximum(1, np.floor(GRID_MM / spacing + 1e-6)).astype(int)
    every = tuple(slice(None, None, int(s)) for s in step)
    if within_slices:
        every = _slices_near(arena.rigid, spacing, int(step[0])), *every[1:]
    today, before = (_grey(session, every) for session in _sessions(arena))
    low = every[0].start or 0
    near = np.zeros(arena.rigid.shape, dtype=bool)
    near[low : every[0].stop] = distance_to(arena.rigid[low : every[0].stop], spacing) <= RIM_MM
    weight = near[every].astype(np.float32)
    if not weight.any():
        weight = np.ones_like(weight)
    grid = spacing * step
    cube = tuple(slice(int(w.min()), int(w.max()) + 1) for w in np.nonzero(weight))
    scores = correlations(today, before[cube], weight[cube])
    start = np.array([part.start for part in cube])
    offsets = np.indices(scores.shape) - start[:, None, None, None]
    lengths = np.sqrt(((offsets * grid[:, None, None, None]) ** 2).sum(axis=0))
    allowed = (lengths <= search_mm) & ((offsets[0] == 0) | (not within_slices))
    worth = np.where(allowed, scores - _DISTANCE_COST * (lengths / search_mm) ** 2, -np.inf)
    best = np.unravel_index(int(np.argmax(worth)), worth.shape)
    offset = (np.array(best) - start) * step
    heat_map = None if within_slices else _heat_map(arena, np.where(allowed, scores, 0), start, step)
    return Place(
        tuple(int(n) for n in offset), float(scores[best]), float(scores[tuple(start)]), float(lengths[best]), heat_map
    )


def _sessions(arena: Arena) -> tuple:
    return arena.follow_up, arena.prior


def _slices_near(mask: np.ndarray, spacing: np.ndarray, step: int) -> slice:
    """Every ``step``-th slice from a little before a mask to a little behind it."""
    found = np.flatnonzero(mask.any(axis=(1, 2)))
    rim = int(np.ceil(RIM_MM / spacing[0]))
    return slice(max(int(found[0]) - rim, 0), int(found[-1]) + rim + 1, step)


def _grey(session: Session, every: tuple[slice, ...]) -> np.ndarray:
    """Some voxels of a visit as the model's intensities, 0..1, without colour."""
    images = (session.stack.image(n)[every[1:]] for n in range(session.count)[every[0]])
    grey = [session.mapping.apply(image).reshape(*image.shape[:2], -1).mean(axis=-1) for image in images]
    return np.stack(grey).astype(np.float32)


def correlations(image: np.ndarray, picture: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Normalised cross-correlation of a weighted picture with every part of an image.

    Args:
        image: float [N, H, W].
        picture: float [n, h, w], not larger than the image.
        weight: float [n, h, w], at least 0, not all 0.

    Returns:
        float [N - n + 1, H - h + 1, W - w + 1], -1..1; 0 where the image or the picture is flat.
    """
    total = float(weight.sum())
    image = image - image.mean()  # keeps the differences of large sums small
    centred = weight * (picture - float((weight * picture).sum()) / total)
    deviation = np.sqrt(float((centred**2 / np.maximum(weight, 1e-6)).sum()) / total)
    turned, flipped = centred[::-1, ::-1, ::-1], weight[::-1, ::-1, ::-1]
    product = fftconvolve(image, turned, mode="valid") / total
    mean = fftconvolve(image, flipped, mode="valid") / total
    square = fftconvolve(image**2, flipped, mode="valid") / total
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    flat = (spread < 1e-3) | (deviation < 1e-3)
    return np.where(flat, 0.0, np.clip(product / np.where(flat, 1.0, spread * deviation), -1, 1))


def _heat_map(arena: Arena, scores: np.ndarray, start: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Likeness at the voxel where the structure's centre would be."""
    centre = np.array(ndimage.center_of_mass(arena.rigid)) if arena.rigid.any() else np.array(arena.rigid.shape) / 2
    there = ndimage.affine_transform(
        scores.astype(np.float32), 1.0 / step, start - centre / step, arena.rigid.shape, order=1, mode="constant"
    )
    return np.clip(there, 0, 1)


def moved(mask: np.ndarray, offset: tuple[int, int, int]) -> np.ndarray:
    """A mask [N, H, W] moved by whole voxels; what leaves the arena is lost."""
    out = np.zeros_like(mask)
    there = tuple(slice(max(o, 0), n + min(o, 0)) for o, n in zip(offset, mask.shape, strict=True))
    here = tuple(slice(max(-o, 0), n + min(-o, 0)) for o, n in zip(offset, mask.shape, strict=True))
    out[there] = mask[here]
    return out
