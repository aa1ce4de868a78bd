"""The image encoder of SAM-Med2D (Cheng et al., 2023): SAM's, with an adapter beside the MLP of every block.

Parameter names are those of the published checkpoints (``blocks.N.Adapter.*``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.image_encoder import Block, window_partition, window_unpartition
from torch import nn

from ..errors import ModelError
from .sam_network import build_sam, sam_shape


class Adapter(nn.Module):
    """What SAM-Med2D adds to a block: channels are weighted by their means, then mixed locally at half resolution.

    Args:
        width: channels of the tokens.
        hidden: channels of the bottleneck that weighs the channels.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, kernel_size=4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [B, H, W, C] -> tokens [B, H, W, C]; H and W are even."""
        weighted = x * self.channel(x.mean(dim=(1, 2)))[:, None, None]
        return self.norm(x + self.spatial(weighted.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class AdaptedBlock(nn.Module):
    """A block of SAM's image encoder with an adapter; parameters of the block keep their names."""

    def __init__(self, stock: Block, adapter: Adapter) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = stock.norm1, stock.attn, stock.norm2, stock.mlp
        self.window_size = stock.window_size
        self.Adapter = adapter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [B, H, W, C] -> tokens [B, H, W, C]."""
        attended = self.norm1(x)
        if self.window_size > 0:
            windows, padded = window_partition(attended, self.window_size)
            attended = window_unpartition(self.attn(windows), self.window_size, padded, tuple(x.shape[1:3]))
        else:
            attended = self.attn(attended)
        x = x + attended
        normed = self.norm2(x)
        return x + self.mlp(normed) + self.Adapter(normed)


def build_sam_med2d(tensors: Mapping[str, torch.Tensor], file_name: str) -> Sam:
    """A SAM-Med2D network of the sizes that a checkpoint's tensors tell, with random weights, for evaluation.

    Raises:
        ModelError: ``checkpoint.mismatch`` when the tensors do not make sense together.
    """
    shape = sam_shape(tensors, file_name)
    narrow = tensors.get("image_encoder.blocks.0.Adapter.channel.0.weight")
    if narrow is None or narrow.ndim != 2 or shape.image_size % 32:
        raise ModelError(
            "checkpoint.mismatch",
            f"{file_name} lacks the adapters of SAM-Med2D (blocks.N.Adapter.channel.0.weight), or has an odd number of "
            "tokens per side; give the checkpoint as it was published.",
        )
    network = build_sam(shape)
    blocks = network.image_encoder.blocks
    for index, block in enumerate(blocks):
        blocks[index] = AdaptedBlock(block, Adapter(shape.width, narrow.shape[0]))
    return network.eval().requires_grad_(False)
