"""Green, amber or red: how much a draft needs a person's eye, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from .agreement import Agreement
from .registration_report import RegistrationReport
from .visit_results import NOT_IN_IMAGE, REGISTRATION_ONLY, RESOLVED
from .warping import WarpedMask

GREEN, AMBER, RED = "green", "amber", "red"
_ORDER = {RED: 0, AMBER: 1, GREEN: 2}


@dataclass(frozen=True)
class Flag:
    """A colour with its reasons.

    Attributes:
        colour: ``green`` (signals agree), ``amber`` (look at it), ``red`` (do not use without correction).
        reasons: plain words, worst first; one even for green.
        slices: slices of the follow-up's axis to look at, ascending; may be empty.
    """

    colour: str
    reasons: tuple[str, ...]
    slices: tuple[int, ...] = ()


@dataclass(frozen=True)
class FlagThresholds:
    """Where amber and red begin, as (amber, red). A value at the threshold is still on the better side.

    Attributes:
        nsd: surface agreement of S and W at 2 mm; below.
        dice: overlap of S and W; below.
        volume: factor between the volumes of S and the prior, either way; above.
        volume_to_warped: factor between the volumes of S and W, either way; above.
        shift_mm: distance of the centroids of S and W; above.
        gap_mm: distance between S and W on a slice; above. Such slices are listed.
        distance_ratio: appearance distance to the prior, as a multiple of its own; above.
        predicted_iou: the model's own estimate; below.
        box_dice: overlap with the mask from the box alone; below.
        roughness: jumps of the area from slice to slice beyond those of W; above.
        inverse_mm: inverse-consistency error of the registration inside the structure; above.
        outside: share of the structure outside the field of view; above.
    """

    nsd: tuple[float, float] = (0.70, 0.30)
    dice: tuple[float, float] = (0.70, 0.40)
    volume: tuple[float, float] = (1.6, 4.0)
    volume_to_warped: tuple[float, float] = (1.5, 3.0)
    shift_mm: tuple[float, float] = (5.0, 12.0)
    gap_mm: tuple[float, float] = (8.0, 15.0)
    distance_ratio: tuple[float, float] = (1.6, 3.0)
    predicted_iou: tuple[float, float] = (0.70, 0.45)
    box_dice: tuple[float, float] = (0.75, 0.45)
    roughness: tuple[float, float] = (0.20, 0.50)
    inverse_mm: tuple[float, float] = (3.0, 8.0)
    outside: tuple[float, float] = (0.02, 0.5)


@dataclass(frozen=True)
class _Reason:
    colour: str
    words: str


def raise_flag(
    outcome: str,
    agreement: Agreement | None,
    registration: RegistrationReport | None = None,
    *,
    structure: str = "",
    warped: WarpedMask | None = None,
    remarks: Sequence[str] = (),
    thresholds: FlagThresholds | None = None,
) -> Flag:
    """The flag of one structure.

    Args:
        outcome: ``found``, ``possibly resolved``, ``not in image`` or ``registration only``.
        agreement: of S and W; None when there is no S to compare.
        registration: quality of the registration; None for visits that share a frame, or a given transform.
        structure: name under which ``registration`` has figures.
        warped: W as it was warped (edges, field of view, size), or None.
        remarks: further reasons for amber.
        thresholds: the defaults when None.
    """
    limits = thresholds or FlagThresholds()
    reasons = [*_of_outcome(outcome), *_of_registration(registration, structure, limits)]
    if warped is not None and outcome not in (NOT_IN_IMAGE, RESOLVED):
        reasons += _of_field(warped, limits)
    slices: tuple[int, ...] = ()
    if agreement is not None and outcome not in (NOT_IN_IMAGE, RESOLVED, REGISTRATION_ONLY):
        reasons += _of_volumes(agreement, limits)
        gap, slices = _of_gaps(agreement, limits)
        reasons += [*gap, *_of_signals(agreement, limits)]
    reasons += [_Reason(AMBER, words) for words in remarks]
    reasons = sorted(reasons, key=lambda reason: _ORDER[reason.colour])
    if not reasons:
        return Flag(GREEN, ("registration, appearance and the model agree",))
    return Flag(reasons[0].colour, tuple(reason.words for reason in reasons), slices)


def _of_outcome(outcome: str) -> Iterator[_Reason]:
    words = {
        RESOLVED: "not found in the image: possibly resolved; no contour was made",
        NOT_IN_IMAGE: "outside the field of view of the follow-up; no contour was made",
        REGISTRATION_ONLY: "the warped contour of the prior visit, not checked against the look of the structure",
    }
    if outcome in words:
        yield _Reason(AMBER, words[outcome])


def _of_registration(report: RegistrationReport | None, structure: str, limits: FlagThresholds) -> Iterator[_Reason]:
    if report is None:
        return
    if not report.ok:
        yield _Reason(RED, report.words[0].rstrip(".") if report.words else "the registration is not to be trusted")
    fit = report.structures.get(structure)
    if fit is None:
        return
    if report.ok and fit.jacobian_min <= 0:
        yield _Reason(RED, "the transform folds space in the structure (Jacobian not above 0)")
    if fit.inverse_mm is not None:
        colour = _above(fit.inverse_mm, limits.inverse_mm)
        if colour:
            yield _Reason(colour, f"registered there and back, it ends {fit.inverse_mm:.0f} mm from where it began")


def _of_field(warped: WarpedMask, limits: FlagThresholds) -> Iterator[_Reason]:
    colour = _above(warped.outside_fraction, limits.outside)
    if colour:
        yield _Reason(colour, f"{warped.outside_fraction:.0%} of the structure lie outside the field of view")
    if warped.touches_edge:
        yield _Reason(AMBER, "the prior contour touches the edge of its image")
    if warped.rescued:
        yield _Reason(AMBER, "the structure is smaller than a voxel of the follow-up")


def _of_volumes(agreement: Agreement, limits: FlagThresholds) -> Iterator[_Reason]:
    ratio = agreement.volume_to_prior
    colour = _above(_factor(ratio), limits.volume)
    if colour:
        yield _Reason(colour, f"{_change(ratio)} since the prior visit")
    to_warped = agreement.volume_to_warped
    if to_warped is not None and not colour:
        colour = _above(_factor(to_warped), limits.volume_to_warped)
        if colour:
            yield _Reason(colour, f"{_change(to_warped)} against the warped contour")


def _of_gaps(agreement: Agreement, limits: FlagThresholds) -> tuple[list[_Reason], tuple[int, ...]]:
    far = tuple(sorted(index for index, gap in agreement.gaps_mm.items() if gap > limits.gap_mm[0]))
    if far:
        gap = max(agreement.gaps_mm[index] for index in far)
        colour = _above(gap, limits.gap_mm)
        return [_Reason(colour, f"registration and appearance differ by {gap:.0f} mm at {slice_words(far)}")], far
    return [], ()


def _of_signals(agreement: Agreement, limits: FlagThresholds) -> Iterator[_Reason]:
    iou, ratio, shift = agreement.predicted_iou, agreement.distance_ratio, agreement.centroid_shift_mm
    rough = agreement.roughness - agreement.roughness_warped
    box = agreement.box_dice
    found = [
        (_below(agreement.nsd, limits.nsd), f"only {agreement.nsd:.0%} of the surfaces of both contours agree within "
                                            f"{agreement.tolerance_mm:g} mm"),
        (_below(agreement.dice, limits.dice), f"both contours overlap little (Dice {agreement.dice:.2f})"),
        (shift is not None and _above(shift, limits.shift_mm), f"centre {shift or 0:.0f} mm from the warped one"),
        (ratio is not None and _above(ratio, limits.distance_ratio),
         f"looks different from the prior visit ({ratio or 0:.1f} times the usual distance)"),
        (iou is not None and _below(iou, limits.predicted_iou), f"the model expects a poor mask (IoU {iou or 0:.2f})"),
        (box is not None and _below(box, limits.box_dice),
         f"a mask from the box alone is another one (Dice {box or 0:.2f})"),
        (_above(rough, limits.roughness), "the area jumps from slice to slice"),
    ]  # fmt: skip
    for colour, words in found:
        if colour:
            yield _Reason(colour, words)


def slice_words(indices: Sequence[int]) -> str:
    """``slice 5`` or ``slices 3, 41-47`` for slice numbers in ascending order."""
    runs = [list(run) for _, run in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0])]
    texts = [str(run[0][1]) if len(run) == 1 else f"{run[0][1]}-{run[-1][1]}" for run in runs]
    return f"slice{'s' if len(indices) > 1 else ''} {', '.join(texts)}"


def _above(value: float, limits: tuple[float, float]) -> str:
    return RED if value > limits[1] else AMBER if value > limits[0] else ""


def _below(value: float, limits: tuple[float, float]) -> str:
    return RED if value < limits[1] else AMBER if value < limits[0] else ""


def _factor(ratio: float) -> float:
    return float("inf") if ratio <= 0 else max(ratio, 1.0 / ratio)


def _change(ratio: float) -> str:
    if 0.45 <= ratio <= 0.55:
        return "volume halved"
    if 1.8 <= ratio <= 2.2:
        return "volume doubled"
    return f"volume {100 * (ratio - 1):+.0f} %"
