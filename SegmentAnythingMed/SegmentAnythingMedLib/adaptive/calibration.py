"""How well the method does on the prior itself, where every answer is known: free labels, used before today's image.

Slices of the prior are segmented from a rough copy of their own contour with *other* slices as references, and places
beside the structure are asked about as if it were there. The first tells how far the model can be trusted with this
structure and how far apart its own slices look; the second, how unlike everything else looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..propagation.shapes import dice, shifted
from .arena import Arena
from .candidates import Asker, Candidate
from .presence import AS_SURE
from .references import PriorLooks, neighbour_distance

_ROUGH = 0.08
"""Displacement of the rough copy, in parts of the structure's in-plane size."""
_BESIDE = 1.25
"""Distance of the places beside the structure, in its in-plane extents."""
FEW = 4
LOW_DICE = 0.7
"""Below it the model does worse than the rough copy that it is given (about 0.85): neither its finds nor its silence
count."""
SPREAD = 0.02
"""Difference of predicted IoUs among the structure's own slices below which they are all the same."""
_WAYS = ((0, 1), (1, 0), (0, -1), (-1, 0))
PRESENCE_RANGE = (1.5, 5.0)
SURE, SURE_TIMES = 2.0, 1.6
"""Distance that is sure enough: in units, and as a multiple of the median of the structure's own slices."""


@dataclass(frozen=True)
class Calibration:
    """What the prior says about one structure.

    Attributes:
        dice: median Dice of the model on the prior's own slices, other slices as references; of few slices the mean, so
            that a lucky one does not stand for all.
        unit: median appearance distance of neighbouring slices of the structure; None for a model without tokens.
        presence: largest distance, in units, with which a slice counts as showing the structure.
        sure: the stricter one for the structure as a whole.
        own: distances of the structure's own slices, in units.
        beside: distances of what was found beside it, in units; infinite where nothing was.
        iou: median predicted IoU on the prior's own slices; 0 where the model is as sure of what is beside the
            structure, so that its surety tells nothing (some fine-tuned models were never taught it).
    """

    dice: float
    unit: float | None
    presence: float
    sure: float
    own: tuple[float, ...]
    beside: tuple[float, ...]
    iou: float


def calibrate(arena: Arena, looks: PriorLooks, presence: float) -> Calibration:
    """Try the method on the prior.

    Args:
        arena: both visits; only the prior is asked.
        looks: the structure on it, at least one slice.
        presence: threshold to fall back on.
    """
    unit = _unit(looks) if looks.comparable and _has_tokens(arena) else None
    # the same machinery as for the follow-up, with the prior in its place
    asker = Asker(replace(arena, follow_up=arena.prior), looks, unit, arena.rigid)
    answers = _own_slices(asker, looks)
    dices = [dice(answer.mask, looks.mask[answer.index]) for answer in answers]
    middle = looks.medoid if unit is not None else looks.indices[len(looks.indices) // 2]
    places = [shifted(looks.mask[middle], _offset(looks.mask[middle], way, _BESIDE)) for way in _WAYS]
    whole = 0.9 * np.count_nonzero(looks.mask[middle])
    elsewhere = [asker.ask(middle, place, "") for place in places if np.count_nonzero(place) >= whole]
    own, beside = (
        [float(r) for r in rhos if r is not None] for rhos in ([a.rho for a in answers], [a.rho for a in elsewhere])
    )
    loose = _threshold(own, beside, presence)
    return Calibration(
        dice=float(np.median(dices) if len(dices) >= FEW else np.mean(dices)),
        unit=unit, presence=loose, sure=_sure(own, loose),
        own=tuple(own), beside=tuple(beside), iou=surety(answers, elsewhere),
    )  # fmt: skip


def _own_slices(asker: Asker, looks: PriorLooks) -> list[Candidate]:
    """Answers on the prior's own slices, from a rough copy of the contour and other slices."""
    answers, several = [], len(looks.indices) > 1
    for turn, index in enumerate(looks.indices):
        truth = looks.mask[index]
        hint = shifted(truth, _offset(truth, _WAYS[turn % len(_WAYS)], _ROUGH))
        answers.append(asker.ask(index, hint if hint.any() else truth, "", index if several else None))
    return answers


def surety(answers: Sequence[Candidate], elsewhere: Sequence[Candidate]) -> float:
    """Median predicted IoU of the structure's own slices, or 0 where it does not tell them from anything else.

    Args:
        answers: on slices of the structure, at least one.
        elsewhere: beside it; none where it leaves no room.
    """
    own, beside = (np.array([answer.predicted_iou for answer in some]) for some in (answers, elsewhere))
    # a large structure has no room beside it: there, what is always the same tells nothing
    tells = np.median(beside) < AS_SURE * np.median(own) if len(beside) else np.ptp(own) >= SPREAD
    return float(np.median(own)) if tells else 0.0


def _has_tokens(arena: Arena) -> bool:
    return bool(getattr(arena.prior.model, "has_tokens", False))


def _unit(looks: PriorLooks) -> float:
    unit = neighbour_distance([looks.tokens(n) for n in looks.indices])
    if np.isfinite(unit) and unit > 0:
        return unit
    # a single slice: halves of the structure, which differ about as much as neighbouring slices do
    tokens = looks.tokens(looks.indices[0])
    return max(neighbour_distance([tokens[::2], tokens[1::2]]) if len(tokens) > 1 else 1.0, 1e-6)


def _offset(mask: np.ndarray, way: tuple[int, int], part: float) -> tuple[int, int]:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    extent = (rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1)
    return tuple(int(np.floor(w * e * part + 0.5)) for w, e in zip(way, extent, strict=True))


def _threshold(own: list[float], beside: list[float], fall_back: float) -> float:
    """Between the structure's own distances and those of everything else, not far from the usual one."""
    own = [r for r in own if np.isfinite(r)]
    others = [r for r in beside if np.isfinite(r)]
    low = max(float(np.quantile(own, 0.9)) * 1.5, fall_back) if own else fall_back
    if others:
        low = min(low, float(np.sqrt(max(np.median(own), 0.5) * min(others)))) if own else low
    return float(np.clip(low, *PRESENCE_RANGE))


def _sure(own: list[float], loose: float) -> float:
    known = [r for r in own if np.isfinite(r)]
    return min(max(SURE, SURE_TIMES * float(np.median(known))), loose) if known else min(SURE, loose)
