"""The two-way transformer of SAM's mask decoders with less than half of the work, exact but for rounding.

Image tokens are many (4096) and prompt tokens few (about 7). So the projections of image tokens are moved to the side
of the prompt tokens: with keys X, the scores of a head are ``(X Wk') q = X (Wk' q)``, its outputs ``(A (X Wv')) Wo' =
(A X) (Wo Wv)'``, and what an image token gets back is ``A (v Wo')``. What a score gains equally for all keys (the bias
of the keys) falls out of the softmax, and since attention weights sum to 1, the bias of the outputs can ride on one
head's values. Above some 16 prompt tokens projecting the image would be as fast; such prompts are rare.

What the first block reads of an image without a mask prompt depends on the slice alone; its projections can be kept for
all prompts and objects of the slice (:class:`Projected`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Projected:
    """Projections of a slice's tokens for the first block, heads first.

    Attributes:
        keys: [H, d, N]; values: [H, N, d]: of the attention of prompt tokens to the image.
        queries: [H, N, d]: of the attention of image tokens to prompts.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


class FastTwoWay:
    """Stands in for ``TwoWayTransformer`` of segment-anything or sam2, for one set of prompts on one image.

    Args:
        stock: in evaluation mode; it is not changed.
        position: positional code of the image tokens, [N, C].
    """

    def __init__(self, stock: Any, position: Tensor) -> None:
        self._stock, self._position = stock, position

    def project(self, keys: Tensor) -> Projected:
        """What the first block needs of image tokens [N, C]."""
        block = self._stock.layers[0]
        look, answer = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        placed = keys + self._position
        return Projected(
            keys=_heads(look.k_proj(placed), look.num_heads).transpose(1, 2).contiguous(),
            values=_heads(look.v_proj(keys), look.num_heads).contiguous(),
            queries=_heads(answer.q_proj(placed), answer.num_heads).contiguous(),
        )

    def __call__(
        self, keys: Tensor, tokens: Tensor, projected: Projected | None = None, wanted: list[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Image tokens [N, C] and prompt tokens [T, C] -> (prompt tokens [T, C], image tokens [N, C]).

        Args:
            keys, tokens: float32 on the CPU.
            projected: from :meth:`project`, of the same image tokens.
            wanted: prompt tokens that are asked for (the last look at the image is taken for these only), or None.
        """
        queries = tokens
        for number, block in enumerate(self._stock.layers):
            first = projected if number == 0 else None
            placed = None if first is not None else keys + self._position
            queries = self._read(block, queries, tokens, keys, placed, first)
            keys = self._write(block, queries, tokens, keys, placed, first)
        last = self._stock.final_attn_token_to_image
        if wanted is not None:
            queries, tokens = queries[wanted], tokens[wanted]
        found = _look(last, queries + tokens, keys, keys + self._position)
        return self._stock.norm_final_attn(queries + found), keys

    @staticmethod
    def _read(
        block: Any, queries: Tensor, tokens: Tensor, keys: Tensor, placed: Tensor | None, projected: Projected | None
    ) -> Tensor:
        """Prompt tokens after they looked at each other and at the image."""
        q = queries if block.skip_first_layer_pe else queries + tokens
        own = block.self_attn(q=q[None], k=q[None], v=queries[None])[0]
        queries = block.norm1(own if block.skip_first_layer_pe else queries + own)
        look, q = block.cross_attn_token_to_image, queries + tokens
        found = _look(look, q, keys, placed) if projected is None else _look_projected(look, q, projected)
        queries = block.norm2(queries + found)
        return block.norm3(queries + block.mlp(queries))

    @staticmethod
    def _write(
        block: Any, queries: Tensor, tokens: Tensor, keys: Tensor, placed: Tensor | None, projected: Projected | None
    ) -> Tensor:
        """Image tokens after they looked at the prompt tokens."""
        answer = block.cross_attn_image_to_token
        heads, size = answer.num_heads, answer.internal_dim // answer.num_heads
        k = _heads(answer.k_proj(queries + tokens), heads) * size**-0.5
        if projected is None:
            weight = answer.q_proj.weight.view(heads, size, -1)
            bias = k @ answer.q_proj.bias.view(heads, size, 1)
            scores = torch.addmm(bias.reshape(-1, 1), (k @ weight).flatten(0, 1), placed.t())
        else:
            scores = torch.bmm(k, projected.queries.transpose(1, 2)).flatten(0, 1)
        count = len(tokens)
        attention = torch.softmax(scores.view(heads, count, -1), dim=1).flatten(0, 1)
        back = _heads(answer.v_proj(queries), heads) @ answer.out_proj.weight.view(-1, heads, size).permute(1, 2, 0)
        back[0] += answer.out_proj.bias
        return block.norm4(torch.addmm(keys, attention.t(), back.flatten(0, 1)))


def _heads(x: Tensor, heads: int) -> Tensor:
    """[N, H d] -> [H, N, d]."""
    return x.view(x.shape[0], heads, -1).transpose(0, 1)


def _look(attention: Any, q: Tensor, keys: Tensor, placed: Tensor) -> Tensor:
    """Prompt tokens [T, C] look at image tokens [N, C]; ``placed`` are those with their positional code."""
    heads, size = attention.num_heads, attention.internal_dim // attention.num_heads
    q = _heads(attention.q_proj(q), heads) * size**-0.5
    scores = (q @ attention.k_proj.weight.view(heads, size, -1)).flatten(0, 1) @ placed.t()
    seen = (torch.softmax(scores, dim=-1) @ keys).view(heads, q.shape[1], -1)
    values = torch.baddbmm(
        attention.v_proj.bias.view(heads, 1, size), seen, attention.v_proj.weight.view(heads, size, -1).transpose(1, 2)
    )
    return attention.out_proj(values.transpose(0, 1).flatten(1))


def _look_projected(attention: Any, q: Tensor, projected: Projected) -> Tensor:
    heads, size = attention.num_heads, attention.internal_dim // attention.num_heads
    q = _heads(attention.q_proj(q), heads) * size**-0.5
    values = torch.softmax(q @ projected.keys, dim=-1) @ projected.values
    return attention.out_proj(values.transpose(0, 1).flatten(1))
