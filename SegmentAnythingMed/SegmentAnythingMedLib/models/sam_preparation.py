"""How each family that uses SAM's network wants an image, a coordinate and a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .frame import Frame
from .sam_network import PIXEL_MEAN, PIXEL_STD

_SATURATED = 1e-6


@dataclass(frozen=True)
class Preparation:
    """How a family wants its images and gives its masks.

    Attributes:
        squash: stretch both sides to the input instead of keeping the aspect ratio and padding.
        prepare: (uint8 [h, w] or [h, w, 3], frame) -> float32 [3, size, size].
        upscale: (logits [M, h, w] of the whole input, frame) -> logits [M, region height, region width].
    """

    squash: bool
    prepare: Callable[[np.ndarray, Frame], torch.Tensor]
    upscale: Callable[[torch.Tensor, Frame], torch.Tensor]


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Intensities 0..1 -> uint8 0..255, rounded; NaN is 0."""
    scaled = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0) * 255.0
    return np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)


def to_sam_coordinates(frame: Frame, points: np.ndarray) -> np.ndarray:
    """Plane coordinates (x, y) -> coordinates of the input, by scale alone as SAM was trained; float64 [N, 2].

    ``Frame.to_network`` keeps pixel centres in place; SamPredictor does not (its half-pixel goes unscaled). The
    difference is below one pixel of the input, but the network knows it this way.
    """
    corner = np.array([frame.region.col0, frame.region.row0], dtype=np.float64)
    return (np.asarray(points, dtype=np.float64).reshape(-1, 2) - corner) * np.array(frame.scale)


def _three_channels(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[None].expand(3, -1, -1) if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def _prepare_sam(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """PIL's bilinear resize of 8-bit pixels, mean and deviation of each channel, then zeros at bottom and right."""
    rows, cols = frame.content
    resized = np.array(Image.fromarray(np.ascontiguousarray(pixels)).resize((cols, rows), Image.Resampling.BILINEAR))
    image = _three_channels(torch.from_numpy(resized).float())
    mean, deviation = (torch.tensor(values).reshape(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return F.pad((image - mean) / deviation, (0, frame.size - cols, 0, frame.size - rows))


def _upscale_sam(logits: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Two bilinear steps as in SAM: to the whole input, padding cut off, to the pixels of the slice."""
    region = frame.region
    whole = F.interpolate(logits[None], size=(frame.size, frame.size), mode="bilinear")
    content = whole[..., : frame.content[0], : frame.content[1]]
    return F.interpolate(content, size=(region.height, region.width), mode="bilinear")[0]


def _prepare_medsam(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """Cubic resize of 8-bit pixels to a square, then minimum and maximum to 0..1 (MedSAM, Ma et al., 2024)."""
    from skimage.transform import resize  # here, since only this family needs it and its import takes a second

    resized = resize(pixels, (frame.size, frame.size), order=3, preserve_range=True, anti_aliasing=True)
    resized = resized.astype(np.uint8).astype(np.float32)
    lowest, highest = float(resized.min()), float(resized.max())
    return _three_channels(torch.from_numpy((resized - lowest) / max(highest - lowest, 1e-8))).contiguous()


def _upscale_medsam(logits: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Probabilities are scaled, not logits; given back as logits, so that a mask is ``> 0`` everywhere."""
    region = frame.region
    scaled = F.interpolate(torch.sigmoid(logits)[None], size=(region.height, region.width), mode="bilinear")[0]
    return torch.logit(scaled, eps=_SATURATED)


PREPARATIONS = {
    "sam": Preparation(squash=False, prepare=_prepare_sam, upscale=_upscale_sam),
    "medsam": Preparation(squash=True, prepare=_prepare_medsam, upscale=_upscale_medsam),
}
"""Preprocessing name -> what it does."""
