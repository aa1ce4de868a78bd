"""Which slices a figure shows, which part of them, and how the panels are arranged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..prompts.types import SlicePrompts

PAGE_WIDTH, PAGE_HEIGHT = 14.0, 10.5
WIDEST, NARROWEST = 5.0, 1.5
GAP, LINE = 0.08, 0.155
CONTEXT = 0.35
"""Surroundings shown on each side of the objects, as a fraction of their size."""

LEAST_CONTEXT_MM = 12.0


@dataclass(frozen=True)
class Window:
    """Rectangle of pixels shown in every panel, half open: rows row0..row1-1, columns col0..col1-1."""

    row0: int
    col0: int
    row1: int
    col1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the part of a slice [H, W]."""
        return slice(self.row0, self.row1), slice(self.col0, self.col1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) in plane coordinates, rows downward, as matplotlib wants it."""
        return self.col0 - 0.5, self.col1 - 0.5, self.row1 - 0.5, self.row0 - 0.5


@dataclass(frozen=True)
class Grid:
    """Arrangement of panels in inches.

    Attributes:
        columns: panels in a row.
        rows: rows of panels.
        width: width of an image.
        height: height of an image.
        caption: height of the text under it.
    """

    columns: int
    rows: int
    width: float
    height: float
    caption: float

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) of all panels."""
        return self.columns * (self.width + GAP) + GAP, self.rows * (self.height + self.caption + GAP) + GAP


def choose_slices(wanted: Iterable[int], important: Iterable[int], count: int, most: int) -> list[int]:
    """Slices to show: the important ones, and the others evenly thinned to ``most``.

    Args:
        wanted: slices with a mask, a record or a prompt; the middle slice stands in when there are none.
        important: those that are kept first (seeds, ends, stops).
        count: slices of the stack; others are ignored.
        most: bound, at least 1.

    Returns:
        Sorted slices.
    """
    pool = sorted({n for n in wanted if 0 <= n < count}) or [count // 2]
    if len(pool) <= most:
        return pool
    kept = sorted(set(important) & set(pool))
    if len(kept) >= most:
        return _thinned(kept, most)
    others = [n for n in pool if n not in set(kept)]
    return sorted([*kept, *_thinned(others, most - len(kept))])


def _thinned(values: Sequence[int], most: int) -> list[int]:
    return [values[n] for n in np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))]


def choose_window(
    masks: Iterable[np.ndarray],
    prompts: Iterable[SlicePrompts],
    shape: tuple[int, int],
    pixel_spacing: tuple[float, float],
) -> Window:
    """The part of the slices around all masks and prompts; the whole slice when there are none.

    Args:
        masks: bool [H, W] each.
        prompts: in plane coordinates.
        shape: (rows, columns).
        pixel_spacing: (row, column) in mm.
    """
    corners = [xy for mask in masks for xy in _mask_corners(mask)]
    for given in prompts:
        corners += [tuple(point) for point in np.asarray(given.points).reshape(-1, 2)]
        corners += [given.box[:2], given.box[2:]] if given.box is not None else []
        corners += _mask_corners(given.mask) if given.mask is not None else []
    if not corners:
        return Window(0, 0, *shape)
    (x0, y0), (x1, y1) = np.min(corners, axis=0), np.max(corners, axis=0)
    size_mm = max((x1 - x0) * pixel_spacing[1], (y1 - y0) * pixel_spacing[0])
    context = max(CONTEXT * size_mm, LEAST_CONTEXT_MM)
    dx, dy = context / pixel_spacing[1], context / pixel_spacing[0]
    col0, col1 = _within(x0 - dx, x1 + dx, shape[1])
    row0, row1 = _within(y0 - dy, y1 + dy, shape[0])
    return Window(row0, col0, row1, col1)


def _mask_corners(mask: np.ndarray) -> list[tuple[float, float]]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    return [(float(columns[0]), float(rows[0])), (float(columns[-1]), float(rows[-1]))]


def _within(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels from low to high within 0..size, at least one."""
    first = int(np.clip(np.floor(low), 0, size - 1))
    return first, int(np.clip(np.ceil(high) + 1, first + 1, size))


def arrange(count: int, aspect: float, lines: int) -> Grid:
    """The arrangement with the largest panels on a page.

    Args:
        count: panels.
        aspect: height / width of a panel in mm.
        lines: lines of text under each.
    """
    caption, best = lines * LINE + 0.04, None
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        width = min(WIDEST, (PAGE_WIDTH - GAP) / columns - GAP)
        width = min(width, ((PAGE_HEIGHT - GAP) / rows - GAP - caption) / aspect)
        if width > 0 and (best is None or width > best.width + 1e-9):
            best = Grid(columns, rows, width, width * aspect, caption)
    if best is None or best.width < NARROWEST:
        columns = min(count, int(PAGE_WIDTH / (NARROWEST + GAP)))
        best = Grid(columns, -(-count // columns), NARROWEST, NARROWEST * aspect, caption)
    return best
