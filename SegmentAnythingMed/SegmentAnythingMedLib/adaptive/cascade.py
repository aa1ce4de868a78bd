"""The cascade of three decodes that turns points into a mask: points; with the mask; with the mask and its box.

Everything here is in shown pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..models.interface import SlicePrediction, TargetGuidance
from ..prompts.types import Box, SlicePrompts
from .views import View

PointPrompts = tuple[np.ndarray, np.ndarray]
"""Points float64 [N, 2], (x, y), and labels int64 [N]."""


@dataclass(frozen=True)
class CascadeRules:
    """How the three decodes are made.

    Attributes:
        multimask: whether each of them chooses the best of three masks by predicted IoU.
        inclusive_boxes: the box of a mask ends on the centres of its last pixels, as in the released code; else on
            their edges, as everywhere in this library.
        box: prompts all three decodes (box regularisation): calls 1 and 2 get it as it is, call 3 where it meets the
            box of the mask; None is the published cascade.
        references: for models that use references (``SlicePrompts.references``).
    """

    multimask: tuple[bool, bool, bool] = (False, False, False)
    inclusive_boxes: bool = False
    box: Box | None = None
    references: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """One mask of the model.

    Attributes:
        mask: bool [H, W].
        logits: float32 [H, W].
        low_res: float32 [h, w], logits for the next decode.
        predicted_iou: 0..1.
    """

    mask: np.ndarray
    logits: np.ndarray
    low_res: np.ndarray
    predicted_iou: float


def first_calls(
    view: View, asked: Sequence[PointPrompts], rules: CascadeRules, guidance: Sequence[TargetGuidance | None] = ()
) -> list[Answer]:
    """Points alone (and the regularising box, if there is one), for several candidates.

    Args:
        guidance: of each candidate, for models that support it; empty for none.
    """
    prompts = [SlicePrompts(points, labels, box=rules.box, references=rules.references) for points, labels in asked]
    return _decoded(view, prompts, None, rules.multimask[0], guidance)


def later_calls(
    view: View, asked: Sequence[PointPrompts], firsts: Sequence[Answer], rules: CascadeRules
) -> list[Answer]:
    """The second and the third decode of several candidates.

    A mask that is empty after the second one has no box: the third goes without (P2SAM's rule for medical images).
    """
    prompts = [SlicePrompts(points, labels, box=rules.box, references=rules.references) for points, labels in asked]
    seconds = _decoded(view, prompts, [first.low_res for first in firsts], rules.multimask[1])
    boxes = [mask_box(second.mask, rules.inclusive_boxes) for second in seconds]
    if rules.box is not None:
        boxes = [_meet(box, rules.box) for box in boxes]
    prompts = [replace(one, box=box) for one, box in zip(prompts, boxes, strict=True)]
    return _decoded(view, prompts, [second.low_res for second in seconds], rules.multimask[2])


def mask_box(mask: np.ndarray, inclusive: bool = False) -> Box | None:
    """The tight box (x0, y0, x1, y1) of a mask [H, W], or None for an empty one; see :class:`CascadeRules`."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    edge = 0.0 if inclusive else 0.5
    return float(cols[0]) - edge, float(rows[0]) - edge, float(cols[-1]) + edge, float(rows[-1]) + edge


def _meet(box: Box | None, other: Box) -> Box:
    """Where two boxes overlap; ``other`` where they do not."""
    if box is None:
        return other
    x0, y0, x1, y1 = max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else other


def _decoded(
    view: View,
    prompts: Sequence[SlicePrompts],
    masks: Sequence[np.ndarray] | None,
    multimask: bool,
    guidance: Sequence[TargetGuidance | None] = (),
) -> list[Answer]:
    """The best mask for each; one by one where several masks or guidance are asked for, else together."""
    if not multimask and not any(guidance):
        return [_best(prediction) for prediction in view.decode_many(prompts, mask_inputs=masks)]
    answers = []
    for n, one in enumerate(prompts):
        more = {"guidance": guidance[n]} if guidance and guidance[n] is not None else {}
        mask = None if masks is None else masks[n]
        answers.append(_best(view.decode(one, mask_input=mask, multimask_output=multimask, **more)))
    return answers


def _best(prediction: SlicePrediction) -> Answer:
    n = int(np.argmax(prediction.predicted_iou))
    logits = prediction.logits[n]
    return Answer(logits > 0, logits, prediction.low_res_logits[n], float(prediction.predicted_iou[n]))
