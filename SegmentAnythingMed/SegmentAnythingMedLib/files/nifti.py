"""NIfTI images: voxels."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError
from ..space.affine import Affine
from ..space.volume import Volume
from .atomic import atomic_path
from .limits import check_claimed_size
from .nifti_header import NiftiHeader, build_header, parse_header

_GZIP = b"\x1f\x8b"


def read_nifti(path: Path) -> Volume:
    """Read a single-file NIfTI-1 or -2 image, packed or not (told by content, not by name).

    Voxels keep the stored type; a scaling with whole numbers gives integers, any other float32.

    Raises:
        InputError: as :func:`~.nifti_header.parse_header`; ``input.truncated`` when voxels are missing (they are never
            filled in); ``input.four_d`` for a time series; ``input.too_large``.
    """
    with open(path, "rb") as file:
        packed = file.read(2) == _GZIP
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            header = parse_header(file.read(540), path.name)
            shape = _stored_shape(header, path.name)
            stored = path.stat().st_size - (0 if packed else header.offset)
            check_claimed_size(path.name, shape, header.dtype.itemsize, stored, compressed=packed)
            file.seek(header.offset)
            voxels = _read_exactly(file, shape, header.dtype, path.name)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            "input.truncated", f"{path.name}: the packed data end too early or are damaged; copy the file again."
        ) from error
    voxels = _to_volume_order(voxels, header)
    voxels, scaled = _rescale(voxels, header.slope, header.inter)
    notes = [*header.notes, *(["Stored values were scaled by the header's slope and intercept."] if scaled else [])]
    return Volume(voxels, header.affine, notes=tuple(notes), name=path.name)


def write_nifti(path: Path, voxels: np.ndarray, affine: Affine) -> None:
    """Write [K, J, I] or [K, J, I, C] atomically, packed when the name ends in ``.gz``.

    The affine is stored as sform in float32: what was read from a float32 sform comes back bit by bit, shear included.

    Raises:
        InputError: ``output.*`` as :func:`~.atomic.atomic_path`.
    """
    header = build_header(voxels.shape, voxels.dtype, affine)
    with atomic_path(path) as temporary, open(temporary, "wb") as raw:
        if path.name.lower().endswith(".gz"):
            # no name and no time in the packed file: equal voxels give equal bytes
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as file:
                _write_voxels(file, header, voxels)
        else:
            _write_voxels(raw, header, voxels)


def _write_voxels(file: IO[bytes], header: bytes, voxels: np.ndarray) -> None:
    file.write(header)
    little = voxels.dtype.newbyteorder("<")
    rgb = voxels.ndim == 4 and voxels.shape[3] == 3 and voxels.dtype == np.uint8
    blocks = [voxels] if voxels.ndim == 3 or rgb else [voxels[..., c] for c in range(voxels.shape[3])]
    for block in blocks:
        for plane in block:
            file.write(np.ascontiguousarray(plane, dtype=little).tobytes())


def _stored_shape(header: NiftiHeader, name: str) -> tuple[int, ...]:
    """Axes as stored, slowest first: (channels or 1, K, J, I, samples)."""
    dim = [int(n) for n in header.dim] + [1] * (7 - len(header.dim))
    if dim[3] > 1 or max(dim[5:]) > 1:
        raise InputError(
            "input.four_d",
            f"{name}: expected one 3-D image, got {dim[3] * max(dim[5:])} of them (time or phases); save the phase that"
            " you want as a 3-D file.",
        )
    return dim[4], dim[2], dim[1], dim[0], header.samples


def _read_exactly(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, name: str) -> np.ndarray:
    voxels = np.empty(shape, dtype=dtype)
    view = memoryview(voxels.view(np.uint8).reshape(-1))
    filled = 0
    while filled < len(view):
        got = file.readinto(view[filled : filled + (1 << 24)])
        if not got:
            raise InputError(
                "input.truncated",
                f"{name}: expected {len(view)} bytes of voxels, the file ends after {filled}; copy the file again.",
            )
        filled += got
    return voxels


def _to_volume_order(voxels: np.ndarray, header: NiftiHeader) -> np.ndarray:
    """(channels, K, J, I, samples) -> [K, J, I] or [K, J, I, C]; alpha is dropped, bytes in the machine's order."""
    if header.samples > 1:
        voxels = voxels[0, ..., :3]
    elif voxels.shape[0] > 1:
        voxels = np.ascontiguousarray(np.moveaxis(voxels[..., 0], 0, -1))
    else:
        voxels = voxels[0, ..., 0]
    return voxels if voxels.dtype.isnative else voxels.astype(voxels.dtype.newbyteorder("="))


def _rescale(voxels: np.ndarray, slope: float, inter: float) -> tuple[np.ndarray, bool]:
    if (slope, inter) == (1.0, 0.0):
        return voxels, False
    if voxels.dtype.kind in "iu" and slope.is_integer() and inter.is_integer():
        ends = sorted(int(v) * int(slope) + int(inter) for v in (voxels.min(), voxels.max()))
        for dtype in (np.int16, np.int32, np.int64):
            if np.iinfo(dtype).min <= ends[0] and ends[1] <= np.iinfo(dtype).max:
                return _scaled(voxels, int(slope), int(inter), np.int64, dtype), True
    return _scaled(voxels, slope, inter, np.float64, np.float32), True


def _scaled(voxels: np.ndarray, slope: float, inter: float, work: type, dtype: type) -> np.ndarray:
    """Scaled copy of ``voxels``, one slice at a time in the type ``work``, stored as ``dtype``."""
    out = np.empty(voxels.shape, dtype=dtype)
    for source, target in zip(voxels, out, strict=True):
        target[...] = source.astype(work) * slope + inter
    return out
