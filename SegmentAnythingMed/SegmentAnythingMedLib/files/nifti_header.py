"""NIfTI-1 and NIfTI-2 headers, read strictly and written exactly.

Read by ourselves because a toolkit may repair silently what must be told: ITK (5.4) turns a NaN spacing into 1, uses
the qform where the sform is sheared, and fills missing voxels with zeros. Layout: nifti1.h and nifti2.h, NIH.

The rule for position: the sform if ``sform_code`` > 0, else the qform if ``qform_code`` > 0, else the spacing alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import InputError
from ..space.affine import Affine, matrix_ras_to_lps

DISAGREEMENT_MM = 0.1

DTYPES = {
    2: ("u1", 1), 4: ("i2", 1), 8: ("i4", 1), 16: ("f4", 1), 64: ("f8", 1), 128: ("u1", 3), 256: ("i1", 1),
    512: ("u2", 1), 768: ("u4", 1), 1024: ("i8", 1), 1280: ("u8", 1), 2304: ("u1", 4),
}  # fmt: skip
"""NIfTI datatype code -> (numpy type, values per voxel)."""

_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What is needed of a NIfTI header.

    Attributes:
        dim: lengths of the used axes (I, J, K, time, channels...).
        dtype: numpy type of one value, with byte order.
        samples: values per voxel (3 for RGB).
        offset: first byte of the voxels.
        slope: multiplier to the stored values; 1 when unset.
        inter: what is added after it; 0 when unset.
        affine: (I, J, K) -> LPS in mm.
        notes: sentences about what was unclear.
    """

    dim: tuple[int, ...]
    dtype: np.dtype
    samples: int
    offset: int
    slope: float
    inter: float
    affine: Affine
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Layout:
    dim: tuple[str, int]
    datatype: int
    pixdim: tuple[str, int]
    offset: tuple[str, int]
    scale: tuple[str, int]
    codes: tuple[str, int]
    forms: tuple[str, int]
    units: tuple[str, int]


_LAYOUT = {
    348: _Layout(("8h", 40), 70, ("8f", 76), ("f", 108), ("2f", 112), ("2h", 252), ("18f", 256), ("B", 123)),
    540: _Layout(("8q", 16), 12, ("8d", 104), ("q", 168), ("2d", 176), ("2i", 344), ("18d", 352), ("i", 500)),
}


def parse_header(data: bytes, name: str) -> NiftiHeader:
    """Read a header.

    Args:
        data: the first 540 bytes of the (unpacked) file, or all of a shorter one.
        name: file name for messages.

    Raises:
        InputError: ``input.unreadable`` when it is no NIfTI header; ``volume.dtype`` for complex and 128-bit voxels;
            ``volume.geometry`` for a spacing or affine that is zero, negative, NaN or singular.
    """
    size, order = _size_and_order(data, name)
    layout = _LAYOUT[size]

    def field(spec: tuple[str, int]) -> tuple:
        return struct.unpack_from(order + spec[0], data, spec[1])

    dim = field(layout.dim)
    (code,) = field(("h", layout.datatype))
    if not 1 <= dim[0] <= 7:
        raise InputError("input.unreadable", f"{name}: expected 1 to 7 axes in the NIfTI header, got {dim[0]}.")
    if code not in DTYPES:
        raise InputError("volume.dtype", f"{name}: expected integer, real or RGB voxels, got NIfTI datatype {code}.")
    kind, samples = DTYPES[code]
    slope, inter = field(layout.scale)
    if not np.isfinite(slope) or slope == 0 or not np.isfinite(inter):
        slope, inter = 1.0, 0.0
    (units,) = field(layout.units)
    affine, notes = _position(field(layout.pixdim), dim, field(layout.codes), field(layout.forms), units & 7, name)
    (offset,) = field(layout.offset)
    offset = int(offset) if np.isfinite(offset) and offset >= size else size
    dtype = np.dtype(kind).newbyteorder(order)
    return NiftiHeader(tuple(dim[1 : dim[0] + 1]), dtype, samples, offset, float(slope), float(inter), affine, notes)


def _size_and_order(data: bytes, name: str) -> tuple[int, str]:
    for order in "<>":
        if len(data) >= 4:
            (size,) = struct.unpack_from(order + "i", data)
            if size in _LAYOUT and len(data) >= size:
                magic = data[344:347] if size == 348 else data[4:7]
                if magic in (b"n+1", b"n+2"):
                    return size, order
                break
    raise InputError(
        "input.unreadable", f"{name}: expected a single-file NIfTI image, found other content; export it again."
    )


def _position(
    pixdim: tuple, dim: tuple, codes: tuple, forms: tuple, units: int, name: str
) -> tuple[Affine, tuple[str, ...]]:
    spacing = _spacing(pixdim, dim, name)
    notes: list[str] = []
    qform_code, sform_code = codes
    qform = _qform(pixdim, spacing, forms[:6]) if qform_code > 0 else None
    sform = np.vstack([np.reshape(forms[6:], (3, 4)), [0, 0, 0, 1]]) if sform_code > 0 else None
    chosen = sform if sform is not None else qform
    if chosen is None:
        chosen = np.diag([*spacing, 1.0])
        notes.append("The NIfTI header has neither sform nor qform: position and orientation are unknown.")
    scale = _UNIT_MM.get(units, 1.0)
    if scale != 1.0:
        notes.append("The NIfTI header is not in millimetres; it was converted.")
    try:
        affine = Affine(np.diag([scale, scale, scale, 1.0]) @ matrix_ras_to_lps(chosen))
        other = None if qform is None or sform is None else Affine(matrix_ras_to_lps(qform))
    except InputError as error:
        raise InputError(error.code, f"{name}: {error.message}") from None
    if other is not None:
        shape = tuple(dim[n] if n <= dim[0] else 1 for n in (3, 2, 1))
        moved = Affine(matrix_ras_to_lps(sform)).displacement(other, shape)
        if moved > DISAGREEMENT_MM:
            notes.append(f"sform and qform of the NIfTI header disagree by up to {moved:.3g} mm; the sform was used.")
    return affine, tuple(notes)


def _spacing(pixdim: tuple, dim: tuple, name: str) -> np.ndarray:
    spacing = np.array(pixdim[1:4], dtype=np.float64)
    for axis in range(3):
        flat = axis >= dim[0] or dim[axis + 1] <= 1
        if flat and spacing[axis] == 0:
            spacing[axis] = 1.0
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        text = " x ".join(f"{s:g}" for s in spacing)
        raise InputError("volume.geometry", f"{name}: expected spacings above zero, the header says {text} mm.")
    return spacing


def _qform(pixdim: tuple, spacing: np.ndarray, form: tuple) -> np.ndarray:
    b, c, d = form[:3]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.full((3, 3), np.nan)
    if np.isfinite([a, b, c, d]).all():
        rotation = Rotation.from_quat([b, c, d, a]).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * spacing * [1, 1, -1 if pixdim[0] < 0 else 1]
    matrix[:3, 3] = form[3:]
    return matrix


def build_header(shape: tuple[int, ...], dtype: np.dtype, affine: Affine) -> bytes:
    """A NIfTI-1 header (352 bytes) with the affine as sform, and as qform where it is orthogonal.

    Args:
        shape: (K, J, I) or (K, J, I, C); C = 3 with uint8 becomes RGB, other channels the fifth axis.
        dtype: a type of :data:`DTYPES`.
        affine: (I, J, K) -> LPS in mm.

    Raises:
        InputError: ``output.format`` when an axis is longer than NIfTI-1 can say (32767).
    """
    if max(shape) > 32767:
        raise InputError("output.format", f"A NIfTI-1 axis has at most 32767 voxels, got {max(shape)}; write .nrrd.")
    rgb = len(shape) == 4 and shape[3] == 3 and dtype == np.uint8
    kinds = {kind: code for code, (kind, samples) in DTYPES.items() if samples == 1}
    code = 128 if rgb else kinds[dtype.str[1:]]
    sizes = [*shape[2::-1], *([] if len(shape) == 3 or rgb else [1, shape[3]])]
    ras = matrix_ras_to_lps(affine.matrix)
    qfac, quaternion = _quaternion(affine, ras)
    data = bytearray(352)
    struct.pack_into("<i", data, 0, 348)
    struct.pack_into("<8h", data, 40, *([len(sizes), *sizes] + [1] * 7)[:8])
    struct.pack_into("<2h", data, 70, code, dtype.itemsize * 8 * (3 if rgb else 1))
    struct.pack_into("<8f", data, 76, qfac, *affine.spacing, 1, 1, 1, 1)
    struct.pack_into("<3f", data, 108, 352, 1, 0)
    data[123] = 2  # millimetres
    struct.pack_into("<2h", data, 252, 0 if quaternion is None else 1, 1)
    if quaternion is not None:
        struct.pack_into("<6f", data, 256, *quaternion[:3], *ras[:3, 3])
    struct.pack_into("<12f", data, 280, *ras[:3].ravel())
    if len(sizes) == 5:
        struct.pack_into("<h", data, 68, 1007)  # vector
    data[344:348] = b"n+1\0"
    return bytes(data)


def _quaternion(affine: Affine, ras: np.ndarray) -> tuple[float, np.ndarray | None]:
    """(qfac, (b, c, d, a)) of the rotation, or None for a sheared grid, which a qform cannot say."""
    if not affine.is_orthogonal(1e-4):
        return 1.0, None
    rotation = ras[:3, :3] / affine.spacing
    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation[:, 2] *= qfac
    quaternion = Rotation.from_matrix(rotation).as_quat()
    return qfac, quaternion if quaternion[3] >= 0 else -quaternion
