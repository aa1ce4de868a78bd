"""DICOM registration objects (REG): which place of one frame of reference is which of another.

Spatial Registration (PS3.3 C.20.2)             a matrix per frame: item -> registered frame
Deformable Spatial Registration (PS3.3 C.20.3)  per frame: registered frame -> item, as Post * (Pre * x + grid(x))

Both are read by the frame of reference or the images that an item names, never by the order of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from ..errors import InputError
from ..files.dicom import DicomSource
from ..files.dicom_headers import PARSE_ERRORS, items, numbers, quiet, read_dataset, text
from ..space.volume import Volume
from .inversion import inverted
from .transforms import VisitTransform, affine_transform, chain

_RIGID = "1.2.840.10008.5.1.4.1.1.66.1"
_DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.3"
_SOURCE = "DICOM REG"
_WORST_MM = 2.0
"""Error of a numerically inverted deformation beyond which it is refused."""


@dataclass(frozen=True, eq=False)
class _Item:
    """One frame of reference (or some of its images) and how it relates to the registered one."""

    frame_uid: str
    image_uids: frozenset[str]
    content: Dataset

    def fits(self, visit: DicomSource) -> int:
        """How surely it is about a visit: 3 names its images, 2 its frame and no images, 1 its frame, 0 neither."""
        if self.image_uids & set(visit.sop_instance_uids):
            return 3
        if not self.frame_uid or self.frame_uid != visit.frame_of_reference_uid:
            return 0
        return 1 if self.image_uids else 2


def read_registration(path: Path, prior: Volume, follow_up: Volume) -> VisitTransform:
    """The transform follow-up -> prior that a DICOM registration object holds.

    Args:
        path: the file.
        prior: DICOM series of the prior visit.
        follow_up: DICOM series of today.

    Raises:
        InputError: ``visits.transform`` when the file is damaged or no registration object, when the visits are no
            DICOM series, when the object relates other frames of reference, or when its deformation cannot be turned
            round.
    """
    dataset = _read(path)
    visits = prior.source, follow_up.source
    if not all(isinstance(visit, DicomSource) for visit in visits):
        raise InputError(
            "visits.transform",
            f"{path.name}: a DICOM registration names frames of reference, which only DICOM images have; give both"
            " visits as DICOM series, or an ITK transform.",
        )
    try:
        with quiet():
            if text(dataset, "SOPClassUID") == _RIGID:
                return _rigid(dataset, visits, path.name)
            return _deformable(dataset, visits, (prior, follow_up), path.name)
    except PARSE_ERRORS as error:
        raise InputError("visits.transform", f"{path.name}: the registration is damaged; export it again.") from error


def _read(path: Path) -> Dataset:
    if not path.is_file():
        raise InputError("input.missing", f"{path.name or path} was not found; check the path.")
    with quiet():
        try:
            dataset = read_dataset(path)
        except (*PARSE_ERRORS, OSError) as error:
            raise InputError("visits.transform", f"{path.name} cannot be read as DICOM; export it again.") from error
        if text(dataset, "SOPClassUID") not in (_RIGID, _DEFORMABLE):
            raise InputError(
                "visits.transform", f"{path.name}: expected a DICOM registration object (REG), found another object."
            )
    return dataset


def _rigid(dataset: Dataset, visits: tuple[DicomSource, DicomSource], name: str) -> VisitTransform:
    found = [
        _Item(text(item, "FrameOfReferenceUID"), _images(item), item) for item in items(dataset, "RegistrationSequence")
    ]
    to_prior, to_follow_up = (_matrix(_chosen(found, dataset, visit, name), name) for visit in visits)
    return VisitTransform.from_matrix(np.linalg.inv(to_prior) @ to_follow_up, _SOURCE)


def _matrix(item: _Item | None, name: str) -> np.ndarray:
    """Item -> registered frame; several matrices of one item are multiplied in their order (equation C.20.2-2)."""
    whole = np.eye(4)
    if item is not None:
        for registration in items(item.content, "MatrixRegistrationSequence"):
            for part in items(registration, "MatrixSequence"):
                whole = whole @ _numbers_of(part, name)
    return whole


def _deformable(
    dataset: Dataset, visits: tuple[DicomSource, DicomSource], volumes: tuple[Volume, Volume], name: str
) -> VisitTransform:
    found = [
        _Item(text(item, "SourceFrameOfReferenceUID"), _images(item), item)
        for item in items(dataset, "DeformableRegistrationSequence")
    ]
    from_registered = [_map(_chosen(found, dataset, visit, name), name) for visit in visits]
    to_prior, to_follow_up = from_registered
    back, worst = inverted(to_follow_up, volumes[1])
    if worst > _WORST_MM:
        raise InputError(
            "visits.transform",
            f"{name}: the deformation runs from the prior to the follow-up and cannot be turned round (error"
            f" {worst:.1f} mm); export the registration in the other direction.",
        )
    notes = [note for one in from_registered for note in one.notes]
    if not to_follow_up.is_linear:
        notes.append(f"The deformation was stored in the other direction and inverted (error at most {worst:.2f} mm).")
    both = back.then(to_prior, _SOURCE)
    return VisitTransform(both.itk, _SOURCE, tuple(notes))


def _map(item: _Item | None, name: str) -> VisitTransform:
    """Registered frame -> item: x -> Post * (Pre * x + grid(x))."""
    if item is None:
        return VisitTransform.identity()
    pre, post = (
        _single(item.content, f"{which}DeformationMatrixRegistrationSequence", name) for which in ("Pre", "Post")
    )
    grids = items(item.content, "DeformableRegistrationGridSequence")
    if not grids:
        return VisitTransform.from_matrix(post @ pre, _SOURCE)
    field, undefined = _field(grids[0], name)
    # ITK adds its field to x before the matrices; moved in front of Pre, the grid's offsets are turned back by it
    field = field @ np.linalg.inv(pre[:3, :3]).T
    path = chain(_displacement(grids[0], field, name), affine_transform(pre), affine_transform(post))
    notes = (f"{undefined} points of the deformation grid are undefined; they do not deform.",) if undefined else ()
    return VisitTransform(path, _SOURCE, notes)


def _field(grid: Dataset, name: str) -> tuple[np.ndarray, int]:
    """Offsets in mm, float64 [K, J, I, 3], and how many were undefined."""
    dimensions = numbers(grid, "GridDimensions", 3)
    data = grid.get("VectorGridData")
    shape = () if dimensions is None else tuple(int(n) for n in dimensions[::-1])
    if not shape or min(shape) < 1 or not isinstance(data, bytes) or len(data) < 12 * int(np.prod(shape)):
        raise InputError("visits.transform", f"{name}: the deformation grid is cut short or has no size.")
    field = np.frombuffer(data, dtype="<f4", count=3 * int(np.prod(shape))).reshape(*shape, 3).astype(np.float64)
    bad = ~np.isfinite(field).all(axis=-1)
    field[bad] = 0.0
    return field, int(np.count_nonzero(bad))


def _displacement(grid: Dataset, field: np.ndarray, name: str) -> sitk.Transform:
    origin, resolution = numbers(grid, "ImagePositionPatient", 3), numbers(grid, "GridResolution", 3)
    cosines = numbers(grid, "ImageOrientationPatient", 6)
    if origin is None or resolution is None or cosines is None or resolution.min() <= 0:
        raise InputError("visits.transform", f"{name}: the deformation grid does not say where it lies.")
    row, column = cosines[:3], cosines[3:]
    image = sitk.GetImageFromArray(field, isVector=True)
    image.SetOrigin(origin.tolist())
    image.SetSpacing(resolution.tolist())
    image.SetDirection(np.stack([row, column, np.cross(row, column)], axis=1).ravel().tolist())
    return sitk.DisplacementFieldTransform(image)


def _single(dataset: Dataset, keyword: str, name: str) -> np.ndarray:
    found = items(dataset, keyword)
    return _numbers_of(found[0], name) if found else np.eye(4)


def _numbers_of(item: Dataset, name: str) -> np.ndarray:
    values = numbers(item, "FrameOfReferenceTransformationMatrix", 16)
    if values is None or abs(np.linalg.det(values.reshape(4, 4))) < 1e-6:
        raise InputError("visits.transform", f"{name}: a matrix of the registration is missing or cannot be inverted.")
    return values.reshape(4, 4)


def _images(item: Dataset) -> frozenset[str]:
    return frozenset(text(image, "ReferencedSOPInstanceUID") for image in items(item, "ReferencedImageSequence"))


def _chosen(found: Sequence[_Item], dataset: Dataset, visit: DicomSource, name: str) -> _Item | None:
    """The item about a visit; None for a visit that lies in the registered frame itself."""
    best = max(found, key=lambda item: item.fits(visit), default=None)
    if best is not None and best.fits(visit):
        return best
    registered = text(dataset, "FrameOfReferenceUID")
    if registered and registered == visit.frame_of_reference_uid:
        return None
    raise InputError(
        "visits.transform",
        f"{name} relates other frames of reference than those of the visits; give the registration of these images.",
    )
