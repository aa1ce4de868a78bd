"""NRRD, MetaImage and 2-D pictures through SimpleITK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..space.affine import Affine
from ..space.volume import Volume
from .atomic import atomic_path
from .detached import TextHeader, inspect_metaimage, inspect_nrrd
from .limits import check_claimed_size

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
TEXT_HEADERS = (".nrrd", ".nhdr", ".mha", ".mhd")


@contextmanager
def _quiet() -> Iterator[None]:
    """ITK's own warnings go to the console and may name paths; ours go to the notes."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def read_itk(path: Path) -> Volume:
    """Read NRRD or MetaImage with its geometry, or a picture as a volume of one slice.

    A picture gets spacing 1 mm and no orientation: a resolution in dots per inch says nothing about the patient.

    Raises:
        InputError: as :func:`~.detached.inspect_nrrd`; ``input.unreadable`` with the reader's reason;
            ``input.truncated``, ``input.too_large``, ``input.four_d``, ``volume.dtype``, ``volume.geometry``.
    """
    suffix = path.suffix.lower()
    picture = suffix in PICTURES
    header = None
    if suffix in (".nrrd", ".nhdr"):
        header = inspect_nrrd(path)
    elif not picture:
        header = inspect_metaimage(path)
    elif suffix in (".jpg", ".jpeg"):
        _check_jpeg_end(path)
    image = _read(path, header)
    voxels, notes = _voxels(image, path.name)
    if picture:
        note = "A picture without a place in a patient: spacing 1 mm per pixel and no orientation were assumed."
        return Volume(voxels, Affine(np.eye(4)), notes=(*notes, note), name=path.name)
    try:
        affine = _affine(image)
    except InputError as error:
        raise InputError(error.code, f"{path.name}: {error.message}") from None
    return Volume(voxels, affine, notes=tuple(notes), name=path.name)


def _read(path: Path, header: TextHeader | None) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with _quiet():
        try:
            reader.ReadImageInformation()
            size = reader.GetSize()
            if len([n for n in size if n > 1]) > 3 or (len(size) > 3 and max(size[3:]) > 1):
                raise InputError(
                    "input.four_d",
                    f"{path.name}: expected a 2-D or 3-D image, got {' x '.join(map(str, size))}; save the phase"
                    " that you want as a 3-D file.",
                )
            stored = None if header is None else header.stored_bytes
            compressed = header is not None and bool(header.compressed)
            voxel_bytes = _bytes_per_value(reader.GetPixelID()) * reader.GetNumberOfComponents()
            check_claimed_size(path.name, size, voxel_bytes, stored, compressed)
            return reader.Execute()
        except RuntimeError as error:
            raise InputError(
                "input.unreadable", f"{path.name}: the file cannot be read ({_reason(error)}); export or copy it again."
            ) from error


def _bytes_per_value(pixel_id: int) -> int:
    name = sitk.GetPixelIDValueAsString(pixel_id)
    return next((n // 8 for n in (64, 32, 16, 8) if f"{n}-bit" in name), 1)


def _reason(error: RuntimeError) -> str:
    """Last telling line of an ITK message, without addresses and paths."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = next((line for line in lines if "ITK ERROR" in line or "sitk::ERROR" in line), lines[-1] if lines else "")
    text = text.split("): ", 1)[-1].removeprefix("ITK ERROR: ").removeprefix("sitk::ERROR: ")
    words = [word for word in text.split() if "/" not in word and "\\" not in word]
    return " ".join(words).strip(" .:") or "unknown reason"


def _voxels(image: sitk.Image, name: str) -> tuple[np.ndarray, list[str]]:
    voxels = sitk.GetArrayFromImage(image)
    if voxels.dtype.kind not in "iuf":
        kind = image.GetPixelIDTypeAsString()
        raise InputError("volume.dtype", f"{name}: expected integer or real voxels, got {kind}.")
    components = image.GetNumberOfComponentsPerPixel()
    spatial = voxels.shape[:-1] if components > 1 else voxels.shape
    # an axis of length one is added for a slice, removed for a fourth dimension that holds one image
    shape = (1,) * (3 - len(spatial)) + spatial[-3:]
    notes = []
    voxels = voxels.reshape(shape + ((components,) if components > 1 else ()))
    if components == 4 and voxels.dtype == np.uint8:
        voxels = voxels[..., :3]
        notes.append("The transparency of the picture was ignored.")
    return voxels, notes


def _affine(image: sitk.Image) -> Affine:
    n = min(image.GetDimension(), 3)
    spacing, origin, direction = np.ones(3), np.zeros(3), np.eye(3)
    spacing[:n], origin[:n] = image.GetSpacing()[:n], image.GetOrigin()[:n]
    full = image.GetDimension()
    direction[:n, :n] = np.reshape(image.GetDirection(), (full, full))[:n, :n]
    return Affine.from_parts(spacing, origin, direction)


def _check_jpeg_end(path: Path) -> None:
    """A JPEG that ends early is completed with grey by the decoder; the end marker FF D9 tells."""
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(b"\xff\xd8"):
        raise InputError("input.unreadable", f"{path.name}: expected a JPEG picture, found other content.")
    if b"\xff\xd9" not in data[-4096:]:
        raise InputError(
            "input.truncated", f"{path.name}: the picture ends too early; it was copied incompletely, copy it again."
        )


def write_itk(path: Path, voxels: np.ndarray, affine: Affine) -> None:
    """Write [K, J, I] or [K, J, I, C] as NRRD or MHA, compressed, atomically.

    Raises:
        InputError: ``output.*`` as :func:`~.atomic.atomic_path`.
    """
    image = sitk.GetImageFromArray(voxels, isVector=voxels.ndim == 4)
    image.SetSpacing([float(s) for s in affine.spacing])
    image.SetOrigin([float(x) for x in affine.origin])
    image.SetDirection([float(x) for x in affine.direction.ravel()])
    with atomic_path(path, path.suffix.lower()) as temporary, _quiet():
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise InputError("output.not_writable", f"Cannot write {path.name}: {_reason(error)}.") from error
