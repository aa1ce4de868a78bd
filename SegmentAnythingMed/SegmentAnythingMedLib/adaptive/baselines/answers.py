"""What the baselines share: the cells of all references, where points may lie, and a result in stored pixels.

As everywhere in this package the methods work in shown pixels (see ``views``); only :func:`answer` turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...models.interface import SlicePrediction
from ...prompts.types import Box, SlicePrompts
from ..one_shot import CandidateRow, OneShotResult, Reference, no_points
from ..prompting import Limits
from ..tokens import covered, foreground_cells
from ..views import View

BATCH = 16
"""Prompts that are decoded together."""


@dataclass(frozen=True, eq=False)
class PooledCells:
    """The valid cells of all references.

    Attributes:
        tokens: float32 [R, C], raw.
        share: float64 [R], part of the cell that the object covers, 0..1.
        foreground: bool [R], cells that count as the object's; none when no view shows anything of it.
    """

    tokens: np.ndarray
    share: np.ndarray
    foreground: np.ndarray


def pooled_cells(references: Sequence[Reference], *, touched: bool = False) -> PooledCells:
    """Cells of all references together; ``touched`` counts every cell that the object covers at all (Matcher)."""
    tokens, share, foreground = [], [], []
    for reference in references:
        seen = reference.view
        mask, shape = seen.show(reference.mask), seen.tokens.shape[:2]
        part = covered(mask, seen.frame, shape)
        inside = part > 0 if touched else foreground_cells(mask, seen.frame, shape)
        kept = seen.valid | inside
        tokens.append(seen.tokens[kept])
        share.append(part[kept])
        foreground.append(inside[kept])
    return PooledCells(np.concatenate(tokens), np.concatenate(share), np.concatenate(foreground))


def allowed_pixels(
    target: View, restrict: np.ndarray | None, box: Box | None = None, avoid: np.ndarray | None = None
) -> np.ndarray:
    """Where positive points may lie, bool [H, W] in shown pixels; see ``OneShotMethod.segment`` (stored pixels)."""
    return Limits.on(target, restrict, box, avoid).positive


def cell_centres(target: View) -> np.ndarray:
    """(x, y) of the centres of the token grid's cells in shown pixels, float64 [h, w, 2]."""
    rows, cols = target.tokens.shape[:2]
    size = target.frame.size
    ys, xs = (np.arange(rows) + 0.5) * size / rows - 0.5, (np.arange(cols) + 0.5) * size / cols - 0.5
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)
    return target.frame.from_network(grid.reshape(-1, 2)).reshape(rows, cols, 2)


def usable_cells(target: View, allowed: np.ndarray) -> np.ndarray:
    """Cells whose centre lies on an allowed pixel [H, W] (shown), bool [h, w]."""
    at = np.rint(cell_centres(target)).astype(np.int64)
    rows, cols = allowed.shape
    inside = (at[..., 0] >= 0) & (at[..., 0] < cols) & (at[..., 1] >= 0) & (at[..., 1] < rows)
    at = np.clip(at, 0, (cols - 1, rows - 1))
    return target.valid & inside & allowed[at[..., 1], at[..., 0]]


def map_in_pixels(target: View, values: np.ndarray) -> np.ndarray:
    """A map [h, w] over the network's input in shown pixels, float32 [H, W]; very negative outside the view."""
    return target.frame.restore(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None])[0]


def decoded_in_batches(target: View, prompts: Sequence[SlicePrompts]) -> Iterator[SlicePrediction]:
    """Single masks for many prompts, ``BATCH`` at a time: their logits in slice pixels are not kept all at once."""
    for start in range(0, len(prompts), BATCH):
        yield from target.decode_many(prompts[start : start + BATCH])


def answer(
    target: View,
    logits: np.ndarray,
    *,
    points: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    distance: float = float("nan"),
    predicted_iou: float = float("nan"),
    candidates: Sequence[CandidateRow] = (),
    decodes: int = 0,
    avoid: np.ndarray | None = None,
) -> OneShotResult:
    """A result in stored pixels.

    Args:
        target: the view.
        logits: float32 [H, W] in shown pixels.
        points: (x, y) [N, 2] in shown pixels.
        labels, distance, predicted_iou, candidates, decodes: of the result.
        avoid: bool [H, W] in stored pixels, taken from the mask.
    """
    stored = target.store(logits).astype(np.float32, copy=False)
    mask = stored > 0
    if avoid is not None:
        mask &= ~np.asarray(avoid, dtype=bool)
    if points is None or labels is None:
        stored_points, labels = no_points()
    else:
        stored_points = target.store_points(points)
    return OneShotResult(
        mask=mask,
        logits=stored,
        points=stored_points,
        labels=labels,
        distance=distance,
        predicted_iou=predicted_iou,
        n_positive=int(np.count_nonzero(labels == 1)),
        n_negative=int(np.count_nonzero(labels == 0)),
        candidates=list(candidates),
        empty=not mask.any(),
        decodes=decodes,
    )
