"""DICOM SEG files as they are: binary, fractional and label map.

Turning frames into masks is :mod:`.seg_masks`; writing is :mod:`.dicom_seg_write`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from ..errors import InputError
from .dicom_headers import PARSE_ERRORS, items, number, quiet, read_dataset, syntax, text
from .drafts import Code
from .limits import check_claimed_size
from .seg_frames import Frame, read_frames

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass(frozen=True)
class SegmentInfo:
    """One segment.

    Attributes:
        number: segment number; in a label map the value of its pixels.
        label: as stored, without control characters; not unique by rule.
        algorithm: AUTOMATIC, SEMIAUTOMATIC, MANUAL or empty.
        category: meaning of the property category's code.
        kind: meaning of the property type's code.
        category_code, kind_code: the codes themselves, or None.
        tracking_id: name across visits; may be empty.
        tracking_uid: identity across visits; may be empty.
    """

    number: int
    label: str
    algorithm: str = ""
    category: str = ""
    kind: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""
    category_code: Code | None = None
    kind_code: Code | None = None


@dataclass(frozen=True, eq=False)
class SegFile:
    """A DICOM SEG file; pixels are decoded when masks are asked for.

    Attributes:
        kind: one of :data:`KINDS`.
        sop_class_uid: Segmentation Storage or Label Map Segmentation Storage.
        sop_instance_uid: of the file.
        frame_of_reference_uid: empty when not said.
        image_uids: SOP Instance UIDs of the images that it refers to; may be none.
        segments: in the file's order.
        frames: place of every frame.
        shape: (rows, columns) of a frame.
        largest: value that stands for 1 in a fractional file; else 1.
        dataset: the file.
    """

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    frame_of_reference_uid: str
    image_uids: frozenset[str]
    segments: tuple[SegmentInfo, ...]
    frames: tuple[Frame, ...]
    shape: tuple[int, int]
    largest: int
    dataset: Dataset = field(repr=False)


def read_seg(path: str | os.PathLike[str]) -> SegFile:
    """Read the headers of a DICOM SEG file.

    Raises:
        InputError: ``input.missing``, ``input.empty``, ``seg.unreadable``, ``seg.not_one``, ``seg.no_geometry`` when a
            frame has no position in the patient (slide microscopy), ``dicom.no_codec``, ``input.too_large``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("input.missing", f"{path.name or path} was not found or is a folder; give the SEG file.")
    if path.stat().st_size == 0:
        raise InputError("input.empty", f"{path.name} is empty (0 bytes); copy or export it again.")
    with quiet():
        try:
            return _seg_file(read_dataset(path), path.name)
        except (*PARSE_ERRORS, OSError):
            raise InputError(
                "seg.unreadable", f"{path.name} is damaged or no DICOM file; copy or export it again."
            ) from None


def _seg_file(dataset: Dataset, name: str) -> SegFile:
    kind = text(dataset, "SegmentationType")
    if text(dataset, "Modality") != "SEG" or kind not in KINDS:
        found = text(dataset, "Modality")[:16] or "without a modality"
        raise InputError("seg.not_one", f"Expected a DICOM SEG for volumes, {name} is another kind of file ({found}).")
    shape = int(number(dataset, "Rows") or 0), int(number(dataset, "Columns") or 0)
    frames = read_frames(dataset, labelmap=kind == "LABELMAP")
    if not frames:
        raise InputError(
            "seg.no_geometry",
            f"{name}: the frames have no position in the patient, so that they cannot be laid on an image.",
        )
    check_claimed_size(name, (len(frames), *shape), 1)
    _check_codec(dataset)
    return SegFile(
        kind=kind,
        sop_class_uid=text(dataset, "SOPClassUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        image_uids=frozenset(_image_uids(dataset) | {uid for frame in frames for uid in frame.images}),
        segments=tuple(_segment(item) for item in items(dataset, "SegmentSequence")),
        frames=tuple(frames),
        shape=shape,
        largest=int(number(dataset, "MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1,
        dataset=dataset,
    )


def _segment(item: Dataset) -> SegmentInfo:
    own = int(number(item, "SegmentNumber") or 0)
    category = _code(item, "SegmentedPropertyCategoryCodeSequence")
    kind = _code(item, "SegmentedPropertyTypeCodeSequence")
    return SegmentInfo(
        number=own,
        label="".join(c for c in text(item, "SegmentLabel") if c.isprintable()) or f"Segment {own}",
        algorithm=text(item, "SegmentAlgorithmType"),
        category=category.meaning,
        kind=kind.meaning,
        tracking_id=text(item, "TrackingID"),
        tracking_uid=text(item, "TrackingUID"),
        category_code=category if category.value else None,
        kind_code=kind if kind.value else None,
    )


def _code(item: Dataset, keyword: str) -> Code:
    code = next(iter(items(item, keyword)), Dataset())
    return Code(text(code, "CodeValue"), text(code, "CodingSchemeDesignator"), text(code, "CodeMeaning"))


def _image_uids(dataset: Dataset) -> set[str]:
    listed = set()
    for series in items(dataset, "ReferencedSeriesSequence"):
        listed |= {text(image, "ReferencedSOPInstanceUID") for image in items(series, "ReferencedInstanceSequence")}
    return listed - {""}


def _check_codec(dataset: Dataset) -> None:
    uid = UID(syntax(dataset))
    if uid.is_private or not uid.is_transfer_syntax or (uid.is_compressed and not get_decoder(uid).is_available):
        raise InputError(
            "dicom.no_codec",
            f"The frames are compressed as {uid.name[:64]!r}, which cannot be decoded here; decompress the file.",
        )
