"""A volume: voxels with their place in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from .affine import Affine

GRID_TOLERANCE = 0.05
"""Two grids are the same when no voxel is displaced by more than this part of the smallest spacing (headers round)."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels, affine, and what is known about the numbers.

    Attributes:
        voxels: [K, J, I] or, with channels, [K, J, I, C]; any integer, boolean or real floating type, kept as it is. A
            read-only view of what was given: nothing is copied or converted.
        affine: (I, J, K) -> LPS in mm.
        modality: DICOM modality (``CT``, ``MR``, ``PT``, ``US``...) or None when unknown.
        window: (level, width) of the display window in the header, in units of the voxels, or None.
        notes: sentences for the report: what was assumed, resampled or dropped on the way here.
        is_hu: True if the voxels are Hounsfield units, False if not, None when unknown (then it may be guessed).
        name: short name for reports; never a patient's.
        source: what a reader keeps for writers (``files.dicom.DicomSource``), or None.

    Raises:
        InputError: ``volume.shape`` for fewer than 3 or more than 4 axes or an axis of length zero; ``volume.dtype``
            for complex numbers, objects or text.
    """

    voxels: np.ndarray
    affine: Affine
    modality: str | None = None
    window: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    is_hu: bool | None = None
    name: str = ""
    source: Any = None

    def __post_init__(self) -> None:
        voxels = np.asarray(self.voxels)
        if voxels.ndim not in (3, 4) or 0 in voxels.shape:
            raise InputError(
                "volume.shape",
                f"Expected voxels [K, J, I] or [K, J, I, C] with at least one voxel, got shape {voxels.shape}.",
            )
        if voxels.dtype.kind not in "biuf":
            raise InputError("volume.dtype", f"Expected integer or real voxels, got type {voxels.dtype}.")
        view = voxels.view()
        view.setflags(write=False)
        object.__setattr__(self, "voxels", view)
        object.__setattr__(self, "notes", tuple(self.notes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, J, I)."""
        return self.voxels.shape[:3]

    @property
    def channels(self) -> int:
        """Values per voxel; 1 for [K, J, I]."""
        return 1 if self.voxels.ndim == 3 else self.voxels.shape[3]

    @property
    def spacing(self) -> np.ndarray:
        """Distance of voxel centres along I, J, K in mm, float64 [3]."""
        return self.affine.spacing

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine.matrix[:3, :3]))) / 1000.0

    def same_grid(self, other: Volume, tolerance: float = GRID_TOLERANCE) -> bool:
        """True if both have the same shape and voxels of equal index lie at the same place.

        Args:
            other: the volume to compare with.
            tolerance: largest displacement of a voxel, as a part of the smallest spacing.
        """
        if self.shape != other.shape:
            return False
        return self.affine.displacement(other.affine, self.shape) <= tolerance * float(self.spacing.min())

    def contains(self, ijk: np.ndarray) -> np.ndarray:
        """Which of the points [N, 3] (continuous I, J, K) lie in a voxel of the volume, bool [N]."""
        points = np.asarray(ijk, dtype=np.float64).reshape(-1, 3)
        upper = np.array(self.shape[::-1]) - 0.5
        return ((points >= -0.5) & (points < upper + 1e-9)).all(axis=1)

    def with_notes(self, notes: Sequence[str]) -> Volume:
        """The same volume with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def describe(self) -> dict[str, Any]:
        """Geometry and type for a report: JSON types only, no patient data."""
        return {
            "name": self.name,
            "shape_kji": [int(n) for n in self.shape],
            "channels": int(self.channels),
            "dtype": str(self.voxels.dtype),
            "spacing_ijk_mm": [float(s) for s in self.spacing],
            "origin_lps_mm": [float(x) for x in self.affine.origin],
            "direction_lps": [[float(x) for x in row] for row in self.affine.direction],
            "modality": self.modality,
            "is_hu": self.is_hu,
            "window": None if self.window is None else [float(x) for x in self.window],
            "notes": list(self.notes),
        }


def map_mask(mask: np.ndarray, from_volume: Volume, to_volume: Volume) -> np.ndarray:
    """A mask or label array of one volume on the grid of another, nearest voxel, through both full affines.

    Args:
        mask: [K, J, I] of ``from_volume``, boolean or integer.
        from_volume: the volume whose grid ``mask`` lies on.
        to_volume: the volume whose grid is wanted.

    Returns:
        Same dtype as ``mask``, [K, J, I] of ``to_volume``; 0 where ``from_volume`` has no voxel.

    Raises:
        InputError: ``volume.shape`` when ``mask`` does not have the shape of ``from_volume``.
    """
    mask = np.asarray(mask)
    if mask.shape != from_volume.shape:
        raise InputError("volume.shape", f"Expected a mask of shape {from_volume.shape}, got {mask.shape}.")
    step = from_volume.affine.inverse @ to_volume.affine.matrix
    out = np.zeros(to_volume.shape, dtype=mask.dtype)
    planes, rows, cols = (np.arange(n, dtype=np.float64) for n in to_volume.shape)
    # continuous source index of every target voxel = plane part + row part + column part; one slice at a time
    in_plane = [step[n, 1] * rows[:, None] + step[n, 0] * cols[None, :] for n in range(3)]
    upper = mask.shape[::-1]
    for plane in planes.astype(int):
        # floor(x + 0.5), not rint: ties go the same way everywhere on the grid
        start = step[:3, 2] * plane + step[:3, 3] + 0.5 + 1e-9
        index = [np.floor(in_plane[n] + start[n]).astype(np.int64) for n in range(3)]
        inside = np.ones(out.shape[1:], dtype=bool)
        for n in range(3):
            inside &= (index[n] >= 0) & (index[n] < upper[n])
        i, j, k = (index[n][inside] for n in range(3))
        out[plane][inside] = mask[k, j, i]
    return out
