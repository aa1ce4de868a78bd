"""Contours -> masks: on the slices that they were drawn on, or on any other grid.

slice       by position along the normal; a reference to an image is checked against it, never trusted over it
inside      pixel centre inside an odd number of the plane's closed contours (holes, islands, XOR, keyholes)
open, point reported, not filled
off-slice   up to half the distance to the next slice: moved to the nearest slice, with a note; farther: listed
gaps        reported; filled by interpolation between the neighbours only when asked
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..space.volume import Volume
from .contour_planes import SAME_PLANE_MM, ContourPlane, planes_of, usual_distance
from .contours import contains, fill
from .rtstruct import Roi, StructureSet
from .slice_planes import SlicePlanes, grid_planes, stored_planes, to_volume

_OFF_SLICE = 0.1
"""Part of half the slice distance beyond which a contour is said to lie between slices."""

ON_REQUEST = "Drawn in another frame of reference; used on request."
"""Note of a region that was taken although its frame of reference is another."""

_BORDER = 0.51
"""Pixels from the outermost centres to the image's border, and a little for rounding."""


@dataclass(frozen=True, eq=False)
class RoiMask:
    """A region on a volume's grid.

    Attributes:
        roi: the region.
        mask: bool [K, J, I] of the volume.
        status: ``ok``; ``empty`` (no contour), ``not_closed`` (only points or open lines), ``outside`` (nothing lies in
            the volume), ``too_small`` (no pixel centre lies inside), ``other_frame`` (drawn in another frame of
            reference): the mask is then empty.
        notes: what was left out or moved, and why.
    """

    roi: Roi
    mask: np.ndarray
    status: str
    notes: tuple[str, ...]


def masks_on(
    structures: StructureSet,
    volume: Volume,
    names: Sequence[str | int] | None = None,
    *,
    other_frame: bool = False,
    interpolate: bool = False,
) -> list[RoiMask]:
    """Masks of regions on the grid of a volume.

    Args:
        structures: from :func:`~SegmentAnythingMedLib.files.rtstruct.read_structure_set`.
        volume: a DICOM series (contours go to its stored slices) or any other volume in the same patient space.
        names: names or numbers of the regions wanted; default: all.
        other_frame: use regions of another frame of reference as if it were the volume's. Explicit, since it is wrong
            unless somebody knows better.
        interpolate: fill gaps between contours of a region.

    Returns:
        One per region, in the file's order.

    Raises:
        InputError: ``rtstruct.frame_of_reference`` when no wanted region is in the volume's frame of reference;
            ``rtstruct.no_such_roi`` and ``rtstruct.ambiguous_roi`` for names.
    """
    rois = _chosen(structures, names)
    foreign, note = _foreign(structures, rois, volume)
    if foreign and not other_frame and len(foreign) == len(rois):
        raise InputError(
            "rtstruct.frame_of_reference",
            "The structures were drawn in another frame of reference than the image's, and refer to none of its slices;"
            " choose the image that they were drawn on, register the two, or ask for them as they are (other_frame).",
        )
    stored = stored_planes(volume)
    found = {roi.number: planes_of(roi.contours, stored.normal) for roi in rois}
    pitch = usual_distance([planes for planes, _ in found.values()])
    out = []
    for roi in rois:
        if roi.number in foreign and not other_frame:
            empty = np.zeros(volume.shape, dtype=bool)
            out.append(RoiMask(roi, empty, "other_frame", ("Drawn in another frame of reference; left out.",)))
            continue
        extra = note if roi.number not in foreign else (ON_REQUEST,)
        planes, notes = found[roi.number]
        mask, status, more = _mask(planes, stored, volume, pitch, interpolate)
        if not planes:
            status = "not_closed" if roi.contours else "empty"
        out.append(RoiMask(roi, mask, status, (*extra, *notes, *more)))
    return out


def mask_on_stored(roi: Roi, volume: Volume) -> np.ndarray:
    """A region on the stored slices of the series that a volume was read from, by position only.

    Returns:
        bool [N, rows, columns]; contours that are not parallel to the slices are left out.
    """
    stored = stored_planes(volume)
    planes, _ = planes_of(roi.contours, stored.normal)
    return _on_slices([plane for plane in planes if stored.parallel(plane.normal)], stored, volume, 0.0)[0]


def _chosen(structures: StructureSet, names: Sequence[str | int] | None) -> list[Roi]:
    if names is None:
        return list(structures.rois)
    out = []
    for wanted in names:
        found = [roi for roi in structures.rois if wanted in (roi.number, roi.name)]
        if not found:
            listed = ", ".join(repr(roi.name) for roi in structures.rois[:20])
            raise InputError("rtstruct.no_such_roi", f"Expected one of the regions {listed}, got {wanted!r}.")
        if len(found) > 1:
            numbers = ", ".join(str(roi.number) for roi in found)
            raise InputError(
                "rtstruct.ambiguous_roi", f"{len(found)} regions are named {wanted!r}; choose by number: {numbers}."
            )
        out.append(found[0])
    return out


def _foreign(structures: StructureSet, rois: Sequence[Roi], volume: Volume) -> tuple[set[int], tuple[str, ...]]:
    """Numbers of the regions of another frame of reference, and a note about all others."""
    source = volume.source
    if source is None:
        return set(), ("The image names no frame of reference; contours were placed by their coordinates.",)
    own = source.frame_of_reference_uid
    elsewhere = {roi.number for roi in rois if roi.frame_of_reference_uid not in ("", own)}
    images = set(source.sop_instance_uids)
    if structures.image_uids & images:
        # the coordinates of a contour are those of the slice it refers to, whatever the frame is called
        drawn_here = {roi.number for roi in rois if any(c.image_uid in images for c in roi.contours)}
        note = "Its frame of reference differs from the image's, but it refers to the image's own slices."
        return elsewhere - drawn_here, (note,) if elsewhere & drawn_here else ()
    if elsewhere or (own and own in structures.frame_of_reference_uids):
        return elsewhere, ("It refers to none of the image's slices; contours were placed by their coordinates.",)
    if structures.frame_of_reference_uids:
        return {roi.number for roi in rois}, ()
    return set(), ("Neither frame of reference nor slices are named; contours were placed by their coordinates.",)


def _mask(
    planes: Sequence[ContourPlane], stored: SlicePlanes, volume: Volume, pitch: float, interpolate: bool
) -> tuple[np.ndarray, str, list[str]]:
    """Mask on the volume's grid, status, notes."""
    if not planes:
        return np.zeros(volume.shape, dtype=bool), "empty", []
    if all(stored.parallel(plane.normal) for plane in planes):
        mask, notes = _on_slices(planes, stored, volume, pitch)
        if interpolate:
            notes = [note for note in notes if "have no contour" not in note] + _fill_gaps(mask, stored)
        mask = to_volume(mask, volume)
    else:
        mask = _across(planes, grid_planes(volume), pitch or 1.0)
        notes = ["The contours are not parallel to the image's slices; each stands for half the way to the next."]
    if mask.any():
        return mask, "ok", notes
    corners = np.concatenate([polygon for plane in planes for polygon in plane.polygons])
    inside = volume.contains(volume.affine.lps_to_ijk(corners)).any()
    return mask, "too_small" if inside else "outside", notes


def _on_slices(
    planes: Sequence[ContourPlane], slices: SlicePlanes, volume: Volume, pitch: float
) -> tuple[np.ndarray, list[str]]:
    """Fill contours on parallel slices: bool [N, rows, columns], notes."""
    own = volume.source is not None
    reach = slices.reach if own else np.maximum(slices.reach, pitch / 2)
    places = np.array([float(plane.centre @ slices.normal) for plane in planes])
    mask = np.zeros((len(slices.origins), *slices.shape), dtype=bool)
    if not planes:
        return mask, []
    distance = np.abs(slices.offsets[:, None] - places[None, :])
    nearest, used, cut = distance.argmin(axis=1), set(), set()
    for n in np.flatnonzero(distance.min(axis=1) <= reach + SAME_PLANE_MM).tolist():
        polygons = [slices.to_pixels(polygon, n) for polygon in planes[nearest[n]].polygons]
        mask[n] = fill(polygons, slices.shape)
        used.add(int(nearest[n]))
        beyond = [((p < -_BORDER) | (p > np.array(slices.shape[::-1]) - 1 + _BORDER)).any() for p in polygons]
        cut |= {int(nearest[n])} if any(beyond) else set()
    notes = _checked_images(planes, distance, volume)
    if cut:
        notes.append(f"{len(cut)} planes with contours reach beyond the image's border and were cut there.")
    closest, half = distance.min(axis=0), reach[distance.argmin(axis=0)] + SAME_PLANE_MM
    outside = int((closest > half).sum())
    if outside:
        notes.append(f"{outside} of {len(planes)} planes with contours lie beyond the image's slices; left out.")
    denser = len(planes) - outside - len(used)
    if denser > 0:
        notes.append(f"{denser} planes with contours lie between others that are nearer to a slice; left out.")
    between = int(((closest > _OFF_SLICE * half + SAME_PLANE_MM) & (closest <= half)).sum()) if own else 0
    if between:
        notes.append(f"{between} planes with contours lie between slices and were moved to the nearest.")
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    if len(filled) and own and (gaps := int(filled[-1] - filled[0]) + 1 - len(filled)):
        notes.append(f"{gaps} slices between the first and the last have no contour.")
    return mask, notes


def _checked_images(planes: Sequence[ContourPlane], distance: np.ndarray, volume: Volume) -> list[str]:
    if volume.source is None:
        return []
    known = {uid: n for n, uid in enumerate(volume.source.sop_instance_uids)} if not volume.source.frame_numbers else {}
    wrong = sum(
        any(uid in known and known[uid] != int(distance[:, n].argmin()) for uid in plane.images)
        for n, plane in enumerate(planes)
    )
    return (
        [f"{wrong} planes of contours refer to another slice than they lie on; the position counts."] if wrong else []
    )


def _across(planes: Sequence[ContourPlane], slices: SlicePlanes, pitch: float) -> np.ndarray:
    """Fill contours that cut the slices at an angle; every plane stands for half the way to its neighbours."""
    mask = np.zeros((len(slices.origins), *slices.shape), dtype=bool)
    rows, columns = np.arange(slices.shape[0])[:, None], np.arange(slices.shape[1])[None, :]
    for plane in planes:
        normal = plane.normal
        right = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(normal, right)], axis=1)
        flat = [polygon @ axes for polygon in plane.polygons]
        low, high = np.min([p.min(axis=0) for p in flat], axis=0), np.max([p.max(axis=0) for p in flat], axis=0)
        for n, origin in enumerate(slices.origins):
            along = origin @ normal + (slices.step_j @ normal) * rows + (slices.step_i @ normal) * columns
            row, column = np.nonzero((along > plane.offset - pitch / 2) & (along <= plane.offset + pitch / 2))
            points = (origin + row[:, None] * slices.step_j + column[:, None] * slices.step_i) @ axes
            near = ((points >= low) & (points <= high)).all(axis=1)
            row, column, points = row[near], column[near], points[near]
            if len(row):
                mask[n, row, column] |= contains(flat, points)
    return mask


def _fill_gaps(mask: np.ndarray, slices: SlicePlanes) -> list[str]:
    """Fill empty slices between filled ones, in place: the zero of the interpolated signed distance."""
    filled = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    sampling = (float(np.linalg.norm(slices.step_j)), float(np.linalg.norm(slices.step_i)))
    count = 0
    for lower, upper in pairwise(filled):
        if upper - lower < 2:
            continue
        ends = [ndimage.distance_transform_edt(mask[n], sampling) - ndimage.distance_transform_edt(~mask[n], sampling)
                for n in (lower, upper)]  # fmt: skip
        for n in range(lower + 1, upper):
            part = (slices.offsets[n] - slices.offsets[lower]) / (slices.offsets[upper] - slices.offsets[lower])
            mask[n] = ends[0] * (1 - part) + ends[1] * part > 0
            count += 1
    return [f"{count} slices without a contour were interpolated from their neighbours."] if count else []
