"""Which slices of a segment hold something that this module did not write: painted, erased or there before.

Of every slice that was written a hash of its content is kept in the provenance of the segment, on the grid it was
written on. A slice counts as painted when its content is another one now; one that was never written, when it has
content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import slicer

from ...space.affine import Affine
from ...space.planes import AXES
from ...space.volume import GRID_TOLERANCE
from .labelmaps import GridMap, Layer, grid_map, grid_of, layer_of, map_between, read_voxels
from .provenance import Written, read_provenance, store_written
from .reading import check_axis, read_plane, whole

EMPTY = "-"
FOREIGN = "!"
"""Stands for the hash of a slice whose content is the user's, also when it is empty."""


def slice_hash(mask: np.ndarray) -> str:
    """Hash of a mask's content, 16 hex digits; ``-`` when it is empty."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return EMPTY
    part = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    place = f"{mask.shape}{rows[0]},{cols[0]},{part.shape}"
    return hashlib.blake2b(place.encode() + np.packbits(part).tobytes(), digest_size=8).hexdigest()


def painted_slices(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume: slicer.vtkMRMLVolumeNode,
    axis: str,
    slices: Iterable[int] | None = None,
) -> set[int]:
    """Slices whose content is not what was last written there by this module.

    Args:
        segmentation: in a scene.
        segment_id: of the segment.
        volume: on whose grid slices are counted; it may be another one than the segment was written on.
        axis: ``k``, ``j`` or ``i``.
        slices: those that are asked about; None is all.

    Returns:
        Slices that the user painted or erased, and slices with content that was there before the first write. None of
        a segment that is wholly empty: the user begins anew.

    Raises:
        InputError: ``segment.*``, ``volume.*``, ``option.axis``.
    """
    layer = layer_of(segmentation, segment_id)
    grid = map_between(volume, segmentation, grid_of(segmentation, segment_id))
    written = written_here(segmentation, segment_id, grid, axis)
    asked = None if slices is None else {int(n) for n in slices}
    return _painted(written, layer, grid, asked)


def painted_on_record(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> set[int]:
    """Painted slices on the grid and axis that the segment was written on last, whatever volume is shown now.

    Raises:
        InputError: ``segment.*``.
    """
    record = read_provenance(segmentation, segment_id).written
    layer = layer_of(segmentation, segment_id)
    if record is None or layer is None or layer.empty:
        return set()
    return _painted(record, layer, grid_of_record(record, layer), None)


def written_here(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, grid: GridMap, axis: str) -> Written:
    """What was written to a segment, by slices of ``axis`` on ``grid``.

    A record from another grid or axis is carried over: slices are known by their present content, except those that
    cross a painted slice of the record. What was written to a segment that is empty now does not count any more.
    """
    check_axis(axis)
    record = read_provenance(segmentation, segment_id).written
    here = Written(axis, grid.shape, grid.to_ras @ grid.to_cells, grid.to_cells)
    layer = layer_of(segmentation, segment_id)
    if record is None or layer is None or layer.empty:
        return here
    if record.axis == axis and _same_grid(record, here):
        return replace(here, hashes=record.hashes)
    return _carried_over(record, here, layer, grid)


def remember(
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    written: Written,
    grid: GridMap,
    slices: Iterable[int],
) -> None:
    """Take the present content of slices for what this module has written, and keep it in the provenance.

    Args:
        segmentation: in a scene.
        segment_id: of the segment.
        written: from :func:`written_here`, asked for before the write.
        grid: of ``written``.
        slices: that were written.
    """
    layer = layer_of(segmentation, segment_id)
    hashes = dict(written.hashes)
    for index in slices:
        hashes[int(index)] = slice_hash(read_plane(layer, grid, written.axis, index))
    store_written(segmentation, segment_id, replace(written, hashes=hashes))


@contextmanager
def not_painted(segmentation: slicer.vtkMRMLSegmentationNode, ids: Iterable[str]) -> Iterator[None]:
    """What a block does to some segments is not the user's painting: slices that were as written are so after it.

    Args:
        segmentation: in a scene.
        ids: segments that may lose voxels to another one.
    """
    clean = []
    for segment_id in ids:
        record = read_provenance(segmentation, segment_id).written
        layer = layer_of(segmentation, segment_id)
        if record is not None and layer is not None:
            grid = grid_of_record(record, layer)
            here = replace(record, to_ras=grid.to_ras @ grid.to_cells, to_cells=grid.to_cells)
            clean.append((segment_id, here, grid, set(record.hashes) - _painted(record, layer, grid, None)))
    yield
    for segment_id, record, grid, slices in clean:
        remember(segmentation, segment_id, record, grid, slices)


def grid_of_record(record: Written, layer: Layer) -> GridMap:
    """Where the slices of a record lie among the cells of a segment now.

    Their place in space counts; when a transform was hardened into the segmentation since, their place among the cells.
    Which of both it is tells the content: the one on which fewer slices have changed.
    """
    in_space = grid_map(record.shape, record.to_ras, layer.to_ras)
    among_cells = grid_map(record.shape, layer.to_ras @ record.to_cells, layer.to_ras)
    if np.allclose(in_space.to_cells, among_cells.to_cells, atol=1e-4):
        return in_space
    return min((in_space, among_cells), key=lambda grid: len(_painted(record, layer, grid, None)))


def _painted(written: Written, layer: Layer | None, grid: GridMap, asked: set[int] | None) -> set[int]:
    count = written.shape[AXES.index(written.axis)]
    if asked is None:
        asked = set(range(count))
        content = _content(layer, grid, written.axis)
        asked &= content | set(written.hashes)
    return {
        index
        for index in asked
        if written.hashes.get(index, EMPTY) != slice_hash(read_plane(layer, grid, written.axis, index))
    }


def _content(layer: Layer | None, grid: GridMap, axis: str) -> set[int]:
    """Slices that the layer may have something on: those that its extent crosses."""
    if layer is None:
        return set()
    place = "ijk".index(axis)
    to_voxels = np.linalg.inv(grid.to_cells)
    corners = np.array([[i, j, k] for i in layer.box[0] for j in layer.box[1] for k in layer.box[2]], dtype=float)
    position = (corners - 0.5) @ to_voxels[place, :3] + to_voxels[place, 3]
    first, last = int(np.floor(position.min())), int(np.ceil(position.max()))
    return set(range(max(first, 0), min(last + 1, grid.shape[AXES.index(axis)])))


def _same_grid(one: Written, other: Written) -> bool:
    if tuple(one.shape) != tuple(other.shape):
        return False
    pairs = ((one.to_ras, other.to_ras), (one.to_cells, other.to_cells))
    return any(_close(Affine(first), Affine(second), one.shape) for first, second in pairs)


def _close(one: Affine, other: Affine, shape: tuple[int, int, int]) -> bool:
    return one.displacement(other, shape) <= GRID_TOLERANCE * float(one.spacing.min())


def _carried_over(record: Written, here: Written, layer: Layer, grid: GridMap) -> Written:
    painted = _painted(record, layer, grid_of_record(record, layer), None)
    present = read_voxels(layer, grid, whole(grid.shape))
    crossed = _crossed_slices(record, here, present)
    hashes = {}
    for index in range(here.shape[AXES.index(here.axis)]):
        cut = present[(slice(None),) * AXES.index(here.axis) + (index,)]
        if painted and painted & crossed(index):
            hashes[index] = FOREIGN
        elif cut.any():
            hashes[index] = slice_hash(cut)
    return replace(here, hashes=hashes)


def _crossed_slices(record: Written, here: Written, present: np.ndarray) -> Callable[[int], set[int]]:
    """A function: slice here -> slices of the record that it crosses where the segment may be."""
    step = np.linalg.inv(record.to_ras) @ here.to_ras
    place, old = "ijk".index(here.axis), "ijk".index(record.axis)
    bounds = []
    for n in range(3):
        filled = np.flatnonzero(present.any(axis=tuple(axis for axis in range(3) if axis != 2 - n)))
        bounds.append((int(filled[0]), int(filled[-1])) if len(filled) else (0, present.shape[2 - n] - 1))

    def crossed(index: int) -> set[int]:
        """Slices of the record that a slice here goes through."""
        ranges = [(index, index) if n == place else bounds[n] for n in range(3)]
        corners = np.array([[i, j, k] for i in ranges[0] for j in ranges[1] for k in ranges[2]], dtype=float)
        position = corners @ step[old, :3] + step[old, 3]
        return set(range(int(np.floor(position.min() + 0.5)), int(np.floor(position.max() + 0.5)) + 1))

    return crossed
