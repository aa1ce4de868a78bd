"""Headers of the series that drafts refer to, read again when something is written about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from ..errors import InputError
from .dicom_headers import PARSE_ERRORS, quiet, read_dataset, text

_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
"""SOP class of single-frame images, for files from which an anonymiser has removed it."""


def read_headers(files: Sequence[Path], tags: Sequence[str] | None = None) -> list[Dataset]:
    """Headers of image files; ``tags``: only these. Every one names its SOP class where that can be known.

    Raises:
        InputError: ``dicom.source_gone`` when a file cannot be read any more.
    """
    wanted = None if tags is None else [*tags, "SpecificCharacterSet", "SOPClassUID", "Modality"]
    with quiet():
        try:
            out = [read_dataset(file, wanted) for file in files]
        except (*PARSE_ERRORS, OSError):
            raise InputError(
                "dicom.source_gone",
                "The series that was segmented cannot be read any more; put its files back, or read it again.",
            ) from None
        for header in out:
            if not text(header, "SOPClassUID"):
                stored = text(header.file_meta, "MediaStorageSOPClassUID") if hasattr(header, "file_meta") else ""
                header.SOPClassUID = stored or _CLASSES.get(text(header, "Modality"), "")
    return out
