"""SAM's network in the sizes that checkpoints have, with attention that neither wastes memory nor time on a CPU.

Layers and parameter names are those of ``segment_anything``. Only the encoder's attention is computed differently, with
equal results: PyTorch's fused attention, the relative-position bias built for a band of rows at a time. The
stock formula keeps several score tensors of 805 MB each (ViT-B, 1024 pixels); this one is twice as fast on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import nn

from ..errors import ModelError
from .preparation import PIXEL_MEAN, PIXEL_STD

PATCH = 16
PROMPT_WIDTH = 256
_BIAS_ELEMENTS = {"cpu": 1 << 24, "cuda": 1 << 27}


@dataclass(frozen=True)
class SamShape:
    """Sizes of a SAM network.

    Attributes:
        width: channels of the encoder's tokens.
        depth: number of blocks.
        heads: attention heads per block.
        image_size: side of the square input in pixels, a multiple of 16.
        window: side of a window in tokens.
        global_blocks: blocks that attend to the whole image instead of windows.
    """

    width: int
    depth: int
    heads: int
    image_size: int
    window: int
    global_blocks: tuple[int, ...]


def sam_shape(tensors: Mapping[str, torch.Tensor], file_name: str) -> SamShape:
    """Sizes told by the shapes of a checkpoint's tensors.

    Raises:
        ModelError: ``checkpoint.mismatch`` when the encoder's tensors do not make sense together.
    """
    position = tensors.get("image_encoder.pos_embed")
    rows: list[torch.Tensor] = []
    while (table := tensors.get(f"image_encoder.blocks.{len(rows)}.attn.rel_pos_h")) is not None:
        rows.append(table)
    if position is None or position.ndim != 4 or not rows or any(table.ndim != 2 for table in rows):
        raise ModelError(
            "checkpoint.mismatch",
            f"{file_name} lacks the encoder tensors of SAM (pos_embed, blocks.N.attn.rel_pos_h); "
            "give a complete SAM checkpoint.",
        )
    grid, width = int(position.shape[1]), int(position.shape[3])
    lengths = [int(table.shape[0]) for table in rows]
    windows = [length for length in lengths if length != 2 * grid - 1]
    return SamShape(
        width=width,
        depth=len(rows),
        heads=max(1, width // max(1, int(rows[0].shape[1]))),
        image_size=grid * PATCH,
        window=(windows[0] + 1) // 2 if windows else 14,
        global_blocks=tuple(index for index, length in enumerate(lengths) if length == 2 * grid - 1),
    )


def build_sam(shape: SamShape) -> Sam:
    """A SAM network with random weights, in evaluation mode on the CPU."""
    grid = shape.image_size // PATCH
    encoder = ImageEncoderViT(
        img_size=shape.image_size,
        patch_size=PATCH,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        out_chans=PROMPT_WIDTH,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=shape.window,
        global_attn_indexes=shape.global_blocks,
    )
    prompt_encoder = PromptEncoder(
        embed_dim=PROMPT_WIDTH,
        image_embedding_size=(grid, grid),
        input_image_size=(shape.image_size, shape.image_size),
        mask_in_chans=16,
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=PROMPT_WIDTH, mlp_dim=2048, num_heads=8)
    decoder = MaskDecoder(transformer_dim=PROMPT_WIDTH, transformer=transformer)
    network = Sam(encoder, prompt_encoder, decoder, list(PIXEL_MEAN), list(PIXEL_STD))
    fuse_attention(network)
    return network.eval().requires_grad_(False)


def fuse_attention(network: Sam) -> None:
    """Replace the encoder's attention layers by :class:`FusedAttention`; parameters and their names stay."""
    for block in network.image_encoder.blocks:
        if isinstance(block.attn, Attention):
            block.attn = FusedAttention(block.attn)


class FusedAttention(nn.Module):
    """Attention with decomposed relative positions, equal to SAM's (Li et al., MViTv2, section 4.1) up to rounding."""

    def __init__(self, stock: Attention) -> None:
        super().__init__()
        self.num_heads = stock.num_heads
        self.qkv, self.proj = stock.qkv, stock.proj
        self.rel_pos_h, self.rel_pos_w = stock.rel_pos_h, stock.rel_pos_w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [B, H, W, C] -> tokens [B, H, W, C]."""
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        grid = query.reshape(batch, self.num_heads, height, width, -1)
        rel_h = torch.einsum("bnhwc,hkc->bnhwk", grid, get_rel_pos(height, height, self.rel_pos_h).to(query.dtype))
        rel_w = torch.einsum("bnhwc,wkc->bnhwk", grid, get_rel_pos(width, width, self.rel_pos_w).to(query.dtype))
        limit = _BIAS_ELEMENTS.get(x.device.type, _BIAS_ELEMENTS["cpu"])
        band = max(1, min(height, limit // (batch * self.num_heads * width * height * width)))
        parts = []
        for row in range(0, height, band):
            rows = slice(row, row + band)
            bias = rel_h[:, :, rows, :, :, None] + rel_w[:, :, rows, :, None, :]
            bias = bias.reshape(batch, self.num_heads, -1, height * width)
            band_query = grid[:, :, rows].reshape(batch, self.num_heads, -1, grid.shape[-1])
            parts.append(F.scaled_dot_product_attention(band_query, key, value, attn_mask=bias.to(query.dtype)))
        mixed = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
        return self.proj(mixed.transpose(1, 2).reshape(batch, height, width, -1))
