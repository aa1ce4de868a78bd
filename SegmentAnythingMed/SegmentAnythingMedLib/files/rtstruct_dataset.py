"""The attributes of an RTSTRUCT: PS3.3 A.19.3, with what a reader of drafts needs to judge them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from .. import __version__
from .dicom import DicomSource
from .dicom_headers import quiet, text
from .drafts import LONGEST_TEXT, Code, Draft, Origin, clean_text
from .source_headers import read_headers

TOOL = "SegmentAnythingMed"
_COPIED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "PositionReferenceIndicator",
)  # fmt: skip
"""Patient, study and frame of reference, as the source says; nothing is added to them."""

_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator", "OperatorsName",
)  # fmt: skip
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
_COLOURS = ((230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240))


@dataclass(frozen=True, eq=False)
class Region:
    """A draft as contours: (index of the stored slice, float64 [N, 3] LPS) each, all of one geometric type."""

    draft: Draft
    name: str
    contours: Sequence[tuple[int, np.ndarray]]
    kind: str


def build_dataset(source: DicomSource, regions: Sequence[Region], origin: Origin) -> Dataset:
    """The whole object, ready to be saved.

    Raises:
        InputError: ``dicom.source_gone`` when the first file of the series cannot be read any more.
    """
    now = datetime.datetime.now()
    (header,) = read_headers(source.files[:1], _COPIED)
    source = replace(source, sop_class_uid=source.sop_class_uid or header.SOPClassUID)
    out = _copied(header)
    out.SpecificCharacterSet = "ISO_IR 192"
    out.SOPClassUID, out.SOPInstanceUID = RTStructureSetStorage, generate_uid(prefix=None)
    out.SeriesInstanceUID, out.StudyInstanceUID = generate_uid(prefix=None), source.study_uid
    out.Modality, out.SeriesNumber, out.InstanceNumber = "RTSTRUCT", None, 1
    out.SeriesDescription = clean_text(f"AI draft - {clean_text(origin.model, 38)} - unapproved")
    out.Manufacturer, out.ManufacturerModelName, out.SoftwareVersions = TOOL, TOOL, __version__
    out.InstanceCreationDate = out.SeriesDate = out.StructureSetDate = out.ContentDate = now.strftime("%Y%m%d")
    out.InstanceCreationTime = out.SeriesTime = out.StructureSetTime = out.ContentTime = now.strftime("%H%M%S")
    out.StructureSetLabel = f"SAMed {now:%Y%m%d}"
    out.StructureSetName = out.SeriesDescription
    out.ApprovalStatus = "UNAPPROVED"
    out.FrameOfReferenceUID = source.frame_of_reference_uid
    out.ContributingEquipmentSequence = [_equipment(now)]
    out.ReferencedFrameOfReferenceSequence = [_reference(source)]
    if origin.predecessor_uid:
        out.PredecessorStructureSetSequence = [_sop(origin.predecessor_class_uid, origin.predecessor_uid)]
    out.StructureSetROISequence = [_roi(n, region, source, origin) for n, region in enumerate(regions, 1)]
    out.ROIContourSequence = [_drawn(n, region, source) for n, region in enumerate(regions, 1)]
    out.RTROIObservationsSequence = [_observed(n, region) for n, region in enumerate(regions, 1)]
    for keyword in _TYPE_2:
        if keyword not in out:
            setattr(out, keyword, "")
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # explicit lengths of 16 bits are too short for contours
    out.file_meta.MediaStorageSOPClassUID = out.SOPClassUID
    out.file_meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    return out


def _copied(header: Dataset) -> Dataset:
    out = Dataset()
    with quiet():
        for keyword in _COPIED:
            if value := text(header, keyword):
                setattr(out, keyword, value)
    return out


def _equipment(now: datetime.datetime) -> Dataset:
    return _item(
        PurposeOfReferenceCodeSequence=[_coded(Code("109103", "DCM", "Modifying Equipment"))],
        Manufacturer=TOOL, ManufacturerModelName=TOOL, SoftwareVersions=__version__,
        ContributionDateTime=now.strftime("%Y%m%d%H%M%S"),
        ContributionDescription="Draft contours of a promptable segmentation model; not approved",
    )  # fmt: skip


def _reference(source: DicomSource) -> Dataset:
    """Frame of reference -> study -> series -> every slice of the original series."""
    instances = dict.fromkeys(source.sop_instance_uids)
    series = _item(
        SeriesInstanceUID=source.series_uid,
        ContourImageSequence=[_sop(source.sop_class_uid, uid) for uid in instances],
    )
    study = _sop(_DETACHED_STUDY, source.study_uid)
    study.RTReferencedSeriesSequence = [series]
    return _item(FrameOfReferenceUID=source.frame_of_reference_uid, RTReferencedStudySequence=[study])


def _roi(number: int, region: Region, source: DicomSource, origin: Origin) -> Dataset:
    draft = region.draft
    made = f"{TOOL} {__version__}, {origin.model} {origin.model_sha256[:12]}, {origin.mode}"
    lines = [f"Name given: {draft.name}" if draft.name != region.name else "", draft.description, made]
    item = _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.frame_of_reference_uid,
        ROIName=region.name,
        ROIDescription=clean_text("; ".join(line for line in lines if line), LONGEST_TEXT),
        ROIGenerationAlgorithm=draft.algorithm,
        ROIGenerationDescription=clean_text(made),
        TrackingID=clean_text(draft.tracking_id or draft.name) or region.name,
        TrackingUID=draft.tracking_uid or generate_uid(prefix=None),
    )
    if draft.algorithm != "MANUAL":
        item.ROIDerivationAlgorithmIdentificationSequence = [_algorithm(origin)]
    return item


def _algorithm(origin: Origin) -> Dataset:
    return _item(
        AlgorithmFamilyCodeSequence=[_coded(Code("123110", "DCM", "Artificial Intelligence"))],
        AlgorithmName=clean_text(f"{TOOL} {origin.model}"),
        AlgorithmVersion=clean_text(f"{__version__} {origin.model_sha256[:12]}"),
        AlgorithmSource=TOOL,
    )


def _drawn(number: int, region: Region, source: DicomSource) -> Dataset:
    contours = []
    for count, (slice_index, points) in enumerate(region.contours, 1):
        image = _sop(source.sop_class_uid, source.sop_instance_uids[slice_index])
        if source.frame_numbers is not None:
            image.ReferencedFrameNumber = source.frame_numbers[slice_index]
        item = _item(
            ContourNumber=count,
            ContourImageSequence=[image],
            ContourGeometricType=region.kind,
            NumberOfContourPoints=len(points),
        )
        numbers = [_decimal(x) for x in points.ravel().tolist()]
        item.add(DataElement(0x30060050, "DS", numbers, already_converted=True))  # else checked one by one: seconds
        contours.append(item)
    colour = region.draft.colour or _COLOURS[(number - 1) % len(_COLOURS)]
    return _item(ReferencedROINumber=number, ROIDisplayColor=list(colour), ContourSequence=contours)


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, to a millionth of a millimetre."""
    out = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if out == "-0" else out


def _observed(number: int, region: Region) -> Dataset:
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=clean_text(region.name, 16),
        RTROIIdentificationCodeSequence=[_coded(region.draft.code)],
        RTROIInterpretedType=clean_text(region.draft.interpreted_type.upper(), 16),
        ROIInterpreter="",  # nobody has signed
    )


def _sop(class_uid: str, instance_uid: str) -> Dataset:
    return _item(ReferencedSOPClassUID=class_uid, ReferencedSOPInstanceUID=instance_uid)


def _coded(code: Code) -> Dataset:
    return _item(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=clean_text(code.meaning))


def _item(**tags: object) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item
