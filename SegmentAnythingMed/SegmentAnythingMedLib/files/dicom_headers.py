"""DICOM headers: what each slice says about its place and its numbers.

Only the tags that are needed are read. Values other than UIDs never enter a message: they may name a person.
"""

from __future__ import annotations

import logging
import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import pydicom.config
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

PARSE_ERRORS = (
    InvalidDicomError, BytesLengthException, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError,
    NotImplementedError, struct.error, OverflowError, RecursionError, AssertionError,
)  # fmt: skip
"""What pydicom raises for damaged files (AssertionError: its parser, not ours)."""

SPLIT_TAGS = (
    "TemporalPositionIdentifier", "TemporalPositionIndex", "StackID", "EchoNumbers", "EchoTime", "EffectiveEchoTime",
    "DiffusionBValue", "TriggerTime", "NominalCardiacTriggerDelayTime", "AcquisitionNumber", "InversionTime",
    "ImageType", "AcquisitionTime", "ContentTime", "SeriesTime",
)  # fmt: skip
"""Tags that tell phases, echoes and the like apart within a series, most telling first."""

TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality",
    "SeriesDescription", "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "Units", "ModalityLUTSequence", "WindowCenter", "WindowWidth",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *SPLIT_TAGS,
)  # fmt: skip
"""The tags that are read."""


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """One slice: a file, or one frame of a multi-frame file.

    Attributes:
        file: where it is.
        frame: number of the frame within the file, from 0; None for a single-frame file.
        uids: study, series, SOP class and SOP instance UID and frame of reference; empty text when missing.
        modality: DICOM modality.
        shape: (rows, columns).
        samples: values per pixel.
        photometric: photometric interpretation.
        syntax: transfer syntax UID.
        position: LPS of the first pixel's centre in mm, or None.
        orientation: [2, 3], unit vectors along a row (I) and down a column (J), or None.
        pixel_spacing: (between rows, between columns) in mm, or None.
        thickness: spacing between slices or slice thickness in mm, or None; only used for a single slice.
        rescale: (slope, intercept), or None when the header has not both.
        unit: rescale type or PET units; empty when not said.
        window: (level, width), or None.
        number: instance number, or None.
        splits: values of :data:`SPLIT_TAGS` as text.
    """

    file: Path
    frame: int | None
    uids: dict[str, str]
    modality: str
    shape: tuple[int, int]
    samples: int
    photometric: str
    syntax: str
    position: np.ndarray | None
    orientation: np.ndarray | None
    pixel_spacing: tuple[float, float] | None
    thickness: float | None
    rescale: tuple[float, float] | None
    unit: str
    window: tuple[float, float] | None
    number: int | None
    splits: dict[str, str] = field(default_factory=dict)

    @property
    def localizer(self) -> bool:
        """True if the image calls itself a localizer."""
        return "LOCALIZER" in self.splits.get("ImageType", "")

    @property
    def normal(self) -> np.ndarray:
        """Unit normal of the slice: row direction x column direction."""
        return np.cross(self.orientation[0], self.orientation[1])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from warning and logging: it quotes values of tags, which may be a patient's."""
    logger, settings = logging.getLogger("pydicom"), pydicom.config.settings
    level, mode = logger.level, settings.reading_validation_mode
    logger.setLevel(logging.CRITICAL + 1)
    settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        settings.reading_validation_mode = mode


def read_dataset(file: Path, tags: list[str] | None = None) -> Dataset:
    """Read a file with pydicom; ``tags``: only these, without pixels. Call within :func:`quiet`."""
    return pydicom.dcmread(file, stop_before_pixels=tags is not None, specific_tags=tags, force=True)


def text(dataset: Dataset, keyword: str) -> str:
    """Value of a tag as text; empty when missing, malformed or not decodable."""
    try:
        value = dataset.get(keyword)
        return "" if value is None else str(value).strip("\0 ")
    except PARSE_ERRORS:
        return ""


def numbers(dataset: Dataset, keyword: str, count: int) -> np.ndarray | None:
    """The first ``count`` finite numbers of a tag, float64; None when there are fewer."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return None
        values = np.atleast_1d(np.asarray(value, dtype=np.float64))[:count]
    except PARSE_ERRORS:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first number of a tag, or None."""
    values = numbers(dataset, keyword, 1)
    return None if values is None else float(values[0])


def pair(dataset: Dataset, first: str, second: str) -> tuple[float, float] | None:
    """The first numbers of two tags, or None when either is missing."""
    values = number(dataset, first), number(dataset, second)
    return None if values[0] is None or values[1] is None else (values[0], values[1])


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; none when it is missing, empty or malformed."""
    try:
        value = dataset.get(keyword)
        return [item for item in value if isinstance(item, Dataset)] if value else []
    except (*PARSE_ERRORS, OSError):  # OSError: pydicom's parser at the end of a cut sequence
        return []


def unit_vectors(values: np.ndarray | None) -> np.ndarray | None:
    """Six direction cosines -> [2, 3] perpendicular unit vectors; None when they are not nearly so (1 %)."""
    if values is None:
        return None
    axes = values.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(axes[0] @ axes[1]) > 0.01:
        return None
    row = axes[0] / lengths[0]
    column = axes[1] - (axes[1] @ row) * row
    return np.stack([row, column / np.linalg.norm(column)])


def slice_header(file: Path, dataset: Dataset) -> SliceHeader:
    """Header of a single-frame image."""
    spacing = numbers(dataset, "PixelSpacing", 2)
    if spacing is None:
        spacing = numbers(dataset, "ImagerPixelSpacing", 2)
    window = pair(dataset, "WindowCenter", "WindowWidth")
    instance = number(dataset, "InstanceNumber")
    return SliceHeader(
        file=file,
        frame=None,
        uids=uids(dataset),
        modality=text(dataset, "Modality"),
        shape=(int(number(dataset, "Rows") or 0), int(number(dataset, "Columns") or 0)),
        samples=int(number(dataset, "SamplesPerPixel") or 1),
        photometric=text(dataset, "PhotometricInterpretation"),
        syntax=syntax(dataset),
        position=numbers(dataset, "ImagePositionPatient", 3),
        orientation=unit_vectors(numbers(dataset, "ImageOrientationPatient", 6)),
        pixel_spacing=positive_pair(spacing),
        thickness=positive(number(dataset, "SpacingBetweenSlices")) or positive(number(dataset, "SliceThickness")),
        rescale=pair(dataset, "RescaleSlope", "RescaleIntercept"),
        unit=text(dataset, "RescaleType") or text(dataset, "Units"),
        window=window if window is not None and window[1] > 0 else None,
        number=None if instance is None else int(instance),
        splits={tag: text(dataset, tag) for tag in SPLIT_TAGS},
    )


def syntax(dataset: Dataset) -> str:
    """Transfer syntax UID; implicit little endian where a file has no meta header."""
    meta = getattr(dataset, "file_meta", None)
    return (text(meta, "TransferSyntaxUID") if meta is not None else "") or pydicom.uid.ImplicitVRLittleEndian


def uids(dataset: Dataset) -> dict[str, str]:
    """The UIDs that name the image and what it belongs to."""
    names = {
        "study": "StudyInstanceUID",
        "series": "SeriesInstanceUID",
        "class": "SOPClassUID",
        "instance": "SOPInstanceUID",
        "frame_of_reference": "FrameOfReferenceUID",
    }
    return {key: text(dataset, keyword) for key, keyword in names.items()}


def positive(value: float | None) -> float | None:
    """``value`` if it is finite and above zero."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def positive_pair(values: np.ndarray | None) -> tuple[float, float] | None:
    """Two numbers above zero, or None."""
    return None if values is None or values.min() <= 0 else (float(values[0]), float(values[1]))
