"""A small patient of two visits: a textured body with a bright lesion that may move, grow or go."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

SHAPE = (20, 72, 72)
SPACING = (1.0, 1.0, 2.5)


def affine(spacing: tuple[float, float, float] = SPACING) -> Affine:
    return Affine(np.diag([*spacing, 1.0]))


def ellipsoid(
    centre: tuple[float, float, float] = (10, 36, 36), radius_mm: float = 12.0, shape: tuple[int, int, int] = SHAPE
) -> np.ndarray:
    """Bool [K, J, I]; centre in voxels (K, J, I)."""
    steps = np.array(SPACING[::-1])[:, None, None, None]
    arm = (np.indices(shape) - np.array(centre)[:, None, None, None]) * steps
    return (arm**2).sum(axis=0) <= radius_mm**2


def visit(lesion: np.ndarray | None, seed: int = 0, contrast: float = 260.0) -> Volume:
    """An MR-like image in which the lesion, if any, is brighter than the tissue around it."""
    random = np.random.default_rng(7)  # the same anatomy on both visits
    tissue = 300 + 60 * ndimage.gaussian_filter(random.standard_normal(SHAPE), (1, 4, 4)) / 0.05
    rows, cols = np.indices(SHAPE[1:])
    body = ((rows - 36) ** 2 + (cols - 36) ** 2) <= 33**2
    image = np.where(body[None], np.clip(tissue, 150, 500), 0.0)
    if lesion is not None:
        image = image + contrast * ndimage.gaussian_filter(lesion.astype(float), (0.3, 0.8, 0.8))
    image = image + np.random.default_rng(seed).normal(0, 8, SHAPE)
    return Volume(image.astype(np.float32), affine(), modality="MR")
