"""DICOM image series: what a folder holds, and one of them as a volume.

Sorted by position, scaled to what the header says, refused with a reason when it would have to be guessed. The policy
stands in :mod:`.dicom_geometry` and :mod:`.dicom_series`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..progress import Progress
from ..space.volume import Volume
from .dicom_geometry import StackPlan, plan_stack
from .dicom_headers import SliceHeader
from .dicom_pixels import check_codecs, read_voxels
from .dicom_scan import Scan, scan
from .dicom_series import Group, by_series, volumes_of

_HU = {"", "HU"}
"""Rescale types of Hounsfield units; a CT without one is in HU (PS3.3 C.11.1.1.2)."""


@dataclass(frozen=True)
class SeriesInfo:
    """One volume that a folder holds.

    Attributes:
        key: what to give as ``series``: the Series Instance UID, with ``#n`` when the series holds several volumes.
        modality: DICOM modality.
        slices: number of slices.
        shape: (rows, columns) of a slice.
        split_tag: keyword of the tag that separates the volumes of the series, or None.
        problem: (code, sentence) why it cannot be read, or None.
        description: series description, for a list to choose from; may hold what somebody typed, so never log it.
    """

    key: str
    modality: str
    slices: int
    shape: tuple[int, int]
    split_tag: str | None
    problem: tuple[str, str] | None
    description: str


@dataclass(frozen=True, eq=False)
class DicomSource:
    """What writers of structure sets and segmentations need to refer to a series.

    Attributes:
        study_uid: Study Instance UID.
        series_uid: Series Instance UID.
        frame_of_reference_uid: empty when the series has none.
        sop_class_uid: SOP Class UID of the images.
        sop_instance_uids: one per stored slice, sorted along the normal.
        frame_numbers: frame of each slice within its instance, from 1; None for single-frame files.
        files: file of each slice.
        positions: float64 [N, 3], LPS of each stored slice's first pixel.
        orientation: float64 [2, 3], row and column direction in LPS.
        pixel_spacing: (between rows, between columns) in mm.
        slice_shape: (rows, columns) of a stored slice.
        resampled: True if the volume's slices are not the stored pixels (tilt, gaps, uneven spacing).
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...] | None
    files: tuple[Path, ...]
    positions: np.ndarray
    orientation: np.ndarray
    pixel_spacing: tuple[float, float]
    slice_shape: tuple[int, int]
    resampled: bool


def list_series(path: str | os.PathLike[str], progress: Progress | None = None) -> list[SeriesInfo]:
    """All image volumes in a folder (searched with its subfolders) or file; headers only.

    Raises:
        InputError: ``input.missing``; ``dicom.no_series`` with what was seen instead.
    """
    found = _scan(Path(path), progress)
    out = []
    for uid, slices in by_series(found.slices).items():
        first, about = slices[0], found.descriptions.get(uid, "")
        try:
            for group in volumes_of(uid, slices):
                head = group.slices[0]
                count = len(group.slices)
                out.append(SeriesInfo(group.key, head.modality, count, head.shape, group.tag, None, about))
        except InputError as error:
            problem = (error.code, error.message)
            out.append(SeriesInfo(uid, first.modality, len(slices), first.shape, None, problem, about))
    return out


def read_series(
    path: str | os.PathLike[str],
    series: str | None = None,
    allow_gaps: bool = False,
    progress: Progress | None = None,
) -> Volume:
    """Read one series as a volume.

    Args:
        path: a folder (searched with its subfolders) or a file. A single-frame file stands for its series: the slices
            of the same series in its folder are read too.
        series: key of :func:`list_series`, or its unique end; needed when there are several.
        allow_gaps: interpolate missing slices instead of refusing.
        progress: told of every file.

    Returns:
        Volume in LPS with modality, display window and a :class:`DicomSource`; ``is_hu`` only for CT with slope and
        intercept. K runs along the slice normal (row x column direction).

    Raises:
        InputError: ``input.missing``, ``dicom.no_series``, ``dicom.several_series``, ``dicom.no_such_series``,
            ``dicom.several_volumes``, ``dicom.duplicate_positions``, ``dicom.mixed``, ``dicom.colour``,
            ``dicom.no_geometry``, ``dicom.missing_slices``, ``dicom.no_codec``, ``dicom.truncated``,
            ``input.too_large``.
        Cancelled: through ``progress``.
    """
    path = Path(path)
    found = _scan(path, progress)
    if path.is_file() and found.slices[0].frame is None and series is None:
        series = found.slices[0].uids["series"]
        found = _scan(path.parent, progress, subfolders=False)
    group = _choose(found, series)
    plan = _plan(group, allow_gaps, [*found.damaged, *found.empty])
    check_codecs(group.slices)
    voxels = read_voxels(group.slices, plan, progress)
    ordered = [group.slices[n] for n in plan.order]
    notes = (*_scan_notes(found), *group.notes, *plan.notes, *_value_notes(ordered))
    middle = ordered[len(ordered) // 2]
    return Volume(
        voxels,
        plan.affine,
        modality=middle.modality or None,
        window=middle.window,
        notes=notes,
        is_hu=middle.modality == "CT" and all(h.rescale is not None for h in ordered) and middle.unit in _HU,
        name=path.name,
        source=_source(ordered, plan),
    )


def _scan(path: Path, progress: Progress | None, subfolders: bool = True) -> Scan:
    if not path.exists():
        raise InputError("input.missing", f"{path.name or path} was not found; check the path.")
    found = scan(path, progress, subfolders)
    if found.slices:
        return found
    seen = ", ".join(f"{count} x {ending}" for ending, count in sorted(found.other.items())) or "no files at all"
    detail = f"; damaged: {', '.join(found.damaged[:3])}" if found.damaged else ""
    detail += f"; empty: {', '.join(found.empty[:3])}" if found.empty else ""
    raise InputError(
        "dicom.no_series",
        f"Expected DICOM images in {path.name or path}, found no readable series (seen: {seen}{detail}).",
    )


def _choose(found: Scan, wanted: str | None) -> Group:
    series = by_series(found.slices)
    if wanted is None:
        if len(series) > 1:
            listed = "; ".join(f"{uid} ({len(slices)} slices)" for uid, slices in series.items())
            raise InputError("dicom.several_series", f"The folder holds {len(series)} series; choose one: {listed}.")
        wanted = next(iter(series))
    base, _, part = wanted.partition("#")
    matches = [uid for uid in series if uid == base] or [uid for uid in series if base and uid.endswith(base)]
    if len(matches) != 1:
        raise InputError("dicom.no_such_series", f"Expected one of the series {', '.join(series)}, got {wanted!r}.")
    groups = volumes_of(matches[0], series[matches[0]])
    if part:
        for group in groups:
            if group.key == f"{matches[0]}#{part}":
                return group
        raise InputError("dicom.no_such_series", f"The series holds {len(groups)} volumes, there is no #{part}.")
    if len(groups) > 1:
        keys = ", ".join(group.key for group in groups)
        raise InputError(
            "dicom.several_volumes",
            f"The series holds {len(groups)} volumes at the same positions, told apart by {groups[0].tag} (phases,"
            f" echoes or the like); choose one: {keys}.",
        )
    return groups[0]


def _plan(group: Group, allow_gaps: bool, unreadable: Sequence[str]) -> StackPlan:
    try:
        return plan_stack(group.slices, allow_gaps)
    except InputError as error:
        if not unreadable:
            raise
        names = ", ".join(unreadable[:5])
        raise InputError(error.code, f"{error.message} Files that cannot be read: {names}.") from None


def _scan_notes(found: Scan) -> list[str]:
    notes = []
    if found.empty:
        notes.append(f"Empty files were skipped: {', '.join(found.empty[:5])}.")
    if found.damaged:
        names = ", ".join(found.damaged[:5])
        notes.append(f"{len(found.damaged)} DICOM files without a readable image were skipped: {names}.")
    if found.not_dicom:
        notes.append(f"{found.not_dicom} files that are not DICOM were ignored.")
    return notes


def _value_notes(ordered: Sequence[SliceHeader]) -> list[str]:
    first, notes = ordered[0], []
    if first.modality == "CT" and any(h.rescale is None for h in ordered):
        notes.append("Rescale slope or intercept is missing: the values are stored values, not HU.")
    elif first.modality == "CT" and first.unit not in _HU:
        notes.append("The rescale type of the CT is not HU: no CT window is applied.")
    if first.modality == "PT":
        unit = first.unit if first.unit in {"BQML", "CNTS", "GML", "PROPCPS", "CPS", "NONE"} else "unknown units"
        notes.append(f"PET values are in the units of the header ({unit}), not in SUV computed here.")
    if any(h.photometric == "MONOCHROME1" for h in ordered):
        notes.append("MONOCHROME1: small values are meant to be shown bright; the values were kept as they are.")
    if not first.uids["frame_of_reference"]:
        notes.append("The series has no Frame of Reference UID: structure sets cannot refer to it.")
    return notes


def _source(ordered: Sequence[SliceHeader], plan: StackPlan) -> DicomSource:
    first = ordered[0]
    frames = None if first.frame is None else tuple((h.frame or 0) + 1 for h in ordered)
    return DicomSource(
        study_uid=first.uids["study"],
        series_uid=first.uids["series"],
        frame_of_reference_uid=first.uids["frame_of_reference"],
        sop_class_uid=first.uids["class"],
        sop_instance_uids=tuple(h.uids["instance"] for h in ordered),
        frame_numbers=frames,
        files=tuple(h.file for h in ordered),
        positions=np.array([h.position for h in ordered]),
        orientation=first.orientation,
        pixel_spacing=first.pixel_spacing,
        slice_shape=first.shape,
        resampled=not plan.regular,
    )
