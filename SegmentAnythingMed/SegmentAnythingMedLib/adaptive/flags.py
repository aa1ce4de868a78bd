"""Green, amber or red: how much a draft needs a person's eye, and why."""

from __future__ import annotations

from dataclasses import dataclass

GREEN, AMBER, RED = "green", "amber", "red"


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
