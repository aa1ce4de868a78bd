"""Images in, images and masks out: one door for all formats.

    read    .nii .nii.gz .nrrd .nhdr .mha .mhd, a DICOM folder or file, .png .jpg .bmp .tif (one slice)
    write   .nii .nii.gz .nrrd .mha (one file each, so that it can appear whole or not at all)
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..progress import Progress
from ..space.statistics import count_not_finite
from ..space.volume import Volume, map_mask
from .itk_images import PICTURES, TEXT_HEADERS, read_itk, write_itk
from .nifti import read_nifti, write_nifti

_NIFTI = (".nii", ".nii.gz")
_WRITABLE = (".nii", ".nii.gz", ".nrrd", ".mha")
_READABLE = "a DICOM folder, .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, .png, .jpg, .bmp or .tif"
_NEVER_OPENED = {
    (".npz", ".npy", ".pkl", ".pickle", ".pt", ".pth"): "numpy and pickle files can carry code and have no geometry",
    (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar"): "archives are not unpacked here; unpack it yourself",
    (".hdr", ".img"): "pairs of header and voxels are not read; convert it to one .nii.gz",
}


@dataclass(frozen=True, eq=False)
class LoadedMask:
    """A mask or label image brought to the grid of a volume.

    Attributes:
        labels: integers [K, J, I] on the volume's grid; 0 is background.
        resampled: True if the file had another grid.
        notes: sentences for the report.
    """

    labels: np.ndarray
    resampled: bool
    notes: tuple[str, ...]


def load_volume(
    path: str | os.PathLike[str],
    *,
    series: str | None = None,
    allow_gaps: bool = False,
    progress: Progress | None = None,
) -> Volume:
    """Read an image with its place in the patient.

    Args:
        path: see the module's text. Formats are told by name, DICOM also by content.
        series: Series Instance UID (or its end, if unique) when a DICOM folder holds several.
        allow_gaps: fill missing DICOM slices by interpolation instead of refusing.
        progress: told of every DICOM file; other formats are read in one go.

    Returns:
        Volume with voxels of the stored type; nothing is windowed or converted to float as a whole. NaN and infinite
        voxels stay in it, are counted in the notes, and count as the lowest (+inf: highest) value for a model.

    Raises:
        InputError: ``input.missing``, ``input.empty``, ``input.unsupported``, ``input.unsafe``, ``input.unreadable``,
            ``input.truncated``, ``input.too_large``, ``input.four_d``, ``input.detached_outside``,
            ``volume.geometry``, ``volume.dtype``, ``volume.all_nan``, and ``dicom.*`` of
            :func:`~SegmentAnythingMedLib.files.dicom.read_series`.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("input.missing", f"{path.name or path} was not found; check the path.")
    try:
        return _check_finite(_read(path, series, allow_gaps, progress))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("input.unreadable", f"{path.name} cannot be read: {reason}.") from error


def _read(path: Path, series: str | None, allow_gaps: bool, progress: Progress | None) -> Volume:
    suffix = image_suffix(path)
    if path.is_dir():
        return _read_dicom(path, series, allow_gaps, progress)
    if path.stat().st_size == 0:
        raise InputError("input.empty", f"{path.name} is empty (0 bytes); copy or export it again.")
    for suffixes, reason in _NEVER_OPENED.items():
        if suffix in suffixes:
            raise InputError("input.unsafe", f"{path.name}: {reason}; expected {_READABLE}.")
    if suffix in _NIFTI:
        return read_nifti(path)
    if suffix in TEXT_HEADERS or suffix in PICTURES:
        return read_itk(path)
    if suffix in (".dcm", ".ima") or _is_dicom(path):
        return _read_dicom(path, series, allow_gaps, progress)
    raise InputError("input.unsupported", f"{path.name}: expected {_READABLE}.")


def image_suffix(path: Path) -> str:
    """Lower-case ending that tells the format; ``.nii.gz`` and ``.tar.gz`` count as one."""
    name = path.name.lower()
    for double in (".nii.gz", ".tar.gz"):
        if name.endswith(double):
            return double
    return path.suffix.lower()


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read_dicom(path: Path, series: str | None, allow_gaps: bool, progress: Progress | None) -> Volume:
    from .dicom import read_series  # pydicom takes a third of a second to import; other formats do without it

    return read_series(path, series=series, allow_gaps=allow_gaps, progress=progress)


def _check_finite(volume: Volume) -> Volume:
    bad = count_not_finite(volume.voxels)
    if bad == 0:
        return volume
    if bad == volume.voxels.size:
        raise InputError("volume.all_nan", f"{volume.name}: no voxel is a number (all NaN or infinite).")
    note = f"{bad} voxels are NaN or infinite; they count as the lowest value (+infinity: highest)."
    return volume.with_notes([note])


def save_volume(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write voxels and geometry to ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``, atomically.

    bool is stored as uint8, float16 as float32; every other type as it is.

    Raises:
        InputError: ``output.format``, ``output.folder``, ``output.not_a_file``, ``output.not_writable``.
    """
    voxels = volume.voxels
    if voxels.dtype == np.bool_:
        voxels = voxels.view(np.uint8)
    elif voxels.dtype.kind == "f" and voxels.dtype.itemsize not in (4, 8):
        voxels = voxels.astype(np.float32 if voxels.dtype.itemsize == 2 else np.float64)
    path = Path(path)
    check_writable(path)
    if image_suffix(path) in _NIFTI:
        write_nifti(path, voxels, volume.affine)
    else:
        write_itk(path, np.asarray(voxels), volume.affine)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work is done, a name that :func:`save_mask` and :func:`save_volume` could not write.

    Raises:
        InputError: ``output.format``, ``output.folder``, ``output.not_a_file``.
    """
    path = Path(path)
    if image_suffix(path) not in _WRITABLE:
        raise InputError("output.format", f"Expected a name ending in {', '.join(_WRITABLE)}, got {path.name!r}.")
    if not path.parent.is_dir():
        raise InputError("output.folder", f"The folder for {path.name} does not exist; create it first.")
    if path.is_dir():
        raise InputError("output.not_a_file", f"Expected a file name to write to, {path.name} is a folder.")


def save_mask(mask: np.ndarray, like: Volume, path: str | os.PathLike[str]) -> None:
    """Write a mask or label array on the grid of ``like``, atomically.

    Args:
        mask: [K, J, I] of ``like``; bool or integers. Stored in the smallest of uint8, uint16, int16, int32 that fits.
        like: the volume that was segmented; its affine is written.
        path: as :func:`save_volume`.

    Raises:
        InputError: ``volume.shape`` when the shapes differ, ``volume.dtype`` for real numbers or labels beyond int32;
            ``output.*`` as :func:`save_volume`.
    """
    mask = np.asarray(mask)
    if mask.shape != like.shape:
        raise InputError("volume.shape", f"Expected a mask of shape {like.shape}, got {mask.shape}.")
    if mask.dtype.kind not in "biu":
        raise InputError("volume.dtype", f"Expected a boolean or integer mask, got {mask.dtype}.")
    save_volume(replace(like, voxels=_smallest_integers(mask)), path)


def _smallest_integers(labels: np.ndarray) -> np.ndarray:
    if labels.dtype == np.bool_:
        return labels.view(np.uint8)
    lowest, highest = int(labels.min()), int(labels.max())
    for dtype in (np.uint8, np.uint16, np.int16, np.int32):
        if np.iinfo(dtype).min <= lowest and highest <= np.iinfo(dtype).max:
            return labels.astype(dtype, copy=False)
    raise InputError("volume.dtype", f"Expected labels that fit 32 bits, got {lowest} to {highest}.")


def read_mask(path: str | os.PathLike[str], like: Volume) -> LoadedMask:
    """Read a mask or label image and bring it to the grid of ``like`` through both affines (nearest voxel).

    In a PNG with a palette the index is the label. Another colour picture must be grey (all channels alike). A JPEG is
    cut at half of its largest value, since its compression leaves grey borders.

    Raises:
        InputError: as :func:`load_volume`; ``volume.dtype`` for a mask with fractions; ``mask.elsewhere`` when it does
            not overlap the volume at all.
    """
    path = Path(path)
    source = load_volume(path)
    indices = palette_indices(path) if image_suffix(path) == ".png" else None
    if indices is not None:
        source = replace(source, voxels=indices[None])
    labels = _as_labels(source, jpeg=image_suffix(path) in (".jpg", ".jpeg"))
    if source.same_grid(like):
        return LoadedMask(labels, False, ())
    moved = map_mask(labels, source, like)
    if labels.any() and not moved.any():
        raise InputError(
            "mask.elsewhere", f"{path.name} lies elsewhere: none of its labelled voxels is inside the image."
        )
    note = f"{path.name} has another grid than the image and was resampled to it (nearest voxel)."
    return LoadedMask(moved, True, (note,))


def load_mask(path: str | os.PathLike[str], like: Volume) -> np.ndarray:
    """Integers [K, J, I] on the grid of ``like``; see :func:`read_mask`, which also says whether it was resampled."""
    return read_mask(path, like).labels


def palette_indices(path: Path) -> np.ndarray | None:
    """Indices uint8 [H, W] of a PNG that stores colours in a palette; None for any other PNG.

    SimpleITK returns the colours, which say nothing about the labels.
    """
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture) if picture.mode == "P" else None


def _as_labels(source: Volume, jpeg: bool) -> np.ndarray:
    voxels = source.voxels
    if voxels.ndim == 4:
        voxels = voxels[..., 0]
        if not jpeg and any(not np.array_equal(source.voxels[..., c], voxels) for c in range(1, source.channels)):
            raise InputError(
                "volume.dtype", f"{source.name}: expected one label per voxel, got {source.channels} channels."
            )
    if jpeg:
        return (voxels > int(voxels.max()) / 2).astype(np.uint8)
    if voxels.dtype.kind == "b":
        return voxels.astype(np.uint8)
    if voxels.dtype.kind == "f":
        whole = all(bool(np.all(plane == np.floor(plane))) and bool(np.isfinite(plane).all()) for plane in voxels)
        if not whole or float(np.abs(voxels).max()) > np.iinfo(np.int32).max:
            raise InputError("volume.dtype", f"{source.name}: expected whole numbers as labels, got fractions or NaN.")
        return voxels.astype(np.int32)
    return np.asarray(voxels)
