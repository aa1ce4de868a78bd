"""Pixels of DICOM slices: decoded one by one, scaled, and put on the planned grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID
from scipy import ndimage

from ..errors import InputError
from ..progress import Progress
from .dicom_geometry import StackPlan
from .dicom_headers import PARSE_ERRORS, SliceHeader, quiet, read_dataset
from .limits import check_claimed_size

_NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"}
_DECODE_ERRORS = (*PARSE_ERRORS, RuntimeError, MemoryError)
_INTEGERS = (np.int16, np.int32, np.int64)


def check_codecs(slices: Sequence[SliceHeader]) -> None:
    """Refuse compressed pixels that this installation cannot decode, before anything is read.

    Raises:
        InputError: ``dicom.no_codec`` with the transfer syntax and the package to add.
    """
    for syntax in sorted({header.syntax for header in slices} - _NATIVE):
        with quiet():
            name = UID(syntax).name
            try:
                available = get_decoder(UID(syntax)).is_available
            except NotImplementedError:
                raise InputError(
                    "dicom.no_codec",
                    f"The pixels are stored in the way {name[:64]!r}, which cannot be decoded here; decompress them.",
                ) from None
        if not available:
            extra = "jpeg2000" if "JPEG 2000" in name else "jpeg"
            raise InputError(
                "dicom.no_codec",
                f"The pixels are compressed as {name}, and no decoder is installed; add one with:"
                f' pip install "segment-anything-med[{extra}]"',
            )


def read_voxels(slices: Sequence[SliceHeader], plan: StackPlan, progress: Progress | None = None) -> np.ndarray:
    """Decode, scale and place all slices.

    Stored values without scaling keep their type. Scaling by whole numbers gives the smallest of int16, int32, int64
    that holds them, any other (PET: a slope per slice) float32.

    Args:
        slices: headers in the order in which the plan was made.
        plan: from :func:`~.dicom_geometry.plan_stack`.
        progress: told of every slice.

    Returns:
        [K, J, I] of the plan.

    Raises:
        InputError: ``dicom.truncated`` naming the file whose pixels are missing or damaged; ``input.too_large``.
    """
    ordered = [slices[n] for n in plan.order]
    check_claimed_size("The series", plan.shape, 4)
    if progress is not None:
        progress.start("Reading DICOM slices", len(ordered))
    scaled = _scaled_slices(ordered, progress)
    with quiet():
        stack = _stack(scaled, (len(ordered), *ordered[0].shape))
    return stack if plan.regular else _place(stack, plan)


def _scaled_slices(ordered: Sequence[SliceHeader], progress: Progress | None) -> Iterator[np.ndarray]:
    scales = [header.rescale or (1.0, 0.0) for header in ordered]
    plain = all(scale == (1.0, 0.0) for scale in scales)
    whole = all(slope.is_integer() and intercept.is_integer() for slope, intercept in scales)
    open_file, dataset = None, None
    for header, (slope, intercept) in zip(ordered, scales, strict=True):
        if progress is not None:
            progress.check()
        if header.file != open_file:  # frames of one file are decoded from one reading of it
            open_file, dataset = header.file, _open(header)
        pixels = _decode(dataset, header)
        if plain:
            yield pixels
        elif whole and pixels.dtype.kind in "iu":
            yield pixels.astype(np.int64) * int(slope) + int(intercept)
        else:
            yield (pixels.astype(np.float64) * slope + intercept).astype(np.float32)
        if progress is not None:
            progress.advance()


def _open(header: SliceHeader) -> Dataset:
    try:
        return read_dataset(header.file)
    except _DECODE_ERRORS:
        raise _damaged(header) from None


def _decode(dataset: Dataset, header: SliceHeader) -> np.ndarray:
    try:
        pixels, _ = get_decoder(UID(header.syntax)).as_array(dataset, index=header.frame or 0, raw=True)
    except _DECODE_ERRORS:
        raise _damaged(header) from None
    if pixels.shape != header.shape:
        raise _damaged(header)
    return pixels


def _damaged(header: SliceHeader) -> InputError:
    instance = f" (instance {header.uids['instance']})" if header.uids["instance"] else ""
    return InputError(
        "dicom.truncated",
        f"The pixels of {header.file.name}{instance} are missing or damaged; copy the series again (nothing was filled"
        " in).",
    )


def _stack(slices: Iterator[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """Collect slices in the smallest type that fits all of them, growing it when a later slice needs more."""
    stack: np.ndarray | None = None
    for index, pixels in enumerate(slices):
        needed = _narrow(pixels) if pixels.dtype == np.int64 else pixels.dtype
        if stack is None:
            stack = np.empty(shape, dtype=needed)
        elif np.result_type(stack.dtype, needed) != stack.dtype:
            stack = stack.astype(np.result_type(stack.dtype, needed))
        stack[index] = pixels
    return stack


def _narrow(pixels: np.ndarray) -> np.dtype:
    low, high = int(pixels.min()), int(pixels.max())
    return np.dtype(next(t for t in _INTEGERS if np.iinfo(t).min <= low and high <= np.iinfo(t).max))


def _place(stack: np.ndarray, plan: StackPlan) -> np.ndarray:
    """Shift slices within their planes, then interpolate between them; outside, the smallest value of the volume."""
    outside = stack.min()
    out = np.empty(plan.shape, dtype=stack.dtype)
    for k, (lower, weight) in enumerate(zip(plan.lower, plan.weight, strict=True)):
        plane = _shift(stack[lower], plan.shifts[lower], plan.shape[1:], outside)
        if weight > 0:
            above = _shift(stack[lower + 1], plan.shifts[lower + 1], plan.shape[1:], outside)
            plane = plane * (1 - weight) + above * weight
        out[k] = np.rint(plane) if stack.dtype.kind in "iu" else plane
    return out


def _shift(plane: np.ndarray, shift: np.ndarray, shape: tuple[int, int], outside: float) -> np.ndarray:
    """One slice on the volume's plane: ``shift`` = (I, J) place of its first pixel, linear interpolation."""
    if not shift.any() and plane.shape == shape:
        return plane.astype(np.float64)
    offset = (-shift[1], -shift[0])
    return ndimage.affine_transform(
        plane.astype(np.float64), (1.0, 1.0), offset, shape, order=1, mode="constant", cval=float(outside)
    )
