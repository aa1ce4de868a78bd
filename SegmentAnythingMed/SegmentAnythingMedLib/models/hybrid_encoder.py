"""The image encoder of the built-in model, and the sizes of its network.

A small convolutional pyramid with transformer blocks at stride 16; laterals from strides 4, 8 and 16 are fused at
stride 8, and features of strides 2 and 4 are passed on for the decoder's up-scaling.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class HybridConfig:
    """Sizes of the network; stored in the checkpoint's metadata.

    Attributes:
        image_size: side of the square input in pixels, a multiple of 16.
        widths: channels at strides 2, 4, 8 and 16.
        depths: residual convolution blocks at strides 4 and 8.
        transformer_blocks: attention blocks at stride 16.
        embed_dim: channels of the image embedding, the prompt tokens and the decoder.
        skip_dims: channels of the stride-2 and stride-4 features that the decoder's up-scaling sees; (0, 0): as SAM 1.
        dense_prior: a box without a mask also becomes a mask prompt, the soft ellipse in it (``ellipse_prior``), and
            mask prompts reach the last up-scaling step at full resolution. The network starts from the best guess that
            a box allows and learns what the image adds.
        references: read what the object looked like on a slice where it is known (:mod:`.reference`).
        clicks: clicks also become maps beside the image (:mod:`.clicks`).
    """

    image_size: int = 128
    widths: tuple[int, int, int, int] = (24, 48, 96, 160)
    depths: tuple[int, int] = (2, 2)
    transformer_blocks: int = 4
    embed_dim: int = 128
    skip_dims: tuple[int, int] = (16, 32)
    dense_prior: bool = True
    references: bool = False
    clicks: bool = False

    def as_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


def _resized(position: Tensor, shape: tuple[int, int]) -> Tensor:
    """The learned position code on another grid: the network may be trained and run at other sizes than its own."""
    if tuple(position.shape[-2:]) == tuple(shape):
        return position
    return F.interpolate(position, size=tuple(shape), mode="bilinear")


class HybridEncoder(nn.Module):
    """Image encoder: grey in 0..1 -> embedding at stride 8 and skips at strides 2 and 4."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        w2, w4, w8, w16 = config.widths
        self.stem = nn.Sequential(_conv(3, w2, 2), _conv(w2, w2))
        self.stage4 = nn.Sequential(_conv(w2, w4, 2), *[_Residual(w4) for _ in range(config.depths[0])])
        self.stage8 = nn.Sequential(_conv(w4, w8, 2), *[_Residual(w8) for _ in range(config.depths[1])])
        self.down16 = _conv(w8, w16, 2)
        grid = config.image_size // 16
        self.position = nn.Parameter(torch.zeros(1, w16, grid, grid))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(_Attention(w16, max(1, w16 // 32)) for _ in range(config.transformer_blocks))
        self.norm16 = nn.LayerNorm(w16)
        self.lateral4 = nn.Conv2d(w4, config.embed_dim, 2, stride=2)
        self.lateral8 = nn.Conv2d(w8, config.embed_dim, 1)
        self.lateral16 = nn.Conv2d(w16, config.embed_dim, 1)
        self.fuse = nn.Sequential(
            _conv(config.embed_dim, config.embed_dim), nn.Conv2d(config.embed_dim, config.embed_dim, 1)
        )
        s2, s4 = config.skip_dims
        self.skip2 = nn.Conv2d(w2, s2, 1) if s2 else None
        self.skip4 = nn.Conv2d(w4, s4, 1) if s4 else None

    @staticmethod
    def standardise(image: Tensor) -> Tensor:
        """Three input channels from grey [B, 1, S, S] in 0..1.

        The value itself; the value standardised over the frame, softly clipped; the difference to a local mean. They
        make the network indifferent to the window that happens to be set.
        """
        mean = image.mean(dim=(2, 3), keepdim=True)
        deviation = image.std(dim=(2, 3), keepdim=True).clamp_min(1e-3)
        local = F.avg_pool2d(image, 9, stride=1, padding=4, count_include_pad=False)
        return torch.cat(
            [(image - 0.5) / 0.25, torch.tanh((image - mean) / (2 * deviation)) * 2, (image - local) / deviation], dim=1
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """[B, 1, S, S] in 0..1 -> ``embedding`` [B, D, S/8, S/8], ``skip2`` at S/2, ``skip4`` at S/4."""
        x2 = self.stem(self.standardise(image).contiguous(memory_format=torch.channels_last))
        x4 = self.stage4(x2)
        x8 = self.stage8(x4)
        x16 = self.down16(x8)
        x16 = x16 + _resized(self.position, x16.shape[-2:])
        batch, width, rows, cols = x16.shape
        tokens = x16.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        x16 = self.norm16(tokens).transpose(1, 2).reshape(batch, width, rows, cols)
        fused = self.lateral8(x8) + self.lateral4(x4)
        fused = fused + F.interpolate(self.lateral16(x16), size=fused.shape[-2:], mode="bilinear")
        features = {"embedding": self.fuse(fused)}
        if self.skip2 is not None:
            features["skip2"] = self.skip2(x2)
            features["skip4"] = self.skip4(x4)
        return features
