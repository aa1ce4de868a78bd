"""SAM's image encoder computed faster with the same weights and, but for rounding, the same numbers.

The modules and their parameters stay those of ``segment_anything``; only the ``forward`` of single objects is replaced,
and can be put back. What changes, by what was measured on a CPU:

- The stock formula keeps several tensors of scores of 805 MB each (ViT-B, 1024 pixels). Here scores live in one buffer
  that stays in the processor's cache, a band of query rows at a time. PyTorch's fused attention is as lean, but at half
  the speed as soon as it is given a bias.
- Nothing larger than 32 MiB is allocated: the C library returns such blocks to the system at once, and every page that
  comes back costs more than what is computed with it. So MLPs run in chunks, and queries, keys and values one by one.
- Linear layers go to oneDNN, which multiplies about a tenth faster than the library behind ``F.linear``, and applies
  GELU on the way out.
- Tokens that only pad windows are known beforehand (queries, keys and values of zeros are the biases), so they are not
  projected.

On a GPU, and in reduced precision, PyTorch's fused attention is used (:func:`fused_attention`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, Block, get_rel_pos
from torch import nn

_SCORES = 1 << 21
"""Scores (query x key) that are held at once on a CPU: 8 MiB, which stay in the cache."""
_BIAS_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 27}
_CHUNK = 1024
"""Tokens per step of an MLP: the hidden layer of ViT-H then has 20 MiB."""
_ALL = slice(None)


def accelerate_encoder(encoder: Any) -> bool:
    """Use the forms of this file in a SAM image encoder in evaluation mode; False where there is nothing to replace.

    Blocks of ``segment_anything`` are replaced as a whole; in other blocks (SAM-Med2D) attention alone.
    """
    found = False
    for block in getattr(encoder, "blocks", ()):
        attention = getattr(block, "attn", None)
        if isinstance(attention, Attention) and attention.use_rel_pos:
            attention.forward = FastAttention(attention)
            if type(block) is Block:
                block.forward = FastBlock(block)
            found = True
    return found


def restore_encoder(encoder: Any) -> None:
    """Go back to the modules' own ``forward``."""
    for block in getattr(encoder, "blocks", ()):
        for module in (block, getattr(block, "attn", None)):
            if module is not None:
                module.__dict__.pop("forward", None)


def _plain(x: torch.Tensor, attention: Attention) -> bool:
    """True where the blocked form is the faster one: float32 on a CPU without autocast; it gives no gradients."""
    learning = torch.is_grad_enabled() and (x.requires_grad or attention.qkv.weight.requires_grad)
    on_cpu = x.device.type == "cpu" and x.dtype == torch.float32
    return on_cpu and not learning and not torch.is_autocast_enabled("cpu")


@cache
def _onednn() -> Callable[..., torch.Tensor] | None:
    """PyTorch's way to oneDNN for what its compiler makes, or None.

    It is not documented, so it is tried once: where it is missing or says something else, ``F.linear`` does the work.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    x = torch.linspace(-2, 2, 64).view(8, 8)
    try:
        found = torch.ops.mkldnn._linear_pointwise(x, x, None, "gelu", [], "none")
    except (RuntimeError, AttributeError, TypeError):
        return None
    return torch.ops.mkldnn._linear_pointwise if torch.allclose(found, F.gelu(x @ x.t()), atol=1e-5) else None


class FastAttention:
    """Stands in for ``Attention.forward``: attention with decomposed relative positions (MViTv2, section 4.1).

    Args:
        module: the stock layer; it is not changed.
    """

    def __init__(self, module: Attention) -> None:
        self._module = module

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [B, H, W, C] -> tokens [B, H, W, C]."""
        if not _plain(x, self._module):
            return fused_attention(self._module, x)
        query, key, value = (project(self._module, x, part) for part in range(3))
        return linear(attend(self._module, query, key, value), self._module.proj)


class FastBlock:
    """Stands in for ``Block.forward``.

    Args:
        module: the stock block; it is not changed.
    """

    def __init__(self, module: Block) -> None:
        self._module = module

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [B, H, W, C] -> tokens [B, H, W, C]."""
        block = self._module
        if not _plain(x, block.attn):
            return Block.forward(block, x)
        normed = block.norm1(x)
        if block.window_size > 0:
            mixed = _in_windows(block.attn, normed, block.window_size)
        else:
            query, key, value = (project(block.attn, normed, part) for part in range(3))
            mixed = attend(block.attn, query, key, value)
        x = linear(mixed, block.attn.proj).add_(x)
        rows = x.view(-1, x.shape[-1])
        for part in rows.split(_CHUNK):
            part.add_(_mlp(block.mlp, block.norm2(part)))
        return x


def linear(x: torch.Tensor, layer: nn.Linear, rows: slice = _ALL, gelu: bool = False) -> torch.Tensor:
    """A linear layer, or some rows of it, and GELU after it.

    Args:
        x: float32 [..., C] on the CPU.
        layer: its weights are read where they are.
        rows: of the weights.
        gelu: apply the exact GELU.
    """
    weight, bias = layer.weight[rows], None if layer.bias is None else layer.bias[rows]
    onednn = _onednn()
    if onednn is not None:
        return onednn(x, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else "")
    return F.gelu(F.linear(x, weight, bias)) if gelu else F.linear(x, weight, bias)


def _mlp(mlp: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if not (isinstance(mlp.act, nn.GELU) and mlp.act.approximate == "none"):
        return mlp(x)
    return linear(linear(x, mlp.lin1, gelu=True), mlp.lin2)


def project(attention: Attention, x: torch.Tensor, part: int) -> torch.Tensor:
    """Queries (0), keys (1) or values (2) of tokens [..., C]."""
    width = x.shape[-1]
    return linear(x, attention.qkv, slice(part * width, (part + 1) * width))


def attend(attention: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Values mixed by attention.

    Args:
        attention: the stock layer.
        query, key, value: float32 [B, H, W, C] on the CPU.

    Returns:
        float32 [B, H, W, C], before the last projection.
    """
    batch, height, width, channels = query.shape
    heads, tokens = attention.num_heads, height * width
    size = channels // heads
    out = torch.empty(batch, tokens, heads, size)
    tables = _tables(attention, height, width)
    band = max(1, min(height, _SCORES // (width * tokens)))
    group = max(1, min(heads, _SCORES // (band * width * tokens)))
    scores = torch.empty(group * band * width * tokens)
    for image in range(batch):
        q = query[image].reshape(tokens, heads, size).transpose(0, 1)
        k = key[image].reshape(tokens, heads, size).permute(1, 2, 0)
        v = value[image].reshape(tokens, heads, size).transpose(0, 1)
        rel_h, rel_w = _relative(q, *tables)
        for first in range(0, heads, group):
            some = slice(first, min(first + group, heads))
            for row in range(0, height, band):
                rows = slice(row, min(row + band, height))
                which = slice(rows.start * width, rows.stop * width)
                q_part = q[some, which]
                here = scores[: q_part.shape[0] * q_part.shape[1] * tokens].view(*q_part.shape[:2], tokens)
                bias = here.view(q_part.shape[0], -1, width, height, width)
                torch.add(rel_h[some, rows, :, :, None], rel_w[some, rows, :, None, :], out=bias)
                here.baddbmm_(q_part, k[some], alpha=size**-0.5)
                torch.softmax(here, dim=-1, out=here)
                out[image, which, some] = torch.bmm(here, v[some]).transpose(0, 1)
    return out.view(batch, height, width, channels)


def _tables(attention: Attention, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return get_rel_pos(height, height, attention.rel_pos_h), get_rel_pos(width, width, attention.rel_pos_w)


def _relative(q: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the row and the column of a key add to the score of a query: [heads, H, W, H] and [heads, H, W, W]."""
    height, width = rows.shape[0], cols.shape[0]
    grid = q.reshape(q.shape[0], height, width, -1)
    return grid @ rows.transpose(1, 2), torch.einsum("nhwc,wkc->nhwk", grid, cols)


def _in_windows(attention: Attention, x: torch.Tensor, window: int) -> torch.Tensor:
    """Attention within windows of a map [B, H, W, C] that is padded at bottom and right; gives [B, H, W, C]."""
    batch, height, width, channels = x.shape
    tall, wide = -(-height // window), -(-width // window)
    padded = (batch, tall * window, wide * window, channels)
    parts = []
    for part in range(3):
        projected = project(attention, x, part)
        if padded != tuple(x.shape):
            bias = attention.qkv.bias
            fill = 0.0 if bias is None else bias[part * channels : (part + 1) * channels]
            whole = torch.empty(padded)
            whole[:, height:] = fill
            whole[:, :height, width:] = fill
            whole[:, :height, :width] = projected
            projected = whole
        windows = projected.view(batch, tall, window, wide, window, channels).transpose(2, 3)
        parts.append(windows.reshape(-1, window, window, channels))
    mixed = attend(attention, *parts).view(batch, tall, wide, window, window, channels).transpose(2, 3)
    return mixed.reshape(padded)[:, :height, :width]


def fused_attention(attention: Attention, x: torch.Tensor) -> torch.Tensor:
    """The layer through PyTorch's fused attention, the bias built for a band of rows at a time.

    Args:
        attention: the stock layer.
        x: tokens [B, H, W, C] on any device, under autocast or not.
    """
    batch, height, width, _ = x.shape
    heads = attention.num_heads
    qkv = attention.qkv(x).reshape(batch, height * width, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = qkv.unbind(0)
    grid = query.reshape(batch, heads, height, width, -1)
    rows, cols = (table.to(query.dtype) for table in _tables(attention, height, width))
    rel_h = torch.einsum("bnhwc,hkc->bnhwk", grid, rows)
    rel_w = torch.einsum("bnhwc,wkc->bnhwk", grid, cols)
    limit = _BIAS_ELEMENTS.get(x.device.type, _BIAS_ELEMENTS["cpu"])
    band = max(1, min(height, limit // (batch * heads * width * height * width)))
    parts = []
    for row in range(0, height, band):
        some = slice(row, row + band)
        bias = rel_h[:, :, some, :, :, None] + rel_w[:, :, some, :, None, :]
        bias = bias.reshape(batch, heads, -1, height * width)
        band_query = grid[:, :, some].reshape(batch, heads, -1, grid.shape[-1])
        parts.append(F.scaled_dot_product_attention(band_query, key, value, attn_mask=bias.to(query.dtype)))
    mixed = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
    return attention.proj(mixed.transpose(1, 2).reshape(batch, height, width, -1))
