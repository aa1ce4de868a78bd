"""Both visits shown alike where nothing changed: what surrounds a structure tells how bright today's image must be.

Where an image has no unit that a window could be set in, its brightest parts settle the mapping of its intensities. In
PET that may be the tumour itself: when its uptake is gone, the rest of the image is shown so much brighter that its
place looks much as before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from ..space.intensity import IntensityMapping
from .mask_distance import distance_to

AWAY_MM, AROUND_MM = 6.0, 40.0
"""Surroundings: further from the structure than it may have grown by, or its blur reach; and no further than this."""
BLUR_MM = 2.0
"""Noise must not count as contrast."""
TOLERATED = 1.5
"""Factor between the contrasts of the surroundings, either way, up to which both mappings are left alone."""
MOST = 20.0
LEAST_VOXELS, LEAST_CORRELATION = 200, 0.5
"""Fewer voxels, or surroundings that do not look like each other, tell nothing."""


def matched_mapping(
    mappings: tuple[IntensityMapping, IntensityMapping],
    before: np.ndarray,
    today: np.ndarray,
    structure: np.ndarray,
    spacing: np.ndarray,
) -> IntensityMapping:
    """The follow-up's mapping, changed where it shows the same surroundings with quite another contrast.

    Args:
        mappings: of prior and follow-up; nothing changes unless both rest on percentiles.
        before: [K, J, I] or [K, J, I, C], the prior's voxels on the follow-up's grid.
        today: the follow-up's voxels, likewise.
        structure: bool [K, J, I], where it is on either visit.
        spacing: of K, J, I in mm.
    """
    known, mine = mappings
    if known.mode != "percentile" or mine.mode != "percentile":
        return mine
    away = distance_to(structure, spacing)
    around = (away > AWAY_MM) & (away <= AROUND_MM)
    if np.count_nonzero(around) < LEAST_VOXELS:
        return mine
    seen = [_smooth(mapping.apply(voxels), spacing)[around] for mapping, voxels in ((known, before), (mine, today))]
    spreads = [float(values.std()) for values in seen]
    if min(spreads) <= 0 or np.corrcoef(*seen)[0, 1] < LEAST_CORRELATION:
        return mine
    factor = float(np.clip(spreads[1] / spreads[0], 1 / MOST, MOST))
    if 1 / TOLERATED <= factor <= TOLERATED:
        return mine
    words = f"Today's image was shown with {1 / factor:.2g} times the contrast, so that what lies around is as it was."
    return replace(mine, upper=mine.lower + factor * (mine.upper - mine.lower), notes=(*mine.notes, words))


def _smooth(picture: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    grey = picture.reshape(*picture.shape[:3], -1).mean(axis=-1)
    return ndimage.gaussian_filter(grey, BLUR_MM / spacing)
