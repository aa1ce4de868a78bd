"""TinyViT (Wu et al., 2022) as image encoder: MobileSAM (Zhang et al., 2023) and LiteMedSAM (Ma et al., 2024).

Parameter names are those of the published checkpoints. Sizes are told by the tensors; what they do not tell (channels
per head, where the resolution is halved) is fixed by the design.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from torch import nn

from ..errors import ModelError
from .preparation import PIXEL_MEAN, PIXEL_STD
from .sam_network import PROMPT_WIDTH

HEAD_WIDTH = 32
_ENCODER = "image_encoder."


@dataclass(frozen=True)
class TinyShape:
    """Sizes of a TinyViT.

    Attributes:
        image_size: side of the square input in pixels.
        stem_stride: of each of the two convolutions that make tokens of pixels: 2 (MobileSAM) or 1 (LiteMedSAM).
        widths: channels of the four stages.
        depths: blocks of the four stages.
        windows: side of the windows of stages 1 to 3, in tokens.
        classes: outputs of the classifier that MobileSAM's checkpoint still carries; 0 for none.
    """

    image_size: int
    stem_stride: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    windows: tuple[int, ...]
    classes: int = 0

    @property
    def grid(self) -> int:
        """Tokens per side of the result: two of the three steps between stages halve the resolution."""
        return self.image_size // self.stem_stride**2 // 4


class ConvNorm(nn.Sequential):
    """Convolution ``c`` and batch normalisation ``bn``."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(outputs))


class _Stem(nn.Module):
    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        width, stride = shape.widths[0], shape.stem_stride
        kernel = 3 if stride == 2 else 1
        self.seq = nn.Sequential(
            ConvNorm(3, width // 2, kernel, stride), nn.GELU(), ConvNorm(width // 2, width, kernel, stride)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.seq(x)


class _ConvBlock(nn.Module):
    """Inverted bottleneck of the first stage."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        wide = width * expansion
        self.conv1 = ConvNorm(width, wide)
        self.conv2 = ConvNorm(wide, wide, 3, groups=wide)
        self.conv3 = ConvNorm(wide, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class _Merging(nn.Module):
    """Step between stages."""

    def __init__(self, width: int, wider: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, wider)
        self.conv2 = ConvNorm(wider, wider, 3, stride, groups=wider)
        self.conv3 = ConvNorm(wider, wider)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class _Attention(nn.Module):
    """Attention within a window, with a learned bias per absolute offset of row and column."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(self.heads, window * window))
        place = torch.arange(window * window)
        rows, cols = place // window, place % window
        offsets = (rows[:, None] - rows[None]).abs() * window + (cols[:, None] - cols[None]).abs()
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, count, width = x.shape
        parts = self.qkv(self.norm(x)).reshape(batch, count, self.heads, 3, HEAD_WIDTH)
        query, key, value = parts.permute(3, 0, 2, 1, 4).unbind(0)
        bias = self.attention_biases[:, self.offsets].to(query.dtype)[None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, width))


class _Mlp(nn.Module):
    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, width * expansion)
        self.fc2 = nn.Linear(width * expansion, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class _WindowBlock(nn.Module):
    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(width, window)
        self.mlp = _Mlp(width)
        self.local_conv = ConvNorm(width, width, 3, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.local_conv(x + self._attend(x))
        tokens = self.mlp(x.flatten(2).transpose(1, 2))
        return x + tokens.transpose(1, 2).reshape(x.shape)

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C, H, W] -> [B, C, H, W], in windows of a map padded with zeros at bottom and right."""
        batch, width, height, length = x.shape
        side = self.window
        padded = F.pad(x, (0, -length % side, 0, -height % side))
        rows, cols = padded.shape[2] // side, padded.shape[3] // side
        windows = padded.reshape(batch, width, rows, side, cols, side).permute(0, 2, 4, 3, 5, 1)
        attended = self.attn(windows.reshape(-1, side * side, width))
        attended = attended.reshape(batch, rows, cols, side, side, width).permute(0, 5, 1, 3, 2, 4)
        return attended.reshape(padded.shape)[:, :, :height, :length]


class _Stage(nn.Module):
    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """The image encoder; see the module's text."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        self.img_size = shape.image_size
        self.patch_embed = _Stem(shape)
        last = len(shape.widths) - 1
        self.layers = nn.ModuleList()
        for index, (width, depth) in enumerate(zip(shape.widths, shape.depths, strict=True)):
            blocks = [
                _ConvBlock(width) if index == 0 else _WindowBlock(width, shape.windows[index - 1]) for _ in range(depth)
            ]
            # the last step keeps the resolution: SAM wants 64 tokens per side
            step = None if index == last else _Merging(width, shape.widths[index + 1], 1 if index == last - 1 else 2)
            self.layers.append(_Stage(blocks, step))
        if shape.classes:  # not used: they are in the published file
            self.norm_head = nn.LayerNorm(shape.widths[-1])
            self.head = nn.Linear(shape.widths[-1], shape.classes)
        self.neck = nn.Sequential(
            nn.Conv2d(shape.widths[-1], PROMPT_WIDTH, 1, bias=False),
            LayerNorm2d(PROMPT_WIDTH),
            nn.Conv2d(PROMPT_WIDTH, PROMPT_WIDTH, 3, padding=1, bias=False),
            LayerNorm2d(PROMPT_WIDTH),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images float32 [B, 3, S, S] -> embeddings [B, 256, grid, grid]."""
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)


def tiny_shape(tensors: Mapping[str, torch.Tensor], image_size: int, file_name: str) -> TinyShape:
    """Sizes told by the shapes of a checkpoint's tensors.

    Raises:
        ModelError: ``checkpoint.mismatch`` when the encoder's tensors do not make sense together.
    """
    stem = tensors.get(f"{_ENCODER}patch_embed.seq.0.c.weight")
    widths, depths, windows = [], [], []
    for stage in range(4):
        prefix = f"{_ENCODER}layers.{stage}.blocks."
        depths.append(len({name.split(".")[4] for name in tensors if name.startswith(prefix)}))
        first = tensors.get(f"{prefix}0.conv1.c.weight" if stage == 0 else f"{prefix}0.attn.proj.weight")
        widths.append(0 if first is None else int(first.shape[1 if stage == 0 else 0]))
        if stage > 0:
            biases = tensors.get(f"{prefix}0.attn.attention_biases")
            windows.append(0 if biases is None or biases.ndim != 2 else math.isqrt(biases.shape[1]))
    if stem is None or not all((*widths, *depths, *windows)) or any(width % HEAD_WIDTH for width in widths):
        raise ModelError(
            "checkpoint.mismatch",
            f"{file_name} lacks tensors of TinyViT's four stages (layers.N.blocks.M.*); give a complete checkpoint.",
        )
    head = tensors.get(f"{_ENCODER}head.weight")
    return TinyShape(
        image_size=image_size,
        stem_stride=2 if stem.shape[-1] == 3 else 1,
        widths=tuple(widths),
        depths=tuple(depths),
        windows=tuple(windows),
        classes=0 if head is None else int(head.shape[0]),
    )


def build_tiny_vit(shape: TinyShape) -> Sam:
    """A SAM with a TinyViT encoder and random weights, in evaluation mode on the CPU."""
    prompt_encoder = PromptEncoder(
        embed_dim=PROMPT_WIDTH,
        image_embedding_size=(shape.grid, shape.grid),
        input_image_size=(shape.image_size, shape.image_size),
        mask_in_chans=16,
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=PROMPT_WIDTH, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoder(transformer_dim=PROMPT_WIDTH, transformer=transformer)
    network = Sam(TinyViT(shape), prompt_encoder, decoder, list(PIXEL_MEAN), list(PIXEL_STD))
    return network.eval().requires_grad_(False)
