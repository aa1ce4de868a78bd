"""Drafts -> an RTSTRUCT file that refers to the original series, read back and compared before it counts as written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..progress import Progress
from ..space.volume import Volume
from .atomic import atomic_path
from .contours import area, keyholes, trace
from .drafts import Draft, Origin, Written, check_drafts, unique_names
from .mask_agreement import check_agreement
from .rtstruct import read_structure_set
from .rtstruct_dataset import Region, build_dataset
from .rtstruct_masks import mask_on_stored
from .slice_planes import SlicePlanes, stored_planes, to_stored

HOLES = {
    "separate": "Holes are contours of their own (even-odd); some viewers fill them.",
    "keyhole": "Holes are joined to their outer contour by a bridge of no width.",
    "xor": "Contours of structures with holes are CLOSEDPLANAR_XOR.",
}
"""How holes are written, and what to tell the user about it."""

_VOLUME_CHANGE = 0.05


def write_rtstruct(
    path: str | os.PathLike[str],
    volume: Volume,
    drafts: Sequence[Draft],
    origin: Origin | None = None,
    *,
    holes: str = "separate",
    progress: Progress | None = None,
) -> Written:
    """Write structures as an unapproved RTSTRUCT.

    Contours run along pixel edges, at the position of each stored slice, so that areas, holes and islands of one pixel
    are kept exactly; tilted and uneven series get them on their true slices.

    Args:
        path: file to write; appears whole or not at all.
        volume: the DICOM series that was segmented (:func:`~SegmentAnythingMedLib.files.dicom.read_series`).
        drafts: structures with masks on the volume's grid.
        origin: model and mode, and the structure set that this one follows.
        holes: one of :data:`HOLES`.
        progress: told of every structure.

    Returns:
        What was written, and how well it was read back.

    Raises:
        InputError: ``option.holes``; ``rtstruct.no_series``, ``rtstruct.no_uids``, ``rtstruct.no_frame_of_reference``,
            ``rtstruct.nothing_to_write``, ``rtstruct.algorithm``, ``volume.shape``; ``dicom.source_gone`` when the
            series was moved; ``rtstruct.verification`` when reading back gives something else; ``output.*``.
        Cancelled: through ``progress``.
    """
    if holes not in HOLES:
        raise InputError("option.holes", f"Expected one of {', '.join(HOLES)}, got {holes!r}.")
    check_drafts(drafts, volume, "rtstruct")
    regions, given, empty, notes = _regions(volume, drafts, holes, progress)
    dataset = build_dataset(volume.source, regions, origin or Origin())
    with atomic_path(path, ".dcm") as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
        agreement = _read_back(temporary, volume, regions, given)
    return Written(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        names=tuple(region.name for region in regions),
        empty=tuple(empty),
        dice=min(overlap for overlap, _ in agreement),
        edge_px=max(edge for _, edge in agreement),
        notes=tuple(notes),
    )


def _regions(
    volume: Volume, drafts: Sequence[Draft], holes: str, progress: Progress | None
) -> tuple[list[Region], list[np.ndarray], list[str], list[str]]:
    """Structures as contours, their masks on the stored slices, names of empty ones, notes."""
    planes, names = stored_planes(volume), unique_names([draft.name for draft in drafts])
    if progress is not None:
        progress.start("Writing RTSTRUCT", len(drafts))
    regions, given, empty, notes = [], [], [], [HOLES[holes]]
    for draft, name in zip(drafts, names, strict=True):
        if progress is not None:
            progress.check()
        stored = to_stored(draft.mask, volume)
        if stored.any():
            notes += _changed(draft, name, stored, volume)
            regions.append(Region(draft, name, *_contours(stored, planes, holes)))
            given.append(stored)
        else:
            empty.append(name)
        if progress is not None:
            progress.advance()
    if not regions:
        raise InputError("rtstruct.nothing_to_write", "No structure has a voxel on a stored slice of the series.")
    if empty:
        notes.append(f"{len(empty)} structures without a voxel were left out.")
    return regions, given, empty, notes


def _changed(draft: Draft, name: str, stored: np.ndarray, volume: Volume) -> list[str]:
    """A note when a structure on the stored slices is not of the size that it was on the volume's grid."""
    if not volume.source.resampled:
        return []
    ratio = _stored_ml(stored, volume) / (int(np.count_nonzero(draft.mask)) * volume.voxel_ml)
    if abs(ratio - 1) <= _VOLUME_CHANGE:
        return []
    return [f"{name}: on the stored slices the volume is {100 * ratio:.0f} % of that on the interpolated ones."]


def _stored_ml(stored: np.ndarray, volume: Volume) -> float:
    planes = stored_planes(volume)
    gaps = np.diff(planes.offsets)
    thickness = (np.append(gaps, gaps[-1:]) + np.insert(gaps, 0, gaps[:1])) / 2 if len(gaps) else [planes.thickness]
    pixel = float(np.linalg.norm(planes.step_i) * np.linalg.norm(planes.step_j))
    return float(stored.sum(axis=(1, 2)) @ np.asarray(thickness)) * pixel / 1000


def _contours(stored: np.ndarray, planes: SlicePlanes, holes: str) -> tuple[list[tuple[int, np.ndarray]], str]:
    """(slice, LPS points) of every contour of a structure, and their geometric type."""
    contours, has_hole = [], False
    for n in np.flatnonzero(stored.any(axis=(1, 2))).tolist():
        polygons = trace(stored[n])
        has_hole |= any(area(polygon) < 0 for polygon in polygons)
        if holes == "keyhole":
            polygons = keyholes(polygons)
        contours += [(n, planes.to_lps(polygon, n)) for polygon in polygons]
    return contours, "CLOSEDPLANAR_XOR" if holes == "xor" and has_hole else "CLOSED_PLANAR"


def _read_back(
    file: Path, volume: Volume, regions: Sequence[Region], given: Sequence[np.ndarray]
) -> list[tuple[float, float]]:
    rois = read_structure_set(file).rois
    names = [roi.name for roi in rois]
    if names != [region.name for region in regions]:
        raise InputError("rtstruct.verification", "The file was read back with other structures; nothing was kept.")
    return [
        check_agreement(mask, mask_on_stored(roi, volume), roi.name, "rtstruct")
        for roi, mask in zip(rois, given, strict=True)
    ]
