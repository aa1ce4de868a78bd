"""Settings of the prior-visit mode, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import InputError

POLICIES = ("segmented", "warped")
"""Which mask is offered as the draft of a structure: S or W."""

_NUMBERS: dict[str, tuple[float, float]] = {
    "search_mm": (1.0, 200.0),
    "extent_mm": (0.0, 200.0),
    "presence": (0.1, 100.0),
    "displacement_mm": (0.0, 500.0),
    "least_area": (0.0, 1.0),
    "trust": (0.0, 10.0),
}
_WHOLE: dict[str, tuple[int, int]] = {"references": (1, 32), "key_slices": (1, 15)}


@dataclass(frozen=True)
class VisitSettings:
    """How structures are looked for on the follow-up.

    Attributes:
        axis: voxel axis of the follow-up's slices: ``k``, ``j``, ``i``, ``auto``.
        window: intensity mapping of both visits, see ``estimate_mapping``.
        search_mm: a structure is looked for within this distance of its warped contour.
        extent_mm: how far beyond the warped extent slices are looked at; at least three slices, in any case.
        presence: largest appearance distance, as a multiple of the prior's own, with which a structure counts as
            present where the prior's slices do not tell a better value.
        displacement_mm: largest distance of a slice's centroid from the warped one; at least one diameter is allowed.
        references: slices of the prior that show the model what a structure looks like, at most.
        key_slices: slices on which the anchor is looked for.
        least_area: masks below this part of the largest one are an end.
        trust: how much the warped contour counts in S where the visits look alike all around the structure, relative to
            the model; 0 is nothing.
        propagate: also walk from the anchor slice outward, as a candidate beside the others.
        baseline: also make a mask from the warped box alone, as a second opinion.
        policy: draft per structure, one of :data:`POLICIES`; ``""`` names the default of all others.

    Raises:
        InputError: ``option.<name>`` for a value of the wrong kind or out of range.
    """

    axis: str = "auto"
    window: str = "auto"
    search_mm: float = 20.0
    extent_mm: float = 10.0
    presence: float = 3.0
    displacement_mm: float = 15.0
    references: int = 5
    key_slices: int = 5
    least_area: float = 0.02
    trust: float = 4.0
    propagate: bool = True
    baseline: bool = True
    policy: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in _NUMBERS.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), low, high))
        for name, (low, high) in _WHOLE.items():
            value = _number(name, getattr(self, name), low, high)
            if value != int(value):
                raise InputError(f"option.{name}", f"Expected a whole number for {name}; got {value!r}.")
            object.__setattr__(self, name, int(value))
        for name in ("propagate", "baseline"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"option.{name}", f"Expected true or false for {name}; got {getattr(self, name)!r}.")
        for structure, policy in self.policy.items():
            if policy not in POLICIES:
                raise InputError(
                    "option.policy", f"Expected {', '.join(POLICIES)} for {structure or 'all'}; got {policy!r}."
                )

    def policy_of(self, structure: str) -> str:
        """Which mask is offered for a structure."""
        return self.policy.get(structure, self.policy.get("", "segmented"))

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        return {**asdict(self), "policy": dict(self.policy)}


def _number(name: str, value: Any, low: float, high: float) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise InputError(f"option.{name}", f"Expected a number between {low:g} and {high:g} for {name}; got {value!r}.")
    return number
