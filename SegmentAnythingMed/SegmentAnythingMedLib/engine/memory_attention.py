"""SAM 2's memory attention with a fourth of the work for values, exact but for rounding; for CPUs.

The memory has 64 channels, the attention works in 256: keys have to be widened, since they are rotated by their
position, but values need not be. With attention weights A (rows sum to 1), memory M, and the projections of values and
outputs, ``(A (M Wv' + bv)) Wo' + bo = (A M) (Wo Wv)' + (Wo bv + bo)``: A is multiplied with 64 columns in place of 256,
and two projections become one. On a GPU the fused attention of the original is faster.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

_MOST_SCORES = 1 << 21
"""Scores (query x key) that are held at once: 8 MiB; a seventh faster than 32 MiB for 512-pixel slices, too."""


class AbsorbedMemoryAttention:
    """Stands in for ``MemoryAttention.forward`` of a network in evaluation mode.

    Args:
        module: the official module, with its weights; it is not changed.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._outputs = []
        with torch.no_grad():
            for layer in module.layers:
                cross = layer.cross_attn_image
                weight = cross.out_proj.weight @ cross.v_proj.weight
                bias = cross.out_proj.weight @ cross.v_proj.bias + cross.out_proj.bias
                self._outputs.append((weight, bias))

    @staticmethod
    def fits(module: Any) -> bool:
        """True for the published arrangement: one head, positions added to keys only."""
        from sam2.modeling.sam.transformer import RoPEAttention

        return bool(module.batch_first and module.pos_enc_at_input) and all(
            isinstance(layer.cross_attn_image, RoPEAttention)
            and layer.cross_attn_image.num_heads == 1
            and layer.pos_enc_at_cross_attn_keys
            and not layer.pos_enc_at_cross_attn_queries
            for layer in module.layers
        )

    def __call__(
        self,
        curr: Any,
        memory: torch.Tensor,
        curr_pos: Any = None,
        memory_pos: torch.Tensor | None = None,
        num_obj_ptr_tokens: int = 0,
    ) -> torch.Tensor:
        """As the official module: features [N, B, C] of the slice with memory [M, B, D] mixed in."""
        if isinstance(curr, (list, tuple)):
            (curr,), (curr_pos,) = curr, curr_pos
        output, position = (curr + 0.1 * curr_pos).transpose(0, 1), curr_pos.transpose(0, 1)
        memory = memory.transpose(0, 1)
        keys = memory + memory_pos.transpose(0, 1)
        for layer, (weight, bias) in zip(self._module.layers, self._outputs, strict=True):
            output = layer._forward_sa(output, position)
            mixed = _attend(layer.cross_attn_image, layer.norm2(output), keys, memory, num_obj_ptr_tokens)
            output = output + F.linear(mixed, weight, bias)
            output = output + layer.linear2(layer.activation(layer.linear1(layer.norm3(output))))
        return self._module.norm(output).transpose(0, 1)


def _attend(
    attention: Any, queries: torch.Tensor, keys: torch.Tensor, memory: torch.Tensor, pointers: int
) -> torch.Tensor:
    """Memory [B, M, D] averaged with attention weights: [B, N, D]."""
    q, k = attention.q_proj(queries), attention.k_proj(keys)
    rotations = attention.freqs_cis
    if rotations.shape[0] != q.shape[-2]:
        side = round(q.shape[-2] ** 0.5)
        rotations = attention.compute_cis(end_x=side, end_y=side)
    rotations = rotations.to(q.device)
    _rotate(q, rotations)
    _rotate(k[:, : k.shape[1] - pointers], rotations)
    q, k = q * q.shape[-1] ** -0.5, k.transpose(1, 2)
    rows = max(_MOST_SCORES // k.shape[-1], 1)
    parts = [torch.softmax(part @ k, dim=-1) @ memory for part in q.split(rows, dim=1)]
    return torch.cat(parts, dim=1)


def _rotate(tokens: torch.Tensor, rotations: torch.Tensor) -> None:
    """Turn tokens [B, n * N, D] in place by their positions [N, D / 2]: n maps one behind the other.

    The original makes four copies of the keys on the way; at seven memories of 1024 pixels each is 29 MiB.
    """
    if tokens.shape[1]:
        turned = torch.view_as_complex(tokens.unflatten(-1, (-1, 2))).unflatten(1, (-1, len(rotations)))
        turned.mul_(rotations)
