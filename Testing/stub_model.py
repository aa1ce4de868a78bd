"""A model that needs no weights: it returns the bright parts of a slice that the prompts touch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from propagation_stub import touched
from SegmentAnythingMedLib.files.images import save_volume
from SegmentAnythingMedLib.models.frame import Frame
from SegmentAnythingMedLib.models.interface import ModelInfo, PromptableModel, SliceFeatures, SlicePrediction
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

SIDE = 64


class StubModel(PromptableModel):
    """Bright components of slices of ``SIDE`` x ``SIDE`` pixels (others are stretched)."""

    info = ModelInfo("stub", "stub", "test", "ab" * 32, "stub.bin", "MIT")
    image_size = low_res_size = SIDE
    device = "cpu"
    notes = ("This model is a stub.",)

    def __init__(self, before_decode: Callable[[int], None] = lambda _count: None) -> None:
        self.before_decode, self.decodes = before_decode, 0

    def frame(self, slice_shape, pixel_spacing, region=None) -> Frame:
        return Frame.squash(slice_shape, SIDE, region)

    def encode(self, images, frames) -> list[SliceFeatures]:
        patches = [frame.sample(image).mean(0, keepdim=True) for image, frame in zip(images, frames, strict=True)]
        return [SliceFeatures({"image": patch}, frame) for patch, frame in zip(patches, frames, strict=True)]

    def decode(self, features, prompts, *, mask_input=None, multimask_output=False) -> SlicePrediction:
        self.decodes += 1
        self.before_decode(self.decodes)
        frame = features.frame
        bright = np.asarray(features.tensors["image"])[0] > 0.5
        mask = touched(bright, _in_network(prompts, frame))
        count = 3 if multimask_output else 1
        logits = torch.from_numpy(np.where(mask, 5.0, -5.0).astype(np.float32))[None].expand(count, -1, -1)
        return SlicePrediction(logits.numpy(), np.full(count, 0.9, dtype=np.float32), frame.restore(logits))


def _in_network(prompts: SlicePrompts, frame: Frame) -> SlicePrompts:
    box = None if prompts.box is None else tuple(frame.to_network(np.reshape(prompts.box, (2, 2))).ravel())
    mask = None if prompts.mask is None else frame.mask_logits(prompts.mask, SIDE)
    points = np.clip(frame.to_network(prompts.points), 0, SIDE - 1)
    return SlicePrompts(points, prompts.labels, box, None if mask is None else mask > 0)


def two_balls(spacing=(1.0, 1.0, 2.0), direction=None) -> tuple[Volume, np.ndarray]:
    """Two bright balls in [24, 64, 64] voxels, and their labels: 1 in the middle of slice 10, 2 of slice 14."""
    k, j, i = np.indices((24, SIDE, SIDE))
    labels = np.zeros(k.shape, dtype=np.uint8)
    for value, (ck, cj, ci), radius in ((1, (10, 20, 20), 11.0), (2, (14, 44, 40), 12.0)):
        labels[((k - ck) * spacing[2]) ** 2 + (j - cj) ** 2 + (i - ci) ** 2 < radius**2] = value
    voxels = np.where(labels > 0, 200, 20).astype(np.int16)
    return Volume(voxels, Affine.from_parts(spacing, (5.0, -7.0, 11.0), direction), modality="MR"), labels


def save_balls(folder: Path) -> Path:
    """``balls.nii.gz`` and ``labels.nii.gz`` in ``folder``; returns the first."""
    volume, labels = two_balls()
    save_volume(volume, folder / "balls.nii.gz")
    save_volume(Volume(labels, volume.affine), folder / "labels.nii.gz")
    return folder / "balls.nii.gz"
