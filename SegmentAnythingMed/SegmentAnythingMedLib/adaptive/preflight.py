"""Do the two visits belong together? Asked of headers and grids before anything is computed.

stop    refused with one sentence, unless the caller allows its code; then it stays in the findings as overridden
note    told, and the work goes on
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..space.intensity import looks_like_hu
from ..space.statistics import volume_statistics
from ..space.volume import Volume
from .inversion import inverse_points
from .transforms import VisitTransform
from .warping import voxels_of

STOP, NOTE = "stop", "note"
_TINY_VOXELS = 8
_PROBES = 2000
_STEP = 1.5
"""Factor between the slice distances of the visits that is told."""


@dataclass(frozen=True)
class VisitFacts:
    """What the headers of a visit say. Fields are None where they are silent.

    Attributes:
        patient: keyed digest of the patient's id, comparable within this process only; never the id.
        sex: ``M``, ``F`` or ``O``.
        birth_date: keyed digest of the birth date.
        laterality: ``L`` or ``R`` (both sides count as silent).
        modality: DICOM modality.
        date: ``YYYYMMDD`` of the acquisition, else of the series or study.
        study_uid, series_uid, frame_of_reference_uid: of the image.
        structures_frame_uid: frame of reference in which the structures were drawn.
        structures_series_uid: series that the structures refer to.
    """

    patient: str | None = None
    sex: str | None = None
    birth_date: str | None = None
    laterality: str | None = None
    modality: str | None = None
    date: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    structures_frame_uid: str | None = None
    structures_series_uid: str | None = None


@dataclass(frozen=True)
class PreflightFinding:
    """One thing that was noticed.

    Attributes:
        code: ``visits.*``; the name to allow it by.
        severity: ``stop`` (refused unless allowed) or ``note``.
        words: one sentence, without patient data.
        structure: the structure that it is about, or empty.
        overridden: True for a ``stop`` that was allowed.
    """

    code: str
    severity: str
    words: str
    structure: str = ""
    overridden: bool = False

    def describe(self) -> dict[str, Any]:
        """JSON form for a report."""
        return asdict(self)


def preflight(
    prior: VisitFacts | None,
    follow_up: VisitFacts | None,
    volumes: tuple[Volume, Volume],
    masks: Mapping[str, np.ndarray],
    *,
    transform: VisitTransform | None = None,
    allow: Collection[str] = (),
) -> list[PreflightFinding]:
    """Compare two visits before they are brought together.

    Args:
        prior: what is known of the prior visit; None: only what its volume says.
        follow_up: the same of today's.
        volumes: (prior, follow-up).
        masks: structure -> bool [K, J, I] of the prior volume, none empty.
        transform: follow-up -> prior, when it is known already: a given one, or the identity for visits that are taken
            to share a frame of reference. None: it will be found by registration, and overlap is judged then.
        allow: codes of findings that are accepted.

    Returns:
        What was found, stops that were allowed first.

    Raises:
        InputError: the first ``stop`` that is not allowed: ``visits.patient``, ``visits.laterality``,
            ``visits.same_study``, ``visits.dates``, ``visits.frame``, ``visits.modality``, ``visits.overlap``;
            ``segment.shape`` for a mask that is not on the prior's grid.
    """
    for name, mask in masks.items():
        if np.shape(mask) != volumes[0].shape:
            raise InputError(
                "segment.shape", f"Expected a mask of shape {volumes[0].shape} for {name}, got {np.shape(mask)}."
            )
    one, other = prior or VisitFacts(), follow_up or VisitFacts()
    if transform is None and share_frame(prior, follow_up):
        transform = VisitTransform.identity()
    found = [*_identity(one, other), *_times(one, other), *_frames(one), *_modalities(one, other, volumes)]
    found += [*_fields(volumes, masks, transform), *_shapes(volumes, masks)]
    stops = [finding for finding in found if finding.severity == STOP]
    refused = [finding for finding in stops if finding.code not in allow]
    if refused:
        raise InputError(refused[0].code, refused[0].words)
    notes = [finding for finding in found if finding.severity == NOTE]
    return [*(replace(finding, overridden=True) for finding in stops), *notes]


def share_frame(prior: VisitFacts | None, follow_up: VisitFacts | None) -> bool:
    """True if both visits name the same frame of reference: equal places are the same place, and nothing is known to
    have moved in between. False when they differ or one is silent."""
    if prior is None or follow_up is None:
        return False
    return bool(prior.frame_of_reference_uid) and prior.frame_of_reference_uid == follow_up.frame_of_reference_uid


def _differ(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _identity(one: VisitFacts, other: VisitFacts) -> Iterator[PreflightFinding]:
    wrong = [
        label
        for label, differs in (
            ("patient id", _differ(one.patient, other.patient)),
            ("sex", _differ(one.sex, other.sex)),
            ("birth date", _differ(one.birth_date, other.birth_date)),
        )
        if differs
    ]
    if wrong:
        yield PreflightFinding(
            "visits.patient",
            STOP,
            f"The visits seem to be of two patients: {' and '.join(wrong)} differ. Check the images, or allow"
            " visits.patient if the headers are known to be wrong.",
        )
    if _differ(one.laterality, other.laterality):
        yield PreflightFinding(
            "visits.laterality",
            STOP,
            f"The prior image is of side {one.laterality}, the follow-up of side {other.laterality}. Check them, or"
            " allow visits.laterality if a header is known to be wrong.",
        )


def _times(one: VisitFacts, other: VisitFacts) -> Iterator[PreflightFinding]:
    if one.series_uid is not None and one.series_uid == other.series_uid:
        yield PreflightFinding(
            "visits.same_study",
            STOP,
            "Prior and follow-up are the same series. Give today's image, or allow visits.same_study.",
        )
    elif one.study_uid is not None and one.study_uid == other.study_uid:
        yield PreflightFinding(
            "visits.same_study",
            STOP,
            "Prior and follow-up belong to the same study. If they are meant to be compared (phases, sequences), allow"
            " visits.same_study.",
        )
    if one.date is not None and other.date is not None and other.date < one.date:
        yield PreflightFinding(
            "visits.dates",
            STOP,
            "The follow-up is older than the prior visit. Exchange the images, or allow visits.dates.",
        )


def _frames(one: VisitFacts) -> Iterator[PreflightFinding]:
    if _differ(one.structures_frame_uid, one.frame_of_reference_uid):
        yield PreflightFinding(
            "visits.frame",
            STOP,
            "The prior structures were drawn in another frame of reference than the prior image's. Give the image that"
            " they were drawn on, or allow visits.frame if both are known to coincide.",
        )
    elif _differ(one.structures_series_uid, one.series_uid):
        yield PreflightFinding(
            "visits.series", NOTE, "The prior structures refer to another series in the same frame of reference."
        )


def _modalities(one: VisitFacts, other: VisitFacts, volumes: tuple[Volume, Volume]) -> Iterator[PreflightFinding]:
    first, second = (facts.modality or _modality(volume) for facts, volume in zip((one, other), volumes, strict=True))
    if _differ(first, second):
        yield PreflightFinding(
            "visits.modality",
            STOP,
            f"The prior image is {first}, the follow-up {second}: no structure can be found by its look across"
            " modalities. Allow visits.modality to get the warped contours of the registration.",
        )


def _modality(volume: Volume) -> str | None:
    """Named, or guessed where the values look like Hounsfield units."""
    if volume.modality is not None:
        return volume.modality
    return "CT" if looks_like_hu(volume, volume_statistics(volume.voxels)) else None


def _fields(
    volumes: tuple[Volume, Volume], masks: Mapping[str, np.ndarray], transform: VisitTransform | None
) -> Iterator[PreflightFinding]:
    """Structures against the follow-up's field of view, where the way there is known."""
    if transform is None:
        return
    shares = {name: _share_inside(mask, volumes, transform) for name, mask in masks.items()}
    if shares and not any(shares.values()):
        yield PreflightFinding(
            "visits.overlap",
            STOP,
            "None of the structures lies in the field of view of the follow-up. Check the images and the transform, or"
            " allow visits.overlap to search by appearance alone.",
        )
        return
    for name, share in shares.items():
        if share == 0:
            words = f"{name} lies outside the field of view of the follow-up."
            yield PreflightFinding("visits.outside", NOTE, words, name)
        elif share < 1:
            words = f"{1 - share:.0%} of {name} lie outside the field of view of the follow-up."
            yield PreflightFinding("visits.outside", NOTE, words, name)


def _share_inside(mask: np.ndarray, volumes: tuple[Volume, Volume], transform: VisitTransform) -> float:
    there, _ = inverse_points(transform, volumes[0].affine.ijk_to_lps(voxels_of(mask, _PROBES)))
    inside = volumes[1].contains(volumes[1].affine.lps_to_ijk(there))
    return float(inside.mean()) if len(inside) else 0.0


def _shapes(volumes: tuple[Volume, Volume], masks: Mapping[str, np.ndarray]) -> Iterator[PreflightFinding]:
    steps = [float(volume.spacing.max()) for volume in volumes]
    if max(steps) > _STEP * min(steps):
        words = f"Slices are {steps[0]:.3g} mm apart on the prior visit and {steps[1]:.3g} mm on the follow-up."
        yield PreflightFinding("visits.slices", NOTE, words)
    for name, mask in masks.items():
        count = int(np.count_nonzero(mask))
        if 0 < count <= _TINY_VOXELS:
            words = f"{name} has only {count} voxel{'s' if count > 1 else ''} on the prior visit."
            yield PreflightFinding("visits.tiny", NOTE, words, name)
        ends = [np.take(mask, end, axis=axis).any() for axis in range(3) for end in (0, -1) if mask.shape[axis] > 1]
        if any(ends):
            words = f"{name} touches the edge of the prior image and may go on beyond it."
            yield PreflightFinding("visits.edge", NOTE, words, name)
