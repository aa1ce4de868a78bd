"""What the voxels say to the outcome of a search.

The model looks for a shape, and may outline something where a lesion has gone, or find nothing where an organ has moved
oddly. The classifier of single voxels (``tissue.py``) knows nothing of shapes: where it contradicts, a find is called
doubtful, and a structure is not said to be gone. It takes no contour back: other contrast or noise may mislead it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .mask_distance import distance_to
from .pictures import AROUND_MM, LEAST_SLOPE, Pictures, brightness_by_place, brightness_by_surroundings
from .searching import Search
from .tissue import Tissue
from .visit_results import FOUND, REGISTRATION_ONLY, RESOLVED

GONE = 0.2
"""Share of voxels that look like the structure, over that of the prior's own, below which it is not there."""
THERE = 0.7
"""The same from which something is there."""
ALIKE = 0.6
"""Slope by place over slope by surroundings from which both are about the same."""


def recognised(tissue: Tissue, pictures: Pictures, mask: np.ndarray) -> float:
    """How many voxels of a mask look like the structure, over how many of its own do on the prior; 0..1, seldom more.

    The brightness of the visits is matched by the surroundings, and by place where that says about the same (where a
    lesion has gone it does not); the more favourable one counts.

    Args:
        tissue: learnt on ``pictures.prior``.
        pictures: both visits.
        mask: bool [N, H, W], today; not empty.
    """
    own = _share(tissue, pictures.prior, pictures.rigid, pictures.spacing)
    near = distance_to(pictures.warped | mask, pictures.spacing) <= AROUND_MM
    around = brightness_by_surroundings(pictures, mask)
    placed = brightness_by_place(pictures.before[near], pictures.today[near])
    lines = (around, placed) if placed[0] >= ALIKE * around[0] else (around,)
    shares = [
        _share(tissue, (pictures.today - offset) / slope, mask, pictures.spacing)
        for slope, offset in lines
        if slope > LEAST_SLOPE
    ]
    return max(shares, default=1.0) / max(own, 1e-3)


def _share(tissue: Tissue, picture: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> float:
    return float((tissue.logits(picture, mask, spacing)[mask] > 0).mean())


def weighed(found: Search, tissue: Tissue | None, pictures: Pictures) -> Search:
    """The search with the outcome that the voxels leave standing.

    Args:
        found: how the search ended; ``segmented`` in the whole arena.
        tissue: None where voxels tell nothing: nothing changes then.
        pictures: both visits.
    """
    if tissue is None or not pictures.warped.any():
        return found
    mask = found.segmented[pictures.part]
    if found.outcome == FOUND and mask.any() and recognised(tissue, pictures, mask) < GONE:
        words = "the model outlines something there, but its voxels do not look like the structure's"
        return replace(found, doubts=(*found.doubts, words))
    if found.outcome == RESOLVED and recognised(tissue, pictures, pictures.warped) >= THERE:
        words = "The model finds nothing there, but voxels look like the structure's: see W."
        return replace(found, outcome=REGISTRATION_ONLY, words=(words,))
    return found
