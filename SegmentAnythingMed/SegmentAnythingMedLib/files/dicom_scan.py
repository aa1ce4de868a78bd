"""Which DICOM images a folder holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID

from ..progress import Progress
from .dicom_frames import frame_headers
from .dicom_headers import PARSE_ERRORS, TAGS, SliceHeader, number, quiet, read_dataset, slice_header, text

_NOT_IMAGES = {"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "SR", "PR", "KO", "REG", "FID", "DOC", "AU", "ECG"}


@dataclass(eq=False)
class Scan:
    """What was found in a folder or file.

    Attributes:
        slices: all slices of all series, frames of multi-frame files one by one.
        descriptions: series UID -> series description, for people; not for messages.
        other: number of files by ending.
        empty: names of files of zero bytes.
        damaged: names of DICOM files that cannot be read as images.
        not_dicom: number of files that are not DICOM.
        not_images: number of DICOM files that hold no image (structure sets, segmentations, reports...).
    """

    slices: list[SliceHeader] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)
    other: Counter = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    not_dicom: int = 0
    not_images: int = 0


def scan(path: Path, progress: Progress | None = None, subfolders: bool = True) -> Scan:
    """Read the headers of a file, or of all files of a folder and its subfolders (links to folders: not followed)."""
    with quiet():
        return _scan(path, progress, subfolders)


def _scan(path: Path, progress: Progress | None, subfolders: bool) -> Scan:
    found = Scan()
    files = [path] if path.is_file() else sorted(_files(path, subfolders))
    if progress is not None:
        progress.start("Reading DICOM headers", len(files))
    for file in files:
        if progress is not None:
            progress.check()
            progress.advance()
        if file.name.upper() == "DICOMDIR":
            continue  # an index that may point anywhere; the files beside it are read themselves
        found.other[file.suffix.lower() or "no ending"] += 1
        if file.stat().st_size == 0:
            found.empty.append(file.name)
        elif not may_be_dicom(file):
            found.not_dicom += 1
        else:
            _scan_file(file, found)
    return found


def _scan_file(file: Path, found: Scan) -> None:
    try:
        dataset = read_dataset(file, list(TAGS))
        if _is_something_else(dataset):
            found.not_images += 1
            return
        if not text(dataset, "Rows") or not text(dataset, "Columns"):
            found.damaged.append(file.name)
            return
        multi = "PerFrameFunctionalGroupsSequence" in dataset or (number(dataset, "NumberOfFrames") or 1) > 1
        headers = frame_headers(file, dataset) if multi else [slice_header(file, dataset)]
    except PARSE_ERRORS:
        found.damaged.append(file.name)
        return
    found.slices.extend(headers)
    found.descriptions.setdefault(headers[0].uids["series"], text(dataset, "SeriesDescription"))


def _is_something_else(dataset: Dataset) -> bool:
    """True for structure sets, segmentations, reports...; False for images, and for what is too damaged to tell."""
    if text(dataset, "Modality") in _NOT_IMAGES:
        return True
    sop_class = text(dataset, "SOPClassUID")
    return bool(sop_class) and "Image Storage" not in UID(sop_class).name and not text(dataset, "Rows")


def _files(folder: Path, subfolders: bool) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if subfolders and not name.startswith("."))
        for name in names:
            file = Path(here, name)
            if not name.startswith(".") and file.is_file():
                yield file


def may_be_dicom(file: Path) -> bool:
    """DICM after the preamble, or (old files without one) a first tag of group 0002 or 0008, little endian."""
    with open(file, "rb") as stream:
        head = stream.read(132)
    return head[128:] == b"DICM" or head[:2] in (b"\x08\x00", b"\x02\x00")
