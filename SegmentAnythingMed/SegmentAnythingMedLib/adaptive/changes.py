"""Size of a structure on both visits."""

from __future__ import annotations

import numpy as np

from ..space.planes import SliceStack
from ..space.volume import Volume
from .arena import centre_of
from .visit_results import StructureChanges

_DIRECTIONS = 36


def changes_between(
    prior: Volume, mask: np.ndarray, follow_up: Volume, draft: np.ndarray, warped: np.ndarray
) -> StructureChanges:
    """Volumes and longest diameters, and how far the draft lies from the warped mask.

    Args:
        prior, follow_up: the images.
        mask: bool [K, J, I] of the prior, not empty.
        draft, warped: bool [K, J, I] of the follow-up, either may be empty.
    """
    sizes = [int(np.count_nonzero(m)) * v.voxel_ml for m, v in ((mask, prior), (draft, follow_up))]
    diameters = [longest_diameter_mm(m, v) for m, v in ((mask, prior), (draft, follow_up))]
    shift = None
    if draft.any() and warped.any():
        shift = float(np.linalg.norm(centre_of(draft, follow_up) - centre_of(warped, follow_up)))
    percent = [100.0 * (after - before) / before if before > 0 else 0.0 for before, after in (sizes, diameters)]
    return StructureChanges(*sizes, *diameters, *percent, shift)


def longest_diameter_mm(mask: np.ndarray, volume: Volume) -> float:
    """Longest extent of a mask [K, J, I] within a slice (of the stack axis), pixels counted in full; 0 when empty."""
    stack = SliceStack(volume)
    longest = 0.0
    angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    directions = np.stack([np.sin(angles), np.cos(angles)])
    for index in range(stack.count):
        plane = stack.mask_slice(mask, index)
        if not plane.any():
            continue
        edge = plane & ~_inner(plane)
        along = (np.argwhere(edge) * stack.pixel_spacing) @ directions
        longest = max(longest, float(np.ptp(along, axis=0).max()))
    return longest + float(np.mean(stack.pixel_spacing)) if mask.any() else 0.0


def _inner(plane: np.ndarray) -> np.ndarray:
    padded = np.pad(plane, 1)
    return padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
