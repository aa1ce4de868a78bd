"""Label propagation: every cell takes the labels of the cells that look like it, slice after slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.frame import OUTSIDE_LOGIT
from ...prompts.types import Box
from ..one_shot import OneShotResult, Reference, nothing_found, require_references
from ..views import View
from .answers import allowed_pixels, answer, map_in_pixels, pooled_cells, usable_cells
from .label_walk import KnownCells, hand_on

BEFORE = 3


class LabelPropagation:
    """The test procedure of the space-time walk (Jabri et al. 2020) on the model's features.

    Published for video: the first frame and the previous 20. A volume has few slices that change fast, so the context
    is the references and the previous ``before`` slices. Labels are soft: the part of a cell that the object covers.

    Args:
        before: slices of the target that the next one learns from.
        one_hot: cells of references are all object or all background, as published; small objects are lost so.
    """

    name = "label-propagation"

    def __init__(self, before: int = BEFORE, *, one_hot: bool = False) -> None:
        self.before, self.one_hot = before, one_hot

    def segment(
        self,
        references: Sequence[Reference],
        target: View,
        *,
        restrict: np.ndarray | None = None,
        box: Box | None = None,
        avoid: np.ndarray | None = None,
    ) -> OneShotResult:
        """See :class:`~SegmentAnythingMedLib.adaptive.one_shot.OneShotMethod`; the references are all the context.

        There are no points; ``restrict`` and ``box`` bound the mask itself.
        """
        return self._step(self._known(references), target, restrict, box, avoid)[0]

    def propagate(
        self, references: Sequence[Reference], targets: Sequence[View], *, avoid: Sequence[np.ndarray] | None = None
    ) -> list[OneShotResult]:
        """The object on slices that follow each other; every one learns from those before it too.

        Args:
            references: at least one.
            targets: neighbouring slices in the order of the walk, all with the same region (cells are told apart by
                their place in the grid).
            avoid: for each target, bool [H, W] in stored pixels, other structures.
        """
        context, walked, results = self._known(references), [], []
        for number, target in enumerate(targets):
            other = None if avoid is None else avoid[number]
            result, cells = self._step(context + walked[-self.before :], target, None, None, other)
            results.append(result)
            walked += [] if cells is None else [cells]
        return results

    def _known(self, references: Sequence[Reference]) -> list[KnownCells]:
        require_references(references)
        cells = pooled_cells(references)
        if not cells.foreground.any():
            return []
        return [KnownCells(cells.tokens, cells.foreground.astype(float) if self.one_hot else cells.share)]

    def _step(
        self,
        context: list[KnownCells],
        target: View,
        restrict: np.ndarray | None,
        box: Box | None,
        avoid: np.ndarray | None,
    ) -> tuple[OneShotResult, KnownCells | None]:
        if not context:
            return nothing_found(target.shape), None
        allowed = allowed_pixels(target, restrict, box)
        cells = target.valid
        places = np.argwhere(cells).astype(np.float64)
        soft = hand_on(context, target.tokens[cells], places)
        soft = np.where(usable_cells(target, allowed)[cells], soft, 0.0)
        grid = np.zeros(cells.shape)
        grid[cells] = soft
        logits = map_in_pixels(target, grid - 0.5)
        logits[~allowed] = OUTSIDE_LOGIT
        return answer(target, logits, avoid=avoid), KnownCells(target.tokens[cells], soft, places)
