"""Two opinions about one structure, compared: the warped contour (W) and what the model found (S).

In the prior-visit mode S stands here for the model's own answer, before it is joined with W: joined with it, it would
agree with W whatever the image shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ..errors import InputError
from ..space.volume import Volume

_ARRAY_AXES = {"k": 0, "j": 1, "i": 2}
_MOST = 95
"""Percentile of distances that stands for a slice: one stray voxel is not a disagreement."""


@dataclass(frozen=True)
class Agreement:
    """Figures of one structure on the follow-up.

    Attributes:
        nsd: share of both surfaces of S and W within ``tolerance_mm`` of each other, 0..1 (faces of voxels, weighted by
            their area); 0 when only one of them is there.
        dice: overlap of S and W, 0..1.
        volume_to_warped: volume of S / volume of W; None when W is empty.
        volume_to_prior: volume of S / volume of the structure on the prior visit.
        centroid_shift_mm: distance between the centroids of S and W; None when one is empty.
        roughness: how much the areas of S jump from slice to slice, 0 (smooth) to about 1 (every other slice missing).
        roughness_warped: the same of W, for comparison.
        tolerance_mm: of ``nsd``.
        distance_ratio: appearance distance of S to the prior as a multiple of the prior's own, or None.
        predicted_iou: the model's own estimate, 0..1, or None.
        box_dice: overlap of S with the mask from the warped box alone, 0..1, or None.
        gaps_mm: slice -> distance in mm between S and W there: of the contours within the slice to the other's surface,
            95th percentile, the larger of both directions; for slices that S or W lies on, none when one is empty.
    """

    nsd: float
    dice: float
    volume_to_warped: float | None
    volume_to_prior: float
    centroid_shift_mm: float | None
    roughness: float
    roughness_warped: float
    tolerance_mm: float = 2.0
    distance_ratio: float | None = None
    predicted_iou: float | None = None
    box_dice: float | None = None
    gaps_mm: Mapping[int, float] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """JSON form for a report."""
        return {**asdict(self), "gaps_mm": {str(index): gap for index, gap in self.gaps_mm.items()}}


def measure_agreement(
    segmented: np.ndarray,
    warped: np.ndarray,
    follow_up: Volume,
    *,
    prior_ml: float,
    axis: str = "k",
    tolerance_mm: float = 2.0,
    box_only: np.ndarray | None = None,
    distance_ratio: float | None = None,
    predicted_iou: float | None = None,
) -> Agreement:
    """Compare what was found with what was warped.

    Args:
        segmented: S, bool [K, J, I] of the follow-up; may be empty.
        warped: W, the same.
        follow_up: the volume.
        prior_ml: volume of the structure on the prior visit, above 0.
        axis: voxel axis of the slices that gaps are told for: ``k``, ``j``, ``i``.
        tolerance_mm: distance within which surfaces agree.
        box_only: mask from the warped box alone, bool [K, J, I], or None.
        distance_ratio: carried over.
        predicted_iou: carried over.

    Raises:
        InputError: ``segment.shape`` for masks of another shape; ``option.axis``.
    """
    if axis not in _ARRAY_AXES:
        raise InputError("option.axis", f"Expected one of {', '.join(_ARRAY_AXES)} for the axis, got {axis!r}.")
    masks = [np.asarray(mask, dtype=bool) for mask in (segmented, warped)]
    for mask in masks if box_only is None else [*masks, box_only]:
        if mask.shape != follow_up.shape:
            raise InputError("segment.shape", f"Expected masks of shape {follow_up.shape}, got {mask.shape}.")
    window = _window(masks[0] | masks[1])
    s, w = (np.pad(mask[window], 1) for mask in masks)
    sizes = np.count_nonzero(s), np.count_nonzero(w)
    across = _ARRAY_AXES[axis]
    nsd, gaps = float(sizes == (0, 0)), {}
    if all(sizes):
        first, second = (_Surface.of(mask, follow_up) for mask in (s, w))
        away = first.away_from(second), second.away_from(first)
        nsd = _shared((first, second), away, tolerance_mm)
        gaps = _gaps((first, second), away, across, window[across].start - 1)
    return Agreement(
        nsd=nsd,
        dice=_dice(s, w),
        volume_to_warped=sizes[0] / sizes[1] if sizes[1] else None,
        volume_to_prior=sizes[0] * follow_up.voxel_ml / prior_ml,
        centroid_shift_mm=_shift(s, w, follow_up) if all(sizes) else None,
        roughness=roughness(_areas(s, across)),
        roughness_warped=roughness(_areas(w, across)),
        tolerance_mm=tolerance_mm,
        distance_ratio=distance_ratio,
        predicted_iou=predicted_iou,
        box_dice=None if box_only is None else _dice(masks[0], np.asarray(box_only, dtype=bool)),
        gaps_mm=gaps,
    )


def roughness(areas: np.ndarray) -> float:
    """How much areas jump from slice to slice: absolute second differences over twice their sum, 0 for a smooth object.

    Args:
        areas: [N] of neighbouring slices; leading and trailing zeros do not count.
    """
    present = np.flatnonzero(areas)
    if len(present) < 3:
        return 0.0
    inner = np.asarray(areas[present[0] : present[-1] + 1], dtype=np.float64)
    return float(np.abs(np.diff(inner, n=2)).sum() / (2.0 * inner.sum()))


def _window(mask: np.ndarray) -> tuple[slice, ...]:
    found = ndimage.find_objects(mask.view(np.uint8))
    return found[0] if found else (slice(0, 1),) * 3


@dataclass(frozen=True, eq=False)
class _Surface:
    """Faces between the voxels inside and outside a mask.

    Attributes:
        points: middle of each face, mm, float64 [N, 3].
        areas: mm2, float64 [N].
        axes: array axis that each face is perpendicular to, [N].
        voxels: [N, 3], the voxel (K, J, I) before the face.
    """

    points: np.ndarray
    areas: np.ndarray
    axes: np.ndarray
    voxels: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, volume: Volume) -> _Surface:
        """Of a mask whose outermost voxels are empty; places relative to its own first voxel."""
        steps = volume.affine.matrix[:3, 2::-1]  # mm per step along K, J, I
        voxels, axes = [], []
        for axis in range(3):
            found = np.argwhere(np.diff(mask.view(np.uint8), axis=axis) != 0)
            voxels.append(found)
            axes.append(np.full(len(found), axis))
        voxels, axes = np.concatenate(voxels), np.concatenate(axes)
        area = [np.linalg.norm(np.cross(*np.delete(steps, axis, axis=1).T)) for axis in range(3)]
        return cls((voxels + 0.5 * np.eye(3)[axes]) @ steps.T, np.array(area)[axes], axes, voxels)

    def away_from(self, other: _Surface) -> np.ndarray:
        """Distance of each face to the nearest one of another surface, mm."""
        return cKDTree(other.points).query(self.points)[0]


def _shared(surfaces: tuple[_Surface, _Surface], away: tuple[np.ndarray, np.ndarray], tolerance_mm: float) -> float:
    near = sum(float(s.areas[far <= tolerance_mm + 1e-6].sum()) for s, far in zip(surfaces, away, strict=True))
    return near / sum(float(surface.areas.sum()) for surface in surfaces)


def _gaps(
    surfaces: tuple[_Surface, _Surface], away: tuple[np.ndarray, np.ndarray], across: int, first: int
) -> dict[int, float]:
    """Slice of the follow-up -> distance there; ``first``: slice of the arrays' first plane."""
    gaps: dict[int, float] = {}
    for surface, far in zip(surfaces, away, strict=True):
        contour = surface.axes != across
        planes, distances = surface.voxels[contour, across], far[contour]
        for plane in np.unique(planes):
            gap = float(np.percentile(distances[planes == plane], _MOST))
            gaps[first + int(plane)] = max(gaps.get(first + int(plane), 0.0), gap)
    return dict(sorted(gaps.items()))


def _areas(mask: np.ndarray, across: int) -> np.ndarray:
    return np.count_nonzero(mask, axis=tuple(axis for axis in range(3) if axis != across))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2.0 * np.count_nonzero(one & other) / total if total else 1.0


def _shift(one: np.ndarray, other: np.ndarray, volume: Volume) -> float:
    centres = [np.array(ndimage.center_of_mass(mask))[::-1] for mask in (one, other)]
    ends = volume.affine.ijk_to_lps(np.array(centres))
    return float(np.linalg.norm(ends[0] - ends[1]))
