"""What is said of a draft of the prior visit: flag, outcome, sizes. No Qt."""

from __future__ import annotations

from slicer.i18n import tr as _

from ...adaptive.flags import AMBER, GREEN, RED
from ...adaptive.visit_results import FOUND, NOT_IN_IMAGE, REGISTRATION_ONLY, RESOLVED
from .provenance import ACCEPTED, DRAFT
from .visit_drafts import REJECTED, VisitRow


def flag_words(colour: str) -> str:
    """Name of a flag; never colour alone."""
    words = {GREEN: _("green"), AMBER: _("amber: look"), RED: _("red: correct")}
    return words.get(colour, colour)


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
    """Volume on both visits."""
    return _change(row, "prior_ml", "follow_up_ml", _("{before} to {now} ml"))


def diameter_words(row: VisitRow) -> str:
    """Longest diameter within a slice on both visits."""
    return _change(row, "prior_diameter_mm", "follow_up_diameter_mm", _("{before} to {now} mm"))


def percent_words(row: VisitRow, name: str) -> str:
    """Change against the prior in percent, with its sign; empty when it is not known."""
    value = row.changes.get(name)
    return "" if value is None else f"{value:+.0f} %"


def reasons_words(row: VisitRow) -> str:
    """Why a structure has its flag, and where to look."""
    words = " ".join(row.reasons)
    if row.slices:
        words += " " + _("Slices to look at: {slices}.").format(slices=_listed(row.slices))
    return words.strip()


def _change(row: VisitRow, before: str, now: str, form: str) -> str:
    values = [row.changes.get(name) for name in (before, now)]
    if None in values:
        return ""
    first, second = (f"{value:.1f}" for value in values)
    return form.format(before=first, now=second)


def _listed(slices: tuple[int, ...]) -> str:
    """Numbers with runs in one: ``3, 5-8``."""
    runs: list[list[int]] = []
    for index in slices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
