"""Masses painted into scans: round-ish objects of any texture on a true background.

Lesions, nodules and filled cavities share a shape (smooth, mostly convex, drawn by people with a generous hand) and
little else: they are bright or dark, uniform or spotted, with walls, cores and muscles inside, and their border fades
where the neighbour looks the same. A network that has seen only clean borders follows every edge; this teaches it to
weigh an edge against the shape.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .appearance import degrade, paint_labels, random_means, window_real
from .crops import EMPTY_SHARE, NEIGHBOUR_SHARE, REFERENCE_SHARE, Sample
from .planes import Plane, bounds, gather, random_basis, trilinear
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


def surroundings(image: np.ndarray, depth: np.ndarray, radius: float) -> float:
    """Mean grey around an outline; see :func:`paint_mass`."""
    ring = (depth > -max(3.0, 0.3 * radius)) & (depth <= 0)
    return float(image[ring].mean()) if ring.any() else float(image.mean())


def paint_mass(
    image: np.ndarray, depth: np.ndarray, radius: float, rng: np.random.Generator, around: float | None = None
) -> np.ndarray:
    """Paint a mass into an image.

    Args:
        image: float32 [S, S], 0..1.
        depth: float32 [S, S], distance to the outline in pixels, positive inside.
        radius: of the mass in pixels.
        rng: source of randomness.
        around: the grey that the mass contrasts with; what surrounds it here when None.

    Returns:
        float32 [S, S], not clipped.
    """
    size = image.shape[0]
    around = surroundings(image, depth, radius) if around is None else around
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
    extent = float(np.min(np.abs(basis[:2]) @ (shape * plane.spacing))) * rng.uniform(0.15, 0.7)
    distance, radius = radial_shape(rng, size)
    here = rng.uniform(-0.95, 0.95)
    step = rng.uniform(0.03, 0.35) * (1 if rng.random() < 0.5 else -1)
    if rng.random() < EMPTY_SHARE:  # beyond the end: the neighbour still shows the mass
        step = -np.sign(here or 1.0) * abs(step)
        here = np.sign(here or 1.0) * rng.uniform(1.02, 1.15)
    from_previous = bool(abs(here) > 1 or rng.random() < NEIGHBOUR_SHARE)
    places = [here]
    if from_previous and rng.random() < REFERENCE_SHARE:
        places.append(float(np.clip(here + step * (1 if rng.random() < 0.45 else rng.integers(2, 8)), -0.9, 0.9)))
    offset = float(np.abs(basis[2]) @ plane.spacing) * rng.uniform(0.5, 2.0)
    grounds = _backgrounds(plane, [plane.positions((0, 0), extent, size, n * offset) for n in range(len(places))], rng)
    if grounds is None:
        return None
    scales = [float(np.sqrt(max(1 - z**2, 0.0))) for z in (*places, np.clip(here + step, -0.999, 0.999))]
    previous = (scales[-1] - distance) * radius + 0.05 * radius * smooth_field(rng, size, 5) > 0
    soft = np.clip((scales[0] - distance) * radius + 0.5, 0, 1)
    if not previous.any() or (scales[0] > 0 and (soft > 0.5).sum() < 24):
        return None
    images = _painted(grounds, distance, radius, scales, volume.image is None, rng)
    second = soft if (soft > 0.5).any() else np.zeros_like(soft)
    known: tuple = (None, None)
    if len(places) > 1:
        known = reframed(images[1], distance < scales[1], rng)
    return Sample(images[0], np.stack([soft, second]).astype(np.float32), previous, from_previous, *known)


def _painted(
    grounds: list[np.ndarray], distance: np.ndarray, radius: float, scales: list[float], synthetic: bool,
    rng: np.random.Generator,
) -> list[np.ndarray]:  # fmt: skip
    """The mass on every ground at its scale, with one look; sometimes beside or over a mass of another look."""
    size = grounds[0].shape[0]
    if rng.random() < 0.4:
        other, width = radial_shape(rng, size)
        if rng.random() < 0.5:  # where the object is, so that something is left behind its end
            other, width = distance * rng.uniform(0.7, 1.3) + 0.15 * smooth_field(rng, size, 4), radius
        seed = rng.integers(2**63)
        around = surroundings(grounds[0], (1 - other) * width, width)
        grounds = [paint_mass(g, (1 - other) * width, width, np.random.default_rng(seed), around) for g in grounds]
    shown = max(range(len(grounds)), key=lambda n: scales[n])
    around = surroundings(grounds[shown], (scales[shown] - distance) * radius, radius)
    seed, effects = rng.integers(2**63), rng.integers(2**63)
    images = []
    for ground, scale in zip(grounds, scales, strict=False):
        if scale > 0:
            depth = (scale - distance) * radius
            ground = paint_mass(ground, depth, radius * scale, np.random.default_rng(seed), around)
        images.append(degrade(np.clip(ground, 0, 1), np.random.default_rng(effects), synthetic=synthetic))
    return images


def reframed(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Another crop of the same size around a mask: image float32 [S, S] and bool [S, S]; (None, None) if empty."""
    if not mask.any():
        return None, None
    size = image.shape[0]
    row0, row1, col0, col1 = bounds(mask)
    side = max(max(row1 - row0, col1 - col0) * rng.uniform(1.4, 2.6), 14.0)
    centre = np.array([row0 + row1, col0 + col1]) / 2 + rng.uniform(-0.12, 0.12, 2) * side
    steps = [(np.arange(size) + 0.5) / size * side - side / 2 + c - 0.5 for c in centre]
    grid = np.meshgrid(*steps, indexing="ij")
    view = ndimage.map_coordinates(image, grid, order=1, mode="nearest").astype(np.float32)
    return view, ndimage.map_coordinates(mask.astype(np.float32), grid, order=1, mode="constant") > 0.5


def _backgrounds(plane: Plane, cuts: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray] | None:
    """Images of cuts [3, S, S] that look as if they came from one scan; None where there is nothing to see."""
    volume, seed = plane.volume, rng.integers(2**63)
    images = []
    look = None
    for positions in cuts:
        same = np.random.default_rng(seed)
        if volume.image is None:
            parts = gather(volume.parts, positions)
            nothing = np.zeros(parts.shape, dtype=bool)
            look = random_means(parts, nothing, rng) if look is None else look
            images.append(paint_labels(parts, nothing, look, same))
        else:
            grey = trilinear(volume.image, positions, None)
            images.append(window_real(grey, volume.modality, volume.percentiles, same))
    return images if volume.image is None or images[0].std() > 0.01 else None
