"""Where to begin: several opinions on where the structure is, tried on a few key slices; the best one is the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import SegmentAnythingMedError
from ..propagation.shapes import centroid, dice, iou
from .arena import Arena
from .candidates import Asker, Candidate
from .localise import Place, moved
from .presence import PresenceRule
from .references import PriorLooks

SAME = 0.85
"""Dice from which two opinions are one."""
CLEARLY = 0.1
"""Correlation by which another place must be more like the prior than the expected one."""
SIZES = {"smaller": 0.75, "much smaller": 0.55, "larger": 1.25}
"""The warped structure made smaller and larger (linear factor): the model refuses a prompt far from what it sees."""
_ABSENT = 4.0
"""Score of a key slice on which nothing is found; far above that of any slice on which something is."""
_BETTER = 0.9
"""An opinion further down the list must have a score this much lower than the ones before it."""


@dataclass(frozen=True, eq=False)
class Start:
    """An opinion on where the structure is.

    Attributes:
        name: ``warped``, ``recognised``, ``rigid``, ``matched`` or one of :data:`SIZES`.
        masks: bool [N, H, W], the structure there.
        score: mean over the key slices, lower is better.
        answers: what the model found on the key slices.
        present: how many of them show the structure.
    """

    name: str
    masks: np.ndarray
    score: float
    answers: tuple[Candidate, ...]
    present: int

    @property
    def convincing(self) -> bool:
        """At least half of the key slices show the structure."""
        return self.present > 0 and 2 * self.present >= len(self.answers)

    @property
    def anchor(self) -> Candidate:
        """The key slice with the most convincing answer."""
        return min(self.answers, key=_score)


def opinions(arena: Arena, place: Place | None) -> dict[str, np.ndarray]:
    """Where the structure may be, most trusted first; without those that say the same."""
    named = {"warped": arena.warped}
    if place is not None and place.recognised and place.likeness >= place.expected + CLEARLY:
        named["recognised"] = moved(arena.rigid, place.offset)
    named["rigid"] = arena.rigid
    named.update((name, scaled(arena.warped, factor)) for name, factor in SIZES.items())
    kept: dict[str, np.ndarray] = {}
    for name, masks in named.items():
        if masks.any() and all(dice(masks, other) < SAME for other in kept.values()):
            kept[name] = masks
    return kept


def key_slices(masks: np.ndarray, count: int) -> list[int]:
    """Slices on which a start is tried: evenly over the inner part of the structure, the largest among them."""
    areas = np.count_nonzero(masks, axis=(1, 2))
    found = np.flatnonzero(areas)
    inner = found[areas[found] >= 0.3 * areas.max()]
    places = np.linspace(0, len(inner) - 1, min(count, len(inner)) + 2)[1:-1] if len(inner) > 2 else [0, len(inner) - 1]
    chosen = {int(inner[int(p + 0.5)]) for p in places}
    return sorted({*chosen, int(np.argmax(areas))})


def choose_start(
    arena: Arena,
    ask_for: Callable[[np.ndarray], Asker],
    rule: PresenceRule,
    starts: dict[str, np.ndarray],
    count: int,
) -> Start:
    """Try every opinion on its key slices.

    Args:
        arena: both visits.
        ask_for: makes the asker that measures displacements from given masks.
        rule: presence.
        starts: from :func:`opinions`.
        count: key slices.
    """
    best: Start | None = None
    for name, masks in starts.items():
        asker = ask_for(masks)
        answers = tuple(_twice(asker, n, masks[n], name) for n in key_slices(masks, count))
        verdicts = [rule.convincing(answer) for answer in answers]
        scores = [
            _score(a) + 1 - iou(a.mask, masks[a.index]) if there else _ABSENT
            for a, there in zip(answers, verdicts, strict=True)
        ]
        start = Start(name, masks, float(np.mean(scores)), answers, sum(verdicts))
        if best is None or start.score < _BETTER * best.score:
            best = start
    if best is None:
        raise SegmentAnythingMedError("visits.no_start", "Expected at least one opinion on where the structure is.")
    return best


def _twice(asker: Asker, index: int, hint: np.ndarray, name: str) -> Candidate:
    """A second look from the first answer: what the model sees around the structure then fits its size."""
    first = asker.ask(index, hint, name)
    return first if first.empty else asker.ask(index, first.mask, name)


def scaled(masks: np.ndarray, factor: float) -> np.ndarray:
    """Masks [N, H, W] made larger or smaller about their centroid; what leaves the arena is lost."""
    if not masks.any():
        return masks
    centre = np.array(ndimage.center_of_mass(masks))
    box = ndimage.find_objects(masks.view(np.uint8))[0]
    ends = np.array([[part.start - 1, part.stop] for part in box])
    ends = np.concatenate([ends, centre[:, None] + factor * (ends - centre[:, None])], axis=1)
    low = np.maximum(np.floor(ends.min(axis=1)).astype(int), 0)
    part = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, np.ceil(ends.max(axis=1)), strict=True))
    inverse = np.eye(3) / factor
    out = np.zeros_like(masks)
    near = masks[part].astype(np.float32)
    out[part] = ndimage.affine_transform(near, inverse, (centre - low) @ (np.eye(3) - inverse), order=1) > 0.5
    return out


def _score(answer: Candidate) -> float:
    if answer.empty:
        return _ABSENT
    rho = 1.0 if answer.rho is None else answer.rho
    return min(rho, _ABSENT - 1) + (0.0 if answer.predicted_iou is None else 1 - answer.predicted_iou)


def matched_start(arena: Arena, looks: PriorLooks, matched: Candidate) -> np.ndarray:
    """The prior's structure moved (within the slices) to where part matching found it on one slice."""
    rows_cols = np.subtract(centroid(matched.mask), centroid(arena.rigid[looks.nearest(matched.index)[0]]))
    offset = (0, *(int(np.floor(d + 0.5)) for d in rows_cols))
    return moved(arena.rigid, offset)
