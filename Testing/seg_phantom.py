"""Small DICOM SEG files for the tests, written without highdicom: every kind, cropped, oblique, overlapping, broken."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import ExplicitVRLittleEndian
from rtstruct_phantom import item


def make_seg(frames, spacing, orientation, kind="BINARY", labels=("one", "two"), **tags) -> Dataset:
    """A SEG of ``frames``: (segment number or None, LPS of the first pixel, pixels [rows, columns]) each."""
    pixels = np.stack([frame[2] for frame in frames]).astype(np.uint8)
    out = item(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", SOPInstanceUID="1.2.88", Modality="SEG")
    out.PatientName, out.PatientID, out.SeriesInstanceUID = "SECRET^NAME", "SECRETID", "1.2.89"
    out.SegmentationType, out.FrameOfReferenceUID = kind, "1.2.3.9"
    bits = 1 if kind == "BINARY" else 8
    out.NumberOfFrames, out.Rows, out.Columns = len(frames), *pixels.shape[1:]
    out.SamplesPerPixel, out.PhotometricInterpretation, out.PixelRepresentation = 1, "MONOCHROME2", 0
    out.BitsAllocated, out.BitsStored, out.HighBit = bits, bits, bits - 1
    if kind == "FRACTIONAL":
        out.SegmentationFractionalType, out.MaximumFractionalValue = "PROBABILITY", 200
    out.PixelData = pack_bits(pixels, pad=True) if bits == 1 else pixels.tobytes() + b"\0" * (pixels.size % 2)
    code = [item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="Thing")]
    out.SegmentSequence = [
        item(SegmentNumber=n, SegmentLabel=label, SegmentAlgorithmType="MANUAL", TrackingID=label,
             SegmentedPropertyCategoryCodeSequence=code, SegmentedPropertyTypeCodeSequence=code)
        for n, label in enumerate(labels, 1)
    ]  # fmt: skip
    shared = item(PlaneOrientationSequence=[item(ImageOrientationPatient=[float(x) for x in orientation])])
    shared.PixelMeasuresSequence = [item(PixelSpacing=[float(x) for x in spacing])]
    out.SharedFunctionalGroupsSequence = [shared]
    out.PerFrameFunctionalGroupsSequence = [_groups(segment, place) for segment, place, _ in frames]
    for keyword, value in tags.items():
        setattr(out, keyword, value)
    out.file_meta = FileMetaDataset()
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out.file_meta.MediaStorageSOPClassUID, out.file_meta.MediaStorageSOPInstanceUID = out.SOPClassUID, "1.2.88"
    return out


def _groups(segment, place) -> Dataset:
    groups = item(PlanePositionSequence=[item(ImagePositionPatient=[round(float(x), 6) for x in place])])
    if segment is not None:
        groups.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=segment)]
    return groups
