"""One structure on the follow-up, from the stage to the outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..progress import Progress
from ..prompts.projection import project
from ..prompts.types import SlicePrompts
from .anchors import CLEARLY, SIZES, Start, choose_start, matched_start, opinions
from .arena import Arena
from .calibration import LOW_DICE, Calibration
from .calibration_store import CalibrationStore, calibrated
from .candidates import Asker
from .following import Followed, Follower, without_crumbs
from .localise import Place, find_place, moved
from .one_shot import OneShotMethod
from .part_matching import PartMatcher
from .presence import LEAST_PX, PresenceRule
from .reanchoring import anchor_again
from .references import BOX_EXTENSION, PriorLooks
from .visit_results import FOUND, REGISTRATION_ONLY, RESOLVED
from .visit_settings import VisitSettings

NO_BOX = -20.0
NOT_LIKE_IT = RESOLVED, "Nothing on the follow-up looks like the structure."
NO_EVIDENCE = REGISTRATION_ONLY, "The model finds nothing there; between modalities that is no evidence: see W."
_LEAST_LEFT = 0.02
"""Part of the prior's volume below which what was found is nothing."""


@dataclass(frozen=True, eq=False)
class Search:
    """How the search for one structure ended; masks are bool [N, H, W] of the arena.

    Attributes:
        outcome: ``found``, ``possibly resolved`` or ``registration only``.
        segmented: S.
        boxed: logits float32 [N, H, W] of the model's answer to the warped boxes alone, or None.
        followed: decisions per slice.
        calibration, place, start: see their classes; None where the search ended before.
        words: sentences.
        doubts: sentences that call for a look.
    """

    outcome: str
    segmented: np.ndarray
    boxed: np.ndarray | None = None
    followed: Followed = field(default_factory=Followed)
    calibration: Calibration | None = None
    place: Place | None = None
    start: Start | None = None
    words: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def search(
    arena: Arena,
    settings: VisitSettings,
    by_parts: Callable[[int], OneShotMethod] | None,
    given: Mapping[int, SlicePrompts],
    progress: Progress,
    *,
    comparable: bool = True,
    store: CalibrationStore | None = None,
) -> Search:
    """Look for one structure.

    Args:
        arena: both visits around it.
        settings: how to look.
        by_parts: number of parts -> part matching with it; None for a model without tokens.
        given: slice of the arena -> prompts of a person.
        progress: its ``cancel`` ends the work.
        comparable: see :class:`PriorLooks`; if not, that a structure is gone cannot be told.
        store: calibrations of earlier jobs, or None.
    """
    looks = PriorLooks(arena, settings.references, comparable)
    nothing = np.zeros_like(arena.warped)
    if not looks.indices:
        return Search(REGISTRATION_ONLY, nothing, words=("The structure is too small for the model: see W.",))
    matcher = None if by_parts is None else PartMatcher(looks, by_parts, settings.search_mm)
    calibration = calibrated(arena, looks, settings.presence, store)
    progress.check()
    if calibration.dice < LOW_DICE and not given:
        words = f"The model finds only {calibration.dice:.0%} (Dice) of this structure on the prior itself: see W."
        return Search(REGISTRATION_ONLY, nothing, calibration=calibration, words=(words,))
    rule = _rule(arena, looks, calibration, settings)
    place = find_place(arena, settings.search_mm) if comparable else None

    def ask_for(masks: np.ndarray) -> Asker:
        """An asker that measures displacements from these masks."""
        return Asker(arena, looks, calibration.unit, masks)

    starts = opinions(arena, place)
    start = choose_start(arena, ask_for, rule, starts, settings.key_slices)
    progress.check()
    if not start.convincing and matcher is not None and comparable:
        start = _matched(arena, looks, ask_for, rule, start, matcher, settings)
    known = {"calibration": calibration, "place": place, "start": start}
    if not start.convincing and not given:
        outcome, words = NOT_LIKE_IT if comparable else NO_EVIDENCE
        return Search(outcome, nothing, **known, words=(words,))
    follower = Follower(ask_for(start.masks), rule, settings, matcher, given, progress)
    followed = follower.follow(start.masks)
    if comparable and start.convincing:
        anchor_again(follower, start.masks, partial(_others, arena, starts, start, settings.search_mm), ask_for)
    segmented = without_crumbs(followed.stack(arena.warped.shape), start.masks)
    boxed = _boxed(arena, looks) if settings.baseline else None
    if np.count_nonzero(segmented) < _LEAST_LEFT * np.count_nonzero(arena.rigid):
        words = ("What is left is smaller than can be told from nothing.",)
        return Search(RESOLVED, nothing, boxed, followed, **known, words=words)
    return Search(
        FOUND, segmented, boxed, followed, **known, words=_words_of(start, arena), doubts=_doubts(followed, arena)
    )


def _rule(arena: Arena, looks: PriorLooks, calibration: Calibration, settings: VisitSettings) -> PresenceRule:
    largest = max(np.count_nonzero(arena.rigid[n]) for n in looks.indices)
    return PresenceRule(
        presence=calibration.presence,
        sure=calibration.sure,
        displacement_mm=max(settings.displacement_mm, looks.reach_mm),
        least_px=max(LEAST_PX, settings.least_area * largest),
        iou=calibration.iou,
    )


def _matched(
    arena: Arena,
    looks: PriorLooks,
    ask_for: Callable[[np.ndarray], Asker],
    rule: PresenceRule,
    start: Start,
    matcher: PartMatcher,
    settings: VisitSettings,
) -> Start:
    """A last opinion, by part matching on the key slices of the best start so far."""
    asker = ask_for(start.masks)
    for answer in sorted(start.answers, key=lambda a: abs(a.index - looks.medoid))[:2]:
        found = matcher.match(asker, answer.index, start.masks[answer.index])
        if found.empty or (found.rho is not None and found.rho > rule.presence):
            continue
        masks = matched_start(arena, looks, found)
        if masks.any():
            tried = choose_start(arena, ask_for, rule, {"matched": masks}, settings.key_slices)
            if tried.convincing and rule.certain(tried.answers):  # no other opinion says that it is there
                return tried
    return start


def _others(
    arena: Arena, starts: Mapping[str, np.ndarray], start: Start, search_mm: float, part: list[int]
) -> dict[str, np.ndarray]:
    """Where a lost part may be: the starts that were not taken, and where its own picture is recognised."""
    hints = {name: masks for name, masks in starts.items() if name != start.name}
    alone = np.zeros_like(arena.rigid)
    alone[part] = arena.rigid[part]
    if alone.any():
        place = find_place(replace(arena, rigid=alone), search_mm, within_slices=True)
        if place.recognised and place.likeness >= place.expected + CLEARLY:
            hints["recognised alone"] = moved(alone, place.offset)
    return hints


def _doubts(followed: Followed, arena: Arena) -> tuple[str, ...]:
    """What was unusual on the way through the slices."""
    doubts = [
        f"slices {arena.first + low}-{arena.first + high} were found from a second anchor, after it had been lost"
        for low, high in followed.again
    ]
    doubts += [f"it goes on beyond slice {arena.first + n}, the last that was looked at" for n in followed.open_ends]
    return tuple(doubts)


def _boxed(arena: Arena, looks: PriorLooks) -> np.ndarray:
    """S_box: logits for every warped box on its own, with nothing else; low where there is none."""
    out = np.full(arena.warped.shape, NO_BOX, dtype=np.float32)
    for index in np.flatnonzero(arena.warped.any(axis=(1, 2))):
        prompts = project(arena.warped[index], "box", box_extension=BOX_EXTENSION, min_margin_px=(1.0, 1.0))
        out[index] = arena.follow_up.predict(int(index), prompts, propagated=True).logits
    return out


def _words_of(start: Start, arena: Arena) -> tuple[str, ...]:
    """How the start differs from the warped contour."""
    if start.name == "warped":
        return ()
    if start.name in SIZES:
        return (f"It is {start.name} than the registration has it.",)
    centres = [np.mean(np.nonzero(masks), axis=1) * arena.spacing for masks in (start.masks, arena.warped)]
    return (f"It was found {np.linalg.norm(np.subtract(*centres)):.0f} mm from where the registration has it.",)
