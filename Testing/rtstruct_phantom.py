"""Small RTSTRUCT files for the tests, written without the library's own writer: every legal form, and broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage


def item(**tags) -> Dataset:
    """A sequence item; None leaves a tag out."""
    out = Dataset()
    for keyword, value in tags.items():
        if value is not None:
            setattr(out, keyword, value)
    return out


def contour(points, kind="CLOSED_PLANAR", image: str | None = None) -> Dataset:
    """A contour of points [N, 3] in LPS."""
    points = np.asarray(points, dtype=float)
    images = None if image is None else [item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=image)]
    numbers = [f"{x:.6f}" for x in points.ravel()]
    return item(
        ContourGeometricType=kind, NumberOfContourPoints=len(points), ContourData=numbers, ContourImageSequence=images
    )


def structure_set(regions: dict[str, list[Dataset]], frame="1.2.3.9", series="1.2.3.4", images=()) -> Dataset:
    """An RTSTRUCT with one region per name; names may end in ``#`` and anything, to have one name twice."""
    out = item(SOPClassUID=RTStructureSetStorage, SOPInstanceUID="1.2.77", Modality="RTSTRUCT")
    out.PatientName, out.PatientID, out.ApprovalStatus = "SECRET^NAME", "SECRETID", "APPROVED"
    out.StudyInstanceUID, out.SeriesInstanceUID = "1.2.3", "1.2.78"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    out.file_meta = meta
    if series:
        listed = [item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=uid) for uid in images]
        one = item(SeriesInstanceUID=series, ContourImageSequence=listed)
        study = item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.2.3", RTReferencedSeriesSequence=[one])
        reference = item(FrameOfReferenceUID=frame or None, RTReferencedStudySequence=[study])
        out.ReferencedFrameOfReferenceSequence = [reference]
    out.StructureSetROISequence = [
        item(ROINumber=n, ROIName=name.split("#")[0], ReferencedFrameOfReferenceUID=frame or None)
        for n, name in enumerate(regions, 1)
    ]
    out.ROIContourSequence = [
        item(ReferencedROINumber=n, ContourSequence=contours or None, ROIDisplayColor=[255, 0, n])
        for n, contours in enumerate(regions.values(), 1)
    ]
    out.RTROIObservationsSequence = [
        item(ReferencedROINumber=n, ObservationNumber=n, RTROIInterpretedType="GTV", ROIInterpreter="SECRET")
        for n in range(1, len(regions) + 1)
    ]
    return out


def save(dataset: Dataset, path: Path) -> Path:
    """Write a set and return its path."""
    dataset.save_as(path, enforce_file_format=True)
    return path
