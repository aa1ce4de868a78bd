"""What a crop looks like: windows of real scans, or grey values drawn at random per label.

Random intensities per label, blurred, shaded and made noisy, teach a network to follow borders instead of the look of
one scanner (domain randomisation; Billot et al. 2023, SynthSeg, section 3).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

CT_WINDOWS = ((40, 400), (50, 350), (60, 300), (40, 500), (400, 1800), (-600, 1500), (0, 1000))


def window_real(
    crop: np.ndarray, modality: str, percentiles: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Raw grey values -> float32 0..1 by a plausible window of the modality, jittered."""
    if modality == "CT":
        weights = np.array([5, 2, 2, 2, 1.5, 1.5, 1])
        level, width = CT_WINDOWS[rng.choice(len(CT_WINDOWS), p=weights / weights.sum())]
        level, width = level + rng.normal(0, 0.08) * width, width * np.exp(rng.normal(0, 0.15))
        lower, upper = level - width / 2, level + width / 2
    else:
        lower, upper = percentiles
        span = upper - lower
        lower, upper = lower + rng.uniform(-0.05, 0.1) * span, upper - rng.uniform(-0.1, 0.3) * span
    return np.clip((crop.astype(np.float32) - lower) / max(upper - lower, 1e-6), 0, 1)


def random_means(parts: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grey values drawn at random for the labels of a partition.

    Args:
        parts: uint8 [S, S], the label under each pixel.
        target: bool [S, S], the object asked for; it gets a visible contrast most of the time.
        rng: source of randomness.

    Returns:
        Mean per label, float32 [256], and the palette they come from, [n].
    """
    palette = rng.random(int(rng.integers(3, 8)))
    means = palette[rng.integers(len(palette), size=256)] + rng.normal(0, 0.03, 256)
    if target.any() and rng.random() < 0.8:
        inside = np.bincount(parts[target], minlength=256).argmax()
        ring = ndimage.binary_dilation(target, iterations=3) & ~target
        around = np.median(means[parts[ring]]) if ring.any() else 0.5
        gap = rng.uniform(0.08, 0.6) * (1 if rng.random() < 0.5 else -1)
        if not 0.0 <= around + gap <= 1.0:
            gap = -gap
        means[inside] = np.clip(around + gap, 0, 1)
    return means.astype(np.float32), palette


def paint_labels(
    parts: np.ndarray, target: np.ndarray, look: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """An image for a partition; the same state of ``rng`` gives the same kind of texture to another cut.

    Args:
        parts: uint8 [S, S], the label under each pixel.
        target: bool [S, S], the object asked for.
        look: from :func:`random_means`.
        rng: source of randomness.

    Returns:
        float32 [S, S] in 0..1.
    """
    lookup, palette = look
    image = lookup[parts]
    disturbance = np.random.default_rng(rng.integers(2**63))
    if target.any():
        image = _disturb(image, target, palette, disturbance)
    if rng.random() < 0.7:
        coarse = rng.standard_normal([int(rng.integers(6, 40))] * 2).astype(np.float32)
        texture = ndimage.zoom(coarse, parts.shape[0] / coarse.shape[0], order=1)[: parts.shape[0], : parts.shape[1]]
        image = image + rng.uniform(0, 0.08, 256).astype(np.float32)[parts] * texture
    return np.clip(ndimage.gaussian_filter(image, float(rng.uniform(0.3, 1.6))), 0, 1)


def _disturb(image: np.ndarray, target: np.ndarray, palette: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Objects are not uniform: cores, spots and walls inside; borders that fade into the neighbour on one side."""
    size = image.shape[0]
    if rng.random() < 0.3:
        coarse = rng.standard_normal([int(rng.integers(4, 14))] * 2).astype(np.float32)
        spots = ndimage.zoom(coarse, size / coarse.shape[0], order=1)[:size, :size] > rng.uniform(0.5, 1.5)
        depth = ndimage.distance_transform_edt(target)
        spots &= depth > rng.uniform(0, 0.5) * depth.max()
        image = np.where(spots, np.float32(palette[rng.integers(len(palette))]), image)
    if rng.random() < 0.3:
        outside = float(np.median(image[~target])) if not target.all() else 0.5
        slope = ndimage.zoom(rng.standard_normal((3, 3)).astype(np.float32), size / 3, order=1)[:size, :size]
        share = np.clip(0.5 + slope, 0, 1)
        image = np.where(target, share * image + (1 - share) * outside, image)
    return image.astype(np.float32)


def degrade(image: np.ndarray, rng: np.random.Generator, synthetic: bool) -> np.ndarray:
    """Scanner effects on a 0..1 image: shading, resolution, noise, gamma, inversion; float32 [S, S] in 0..1."""
    size = image.shape[0]
    if rng.random() < (0.5 if synthetic else 0.25):
        shade = ndimage.zoom(rng.standard_normal((3, 3)).astype(np.float32), size / 3, order=1)[:size, :size]
        image = image * np.exp(shade * float(rng.uniform(0.05, 0.3)))
    if rng.random() < (0.3 if synthetic else 0.15):
        factor = float(rng.uniform(1.5, 4.0))
        small = ndimage.zoom(image, 1 / factor, order=1)
        image = ndimage.zoom(small, (size / small.shape[0], size / small.shape[1]), order=1)[:size, :size]
    kind = rng.random()
    sigma = float(rng.exponential(0.04 if synthetic else 0.02))
    if kind < 0.6:
        image = image + rng.standard_normal(image.shape).astype(np.float32) * sigma
    elif kind < 0.8:  # speckle, smoothed a little: ultrasound and low-count PET
        speckle = ndimage.gaussian_filter(rng.standard_normal(image.shape).astype(np.float32), 1.0) * 2
        image = image * (1 + speckle * sigma * 4)
    if rng.random() < 0.4:
        image = np.clip(image, 0, None) ** float(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.15:
        image = 1 - image
    gain, offset = np.exp(rng.normal(0, 0.15)), rng.normal(0, 0.06)
    return np.clip((image - 0.5) * gain + 0.5 + offset, 0, 1).astype(np.float32)
