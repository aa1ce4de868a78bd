"""A SAM of the official classes that is small enough for tests, with random weights everywhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer


def stock_sam(image_size: int = 128, seed: int = 0) -> Sam:
    """Two blocks (one with windows that need padding, one global), 64 channels; nothing of this project's in it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _build(image_size)
        with torch.no_grad():  # tables of positions start at zero and would hide mistakes
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.05)
    return network.eval().requires_grad_(False)


def _build(image_size: int) -> Sam:
    grid = image_size // 16
    encoder = ImageEncoderViT(
        img_size=image_size,
        embed_dim=64,
        depth=2,
        num_heads=2,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=5,
        global_attn_indexes=(1,),
    )
    prompts = PromptEncoder(
        embed_dim=256, image_embedding_size=(grid, grid), input_image_size=(image_size, image_size), mask_in_chans=16
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    return Sam(encoder, prompts, MaskDecoder(transformer_dim=256, transformer=transformer))


def save_stock_sam(path: Path, network: Sam | None = None) -> Path:
    """A checkpoint of the official layout."""
    torch.save((network or stock_sam()).state_dict(), path)
    return path
