"""Which candidate is kept: the one whose tokens are nearest, in distribution, to the references' tokens.

The full retrieval decodes every candidate three times. The cheap one decodes candidates once (all of them, where the
model decodes several together; else those that are promising), and only the best of them further: the later decodes
sharpen a mask but seldom change which object it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..prompts.types import Box
from .cascade import Answer, CascadeRules, first_calls, later_calls
from .distance import at_least, distance_named
from .p2sam_settings import P2SAMSettings
from .prompting import PointPrompts
from .reference_pool import ReferencePool
from .tokens import foreground_cells, spread_out
from .views import View

PUBLISHED_EMPTY = 1e6 - 1
"""Distance that the released code gives an answer without tokens; its search starts at 1e6."""
FIRST_DECODE_ONLY, NOT_DECODED = "first decode only", "not decoded"
_RANKING_TOKENS = 128


@dataclass(eq=False)
class Candidate:
    """A number of parts, its points, and what came of them.

    Attributes:
        positives, negatives: numbers of parts.
        prompts: points in shown pixels.
        answer: of the last decode that was made; None before any.
        distance: of ``answer``.
        words: why it was refused or not finished.
    """

    positives: int
    negatives: int
    prompts: PointPrompts
    answer: Answer | None = None
    distance: float = float("inf")
    words: str = ""


class Judge:
    """Distance of an answer to the references.

    Args:
        pool: of the references.
        target: the slice.
        settings: distance and protocol.
        box: the grown regularising box in shown pixels, or None; a mask whose centroid leaves it is refused.
    """

    def __init__(self, pool: ReferencePool, target: View, settings: P2SAMSettings, box: Box | None) -> None:
        self._pool, self._target, self._settings, self._box = pool, target, settings, box
        self._distance = distance_named(settings.distance)
        self.empty = PUBLISHED_EMPTY if settings.published else float("inf")

    def tokens(self, answer: Answer) -> np.ndarray:
        """Tokens [M, C] of the target under an answer, of the references' kind."""
        grid = self._target.standardised if self._settings.contrasts else self._target.tokens
        shape = grid.shape[:2]
        if self._settings.published:  # logits, not the mask, and padding counts like anything else
            logits = F.interpolate(torch.from_numpy(answer.low_res)[None, None], size=shape, mode="bilinear")
            return grid[(logits[0, 0] > 0).numpy()]
        if not answer.mask.any():
            return grid[:0].reshape(0, grid.shape[2])
        return grid[foreground_cells(answer.mask, self._target.frame, shape) & self._target.valid]

    def distance(self, answer: Answer) -> tuple[float, str]:
        """Distance to the references, and words when the answer is refused."""
        tokens = self.tokens(answer)
        if not len(tokens):
            return self.empty, "empty"
        if self._box is not None and not _centroid_inside(answer.mask, self._box):
            return self.empty, "left the box"
        if self._settings.published:
            return self._distance(self._pool.foreground, tokens), ""
        return self._distance(self._pool.foreground, spread_out(tokens, self._settings.most_tokens)), ""

    def best_of(self, candidates: Sequence[Candidate], count: int) -> list[Candidate]:
        """The ``count`` candidates of least distance, in their order; sets their distances.

        Sets of tokens are thinned, and a distance is not computed where a lower bound shows that it is not needed.
        """
        known = spread_out(self._pool.foreground, _RANKING_TOKENS)
        exact = self._settings.distance == "wasserstein"
        found = []
        for order, candidate in enumerate(candidates):
            tokens = spread_out(self.tokens(candidate.answer), _RANKING_TOKENS)
            refused = self._box is not None and not _centroid_inside(candidate.answer.mask, self._box)
            bound = at_least(known.mean(axis=0), tokens) if exact and not refused else (self.empty if refused else 0.0)
            found.append((bound, order, tokens, refused))
        ranks: list[tuple[float, int]] = []
        for bound, order, tokens, refused in sorted(found, key=lambda one: one[:2]):
            if len(ranks) >= count and bound >= sorted(ranks)[count - 1][0]:
                continue
            distance = self.empty if refused or not len(tokens) else self._distance(known, tokens)
            candidates[order].distance = distance
            ranks.append((distance, order))
        return [candidates[order] for order in sorted(order for _, order in sorted(ranks)[:count])]


def retrieve(
    candidates: Sequence[Candidate], target: View, rules: CascadeRules, judge: Judge, settings: P2SAMSettings
) -> Candidate | None:
    """Decode candidates, set their answers and distances, and return the nearest.

    Args:
        candidates: in the order of growing numbers of parts; a later one must be strictly nearer to be kept.
        target: the slice.
        rules: of the cascade, without guidance.
        judge: distance to the references.
        settings: which retrieval.

    Returns:
        The kept candidate. When all are empty: the first one (published), or None.
    """
    if not candidates:
        return None
    begun = candidates
    if settings.cheap and not target.model.decodes_together:
        begun = _promising(candidates, target, rules, judge)
    _begin([candidate for candidate in begun if candidate.answer is None], target, rules)
    finished, most = list(begun), settings.most_finalists(target.model.decodes_together)
    if settings.cheap and len(begun) > most:
        finished = judge.best_of(begun, most)
    answers = later_calls(target, _asked(finished), [candidate.answer for candidate in finished], rules)
    best = None
    for candidate, answer in zip(finished, answers, strict=True):
        candidate.answer = answer
        candidate.distance, candidate.words = judge.distance(answer)
        if best is None or candidate.distance < best.distance:
            best = candidate
    return None if best.words and not settings.published else best


def _promising(candidates: Sequence[Candidate], target: View, rules: CascadeRules, judge: Judge) -> list[Candidate]:
    """The candidates worth a decode where each costs its full price.

    Object parts first, with the least background parts; then all background parts for the two best numbers of them. In
    tests with the built-in model this found as good answers as a decode of every candidate.
    """
    leaders: dict[int, Candidate] = {}
    for candidate in candidates:
        leaders.setdefault(candidate.positives, candidate)
        candidate.words = NOT_DECODED
    if len(leaders) in (1, len(candidates)):
        return list(candidates)
    _begin(list(leaders.values()), target, rules)
    best = {candidate.positives for candidate in judge.best_of(list(leaders.values()), 2)}
    return [one for one in candidates if one.positives in best or one.answer is not None]


def _begin(candidates: Sequence[Candidate], target: View, rules: CascadeRules) -> None:
    """Make the first decode of candidates."""
    guidance = [candidate.prompts.guidance for candidate in candidates]
    for candidate, answer in zip(candidates, first_calls(target, _asked(candidates), rules, guidance), strict=True):
        candidate.answer, candidate.words = answer, FIRST_DECODE_ONLY


def _asked(candidates: Sequence[Candidate]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(candidate.prompts.points, candidate.prompts.labels) for candidate in candidates]


def _centroid_inside(mask: np.ndarray, box: Box) -> bool:
    rows, cols = np.nonzero(mask)
    if not len(rows):
        return False
    x, y = cols.mean(), rows.mean()
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])
