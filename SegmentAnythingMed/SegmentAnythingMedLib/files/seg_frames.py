"""Where the frames of a DICOM SEG lie, and which segment each shows (PS3.3 C.7.6.16, C.8.20.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from .dicom_headers import items, number, numbers, positive, positive_pair, text, unit_vectors


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        index: from 0.
        segment: number of the segment that it shows; None in a label map, where pixels tell.
        origin: float64 [3], LPS in mm of the first pixel's centre.
        steps: float64 [2, 3], LPS step in mm from column to column, and from row to row.
        distance: spacing between slices or slice thickness in mm, or None.
        images: SOP Instance UIDs of the images that it was derived from.
    """

    index: int
    segment: int | None
    origin: np.ndarray
    steps: np.ndarray
    distance: float | None
    images: frozenset[str]


def read_frames(dataset: Dataset, labelmap: bool) -> list[Frame]:
    """Places of all frames; none when one of them has no position, orientation, pixel spacing or segment."""
    own = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = next(iter(items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
    if len(own) != int(number(dataset, "NumberOfFrames") or 0):
        return []
    frames = [_frame(n, groups, shared, labelmap) for n, groups in enumerate(own)]
    return [] if None in frames else frames


def _frame(index: int, own: Dataset, shared: Dataset, labelmap: bool) -> Frame | None:
    def group(keyword: str) -> Dataset:
        """The first item of a functional group, the frame's own before the shared one; empty without."""
        return next((found[0] for groups in (own, shared) if (found := items(groups, keyword))), Dataset())

    measures = group("PixelMeasuresSequence")
    origin = numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3)
    axes = unit_vectors(numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6))
    spacing = positive_pair(numbers(measures, "PixelSpacing", 2))
    segment = number(group("SegmentIdentificationSequence"), "ReferencedSegmentNumber")
    if origin is None or axes is None or spacing is None or (segment is None and not labelmap):
        return None
    images = {
        text(image, "ReferencedSOPInstanceUID")
        for derivation in items(own, "DerivationImageSequence")
        for image in items(derivation, "SourceImageSequence")
    }
    return Frame(
        index=index,
        segment=None if labelmap else int(segment),
        origin=origin,
        steps=axes * [[spacing[1]], [spacing[0]]],
        distance=positive(number(measures, "SpacingBetweenSlices")) or positive(number(measures, "SliceThickness")),
        images=frozenset(images - {""}),
    )


def usual_distance(frames: Sequence[Frame]) -> float:
    """Distance in mm that a frame stands for: what positions or headers say, whichever is smaller; 1 if neither does.

    Frames without pixels are often left out, so that positions alone may overstate it; slices may overlap, so that the
    thickness alone may, too.
    """
    normal = np.cross(*frames[0].steps)
    offsets = np.sort([float(frame.origin @ normal) for frame in frames]) / np.linalg.norm(normal)
    gaps = np.diff(offsets)
    gaps = gaps[gaps > 1e-2]
    said = [frame.distance for frame in frames if frame.distance]
    return min([*([float(np.median(gaps))] if len(gaps) else []), *said[:1]], default=1.0)
