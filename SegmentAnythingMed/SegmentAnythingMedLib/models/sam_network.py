"""SAM's network in the sizes that checkpoints have, from the modules of ``segment_anything``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from ..errors import ModelError
from .preparation import PIXEL_MEAN, PIXEL_STD

PATCH = 16
PROMPT_WIDTH = 256


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
    return network.eval().requires_grad_(False)
