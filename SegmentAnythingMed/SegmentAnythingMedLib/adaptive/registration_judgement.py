"""Is a registration to be trusted, and what is offered when it is not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .registration_report import RegistrationReport
from .transforms import VisitTransform


@dataclass(frozen=True)
class RegistrationLimits:
    """Beyond these a registration is not trusted.

    Attributes:
        worse: loss of similarity (normalised mutual information) that counts as worse than before.
        little: similarity below which the images have hardly anything in common.
        folded: share of the deformed region that may be folded, outside the structures.
        inverse_mm: mean inverse-consistency error that is said in words (AAPM TG-132 names 2 to 3 mm).
        lost_mm: the same, beyond which the deformation is given up.
        volume: change of volumes within a structure by the deformation, as a factor either way, that is said in words.
        absurd: the same, beyond which the deformation is given up.
        faint: similarity below which a look at the alignment is asked for.
    """

    worse: float = 0.01
    little: float = 0.03
    folded: float = 0.005
    inverse_mm: float = 3.0
    lost_mm: float = 7.0
    volume: float = 3.0
    absurd: float = 6.0
    faint: float = 0.15


def judge(
    report: RegistrationReport, rigid: VisitTransform, bent: VisitTransform | None, limits: RegistrationLimits
) -> tuple[VisitTransform, RegistrationReport]:
    """Choose what is offered: the deformation, the rigid alignment, or equal places in patient space.

    A deformation that folds space in a structure or makes the images less alike than the rigid alignment did is not
    offered at all; the report says so and its ``ok`` is False. Its figures stay those of what was found.

    Args:
        report: figures of ``bent``, or of ``rigid`` where there is none.
        rigid: the rigid alignment.
        bent: the deformation on top of it, or None.
        limits: see there.
    """
    if bent is not None and not bent.is_linear:
        problem = _problem_of_deformation(report, limits)
        if problem is None:
            return bent, replace(report, words=tuple(_remarks(report, limits)), ok=_alike(report, limits))
        words = (f"The deformation was given up: {problem}. The rigid alignment alone is offered.",)
        return rigid, replace(report, kind="rigid", ok=False, words=words)
    words = _remarks(report, limits)
    before, after = report.similarity_before, report.similarity_rigid
    if before is not None and after is not None and after < before - limits.worse:
        first = (
            f"The rigid alignment made the images around the structures less alike (similarity {before:.2f} before,"
            f" {after:.2f} after). Equal places in patient space are offered."
        )
        return VisitTransform.identity(), replace(report, kind="identity", ok=False, words=(first, *words))
    return rigid, replace(report, words=tuple(words), ok=_alike(report, limits))


def judge_given(report: RegistrationReport, limits: RegistrationLimits | None = None) -> RegistrationReport:
    """The same for a transform that was given: it is kept in any case, the words say what speaks against it."""
    limits = limits or RegistrationLimits()
    words = _remarks(report, limits)
    problem = None if report.kind in ("identity", "rigid") else _folds(report, limits)
    if problem is not None:
        words.insert(0, f"The given transform is doubtful: {problem}.")
    return replace(report, words=tuple(words), ok=problem is None and _alike(report, limits))


def _problem_of_deformation(report: RegistrationReport, limits: RegistrationLimits) -> str | None:
    before, after = report.similarity_rigid, report.similarity_after
    if before is not None and after is not None and after < before - limits.worse:
        return f"the images around the structures became less alike (similarity {before:.2f} before, {after:.2f} after)"
    return _folds(report, limits)


def _folds(report: RegistrationReport, limits: RegistrationLimits) -> str | None:
    folded = [name for name, fit in report.structures.items() if fit.jacobian_min <= 0]
    if folded:
        return f"it folds space in {', '.join(folded)} (Jacobian not above 0)"
    for name, fit in report.structures.items():
        if fit.jacobian_min < 1 / limits.absurd or fit.jacobian_max > limits.absurd:
            return f"it scales volumes in {name} by {1 / fit.jacobian_max:.2f} to {1 / fit.jacobian_min:.1f}"
        if fit.inverse_mm is not None and fit.inverse_mm > limits.lost_mm:
            return f"registered there and back, {name} ends {fit.inverse_mm:.0f} mm from where it began"
    if report.folded_fraction > limits.folded:
        return f"it folds {report.folded_fraction:.1%} of the space around the structures (Jacobian not above 0)"
    return None


def _alike(report: RegistrationReport, limits: RegistrationLimits) -> bool:
    return report.similarity_after is not None and report.similarity_after >= limits.little


def _remarks(report: RegistrationReport, limits: RegistrationLimits) -> list[str]:
    words = []
    if report.similarity_after is None:
        words.append("The prior image does not reach the region of the structures on the follow-up.")
    elif report.similarity_after < limits.little:
        words.append(f"Even when aligned, the images have little in common (similarity {report.similarity_after:.2f}).")
    elif report.similarity_after < limits.faint:
        words.append(f"The aligned images look different (similarity {report.similarity_after:.2f}); check the fit.")
    for name, fit in report.structures.items():
        if fit.inverse_mm is not None and fit.inverse_mm > limits.inverse_mm:
            words.append(f"Registered there and back, {name} ends {fit.inverse_mm:.0f} mm from where it began.")
        if fit.jacobian_min > 0 and (fit.jacobian_min < 1 / limits.volume or fit.jacobian_max > limits.volume):
            low, high = 1 / fit.jacobian_max, 1 / fit.jacobian_min
            words.append(f"The deformation scales volumes in {name} by {low:.2f} to {high:.2f}.")
    return words
