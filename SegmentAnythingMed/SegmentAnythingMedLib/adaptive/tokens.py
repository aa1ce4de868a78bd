"""From a mask of a slice to the tokens of the object and of what is around it.

Two rules say which cells of the token grid belong to a mask. ``published`` is that of P2SAM's released code (Zhao et
al., 2025): a cell counts when at least three of its four central pixels do, so that a nodule of 10 mm may have none.
``area`` looks at the whole cell and never loses a mask that the view shows. All masks here are in shown pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..errors import InputError
from ..models.frame import Frame, Region
from .one_shot import Reference

HALF, QUARTER = 0.5, 0.25
FEWEST = 4
"""Tokens below which the area rule is relaxed."""
MODES = ("area", "published")


@dataclass(frozen=True, eq=False)
class TokenPool:
    """Tokens of the references.

    Attributes:
        foreground: float32 [N, C], of the object.
        background: float32 [M, C], of what is around it.
    """

    foreground: np.ndarray
    background: np.ndarray


def foreground_cells(mask: np.ndarray, frame: Frame, shape: tuple[int, int], mode: str = "area") -> np.ndarray:
    """Cells of the token grid that belong to a mask.

    Args:
        mask: bool [H, W] in shown pixels.
        frame: of the view.
        shape: (rows, columns) of the token grid.
        mode: ``area``: at least half of the cell is covered; where that gives fewer than ``FEWEST`` cells, a quarter;
            where that is not enough either, the ``FEWEST`` cells that are covered most. ``published``: see the module.

    Returns:
        bool [h, w]. Under ``area`` empty only for a mask of which the view shows nothing.

    Raises:
        InputError: ``option.token_rule``.
    """
    if mode == "published":
        return _central_pixels(mask, frame, shape)
    if mode != "area":
        raise InputError("option.token_rule", f"Expected the token rule area or published, got {mode!r}.")
    share = covered(mask, frame, shape)
    for least in (HALF, QUARTER):
        cells = share >= least
        if np.count_nonzero(cells) >= FEWEST:
            return cells
    most = np.argsort(-share, axis=None, kind="stable")[:FEWEST]
    cells = np.zeros(share.size, dtype=bool)
    cells[most[share.flat[most] > 0]] = True
    return cells.reshape(share.shape)


def background_cells(
    mask: np.ndarray, frame: Frame, shape: tuple[int, int], valid: np.ndarray, mode: str = "area", reach: float = np.inf
) -> np.ndarray:
    """Cells of the token grid that show what is around a mask.

    Args:
        mask, frame, shape: see :func:`foreground_cells`.
        valid: bool [h, w], cells that show the slice.
        mode: ``published``: all that are not foreground, padding included, as in the released code. ``area``: valid
            cells of which less than a quarter is covered.
        reach: how far around the mask, in longer sides of its box, cells counted (``area`` only). Far air is no help.
    """
    if mode == "published":
        return ~foreground_cells(mask, frame, shape, mode)
    share = covered(mask, frame, shape)
    cells = valid & (share < QUARTER) & ~foreground_cells(mask, frame, shape, mode)
    if not np.isfinite(reach) or not share.any():
        return cells
    near = np.zeros_like(cells)
    rows, cols = np.flatnonzero(share.any(axis=1)), np.flatnonzero(share.any(axis=0))
    grow = int(np.ceil(reach * max(rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1)))
    near[max(rows[0] - grow, 0) : rows[-1] + grow + 1, max(cols[0] - grow, 0) : cols[-1] + grow + 1] = True
    return cells & near if (cells & near).any() else cells


def covered(mask: np.ndarray, frame: Frame, shape: tuple[int, int]) -> np.ndarray:
    """Part of each cell of the token grid that a mask covers, float64 [h, w], 0..1; exact, whatever the scale."""
    region, (height, width) = frame.region, frame.slice_shape
    # below the region and right of it lies padding, not the slice
    touched_rows = np.flatnonzero(mask[: max(min(region.row1, height), 0)].any(axis=1))
    touched_cols = np.flatnonzero(mask[:, : max(min(region.col1, width), 0)].any(axis=0))
    if not len(touched_rows) or not len(touched_cols):
        return np.zeros(shape)
    down, across = (slice(one[0], one[-1] + 1) for one in (touched_rows, touched_cols))
    tall, wide = frame.size / shape[0] / frame.scale[1], frame.size / shape[1] / frame.scale[0]  # a cell in pixels
    row_edges = region.row0 + tall * np.arange(shape[0] + 1) - down.start
    col_edges = region.col0 + wide * np.arange(shape[1] + 1) - across.start
    in_rows = _sums_between(row_edges, mask[down, across])
    return np.clip(_sums_between(col_edges, in_rows.T).T / (tall * wide), 0.0, 1.0)


def _sums_between(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of values [N, M] from each edge (in rows, fractions of a row count in part) to the next, [edges - 1, M]."""
    upto = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=upto[1:])
    at = np.clip(edges, 0, len(values))
    low = np.minimum(at.astype(np.int64), len(values) - 1)
    return np.diff(upto[low] + (at - low)[:, None] * (upto[low + 1] - upto[low]), axis=0)


def _central_pixels(mask: np.ndarray, frame: Frame, shape: tuple[int, int]) -> np.ndarray:
    """The rule of the released code, step for step.

    The mask is resized like the image (8 bits, bilinear), padded, freed of its mid-range and sampled bilinearly at the
    cells' centres; a cell is foreground above zero. Of a mask that fills an unpadded input nothing is left, therefore.
    """
    patch = Image.fromarray(np.where(_cut(mask, frame.region), 255, 0).astype(np.uint8))
    resized = np.array(patch.resize((frame.content[1], frame.content[0]), Image.Resampling.BILINEAR), dtype=np.float32)
    whole = torch.zeros(1, 1, frame.size, frame.size)
    whole[0, 0, : frame.content[0], : frame.content[1]] = torch.from_numpy(resized)
    whole -= (whole.max() + whole.min()) / 2
    return (F.interpolate(whole, size=tuple(shape), mode="bilinear")[0, 0] > 0).numpy()


def _cut(mask: np.ndarray, region: Region) -> np.ndarray:
    """The region of a mask, False beyond the slice's edge."""
    height, width = mask.shape
    out = np.zeros((region.height, region.width), dtype=bool)
    r0, r1, c0, c1 = max(region.row0, 0), min(region.row1, height), max(region.col0, 0), min(region.col1, width)
    if r0 < r1 and c0 < c1:
        out[r0 - region.row0 : r1 - region.row0, c0 - region.col0 : c1 - region.col0] = mask[r0:r1, c0:c1]
    return out


def pool_tokens(
    references: Sequence[Reference], mode: str = "area", reach: float = np.inf, standardised: bool = False
) -> TokenPool:
    """Tokens of all references together.

    Args:
        references: at least one.
        mode, reach: see :func:`foreground_cells` and :func:`background_cells`.
        standardised: those of ``View.standardised`` instead of the raw ones.
    """
    inside, outside = [], []
    for reference in references:
        seen = reference.view
        tokens = seen.standardised if standardised else seen.tokens
        mask, shape = seen.show(reference.mask), tokens.shape[:2]
        inside.append(tokens[foreground_cells(mask, seen.frame, shape, mode)])
        outside.append(tokens[background_cells(mask, seen.frame, shape, seen.valid, mode, reach)])
    return TokenPool(np.concatenate(inside), np.concatenate(outside))


def spread_out(tokens: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` tokens [N, C], evenly from the first to the last (they come row by row, view by view)."""
    if len(tokens) <= most:
        return tokens
    return tokens[np.floor((np.arange(most) + 0.5) * len(tokens) / most).astype(np.int64)]
