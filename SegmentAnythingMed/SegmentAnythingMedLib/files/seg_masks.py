"""Segments of a DICOM SEG on the grid of a volume.

Frames may be cropped, oblique, uneven, overlapping or several per place. Every frame is placed by its own position,
orientation and pixel spacing; the size of the source image plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from ..errors import InputError
from ..space.volume import Volume
from .dicom_headers import PARSE_ERRORS, quiet, syntax
from .dicom_seg import SegFile, SegmentInfo
from .seg_frames import Frame, usual_distance
from .slice_planes import SlicePlanes, grid_planes, stored_planes, to_volume, transfer

_DECODE_ERRORS = (*PARSE_ERRORS, RuntimeError, MemoryError)


@dataclass(frozen=True, eq=False)
class SegmentMask:
    """A segment on a volume's grid.

    Attributes:
        segment: the segment.
        mask: bool [K, J, I] of the volume.
        status: ``ok``; ``empty`` (no pixel set) or ``outside`` (none lies in the volume): the mask is then empty.
        notes: sentences for the report.
    """

    segment: SegmentInfo
    mask: np.ndarray
    status: str
    notes: tuple[str, ...]


def segments_on(
    seg: SegFile,
    volume: Volume,
    segments: Sequence[str | int] | None = None,
    *,
    threshold: float = 0.5,
    other_frame: bool = False,
) -> list[SegmentMask]:
    """Masks of segments on the grid of a volume, nearest pixel.

    Args:
        seg: from :func:`~SegmentAnythingMedLib.files.dicom_seg.read_seg`.
        volume: any volume in the same patient space.
        segments: labels or numbers of the segments wanted; default: all.
        threshold: lowest fraction, above 0 to 1, that counts as inside in a fractional file.
        other_frame: lay it on the volume although the frames of reference differ.

    Returns:
        One per segment; segments may overlap.

    Raises:
        InputError: ``seg.frame_of_reference``, ``seg.no_such_segment``, ``seg.ambiguous_segment``, ``seg.truncated``,
            ``option.threshold``.
    """
    if not 0 < threshold <= 1:
        raise InputError("option.threshold", f"Expected a threshold above 0 and up to 1, got {threshold}.")
    if not other_frame and elsewhere(seg, volume):
        raise InputError(
            "seg.frame_of_reference",
            "The segmentation was made in another frame of reference than the image's; choose the image that it was"
            " made on, register the two, or ask for it as it is (other_frame).",
        )
    pitch = usual_distance(seg.frames)
    out = []
    for segment in _chosen(seg, segments):
        mask, count, note = _mask(seg, segment, volume, pitch, threshold)
        status = "ok" if mask.any() else "outside" if count else "empty"
        out.append(SegmentMask(segment, mask, status, note))
    return out


def mask_on_stored(seg: SegFile, segment: SegmentInfo, volume: Volume) -> np.ndarray:
    """A segment on the stored slices of the series that a volume was read from, bool [N, rows, columns].

    Raises:
        InputError: ``seg.truncated``.
    """
    planes, pitch = stored_planes(volume), usual_distance(seg.frames)
    out = np.zeros((len(planes.origins), *planes.shape), dtype=bool)
    for frames in _stacks(seg, segment):
        values, places = _stack(seg, segment, frames, 0.5, pitch)
        out |= transfer(values, places, planes, min(pitch, float(planes.reach.min())) / 2)
    return out


def elsewhere(seg: SegFile, volume: Volume) -> bool:
    """True if frames of reference are known, differ, and no image of the volume is referred to."""
    source = volume.source
    if source is None or not source.frame_of_reference_uid:
        return False
    known = seg.frame_of_reference_uid not in ("", source.frame_of_reference_uid)
    return known and not seg.image_uids & set(source.sop_instance_uids)


def _chosen(seg: SegFile, wanted: Sequence[str | int] | None) -> list[SegmentInfo]:
    if wanted is None:
        return [segment for segment in seg.segments if segment.number > 0]
    out = []
    for name in wanted:
        found = [segment for segment in seg.segments if name in (segment.number, segment.label)]
        if not found:
            listed = ", ".join(repr(segment.label) for segment in seg.segments[:20])
            raise InputError("seg.no_such_segment", f"Expected one of the segments {listed}, got {name!r}.")
        if len(found) > 1:
            numbers = ", ".join(str(segment.number) for segment in found)
            raise InputError(
                "seg.ambiguous_segment", f"{len(found)} segments are named {name!r}; choose by number: {numbers}."
            )
        out.append(found[0])
    return out


def _mask(
    seg: SegFile, segment: SegmentInfo, volume: Volume, pitch: float, threshold: float
) -> tuple[np.ndarray, int, tuple[str, ...]]:
    """Mask on the volume's grid, pixels set in the file, notes."""
    mask, count, placed = np.zeros(volume.shape, dtype=bool), 0, 0.0
    for frames in _stacks(seg, segment):
        values, planes = _stack(seg, segment, frames, threshold, pitch)
        set_here = int(np.count_nonzero(values))
        count += set_here
        pixel = float(np.linalg.norm(planes.step_i) * np.linalg.norm(planes.step_j))
        placed += set_here * pixel * pitch / 1000
        stored = stored_planes(volume)
        if stored.parallel(planes.normal):
            mask |= to_volume(transfer(values, planes, stored, pitch / 2), volume)
        else:
            mask |= transfer(values, planes, grid_planes(volume), pitch / 2)
    kept = int(np.count_nonzero(mask)) * volume.voxel_ml
    if mask.any() and kept < 0.95 * placed:
        return mask, count, (f"Of {placed:.2f} ml in the file, {kept:.2f} ml lie within the image.",)
    return mask, count, ()


def _stacks(seg: SegFile, segment: SegmentInfo) -> list[list[Frame]]:
    """Frames of a segment (all frames of a label map), by orientation and pixel spacing."""
    stacks: list[list[Frame]] = []
    for frame in seg.frames:
        if frame.segment not in (None, segment.number):
            continue
        for stack in stacks:
            if np.allclose(stack[0].steps, frame.steps, atol=1e-4):
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    return stacks


def _stack(
    seg: SegFile, segment: SegmentInfo, frames: Sequence[Frame], threshold: float, thickness: float
) -> tuple[np.ndarray, SlicePlanes]:
    """bool [N, rows, columns] and the places of N frames, sorted; frames at one place are united."""
    normal = np.cross(*frames[0].steps)
    normal /= np.linalg.norm(normal)
    ordered = sorted(frames, key=lambda frame: float(frame.origin @ normal))
    origins, values = [], []
    for frame in ordered:
        pixels = _inside(seg, segment, frame, threshold)
        if origins and np.abs(frame.origin - origins[-1]).max() < 1e-3:
            values[-1] |= pixels
        else:
            origins.append(frame.origin)
            values.append(pixels)
    return np.stack(values), SlicePlanes(np.stack(origins), *frames[0].steps, seg.shape, thickness)


def _inside(seg: SegFile, segment: SegmentInfo, frame: Frame, threshold: float) -> np.ndarray:
    """Which pixels of a frame belong to the segment, bool [rows, columns]."""
    try:
        with quiet():
            pixels = _pixels(seg, frame.index)
    except _DECODE_ERRORS:
        raise InputError(
            "seg.truncated", f"Frame {frame.index + 1} of the segmentation is missing or damaged; copy the file again."
        ) from None
    if frame.segment is None:
        return pixels == segment.number
    return pixels >= threshold * seg.largest


def _pixels(seg: SegFile, index: int) -> np.ndarray:
    uid = UID(syntax(seg.dataset))
    if seg.kind != "BINARY" or uid.is_compressed:
        return get_decoder(uid).as_array(seg.dataset, index=index, raw=True)[0]
    # frames of single bits follow one another without a gap, so that most begin within a byte (PS3.5 8.1.1)
    count = seg.shape[0] * seg.shape[1]
    first, start = divmod(index * count, 8)
    part = np.frombuffer(seg.dataset.PixelData, np.uint8, offset=first, count=(start + count + 7) // 8)
    return np.unpackbits(part, bitorder="little")[start : start + count].reshape(seg.shape)
