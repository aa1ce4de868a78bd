"""Labelled volumes to train from: real ones from a data folder, and synthetic anatomy made of random shapes.

Every volume in the pool has a grey image (or none: synthetic), a label map, a spacing and an index of its objects, so
that :mod:`.crops` can cut a training sample in a few milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage


@dataclass(eq=False)
class PoolVolume:
    """One labelled volume.

    Attributes:
        name: for the log.
        image: [K, J, I] of any integer or float type, raw values; None for a label map without an image.
        labels: uint8 [K, J, I]; 0 is unlabelled.
        parts: uint8 [K, J, I], a finer partition of the whole volume, from which random appearances are drawn.
        spacing: (I, J, K) in mm.
        modality: ``CT``, ``MR``, ``PT``, ``US`` or ``SYN``.
        targets: label values that may be asked for.
        oblique: True where cuts in any direction make sense (nearly cubic voxels).
    """

    name: str
    image: np.ndarray | None
    labels: np.ndarray
    parts: np.ndarray
    spacing: tuple[float, float, float]
    modality: str
    targets: list[int]
    oblique: bool
    voxels: dict[int, np.ndarray] = field(default_factory=dict)
    percentiles: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        flat = self.labels.ravel()
        kept = []
        for target in self.targets:
            where = np.flatnonzero(flat == target)
            if len(where) < 30:
                continue
            if len(where) > 4000:
                where = rng.choice(where, 4000, replace=False)
            self.voxels[target] = np.stack(np.unravel_index(where, self.labels.shape), axis=1).astype(np.int32)
            kept.append(target)
        self.targets = kept
        if self.image is not None:
            sample = self.image.ravel()[:: max(1, self.image.size // 200_000)].astype(np.float32)
            inside = sample[sample > 0] if np.mean(sample == 0) > 0.05 else sample
            self.percentiles = (float(np.percentile(inside, 0.5)), float(np.percentile(inside, 99.5)))


def partition(image: np.ndarray, labels: np.ndarray, classes: int = 6) -> np.ndarray:
    """Labels refined by grey-value classes where nothing is labelled: uint8 [K, J, I].

    The unlabelled part of a scan has structure too (muscle, fat, bone, air); splitting it at quantiles of the smoothed
    image keeps that structure when appearances are replaced at random.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 0.7)
    edges = np.quantile(smooth.ravel()[::17], np.linspace(0, 1, classes + 1)[1:-1])
    background = np.searchsorted(np.unique(edges), smooth).astype(np.uint8)
    return np.where(labels > 0, labels, 255 - background).astype(np.uint8)


def load_real(manifest: Path, data: Path) -> Iterator[PoolVolume]:
    """Real training volumes named by a manifest (JSON list; see ``scripts/training_data.json``).

    Items name an image and a label file below ``data``, the modality, and label values to leave out.
    """
    from ..files.images import load_mask, load_volume

    for item in json.loads(manifest.read_text(encoding="utf-8"))["volumes"]:
        volume = load_volume(data / item["image"])
        image = np.asarray(volume.voxels)
        if image.ndim == 4:
            image = image.mean(axis=3)
        labels = np.zeros(image.shape, dtype=np.uint8)
        files = item["labels"] if isinstance(item["labels"], list) else [item["labels"]]
        for value, name in enumerate(files, start=1):
            mask = np.asarray(load_mask(data / name, volume))
            labels = mask.astype(np.uint8) if len(files) == 1 else np.where(mask > 127, value, labels).astype(np.uint8)
        excluded = set(item.get("exclude", []))
        targets = [int(v) for v in np.unique(labels) if v and int(v) not in excluded]
        spacing = tuple(float(s) for s in volume.spacing)
        yield PoolVolume(
            item.get("name", item["image"]), np.ascontiguousarray(image), labels, partition(image, labels), spacing,
            item["modality"], targets, oblique=min(image.shape) > 8 and max(spacing) / min(spacing) < 1.6,
        )  # fmt: skip


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], sigma: float) -> np.ndarray:
    step = max(1, int(sigma / 2))
    coarse = rng.standard_normal([n // step + 3 for n in shape]).astype(np.float32)
    coarse = ndimage.gaussian_filter(coarse, sigma / step)
    return (
        ndimage.zoom(coarse, step, order=1)[: shape[0], : shape[1], : shape[2]]
        if step > 1
        else coarse[: shape[0], : shape[1], : shape[2]]
    )


def _blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    """Cells of the strongest of several smooth noise fields: shapes of every kind that fill space."""
    shape = (size, size, size)
    best = np.full(shape, -np.inf, dtype=np.float32)
    labels = np.zeros(shape, dtype=np.uint8)
    sigma = float(np.exp(rng.uniform(np.log(4), np.log(14))))
    for label in range(1, int(rng.integers(6, 18))):
        noise = _smooth_noise(rng, shape, sigma * float(rng.uniform(0.7, 1.5)))
        noise = (noise - noise.mean()) / (noise.std() + 1e-6) + float(rng.normal(0, 0.3))
        wins = noise > best
        best[wins] = noise[wins]
        labels[wins] = label
    return labels


def _organ(rng: np.random.Generator, grid: np.ndarray, size: int) -> np.ndarray:
    """One organ-like solid on a warped grid [3, K, J, I]: ellipsoid, lobes, crescent or bent tube; bool [K, J, I]."""
    centre = rng.uniform(0.15, 0.85, 3) * size
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0].astype(np.float32)
    local = np.tensordot(rotation, grid - centre[:, None, None, None].astype(np.float32), axes=1)
    half = np.exp(rng.uniform(np.log(0.03), np.log(0.22), 3)) * size
    kind = rng.choice(["ellipsoid", "lobes", "crescent", "tube"], p=[0.45, 0.2, 0.15, 0.2])
    if kind == "tube":
        bend = float(rng.uniform(-0.012, 0.012)) * 96 / size
        radius = float(np.exp(rng.uniform(np.log(0.02), np.log(0.08)))) * size
        length = float(rng.uniform(0.2, 0.6)) * size
        across = np.hypot(local[0] - bend * local[2] ** 2, local[1] - bend * 0.5 * local[2] ** 2)
        return (across < radius) & (np.abs(local[2]) < length)
    power = float(rng.uniform(1.7, 3.5))

    def solid(points: np.ndarray, radii: np.ndarray) -> np.ndarray:
        scaled = np.abs(points) / radii[:, None, None, None].astype(np.float32)
        return (scaled**power).sum(axis=0) < 1

    body = solid(local, half)
    if kind == "lobes":
        for _ in range(int(rng.integers(1, 4))):
            offset = (rng.uniform(-0.9, 0.9, 3) * half).astype(np.float32)
            body |= solid(local - offset[:, None, None, None], half * rng.uniform(0.4, 0.9, 3))
    elif kind == "crescent":
        offset = np.zeros(3, dtype=np.float32)
        offset[rng.integers(3)] = float(half.min() * rng.uniform(0.4, 0.9))
        body &= ~solid(local - offset[:, None, None, None], half * rng.uniform(0.7, 1.0))
    return body


def _anatomy(rng: np.random.Generator, size: int) -> np.ndarray:
    """A body with organs, walls and cavities on a smoothly warped grid."""
    shape = (size, size, size)
    grid = np.stack(np.meshgrid(*[np.arange(size, dtype=np.float32)] * 3, indexing="ij"))
    for axis in range(3):
        noise = _smooth_noise(rng, shape, float(rng.uniform(5, 14)))
        grid[axis] += noise / (noise.std() + 1e-6) * float(rng.uniform(0.5, 3.5))
    labels = np.zeros(shape, dtype=np.uint8)
    middle = np.float32(size / 2)
    radii = (rng.uniform(0.35, 0.6, 3) * size).astype(np.float32)[:, None, None, None]
    labels[(((grid - middle) / radii) ** 2).sum(axis=0) < 1] = 1
    label = 2
    for _ in range(int(rng.integers(8, 20))):
        body = _organ(rng, grid, size)
        if body.sum() < 60:
            continue
        labels[body] = label
        if rng.random() < 0.25:
            labels[ndimage.binary_erosion(body, iterations=int(rng.integers(1, 4)))] = label + 1
            label += 1
        label += 1
    return labels


def synthetic_volume(seed: int, size: int = 80) -> PoolVolume:
    """A random label volume of ``size`` cubed voxels; the same for the same seed."""
    rng = np.random.default_rng([4711, seed])
    labels = _blobs(rng, size) if rng.random() < 0.3 else _anatomy(rng, size)
    targets = [int(v) for v in np.unique(labels) if v]
    return PoolVolume(f"synthetic-{seed}", None, labels, labels, (1.0, 1.0, 1.0), "SYN", targets, oblique=True)
