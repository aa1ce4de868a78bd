"""The same volume stored differently: every voxel keeps its place in the patient (or moves with the patient)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume


@dataclass(frozen=True, eq=False)
class Copy:
    """A volume, its labels, and how its patient lies compared to the original's.

    Attributes:
        volume: voxels in another order, with the affine that fits.
        labels: [K, J, I] stored the same way.
        motion: 4x4, LPS of the original -> LPS of the copy; the identity unless the patient was turned.
    """

    volume: Volume
    labels: np.ndarray
    motion: np.ndarray

    @classmethod
    def of(cls, volume: Volume, labels: np.ndarray) -> Copy:
        return cls(volume, labels, np.eye(4))

    def turned_back(self) -> Volume:
        """The copy's grid in the original's patient space."""
        matrix = np.linalg.inv(self.motion) @ self.volume.affine.matrix
        return replace(self.volume, affine=Affine(matrix))

    def restored(self, voxels: np.ndarray, labels: np.ndarray, step: np.ndarray) -> Copy:
        """New arrays whose voxel index is mapped to this copy's by ``step`` (4x4, I, J, K)."""
        affine = Affine(self.volume.affine.matrix @ step)
        return Copy(replace(self.volume, voxels=voxels, affine=affine), labels, self.motion)


Change = Callable[[Copy], Copy]


def flip(*names: str) -> Change:
    """Reverse voxel axes."""

    def change(copy: Copy) -> Copy:
        step, arrays = np.eye(4), [copy.volume.voxels, copy.labels]
        for name in names:
            axis, column = "kji".index(name), "ijk".index(name)
            step[column, column], step[column, 3] = -1, arrays[0].shape[axis] - 1
            arrays = [np.flip(array, axis) for array in arrays]
        return copy.restored(*arrays, step)

    return change


def permute(order: Sequence[int]) -> Change:
    """Other order of the axes of the array [K, J, I], as ``np.transpose``."""

    def change(copy: Copy) -> Copy:
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for new, old in enumerate(order):
            step[2 - old, 2 - new] = 1
        return copy.restored(copy.volume.voxels.transpose(order), copy.labels.transpose(order), step)

    return change


def crop(low: Sequence[int], high: Sequence[int]) -> Change:
    """Cut ``low`` and ``high`` voxels off both ends of [K, J, I]."""

    def change(copy: Copy) -> Copy:
        cut = tuple(slice(a, n - b) for a, b, n in zip(low, high, copy.volume.shape, strict=True))
        step = np.eye(4)
        step[:3, 3] = low[::-1]
        return copy.restored(copy.volume.voxels[cut], copy.labels[cut], step)

    return change


def turn(degrees: Sequence[float], shift_mm: Sequence[float] = (31.0, -12.5, 7.25)) -> Change:
    """Turn the patient about X, Y and Z in the scanner: an oblique direction."""

    def change(copy: Copy) -> Copy:
        motion = np.eye(4)
        for axis, angle in enumerate(np.radians(degrees)):
            first, second = [n for n in range(3) if n != axis]
            rotation = np.eye(4)
            rotation[[first, second], [first, second]] = np.cos(angle)
            rotation[first, second], rotation[second, first] = -np.sin(angle), np.sin(angle)
            motion = rotation @ motion
        motion[:3, 3] = shift_mm
        affine = Affine(motion @ copy.volume.affine.matrix)
        return Copy(replace(copy.volume, affine=affine), copy.labels, motion @ copy.motion)

    return change


def chain(*changes: Change) -> Change:
    """One after the other."""

    def change(copy: Copy) -> Copy:
        for one in changes:
            copy = one(copy)
        return copy

    return change
