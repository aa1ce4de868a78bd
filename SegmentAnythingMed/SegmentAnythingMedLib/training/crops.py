"""Training samples: a square cut through a labelled volume with targets, and the true mask of the slice next to it.

A cut is a plane through a voxel of the object: along an axis of the volume or, in volumes with nearly cubic voxels, in
any direction. The neighbouring plane supplies the prompt that propagation would give (its mask and box), true anatomy
and not a shifted copy; beyond the end of an object the target is empty and the network learns to say so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .appearance import degrade, paint_labels, random_means, window_real
from .planes import Plane, bounds, component, gather, nearest, random_basis, trilinear
from .pool import PoolVolume

EMPTY_SHARE, NEIGHBOUR_SHARE = 0.18, 0.45
"""Part of the samples behind an object's end, and part of the others that are prompted from a neighbouring slice."""
REFERENCE_SHARE = 0.85
"""Part of the samples prompted from a neighbouring slice that are shown a slice where the object is known."""


@dataclass(eq=False)
class Sample:
    """One training crop of side S.

    Attributes:
        image: float32 [S, S], 0..1.
        targets: float32 [2, S, S], 0..1: for the box or neighbour prompt, and for the point prompt.
        previous: bool [S, S], mask of the neighbouring slice (the prompt of propagation); may be all False.
        from_previous: whether the first prompt is the neighbour's mask and box instead of a box on this slice.
        reference: float32 [S, S], 0..1, another cut of the same object in a crop of its own and the same look, or None.
        reference_mask: bool [S, S], the object on it, or None.
    """

    image: np.ndarray
    targets: np.ndarray
    previous: np.ndarray
    from_previous: bool
    reference: np.ndarray | None = None
    reference_mask: np.ndarray | None = None


def _spread(plane: Plane, target: int) -> float:
    """Side in mm of a square around the origin that holds the object's cut."""
    offsets = (plane.volume.voxels[target] - plane.origin) * plane.spacing
    near = np.abs(offsets @ plane.basis[2]) < 1.5 * plane.spacing.max()
    offsets = offsets[near] if near.sum() > 8 else offsets
    return float(2.3 * np.abs(offsets @ plane.basis[:2].T).max() + 4 * plane.spacing.min())


def _find_end(plane: Plane, target: int, side: float, step: float) -> bool:
    """Move the plane along its normal to just beyond the object's end; False if the volume ends first."""
    moved = Plane(plane.volume, plane.origin, plane.basis)
    for _ in range(40):
        moved.origin = moved.origin + step * plane.basis[2] / plane.spacing
        if np.any(moved.origin < 0) or np.any(moved.origin > np.array(plane.volume.labels.shape) - 1):
            return False
        if not np.any(nearest(plane.volume, moved.positions((0, 0), side, 40)) == target):
            plane.origin = moved.origin
            return True
    return False


def _warp(positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random displacement of a few per cent of the crop."""
    size = positions.shape[1]
    amplitude = rng.uniform(0.01, 0.05) * (positions.max(axis=(1, 2)) - positions.min(axis=(1, 2)))
    field = rng.standard_normal((3, 5, 5)).astype(np.float32)
    field = np.stack([ndimage.zoom(f, size / 5, order=1)[:size, :size] for f in field])
    return positions + field * amplitude[:, None, None] * 0.6


def _images(
    volume: PoolVolume, views: list[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator
) -> list[np.ndarray]:
    """Images of cuts (positions, object) that look as if they came from one scan."""
    painted = volume.image is None or rng.random() < 0.25
    look = None
    if painted:
        positions, shown = next((view for view in views if view[1].any()), views[0])
        look = random_means(gather(volume.parts, positions), shown, rng)
    seed = rng.integers(2**63)
    images = []
    for positions, shown in views:
        same = np.random.default_rng(seed)
        if painted:
            images.append(
                degrade(paint_labels(gather(volume.parts, positions), shown, look, same), same, synthetic=True)
            )
        else:
            grey = trilinear(volume.image, positions, None)
            images.append(degrade(window_real(grey, volume.modality, volume.percentiles, same), same, synthetic=False))
    return images


def _second_target(labels: np.ndarray, volume: PoolVolume, first: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another visible object for the point prompt, or the first one again."""
    values, counts = np.unique(labels, return_counts=True)
    known = [int(v) for v, c in zip(values, counts, strict=True) if c >= 60 and int(v) in volume.voxels]
    if known and (not first.any() or rng.random() < 0.4):
        return component(labels == known[rng.integers(len(known))], None).astype(np.float32)
    return first


def known_view(
    plane: Plane, target: int, step: float, spread: float, size: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """A cut in which the object is known, as propagation has one: the neighbour, or a slice farther back.

    Args:
        plane: the plane of the sample, with its origin on the object or just behind its end.
        target: label of the object.
        step: distance in mm from the neighbour to the sample.
        spread: side in mm of the square in which the object is looked for.
        size: side of the crop in pixels.
        rng: source of randomness.

    Returns:
        Voxel positions [3, size, size] and bool [size, size]; an empty list when the object is not there.
    """
    middle = np.zeros((72, 72), dtype=bool)
    middle[34:38, 34:38] = True
    near = nearest(plane.volume, plane.positions((0, 0), spread, 72, -step)) == target
    seed = component(near, middle) if (near & middle).any() else near
    for steps in (int(rng.integers(2, 8)) if rng.random() < 0.55 else 1, 1):
        far = nearest(plane.volume, plane.positions((0, 0), spread, 72, -step * steps)) == target
        found = component(far, seed) if (far & seed).any() else np.zeros_like(far)
        if found.sum() < 6:
            continue
        row0, row1, col0, col1 = (bound / 72 * spread - spread / 2 for bound in bounds(found))
        side = max(row1 - row0, col1 - col0) * rng.uniform(1.4, 2.6)
        side = max(side, 14 * float(np.sort(plane.spacing)[:2].max()))
        centre = np.array([col0 + col1, row0 + row1]) / 2 + rng.uniform(-0.12, 0.12, 2) * side
        positions = plane.positions((centre[0], centre[1]), side, size, -step * steps)
        mask = nearest(plane.volume, positions) == target
        mask &= _spanned(mask.shape, centre, side, (row0, row1, col0, col1))
        if mask.sum() >= 16:
            return [(positions, mask)]
    return []


def _spanned(
    shape: tuple[int, int], centre: np.ndarray, side: float, box: tuple[float, float, float, float]
) -> np.ndarray:
    """Pixels of a crop within a box (row0, row1, col0, col1) in mm, with a little room."""
    size, (row0, row1, col0, col1) = shape[0], box
    steps = (np.arange(size) + 0.5) / size * side - side / 2
    room = 0.06 * side
    rows, cols = steps + centre[1], steps + centre[0]
    return ((rows > row0 - room) & (rows < row1 + room))[:, None] & ((cols > col0 - room) & (cols < col1 + room))[None]


def cut_sample(volume: PoolVolume, rng: np.random.Generator, size: int = 128) -> Sample | None:
    """A random training sample from a volume; ``None`` when this draw found nothing to learn from."""
    if not volume.targets:
        return None
    weights = np.array([len(volume.voxels[t]) for t in volume.targets], dtype=np.float64) ** 0.4
    target = int(rng.choice(volume.targets, p=weights / weights.sum()))
    places = volume.voxels[target]
    origin = places[rng.integers(len(places))] + (rng.uniform(-0.4, 0.4, 3) if volume.oblique else 0)
    plane = Plane(volume, origin, random_basis(volume, rng))
    axis_step = float(np.abs(plane.basis[2]) @ plane.spacing)
    step = axis_step * (rng.integers(1, 3) if not volume.oblique else rng.uniform(0.7, 4.0))
    spread = _spread(plane, target)
    empty = rng.random() < EMPTY_SHARE and _find_end(plane, target, spread, step)
    from_previous = bool(empty or rng.random() < NEIGHBOUR_SHARE)
    coarse = nearest(volume, plane.positions((0, 0), spread, 72, -step if empty else 0.0)) == target
    middle = np.zeros_like(coarse)
    middle[34:38, 34:38] = True
    coarse = component(coarse, middle) if (coarse & middle).any() else coarse
    if coarse.sum() < 12:
        return None
    row0, row1, col0, col1 = (bound / 72 * spread - spread / 2 for bound in bounds(coarse))
    longest = max(row1 - row0, col1 - col0)
    close = rng.random() < (0.92 if from_previous else 0.72)  # propagation always looks closely
    factor = rng.uniform(1.35, 2.8) if close else np.exp(rng.uniform(np.log(2.5), np.log(9)))
    side = max(longest * factor, 14 * float(np.sort(plane.spacing)[:2].max()))
    shift = rng.uniform(-0.5, 0.5, 2) * (side - longest) * (0.35 if factor < 2.8 else 0.9)
    centre = ((col0 + col1) / 2 + shift[0], (row0 + row1) / 2 + shift[1])
    return _finish(plane, target, (spread, *centre), side, step, size, from_previous, bool(empty), rng)


def _finish(
    plane: Plane, target: int, place: tuple[float, float, float], side: float, step: float, size: int,
    from_previous: bool, empty: bool, rng: np.random.Generator,
) -> Sample | None:  # fmt: skip
    volume, spread, centre = plane.volume, place[0], place[1:]
    positions = plane.positions(centre, side, size)
    behind = plane.positions(centre, side, size, -step)
    if rng.random() < 0.4:
        state = rng.bit_generator.state
        positions = _warp(positions, rng)
        rng.bit_generator.state = state
        behind = _warp(behind, rng)
    labels = nearest(volume, positions)
    u, v = (int(np.clip((-c / side + 0.5) * size, 0, size - 1)) for c in centre)
    seed = np.zeros((size, size), dtype=bool)
    seed[max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3] = True
    whole = labels == target
    mask = np.zeros_like(whole) if empty else component(whole, seed) if (whole & seed).any() else whole
    if not empty and mask.sum() < 24:
        return None
    previous = np.zeros_like(mask)
    if from_previous:
        neighbour = nearest(volume, behind) == target
        previous = component(neighbour, mask) if mask.any() and (neighbour & mask).any() else neighbour
        if mask.any() and not (previous & ndimage.binary_dilation(mask, iterations=4)).any():
            previous = mask
        if not previous.any():
            return None
    soft = trilinear(volume.labels, positions, target) * ndimage.binary_dilation(mask, iterations=2)
    second = _second_target(labels, volume, soft if not empty else mask.astype(np.float32), rng)
    views = [(positions, mask if mask.any() else second > 0.5)]
    if from_previous and rng.random() < REFERENCE_SHARE:
        views += known_view(plane, target, step, spread, size, rng)
        views[0] = (positions, mask) if len(views) > 1 else views[0]
    images = _images(volume, views, rng)
    targets = np.clip(np.stack([soft, second]), 0, 1).astype(np.float32)
    known = (images[1], views[1][1]) if len(views) > 1 else (None, None)
    return Sample(images[0], targets, previous, from_previous, *known)
