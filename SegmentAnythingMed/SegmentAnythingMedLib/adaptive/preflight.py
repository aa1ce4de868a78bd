"""Do the two visits belong together? Asked of headers and grids before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

STOP, NOTE = "stop", "note"


@dataclass(frozen=True)
class VisitFacts:
    """What the headers of a visit say. Fields are None where they are silent.

    Attributes:
        patient: keyed digest of the patient's id, comparable within this process only; never the id.
        sex: ``M``, ``F`` or ``O``.
        birth_date: keyed digest of the birth date.
        laterality: ``L`` or ``R`` (both sides count as silent).
        modality: DICOM modality.
        date: ``YYYYMMDD`` of the acquisition, else of the series or study.
        study_uid, series_uid, frame_of_reference_uid: of the image.
        structures_frame_uid: frame of reference in which the structures were drawn.
        structures_series_uid: series that the structures refer to.
    """

    patient: str | None = None
    sex: str | None = None
    birth_date: str | None = None
    laterality: str | None = None
    modality: str | None = None
    date: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    structures_frame_uid: str | None = None
    structures_series_uid: str | None = None


@dataclass(frozen=True)
class PreflightFinding:
    """One thing that was noticed.

    Attributes:
        code: ``visits.*``; the name to allow it by.
        severity: ``stop`` (refused unless allowed) or ``note``.
        words: one sentence, without patient data.
        structure: the structure that it is about, or empty.
        overridden: True for a ``stop`` that was allowed.
    """

    code: str
    severity: str
    words: str
    structure: str = ""
    overridden: bool = False
