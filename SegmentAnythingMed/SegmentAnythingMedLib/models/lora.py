"""Low-rank fine-tunings (Hu et al., 2022) of SAM's image encoder, merged into the weights that they change.

A low-rank layer computes ``W x + B (A x)``, which is ``(W + B A) x``: merged once, it costs nothing when it runs. Two
ways of naming the factors are published: micro-sam's (``attn.qkv.qkv_proj``, ``w_a_linear_q``; later also of the MLP)
and that of Sam_LoRA and SAMed (``attn.qkv.qkv``, ``linear_a_q``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from ..errors import ModelError

_ATTENTION = re.compile(r"(.+\.attn\.qkv)\.(?:qkv_proj|qkv)\.(weight|bias)")
_MLP = re.compile(r"(.+\.mlp)\.mlp_layer\.(lin[12]\.(?:weight|bias))")
_FACTOR = re.compile(r"(.+\.(?:attn\.qkv|mlp))\.(?:w_)?(?:(?:(a|b)_linear)|(?:linear_(a|b)))_([qkv12])\.weight")
_ALONE = re.compile(r"w_[ab]_\d{3}")


def is_low_rank(tensors: Mapping[str, torch.Tensor]) -> bool:
    """True for a complete SAM whose image encoder carries low-rank factors beside its weights."""
    return any(_FACTOR.fullmatch(name) for name in tensors)


def is_low_rank_alone(tensors: Mapping[str, torch.Tensor]) -> bool:
    """True for factors that were saved without the network that they belong to."""
    return any(_ALONE.fullmatch(name) for name in tensors)


def merge_low_rank(tensors: Mapping[str, torch.Tensor], file_name: str) -> dict[str, torch.Tensor]:
    """The same network with the factors merged and SAM's own names.

    Args:
        tensors: of a checkpoint for which :func:`is_low_rank` is true; not changed.
        file_name: for messages.

    Raises:
        ModelError: ``checkpoint.mismatch`` when a factor lacks its partner or its weight, or does not fit it.
    """
    merged: dict[str, torch.Tensor] = {}
    factors: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        factor, attention, mlp = (pattern.fullmatch(name) for pattern in (_FACTOR, _ATTENTION, _MLP))
        if factor:
            layer, which = factor[1], factor[4]
            factors.setdefault((layer, which), {})[factor[2] or factor[3]] = tensor
        elif attention:
            merged[f"{attention[1]}.{attention[2]}"] = tensor
        elif mlp:
            merged[f"{mlp[1]}.{mlp[2]}"] = tensor
        else:
            merged[name] = tensor
    for (layer, which), pair in factors.items():
        target = f"{layer}.lin{which}.weight" if which in "12" else f"{layer}.weight"
        merged[target] = _added(merged.get(target), which, pair, f"{layer} {which}", file_name)
    return merged


def merge_alone(
    tensors: Mapping[str, torch.Tensor], base: Mapping[str, torch.Tensor], file_name: str, base_name: str
) -> dict[str, torch.Tensor]:
    """A network with factors merged that were saved without it: ``w_a_000``, ``w_b_000`` for the query of block 0, ...

    Args:
        tensors: the factors, two pairs per block (query, value), and parts of the network that were trained with them.
        base: the network; not changed.
        file_name, base_name: for messages.

    Raises:
        ModelError: ``checkpoint.mismatch`` when the factors do not fit the network.
    """
    merged = {**base, **{name: tensor for name, tensor in tensors.items() if not _ALONE.fullmatch(name)}}
    count = sum(name.startswith("w_a_") for name in tensors if _ALONE.fullmatch(name))
    depth = sum(name.endswith(".attn.qkv.weight") for name in base)
    if count != 2 * depth or len(merged) != len(base):
        raise ModelError(
            "checkpoint.mismatch",
            f"{file_name} holds {count} pairs of low-rank factors and {len(merged) - len(base)} tensors that "
            f"{base_name} lacks; {depth} blocks need {2 * depth} pairs (query and value of each) and nothing else. "
            "Check that both files belong together.",
        )
    for number in range(count):
        target = f"image_encoder.blocks.{number // 2}.attn.qkv.weight"
        pair = {part: tensors[f"w_{part}_{number:03d}"] for part in "ab" if f"w_{part}_{number:03d}" in tensors}
        merged[target] = _added(merged.get(target), "qv"[number % 2], pair, f"pair {number}", file_name)
    return merged


def _added(
    weight: torch.Tensor | None, which: str, pair: Mapping[str, torch.Tensor], layer: str, file_name: str
) -> torch.Tensor:
    """``weight`` with ``B A`` added to the rows of query, key or value, or to all of an MLP's."""
    down, up = pair.get("a"), pair.get("b")
    complete = weight is not None and down is not None and up is not None and weight.ndim == down.ndim == up.ndim == 2
    rows = slice(None)
    if complete and which in "qkv":
        width = weight.shape[0] // 3
        start = "qkv".index(which) * width
        rows = slice(start, start + width)
    if not complete or up.shape[1] != down.shape[0] or weight[rows].shape != (up.shape[0], down.shape[1]):
        raise ModelError(
            "checkpoint.mismatch",
            f"The low-rank factors of {layer} in {file_name} are incomplete or do not fit the weights they change; "
            "give the checkpoint as it was saved by its training.",
        )
    result = weight.float().clone()
    result[rows] += up.float() @ down.float()
    return result
