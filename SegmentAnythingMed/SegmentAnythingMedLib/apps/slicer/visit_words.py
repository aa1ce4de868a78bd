"""What is said of a draft of the prior visit: flag, outcome, sizes. No Qt."""

from __future__ import annotations

from slicer.i18n import tr as _

from ...adaptive.flags import AMBER, GREEN, RED
from ...adaptive.visit_results import FOUND, NOT_IN_IMAGE, REGISTRATION_ONLY, RESOLVED
from .provenance import ACCEPTED, DRAFT
from .saying import said
from .visit_drafts import REJECTED, VisitRow


def flag_words(colour: str) -> str:
    """Name of a flag; never colour alone."""
    words = {GREEN: _("green"), AMBER: _("amber"), RED: _("red")}
    return words.get(colour, colour)


def finding_words(row: VisitRow) -> str:
    """Flag and outcome."""
    return _("{flag}, {outcome}").format(flag=flag_words(row.colour), outcome=outcome_words(row.outcome))


def outcome_words(outcome: str) -> str:
    """What became of a structure."""
    words = {
        FOUND: _("found"),
        RESOLVED: _("possibly resolved"),
        NOT_IN_IMAGE: _("not in today's image"),
        REGISTRATION_ONLY: _("moved by registration"),
    }
    return words.get(outcome, outcome)


def status_words(status: str) -> str:
    """Whether a person has looked at it."""
    words = {DRAFT: _("draft"), ACCEPTED: _("accepted"), REJECTED: _("rejected")}
    return words.get(status, _("not written"))


def volume_words(row: VisitRow) -> str:
    """Volume today, and the change against the prior."""
    return _size(row, "follow_up_ml", "volume_percent", _("{now} ml, {change}"), _("{now} ml"))


def diameter_words(row: VisitRow) -> str:
    """Longest diameter within a slice today, and the change against the prior."""
    return _size(row, "follow_up_diameter_mm", "diameter_percent", _("{now} mm, {change}"), _("{now} mm"), 0)


def sizes_words(row: VisitRow) -> str:
    """Volume and diameter on both visits, in a sentence; empty when they are not known."""
    names = ("prior_ml", "follow_up_ml", "prior_diameter_mm", "follow_up_diameter_mm")
    values = [row.changes.get(name) for name in names]
    if None in values:
        return ""
    words = _("Volume {before} to {now} ml, longest diameter {short} to {long} mm.")
    first, second, third, fourth = (f"{value:.1f}" for value in values)
    return words.format(before=first, now=second, short=third, long=fourth)


def reasons_words(row: VisitRow) -> str:
    """Why a structure has its flag, and where to look."""
    words = [_sentence(said(reason)) for reason in row.reasons]
    if row.slices:
        words.append(_("Slices to look at: {slices}.").format(slices=_listed(row.slices)))
    return " ".join([*words, sizes_words(row)]).strip()


def _size(row: VisitRow, now: str, percent: str, form: str, plain: str, digits: int = 1) -> str:
    value, change = row.changes.get(now), row.changes.get(percent)
    if value is None:
        return ""
    size = f"{value:.{digits}f}"
    return plain.format(now=size) if change is None else form.format(now=size, change=f"{change:+.0f} %")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def _listed(slices: tuple[int, ...]) -> str:
    """Numbers with runs in one: ``3, 5-8``."""
    runs: list[list[int]] = []
    for index in slices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
