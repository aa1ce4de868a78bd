"""GF-SAM (Zhang et al. 2024): many points, each with a mask of its own; a graph says which masks make the object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...models.frame import OUTSIDE_LOGIT
from ...prompts.types import Box, SlicePrompts
from ..one_shot import OneShotResult, Reference, nothing_found, require_references
from ..reference_pool import other_modality, shown_references
from ..tokens import foreground_cells
from ..views import View
from .answers import allowed_pixels, answer, cell_centres, decoded_in_batches, pooled_cells, usable_cells
from .mask_graph import MOST_POINTS, chosen_masks, likeness_maps, point_cells


class GFSAM:
    """Points where the target looks like the references; masks that agree with each other and with the likeness.

    Not the published method: that compares features of DINOv2, this one those of the model itself, which were not
    trained to be alike on like things. It has no numbers to choose but the bound on points.

    Args:
        most_points: at most so many points, each of which costs one decode (published: 128).
        show: show the references to models that use them, as P2SAM's default does; no model of the paper could.
    """

    name = "gf-sam"

    def __init__(self, most_points: int = MOST_POINTS, *, show: bool = True) -> None:
        self.most_points, self.show = most_points, show

    def segment(
        self,
        references: Sequence[Reference],
        target: View,
        *,
        restrict: np.ndarray | None = None,
        box: Box | None = None,
        avoid: np.ndarray | None = None,
    ) -> OneShotResult:
        """See :class:`~SegmentAnythingMedLib.adaptive.one_shot.OneShotMethod`."""
        require_references(references)
        known = pooled_cells(references)
        cells = usable_cells(target, allowed_pixels(target, restrict, box, avoid))
        if not known.foreground.any() or not cells.any():
            return nothing_found(target.shape)
        tokens, places = target.tokens[cells], np.argwhere(cells).astype(np.float64)
        maps = likeness_maps(known.tokens, known.foreground, tokens)
        chosen = point_cells(maps, self.most_points)
        if not len(chosen):
            return nothing_found(target.shape)
        points = cell_centres(target)[cells][chosen]
        shown = shown_references(references) if self.show and not other_modality(references, target) else ()
        logits, covers, ious = _masks_of_points(target, points, cells, shown)
        kept = chosen_masks(chosen, covers, tokens, places, maps)
        if not len(kept):
            return nothing_found(target.shape, decodes=len(points))
        return answer(
            target, logits[kept].max(axis=0), points=points[kept], labels=np.ones(len(kept), dtype=np.int64),
            predicted_iou=float(ious[kept].mean()), decodes=len(points), avoid=avoid,
        )  # fmt: skip


def _masks_of_points(
    target: View, points: np.ndarray, cells: np.ndarray, shown: tuple[Any, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits float32 [P, H, W] of each point alone, cells covered bool [P, T], predicted IoU [P]."""
    one = np.ones(1, dtype=np.int64)
    logits = np.full((len(points), *target.frame.slice_shape), OUTSIDE_LOGIT, dtype=np.float32)
    covers, ious = np.zeros((len(points), np.count_nonzero(cells)), dtype=bool), np.zeros(len(points))
    prompts = [SlicePrompts(point[None], one, references=shown) for point in points]
    for n, found in enumerate(decoded_in_batches(target, prompts)):
        logits[n], ious[n] = found.logits[0], found.predicted_iou[0]
        covers[n] = foreground_cells(logits[n] > 0, target.frame, cells.shape)[cells]
    return logits, covers, ious
