"""Enhanced multi-frame images: every frame becomes a slice header of its own.

What holds for all frames stands in the shared functional groups, what differs in the per-frame ones (PS3.3 C.7.6.16).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset

from .dicom_headers import SliceHeader, number, numbers, pair, positive, positive_pair, slice_header, text, unit_vectors

_SPLIT_GROUPS = {
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
}


def frame_headers(file: Path, dataset: Dataset) -> list[SliceHeader]:
    """Slice headers of all frames.

    A multi-frame file without functional groups (cine ultrasound, scanned film) gives headers without position, which
    the geometry refuses with a reason.
    """
    common = slice_header(file, dataset)
    count = int(number(dataset, "NumberOfFrames") or 1)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    if len(per_frame) < count:
        return [replace(common, frame=n, position=None) for n in range(count)]
    return [_frame(common, n, per_frame[n], shared) for n in range(count)]


def _frame(common: SliceHeader, index: int, own: Dataset, shared: Dataset) -> SliceHeader:
    def group(keyword: str) -> Dataset:
        for groups in (own, shared):
            sequence = groups.get(keyword)
            if sequence:
                return sequence[0]
        return Dataset()

    measures = group("PixelMeasuresSequence")
    transformation = group("PixelValueTransformationSequence")
    window = pair(group("FrameVOILUTSequence"), "WindowCenter", "WindowWidth")
    thickness = positive(number(measures, "SpacingBetweenSlices")) or positive(number(measures, "SliceThickness"))
    splits = {tag: text(group(sequence), tag) for tag, sequence in _SPLIT_GROUPS.items()}
    return replace(
        common,
        frame=index,
        position=numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=unit_vectors(numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6)),
        pixel_spacing=positive_pair(numbers(measures, "PixelSpacing", 2)) or common.pixel_spacing,
        thickness=thickness or common.thickness,
        rescale=pair(transformation, "RescaleSlope", "RescaleIntercept") or common.rescale,
        unit=text(transformation, "RescaleType") or common.unit,
        window=window if window is not None and window[1] > 0 else common.window,
        number=index,
        splits={**common.splits, **splits},
    )
