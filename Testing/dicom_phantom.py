"""Small synthetic DICOM series for the tests: one CT-like phantom, and every way of getting it wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (12, 10)
SPACING = (0.8, 0.6)
AXIAL = (1.0, 0, 0, 0, 1, 0)


def phantom(count: int = 6) -> np.ndarray:
    """Stored values [count, 12, 10], all different, uint16."""
    return (np.arange(count * SHAPE[0] * SHAPE[1]).reshape(count, *SHAPE) * 3 % 4000).astype(np.uint16)


def make_slice(pixels: np.ndarray, position, orientation=AXIAL, series="1.2.3.4", **tags) -> Dataset:
    """A CT slice; ``tags`` replace or (None) remove what it has."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = Dataset()
    dataset.file_meta = meta
    values = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "Modality": "CT",
        "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": series, "FrameOfReferenceUID": "1.2.3.9",
        "PatientName": "SECRET^NAME", "PatientID": "SECRETID",
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "PixelSpacing": list(SPACING),
        "ImagePositionPatient": [float(x) for x in position],
        "ImageOrientationPatient": [float(x) for x in orientation],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8, "HighBit": pixels.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"), "RescaleSlope": 1, "RescaleIntercept": -1024,
        "WindowCenter": 40, "WindowWidth": 400, "PixelData": np.ascontiguousarray(pixels).tobytes(),
    }  # fmt: skip
    values.update(tags)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def positions(count: int, orientation=AXIAL, step=2.5, origin=(-30.0, 12, 100), lean=(0.0, 0.0)) -> np.ndarray:
    """Positions of ``count`` slices along the normal; ``lean`` = in-plane drift (along row, column) in mm per slice."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    direction = np.cross(row, column) * step + row * lean[0] + column * lean[1]
    return np.array(origin) + np.arange(count)[:, None] * direction


def make_series(count: int = 6, orientation=AXIAL, step=2.5, lean=(0.0, 0.0), **tags) -> list[Dataset]:
    """Slices in order of their position; instance numbers count from 1."""
    places = positions(count, orientation, step, lean=lean)
    return [
        make_slice(pixels, place, orientation, **{"InstanceNumber": n + 1, **tags})
        for n, (pixels, place) in enumerate(zip(phantom(count), places, strict=True))
    ]


def write(folder: Path, slices: list[Dataset], prefix: str = "slice") -> Path:
    """Write slices to ``folder`` in the given order and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, dataset in enumerate(slices):
        dataset.save_as(folder / f"{prefix}{n:03d}.dcm", enforce_file_format=True)
    return folder


def make_enhanced(count: int = 6, frame_order=None, orientation=AXIAL, step=2.5) -> Dataset:
    """The phantom as one enhanced CT file; per-frame positions, shared orientation and spacing."""
    order = list(range(count)) if frame_order is None else list(frame_order)
    first = make_slice(phantom(count)[order], [0, 0, 0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
                    "RescaleIntercept", "WindowCenter", "WindowWidth"):  # fmt: skip
        delattr(first, keyword)
    first.SOPClassUID = first.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    first.NumberOfFrames, first.Rows, first.Columns = count, *SHAPE
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[float(x) for x in orientation])]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=list(SPACING), SliceThickness=step)]
    shared.PixelValueTransformationSequence = [_item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")]
    shared.FrameVOILUTSequence = [_item(WindowCenter=40, WindowWidth=400)]
    first.SharedFunctionalGroupsSequence = [shared]
    places = positions(count, orientation, step)[order]
    first.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=[float(x) for x in place])]) for place in places
    ]
    return first


def _item(**tags) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def hu(count: int = 6) -> np.ndarray:
    """What the phantom is in HU, int64 [count, 12, 10]."""
    return phantom(count).astype(np.int64) - 1024


