"""Phantoms and the cost-true SAM without weights that ``bench_engine.py`` runs on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

from SegmentAnythingMedLib import Affine, Volume
from SegmentAnythingMedLib.engine.regions import extent_of
from SegmentAnythingMedLib.models.frame import Frame
from SegmentAnythingMedLib.models.interface import ModelInfo, SliceFeatures, SlicePrediction
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.models.sam_network import SamShape, build_sam
from SegmentAnythingMedLib.prompts.types import Box, SlicePrompts

MINI_1024 = SamShape(width=192, depth=3, heads=3, image_size=1024, window=14, global_blocks=(2,))
"""SAM's geometry (64 x 64 x 256 embedding, prompt encoder and decoder of full size) with 3 encoder blocks, not 12."""
VIT_B = SamShape(width=768, depth=12, heads=12, image_size=1024, window=14, global_blocks=(2, 5, 8, 11))
"""The geometry of SAM ViT-B."""
SEEN = "seen"


@dataclass(frozen=True, eq=False)
class Phantom:
    """A volume with bright objects in noise and what is true about them.

    Attributes:
        volume: int16 [K, J, I].
        truth: bool [K, J, I] per object.
    """

    volume: Volume
    truth: dict[str, np.ndarray]

    def middle(self, name: str) -> int:
        """Middle slice of an object."""
        present = np.flatnonzero(self.truth[name].any(axis=(1, 2)))
        return int(present[len(present) // 2])

    def box(self, name: str) -> Box:
        """Tight box on the object's middle slice."""
        return extent_of(SlicePrompts(mask=self.truth[name][self.middle(name)]))

    def slices(self, name: str) -> int:
        """Slices that the object is on."""
        return int(np.count_nonzero(self.truth[name].any(axis=(1, 2))))


def make_phantom(
    shapes: dict[str, tuple[str, tuple[float, float, float], tuple[float, float, float]]],
    size: tuple[int, int, int] = (32, 512, 512),
    spacing: tuple[float, float, float] = (0.8, 0.8, 2.5),
    seed: int = 0,
) -> Phantom:
    """Ellipsoids and cylinders along K.

    Args:
        shapes: name -> (``ellipsoid`` or ``cylinder``, centre (k, j, i), half-axes (k, j, i) in voxels).
        size: (K, J, I).
        spacing: (I, J, K) in mm.
        seed: of the noise.
    """
    truth = {}
    grid = np.ogrid[: size[0], : size[1], : size[2]]
    for name, (kind, centre, half) in shapes.items():
        parts = [((axis - c) / h) ** 2 for axis, c, h in zip(grid, centre, half, strict=True)]
        truth[name] = sum(parts) < 1 if kind == "ellipsoid" else (parts[0] < 1) & (parts[1] + parts[2] < 1)
    rng = np.random.default_rng(seed)
    texture = ndimage.zoom(rng.normal(0, 25, (size[0], size[1] // 8, size[2] // 8)), (1, 8, 8), order=1)
    voxels = 100 + texture + rng.normal(0, 12, size) + 200 * np.logical_or.reduce(list(truth.values()))
    affine = Affine.from_parts(spacing, (0, 0, 0), np.eye(3))
    return Phantom(Volume(voxels.astype(np.int16), affine, modality="MR"), truth)


class PseudoSam(SamModel):
    """A SAM with random weights whose masks come from the image: it costs what SAM costs and follows bright objects.

    The networks run in full. Then the low-resolution logits are replaced by the bright pixels within the prompt's box,
    so that a propagation follows its object and stops where that ends. ``fast`` as in :class:`SamModel`.
    """

    def __init__(self, shape: SamShape = MINI_1024, seed: int = 0, fast: bool = True) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = build_sam(shape)
        super().__init__(network, ModelInfo("pseudo-sam", "sam", "mini", "0" * 64, "random", "none"), fast=fast)
        self.network = network
        self._drawn: torch.Tensor | None = None

    def encode(self, images: Sequence[np.ndarray], frames: Sequence[Frame]) -> list[SliceFeatures]:
        """See :class:`SamModel`; the image at the size of the logits is kept beside the embedding."""
        made = super().encode(images, frames)
        for image, frame, features in zip(images, frames, made, strict=True):
            rows, cols = (round(n * self.low_res_size / frame.size) for n in frame.content)
            small = F.interpolate(torch.from_numpy(np.ascontiguousarray(image))[None, None], (rows, cols), mode="area")
            seen = torch.zeros(self.low_res_size, self.low_res_size)
            seen[:rows, :cols] = small[0, 0]
            features.tensors[SEEN] = seen
        return made

    def decode(self, features: SliceFeatures, prompts: SlicePrompts, **options: Any) -> SlicePrediction:
        """See :class:`SamModel`."""
        bright = torch.as_tensor(features.tensors[SEEN]).float() > 0.5
        box = prompts.box
        if box is None:
            rows, cols = np.nonzero(prompts.mask)
            box = (cols.min(), rows.min(), cols.max(), rows.max())
        scale = self.low_res_size / features.frame.size
        corners = features.frame.to_network(np.asarray(box, dtype=np.float64).reshape(2, 2)) * scale
        low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
        window = torch.zeros_like(bright)
        window[max(low[1], 0) : high[1], max(low[0], 0) : high[0]] = True
        self._drawn = torch.where(bright & window, 8.0, -8.0)
        return super().decode(features, prompts, **options)

    def _masks(self, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        low_res, quality = super()._masks(*arguments)
        return self._drawn.expand_as(low_res).contiguous(), torch.full_like(quality, 0.9)
