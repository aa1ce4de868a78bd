"""Matcher (Liu et al. 2024) in the setting for few-shot images: many small sets of matched points, the best masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ...models.frame import OUTSIDE_LOGIT
from ...prompts.types import Box, SlicePrompts
from ..distance import wasserstein
from ..one_shot import CandidateRow, OneShotResult, Reference, nothing_found, require_references
from ..packages import k_means_class
from ..parts import unit
from ..reference_pool import other_modality, shown_references
from ..tokens import covered
from ..views import View
from .answers import (
    PooledCells,
    allowed_pixels,
    answer,
    cell_centres,
    decoded_in_batches,
    pooled_cells,
    usable_cells,
)
from .matching import mutual_matches, spread, strongest_half


@dataclass(frozen=True)
class MatcherSettings:
    """Numbers of Matcher's setting for FSS-1000, which P2SAM's comparison uses.

    Attributes:
        centres: matched points are gathered into at most so many by k-means.
        sizes: smallest and largest number of centres that prompt together; every combination is tried (154).
        emd_weight, overlap_weight: of optimal transport and of purity times coverage in a mask's score.
        best: masks that are looked at after scoring.
        kept: those whose score is more than this part of the best one's are united.
        most_cells: tokens of either side in the matching and in the transport. The published method has 37 x 37 cells;
            64 x 64 would make the assignments too slow, so they are thinned evenly.
        show: show the references to models that use them, as P2SAM's default does; no model of the paper could.
    """

    centres: int = 8
    sizes: tuple[int, int] = (4, 6)
    emd_weight: float = 0.8
    overlap_weight: float = 0.2
    best: int = 10
    kept: float = 0.7
    most_cells: int = 1024
    show: bool = True


class Matcher:
    """Match cells forth and back, prompt with sets of matched points, score the masks, unite the best.

    Args:
        settings: published when None.

    The published method compares features of DINOv2; here, as in P2SAM's comparison, those of the model itself.
    """

    name = "matcher"

    def __init__(self, settings: MatcherSettings | None = None) -> None:
        self.settings = settings or MatcherSettings()

    def segment(
        self,
        references: Sequence[Reference],
        target: View,
        *,
        restrict: np.ndarray | None = None,
        box: Box | None = None,
        avoid: np.ndarray | None = None,
    ) -> OneShotResult:
        """See :class:`~SegmentAnythingMedLib.adaptive.one_shot.OneShotMethod`.

        Raises:
            InputError: ``reference.none``, ``adaptive.package``.
        """
        require_references(references)
        known = _thinned(pooled_cells(references, touched=True), self.settings.most_cells)
        cells = np.argwhere(usable_cells(target, allowed_pixels(target, restrict, box, avoid)))
        if not known.foreground.any() or not len(cells):
            return nothing_found(target.shape)
        cells = cells[spread(len(cells), self.settings.most_cells)]
        tokens = target.tokens[cells[:, 0], cells[:, 1]]
        matches = strongest_half(mutual_matches(known.tokens, known.foreground, tokens))
        matched = cells[matches.target]
        centres = self._centres(cell_centres(target)[matched[:, 0], matched[:, 1]])
        shown = shown_references(references) if self.settings.show and not other_modality(references, target) else ()
        scorer = _Scorer(known, target, matched, self.settings)
        rows, masks = self._tried(target, centres, scorer, shown)
        return self._united(target, centres, rows, masks, avoid)

    def _centres(self, points: np.ndarray) -> np.ndarray:
        """At most ``centres`` points (x, y) that stand for all matched ones."""
        points = np.unique(points, axis=0)
        if len(points) <= self.settings.centres:
            return points
        return k_means_class()(self.settings.centres, n_init=10, random_state=0).fit(points).cluster_centers_

    def _sets(self, count: int) -> Iterator[tuple[int, ...]]:
        low, high = self.settings.sizes
        for size in range(min(low, count), min(high, count) + 1):
            yield from combinations(range(count), size)

    def _tried(
        self, target: View, centres: np.ndarray, scorer: _Scorer, shown: tuple[Any, ...]
    ) -> tuple[list[CandidateRow], list[tuple[float, np.ndarray, float]]]:
        """Rows for the report, and (score, logits, predicted IoU) of the masks that are not empty."""
        rows, masks = [], []
        sets = [centres[list(chosen)] for chosen in self._sets(len(centres))]
        prompts = [SlicePrompts(points, np.ones(len(points), dtype=np.int64), references=shown) for points in sets]
        for found, asked in zip(decoded_in_batches(target, prompts), prompts, strict=True):
            logits, iou = found.logits[0], float(found.predicted_iou[0])
            score, emd = scorer.score(logits > 0)
            area = int(np.count_nonzero(logits > 0))
            points = target.store_points(asked.points)
            rows.append(CandidateRow(len(points), 0, points, asked.labels, emd, iou, area))
            if area:
                masks.append((score, logits, iou))
        return rows, masks

    def _united(
        self,
        target: View,
        centres: np.ndarray,
        rows: list[CandidateRow],
        masks: list[tuple[float, np.ndarray, float]],
        avoid: np.ndarray | None,
    ) -> OneShotResult:
        if not masks:
            return nothing_found(target.shape, rows, len(rows))
        masks = sorted(masks, key=lambda mask: -mask[0])[: self.settings.best]
        least = self.settings.kept * masks[0][0]
        kept = [mask for mask in masks if mask[0] > least] or masks[:1]
        logits = np.maximum.reduce([mask[1] for mask in kept], initial=OUTSIDE_LOGIT)
        return answer(
            target, logits, points=centres, labels=np.ones(len(centres), dtype=np.int64), candidates=rows,
            predicted_iou=kept[0][2], decodes=len(rows), avoid=avoid,
            distance=min(row.distance for row in rows),
        )  # fmt: skip


class _Scorer:
    """How well a mask holds what was matched, and how like the object its tokens are; equal sets are measured once."""

    def __init__(self, known: PooledCells, target: View, matched: np.ndarray, settings: MatcherSettings) -> None:
        self._object = unit(known.tokens[known.foreground].astype(np.float64))
        self._target, self._matched, self._settings = target, matched, settings
        self._tokens = unit(target.tokens.astype(np.float64))
        self._known: dict[bytes, tuple[float, float]] = {}

    def score(self, mask: np.ndarray) -> tuple[float, float]:
        """Score of a mask bool [H, W] in shown pixels, and the transport cost of cosines (infinite when empty)."""
        cells = _touched_cells(self._target, mask) & self._target.valid
        key = np.packbits(cells).tobytes()
        if key not in self._known:
            self._known[key] = self._measured(cells)
        return self._known[key]

    def _measured(self, cells: np.ndarray) -> tuple[float, float]:
        tokens = self._tokens[cells]
        tokens = tokens[spread(len(tokens), self._settings.most_cells)]
        emd = wasserstein(self._object, tokens) / 4  # of unit vectors: |a - b|^2 = 2 - 2 cos = 4 (1 - cos) / 2
        if not len(tokens):
            return -np.inf, emd
        inside = np.count_nonzero(cells[self._matched[:, 0], self._matched[:, 1]])
        overlap = inside / np.count_nonzero(cells) * inside / len(self._matched)
        return self._settings.emd_weight * (1 - emd) + self._settings.overlap_weight * overlap, emd


def _touched_cells(target: View, mask: np.ndarray) -> np.ndarray:
    """Cells of the token grid that a mask in shown pixels touches."""
    return covered(mask, target.frame, target.tokens.shape[:2]) > 0


def _thinned(known: PooledCells, most: int) -> PooledCells:
    """At most ``most`` cells, half of them the object's at most (all of them when there are few)."""
    inside, outside = np.flatnonzero(known.foreground), np.flatnonzero(~known.foreground)
    inside = inside[spread(len(inside), max(most // 2, most - len(outside)))]
    outside = outside[spread(len(outside), most - len(inside))]
    kept = np.sort(np.concatenate([inside, outside]))
    return PooledCells(known.tokens[kept], known.share[kept], known.foreground[kept])
