"""RTSTRUCT files as they are: regions of interest with their contours, and what the set refers to.

Turning contours into masks is :mod:`.rtstruct_masks`; writing is :mod:`.rtstruct_write`.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from ..errors import InputError
from .dicom_headers import PARSE_ERRORS, items, number, numbers, quiet, read_dataset, text

_CONTOUR_DATA = Tag(0x3006, 0x0050)
_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Contour types that enclose something; open lines and points are read and reported, never filled."""


@dataclass(frozen=True, eq=False)
class Contour:
    """One contour.

    Attributes:
        kind: geometric type: ``CLOSED_PLANAR``, ``CLOSEDPLANAR_XOR``, ``OPEN_PLANAR``, ``POINT``...
        points: float64 [N, 3], LPS in mm.
        image_uid: SOP Instance UID of the slice that it claims to lie on; empty when not said.
    """

    kind: str
    points: np.ndarray
    image_uid: str


@dataclass(frozen=True, eq=False)
class Roi:
    """One region of interest.

    Attributes:
        number: its number in the file.
        name: as stored, without control characters; not unique by rule.
        frame_of_reference_uid: empty when not said.
        contours: in the file's order; none for an empty region.
        colour: (red, green, blue) 0..255, or None.
        interpreted_type: ORGAN, GTV...; may be empty.
        algorithm: AUTOMATIC, SEMIAUTOMATIC, MANUAL or empty.
        tracking_id: name of the structure across visits; may be empty.
        tracking_uid: identity of the structure across visits; may be empty.
        broken: number of contours that could not be read.
    """

    number: int
    name: str
    frame_of_reference_uid: str
    contours: tuple[Contour, ...]
    colour: tuple[int, int, int] | None = None
    interpreted_type: str = ""
    algorithm: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""
    broken: int = 0


@dataclass(frozen=True, eq=False)
class StructureSet:
    """An RTSTRUCT file.

    Attributes:
        sop_instance_uid: of the file, for a follow-up to name its predecessor.
        sop_class_uid: RT Structure Set Storage.
        study_uid: Study Instance UID.
        approval: APPROVED, UNAPPROVED, REJECTED or empty; never carried over to anything that is written.
        frame_of_reference_uids: all frames of reference that the set or its regions name.
        series_uids: series that it refers to.
        image_uids: SOP Instance UIDs that it refers to, in the set's reference list or at its contours.
        rois: in the file's order.
        notes: what was wrong with the file and how it was read.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    approval: str
    frame_of_reference_uids: tuple[str, ...]
    series_uids: tuple[str, ...]
    image_uids: frozenset[str]
    rois: tuple[Roi, ...]
    notes: tuple[str, ...] = ()


def read_structure_set(path: str | os.PathLike[str]) -> StructureSet:
    """Read an RTSTRUCT file; broken contours and missing references are noted, not fatal.

    Raises:
        InputError: ``input.missing``, ``input.empty``; ``rtstruct.unreadable`` when the file is damaged;
            ``rtstruct.not_one`` when it is some other DICOM object; ``rtstruct.no_rois`` when it names no region.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("input.missing", f"{path.name or path} was not found or is a folder; give the RTSTRUCT file.")
    if path.stat().st_size == 0:
        raise InputError("input.empty", f"{path.name} is empty (0 bytes); copy or export it again.")
    with quiet():
        try:
            dataset = read_dataset(path)
            return _structure_set(dataset, path.name)
        except (*PARSE_ERRORS, OSError):
            raise InputError(
                "rtstruct.unreadable", f"{path.name} is damaged or no DICOM file; copy or export it again."
            ) from None


def _structure_set(dataset: Dataset, name: str) -> StructureSet:
    if text(dataset, "Modality") != "RTSTRUCT" and text(dataset, "SOPClassUID") != _CLASS:
        kind = text(dataset, "Modality")[:16] or "without a modality"
        raise InputError("rtstruct.not_one", f"Expected an RTSTRUCT, {name} is another kind of file ({kind}).")
    contours = {n: item for item in items(dataset, "ROIContourSequence") if (n := _integer(item)) is not None}
    observed = {n: item for item in items(dataset, "RTROIObservationsSequence") if (n := _integer(item)) is not None}
    rois = []
    for item in items(dataset, "StructureSetROISequence"):
        own = int(number(item, "ROINumber") or 0)
        rois.append(_roi(item, own, contours.get(own, Dataset()), observed.get(own, Dataset())))
    if not rois:
        raise InputError("rtstruct.no_rois", f"{name} names no region of interest.")
    frames, series, images = _references(dataset)
    frames += [roi.frame_of_reference_uid for roi in rois]
    images += [contour.image_uid for roi in rois for contour in roi.contours]
    return StructureSet(
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        sop_class_uid=text(dataset, "SOPClassUID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        approval=text(dataset, "ApprovalStatus"),
        frame_of_reference_uids=tuple(dict.fromkeys(uid for uid in frames if uid)),
        series_uids=tuple(dict.fromkeys(uid for uid in series if uid)),
        image_uids=frozenset(uid for uid in images if uid),
        rois=tuple(rois),
        notes=tuple(_notes(rois, bool(series))),
    )


def _notes(rois: list[Roi], has_references: bool) -> list[str]:
    notes = []
    names = Counter(roi.name for roi in rois)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        notes.append(f"Several regions share a name ({', '.join(map(repr, twice[:5]))}); choose them by number.")
    broken = sum(roi.broken for roi in rois)
    if broken:
        notes.append(f"{broken} contours could not be read (points missing or not numbers) and were left out.")
    if not has_references:
        notes.append("The set names no image series; contours are placed by their coordinates.")
    return notes


def _roi(item: Dataset, own: int, drawn: Dataset, observed: Dataset) -> Roi:
    parsed = [_contour(contour) for contour in items(drawn, "ContourSequence")]
    colour = numbers(drawn, "ROIDisplayColor", 3)
    name = "".join(c for c in text(item, "ROIName") if c.isprintable())
    return Roi(
        number=own,
        name=name or f"ROI {own}",
        frame_of_reference_uid=text(item, "ReferencedFrameOfReferenceUID"),
        contours=tuple(contour for contour in parsed if contour is not None),
        colour=None if colour is None else tuple(int(min(max(c, 0), 255)) for c in colour),
        interpreted_type=text(observed, "RTROIInterpretedType"),
        algorithm=text(item, "ROIGenerationAlgorithm"),
        tracking_id=text(item, "TrackingID"),
        tracking_uid=text(item, "TrackingUID"),
        broken=sum(contour is None for contour in parsed),
    )


def _contour(item: Dataset) -> Contour | None:
    points = _points(item)
    if points is None:
        return None
    image = next((text(image, "ReferencedSOPInstanceUID") for image in items(item, "ContourImageSequence")), "")
    return Contour(text(item, "ContourGeometricType").upper(), points, image)


def _points(item: Dataset) -> np.ndarray | None:
    """Points [N, 3] of a contour; straight from the bytes, since files hold hundreds of thousands of numbers."""
    try:
        raw = item.get_item(_CONTOUR_DATA)
        value = None if raw is None else raw.value
        if isinstance(value, bytes):
            value = value.decode("ascii").strip("\0 ").split("\\")
        data = np.array([] if value is None else value, dtype=np.float64).reshape(-1, 3)
    except PARSE_ERRORS:
        return None
    return data if len(data) and np.isfinite(data).all() else None


def _references(dataset: Dataset) -> tuple[list[str], list[str], list[str]]:
    """Frames of reference, series and images of the set's own reference list."""
    frames, series, images = [], [], []
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        frames.append(text(frame, "FrameOfReferenceUID"))
        for study in items(frame, "RTReferencedStudySequence"):
            for item in items(study, "RTReferencedSeriesSequence"):
                series.append(text(item, "SeriesInstanceUID"))
                images += [text(image, "ReferencedSOPInstanceUID") for image in items(item, "ContourImageSequence")]
    return frames, series, images


def _integer(item: Dataset) -> int | None:
    value = number(item, "ReferencedROINumber")
    return None if value is None else int(value)
