"""P2SAM (Zhao et al., 2025): part-aware prompts, and the candidate whose tokens are nearest to the references'.

No training: the object's tokens on the references are split into parts, each part asks for the most similar place on
the target, several numbers of parts are tried, and optimal transport decides which answer looks most like the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..prompts.types import Box
from .cascade import CascadeRules
from .distance import distance_named
from .one_shot import CandidateRow, OneShotResult, Reference, no_points, nothing_found, require_references
from .p2sam_settings import P2SAMSettings
from .prompting import Limits, PointFinder
from .reference_pool import ReferencePool, other_modality
from .retrieval import Candidate, Judge, retrieve
from .tokens import foreground_cells, spread_out
from .views import View


class P2SAM:
    """See the module; an :class:`~SegmentAnythingMedLib.adaptive.one_shot.OneShotMethod`.

    What the references give (tokens, parts) is kept for the next target with the same references.

    Args:
        settings: the robust default when None.
    """

    name = "p2sam"

    def __init__(self, settings: P2SAMSettings | None = None) -> None:
        self.settings = settings or P2SAMSettings()
        self._pool: ReferencePool | None = None

    def pool(self, references: Sequence[Reference]) -> ReferencePool:
        """Tokens and parts of references, made once for as long as the same ones are given."""
        if self._pool is None or not self._pool.same(references):
            self._pool = ReferencePool(references, self.settings)
        return self._pool

    def distance(self, references: Sequence[Reference], target: View, mask: np.ndarray) -> float:
        """How unlike the object of the references a mask of the target is, however it was made.

        Args:
            references: at least one.
            target: view that shows the mask.
            mask: bool [H, W] in stored pixels of the target.

        Returns:
            On the scale of ``OneShotResult.distance`` (the area rule on both sides); infinite for an empty mask.
        """
        require_references(references)
        shown = target.show(mask)
        grid = target.standardised if self.settings.contrasts else target.tokens
        cells = foreground_cells(shown, target.frame, grid.shape[:2]) & target.valid
        tokens = spread_out(grid[cells], self.settings.most_tokens)
        return distance_named(self.settings.distance)(self.pool(references).foreground, tokens)

    def segment(
        self,
        references: Sequence[Reference],
        target: View,
        *,
        restrict: np.ndarray | None = None,
        box: Box | None = None,
        avoid: np.ndarray | None = None,
    ) -> OneShotResult:
        """The object on the target; see the protocol.

        Of the published protocol's failures three are answered with an empty result here: references without a single
        token, fewer tokens than the least number of parts, and no place that is allowed.

        Raises:
            InputError: ``reference.none``, ``adaptive.package``.
            ModelError: ``model.no_tokens``.
        """
        require_references(references)
        pool = self.pool(references)
        if not len(pool.foreground):
            return nothing_found(target.shape, [_skipped(0, 0, "no token of the references belongs to the object")])
        limits = Limits.on(target, restrict, box, avoid)
        candidates, skipped = self._candidates(pool, target, limits)
        rules = self._rules(pool, target, limits)
        judge = Judge(pool, target, self.settings, limits.box)
        before = target.session.counters.decodes
        chosen = retrieve(candidates, target, rules, judge, self.settings)
        decodes = target.session.counters.decodes - before
        rows = [_row(candidate, target) for candidate in candidates] + skipped
        if chosen is None:
            return nothing_found(target.shape, rows, decodes)
        return _result(chosen, target, rows, decodes)

    def _candidates(
        self, pool: ReferencePool, target: View, limits: Limits
    ) -> tuple[list[Candidate], list[CandidateRow]]:
        """What is to be tried, and what was skipped; prompts in equal cells are tried once (default protocol)."""
        finder = PointFinder(pool, target, self.settings, limits)
        tried: list[Candidate] = []
        skipped: list[CandidateRow] = []
        known: set[tuple] = set()
        for positives, negatives in self._counts(pool, target):
            found = finder.find(positives, negatives)
            if isinstance(found, str):
                skipped.append(_skipped(positives, negatives, found))
                continue
            key = finder.cells(found.points), found.labels.tobytes()
            if key in known and found.guidance is None and not self.settings.published:
                skipped.append(_skipped(positives, negatives, "in the cells of a candidate with fewer parts"))
                continue
            known.add(key)
            tried.append(Candidate(positives, negatives, found))
        return tried, skipped

    def _counts(self, pool: ReferencePool, target: View) -> list[tuple[int, int]]:
        """Numbers of parts; never more than there are tokens, unless published (where such candidates are skipped)."""
        cap, settings = target.model.negatives_cap, self.settings
        if not settings.published:
            low, high = settings.positives
            settings = replace(settings, positives=(min(low, len(pool.foreground)), min(high, len(pool.foreground))))
            low, high = settings.negatives
            settings = replace(settings, negatives=(min(low, len(pool.background)), min(high, len(pool.background))))
        return settings.counts(cap)

    def _rules(self, pool: ReferencePool, target: View, limits: Limits) -> CascadeRules:
        natural = self.settings.natural
        return CascadeRules(
            multimask=(False, natural, natural),
            inclusive_boxes=self.settings.published,
            box=limits.box,
            references=() if other_modality(pool.references, target) else pool.shown,
        )


def _skipped(positives: int, negatives: int, words: str) -> CandidateRow:
    points, labels = no_points()
    return CandidateRow(positives, negatives, points, labels, float("nan"), float("nan"), 0, words)


def _row(candidate: Candidate, target: View) -> CandidateRow:
    answer = candidate.answer
    return CandidateRow(
        candidate.positives,
        candidate.negatives,
        target.store_points(candidate.prompts.points),
        candidate.prompts.labels,
        float("nan") if answer is None else candidate.distance,
        float("nan") if answer is None else answer.predicted_iou,
        0 if answer is None else int(np.count_nonzero(answer.mask)),
        candidate.words,
    )


def _result(chosen: Candidate, target: View, rows: list[CandidateRow], decodes: int) -> OneShotResult:
    answer = chosen.answer
    return OneShotResult(
        mask=target.store(answer.mask),
        logits=target.store(answer.logits),
        points=target.store_points(chosen.prompts.points),
        labels=chosen.prompts.labels,
        distance=chosen.distance,
        predicted_iou=answer.predicted_iou,
        n_positive=chosen.positives,
        n_negative=chosen.negatives,
        candidates=rows,
        empty=not bool(answer.mask.any()),
        decodes=decodes,
    )
