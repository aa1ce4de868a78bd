"""What the DICOM headers of a visit say about whom and when, without ever keeping it in the clear."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from ..adaptive.preflight import VisitFacts
from ..files.structures import LoadedStructures
from ..space.volume import Volume

_KEY = secrets.token_bytes(32)
"""Digests of identities can be compared within this process, and never looked up in a list of known ones."""

_TAGS = (
    "PatientID", "IssuerOfPatientID", "PatientSex", "PatientBirthDate", "Laterality", "ImageLaterality", "Modality",
    "AcquisitionDate", "SeriesDate", "StudyDate",
)  # fmt: skip
_DATES = ("AcquisitionDate", "SeriesDate", "StudyDate")


def visit_facts(volume: Volume, loaded: LoadedStructures | None = None) -> VisitFacts | None:
    """Facts for the checks before a prior-visit job; None for images that are not DICOM.

    Args:
        volume: the image of the visit; the header of its first file is read again.
        loaded: structures that were drawn on it, for their own frame of reference.

    Raises:
        InputError: ``dicom.source_gone`` when the file cannot be read any more.
    """
    source = volume.source
    if source is None:
        return None
    from ..files.dicom_headers import text
    from ..files.source_headers import read_headers

    (header,) = read_headers(source.files[:1], _TAGS)
    said = {keyword: text(header, keyword) for keyword in _TAGS}
    sides = {said["ImageLaterality"] or said["Laterality"]} & {"L", "R"}
    # who refers to the image's own slices is in its space, whatever the frame is called
    frames = set(loaded.frame_of_reference_uids) if loaded is not None and loaded.other_frame else set()
    frames -= {source.frame_of_reference_uid}
    drawn_on = loaded.series_uids if loaded is not None else ()
    return VisitFacts(
        patient=_digest(said["PatientID"]),
        sex=said["PatientSex"] if said["PatientSex"] in ("M", "F", "O") else None,
        birth_date=_digest(said["PatientBirthDate"]),
        laterality=next(iter(sides), None),
        modality=said["Modality"] or None,
        date=next((said[keyword] for keyword in _DATES if _is_date(said[keyword])), None),
        study_uid=source.study_uid or None,
        series_uid=source.series_uid or None,
        frame_of_reference_uid=source.frame_of_reference_uid or None,
        structures_frame_uid=min(frames, default=None),
        structures_series_uid=drawn_on[0] if len(drawn_on) == 1 else None,
    )


def _digest(text: str) -> str | None:
    if not text.strip():
        return None
    return hmac.new(_KEY, text.strip().encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _is_date(text: str) -> bool:
    return len(text) == 8 and text.isdecimal()
