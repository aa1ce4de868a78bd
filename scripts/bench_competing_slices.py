"""Short sequences of slices with an object on the first, to fit the network of ``bench_competing.py`` to."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from SegmentAnythingMedLib.training import crops, masses
from SegmentAnythingMedLib.training.planes import Plane, bounds, component, nearest, random_basis
from SegmentAnythingMedLib.training.pool import PoolVolume, synthetic_volume
from torch import Tensor

LENGTH = 5


@dataclass(eq=False)
class Sequence:
    """Neighbouring slices of one object.

    Attributes:
        images: uint8 [T, S, S].
        masks: bool [T, S, S]; the first is not empty.
    """

    images: np.ndarray
    masks: np.ndarray

    def turned(self, rng: np.random.Generator) -> Sequence:
        """The same seen in a mirror, turned, or inverted."""
        images, masks = self.images, self.masks
        if rng.random() < 0.5:
            images, masks = images[..., ::-1], masks[..., ::-1]
        quarter = int(rng.integers(4))
        images, masks = (np.rot90(one, quarter, (1, 2)) for one in (images, masks))
        if masks[-1].any() and rng.random() < 0.3:
            images, masks = images[::-1], masks[::-1]
        if rng.random() < 0.1:
            images = 255 - images
        return Sequence(images, masks)


def organ_sequence(volume: PoolVolume, rng: np.random.Generator, size: int) -> Sequence | None:
    """Slices through a labelled object, from one that shows it onward; often past its end."""
    weights = np.array([len(volume.voxels[t]) for t in volume.targets], dtype=np.float64) ** 0.4
    target = int(rng.choice(volume.targets, p=weights / weights.sum()))
    places = volume.voxels[target]
    plane = Plane(volume, places[rng.integers(len(places))], random_basis(volume, rng))
    axis_step = float(np.abs(plane.basis[2]) @ plane.spacing)
    step = axis_step * (1 if not volume.oblique else rng.uniform(0.7, 4.0))
    spread = crops._spread(plane, target)
    coarse = nearest(volume, plane.positions((0, 0), spread, 72)) == target
    middle = np.zeros_like(coarse)
    middle[34:38, 34:38] = True
    coarse = component(coarse, middle) if (coarse & middle).any() else coarse
    if coarse.sum() < 12:
        return None
    row0, row1, col0, col1 = (bound / 72 * spread - spread / 2 for bound in bounds(coarse))
    longest = max(row1 - row0, col1 - col0)
    side = max(longest * np.exp(rng.uniform(np.log(1.4), np.log(7))), 24 * float(np.sort(plane.spacing)[:2].max()))
    shift = rng.uniform(-0.45, 0.45, 2) * max(side - longest, 0)
    centre = ((col0 + col1) / 2 + shift[0], (row0 + row1) / 2 + shift[1])
    cuts = [plane.positions(centre, side, size, n * step) for n in range(LENGTH)]
    masks, last = [], None
    for n, positions in enumerate(cuts):
        found = nearest(volume, positions) == target
        if n == 0:
            u, v = (int(np.clip((-c / side + 0.5) * size, 0, size - 1)) for c in centre)
            seed = np.zeros_like(found)
            seed[max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3] = True
            last = component(found, seed) if (found & seed).any() else found
        else:
            near = ndimage.binary_dilation(last, iterations=2) & found
            last = component(found, near) if near.any() else np.zeros_like(found)
        masks.append(last)
    if masks[0].sum() < 40 * (size / 128) ** 2:
        return None
    images = crops._images(volume, list(zip(cuts, masks, strict=True)), rng)
    return Sequence(np.stack(images), np.stack(masks))


def mass_sequence(volume: PoolVolume, rng: np.random.Generator, size: int) -> Sequence | None:
    """Slices through a painted mass on a true background."""
    shape = np.array(volume.labels.shape)
    origin = rng.uniform(0.2, 0.8, 3) * (shape - 1)
    basis = random_basis(volume, rng)
    plane = Plane(volume, origin if volume.oblique else np.rint(origin), basis)
    extent = float(np.min(np.abs(basis[:2]) @ (shape * plane.spacing))) * rng.uniform(0.3, 1.0)
    distance, radius = masses.radial_shape(rng, size)
    start, step = rng.uniform(-0.9, 0.9), rng.uniform(0.05, 0.35)
    places = start + step * np.arange(LENGTH)
    offset = float(np.abs(basis[2]) @ plane.spacing) * (rng.uniform(0.5, 2.0) if volume.oblique else 1.0)
    cuts = [plane.positions((0, 0), extent, size, n * offset) for n in range(LENGTH)]
    grounds = masses._backgrounds(plane, cuts, rng)
    if grounds is None:
        return None
    scales = [float(np.sqrt(max(1 - z**2, 0.0))) for z in places]
    images = masses._painted(grounds, distance, radius, [*scales, 0.0], volume.image is None, rng)
    found = np.stack([distance < scale for scale in scales])
    return Sequence(np.stack(images), found) if found[0].sum() >= 40 * (size / 128) ** 2 else None


class Source:
    """Sequences, each shown a few times in other positions, since cutting one costs as much as learning from it."""

    def __init__(self, real: list[PoolVolume], weights: list[float], seed: int, side: int) -> None:
        self._side = side
        self._real, self._weights = real, np.asarray(weights) / max(sum(weights), 1e-9)
        self._rng, self._seed, self._made = np.random.default_rng(seed), seed, 0
        self._synthetic: list[PoolVolume] = []
        self._kept: list[Sequence] = []

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Images float32 [T, B, S, S] in 0..1 and masks bool of that shape; half of them new."""
        rng = self._rng
        new = count if len(self._kept) < 40 else count // 2
        fresh = [self._new() for _ in range(new)]
        old = [self._kept[rng.integers(len(self._kept))] for _ in range(count - new)]
        self._kept = [*self._kept, *fresh][-300:]
        turned = [one.turned(rng) for one in (*fresh, *old)]
        images = np.stack([one.images for one in turned], axis=1).astype(np.float32) / 255
        masks = np.stack([one.masks for one in turned], axis=1)
        return torch.from_numpy(images), torch.from_numpy(np.ascontiguousarray(masks))

    def _new(self) -> Sequence:
        rng, found = self._rng, None
        if self._made % 60 == 0:
            self._synthetic = [*self._synthetic, synthetic_volume(self._seed * 1_000_003 + self._made)][-16:]
        self._made += 1
        while found is None:
            if not self._real or rng.random() < 0.4:
                volume = self._synthetic[rng.integers(len(self._synthetic))]
            else:
                volume = self._real[rng.choice(len(self._real), p=self._weights)]
            size = self._side if self._side < 256 or rng.random() < 0.25 else self._side // 2
            draw = mass_sequence if rng.random() < 0.3 else organ_sequence
            found = draw(volume, rng, size) if volume.targets and min(volume.labels.shape) > LENGTH else None
        if found.images.shape[-1] == self._side:
            return Sequence((found.images * 255).astype(np.uint8), found.masks)
        images = F.interpolate(torch.from_numpy(found.images)[None], scale_factor=2, mode="bilinear")[0].numpy()
        soft = F.interpolate(torch.from_numpy(found.masks.astype(np.float32))[None], scale_factor=2, mode="bilinear")
        return Sequence((images * 255).astype(np.uint8), soft[0].numpy() > 0.5)
