"""PerSAM's additions to a mask decoder: guided attention and semantic prompting (Zhang et al., 2023, section 3.2).

The two-way transformers of SAM, SAM 2 and the built-in model have the same layers under the same names, so one piece of
code serves all. Nothing of the network is changed: a decoder with guidance is a shallow copy that shares all
parameters, so that other threads decode without guidance meanwhile.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .interface import TargetGuidance


def guided_decoder(decoder: nn.Module, guidance: TargetGuidance | None, hidden: Tensor | None = None) -> nn.Module:
    """A mask decoder that follows guidance; the decoder itself when there is none.

    Args:
        decoder: with a two-way transformer called ``transformer``.
        guidance: on the grid of the image embedding (another grid is resampled).
        hidden: see :func:`guided_network`.
    """
    guidance = guidance or TargetGuidance()
    if guidance.attention is None and guidance.embedding is None and hidden is None:
        return decoder
    return _with_part(decoder, "transformer", GuidedTransformer(decoder.transformer, guidance, hidden))


def guided_network(network: nn.Module, guidance: TargetGuidance | None, hidden: Tensor | None = None) -> nn.Module:
    """A network with its ``mask_decoder`` guided; see :func:`guided_decoder`.

    Args:
        hidden: bool [N, T], tokens that fill up shorter prompts of a batch: nothing attends to them, so that each row
            is answered as if it were alone. None: there are no such tokens.
    """
    decoder = guided_decoder(network.mask_decoder, guidance, hidden)
    return network if decoder is network.mask_decoder else _with_part(network, "mask_decoder", decoder)


def _with_part(module: nn.Module, name: str, part: nn.Module) -> nn.Module:
    changed = copy.copy(module)
    changed._modules = dict(module._modules, **{name: part})
    return changed


class GuidedTransformer(nn.Module):
    """A two-way transformer whose tokens look where the object is likely and know what it looks like."""

    def __init__(self, stock: nn.Module, guidance: TargetGuidance, hidden: Tensor | None = None) -> None:
        super().__init__()
        self.stock, self.hidden = stock, hidden
        self.attention = None if guidance.attention is None else torch.as_tensor(guidance.attention).float()
        self.embedding = None if guidance.embedding is None else torch.as_tensor(guidance.embedding).float()

    def forward(self, image_embedding: Tensor, image_pe: Tensor, point_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Arguments and results as of the transformer that it stands for.

        The object's embedding is part of the tokens' positional code in every layer too: the released code adds it in
        place to the tensor that serves as both.
        """
        rows, cols = image_embedding.shape[-2:]
        keys = image_embedding.flatten(2).permute(0, 2, 1)
        key_pe = image_pe.flatten(2).permute(0, 2, 1)
        more = 0.0 if self.embedding is None else self.embedding.to(keys.device)
        weights = self._weights(rows, cols, keys.device)
        seen = self._seen(point_embedding)
        query_pe = queries = point_embedding + more
        for number, layer in enumerate(self.stock.layers):
            queries = queries if number == 0 else queries + more
            queries, keys = _block(layer, queries, keys, query_pe, key_pe, weights, seen)
        found = self.stock.final_attn_token_to_image(q=queries + query_pe + more, k=keys + key_pe, v=keys)
        return self.stock.norm_final_attn(queries + found), keys

    def _seen(self, tokens: Tensor) -> Tensor | None:
        """Tokens that others attend to, bool [N, 1, 1, all tokens]; those of the decoder come first."""
        if self.hidden is None:
            return None
        front = tokens.shape[1] - self.hidden.shape[1]
        return ~F.pad(self.hidden, (front, 0))[:, None, None, :]

    def _weights(self, rows: int, cols: int, device: torch.device) -> Tensor | None:
        """[1, 1, 1, rows * cols], broadcast over prompts, heads and tokens."""
        if self.attention is None:
            return None
        weights = self.attention[None, None].to(device)
        if tuple(weights.shape[-2:]) != (rows, cols):
            weights = F.interpolate(weights, size=(rows, cols), mode="bilinear")
        return weights.reshape(1, 1, 1, rows * cols)


def _block(
    layer: Any,
    queries: Tensor,
    keys: Tensor,
    query_pe: Tensor,
    key_pe: Tensor,
    weights: Tensor | None,
    seen: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One block: tokens to tokens, tokens to image (guided), MLP, image to tokens."""
    if layer.skip_first_layer_pe:
        queries = _attention(layer.self_attn, queries, queries, queries, seen)
    else:
        q = queries + query_pe
        queries = queries + _attention(layer.self_attn, q, q, queries, seen)
    queries = layer.norm1(queries)
    look = layer.cross_attn_token_to_image
    q, k = queries + query_pe, keys + key_pe
    queries = queries + (look(q=q, k=k, v=keys) if weights is None else _guided_attention(look, q, k, keys, weights))
    queries = layer.norm2(queries)
    queries = layer.norm3(queries + layer.mlp(queries))
    q, k = queries + query_pe, keys + key_pe
    keys = layer.norm4(keys + _attention(layer.cross_attn_image_to_token, k, q, queries, seen))
    return queries, keys


def _attention(attention: Any, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
    """The layer's own attention; to the tokens that are ``seen`` only, where some are hidden."""
    if seen is None:
        return attention(q=q, k=k, v=v)
    mixed = F.scaled_dot_product_attention(*_projected(attention, q, k, v), attn_mask=seen)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _guided_attention(attention: Any, q: Tensor, k: Tensor, v: Tensor, weights: Tensor) -> Tensor:
    """softmax(softmax(q k / sqrt d) + weights) v: the second softmax is PerSAM's."""
    q, k, v = _projected(attention, q, k, v)
    plain = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
    mixed = torch.softmax(plain + weights, dim=-1) @ v
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _projected(attention: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [N, heads, tokens, channels of a head]."""
    q, k, v = (
        projected.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for projected in (attention.q_proj(q), attention.k_proj(k), attention.v_proj(v))
    )
    return q, k, v
