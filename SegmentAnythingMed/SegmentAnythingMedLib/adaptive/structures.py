"""From the searches for all structures to their results: no voxel is given away twice, every slice has its reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..prompts.types import SlicePrompts
from . import visit_results as words_of
from .arena import Arena
from .following import score_of
from .searching import Search
from .visit_results import SliceDecision

_MAY_OVERLAP = 0.05
"""Structures that share this part of the smaller one on the prior may do so on the follow-up."""


@dataclass(eq=False)
class Draft:
    """One structure between search and result; arrays are [K, J, I] of the follow-up.

    Attributes:
        name: structure.
        outcome: see ``visit_results``.
        warped: bool, W.
        segmented: bool, S.
        own: bool, the model's answer before it was joined with the warped contour: what W is compared with.
        boxed: bool, S_box, or None.
        window, logits: part of the grid that was searched, and float16 logits of S there; None without a search.
        slices: decisions.
        search: as it ended, or None.
        fit: how alike the visits look near the contours, 0..1, or None.
        heat_map: float32, or None.
        remarks: sentences.
        doubts: sentences that call for a look, whatever the figures say.
    """

    name: str
    outcome: str
    warped: np.ndarray
    segmented: np.ndarray
    own: np.ndarray
    boxed: np.ndarray | None = None
    window: tuple[slice, slice, slice] | None = None
    logits: np.ndarray | None = None
    slices: tuple[SliceDecision, ...] = ()
    search: Search | None = None
    fit: float | None = None
    heat_map: np.ndarray | None = None
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def prompts(self) -> dict[int, SlicePrompts]:
        """Slice -> prompts of the kept answers."""
        return {d.index: d.prompts for d in self.slices if d.prompts is not None}


def without_search(name: str, outcome: str, warped: np.ndarray, *remarks: str) -> Draft:
    """A structure that was not searched for: outside the image, or by choice."""
    nothing = np.zeros_like(warped)
    return Draft(name, outcome, warped, nothing, nothing, remarks=remarks)


def make_exclusive(drafts: dict[str, Draft], prior_masks: dict[str, np.ndarray]) -> None:
    """Give every voxel that two structures claim to the one that is surer of it, unless they overlapped before."""
    names = [name for name, draft in drafts.items() if draft.logits is not None and draft.segmented.any()]
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            first, second = drafts[name], drafts[other]
            both = first.segmented & second.segmented
            if not both.any() or _overlapped(prior_masks[name], prior_masks[other]):
                continue
            at = np.nonzero(both)
            wins = _logits_at(first, at) >= _logits_at(second, at)
            first.segmented[tuple(a[~wins] for a in at)] = False
            second.segmented[tuple(a[wins] for a in at)] = False


def _overlapped(first: np.ndarray, second: np.ndarray) -> bool:
    smaller = min(np.count_nonzero(first), np.count_nonzero(second))
    return bool(np.count_nonzero(first & second) > _MAY_OVERLAP * smaller)


def _logits_at(draft: Draft, at: tuple[np.ndarray, ...]) -> np.ndarray:
    return draft.logits[tuple(a - part.start for a, part in zip(at, draft.window, strict=True))].astype(np.float32)


def decisions_of(
    search: Search, arena: Arena, masks: np.ndarray, shape: tuple[int, int, int]
) -> tuple[SliceDecision, ...]:
    """Decisions per slice of the follow-up's stack, in order.

    Args:
        search: of one structure.
        arena: its stage.
        masks: bool [N, H, W], what is offered there.
        shape: [K, J, I] of the follow-up.
    """
    pixel_mm2 = float(np.prod(arena.follow_up.pixel_spacing))
    followed, decisions = search.followed, []
    looked_at = {*followed.chosen, *followed.refused, *np.flatnonzero(masks.any(axis=(1, 2))).tolist()}
    for index in sorted(looked_at):
        chosen, area = followed.chosen.get(index), float(np.count_nonzero(masks[index])) * pixel_mm2
        tried = followed.tried.get(index, {})
        if chosen is not None and area:
            asked = None if chosen.prompts is None else arena.whole_prompts(chosen.prompts, shape)
            decisions.append(
                SliceDecision(
                    arena.first + index, words_of.PRESENT, chosen.source, area, chosen.rho, chosen.predicted_iou,
                    chosen.displacement_mm, tried, _words(chosen.source, score_of(chosen)), asked,
                )
            )  # fmt: skip
        elif area:
            words = "The model finds nothing here; the image fits the warped contour, which is used."
            decisions.append(
                SliceDecision(
                    arena.first + index, words_of.PRESENT, words_of.WARPED, area, candidates=tried, words=words
                )
            )
        else:
            why = followed.refused.get(index, "nothing is left of the answer")
            decisions.append(
                SliceDecision(arena.first + index, words_of.ABSENT, candidates=tried, words=f"Not here: {why}.")
            )
    return tuple(decisions)


def _words(source: str, score: float) -> str:
    origin = {
        words_of.SEGMENTED: "From the prior's contour at this place",
        words_of.PROPAGATED: "From a first answer here or on the neighbouring slice",
        words_of.MATCHED: "From matching parts of the prior's structure",
        words_of.EDITED: "From prompts of a person",
    }[source]
    return f"{origin}; score {score:.2f}."
