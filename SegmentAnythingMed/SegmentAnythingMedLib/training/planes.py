"""Cuts through labelled volumes: a plane in any direction, sampled on a square grid."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .pool import PoolVolume


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


def component(mask: np.ndarray, seed: np.ndarray | None) -> np.ndarray:
    """The connected part of ``mask`` that overlaps ``seed`` most (or the largest)."""
    parts, count = ndimage.label(mask)
    if count <= 1:
        return mask
    weights = np.bincount(parts[mask if seed is None else (mask & seed)], minlength=count + 1)
    weights[0] = 0
    if not weights.any():
        return np.zeros_like(mask)
    return parts == weights.argmax()


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First row, last row + 1, first column, last column + 1 of a mask that is not empty."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1] + 1, cols[0], cols[-1] + 1
