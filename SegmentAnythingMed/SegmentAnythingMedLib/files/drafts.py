"""What the DICOM writers are given: draft structures, and where they come from.

A draft is never approved. Who signs it does so in the planning or reporting system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..space.volume import Volume

ALGORITHMS = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")
"""No prompt of a person; any prompt or edit; nothing of the model is left (PS3.3 C.8.8.5, C.8.20.2)."""

LONG_TEXT = 64
"""Characters of a DICOM LO value."""

LONGEST_TEXT = 1024
"""Characters of a DICOM ST value."""


@dataclass(frozen=True)
class Code:
    """A coded concept: value, scheme (``SCT`` for SNOMED CT) and meaning."""

    value: str
    scheme: str
    meaning: str


TISSUE = Code("85756007", "SCT", "Tissue")
"""Category and type of a structure about which nothing else is known."""


@dataclass(frozen=True, eq=False)
class Draft:
    """One structure to be written.

    Attributes:
        name: what the user calls it; any text.
        mask: bool [K, J, I] of the volume.
        algorithm: one of :data:`ALGORITHMS`.
        colour: (red, green, blue) 0..255, or None.
        interpreted_type: RT ROI Interpreted Type (ORGAN, GTV, CTV, AVOIDANCE, EXTERNAL...), or empty.
        category: what kind of thing it is, for a segmentation.
        code: what it is.
        description: how it came about, in words; no patient data.
        tracking_id: name of the structure across visits; default: its name.
        tracking_uid: identity across visits, taken over from the prior visit; default: a new one.
    """

    name: str
    mask: np.ndarray
    algorithm: str = "SEMIAUTOMATIC"
    colour: tuple[int, int, int] | None = None
    interpreted_type: str = ""
    category: Code = TISSUE
    code: Code = TISSUE
    description: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""


@dataclass(frozen=True)
class Origin:
    """What the drafts were made with.

    Attributes:
        model: name of the model.
        model_sha256: of its weights; the first 12 digits are written.
        mode: ``prompts``, ``prior visit``, ``warp``...
        predecessor_class_uid: SOP Class UID of the structure set that these drafts follow; empty if none.
        predecessor_uid: its SOP Instance UID.
    """

    model: str = "built-in"
    model_sha256: str = ""
    mode: str = "prompts"
    predecessor_class_uid: str = ""
    predecessor_uid: str = ""


@dataclass(frozen=True)
class Written:
    """What a writer did, after the file was read back and compared.

    Attributes:
        sop_instance_uid: of the new object.
        series_uid: of its new series.
        names: structures as named in the file, in order.
        empty: names of drafts without a voxel on the series; they were left out.
        dice: lowest Dice of a structure between what was given and what was read back.
        edge_px: largest distance in pixels between their edges.
        notes: sentences for the report.
    """

    sop_instance_uid: str
    series_uid: str
    names: tuple[str, ...]
    empty: tuple[str, ...]
    dice: float
    edge_px: float
    notes: tuple[str, ...] = ()


def check_drafts(drafts: Sequence[Draft], volume: Volume, kind: str) -> None:
    """Refuse what no writer could write, before anything is computed.

    Args:
        drafts: what is to be written.
        volume: what was segmented.
        kind: first part of the codes: ``rtstruct`` or ``seg``.

    Raises:
        InputError: ``<kind>.no_series``, ``<kind>.no_uids``, ``<kind>.no_frame_of_reference``,
            ``<kind>.nothing_to_write``, ``<kind>.algorithm``, ``volume.shape``.
    """
    check_series(volume, kind)
    if not any(np.asarray(draft.mask).any() for draft in drafts):
        raise InputError(f"{kind}.nothing_to_write", "Expected a structure with at least one voxel, got none.")
    for draft in drafts:
        if draft.algorithm not in ALGORITHMS:
            raise InputError(f"{kind}.algorithm", f"Expected {', '.join(ALGORITHMS)}, got {draft.algorithm!r}.")
        if np.shape(draft.mask) != volume.shape:
            raise InputError(
                "volume.shape", f"Expected a mask of shape {volume.shape}, got {np.shape(draft.mask)} ({draft.name!r})."
            )


def check_series(volume: Volume, kind: str) -> None:
    """Refuse a volume that DICOM structures cannot refer to; known before any work is done.

    Raises:
        InputError: ``<kind>.no_series``, ``<kind>.no_uids``, ``<kind>.no_frame_of_reference``.
    """
    if volume.source is None:
        raise InputError(
            f"{kind}.no_series",
            "DICOM structures refer to the slices of a DICOM series, and this image was read from another format;"
            " open the original series, or save the masks as NIfTI or NRRD.",
        )
    if not (volume.source.study_uid and volume.source.series_uid and all(volume.source.sop_instance_uids)):
        raise InputError(
            f"{kind}.no_uids",
            "The series has lost the UIDs of its study, series or slices (often by anonymisation), so that structures"
            " cannot refer to them; export the series again with UIDs, or save the masks as NIfTI or NRRD.",
        )
    if not volume.source.frame_of_reference_uid:
        raise InputError(
            f"{kind}.no_frame_of_reference",
            "The series has no Frame of Reference UID, so that structures cannot refer to its space; save the masks as"
            " NIfTI or NRRD.",
        )


def clean_text(text: str, length: int = LONG_TEXT) -> str:
    """Text that fits a DICOM value: no backslash or control character, cut to ``length`` bytes of UTF-8.

    The standard counts characters, some readers count bytes.
    """
    plain = "".join(c for c in text.replace("\\", "/") if c.isprintable()).strip()
    return plain.encode("utf-8", "ignore")[:length].decode("utf-8", "ignore").strip()


def unique_names(names: Sequence[str], length: int = LONG_TEXT) -> list[str]:
    """Names that fit and differ; a second one of a kind gets a number."""
    out: list[str] = []
    for number, name in enumerate(names, 1):
        name = plain = clean_text(name, length) or f"Structure {number}"
        count = 1
        while name in out:
            count += 1
            tail = f" ({count})"
            name = clean_text(plain, length - len(tail)) + tail
        out.append(name)
    return out
