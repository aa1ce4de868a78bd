"""Mask decoders of SAM and SAM 2 for CPUs: a third of the time with the same weights, exact but for rounding.

The transformer is :mod:`.fast_two_way`. The up-scaling runs in the layout of tokens, where a transposed convolution of
stride 2 is one matrix product and a norm over channels one over the last axis, piece by piece so that it stays in the
cache; masks that nobody asked for are not computed. What depends on the slice alone is kept for the next prompts on it
(:class:`SliceState`). On request only the tokens around the prompts are up-scaled (:class:`Cells`).
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fast_two_way import FastTwoWay, Projected
from .frame import OUTSIDE_LOGIT
from .interface import SliceFeatures

_PIECE = 512
"""Image tokens that are up-scaled at once: 2 MiB at the last step."""
_WORTH_PROJECTING = 3
"""Prompts without a mask on a slice from which on its projections are made: they cost what they save in two."""
_RECENT = 4
"""Slices whose state is kept, 10 to 30 MiB each: objects and parts of one slice are asked for one after the other."""


@dataclass(frozen=True)
class Cells:
    """Rows ``row0..row1-1`` and columns ``col0..col1-1`` of the grid of image tokens."""

    row0: int
    col0: int
    row1: int
    col1: int


@dataclass(eq=False)
class SliceState:
    """What decoding needs of a slice, in the layout of tokens; N = h * w.

    Attributes:
        grid: (h, w).
        plain: image tokens float32 [N, C].
        middle: map of twice the resolution as [N, 4, C / 4], or None.
        fine: map of four times the resolution as [N, 16, C / 8], or None.
        projected: for the first block of the transformer, once it is worth it.
        asked: prompts without a mask so far.
    """

    grid: tuple[int, int]
    plain: Tensor
    middle: Tensor | None = None
    fine: Tensor | None = None
    projected: Projected | None = field(default=None, repr=False)
    asked: int = 0


class RecentStates:
    """States of the slices that were prompted last; safe to share between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[weakref.ref, SliceState]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, features: SliceFeatures, make: Callable[[SliceFeatures], SliceState]) -> SliceState:
        """The state of a slice's features, from ``make`` where it is not known; features are told by identity."""
        with self._lock:
            reference, state = self._kept.get(id(features), (None, None))
            if state is None or reference() is not features:
                state = make(features)
                self._kept[id(features)] = weakref.ref(features), state
            self._kept.move_to_end(id(features))
            while len(self._kept) > _RECENT:
                self._kept.popitem(last=False)
            return state


class FastDecoder:
    """A mask decoder of segment-anything or sam2, computed in another order.

    Args:
        stock: in evaluation mode on a CPU, float32; it is not changed.
        position: positional code of the image, [1, C, h, w].
        no_mask: embedding of "no mask prompt", [1, C].
    """

    def __init__(self, stock: Any, position: Tensor, no_mask: Tensor) -> None:
        self._stock, self._no_mask = stock, no_mask.reshape(-1)
        self._transformer = FastTwoWay(stock.transformer, _as_tokens(position[0]))
        first, second = stock.output_upscaling[0], stock.output_upscaling[3]
        self._norm = stock.output_upscaling[1]
        self._first, self._second = _as_matrix(first), _as_matrix(second)
        self._scored = bool(getattr(stock, "pred_obj_scores", False))

    @staticmethod
    def fits(stock: Any) -> bool:
        """True for the published arrangement: GELU and one norm in the up-scaling, kernels of 2 with stride 2."""
        steps = list(getattr(stock, "output_upscaling", ()))
        kinds = (nn.ConvTranspose2d, nn.Module, nn.GELU, nn.ConvTranspose2d, nn.GELU)
        return (
            len(steps) == len(kinds)
            and all(isinstance(step, kind) for step, kind in zip(steps, kinds, strict=True))
            and all(step.kernel_size == step.stride == (2, 2) and step.padding == (0, 0) for step in steps[::3])
            and hasattr(stock, "transformer")
        )

    def state(self, embedding: Tensor, fine: Tensor | None = None, middle: Tensor | None = None) -> SliceState:
        """What prompts on a slice share.

        Args:
            embedding: float32 [C, h, w].
            fine, middle: float32 [C / 8, 4 h, 4 w] and [C / 4, 2 h, 2 w] for SAM 2, else None.
        """
        return SliceState(
            grid=tuple(embedding.shape[1:]),
            plain=_as_tokens(embedding),
            middle=None if middle is None else _in_steps(middle, 1),
            fine=None if fine is None else _in_steps(fine, 2),
        )

    def predict(
        self,
        state: SliceState,
        sparse: Tensor,
        dense: Tensor | None,
        multimask_output: bool,
        cells: Cells | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks of one set of prompts.

        Args:
            state: from :meth:`state`.
            sparse: [1, T, C].
            dense: [1, C, h, w] of a mask prompt, or None without one.
            multimask_output: as in the stock decoders.
            cells: image tokens to up-scale: inside all is exact; outside is ``OUTSIDE_LOGIT``, surely background. A
                mask that reaches their border is up-scaled whole. None, and a decoder that chooses among masks by
                their stability (SAM 2), up-scale the whole map.

        Returns:
            logits float32 [1, M, 4 h, 4 w] and predicted IoU [1, M], as the stock decoders give them.
        """
        stock = self._stock
        outputs = [stock.iou_token.weight, stock.mask_tokens.weight]
        if self._scored:
            outputs.insert(0, stock.obj_score_token.weight)
        tokens = torch.cat([*outputs, sparse[0]])
        dynamic = bool(getattr(stock, "dynamic_multimask_via_stability", False)) and not multimask_output
        chosen = range(stock.num_mask_tokens) if dynamic else range(1, stock.num_mask_tokens)
        chosen = chosen if dynamic or multimask_output else range(1)
        start = 1 if self._scored else 0
        keys, projected = self._keys(state, dense)
        wanted = [start, *(start + 1 + n for n in chosen)]
        hidden, keys = self._transformer(keys, tokens, projected, wanted)
        iou = stock.iou_prediction_head(hidden[:1])[:, chosen.start : chosen.stop]
        nets = stock.output_hypernetworks_mlps
        weights = torch.cat([nets[n](one[None]) for n, one in zip(chosen, hidden[1:], strict=True)])
        masks = None if cells is None or dynamic else self._part(keys, weights, state, cells)
        masks = (self._masks(keys, weights, state) if masks is None else masks)[None]
        return stock._dynamic_multimask_via_stability(masks, iou) if dynamic else (masks, iou)

    def _keys(self, state: SliceState, dense: Tensor | None) -> tuple[Tensor, Projected | None]:
        if dense is not None:
            return state.plain + _as_tokens(dense[0]), None
        state.asked += 1
        keys = state.plain + self._no_mask
        if state.projected is None and state.asked >= _WORTH_PROJECTING:
            state.projected = self._transformer.project(keys)
        return keys, state.projected

    def _part(self, keys: Tensor, weights: Tensor, state: SliceState, cells: Cells) -> Tensor | None:
        """Logits [M, 4 h, 4 w], exact in ``cells``; None when a mask reaches their border within the map."""
        rows, cols = state.grid
        inside = torch.arange(len(keys)).view(rows, cols)[cells.row0 : cells.row1, cells.col0 : cells.col1]
        part = SliceState(
            grid=tuple(inside.shape),
            plain=keys,
            middle=None if state.middle is None else state.middle[inside.flatten()],
            fine=None if state.fine is None else state.fine[inside.flatten()],
        )
        logits = self._masks(keys[inside.flatten()], weights, part)
        edges = {
            (1, 0): cells.row0 > 0, (1, -1): cells.row1 < rows, (2, 0): cells.col0 > 0, (2, -1): cells.col1 < cols
        }  # fmt: skip
        if any(within and bool((logits.select(*edge) > 0).any()) for edge, within in edges.items()):
            return None
        whole = logits.new_full((len(weights), 4 * rows, 4 * cols), OUTSIDE_LOGIT)
        whole[:, 4 * cells.row0 : 4 * cells.row1, 4 * cells.col0 : 4 * cells.col1] = logits
        return whole

    def _masks(self, keys: Tensor, weights: Tensor, state: SliceState) -> Tensor:
        """Logits [M, 4 h, 4 w] of mask weights [M, C / 8]."""
        count, pieces = len(weights), []
        for start in range(0, len(keys), _PIECE):
            some = slice(start, start + _PIECE)
            x = F.linear(keys[some], *self._first).view(-1, 4, self._norm.weight.shape[0])
            x = x if state.middle is None else x.add_(state.middle[some])
            x = F.layer_norm(x, x.shape[-1:], self._norm.weight, self._norm.bias, self._norm.eps)
            x = F.linear(F.gelu(x), *self._second).view(x.shape[0], 16, -1)
            x = x if state.fine is None else x.add_(state.fine[some])
            pieces.append(F.gelu(x) @ weights.t())
        rows, cols = state.grid
        logits = torch.cat(pieces).view(rows, cols, 2, 2, 2, 2, count)
        return logits.permute(6, 0, 2, 4, 1, 3, 5).reshape(count, 4 * rows, 4 * cols)


def _as_tokens(maps: Tensor) -> Tensor:
    """[C, h, w] -> [h w, C], contiguous."""
    return maps.flatten(1).t().contiguous()


def _as_matrix(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Weight [4 out, in] and bias [4 out] that give a token's four sub-pixels, row by row, each with its channels."""
    weight = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.weight.shape[0])
    return weight.contiguous(), layer.bias.repeat(4)


def _in_steps(maps: Tensor, halvings: int) -> Tensor:
    """A map [C, h 2^k, w 2^k] as [h w, 4^k, C], sub-pixels in the order in which the steps of up-scaling make them."""
    channels, rows, cols = maps.shape
    rows, cols = rows >> halvings, cols >> halvings
    split = maps.view(channels, rows, *[2] * halvings, cols, *[2] * halvings)
    row_axes, col_axes = range(2, 2 + halvings), range(3 + halvings, 3 + 2 * halvings)
    steps = [axis for pair in zip(row_axes, col_axes, strict=True) for axis in pair]
    return split.permute(1, 2 + halvings, *steps, 0).reshape(rows * cols, 4**halvings, channels)
