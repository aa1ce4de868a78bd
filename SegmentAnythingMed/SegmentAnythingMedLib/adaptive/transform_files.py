"""Transforms in files: ITK and 3D Slicer (.tfm, .txt, .mat, .h5), DICOM registration objects."""

from __future__ import annotations

import os
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from ..files.atomic import atomic_path
from ..space.volume import Volume
from .dicom_registration import read_registration
from .transforms import VisitTransform

_WRITABLE = (".tfm", ".txt", ".h5", ".hdf5")


def load_transform(
    path: str | os.PathLike[str], prior: Volume | None = None, follow_up: Volume | None = None
) -> VisitTransform:
    """Read a transform follow-up -> prior.

    A file of ITK or 3D Slicer is taken in the direction in which it resamples: a Slicer transform that moves the prior
    onto the follow-up, saved to a file, is right as it is. A DICOM registration is taken in the direction that its
    frames of reference tell.

    Args:
        path: ``.tfm``, ``.txt``, ``.mat``, ``.h5``, ``.hdf5``, or a DICOM file.
        prior: volume of the prior visit, needed for DICOM.
        follow_up: volume of today, needed for DICOM.

    Raises:
        InputError: ``input.missing``; ``visits.transform`` when it cannot be read, is of the plane, or is singular; as
            :func:`~.dicom_registration.read_registration`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("input.missing", f"{path.name or path} was not found; check the path.")
    if _is_dicom(path):
        if prior is None or follow_up is None:
            raise InputError(
                "visits.transform", f"{path.name} is a DICOM registration: both visits are needed to read it."
            )
        return read_registration(path, prior, follow_up)
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK's warnings go to the console and name paths
    try:
        return VisitTransform(sitk.ReadTransform(str(path)), "file")
    except RuntimeError as error:
        raise InputError(
            "visits.transform",
            f"{path.name} holds no transform that can be read; expected .tfm, .txt, .mat, .h5 or a DICOM registration.",
        ) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def save_transform(transform: VisitTransform, path: str | os.PathLike[str]) -> None:
    """Write a transform as ITK and 3D Slicer read it, atomically; ``.h5`` for those that deform.

    Raises:
        InputError: ``output.format`` for another ending; ``output.*`` as :func:`~..files.atomic.atomic_path`.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITABLE:
        raise InputError("output.format", f"Expected a name ending in {', '.join(_WRITABLE)}, got {path.name!r}.")
    with atomic_path(path, path.suffix.lower()) as temporary:
        try:
            sitk.WriteTransform(transform.itk, str(temporary))
        except RuntimeError as error:
            raise InputError("output.not_writable", f"Cannot write {path.name}.") from error


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
