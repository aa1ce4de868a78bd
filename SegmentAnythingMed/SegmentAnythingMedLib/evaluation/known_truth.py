"""Follow-up visits whose true contours are known, made from real scans.

A scan with a labelled structure is the prior visit. The follow-up is the same scan, deformed by a smooth field, with
the structure moved, grown, shrunk or gone, other contrast and new noise; the structure's true mask goes through the
same changes. All geometry is one backward map: a voxel of the follow-up at y shows what the prior has at y + u(y).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..space.volume import Volume

MOST_STRETCH = 0.5
"""Largest slope of a displacement field: well below 1, so that it never folds."""
BORDER_MM = 1.0
"""Width of the soft border between pasted and painted tissue."""
SHOWS_MM, SHOWS_VOXELS = 2.0, 1.5
"""How far beyond its contour an image still shows a structure: in mm, or in voxels where they are large (PET)."""
SHELL_MM = 6.0
"""Depth of the surroundings that painted tissue is made of."""
SPREAD = 2.5
"""Painted texture stays within so many (robust) standard deviations: bone or air nearby is not scattered into it."""


@dataclass(frozen=True)
class Change:
    """What happens between the visits.

    Attributes:
        name: for tables.
        deformation_mm: largest displacement of the smooth random deformation.
        shift_mm: how far the structure and what surrounds it move, beside the deformation.
        growth: the structure's volume at the follow-up over that at the prior; 1 is none.
        infiltrating: growth replaces tissue (and shrinking leaves tissue) instead of pushing it.
        vanished: the structure is replaced by the texture around it.
        look_alike: a copy of the structure appears beside it.
        gamma: exponent of the contrast change between the 1st and 99th percentile.
        noise: standard deviation of new noise as a part of that range.
    """

    name: str
    deformation_mm: float = 0.0
    shift_mm: float = 0.0
    growth: float = 1.0
    infiltrating: bool = False
    vanished: bool = False
    look_alike: bool = False
    gamma: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True, eq=False)
class KnownPair:
    """A follow-up with its truth.

    Attributes:
        volume: the follow-up, on the prior's grid.
        masks: structure -> true bool [K, J, I]; all False for a vanished one.
        change: what was done.
        displacement_mm: distance between the centroids of the (first) structure on the two visits.
    """

    volume: Volume
    masks: dict[str, np.ndarray]
    change: Change
    displacement_mm: float


def make_follow_up(volume: Volume, masks: dict[str, np.ndarray], change: Change, seed: int = 0) -> KnownPair:
    """A follow-up of a scan.

    Args:
        volume: the prior visit, [K, J, I] with axes at right angles.
        masks: structure -> bool [K, J, I]; growth, shift, vanishing and look-alike concern the first one.
        change: what happens.
        seed: of field, directions and noise.

    Raises:
        InputError: ``segment.empty`` when the first structure is empty.
    """
    first = next(iter(masks))
    if not masks[first].any():
        raise InputError("segment.empty", f"Expected a structure that changes; {first} is empty.")
    random = np.random.default_rng(seed)
    spacing = volume.spacing[::-1]
    image = np.asarray(volume.voxels, dtype=np.float32)
    image, painted = _repainted(image, np.asarray(masks[first], bool), change, spacing, random)
    shapes = {name: np.asarray(mask, dtype=np.float32) for name, mask in masks.items()}
    shapes[first] = painted.astype(np.float32)
    if change.growth != 1.0 and not change.infiltrating:
        image, shapes = _sampled(image, shapes, _scaling(masks[first], change.growth, spacing))
    if change.deformation_mm > 0 or change.shift_mm > 0:
        field = _deformation(image.shape, spacing, change.deformation_mm, random)
        field += _push(masks[first], change.shift_mm, spacing, random)
        image, shapes = _sampled(image, shapes, field / spacing[:, None, None, None])
    truth = {name: shape > 0.5 for name, shape in shapes.items()}
    image = _rescanned(image, change, random)
    if volume.voxels.dtype.kind in "iu":
        limits = np.iinfo(volume.voxels.dtype)
        image = np.clip(np.rint(image), limits.min, limits.max)
    follow_up = replace(volume, voxels=image.astype(volume.voxels.dtype), name=f"{volume.name} {change.name}".strip())
    return KnownPair(follow_up, truth, change, _moved(masks[first], truth[first], spacing))


def _moved(before: np.ndarray, after: np.ndarray, spacing: np.ndarray) -> float:
    if not after.any():
        return 0.0
    shift = np.subtract(ndimage.center_of_mass(after), ndimage.center_of_mass(before))
    return float(np.linalg.norm(shift * spacing))


def _sampled(
    image: np.ndarray, shapes: dict[str, np.ndarray], field: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Image and shapes [K, J, I] through a backward displacement field [3, K, J, I] in voxels."""
    places = np.indices(image.shape, dtype=np.float32) + field.astype(np.float32)
    image = ndimage.map_coordinates(image, places, order=1, mode="nearest")
    return image, {n: ndimage.map_coordinates(s, places, order=1, mode="constant") for n, s in shapes.items()}


def _deformation(
    shape: tuple[int, ...], spacing: np.ndarray, most_mm: float, random: np.random.Generator
) -> np.ndarray:
    """Smooth random field [3, K, J, I] in mm whose longest vector is ``most_mm``, as rough as it may be."""
    if most_mm <= 0:
        return np.zeros((3, *shape))
    noise = random.standard_normal((3, *shape))
    sigma_mm = max(12.0, 1.2 * most_mm)
    while True:
        field = np.stack([ndimage.gaussian_filter(n, sigma_mm / spacing, mode="reflect") for n in noise])
        field *= most_mm / np.sqrt((field**2).sum(axis=0)).max()
        slope = max(np.abs(np.gradient(part, s, axis=a)).max() for part in field for a, s in enumerate(spacing))
        if slope <= MOST_STRETCH:
            return field
        sigma_mm *= 1.25


def _push(mask: np.ndarray, shift_mm: float, spacing: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Field [3, K, J, I] in mm that moves the structure as a whole, fading around it; mostly in-plane."""
    if shift_mm <= 0:
        return np.zeros((3, *mask.shape))
    direction = random.standard_normal(3) * np.array([0.3, 1.0, 1.0])
    direction /= np.linalg.norm(direction)
    # The bump must cover the structure where it arrives, and fade slowly enough not to fold.
    far = ndimage.distance_transform_edt(~_shifted_mask(mask, direction * shift_mm / spacing), sampling=spacing)
    fade = np.exp(-0.5 * (far / (shift_mm * 0.607 / MOST_STRETCH)) ** 2)
    return -direction[:, None, None, None] * shift_mm * fade


def _shifted_mask(mask: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    moved = ndimage.shift(mask.astype(np.float32), voxels, order=1) > 0.5
    return moved if moved.any() else mask


def _radius_field(mask: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vector from the centroid in voxels [3, K, J, I], and ellipsoidal radius: 1 on the structure's mean border."""
    inside = np.argwhere(mask)
    centre = inside.mean(axis=0)
    arm = np.indices(mask.shape, dtype=np.float64) - centre[:, None, None, None]
    spread = np.cov(((inside - centre) * spacing).T) + np.eye(3) * 0.25
    scaled = np.einsum("ab,bkji->akji", np.linalg.inv(spread), arm * spacing[:, None, None, None])
    radius = np.sqrt((scaled * arm * spacing[:, None, None, None]).sum(axis=0) / 5.0)
    return arm, radius


def _scaling(mask: np.ndarray, growth: float, spacing: np.ndarray, reach: float = 1.5) -> np.ndarray:
    """Backward field in voxels that scales the structure about its centroid and leaves what is far as it was."""
    factor = growth ** (1 / 3)
    arm, radius = _radius_field(mask, spacing)
    # flat until a little beyond the structure's border, which is no ellipsoid, then down to nothing
    inner = 1.3 * max(factor, 1.0)
    fade = np.clip((inner + reach - radius) / reach, 0.0, 1.0)
    return arm * (1.0 / factor - 1.0) * (fade * fade * (3 - 2 * fade))


def _repainted(
    image: np.ndarray, mask: np.ndarray, change: Change, spacing: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask after vanishing, infiltrating growth or shrinking, and a look-alike."""
    original, infiltrates = image, change.infiltrating and change.growth != 1.0
    if change.vanished or (infiltrates and change.growth < 1):
        image = inpainted(image, mask, spacing)
    if change.vanished:
        return image, np.zeros_like(mask)
    painted = mask
    if infiltrates:
        arm, _ = _radius_field(mask, spacing)
        field = arm * (1.0 / change.growth ** (1 / 3) - 1.0)
        scaled, shapes = _sampled(original, {"": mask.astype(np.float32)}, field)
        painted = shapes[""] > 0.5
        image = _pasted(image, scaled, painted, spacing, _shows_mm(spacing) - SHOWS_MM)
    if change.look_alike:
        offset = _free_place(original, painted, spacing, random)
        copy = ndimage.shift(original, offset, order=1, mode="nearest")
        image = _pasted(image, copy, _shifted_mask(painted, offset), spacing)
    return image, painted


def _shows_mm(spacing: np.ndarray) -> float:
    """How far beyond its contour an image of this spacing still shows a structure."""
    return max(SHOWS_MM, SHOWS_VOXELS * float(np.median(spacing)))


def _pasted(
    image: np.ndarray, other: np.ndarray, mask: np.ndarray, spacing: np.ndarray, beyond_mm: float = 0.0
) -> np.ndarray:
    """``other`` under the mask and this far beyond, ``image`` elsewhere, with a soft border."""
    depth = ndimage.distance_transform_edt(mask, sampling=spacing) - ndimage.distance_transform_edt(
        ~mask, sampling=spacing
    )
    weight = np.clip(0.5 + (depth + beyond_mm) / (2 * BORDER_MM), 0, 1)
    return (weight * other + (1 - weight) * image).astype(np.float32)


def _free_place(image: np.ndarray, mask: np.ndarray, spacing: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Offset in voxels, within the slices, to where the tissue is most like what surrounds the structure."""
    rows_cols = np.argwhere(mask.any(axis=0))
    reach = np.ptp(rows_cols, axis=0) + 1
    ring = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask)
    wanted = np.percentile(image[ring], [25, 50, 75])
    best, offset = np.inf, np.array([0, reach[0] + 3, 0])
    for angle in 2 * np.pi * (np.arange(16) + random.random()) / 16:
        step = np.array([np.sin(angle), np.cos(angle)])
        step *= 1.25 * min(reach / np.maximum(np.abs(step), 1e-6))
        tried = np.array([0, *np.rint(step)])
        moved = ndimage.shift(mask.astype(np.float32), tried, order=0) > 0.5
        if moved.sum() < 0.98 * mask.sum():
            continue
        difference = float(np.abs(np.percentile(image[moved], [25, 50, 75]) - wanted).sum())
        if difference < best:
            best, offset = difference, tried
    return offset


def inpainted(image: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The image with the structure replaced by what surrounds it: a smooth bridge with mirrored texture.

    Both stay within what is usual around the structure, so that nothing else is made in its place.

    Args:
        image: float32 [K, J, I].
        mask: bool [K, J, I].
        spacing: of K, J, I in mm.
    """
    away, margin = ndimage.distance_transform_edt(~mask, sampling=spacing), _shows_mm(spacing)
    hole = away <= margin
    shell = (away <= margin + SHELL_MM) & ~hole
    _, nearest = ndimage.distance_transform_edt(hole, sampling=spacing, return_indices=True)
    last = np.array(image.shape)[:, None, None, None] - 1
    mirrored = np.clip(2 * nearest - np.indices(image.shape), 0, last)
    mirrored = np.where(hole[tuple(mirrored)], nearest, mirrored)
    level = _blurred(image, ~hole, spacing, 4.0)
    texture = image - level
    if shell.any():
        spread = SPREAD * 1.4826 * float(np.median(np.abs(texture[shell])))
        texture, level = np.clip(texture, -spread, spread), np.clip(level, *np.percentile(image[shell], [10, 90]))
    smooth = np.where(hole, level[tuple(nearest)], level)
    for sigma in (8.0, 5.0, 3.0):  # bridge across the hole
        smooth = np.where(hole, ndimage.gaussian_filter(smooth, sigma / spacing), level)
    texture = texture[tuple(mirrored)]
    texture = texture - _blurred(texture, hole, spacing, 4.0)  # nothing broad comes with it
    return np.where(hole, smooth + texture, image).astype(np.float32)


def _blurred(image: np.ndarray, valid: np.ndarray, spacing: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Gaussian mean of the valid voxels only."""
    weight = ndimage.gaussian_filter(valid.astype(np.float32), sigma_mm / spacing)
    return ndimage.gaussian_filter(np.where(valid, image, 0), sigma_mm / spacing) / np.maximum(weight, 1e-3)


def _rescanned(image: np.ndarray, change: Change, random: np.random.Generator) -> np.ndarray:
    low, high = np.percentile(image, [1, 99])
    extent = max(float(high - low), 1e-6)
    if change.gamma != 1.0:
        part = np.clip((image - low) / extent, 0, None)
        image = np.where(image > low, low + extent * part**change.gamma, image)
    if change.noise > 0:
        image = image + random.standard_normal(image.shape) * change.noise * extent
    return image.astype(np.float32)
