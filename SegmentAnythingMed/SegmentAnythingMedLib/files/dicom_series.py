"""Series of a scan: which slices belong together, which do not, and how repeated positions are told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .dicom_geometry import SAME_POSITION_MM
from .dicom_headers import SPLIT_TAGS, SliceHeader

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_STRAY_PART = 0.1


@dataclass(frozen=True, eq=False)
class Group:
    """Slices that make one volume: same series, size, orientation and pixel spacing, one slice per position.

    Attributes:
        key: series UID, with ``#n`` appended when the series holds several volumes.
        slices: headers in no particular order.
        tag: keyword of the tag that told the volumes of the series apart, or None.
        notes: what was dropped.
    """

    key: str
    slices: tuple[SliceHeader, ...]
    tag: str | None = None
    notes: tuple[str, ...] = ()


def by_series(slices: Sequence[SliceHeader]) -> dict[str, list[SliceHeader]]:
    """Series UID -> its slices, sorted by UID."""
    out: dict[str, list[SliceHeader]] = {}
    for header in slices:
        out.setdefault(header.uids["series"], []).append(header)
    return dict(sorted(out.items()))


def volumes_of(uid: str, slices: Sequence[SliceHeader]) -> list[Group]:
    """The volumes of one series: one, or several phases, echoes...

    Raises:
        InputError: ``dicom.colour``, ``dicom.no_geometry``, ``dicom.mixed``, ``dicom.duplicate_positions``.
    """
    slices, notes = _without_copies(slices)
    _refuse_colour(slices)
    slices = _with_geometry(slices)
    slices, more = _main_stack(slices)
    notes = (*notes, *more)
    if not _repeated(slices):
        return [Group(uid, tuple(slices), None, notes)]
    tag, parts = _split(slices)
    return [Group(f"{uid}#{n}", tuple(part), tag, notes) for n, part in enumerate(parts, start=1)]


def _without_copies(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """Drop files that are copies of one another (same SOP instance and frame)."""
    seen: dict[tuple, SliceHeader] = {}
    for header in slices:
        instance = header.uids["instance"] or str(header.file)
        seen.setdefault((instance, header.frame), header)
    dropped = len(slices) - len(seen)
    notes = (f"{dropped} slices were there twice (same SOP instance); the copies were ignored.",) if dropped else ()
    return list(seen.values()), notes


def _refuse_colour(slices: Sequence[SliceHeader]) -> None:
    colour = [h for h in slices if h.samples != 1 or not h.photometric.startswith("MONOCHROME")]
    if colour and len(colour) == len(slices):
        raise InputError(
            "dicom.colour",
            "The series is in colour (secondary capture, ultrasound or a photograph), not a volume of measurements;"
            " export single pictures as PNG to segment them.",
        )


def _with_geometry(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    grey = [h for h in slices if h.samples == 1]
    placed = [
        h for h in grey if h.position is not None and h.orientation is not None and h.pixel_spacing is not None
    ]
    if not placed:
        captured = any(h.uids["class"].startswith(_SECONDARY_CAPTURE) for h in grey)
        kind = "a secondary capture" if captured else "without position, orientation or pixel spacing"
        raise InputError(
            "dicom.no_geometry",
            f"The series is {kind}, so that its place in the patient is unknown; choose the original series, or export"
            " single pictures as PNG.",
        )
    return placed


def _main_stack(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """Keep the slices that share size, orientation and spacing; drop localizers and a few strays, refuse a mixture."""
    candidates = [h for h in slices if not h.localizer]
    stacks: list[list[SliceHeader]] = []
    for header in candidates or slices:
        for stack in stacks:
            if _belongs(header, stack[0]):
                stack.append(header)
                break
        else:
            stacks.append([header])
    stacks.sort(key=len, reverse=True)
    strays = len(slices) - len(stacks[0])
    loose = sum(len(stack) for stack in stacks[1:])
    if loose > max(3, _STRAY_PART * len(stacks[0])) or (loose and len(stacks[0]) <= loose):
        sizes = ", ".join(str(len(stack)) for stack in stacks[:6])
        raise InputError(
            "dicom.mixed",
            f"The series mixes slices of different size, orientation or pixel spacing ({len(stacks)} kinds with {sizes}"
            " slices); put each kind into a folder of its own.",
        )
    if not strays:
        return stacks[0], ()
    note = f"{strays} localizers or slices of another size or orientation in the series were dropped."
    return stacks[0], (note,)


def _belongs(header: SliceHeader, other: SliceHeader) -> bool:
    return (
        header.shape == other.shape
        and bool(np.abs(header.orientation - other.orientation).max() < 2e-3)
        and bool(np.allclose(header.pixel_spacing, other.pixel_spacing, rtol=1e-3))
    )


def _along(slices: Sequence[SliceHeader]) -> np.ndarray:
    return np.array([float(h.position @ slices[0].normal) for h in slices])


def _repeated(slices: Sequence[SliceHeader]) -> bool:
    places = np.sort(_along(slices))
    return len(places) > 1 and bool(np.diff(places).min() <= SAME_POSITION_MM)


def _split(slices: Sequence[SliceHeader]) -> tuple[str, list[list[SliceHeader]]]:
    """Find the tag whose values separate the repeated positions into volumes.

    Raises:
        InputError: ``dicom.duplicate_positions`` when no tag does.
    """
    for tag in SPLIT_TAGS:
        parts: dict[str, list[SliceHeader]] = {}
        for header in slices:
            parts.setdefault(header.splits.get(tag, ""), []).append(header)
        if len(parts) > 1 and "" not in parts and not any(_repeated(part) for part in parts.values()):
            return tag, [parts[value] for value in sorted(parts, key=_natural)]
    places = np.round(_along(slices), 2)
    twice = [f"{place:g}" for place, count in sorted(Counter(places.tolist()).items()) if count > 1]
    raise InputError(
        "dicom.duplicate_positions",
        f"Several slices lie at the same position (mm along the normal: {', '.join(twice[:5])}"
        f"{', ...' if len(twice) > 5 else ''}) and no tag tells them apart; remove the ones that do not belong.",
    )


def _natural(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
