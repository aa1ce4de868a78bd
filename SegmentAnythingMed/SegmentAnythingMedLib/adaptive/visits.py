"""Yesterday's contours to today's scan: registration proposes, the model segments, appearance arbitrates."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from ..errors import Cancelled, InputError
from ..models.interface import PromptableModel
from ..progress import Progress
from ..prompts.types import SlicePrompts
from ..space.intensity import estimate_mapping
from ..space.planes import choose_axis
from ..space.volume import Volume
from . import visit_results as words_of
from .calibration_store import CalibrationStore
from .drafting import VisitPair
from .finishing import finished
from .methods import METHOD_NAMES
from .p2sam_settings import PROTOCOLS
from .preflight import PreflightFinding, VisitFacts, preflight
from .registration import Registrar, RegistrationReport, SimpleITKRegistrar, assess
from .registration_judgement import judge_given
from .structures import Draft, make_exclusive, without_search
from .transforms import VisitTransform
from .visit_results import Adaptation, PriorVisit, SliceDecision, StructureChanges, StructureResult
from .visit_settings import VisitSettings
from .warping import WarpedMask, warp_mask

__all__ = ["Adaptation", "PriorVisit", "SliceDecision", "StructureChanges", "StructureResult", "adapt"]

REGISTRATION = "registration"
METHODS = (REGISTRATION, *METHOD_NAMES)
MOST_OUTSIDE = 0.9
"""Share of a warped structure outside the follow-up from which it counts as not in the image."""


def adapt(
    prior: PriorVisit,
    follow_up: Volume,
    model: PromptableModel,
    *,
    structures: Sequence[str] | None = None,
    transform: str | VisitTransform = "auto",
    method: str = "p2sam",
    protocol: str = "default",
    settings: VisitSettings | None = None,
    progress: Progress | None = None,
    allow: Collection[str] = (),
    facts: VisitFacts | None = None,
    prompts: Mapping[str, Mapping[int, SlicePrompts]] | None = None,
    registrar: Registrar | None = None,
    calibrations: CalibrationStore | None = None,
) -> Adaptation:
    """Draft contours of a follow-up visit from those of the prior visit.

    Args:
        prior: image and masks of the earlier visit; never modified.
        follow_up: today's image; never modified.
        model: an open model.
        structures: names of those wanted; all when None.
        transform: ``auto`` registers, ``none`` compares equal places in the patient, or a transform that maps points
            of the follow-up to points of the prior.
        method: ``p2sam`` (part matching and the model together); ``registration`` offers the warped masks only; any
            other one-shot method is run slice by slice, for comparison.
        protocol: ``default``, or ``published``: P2SAM with the published slice pairing, for comparison.
        settings: defaults when None.
        progress: told of every step; its ``cancel`` ends the work and keeps the structures that are finished.
        allow: codes of preflight findings that are accepted (``visits.patient``...); recorded in the findings.
        facts: what the headers say of the follow-up, or None.
        prompts: structure -> slice -> prompts of a person, in place of the chosen ones on those slices.
        registrar: for ``auto``; SimpleITK's when None.
        calibrations: keeps what the prior tells of its structures between jobs; nothing when None.

    Returns:
        One result per structure; nothing of the prior's is changed.

    Raises:
        InputError: ``visits.structures`` for unknown names; ``visits.*`` of preflight and registration; ``option.*``.
        Cancelled: when it is cancelled before any structure was begun.
    """
    settings, progress = settings or VisitSettings(), progress or Progress()
    names = _wanted(prior, structures, prompts or {})
    _check(method, protocol, transform)
    clock, masks, volumes = _Clock(), {name: prior.masks[name] for name in names}, (prior.volume, follow_up)
    given = VisitTransform.identity() if transform == "none" else None if transform == "auto" else transform
    findings = preflight(prior.facts, facts, volumes, masks, transform=given, allow=allow)
    method = REGISTRATION if _across(findings) else method
    found, report = _transform(given, *volumes, masks, progress, registrar)
    clock.lap("registration")
    pair = VisitPair(
        prior, follow_up, model, found,
        tuple(estimate_mapping(volume, settings.window) for volume in volumes),
        choose_axis(follow_up) if settings.axis == "auto" else settings.axis,
        method, protocol, settings, {}, calibrations,
    )  # fmt: skip
    return _adapted(pair, masks, given is None, report, findings, prompts or {}, clock, progress)


def _adapted(
    pair: VisitPair,
    masks: Mapping[str, np.ndarray],
    lenient: bool,
    report: RegistrationReport | None,
    findings: Sequence[PreflightFinding],
    prompts: Mapping[str, Mapping[int, SlicePrompts]],
    clock: _Clock,
    progress: Progress,
) -> Adaptation:
    """All structures of visits that were brought together."""
    volumes = (pair.prior.volume, pair.follow_up)
    warped = {name: _warped(mask, *volumes, pair.transform, lenient=lenient) for name, mask in masks.items()}
    drafts, completed = _drafts(pair, warped, prompts, progress)
    clock.lap("structures")
    make_exclusive(drafts, masks)
    results = {name: finished(draft, pair, warped[name][0], report) for name, draft in drafts.items()}
    clock.lap("agreement")
    return Adaptation(
        results, pair.axis, pair.transform, report, tuple(findings), pair.settings, pair.method, pair.protocol,
        asdict(pair.model.info), _remarks(completed, len(masks) - len(drafts), report, _across(findings)),
        clock.seconds, pair.counts, completed,
    )  # fmt: skip


def _across(findings: Sequence[PreflightFinding]) -> bool:
    """True for visits of two modalities, when that was allowed."""
    return any(finding.code == "visits.modality" for finding in findings)


class _Clock:
    """Wall time by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        """What was done since the last lap was this step."""
        now = time.perf_counter()
        self.seconds[step], self._last = now - self._last, now


def _wanted(
    prior: PriorVisit, structures: Sequence[str] | None, prompts: Mapping[str, Mapping[int, SlicePrompts]]
) -> list[str]:
    names = list(prior.masks) if structures is None else list(dict.fromkeys(structures))
    unknown = [name for name in (*names, *prompts) if name not in prior.masks]
    if unknown or not names:
        raise InputError(
            "visits.structures",
            f"Expected structures of the prior visit ({', '.join(prior.masks)}); got {', '.join(unknown) or 'none'}.",
        )
    return names


def _check(method: str, protocol: str, transform: str | VisitTransform) -> None:
    if method not in METHODS:
        raise InputError("option.method", f"Expected one of the methods {', '.join(METHODS)}; got {method!r}.")
    if protocol not in PROTOCOLS:
        raise InputError("option.protocol", f"Expected the protocol {' or '.join(PROTOCOLS)}; got {protocol!r}.")
    if isinstance(transform, str) and transform not in ("auto", "none"):
        raise InputError("option.transform", f"Expected auto, none or a transform; got {transform!r}.")


def _transform(
    given: VisitTransform | None,
    prior: Volume,
    follow_up: Volume,
    masks: Mapping[str, np.ndarray],
    progress: Progress,
    registrar: Registrar | None,
) -> tuple[VisitTransform, RegistrationReport | None]:
    if given is None:
        return (registrar or SimpleITKRegistrar()).register(prior, follow_up, structures=masks, progress=progress)
    try:
        return given, judge_given(assess(prior, follow_up, given, masks))
    except InputError as error:
        if error.code != "visits.registration":
            raise
        return given, None  # images that cannot be compared (colour, no contrast) may be used with a given transform


def _warped(
    mask: np.ndarray, prior: Volume, follow_up: Volume, transform: VisitTransform, lenient: bool
) -> tuple[WarpedMask, VisitTransform]:
    """W and the transform it came through.

    A registration that throws a structure out of an image in which its old place is visible has gone astray there; the
    structure is then looked for at its old place.
    """
    warped = warp_mask(mask, prior, follow_up, transform)
    if lenient and warped.outside_fraction >= MOST_OUTSIDE:
        still = VisitTransform.identity()
        copied = warp_mask(mask, prior, follow_up, still)
        if copied.outside_fraction < 0.5:
            return copied, still
    return warped, transform


def _drafts(
    pair: VisitPair,
    warped: Mapping[str, tuple[WarpedMask, VisitTransform]],
    prompts: Mapping[str, Mapping[int, SlicePrompts]],
    progress: Progress,
) -> tuple[dict[str, Draft], bool]:
    """Structure by structure; what is finished is kept after a cancel."""
    drafts: dict[str, Draft] = {}
    progress.start("Looking for structures", len(warped))
    for name, (brought, transform) in warped.items():
        if not brought.in_image or brought.outside_fraction >= MOST_OUTSIDE:
            words = f"{brought.outside_fraction:.0%} of it lies outside the follow-up's field of view."
            drafts[name] = without_search(name, words_of.NOT_IN_IMAGE, brought.mask, words)
        elif pair.method == REGISTRATION:
            drafts[name] = without_search(name, words_of.REGISTRATION_ONLY, brought.mask)
        else:
            others = [other.mask for key, (other, _) in warped.items() if key != name]
            try:
                drafts[name] = pair.draft(name, brought.mask, transform, others, prompts.get(name, {}), progress)
            except Cancelled:
                return drafts, False
            if transform is not pair.transform:
                drafts[name].doubts += ("the registration lost its surroundings; it was looked for at its old place",)
        progress.advance()
    return drafts, True


def _remarks(completed: bool, missing: int, report: RegistrationReport | None, across: bool) -> tuple[str, ...]:
    remarks = [] if report is None else list(report.words)
    if across:
        remarks.append("The visits are of two modalities: only what registration carries over is offered.")
    if not completed:
        remarks.append(f"Cancelled: {missing} structures were not looked for; the others are complete.")
    return tuple(remarks)
