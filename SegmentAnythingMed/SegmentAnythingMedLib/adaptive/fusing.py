"""The model's answer and the warped contour in one mask: each is believed where the image speaks for it.

Where the prior's image, pulled through the transform, looks like the follow-up, its contour fits too, often to a
fraction of a pixel; where it does not (a tumour has grown into other tissue, an organ slid past another), the contour
is no evidence, and the model's answer stands, with what the voxels themselves look like. This is appearance mismatch
after warping, which tells errors of warped labels better than the registration's own certainty does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .mask_distance import distance_to, signed_distance
from .pictures import AROUND_MM, LEAST_SLOPE, brightness_by_place
from .tissue import BLURS_MM, Tissue

SMOOTH_MM = 1.5
"""Standard deviation of the window in which visits are compared."""
STEEPNESS = 2.0
"""Logit of the warped contour per mm of distance to its border."""
MOST_LOGIT = 6.0
"""Both opinions are cut at this logit."""
TOLERATED = 0.2
"""Difference of the visits, in parts of the structure's contrast, from which the warped contour is no evidence."""
_TAIL = 4.0
"""Standard deviations after which a Gaussian window ends."""
FITS = (0.93, 0.97)
"""Mean likeness of the visits along the warped contour between which its weight grows from the least share to all:
where all around a structure nothing but noise differs, its contour fits to a fraction of a pixel; where something has
changed, the registration has bent the contour elsewhere too."""
SKILLS, LEAST_SHARES = (0.83, 0.90, 0.94), (0.75, 0.38, 0.19)
"""The least share by the model's Dice on the prior's own slices: the better it does there, the less W counts."""
RIM_MM = 3.0
EVEN_MM, EVEN_PART = 1.0, 0.06
"""What is added to the model's answer is told voxel by voxel; a contour should not follow every one of them. It is
smoothed by this, and by no more than this part of the structure's radius: small lesions would lose their shape."""
TISSUE_WEIGHT, TISSUE_MM = 2.0, 8.0
"""Weight of the voxels' look where it tells them surely, and how far from both opinions it is asked."""
NOISE = 1.5
"""Differences up to this multiple of the median one are noise."""


@dataclass(frozen=True, eq=False)
class Fused:
    """The fused mask and how much it owes to the warped contour.

    Attributes:
        mask: bool [N, H, W].
        trust: float32 [N, H, W], 0..1, belief in the warped contour.
        fit: mean trust near the contours' borders, 0..1.
    """

    mask: np.ndarray
    trust: np.ndarray
    fit: float


def fuse(
    logits: np.ndarray,
    decided: np.ndarray,
    warped: np.ndarray,
    today: np.ndarray,
    before: np.ndarray,
    spacing: np.ndarray,
    weight: float,
    tissue: Tissue | None = None,
    skill: float = 1.0,
) -> Fused:
    """Join both opinions.

    Args:
        logits: float32 [N, H, W] of the model; a mask is ``logits > 0``.
        decided: bool [N], slices on which the structure was found; nothing is added on others.
        warped: bool [N, H, W], W.
        today: float32 [N, H, W], the follow-up, 0..1.
        before: the prior's image through the whole transform, likewise.
        spacing: (slice, row, column) in mm.
        weight: of the warped contour where the visits agree fully, all around the structure and at the place in
            question, relative to the model's.
        tissue: what tells the structure's voxels from others, or None.
        skill: Dice of the model on the prior's own slices.
    """
    found = logits > 0
    away = distance_to(warped | found, spacing)
    slope, offset = brightness_by_place(before[away <= AROUND_MM], today[away <= AROUND_MM])
    trust = _alike(today, slope * before + offset, warped, found, away, spacing)
    distance = signed_distance(np.pad(warped, 1), spacing[::-1])[1:-1, 1:-1, 1:-1]
    rim = np.abs(distance) <= RIM_MM
    fit = float(trust[rim].mean()) if rim.any() else 0.0
    shape = np.clip(-STEEPNESS * distance, -MOST_LOGIT, MOST_LOGIT)
    weight *= np.interp(fit, FITS, (np.interp(skill, SKILLS, LEAST_SHARES), 1.0))
    added = weight * trust * shape
    if tissue is not None and tissue.voice > 0 and slope > LEAST_SLOPE:
        asked = (away <= TISSUE_MM) & decided[:, None, None]
        added += TISSUE_WEIGHT * tissue.voice * tissue.logits((today - offset) / slope, asked, spacing)
    added = ndimage.gaussian_filter(added, (0.0, *(_even_mm(warped, spacing) / spacing[1:])))
    joined = np.clip(logits, -MOST_LOGIT, MOST_LOGIT) + added
    return Fused((joined > 0) & decided[:, None, None], trust, fit)


def _even_mm(mask: np.ndarray, spacing: np.ndarray) -> float:
    """Standard deviation of the smoothing for a structure of this size."""
    radius = (0.75 / np.pi * np.count_nonzero(mask) * np.prod(spacing)) ** (1 / 3)
    return float(min(EVEN_MM, EVEN_PART * radius))


def surroundings(masks: np.ndarray, spacing: np.ndarray) -> tuple[slice, slice, slice]:
    """Part of [N, H, W] outside of which nothing bears on how two opinions are joined; all of it for no mask.

    Args:
        masks: bool [N, H, W]: wherever either opinion is.
        spacing: (slice, row, column) in mm.
    """
    reach_mm = max(AROUND_MM + _TAIL * SMOOTH_MM, TISSUE_MM + _TAIL * max(BLURS_MM))
    reach = np.ceil(reach_mm / spacing).astype(int) + 1
    found = ndimage.find_objects(masks.view(np.uint8))
    box = found[0] if found else tuple(slice(0, n) for n in masks.shape)
    return tuple(slice(max(part.start - r, 0), part.stop + r) for part, r in zip(box, reach, strict=True))


def agreement_of_images(
    today: np.ndarray, before: np.ndarray, warped: np.ndarray, found: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    """How alike the visits look at every voxel, 1 (equal) to 0 (as different as the structure from its surroundings).

    Args:
        today, before: float32 [N, H, W] on one grid.
        warped: bool [N, H, W], W: its contrast on the pulled image is the unit.
        found: bool [N, H, W], the model's answer.
        spacing: (slice, row, column) in mm.
    """
    away = distance_to(warped | found, spacing)
    slope, offset = brightness_by_place(before[away <= AROUND_MM], today[away <= AROUND_MM])
    return _alike(today, slope * before + offset, warped, found, away, spacing)


def _alike(
    today: np.ndarray, matched: np.ndarray, warped: np.ndarray, found: np.ndarray, away: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    """``matched``: the prior in today's brightness; ``away``: mm to either opinion."""
    near = away <= AROUND_MM
    ring = near & ~ndimage.binary_dilation(warped | found)
    unit = abs(float(np.median(matched[warped])) - float(np.median(matched[ring]))) if ring.any() else 0.0
    unit = max(unit, float(matched[near].std()), 1e-3)
    difference = np.abs(ndimage.gaussian_filter(today - matched, SMOOTH_MM / spacing))
    noise = NOISE * float(np.median(difference[near]))
    return (1 - np.clip((difference - noise) / (TOLERATED * unit), 0, 1)).astype(np.float32)
