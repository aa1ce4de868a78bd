"""Drafts -> a DICOM SEG through highdicom, read back and compared before it counts as written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from .. import __version__
from ..errors import InputError, InstallError
from ..progress import Progress
from ..space.volume import Volume
from .atomic import atomic_path
from .dicom import DicomSource
from .dicom_headers import PARSE_ERRORS, quiet
from .dicom_seg import read_seg
from .drafts import LONGEST_TEXT, Code, Draft, Origin, Written, check_drafts, clean_text, unique_names
from .mask_agreement import check_agreement
from .seg_masks import mask_on_stored
from .slice_planes import stored_planes, to_stored
from .source_headers import read_headers

TOOL = "SegmentAnythingMed"
_NEEDED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes that may be empty but must be there; old scanners leave them out."""


def write_seg(
    path: str | os.PathLike[str],
    volume: Volume,
    drafts: Sequence[Draft],
    origin: Origin | None = None,
    *,
    progress: Progress | None = None,
) -> Written:
    """Write structures as a binary DICOM SEG on the stored slices of the series; structures may overlap.

    Args:
        path: file to write; appears whole or not at all.
        volume: the DICOM series that was segmented (:func:`~SegmentAnythingMedLib.files.dicom.read_series`).
        drafts: structures with masks on the volume's grid.
        origin: model and mode; a predecessor is not written, SEG has no place for one: use the tracking UIDs.
        progress: told of every structure.

    Returns:
        What was written, and how well it was read back.

    Raises:
        InstallError: ``install.highdicom`` when highdicom is missing.
        InputError: ``seg.no_series``, ``seg.no_uids``, ``seg.no_frame_of_reference``, ``seg.nothing_to_write``,
            ``seg.algorithm``, ``volume.shape``; ``dicom.source_gone`` when the series was moved; ``seg.source``
            when its headers lack what a SEG must repeat; ``seg.verification``; ``output.*``.
        Cancelled: through ``progress``.
    """
    highdicom = load_highdicom()
    check_drafts(drafts, volume, "seg")
    names = unique_names([draft.name for draft in drafts])
    if progress is not None:
        progress.start("Writing DICOM SEG", len(drafts))
    kept, given, empty = [], [], []
    for draft, name in zip(drafts, names, strict=True):
        if progress is not None:
            progress.check()
            progress.advance()
        stored = to_stored(draft.mask, volume)
        if stored.any():
            kept.append((draft, name))
            given.append(stored)
        else:
            empty.append(name)
    if not kept:
        raise InputError("seg.nothing_to_write", "No structure has a voxel on a stored slice of the series.")
    dataset = _build(highdicom, volume, kept, given, origin or Origin())
    with atomic_path(path, ".dcm") as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
        agreement = _read_back(temporary, volume, [name for _, name in kept], given)
    return Written(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        names=tuple(name for _, name in kept),
        empty=tuple(empty),
        dice=min(overlap for overlap, _ in agreement),
        edge_px=max(edge for _, edge in agreement),
        notes=(f"{len(empty)} structures without a voxel were left out.",) if empty else (),
    )


def load_highdicom() -> ModuleType:
    """The package that writes DICOM SEG.

    Raises:
        InstallError: ``install.highdicom`` when it is missing.
    """
    try:
        import highdicom.seg
    except ImportError:
        raise InstallError(
            "install.highdicom",
            "Writing DICOM SEG needs the package highdicom, which is not installed; add it with:"
            ' pip install "segment-anything-med[dicom]"',
        ) from None
    return highdicom


def _build(
    highdicom: ModuleType,
    volume: Volume,
    kept: Sequence[tuple[Draft, str]],
    given: Sequence[np.ndarray],
    origin: Origin,
) -> Dataset:
    images, order = _source_images(volume.source)
    measures = _measures(highdicom, volume)
    for image in images:
        if volume.source.frame_numbers is None and "SliceThickness" not in image:
            image.SliceThickness = measures[0].SliceThickness  # highdicom insists on one to compare with
    pixels = np.stack(given, axis=-1).astype(np.uint8)[order]
    with quiet():
        try:
            dataset = highdicom.seg.Segmentation(
                source_images=images,
                pixel_array=pixels,
                segmentation_type="BINARY",
                segment_descriptions=[
                    _description(highdicom, n, draft, name, origin) for n, (draft, name) in enumerate(kept, 1)
                ],
                pixel_measures=measures,
                series_instance_uid=generate_uid(prefix=None),
                series_number=1,
                sop_instance_uid=generate_uid(prefix=None),
                instance_number=1,
                manufacturer=TOOL,
                manufacturer_model_name=TOOL,
                software_versions=__version__,
                device_serial_number="none",
                content_label="AI_DRAFT",
                content_description=clean_text(f"AI draft, unapproved: {origin.model}, {origin.mode}"),
                series_description=clean_text(f"AI draft - {clean_text(origin.model, 38)} - unapproved"),
            )
        except (*PARSE_ERRORS, RuntimeError):
            raise InputError(
                "seg.source",
                "The headers of the series lack something that a DICOM SEG must repeat; save the masks as RTSTRUCT or"
                " NIfTI instead.",
            ) from None
    return dataset


def _measures(highdicom: ModuleType, volume: Volume) -> Dataset:
    """Pixel spacing, and the distance of the stored slices as their thickness; the header's own may overlap or lack."""
    planes = stored_planes(volume)
    gaps = np.diff(planes.offsets)
    distance = float(np.median(gaps)) if len(gaps) else planes.thickness
    even = len(gaps) == 0 or float(np.abs(gaps - distance).max()) < 0.01 * distance
    return highdicom.PixelMeasuresSequence(
        pixel_spacing=volume.source.pixel_spacing,
        slice_thickness=distance,
        spacing_between_slices=distance if even else None,
    )


def _source_images(source: DicomSource) -> tuple[list[Dataset], list[int]]:
    """Headers of the source images, and for each of their frames the stored slice that it is."""
    files = list(dict.fromkeys(source.files))
    images = read_headers(files)
    for image in images:
        if "PixelData" in image:
            del image.PixelData
        for keyword in _NEEDED:
            if keyword not in image:
                setattr(image, keyword, "")
    if source.frame_numbers is None:
        return images, list(range(len(files)))
    return images, np.argsort(source.frame_numbers).tolist()


def _description(highdicom: ModuleType, number: int, draft: Draft, name: str, origin: Origin) -> Dataset:
    algorithm = None
    if draft.algorithm != "MANUAL":
        algorithm = highdicom.AlgorithmIdentificationSequence(
            name=clean_text(f"{TOOL} {origin.model}"),
            family=_coded(highdicom, Code("123110", "DCM", "Artificial Intelligence")),
            version=clean_text(f"{__version__} {origin.model_sha256[:12]}"),
            source=TOOL,
        )
    colour = None if draft.colour is None else highdicom.color.CIELabColor.from_rgb(*draft.colour)
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=_coded(highdicom, draft.category),
        segmented_property_type=_coded(highdicom, draft.code),
        algorithm_type=draft.algorithm,
        algorithm_identification=algorithm,
        tracking_uid=draft.tracking_uid or generate_uid(prefix=None),
        tracking_id=clean_text(draft.tracking_id or draft.name) or name,
        display_color=colour,
    )
    if text := clean_text(draft.description, LONGEST_TEXT):
        described.SegmentDescription = text
    return described


def _coded(highdicom: ModuleType, code: Code) -> Dataset:
    return highdicom.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _read_back(
    file: Path, volume: Volume, names: Sequence[str], given: Sequence[np.ndarray]
) -> list[tuple[float, float]]:
    seg = read_seg(file)
    if [segment.label for segment in seg.segments] != list(names):
        raise InputError("seg.verification", "The file was read back with other segments; nothing was kept.")
    return [
        check_agreement(mask, mask_on_stored(seg, segment, volume), segment.label, "seg")
        for segment, mask in zip(seg.segments, given, strict=True)
    ]
