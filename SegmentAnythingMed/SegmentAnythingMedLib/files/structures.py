"""Structures of any file on the grid of a volume: RTSTRUCT, DICOM SEG or an image of labels, told by the content.

One door for all that takes masks: prompts, comparisons, the contours of a prior visit. What a structure lost on the
way, and why, stands beside it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..space.volume import Volume
from .drafts import Code
from .images import image_suffix, read_mask

RTSTRUCT, SEG, LABELS = "rtstruct", "seg", "labels"
_OUTSIDE = "outside"
_WHY = {
    "empty": "it is empty",
    "not_closed": "it holds only points or open lines, which enclose nothing",
    _OUTSIDE: "it lies outside of the image",
    "too_small": "no voxel centre lies inside of it",
    "other_frame": "it was drawn in another frame of reference",
}


@dataclass(frozen=True, eq=False)
class Structure:
    """One structure on a volume's grid.

    Attributes:
        name: as in the file, made unique; ``label N`` where the file has no names.
        number: number of the region or segment, or value of the label.
        voxels: bool [K, J, I] of the volume, or the labels of all structures, shared: see :attr:`mask`.
        status: ``ok``, or why there is no voxel: ``empty``, ``not_closed``, ``outside``, ``too_small``,
            ``other_frame``.
        notes: what was left out or moved.
        colour: (red, green, blue) 0..255, or None.
        interpreted_type: ORGAN, GTV...; may be empty.
        category, code: what it is, when the file says so in codes.
        tracking_id, tracking_uid: identity across visits; may be empty.
    """

    name: str
    number: int
    voxels: np.ndarray
    status: str = "ok"
    notes: tuple[str, ...] = ()
    colour: tuple[int, int, int] | None = None
    interpreted_type: str = ""
    category: Code | None = None
    code: Code | None = None
    tracking_id: str = ""
    tracking_uid: str = ""

    @property
    def mask(self) -> np.ndarray:
        """bool [K, J, I] of the volume; made on demand for one of many labels, so keep it."""
        return self.voxels if self.voxels.dtype == np.bool_ else self.voxels == self.number

    @property
    def why(self) -> str:
        """Why there is no mask, in words; empty when there is one."""
        return _WHY.get(self.status, "")


@dataclass(frozen=True, eq=False)
class LoadedStructures:
    """What :func:`load_structures` returns.

    Attributes:
        kind: ``rtstruct``, ``seg`` or ``labels``.
        structures: those asked for, in the file's order; also those without a voxel.
        notes: sentences about the file.
        sop_class_uid, sop_instance_uid: of a DICOM file; empty for others.
        approval: approval status of a structure set; never carried over to anything that is written.
        frame_of_reference_uids, series_uids: what the file was drawn on, as far as it says.
        other_frame: True if structures of another frame of reference were taken, on request.
        resampled: True for an image of labels on another grid than the volume's.
    """

    kind: str
    structures: tuple[Structure, ...]
    notes: tuple[str, ...] = ()
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    approval: str = ""
    frame_of_reference_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    other_frame: bool = False
    resampled: bool = False

    @property
    def masks(self) -> Mapping[str, np.ndarray]:
        """Name -> mask, of the structures that have a voxel."""
        return {one.name: one.mask for one in self.structures if one.status == "ok"}

    @property
    def remarks(self) -> tuple[str, ...]:
        """All notes, those of a structure with its name; of one that lies outside, only that."""
        own = [f"{one.name}: {note}" for one in self.structures if one.status != _OUTSIDE for note in one.notes]
        lost = [f"{one.name}: left out, {one.why}." for one in self.structures if one.why]
        return (*self.notes, *own, *lost)


def load_structures(
    path: str | os.PathLike[str],
    volume: Volume,
    names: Iterable[str | int] | None = None,
    *,
    other_frame: bool = False,
    interpolate: bool = False,
) -> LoadedStructures:
    """Read structures and bring them to the grid of a volume.

    Args:
        path: RTSTRUCT or DICOM SEG file, a folder that holds exactly one of them, or an image of labels (every value
            above 0 is a structure). Names of a Slicer ``.seg.nrrd`` are read.
        volume: where they are wanted; contours and frames go to the stored slices of a DICOM series.
        names: names or numbers of those wanted; default: all.
        other_frame: accept DICOM structures of another frame of reference, as if it were the volume's.
        interpolate: fill gaps between contours of an RTSTRUCT.

    Raises:
        InputError: ``structures.unknown``, ``structures.ambiguous`` for names; ``structures.several`` for a folder with
            several files; ``mask.elsewhere`` when everything asked for lies outside of the volume;
            ``rtstruct.*``, ``seg.*`` and ``input.*`` of the readers, ``rtstruct.frame_of_reference`` and
            ``seg.frame_of_reference`` among them.
    """
    path = _object_in(Path(path))
    kind = structure_kind(path)
    if kind == RTSTRUCT:
        found = _from_rtstruct(path, volume, names, other_frame, interpolate)
    elif kind == SEG:
        found = _from_seg(path, volume, names, other_frame)
    else:
        found = _from_labels(path, volume, names)
    if found.structures and all(one.status == _OUTSIDE for one in found.structures):
        raise InputError("mask.elsewhere", f"{path.name} lies elsewhere: none of its structures is inside the image.")
    return found


def structure_kind(path: str | os.PathLike[str]) -> str | None:
    """``rtstruct`` or ``seg`` for such a DICOM file, None for everything else (also for what is not there)."""
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        return None
    from .dicom_scan import may_be_dicom

    if not may_be_dicom(path):
        return None
    from .dicom_headers import PARSE_ERRORS, quiet, read_dataset, text

    with quiet():
        try:
            modality = text(read_dataset(path, ["Modality"]), "Modality")
        except PARSE_ERRORS:
            return None
    return {"RTSTRUCT": RTSTRUCT, "SEG": SEG}.get(modality)


def _object_in(path: Path) -> Path:
    """The structure file in a folder; the path itself when it is none, or when it holds no such file."""
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.iterdir()) if structure_kind(file)]
    if len(found) > 1:
        listed = ", ".join(file.name for file in found[:8])
        raise InputError("structures.several", f"The folder holds {len(found)} structure files; give one: {listed}.")
    return found[0] if found else path


def pick(given: Sequence[tuple[int, str]], wanted: Iterable[str | int] | None) -> list[int]:
    """Positions of the structures that are wanted, each once.

    A text is a name; where there is no such name, a number or a name in other capitals.

    Args:
        given: (number, name) of all.
        wanted: None for all.

    Raises:
        InputError: ``structures.unknown``, ``structures.ambiguous``.
    """
    if wanted is None:
        return list(range(len(given)))
    out: list[int] = []
    for one in wanted:
        ways = (
            [n for n, (_, name) in enumerate(given) if name == one],
            [n for n, (number, _) in enumerate(given) if str(number) == str(one).strip()],
            [n for n, (_, name) in enumerate(given) if name.casefold() == str(one).strip().casefold()],
        )
        found = next((way for way in ways if way), [])
        if not found:
            listed = ", ".join(repr(name) for _, name in given[:20]) or "none"
            raise InputError("structures.unknown", f"Expected one of the structures {listed}; got {one!r}.")
        if len(found) > 1:
            numbers = ", ".join(str(given[n][0]) for n in found)
            raise InputError(
                "structures.ambiguous", f"{len(found)} structures are named {one!r}; choose by number: {numbers}."
            )
        out += [n for n in found if n not in out]
    return sorted(out)


def _unique(names: Sequence[str]) -> list[str]:
    """Names that differ: where one is given twice, each gets its count."""
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out


def _from_rtstruct(
    path: Path, volume: Volume, names: Iterable[str | int] | None, other_frame: bool, interpolate: bool
) -> LoadedStructures:
    from .rtstruct import read_structure_set
    from .rtstruct_masks import ON_REQUEST, masks_on

    given = read_structure_set(path)
    chosen = pick([(roi.number, roi.name) for roi in given.rois], names)
    unique = _unique([roi.name for roi in given.rois])
    wanted = replace(given, rois=tuple(given.rois[n] for n in chosen))
    placed = masks_on(wanted, volume, other_frame=other_frame, interpolate=interpolate)
    structures = [
        Structure(
            unique[n], one.roi.number, one.mask, one.status, one.notes, one.roi.colour, one.roi.interpreted_type,
            tracking_uid=one.roi.tracking_uid, tracking_id=one.roi.tracking_id,
        )
        for n, one in zip(chosen, placed, strict=True)
    ]  # fmt: skip
    return LoadedStructures(
        RTSTRUCT, tuple(structures), given.notes, given.sop_class_uid, given.sop_instance_uid, given.approval,
        given.frame_of_reference_uids, given.series_uids, any(ON_REQUEST in one.notes for one in placed),
    )  # fmt: skip


def _from_seg(path: Path, volume: Volume, names: Iterable[str | int] | None, other_frame: bool) -> LoadedStructures:
    from .dicom_seg import read_seg
    from .seg_masks import elsewhere, segments_on

    given = read_seg(path)
    segments = [segment for segment in given.segments if segment.number > 0]
    chosen = pick([(segment.number, segment.label) for segment in segments], names)
    unique = _unique([segment.label for segment in segments])
    placed = segments_on(given, volume, [segments[n].number for n in chosen], other_frame=other_frame)
    structures = [
        Structure(
            unique[n], one.segment.number, one.mask, one.status, one.notes, category=one.segment.category_code,
            code=one.segment.kind_code, tracking_id=one.segment.tracking_id, tracking_uid=one.segment.tracking_uid,
        )
        for n, one in zip(chosen, placed, strict=True)
    ]  # fmt: skip
    frame = (given.frame_of_reference_uid,) if given.frame_of_reference_uid else ()
    return LoadedStructures(
        SEG, tuple(structures), (), given.sop_class_uid, given.sop_instance_uid, frame_of_reference_uids=frame,
        other_frame=elsewhere(given, volume),
    )  # fmt: skip


def _from_labels(path: Path, volume: Volume, names: Iterable[str | int] | None) -> LoadedStructures:
    loaded = read_mask(path, volume)
    values = sorted({int(value) for plane in loaded.labels for value in np.unique(plane)} - {0})
    known = _segment_names(path)
    labels = _unique([known.get(value, f"label {value}") for value in values])
    chosen = pick(list(zip(values, labels, strict=True)), names)
    structures = tuple(Structure(labels[n], values[n], loaded.labels) for n in chosen)
    return LoadedStructures(LABELS, structures, loaded.notes, resampled=loaded.resampled)


def _segment_names(path: Path) -> dict[int, str]:
    """Label -> name from the header of a Slicer segmentation (``.seg.nrrd``); nothing for other files."""
    if image_suffix(path) != ".nrrd":
        return {}
    with open(path, "rb") as file:
        head = file.read(1 << 16).split(b"\n\n", 1)[0].decode("utf-8", "replace")
    fields = dict(line.split(":=", 1) for line in head.replace("\r", "").split("\n") if ":=" in line)
    names = {}
    for key, value in fields.items():
        if key.startswith("Segment") and key.endswith("_LabelValue") and value.strip().isdecimal():
            name = "".join(c for c in fields.get(key.replace("_LabelValue", "_Name"), "") if c.isprintable()).strip()
            if name:
                names[int(value)] = name
    return names
