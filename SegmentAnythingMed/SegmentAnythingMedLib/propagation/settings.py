"""Settings of a propagation, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import InputError
from ..prompts.projection import Projection

_NUMBERS: dict[str, tuple[float, float]] = {
    "iou_threshold": (0.0, 1.0),
    "area_ratio": (1.0, math.inf),
    "predicted_iou_threshold": (0.0, 1.0),
    "confidence_drop": (0.0, 1.0),
    "depth_doubt": (0.0, 1.0),
    "appearance": (0.0, 1.0),
    "taper": (0.0, 1.0),
    "box_extension": (0.0, 1000.0),
    "full_fraction": (0.0, 1.0),
    "min_component": (0.0, 1.0),
    "prior_iou": (0.0, 1.0),
}
_WHOLE: dict[str, tuple[int, int]] = {"patience": (0, 100), "max_components": (1, 100)}
_SWITCHES = ("motion_compensation", "multi_component", "as_published")


@dataclass(frozen=True)
class PropagationSettings:
    """How a mask walks from slice to slice, and what ends the walk (spec of the engine, 1.8).

    Attributes:
        projection: prompts derived from the last mask; a mode name, a combination or a ``Projection``.
        iou_threshold: a slice whose mask overlaps the last accepted one less than this (IoU) is rejected, 0..1.
        area_ratio: so is one whose area changed by more than this factor either way, >= 1.
        predicted_iou_threshold: so is one whose predicted IoU is lower, 0..1; 0 is off.
        confidence_drop: so is one whose predicted IoU is this much below the best of the walk so far, 0..1; 1 is off.
        depth_doubt: the drop that is allowed shrinks by this much for every half in-plane size of the seed that the
            walk has gone beyond the first (never below 0.05): most structures are about as deep as they are wide, so
            the farther beyond, the better the evidence must be. 0 for long structures.
        appearance: so is one that has lost the object's look: where the seed stands out, the mean under the mask must
            keep this part of the seed's contrast to its surroundings, 0..1; 0 is off.
        patience: consecutive rejected slices that are tolerated; the walk tries the next slice with the last accepted
            mask and fills what it jumped over.
        taper: no look-ahead once the last accepted area is below this part of the largest one: an object that has
            shrunk has come to its end, and a further slice would be encoded for nothing. 0 looks ahead whatever the
            size. (There is no look-ahead either onto a slice whose pixels lack the object: ``Session.goes_on``.)
        box_extension: margin of the projected box; below 1 a fraction of its sides, from 1 on pixels.
        box_extension_mm: smallest margin in mm; None is half a pixel. (Half the slice spacing was measured worse: the
            answers grow from slice to slice.)
        limits: first and last slice that may be touched, inclusive; None is all.
        motion_compensation: move the last mask by the displacement of the centroid (up to 60 degrees of obliquity)
            before masks are compared; for thin oblique structures.
        multi_component: prompt every component of the last mask on its own and join the answers.
        max_components: at most so many, the largest.
        min_component: smaller components (part of the mask's area) are not prompted.
        full_fraction: a mask that covers this part of a slice or more is a failure.
        prior_iou: between seeds, least overlap with the interpolated shape; below, the shape itself is used.
        near: look for a followed object around its prompt only (``Session.predict``): quicker for models of the SAM
            family, blind to parts that lie apart. None: yes, but not under the published rules.
        as_published: the rules of micro-sam (spec 1.1.3) in place of ours; only ``projection``, ``iou_threshold``,
            ``box_extension`` and ``near`` count then, and ``limits`` may not be given.

    Raises:
        InputError: ``option.<name>`` for a value of the wrong kind or out of range.
    """

    projection: Projection | str | Mapping[str, Any] = "mask"
    iou_threshold: float = 0.5
    area_ratio: float = 2.0
    predicted_iou_threshold: float = 0.0
    confidence_drop: float = 0.3
    depth_doubt: float = 0.1
    appearance: float = 0.3
    patience: int = 1
    taper: float = 0.5
    box_extension: float = 0.02
    box_extension_mm: float | None = None
    limits: tuple[int, int] | None = None
    motion_compensation: bool = False
    multi_component: bool = True
    max_components: int = 5
    min_component: float = 0.05
    full_fraction: float = 0.98
    prior_iou: float = 0.5
    near: bool | None = None
    as_published: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "projection", Projection.parse(self.projection))
        for name, (low, high) in _NUMBERS.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), low, high))
        for name, (low, high) in _WHOLE.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), low, high))
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"option.{name}", f"Expected true or false for {name}; got {getattr(self, name)!r}.")
        if self.near not in (None, True, False):
            raise InputError("option.near", f"Expected true, false or nothing for near; got {self.near!r}.")
        if self.box_extension_mm is not None:
            margin = _number("box_extension_mm", self.box_extension_mm, 0.0, 1000.0)
            object.__setattr__(self, "box_extension_mm", margin)
        if self.limits is not None:
            object.__setattr__(self, "limits", _limits(self.limits))
            if self.as_published:
                raise InputError("option.limits", "The published rules know no limits; got both.")

    @classmethod
    def published(cls, **changes: Any) -> PropagationSettings:
        """Settings of micro-sam's annotator: single point, IoU 0.5, box extension 0.05, published rules."""
        return replace(cls(projection="single_point", box_extension=0.05, as_published=True), **changes)

    @classmethod
    def strict(cls, **changes: Any) -> PropagationSettings:
        """Settings that rather end early than follow something else: IoU 0.8, no look-ahead (engine spec, 1.8)."""
        return replace(cls(iou_threshold=0.8, patience=0), **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        limits = list(self.limits) if self.limits else None
        return {**asdict(self), "projection": str(self.projection), "limits": limits}


def _number(name: str, value: Any, low: float, high: float) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high or math.isinf(number):
        span = f"between {low:g} and {high:g}" if math.isfinite(high) else f"of {low:g} or more"
        raise InputError(f"option.{name}", f"Expected a number {span} for {name}; got {value!r}.")
    return number


def _whole(name: str, value: Any, low: int, high: int) -> int:
    number = _number(name, value, low, high)
    if number != int(number):
        raise InputError(f"option.{name}", f"Expected a whole number for {name}; got {value!r}.")
    return int(number)


def _limits(value: Any) -> tuple[int, int]:
    try:
        low, high = value
    except (TypeError, ValueError):
        raise InputError("option.limits", f"Expected two slice numbers LO,HI as limits; got {value!r}.") from None
    low, high = _whole("limits", low, 0, 10**9), _whole("limits", high, 0, 10**9)
    if low > high:
        raise InputError("option.limits", f"Expected limits LO,HI with LO <= HI; got {low},{high}.")
    return low, high
