"""Statistics of a whole volume without a floating-point copy of it.

Integers are counted exactly, one slice at a time. Real numbers (and integers of a huge range) are sorted; above
2**24 voxels every n-th voxel along each axis is taken. Flips and transpositions of an integer volume change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LARGEST_SAMPLE = 1 << 24
_LARGEST_RANGE = 1 << 22


@dataclass(frozen=True, eq=False)
class VoxelStatistics:
    """Distribution of the finite voxels of a volume.

    Attributes:
        minimum: smallest finite voxel; 0 when there is none.
        maximum: largest finite voxel; 0 when there is none.
        not_finite: number of NaN and infinite voxels.
        finite: number of finite voxels.
        values: sorted distinct (integers) or sampled (reals) voxel values.
        cumulative: number of counted voxels up to and including each value.
    """

    minimum: float
    maximum: float
    not_finite: int
    finite: int
    values: np.ndarray
    cumulative: np.ndarray

    def quantile(self, fraction: float, above: float | None = None) -> float:
        """Value below which ``fraction`` (0..1) of the voxels lie, of all or of those > ``above``; nearest rank."""
        start = 0 if above is None else int(np.searchsorted(self.values, above, side="right"))
        if start >= len(self.values):
            return self.maximum
        base = int(self.cumulative[start - 1]) if start else 0
        rank = base + fraction * (int(self.cumulative[-1]) - base - 1)
        index = int(np.searchsorted(self.cumulative, rank, side="right"))
        return float(self.values[min(max(index, start), len(self.values) - 1)])

    def fraction(self, lower: float, upper: float) -> float:
        """Part of the voxels with ``lower`` <= value <= ``upper``."""
        if len(self.values) == 0:
            return 0.0
        first = int(np.searchsorted(self.values, lower, side="left"))
        last = int(np.searchsorted(self.values, upper, side="right"))
        count = (int(self.cumulative[last - 1]) if last else 0) - (int(self.cumulative[first - 1]) if first else 0)
        return max(count, 0) / int(self.cumulative[-1])


def volume_statistics(voxels: np.ndarray) -> VoxelStatistics:
    """Count the voxels of ``voxels`` ([K, J, I] or [K, J, I, C], any real type)."""
    if voxels.dtype.kind == "b":
        voxels = voxels.view(np.uint8)
    if voxels.dtype.kind in "iu":
        lowest, highest = int(voxels.min()), int(voxels.max())
        if highest - lowest < _LARGEST_RANGE:
            return _count_integers(voxels, lowest, highest)
    return _sort_sample(voxels)


def count_not_finite(voxels: np.ndarray) -> int:
    """Number of NaN and infinite voxels, slice by slice."""
    if voxels.dtype.kind != "f":
        return 0
    return sum(int(plane.size - np.count_nonzero(np.isfinite(plane))) for plane in voxels)


def _count_integers(voxels: np.ndarray, lowest: int, highest: int) -> VoxelStatistics:
    counts = np.zeros(highest - lowest + 1, dtype=np.int64)
    for plane in voxels:
        # int64 before the subtraction: int16 - int16 could wrap
        counts += np.bincount(plane.ravel().astype(np.int64) - lowest, minlength=len(counts))
    present = np.flatnonzero(counts)
    values = (present + lowest).astype(np.float64)
    return VoxelStatistics(float(lowest), float(highest), 0, int(voxels.size), values, np.cumsum(counts[present]))


def _sort_sample(voxels: np.ndarray) -> VoxelStatistics:
    step = int(np.ceil((voxels.size / _LARGEST_SAMPLE) ** (1 / 3))) if voxels.size > _LARGEST_SAMPLE else 1
    sample = voxels[::step, ::step, ::step].ravel()
    if sample.dtype == np.float16:
        sample = sample.astype(np.float32)
    values = np.sort(sample[np.isfinite(sample)])
    lowest, highest = _finite_range(voxels)
    bad = count_not_finite(voxels)
    return VoxelStatistics(lowest, highest, bad, int(voxels.size) - bad, values, np.arange(1, len(values) + 1))


def _finite_range(voxels: np.ndarray) -> tuple[float, float]:
    lowest, highest = np.inf, -np.inf
    for plane in voxels:
        finite = plane[np.isfinite(plane)]
        if finite.size:
            lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
    return (lowest, highest) if lowest <= highest else (0.0, 0.0)
