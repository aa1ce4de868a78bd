"""PerSAM-F (Zhang et al. 2023): one point, and two numbers fitted on the reference that weigh three masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...models.interface import SlicePrediction
from ...prompts.types import Box, SlicePrompts
from ..cascade import mask_box
from ..one_shot import OneShotResult, Reference, nothing_found, require_references
from ..parts import unit
from ..reference_pool import other_modality, shown_references
from ..similarity import highest, in_pixels, similarity_maps
from ..tokens import pool_tokens
from ..views import View
from .answers import allowed_pixels, answer
from .fusion import STEPS, fitted_weights, fused


class PerSAMF:
    """One prototype (the middle of channel-wise maximum and mean), one positive point, three decodes.

    The first decode's three masks are summed with weights that were fitted on the first reference; the second sees that
    mask and its box, the third the second's, each taking the best of three by predicted IoU. The network stays as it
    is. Weights are kept with the reference's view, so that they are fitted once for all targets.

    Args:
        steps: of the fit (published: 1000).
        show: show the references to models that use them, as P2SAM's default does; no model of the paper could.
    """

    name = "persam-f"

    def __init__(self, steps: int = STEPS, *, show: bool = True) -> None:
        self.steps, self.show = steps, show

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
        tokens = pool_tokens(references).foreground
        if not len(tokens):
            return nothing_found(target.shape)
        prototype = unit(((tokens.max(axis=0) + tokens.mean(axis=0)) / 2)[None])
        point = _place(prototype, target, allowed_pixels(target, restrict, box, avoid))
        if point is None:
            return nothing_found(target.shape)
        shown = shown_references(references) if self.show and not other_modality(references, target) else ()
        weights = self._weights(references[0], prototype, shown)
        points, labels = np.array([point]), np.ones(1, dtype=np.int64)
        first = target.decode(SlicePrompts(points, labels, references=shown), multimask_output=True)
        logits, low = fused(first.logits, weights), fused(first.low_res_logits, weights)
        iou = float(first.predicted_iou @ weights)
        for _ in range(2):
            prompts = SlicePrompts(points, labels, box=mask_box(logits > 0), references=shown)
            logits, low, iou = _best(target.decode(prompts, mask_input=low, multimask_output=True))
        return answer(
            target, logits, points=points, labels=labels, predicted_iou=iou, decodes=3, avoid=avoid
        )  # fmt: skip

    def _weights(self, reference: Reference, prototype: np.ndarray, shown: tuple[Any, ...]) -> np.ndarray:
        """Weights of the three masks that the prototype's point finds on the reference itself; kept with its view."""
        seen = reference.view
        mask = seen.show(reference.mask).astype(bool)
        key = (self.name, self.steps, len(shown), hash(mask.tobytes()), hash(prototype.tobytes()))
        if key not in seen.memo:
            point = _place(prototype, seen, allowed_pixels(seen, None))
            prompts = SlicePrompts(np.array([point]), np.ones(1, dtype=np.int64), references=shown)
            masks = seen.decode(prompts, multimask_output=True)
            seen.memo[key] = fitted_weights(masks.logits, mask, steps=self.steps)
        return seen.memo[key]


def _place(prototype: np.ndarray, view: View, allowed: np.ndarray) -> tuple[float, float] | None:
    return highest(in_pixels(similarity_maps(prototype, view.tokens), view.frame)[0], allowed)


def _best(prediction: SlicePrediction) -> tuple[np.ndarray, np.ndarray, float]:
    n = int(np.argmax(prediction.predicted_iou))
    return prediction.logits[n], prediction.low_res_logits[n], float(prediction.predicted_iou[n])
