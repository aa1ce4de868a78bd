"""Training samples: a square cut through a labelled volume with targets, and the true mask of the slice next to it.

A cut is a plane through a voxel of the object: along an axis of the volume or, in volumes with nearly cubic voxels, in
any direction. The neighbouring plane supplies the prompt that propagation would give (its mask and box), true anatomy
and not a shifted copy; beyond the end of an object the target is empty and the network learns to say so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .appearance import degrade, paint_labels, window_real
from .pool import PoolVolume


@dataclass(eq=False)
class Sample:
    """One training crop of side S.

    Attributes:
        image: float32 [S, S], 0..1.
        targets: float32 [2, S, S], 0..1: for the box or neighbour prompt, and for the point prompt.
        previous: bool [S, S], mask of the neighbouring slice (the prompt of propagation); may be all False.
        from_previous: whether the first prompt is the neighbour's mask and box instead of a box on this slice.
    """

    image: np.ndarray
    targets: np.ndarray
    previous: np.ndarray
    from_previous: bool


class Plane:
    """A sampling grid through a volume: ``origin`` (K, J, I) plus steps along two unit vectors in mm."""

    def __init__(self, volume: PoolVolume, origin: np.ndarray, basis: np.ndarray) -> None:
        self.volume = volume
        self.origin = np.asarray(origin, dtype=np.float64)
        self.spacing = np.asarray(volume.spacing[::-1], dtype=np.float64)
        self.basis = basis  # rows: u (columns), v (rows), n; components along (K, J, I) in mm

    def positions(self, centre: tuple[float, float], side_mm: float, size: int, offset_mm: float = 0.0) -> np.ndarray:
        """Voxel positions [3, size, size] (K, J, I) of a square of ``side_mm`` around ``centre`` (u, v mm)."""
        steps = (np.arange(size) + 0.5) / size * side_mm - side_mm / 2
        u, v = np.meshgrid(steps + centre[0], steps + centre[1])
        mm = u[None] * self.basis[0][:, None, None] + v[None] * self.basis[1][:, None, None]
        mm = mm + offset_mm * self.basis[2][:, None, None]
        return self.origin[:, None, None] + mm / self.spacing[:, None, None]


def gather(array: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Nearest samples of an array [K, J, I] at positions [3, ...]; beyond the edge the edge is repeated."""
    index = [np.clip(np.rint(p).astype(np.int32), 0, n - 1) for p, n in zip(positions, array.shape, strict=True)]
    return array[index[0], index[1], index[2]]


def nearest(volume: PoolVolume, positions: np.ndarray) -> np.ndarray:
    """Labels at positions; 0 outside the volume."""
    inside = np.ones(positions.shape[1:], dtype=bool)
    for p, n in zip(positions, volume.labels.shape, strict=True):
        inside &= (p > -0.5) & (p < n - 0.5)
    return np.where(inside, gather(volume.labels, positions), 0)


def trilinear(array: np.ndarray, positions: np.ndarray, value: int | None) -> np.ndarray:
    """Trilinear samples of an array, or of (array == value)."""
    low = [np.clip(np.floor(p), 0, n - 1).astype(np.int32) for p, n in zip(positions, array.shape, strict=True)]
    high = [np.minimum(i + 1, n - 1) for i, n in zip(low, array.shape, strict=True)]
    part = [np.clip(p - i, 0, 1).astype(np.float32) for p, i in zip(positions, low, strict=True)]
    out = np.zeros(positions.shape[1:], dtype=np.float32)
    for corner in range(8):
        bits = [(corner >> axis) & 1 for axis in range(3)]
        weight = np.ones_like(out)
        for axis, bit in enumerate(bits):
            weight *= part[axis] if bit else 1 - part[axis]
        values = array[tuple(high[axis] if bit else low[axis] for axis, bit in enumerate(bits))]
        out += weight * (values == value if value is not None else values)
    return out


def random_basis(volume: PoolVolume, rng: np.random.Generator) -> np.ndarray:
    """A random plane: rows u, v, n along (K, J, I)."""
    if volume.oblique and rng.random() < 0.25:
        return np.linalg.qr(rng.standard_normal((3, 3)))[0]
    if volume.oblique:
        faces = volume.labels.size / np.asarray(volume.labels.shape, dtype=np.float64)
        axis = int(rng.choice(3, p=faces / faces.sum()))
    else:
        flat = min(volume.labels.shape) == 1
        axis = int(np.argmin(volume.labels.shape)) if flat else int(np.argmax(volume.spacing[::-1]))
    others = [a for a in range(3) if a != axis]
    basis = np.zeros((3, 3))
    angle = rng.integers(4) * np.pi / 2 if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
    flip = 1 if rng.random() < 0.5 else -1
    basis[0, others[1]], basis[0, others[0]] = np.cos(angle), np.sin(angle)
    basis[1, others[1]], basis[1, others[0]] = -np.sin(angle) * flip, np.cos(angle) * flip
    basis[2, axis] = 1 if rng.random() < 0.5 else -1
    return basis


def _component(mask: np.ndarray, seed: np.ndarray | None) -> np.ndarray:
    """The connected part of ``mask`` that overlaps ``seed`` most (or the largest)."""
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    weights = np.bincount(parts[mask if seed is None else (mask & seed)], minlength=count + 1)
    weights[0] = 0
    if not weights.any():
        return np.zeros_like(mask)
    return parts == weights.argmax()


def _bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1] + 1, cols[0], cols[-1] + 1


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


def _image(volume: PoolVolume, positions: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if volume.image is None or rng.random() < 0.25:
        return degrade(paint_labels(gather(volume.parts, positions), target, rng), rng, synthetic=True)
    grey = trilinear(volume.image, positions, None)
    return degrade(window_real(grey, volume.modality, volume.percentiles, rng), rng, synthetic=False)


def _second_target(labels: np.ndarray, volume: PoolVolume, first: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another visible object for the point prompt, or the first one again."""
    values, counts = np.unique(labels, return_counts=True)
    known = [int(v) for v, c in zip(values, counts, strict=True) if c >= 60 and int(v) in volume.voxels]
    if known and (not first.any() or rng.random() < 0.4):
        return _component(labels == known[rng.integers(len(known))], None).astype(np.float32)
    return first


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
    empty = rng.random() < 0.12 and _find_end(plane, target, spread, step)
    from_previous = bool(empty or rng.random() < 0.4)
    coarse = nearest(volume, plane.positions((0, 0), spread, 72, -step if empty else 0.0)) == target
    middle = np.zeros_like(coarse)
    middle[34:38, 34:38] = True
    coarse = _component(coarse, middle) if (coarse & middle).any() else coarse
    if coarse.sum() < 12:
        return None
    row0, row1, col0, col1 = (bound / 72 * spread - spread / 2 for bound in _bounds(coarse))
    longest = max(row1 - row0, col1 - col0)
    factor = rng.uniform(1.35, 2.8) if rng.random() < 0.72 else np.exp(rng.uniform(np.log(2.5), np.log(9)))
    side = max(longest * factor, 14 * float(np.sort(plane.spacing)[:2].max()))
    shift = rng.uniform(-0.5, 0.5, 2) * (side - longest) * (0.35 if factor < 2.8 else 0.9)
    centre = ((col0 + col1) / 2 + shift[0], (row0 + row1) / 2 + shift[1])
    return _finish(plane, target, centre, side, step, size, from_previous, bool(empty), rng)


def _finish(
    plane: Plane, target: int, centre: tuple[float, float], side: float, step: float, size: int,
    from_previous: bool, empty: bool, rng: np.random.Generator,
) -> Sample | None:  # fmt: skip
    volume = plane.volume
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
    mask = np.zeros_like(whole) if empty else _component(whole, seed) if (whole & seed).any() else whole
    if not empty and mask.sum() < 24:
        return None
    previous = np.zeros_like(mask)
    if from_previous:
        neighbour = nearest(volume, behind) == target
        previous = _component(neighbour, mask) if mask.any() and (neighbour & mask).any() else neighbour
        if mask.any() and not (previous & ndimage.binary_dilation(mask, iterations=4)).any():
            previous = mask
        if not previous.any():
            return None
    soft = trilinear(volume.labels, positions, target) * ndimage.binary_dilation(mask, iterations=2)
    second = _second_target(labels, volume, soft if not empty else mask.astype(np.float32), rng)
    image = _image(volume, positions, mask if mask.any() else second > 0.5, rng)
    targets = np.clip(np.stack([soft, second]), 0, 1).astype(np.float32)
    return Sample(image, targets, previous, from_previous)
