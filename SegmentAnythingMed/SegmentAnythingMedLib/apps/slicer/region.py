"""The part of a segment that a write may change: slices of the volume brought to the cells of the segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from slicer.i18n import tr as _

from ...errors import InputError
from ...space.affine import Affine
from ...space.planes import AXES
from ...space.volume import Volume, map_mask
from .labelmaps import Box, GridMap, Layer
from .reading import read_plane

COARSEST = 1.5
"""Largest step from cell to cell, in voxels, that masks are brought to; a coarser segmentation is refused."""
LEAST_DICE = 0.9
"""A mask that overlaps less than this with itself after the way to the segment's cells and back is refused."""
_TIE = 1e-6
"""A cell just between two voxels takes the lower one, and a voxel just between two cells the upper one (``map_mask``):
so that what is written to a grid that is half a voxel off is read at the same place."""
_LEAVE, _OUT, _IN = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Region:
    """A box of cells, as they are and as they are wanted.

    Attributes:
        box: half-open ranges of cells.
        now: bool [K, J, I], cells of the segment.
        want: the same after the write.
        bounds: half-open ranges of voxels of the volume that change.
        exact: True where cells and voxels coincide.
    """

    box: Box
    now: np.ndarray
    want: np.ndarray
    bounds: Box
    exact: bool

    @classmethod
    def of_change(cls, masks: Mapping[int, np.ndarray], axis: str, grid: GridMap, layer: Layer | None) -> Region | None:
        """The smallest box that holds every change of some slices, or None when nothing changes.

        Args:
            masks: slice -> bool [rows, columns].
            axis: of the slices.
            grid: of the volume in the segment.
            layer: of the segment, None when it is empty.

        Raises:
            InputError: ``segment.grid`` when the cells are too coarse for the masks.
        """
        before = {index: read_plane(layer, grid, axis, index) for index in masks}
        changed = {index: mask for index, mask in masks.items() if not np.array_equal(mask, before[index])}
        if not changed:
            return None
        bounds = _bounds([changed[index] ^ before[index] for index in changed], sorted(changed), axis)
        if grid.offset is not None:
            box, plan = grid.cells(bounds), _plan(changed, axis, bounds)
        else:
            _check_coarseness(grid)
            around = _bounds([changed[index] | before[index] for index in changed], sorted(changed), axis)
            box, plan = _to_cells(_plan(changed, axis, around), around, grid)
        shape = tuple(high - low for low, high in box[::-1])
        now = np.zeros(shape, dtype=bool) if layer is None else layer.read(box)
        want = np.where(plan == _LEAVE, now, plan == _IN)
        if grid.offset is None:
            _check_way_back(changed, axis, want, box, grid)
        return cls(box, now, want, bounds, grid.offset is not None)


def _bounds(planes: list[np.ndarray], indices: list[int], axis: str) -> Box:
    """Ranges of voxels around the True pixels of some slices."""
    filled = np.logical_or.reduce(planes)
    rows, cols = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    in_plane = [(int(rows[0]), int(rows[-1]) + 1), (int(cols[0]), int(cols[-1]) + 1)]
    kji = in_plane[:]
    kji.insert(AXES.index(axis), (indices[0], indices[-1] + 1))
    return tuple(kji[::-1])


def _plan(masks: Mapping[int, np.ndarray], axis: str, bounds: Box) -> np.ndarray:
    """What is to become of every voxel of a box, uint8 [K, J, I]."""
    plan = np.full(tuple(high - low for low, high in bounds[::-1]), _LEAVE, dtype=np.uint8)
    place = AXES.index(axis)
    start = bounds[2 - place][0]
    in_plane = tuple(slice(*bounds[2 - n]) for n in range(3) if n != place)
    for index, mask in masks.items():
        plan[(slice(None),) * place + (index - start,)] = np.where(mask[in_plane], _IN, _OUT)
    return plan


def _to_cells(plan: np.ndarray, bounds: Box, grid: GridMap) -> tuple[Box, np.ndarray]:
    """A plan of voxels as one of cells: every cell takes the voxel that it lies in."""
    corners = np.array([[i, j, k] for i in bounds[0] for j in bounds[1] for k in bounds[2]], dtype=float) - 0.5
    cells = corners @ grid.to_cells[:3, :3].T + grid.to_cells[:3, 3]
    low, high = np.floor(cells.min(axis=0)).astype(int), np.ceil(cells.max(axis=0)).astype(int) + 1
    box = tuple((int(a), int(b)) for a, b in zip(low, high, strict=True))
    voxels = Volume(plan, Affine(grid.to_cells).shifted([low + _TIE for low, _high in bounds]))
    shape = tuple(b - a for a, b in box[::-1])
    here = Volume(np.broadcast_to(np.False_, shape), Affine(np.eye(4)).shifted(low))
    return box, map_mask(plan, voxels, here)


def _check_coarseness(grid: GridMap) -> None:
    step = float(np.linalg.norm(np.linalg.inv(grid.to_cells)[:3, :3], axis=0).max())
    if step > COARSEST:
        raise _too_coarse(_("one of its voxels is {step:.1f} voxels of the volume long").format(step=step))


def _too_coarse(why: str) -> InputError:
    return InputError(
        "segment.grid",
        _(
            "Expected a segmentation that can hold masks of this volume; its own voxels are too coarse: {why}. Give "
            "it the geometry of the volume (Segment Editor, Specify geometry), or use a new segmentation."
        ).format(why=why),
    )


def _check_way_back(masks: Mapping[int, np.ndarray], axis: str, want: np.ndarray, box: Box, grid: GridMap) -> None:
    cells = Volume(want, Affine(np.eye(4)).shifted([low for low, _high in box]))
    same = size = 0
    for index, mask in masks.items():
        if not mask.any():
            continue
        bounds = _bounds([mask], [index], axis)
        shape = tuple(high - low for low, high in bounds[::-1])
        there = Volume(np.broadcast_to(np.False_, shape), Affine(grid.to_cells).shifted([low for low, _high in bounds]))
        back = map_mask(want, cells, there)
        asked = _plan({index: mask}, axis, bounds) == _IN
        same += int(np.count_nonzero(back & asked))
        size += int(np.count_nonzero(back) + np.count_nonzero(asked))
    if 2 * same < LEAST_DICE * size:
        raise _too_coarse(_("the masks would keep a Dice of {dice:.2f} only").format(dice=2 * same / size))
