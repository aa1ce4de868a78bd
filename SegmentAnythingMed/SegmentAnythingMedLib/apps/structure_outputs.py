"""Which kinds of files structures are written to, for every command that writes some.

nifti      labels in one image file (also .nrrd or .mha, by its name)
rtstruct   DICOM RT Structure Set, refers to the slices of the image's own series, never approved
seg        DICOM Segmentation, the same
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.drafts import Draft, Origin, Written, check_series
from ..files.images import image_suffix
from ..progress import Progress
from ..space.volume import Volume

NIFTI, RTSTRUCT, SEG = "nifti", "rtstruct", "seg"
KINDS = (NIFTI, RTSTRUCT, SEG)
DICOM_KINDS = (RTSTRUCT, SEG)


def parse_write(text: str) -> tuple[str, ...]:
    """``nifti,rtstruct,seg`` or some of them, each once, in this order.

    Raises:
        InputError: ``option.write``.
    """
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    if not wanted or not set(wanted) <= set(KINDS):
        raise InputError("option.write", f"Expected some of {', '.join(KINDS)}, with commas between; got {text!r}.")
    return tuple(kind for kind in KINDS if kind in wanted)


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """Names with commas between; None when nothing was given.

    Raises:
        InputError: ``option.structures``.
    """
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise InputError("option.structures", f"Expected names of structures, with commas between; got {text!r}.")
    return names


def dicom_path(mask: Path, kind: str) -> Path:
    """Where a DICOM file goes that stands beside a mask: ``liver.nii.gz`` -> ``liver.rtstruct.dcm``."""
    suffix = image_suffix(mask)
    stem = mask.name[: len(mask.name) - len(suffix)] if suffix else mask.name
    return mask.with_name(f"{stem}.{kind}.dcm")


def check_writers(kinds: Sequence[str], volume: Volume) -> None:
    """Refuse, before any work, DICOM files that could not be written about this image.

    Raises:
        InputError: ``rtstruct.no_series``, ``seg.no_series``... of ``files.drafts.check_series``.
        InstallError: ``install.highdicom``.
    """
    for kind in DICOM_KINDS:
        if kind in kinds:
            check_series(volume, kind)
    if SEG in kinds:
        from ..files.dicom_seg_write import load_highdicom

        load_highdicom()


def write_dicom(
    kind: str, path: Path, volume: Volume, drafts: Sequence[Draft], origin: Origin, progress: Progress | None = None
) -> Written:
    """Write one DICOM file; see ``write_rtstruct`` and ``write_seg`` for errors."""
    if kind == RTSTRUCT:
        from ..files.rtstruct_write import write_rtstruct

        return write_rtstruct(path, volume, drafts, origin, progress=progress)
    from ..files.dicom_seg_write import write_seg

    return write_seg(path, volume, drafts, origin, progress=progress)


def describe_written(written: Mapping[str, Written]) -> dict[str, Any]:
    """Kind -> what was written and how well it was read back, as plain values."""
    return {
        kind: {**asdict(one), "dice": round(one.dice, 6), "edge_px": round(one.edge_px, 4)}
        for kind, one in written.items()
    }
