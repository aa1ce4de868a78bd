"""Masks into a segment: exactly the slices that are given, only where they differ, after the rules of the editor.

A write is one step of a :class:`History`, for all segments that it changed. Nothing is changed when it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...errors import InputError
from ...space.planes import AXES
from .editing import CellEditor, derived_aside, restore_derived, set_derived_aside
from .history import History, Write
from .labelmaps import GridMap, Layer, grid_of, layer_of, map_between, reference_grid
from .masking import EditRules, completed, on_other_grids, reads_from
from .painted import not_painted, painted_slices, remember, written_here
from .prompt_nodes import segment_of, tag_of
from .provenance import TAG
from .reading import check_axis, content_slices, read_plane, read_segment, read_slice
from .region import Region

__all__ = ["SegmentWriter", "WriteResult", "content_slices", "read_segment", "read_slice"]


@dataclass(frozen=True)
class WriteResult:
    """What a write did.

    Attributes:
        slices_written: slices that hold what was asked for (as far as the editor's masking allows), ascending.
        slices_protected: slices that were left alone because the user has painted there, ascending.
        voxels_changed: voxels of the segment that changed, on the segment's own grid.
        bounds: ((I0, I1), (J0, J1), (K0, K1)) half-open around the changed voxels of the volume; None for no change.
        notes: what happened otherwise than asked, in words.
    """

    slices_written: tuple[int, ...] = ()
    slices_protected: tuple[int, ...] = ()
    voxels_changed: int = 0
    bounds: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None
    notes: tuple[str, ...] = ()


class SegmentWriter:
    """Writes slices of one volume into the segments of one segmentation.

    Args:
        segmentation: in a scene, stored as a binary labelmap, under linear transforms.
        volume: whose slices are written, under linear transforms.
        history: gets a step for each write; None keeps none.
        editor: parameter node of the Segment Editor whose masking counts; None takes that of the editor's module.

    Surfaces and other derived forms of the segmentation are removed by the first write, because each write would make
    them anew; :meth:`finish` brings them back, once.
    """

    def __init__(
        self,
        segmentation: slicer.vtkMRMLSegmentationNode,
        volume: slicer.vtkMRMLScalarVolumeNode,
        history: History | None = None,
        editor: slicer.vtkMRMLSegmentEditorNode | None = None,
    ) -> None:
        self.segmentation, self.volume, self.history = segmentation, volume, history
        self._editor = editor

    def write(
        self,
        segment_id: str,
        masks: Mapping[int, np.ndarray],
        axis: str,
        *,
        overwrite_painted: bool = False,
        join: bool = False,
    ) -> WriteResult:
        """Set slices of a segment to masks.

        Args:
            segment_id: of the segment.
            masks: slice -> bool [rows, columns]; empty masks empty their slices, other slices stay as they are.
            axis: ``k``, ``j`` or ``i`` of the volume.
            overwrite_painted: also write where the user has painted, or erased what was written before.
            join: make one undo step with the write before (a propagation that arrives in parts).

        Returns:
            What was done. A write that changes nothing makes no undo step.

        Raises:
            InputError: ``segment.no_segmentation``, ``segment.missing``, ``segment.completed``,
                ``segment.representation``, ``segment.grid`` (cells too coarse), ``volume.missing``,
                ``volume.transform``, ``volume.shape`` (of a mask), ``option.axis``, ``option.slice``.
        """
        layer, grid = self._open(segment_id)
        masks = _checked(masks, grid, axis)
        protected = set()
        if not overwrite_painted:
            differing = [n for n, mask in masks.items() if not np.array_equal(mask, read_plane(layer, grid, axis, n))]
            protected = painted_slices(self.segmentation, segment_id, self.volume, axis, differing)
        masks = {index: mask for index, mask in masks.items() if index not in protected}
        region = Region.of_change(masks, axis, grid, layer)
        result = WriteResult(tuple(sorted(masks)), tuple(sorted(protected)), notes=_about_protected(protected))
        written = written_here(self.segmentation, segment_id, grid, axis)
        tags = {(segment_id, TAG): tag_of(segment_of(self.segmentation, segment_id), TAG)}
        if region is not None:
            result = self._change(segment_id, grid, region, result, tags, join)
        if masks:
            self._adopt_grid()
            grid = map_between(self.volume, self.segmentation, grid_of(self.segmentation, segment_id))
            remember(self.segmentation, segment_id, written, grid, masks)
        return result

    def finish(self) -> tuple[str, ...]:
        """Bring back the surfaces that were set aside, once, as they are now; returns the names of what was made."""
        return restore_derived(self.segmentation) if derived_aside(self.segmentation) else ()

    def _open(self, segment_id: str) -> tuple[Layer | None, GridMap]:
        layer = layer_of(self.segmentation, segment_id)
        if self.volume is None or self.volume.GetScene() is None:
            raise InputError("volume.missing", _("Expected the volume in the scene; it is not there any more."))
        if completed(self.segmentation, segment_id):
            raise InputError(
                "segment.completed",
                _(
                    "Expected a segment that is still worked on; {name} has the status Completed. Set its status to "
                    "In progress to change it."
                ).format(name=self._name(segment_id)),
            )
        return layer, map_between(self.volume, self.segmentation, grid_of(self.segmentation, segment_id))

    def _change(
        self, segment_id: str, grid: GridMap, region: Region, result: WriteResult, tags: dict, join: bool
    ) -> WriteResult:
        rules = EditRules.of(self.segmentation, self._editor)
        add, remove, notes = _masked(self.segmentation, segment_id, grid, region, rules)
        if not (add.any() or remove.any()):
            return WriteResult(result.slices_written, result.slices_protected, notes=(*result.notes, *notes))
        losers = [] if not add.any() else rules.overwritten(self.segmentation, segment_id)
        before = {
            other: cells
            for other, cells in reads_from(self.segmentation, losers, grid.to_ras, region.box).items()
            if (cells & add).any()
        }
        elsewhere = on_other_grids(self.segmentation, losers, grid.to_ras)
        notes += tuple(
            _("{name} lies on another grid of voxels and is not overwritten.").format(name=self._name(n))
            for n in elsewhere
        )
        before[segment_id] = region.now
        for other in before:
            tags[other, TAG] = tag_of(segment_of(self.segmentation, other), TAG)
        set_derived_aside(self.segmentation)
        pen = CellEditor(self.segmentation)
        with not_painted(self.segmentation, [other for other in before if other != segment_id]):
            for other, cells in before.items():
                pen.remove(other, region.box, remove if other == segment_id else cells & add)
            pen.add(segment_id, grid.to_ras, region.box, add)
        after = {other: _read(self.segmentation, other, region) for other in before}
        notes += _about_losers(self.segmentation, segment_id, before, after)
        if self.history is not None:
            if not join:
                self.history.save()
            self.history.record(Write.between(grid.to_ras, region.box, before, after), tags)
        changed = int(np.count_nonzero(after[segment_id] != before[segment_id]))
        return WriteResult(
            result.slices_written, result.slices_protected, changed, region.bounds, (*result.notes, *notes)
        )

    def _name(self, segment_id: str) -> str:
        return segment_of(self.segmentation, segment_id).GetName()

    def _adopt_grid(self) -> None:
        """A segmentation without a reference geometry takes that of the volume, as the Segment Editor does."""
        if reference_grid(self.segmentation) is None:
            self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)


def _checked(masks: Mapping[int, np.ndarray], grid: GridMap, axis: str) -> dict[int, np.ndarray]:
    place = AXES.index(check_axis(axis))
    shape = tuple(n for axis_number, n in enumerate(grid.shape) if axis_number != place)
    checked = {}
    for index, mask in masks.items():
        mask = np.asarray(mask)
        if mask.shape != shape:
            raise InputError(
                "volume.shape",
                _(
                    "Expected masks of {rows} x {columns} pixels on axis {axis}; got {shape} on slice {index}. They "
                    "belong to another volume or axis."
                ).format(rows=shape[0], columns=shape[1], axis=axis, shape=mask.shape, index=index),
            )
        if not 0 <= index < grid.shape[place]:
            raise InputError(
                "option.slice",
                _("Expected a slice 0 to {n}; got {index}.").format(n=grid.shape[place] - 1, index=index),
            )
        checked[int(index)] = mask > 0
    return checked


def _masked(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, grid: GridMap, region: Region, rules: EditRules
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Cells to give and to take, after the editor's masking; remarks about what it forbids."""
    add, remove = region.want & ~region.now, region.now & ~region.want
    notes = []
    allowed = rules.allowed(segmentation, segment_id, grid.to_ras, region.box)
    if allowed is not None:
        kept = int(np.count_nonzero((add | remove) & ~allowed))
        add, remove = add & allowed, remove & allowed
        if kept:
            notes.append(
                _("{kept} voxels are outside of the Segment Editor's editable area and stay as they are.").format(
                    kept=kept
                )
            )
    finished = rules.protected(segmentation, segment_id) if add.any() else []
    for other, cells in reads_from(segmentation, finished, grid.to_ras, region.box).items():
        kept = int(np.count_nonzero(add & cells))
        add = add & ~cells
        if kept:
            name = segmentation.GetSegmentation().GetSegment(other).GetName()
            notes.append(
                _("{kept} voxels stay with {name}, which has the status Completed.").format(kept=kept, name=name)
            )
    return add, remove, tuple(notes)


def _read(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, region: Region) -> np.ndarray:
    layer = layer_of(segmentation, segment_id)
    return np.zeros_like(region.now) if layer is None else layer.read(region.box)


def _about_protected(slices: set[int]) -> tuple[str, ...]:
    if not slices:
        return ()
    shown = ", ".join(str(n) for n in sorted(slices)[:12]) + (" ..." if len(slices) > 12 else "")
    return (_("Slices painted by you are left as they are: {shown}.").format(shown=shown),)


def _about_losers(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, before: dict, after: dict) -> tuple:
    notes = []
    for other, cells in before.items():
        lost = int(np.count_nonzero(cells & ~after[other]))
        if other != segment_id and lost:
            name = segmentation.GetSegmentation().GetSegment(other).GetName()
            notes.append(
                _("{name} lost {lost} voxels: the Segment Editor is set to overwrite other segments.").format(
                    name=name, lost=lost
                )
            )
    return tuple(notes)
