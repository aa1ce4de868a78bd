"""The stage on which one structure is looked for: a part of the follow-up, and the prior brought onto the same grid.

The prior's image is pulled onto the follow-up's grid by a *rigid* map that fits the transform around the structure. So
slices of both visits have the same plane, spacing and pixel size, a token covers the same tissue in both, orientation
and slice thickness of the prior do not matter any more, and nothing that the deformation did changes how it looks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..engine.session import Session
from ..models.interface import PromptableModel
from ..prompts.types import SlicePrompts
from ..space.intensity import IntensityMapping
from ..space.planes import AXES
from ..space.volume import Volume
from .brightness import matched_mapping
from .transforms import VisitTransform
from .visit_settings import VisitSettings
from .warping import warp_image, warp_mask

_STEP_MM = 15.0
"""Half the length over which the transform's turn around a structure is read."""
_ROOM = 0.5
"""Room around the structure beyond the search distance, in its own in-plane size: what the model is shown around it."""


@dataclass(frozen=True, eq=False)
class Arena:
    """Both visits around one structure; masks are bool [N, H, W], slices of the follow-up's axis.

    Attributes:
        follow_up, prior: sessions on volumes of equal grid.
        window: part of the follow-up's [K, J, I] that is looked at.
        axis: voxel axis of the slices.
        warped: W, the prior's mask through the whole transform.
        rigid: the prior's mask through the rigid map: what the structure was, where it is expected.
        neighbours: warped masks of the other structures.
    """

    follow_up: Session
    prior: Session
    window: tuple[slice, slice, slice]
    axis: str
    warped: np.ndarray
    rigid: np.ndarray
    neighbours: np.ndarray

    @property
    def first(self) -> int:
        """Slice of the follow-up's whole stack that slice 0 of the arena is."""
        return self.window[AXES.index(self.axis)].start

    @property
    def spacing(self) -> np.ndarray:
        """(slice, row, column) in mm."""
        return np.array([self.follow_up.slice_spacing, *self.follow_up.pixel_spacing])

    def paste(self, masks: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Slices [N, H, W] of the arena as part of a whole array [K, J, I], zero elsewhere."""
        out = np.zeros(shape, dtype=masks.dtype)
        out[self.window] = np.moveaxis(masks, 0, AXES.index(self.axis))
        return out

    def cut(self, masks: np.ndarray) -> np.ndarray:
        """The arena's part of an array [K, J, I] as slices [N, H, W], a view."""
        return np.moveaxis(masks[self.window], AXES.index(self.axis), 0)

    def closer(self, part: tuple[slice, slice, slice]) -> Volume:
        """A part of the follow-up's volume in the arena; ``part`` is of (slices, rows, columns)."""
        volume, cut = self.follow_up.volume, [*part[1:]]
        cut.insert(AXES.index(self.axis), part[0])
        start = [one.indices(n)[0] for one, n in zip(cut, volume.shape, strict=True)]
        return replace(volume, voxels=volume.voxels[tuple(cut)], affine=volume.affine.shifted(start[::-1]))

    @property
    def corner(self) -> tuple[int, int]:
        """(row, column) of the follow-up's whole slices that pixel (0, 0) of the arena's is."""
        rows, cols = (part.start for n, part in enumerate(self.window) if n != AXES.index(self.axis))
        return rows, cols

    def cut_prompts(self, prompts: SlicePrompts) -> SlicePrompts:
        """Prompts in pixels of the follow-up's whole slice -> in pixels of the arena's."""
        (row, col), (rows, cols) = self.corner, self.follow_up.shape
        mask = None if prompts.mask is None else prompts.mask[row : row + rows, col : col + cols]
        return _moved(prompts, -col, -row, mask)

    def whole_prompts(self, prompts: SlicePrompts, shape: tuple[int, int, int]) -> SlicePrompts:
        """Prompts in pixels of the arena's slice -> of the follow-up's whole slice, for a volume of [K, J, I]."""
        (row, col), mask = self.corner, None
        if prompts.mask is not None:
            mask = np.zeros([n for a, n in enumerate(shape) if a != AXES.index(self.axis)], dtype=bool)
            mask[row : row + prompts.mask.shape[0], col : col + prompts.mask.shape[1]] = prompts.mask
        return _moved(prompts, col, row, mask)

    def close(self) -> None:
        """Forget the features of both visits."""
        self.follow_up.close()
        self.prior.close()


def _moved(prompts: SlicePrompts, x: float, y: float, mask: np.ndarray | None) -> SlicePrompts:
    box = None if prompts.box is None else tuple(float(v) for v in np.add(prompts.box, (x, y, x, y)))
    return replace(prompts, points=np.add(prompts.points, (x, y)), box=box, mask=mask, references=())


def open_arena(
    prior: Volume,
    mask: np.ndarray,
    follow_up: Volume,
    warped: np.ndarray,
    others: list[np.ndarray],
    transform: VisitTransform,
    model: PromptableModel,
    mappings: tuple[IntensityMapping, IntensityMapping],
    axis: str,
    settings: VisitSettings,
    *,
    comparable: bool = True,
) -> Arena:
    """Set the stage for one structure.

    Args:
        prior: earlier visit.
        mask: bool [K, J, I] of the prior.
        follow_up: today's visit.
        warped: bool [K, J, I] of the follow-up, not empty.
        others: warped masks of the other structures.
        transform: follow-up -> prior.
        model: for both visits.
        mappings: intensities of prior and follow-up, of the whole volumes.
        axis: ``k``, ``j`` or ``i`` of the follow-up.
        settings: how far to look.
        comparable: both visits are of one modality; then today's mapping is matched to the prior's
            (:func:`~SegmentAnythingMedLib.adaptive.brightness.matched_mapping`).
    """
    rigid_map = rigid_around(transform, warped, follow_up, mask, prior)
    rigid = warp_mask(mask, prior, follow_up, rigid_map).mask
    window = _window(warped | rigid, follow_up.spacing[::-1], AXES.index(axis), settings)
    start = [part.start for part in window]
    today = replace(
        follow_up, voxels=follow_up.voxels[window], affine=follow_up.affine.shifted(start[::-1]), source=None
    )
    before = warp_image(prior, today, rigid_map, outside=_outside(prior, mappings[0]))
    shown = mappings[1]
    if comparable:
        either, steps = (warped | rigid)[window], follow_up.spacing[::-1]
        shown = matched_mapping(mappings, before.voxels, today.voxels, either, steps)
    sessions = [
        Session(volume, model, axis=axis, window=mapping) for volume, mapping in ((today, shown), (before, mappings[0]))
    ]
    parts = [np.moveaxis(array[window], AXES.index(axis), 0).copy() for array in (warped, rigid)]
    near = np.zeros_like(parts[0])
    for other in others:
        near |= np.moveaxis(other[window], AXES.index(axis), 0)
    return Arena(*sessions, window, axis, *parts, near)


def _outside(volume: Volume, mapping: IntensityMapping) -> float:
    return float(max(float(np.nanmin(volume.voxels)), min(mapping.lower, mapping.upper)))


def _window(
    mask: np.ndarray, spacing: np.ndarray, stack_axis: int, settings: VisitSettings
) -> tuple[slice, slice, slice]:
    """Part of [K, J, I] around a mask in which the structure may be, with room around it within the slices."""
    spans = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append((int(found[0]), int(found[-1]) + 1))
    sizes = [(high - low) * step for (low, high), step in zip(spans, spacing, strict=True)]
    in_plane = max(size for axis, size in enumerate(sizes) if axis != stack_axis)
    window = []
    for axis, ((low, high), step) in enumerate(zip(spans, spacing, strict=True)):
        if axis == stack_axis:
            # twice the reach of a walk beyond the expected end, which may be taken once more
            margin = max(2 * settings.extent_mm, 6 * step, 0.5 * sizes[axis], settings.search_mm)
        else:
            margin = settings.search_mm + _ROOM * in_plane
        reach = int(np.ceil(margin / step))
        window.append(slice(max(low - reach, 0), min(high + reach, mask.shape[axis])))
    return tuple(window)


def rigid_around(
    transform: VisitTransform, warped: np.ndarray, follow_up: Volume, mask: np.ndarray, prior: Volume
) -> VisitTransform:
    """The rigid map that brings the prior's structure to where the transform has it, turned as the transform is there.

    Args:
        transform: follow-up -> prior.
        warped: bool [K, J, I] of the follow-up, not empty.
        follow_up, prior: the volumes.
        mask: bool [K, J, I] of the prior, not empty.
    """
    here, there = centre_of(warped, follow_up), centre_of(mask, prior)
    ends = transform.map_points(np.concatenate([here + _STEP_MM * np.eye(3), here - _STEP_MM * np.eye(3)]))
    slopes = ((ends[:3] - ends[3:]) / (2 * _STEP_MM)).T
    left, _, right = np.linalg.svd(slopes)
    turn = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, there - turn @ here
    return VisitTransform.from_matrix(matrix, "rigid part around a structure")


def centre_of(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """Centroid of a mask [K, J, I], not empty, in LPS mm, float64 [3]."""
    ijk = [float(np.mean(found)) for found in np.nonzero(mask)[::-1]]
    return volume.affine.ijk_to_lps(np.array([ijk]))[0]
