"""Masses painted into scans: round-ish objects of any texture on a true background.

Lesions, nodules and filled cavities share a shape (smooth, mostly convex, drawn by people with a generous hand) and
little else: they are bright or dark, uniform or spotted, with walls, cores and muscles inside, and their border fades
where the neighbour looks the same. A network that has seen only clean borders follows every edge; this teaches it to
weigh an edge against the shape.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .appearance import degrade, paint_labels, window_real
from .crops import Plane, Sample, gather, random_basis, trilinear
from .pool import PoolVolume


def smooth_field(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """A smooth random image, about unit variance, [size, size]."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return ndimage.zoom(coarse, size / cells, order=1)[:size, :size]


def radial_shape(rng: np.random.Generator, size: int) -> tuple[np.ndarray, float]:
    """A star-shaped outline: distance from the centre in units of the radius in that direction, and the mean radius.

    An ellipse of aspect up to 2.2 with a few low harmonics; values below 1 are inside.
    """
    radius = size * (rng.uniform(0.17, 0.36) if rng.random() < 0.75 else rng.uniform(0.05, 0.17))
    centre = size / 2 + rng.uniform(-0.5, 0.5, 2) * (size / 2 - radius) * 0.7
    rows, cols = np.indices((size, size), dtype=np.float32)
    angle, aspect = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 0.8) * (rng.random() < 0.7))
    y, x = rows - centre[0], cols - centre[1]
    u = (np.cos(angle) * x + np.sin(angle) * y) * np.sqrt(aspect)
    v = (-np.sin(angle) * x + np.cos(angle) * y) / np.sqrt(aspect)
    theta = np.arctan2(v, u)
    outline = np.ones_like(theta)
    strength = 0.0 if rng.random() < 0.25 else rng.uniform(0.02, 0.13)
    for harmonic in range(2, 7):
        outline += strength / harmonic * 2 * rng.normal() * np.cos(harmonic * theta + rng.uniform(0, 2 * np.pi))
    return np.hypot(u, v) / (radius * np.clip(outline, 0.4, 1.8)), radius


def paint_mass(image: np.ndarray, depth: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Paint a mass into an image.

    Args:
        image: float32 [S, S], 0..1.
        depth: float32 [S, S], distance to the outline in pixels, positive inside.
        radius: of the mass in pixels.
        rng: source of randomness.

    Returns:
        float32 [S, S], not clipped.
    """
    size = image.shape[0]
    inside = depth > 0
    ring = (depth > -max(3.0, 0.3 * radius)) & ~inside
    around = float(image[ring].mean()) if ring.any() else float(image.mean())
    faint = rng.random() < 0.35  # where nothing is to be seen, the prompt's shape is the best answer
    contrast = rng.uniform(*((0.0, 0.1) if faint else (0.06, 0.55))) * (1 if rng.random() < 0.55 else -1)
    level = np.clip(around + contrast, 0, 1)
    keep = rng.uniform(0, 0.6) if rng.random() < 0.6 else 0.0  # how much of the tissue below shines through
    body = level + keep * (image - around) + rng.uniform(0, 0.06) * smooth_field(rng, size, int(rng.integers(8, 40)))
    if rng.random() < 0.35:  # muscles in a cavity, vessels, calcifications: like the surroundings, often at the wall
        spots = smooth_field(rng, size, int(rng.integers(5, 18))) > rng.uniform(0.6, 1.4)
        body = np.where(spots, around + rng.normal(0, 0.05), body)
    if rng.random() < 0.2:  # a core
        core = depth > rng.uniform(0.25, 0.6) * radius
        body = np.where(core, np.clip(level + rng.uniform(-0.5, 0.5), 0, 1), body)
    if rng.random() < 0.15:  # a rim
        rim = depth < rng.uniform(0.1, 0.3) * radius
        body = np.where(rim, np.clip(level + rng.uniform(-0.4, 0.4), 0, 1), body)
    softness = rng.uniform(0.3, 2.0)
    share = 1 / (1 + np.exp(-depth / softness))
    if rng.random() < 0.4:  # a border that is lost on one side
        share = share * np.clip(0.65 + 0.6 * smooth_field(rng, size, 3), 0.0, 1)
    return (image * (1 - share) + body * share).astype(np.float32)


def mass_sample(volume: PoolVolume, rng: np.random.Generator, size: int = 128) -> Sample | None:
    """A training sample with a painted mass on a random cut through a volume; ``None`` for a cut through nothing."""
    shape = np.array(volume.labels.shape)
    origin = rng.uniform(0.2, 0.8, 3) * (shape - 1)
    basis = random_basis(volume, rng)
    if not volume.oblique:
        origin = np.rint(origin)
    plane = Plane(volume, origin, basis)
    extent = float(np.min(np.abs(basis[:2]) @ (shape * plane.spacing)))
    positions = plane.positions((0.0, 0.0), extent * rng.uniform(0.15, 0.7), size)
    background = _background(volume, positions, rng)
    if background is None:
        return None
    distance, radius = radial_shape(rng, size)
    here = rng.uniform(-0.95, 0.95)
    step = rng.uniform(0.03, 0.35) * (1 if rng.random() < 0.5 else -1)
    if rng.random() < 0.12:  # beyond the end: the neighbour still shows the mass
        step = -np.sign(here or 1.0) * abs(step)
        here = np.sign(here or 1.0) * rng.uniform(1.02, 1.15)
    scale, scale_before = (np.sqrt(max(1 - z**2, 0.0)) for z in (here, np.clip(here + step, -0.999, 0.999)))
    depth = (scale - distance) * radius
    wave = 0.05 * radius * smooth_field(rng, size, 5)
    previous = (scale_before - distance) * radius + wave > 0
    soft = np.clip(depth + 0.5, 0, 1)
    if scale > 0:
        background = paint_mass(background, depth, radius * scale, rng)
        if (soft > 0.5).sum() < 24:
            return None
    if not previous.any():
        return None
    image = degrade(np.clip(background, 0, 1), rng, synthetic=volume.image is None)
    second = soft if (soft > 0.5).any() else np.zeros_like(soft)
    return Sample(image, np.stack([soft, second]).astype(np.float32), previous, bool(scale == 0 or rng.random() < 0.4))


def _background(volume: PoolVolume, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    if volume.image is None:
        parts = gather(volume.parts, positions)
        return paint_labels(parts, np.zeros(parts.shape, dtype=bool), rng)
    grey = window_real(trilinear(volume.image, positions, None), volume.modality, volume.percentiles, rng)
    return grey if grey.std() > 0.01 else None
