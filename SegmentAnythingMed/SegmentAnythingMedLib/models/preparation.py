"""How each family wants an image, a coordinate and a mask prompt, and how it scales its masks back.

Each entry restates what the family's own published inference does, up to rounding: a network that is shown an image
normalised in another way answers worse without any sign of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .area_resize import area_resize
from .frame import Frame

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
_UNIT_MEAN, _UNIT_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SATURATED = 1e-6


def _by_scale(points: np.ndarray, frame: Frame) -> np.ndarray:
    """Plane coordinates (x, y) [N, 2] -> coordinates of the input, by scale alone as SAM was trained; float64 [N, 2].

    ``Frame.to_network`` keeps pixel centres in place; SamPredictor does not (its half-pixel goes unscaled). The
    difference is below one pixel of the input, but the network knows it this way.
    """
    corner = np.array([frame.region.col0, frame.region.row0], dtype=np.float64)
    return (np.asarray(points, dtype=np.float64).reshape(-1, 2) - corner) * np.array(frame.scale)


def _box_by_scale(box: np.ndarray, frame: Frame) -> np.ndarray:
    return _by_scale(box, frame).reshape(4)


def _box_on_pixels(box: np.ndarray, frame: Frame) -> np.ndarray:
    """LiteMedSAM cuts a scaled box to whole pixels of its input."""
    return np.trunc(_box_by_scale(box, frame))


def _unchanged(logits: np.ndarray) -> np.ndarray:
    return logits


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.sigmoid(torch.from_numpy(logits)).numpy()


@dataclass(frozen=True)
class Preparation:
    """How a family wants its images and prompts and gives its masks.

    Attributes:
        squash: stretch both sides to the input instead of keeping the aspect ratio and padding.
        prepare: (uint8 [h, w] or [h, w, 3], frame) -> float32 [3, size, size].
        upscale: (logits [M, h, w] of the whole input, frame) -> logits [M, region height, region width].
        points: (plane coordinates [N, 2], frame) -> coordinates of the input [N, 2].
        box: (plane coordinates [4], frame) -> coordinates of the input [4].
        mask_prompt: low-resolution logits [h, w] -> what the prompt encoder gets.
    """

    squash: bool
    prepare: Callable[[np.ndarray, Frame], torch.Tensor]
    upscale: Callable[[torch.Tensor, Frame], torch.Tensor]
    points: Callable[[np.ndarray, Frame], np.ndarray] = _by_scale
    box: Callable[[np.ndarray, Frame], np.ndarray] = _box_by_scale
    mask_prompt: Callable[[np.ndarray], np.ndarray] = _unchanged


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Intensities 0..1 -> uint8 0..255, rounded; NaN is 0."""
    scaled = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0) * 255.0
    return np.clip(np.rint(scaled), 0.0, 255.0).astype(np.uint8)


def _three_channels(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[None].expand(3, -1, -1) if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def _normalised(image: torch.Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> torch.Tensor:
    return (image - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(deviation).reshape(3, 1, 1)


def _padded(image: torch.Tensor, size: int) -> torch.Tensor:
    return F.pad(image, (0, size - image.shape[2], 0, size - image.shape[1]))


def _pil_resized(pixels: np.ndarray, rows: int, cols: int, how: Image.Resampling) -> torch.Tensor:
    resized = np.array(Image.fromarray(np.ascontiguousarray(pixels)).resize((cols, rows), how))
    return _three_channels(torch.from_numpy(resized).float())


def _prepare_sam(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """PIL's bilinear resize of 8-bit pixels, mean and deviation of each channel, then zeros at bottom and right."""
    resized = _pil_resized(pixels, *frame.content, Image.Resampling.BILINEAR)
    return _padded(_normalised(resized, PIXEL_MEAN, PIXEL_STD), frame.size)


def _prepare_medsam(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """Cubic resize of 8-bit pixels to a square, then minimum and maximum to 0..1 (MedSAM, Ma et al., 2024)."""
    from skimage.transform import resize  # here, since only this family needs it and its import takes a second

    resized = resize(pixels, (frame.size, frame.size), order=3, preserve_range=True, anti_aliasing=True)
    resized = resized.astype(np.uint8).astype(np.float32)
    return _three_channels(torch.from_numpy(_zero_to_one(resized))).contiguous()


def _prepare_lite_medsam(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """Area resize of 8-bit pixels, minimum and maximum to 0..1, then zeros at bottom and right."""
    resized = area_resize(pixels, *frame.content).astype(np.float32)
    return _padded(_three_channels(torch.from_numpy(_zero_to_one(resized))), frame.size)


def _prepare_sam2(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """Antialiased bilinear resize of numbers 0..1 to a square, then mean and deviation (Ravi et al., 2024)."""
    image = _three_channels(torch.from_numpy(pixels.astype(np.float32) / 255.0))
    size = (frame.size, frame.size)
    if tuple(image.shape[1:]) != size:
        image = F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
    return _normalised(image, _UNIT_MEAN, _UNIT_STD)


def _prepare_medsam2(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """PIL's cubic resize of 8-bit pixels to a square, 0..1, then mean and deviation (Ma et al., 2025)."""
    resized = _pil_resized(pixels, frame.size, frame.size, Image.Resampling.BICUBIC)
    return _normalised(resized / 255.0, _UNIT_MEAN, _UNIT_STD)


def _prepare_sam_med2d(pixels: np.ndarray, frame: Frame) -> torch.Tensor:
    """Mean and deviation first, then the nearest pixels of a square (SAM-Med2D, Cheng et al., 2023)."""
    rows, cols = (_nearest(length, frame.size) for length in pixels.shape[:2])
    picked = torch.from_numpy(pixels[np.ix_(rows, cols)].astype(np.float32))
    return _normalised(_three_channels(picked), PIXEL_MEAN, PIXEL_STD)


def _nearest(length: int, size: int) -> np.ndarray:
    """Indices of the source pixels as OpenCV takes them: the lower neighbour, not the pixel under the centre."""
    return np.minimum(np.floor(np.arange(size) * (1.0 / (size / length))).astype(np.int64), length - 1)


def _zero_to_one(image: np.ndarray) -> np.ndarray:
    lowest, highest = float(image.min()), float(image.max())
    return (image - lowest) / max(highest - lowest, 1e-8)


def _upscale_in_two_steps(logits: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Bilinear to the whole input, padding cut off, bilinear to the pixels of the slice."""
    whole = logits[None]
    if tuple(logits.shape[1:]) != (frame.size, frame.size):
        whole = F.interpolate(whole, size=(frame.size, frame.size), mode="bilinear")
    return _to_slice(whole[..., : frame.content[0], : frame.content[1]], frame)


def _upscale_at_once(logits: torch.Tensor, frame: Frame) -> torch.Tensor:
    return _to_slice(logits[None], frame)


def _upscale_probabilities(logits: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Probabilities are scaled, not logits; given back as logits, so that a mask is ``> 0`` everywhere."""
    return torch.logit(_to_slice(torch.sigmoid(logits)[None], frame), eps=_SATURATED)


def _to_slice(content: torch.Tensor, frame: Frame) -> torch.Tensor:
    size = (frame.region.height, frame.region.width)
    return F.interpolate(content.float(), size=size, mode="bilinear")[0]


PREPARATIONS = {
    "sam": Preparation(squash=False, prepare=_prepare_sam, upscale=_upscale_in_two_steps),
    "medsam": Preparation(squash=True, prepare=_prepare_medsam, upscale=_upscale_probabilities),
    "sam2": Preparation(squash=True, prepare=_prepare_sam2, upscale=_upscale_at_once),
    "medsam2": Preparation(squash=True, prepare=_prepare_medsam2, upscale=_upscale_at_once),
    "sam-med2d": Preparation(
        squash=True, prepare=_prepare_sam_med2d, upscale=_upscale_in_two_steps, mask_prompt=_sigmoid
    ),
    "lite-medsam": Preparation(
        squash=False, prepare=_prepare_lite_medsam, upscale=_upscale_in_two_steps, box=_box_on_pixels
    ),
}
"""Preprocessing name -> what it does."""
