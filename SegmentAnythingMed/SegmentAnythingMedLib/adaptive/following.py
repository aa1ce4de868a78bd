"""A structure through the slices of the follow-up: from a rough place to a mask per slice, with a reason for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ..progress import Progress
from ..prompts.types import SlicePrompts
from ..propagation.shapes import ShapeBlend, iou
from . import visit_results as words_of
from .candidates import Asker, Candidate
from .part_matching import PartMatcher
from .presence import PresenceRule
from .visit_settings import VisitSettings

_CONTINUES = 0.4
"""IoU with the last slice's mask from which a walk beyond the expected end goes on."""
_GROWS = 1.3
"""A mask beyond the expected end may be larger than the last one by this factor."""
_CLEAR_PART, _CLEAR_IOU = 0.1, 0.5
"""Part of the largest area, and predicted IoU, with which a structure is clearly there on a slice."""
_SMALL_PART = 0.1
"""3-D parts smaller than this share of the largest are dropped unless the prior had them too."""
_LATER_WINS = 1.05
"""A second look replaces the first unless its score is higher by more than this factor."""


@dataclass(eq=False)
class Followed:
    """What was decided per slice.

    Attributes:
        chosen: slice -> the candidate whose mask is kept.
        refused: slice -> why nothing is kept there.
        tried: slice -> source -> score.
        again: (first, last) slice of every part that was found from a second anchor.
        open_ends: slices beyond which it goes on, but was not followed.
    """

    chosen: dict[int, Candidate] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    tried: dict[int, dict[str, float]] = field(default_factory=dict)
    again: list[tuple[int, int]] = field(default_factory=list)
    open_ends: list[int] = field(default_factory=list)

    def stack(self, shape: tuple[int, ...]) -> np.ndarray:
        """All masks, bool [N, H, W]."""
        out = np.zeros(shape, dtype=bool)
        for index, candidate in self.chosen.items():
            out[index] = candidate.mask
        return out


class Follower:
    """Follows one structure.

    Args:
        asker: of the structure.
        rule: presence of a slice.
        settings: of the visit.
        matcher: part matching for slices on which nothing was found; None for a model without tokens.
        given: slice -> prompts of a person.
        progress: its ``cancel`` ends the work.
    """

    def __init__(
        self,
        asker: Asker,
        rule: PresenceRule,
        settings: VisitSettings,
        matcher: PartMatcher | None,
        given: Mapping[int, SlicePrompts],
        progress: Progress,
    ) -> None:
        self.asker, self.rule, self.settings = asker, rule, settings
        self.matcher, self.given, self.progress = matcher, given, progress
        self.found = Followed()

    def follow(self, masks: np.ndarray) -> Followed:
        """From rough masks [N, H, W] of the structure to decisions."""
        rough = {n: masks[n] for n in range(len(masks)) if masks[n].any()}
        for index, prompts in self.given.items():
            self.offer(self.asker.given(index, prompts, words_of.EDITED))
        for hint_source in (words_of.SEGMENTED, words_of.PROPAGATED):
            hints = rough if hint_source == words_of.SEGMENTED else self._hints(rough)
            for index, hint in hints.items():
                self.progress.check()
                self.offer(self.asker.ask(index, hint, hint_source))
        self._match(rough)
        self._walk_on(masks)
        return self.found

    def _hints(self, rough: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """For a second look: what was found, or what lies between the finds around."""
        found = {n: c.mask for n, c in self.found.chosen.items()}
        hints = {}
        for index in rough:
            if index in found:
                hints[index] = found[index]
                continue
            below = max((n for n in found if n < index), default=None)
            above = min((n for n in found if n > index), default=None)
            if below is not None and above is not None:
                blend = ShapeBlend(found[below], found[above], self.asker.arena.follow_up.pixel_spacing)
                hints[index] = blend.at((index - below) / (above - below))
        return {n: hint for n, hint in hints.items() if hint.any()}

    def _match(self, rough: Mapping[int, np.ndarray]) -> None:
        """Part matches between slices that show the structure, where the model alone found nothing."""
        if self.matcher is None or len(self.found.chosen) < 2:
            return
        low, high = min(self.found.chosen), max(self.found.chosen)
        for index in [n for n in rough if low < n < high and n not in self.found.chosen]:
            self.progress.check()
            self.offer(self.matcher.match(self.asker, index, rough[index]), sure=True)

    def _walk_on(self, masks: np.ndarray) -> None:
        """Beyond the expected ends, from the last slice outward; once further where it is still clearly there."""
        if not self.settings.propagate or not self.found.chosen:
            return
        for step in (1, -1):
            near, far = (self._limit(masks, step, times) for times in (1, 2))
            if self._walk(step, near) != near or near == far or not self._clear(near):
                continue
            if self._walk(step, far) == far and 0 < far < len(masks) - 1 and self._clear(far):
                self.found.open_ends.append(far)

    def _walk(self, step: int, limit: int) -> int:
        """From the last slice on as far as a limit; the last slice then."""
        index = (max if step > 0 else min)(self.found.chosen) + step
        while (limit - index) * step >= 0:
            self.progress.check()
            before = self.found.chosen[index - step]
            answer = self.asker.ask(index, before.mask, words_of.PROPAGATED)
            if not goes_on(before.mask, answer.mask):
                self.found.refused.setdefault(index, "the structure ends here")
                break
            if not self.offer(answer, sure=True):
                break
            index += step
        return index - step

    def _limit(self, masks: np.ndarray, step: int, times: int) -> int:
        """The last slice that is looked at; it may be one of the stage's own ends."""
        found = np.flatnonzero(masks.any(axis=(1, 2)))
        spacing = self.asker.arena.follow_up.slice_spacing
        beyond = max(3, int(np.ceil(0.25 * len(found))), int(np.ceil(self.settings.extent_mm / spacing)))
        end = int(found[-1 if step > 0 else 0]) + step * times * beyond
        return min(max(end, 0), len(masks) - 1)

    def _clear(self, index: int) -> bool:
        """True where the structure is neither about to end nor doubted."""
        here = self.found.chosen[index]
        largest = max(np.count_nonzero(one.mask) for one in self.found.chosen.values())
        sure = here.predicted_iou is None or here.predicted_iou >= _CLEAR_IOU
        return bool(sure and np.count_nonzero(here.mask) >= _CLEAR_PART * largest)

    def offer(self, candidate: Candidate, sure: bool = False) -> bool:
        """Keep a candidate if it shows the structure, and is better than what is there; returns whether it shows it."""
        index, score = candidate.index, score_of(candidate)
        self.found.tried.setdefault(index, {})[candidate.source] = score
        here = self.found.chosen.get(index)
        if here is not None and here.source == words_of.EDITED:
            return True
        present, why = self.rule.verdict(candidate, sure=sure)
        if candidate.source == words_of.EDITED:
            present, why = not candidate.empty, why
        if not present:
            if here is None:
                self.found.refused[index] = why
            return False
        if here is None or score <= _LATER_WINS * score_of(here):
            self.found.chosen[index] = candidate
            self.found.refused.pop(index, None)
        return True


def goes_on(last: np.ndarray, mask: np.ndarray) -> bool:
    """True if a mask can be the same structure as that of the slice before, beyond the expected end."""
    return iou(last, mask) >= _CONTINUES and np.count_nonzero(mask) <= _GROWS * np.count_nonzero(last)


def score_of(candidate: Candidate) -> float:
    """Lower is better: unlike the prior, or doubted by the model."""
    if candidate.empty:
        return float("inf")
    rho = 1.0 if candidate.rho is None else candidate.rho
    doubt = 0.0 if candidate.predicted_iou is None else 1 - candidate.predicted_iou
    return rho + doubt


def without_crumbs(masks: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Masks [N, H, W] without small 3-D parts that lie where the structure was not expected."""
    labels, count = ndimage.label(masks, structure=np.ones((3, 3, 3)))
    if count <= 1:
        return masks
    sizes = np.bincount(labels.ravel())[1:]
    large = 1 + np.flatnonzero(sizes >= _SMALL_PART * sizes.max())
    return np.isin(labels, np.union1d(large, np.unique(labels[expected & masks])))
