"""Both visits around one structure as plain pictures: what compares them voxel by voxel works on these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..space.intensity import IntensityMapping
from ..space.planes import AXES
from ..space.volume import Volume
from .arena import Arena
from .mask_distance import distance_to
from .references import grey
from .transforms import VisitTransform
from .warping import warp_image

AROUND_MM = 10.0
"""Surroundings of the structure in which the brightness of the visits is matched."""
LEAST_SLOPE = 0.05
"""Visits whose brightness has less to do with each other teach each other nothing."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """A part of the arena; arrays are [N, H, W], pictures float32 0..1.

    Attributes:
        part: of the arena's (slices, rows, columns).
        today: the follow-up.
        prior: the prior through the rigid map, undeformed.
        before: the prior through the whole transform.
        rigid, warped: bool, the prior's mask in ``prior`` and in ``before``.
        spacing: (slice, row, column) in mm.
    """

    part: tuple[slice, slice, slice]
    today: np.ndarray
    prior: np.ndarray
    before: np.ndarray
    rigid: np.ndarray
    warped: np.ndarray
    spacing: np.ndarray


def pictures_of(
    arena: Arena,
    prior: Volume,
    transform: VisitTransform,
    mapping: IntensityMapping,
    part: tuple[slice, slice, slice],
) -> Pictures:
    """Cut a part of the arena out of both visits.

    Args:
        arena: both visits around the structure.
        prior: the prior's image as it is.
        transform: follow-up -> prior.
        mapping: intensities of the prior.
        part: of the arena's (slices, rows, columns).
    """
    pulled = mapping.apply(warp_image(prior, arena.closer(part), transform).voxels)
    before = np.moveaxis(pulled.reshape(*pulled.shape[:3], -1).mean(axis=-1), AXES.index(arena.axis), 0)
    today, rigid = (
        np.stack([grey(session, n)[part[1:]] for n in range(session.count)[part[0]]])
        for session in (arena.follow_up, arena.prior)
    )
    return Pictures(part, today, rigid, before, arena.rigid[part], arena.warped[part], arena.spacing)


def brightness_by_place(before: np.ndarray, today: np.ndarray) -> tuple[float, float]:
    """Slope and offset that bring the prior's intensities to the follow-up's, from voxels that lie on each other.

    Args:
        before, today: float32 [n], the same voxels on both visits; the worst quarter of them is left out.
    """
    kept = np.ones(len(before), dtype=bool)
    slope, offset = 1.0, 0.0
    for _ in range(3):
        spread = float(before[kept].var())
        if spread < 1e-8:
            return 1.0, float(today[kept].mean() - before[kept].mean())
        slope = float(np.cov(before[kept], today[kept], bias=True)[0, 1]) / spread
        offset = float(today[kept].mean() - slope * before[kept].mean())
        wrong = np.abs(today - slope * before - offset)
        kept = wrong <= np.quantile(wrong, 0.75)
    return slope, offset


def brightness_by_surroundings(pictures: Pictures, found: np.ndarray) -> tuple[float, float]:
    """The same from the range of grey values around the structure, wherever they lie.

    Args:
        pictures: both visits.
        found: bool [N, H, W], where the structure may be today, beside ``warped``.
    """
    either = pictures.rigid | pictures.warped | found
    low, middle, high = _range_around(pictures.prior, pictures.rigid, pictures.spacing)
    now_low, now_middle, now_high = _range_around(pictures.today, either, pictures.spacing)
    slope = (now_high - now_low) / max(high - low, 1e-3)
    return slope, now_middle - slope * middle


def _range_around(picture: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> tuple[float, float, float]:
    ring = (distance_to(mask, spacing) <= AROUND_MM) & ~ndimage.binary_dilation(mask, iterations=2)
    values = picture[ring] if ring.any() else picture
    return tuple(float(v) for v in np.percentile(values, (10, 50, 90)))
