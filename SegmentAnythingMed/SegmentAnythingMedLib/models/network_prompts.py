"""Prompts on a slice -> what the prompt encoder of a SAM gets: points, a box, low-resolution logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import PromptError
from ..prompts.types import Box, SlicePrompts
from .frame import Frame
from .preparation import Preparation


@dataclass(frozen=True, eq=False)
class NetworkPrompts:
    """Prompts in the geometry of a network's input.

    Attributes:
        points: float64 [N, 2], (x, y).
        labels: int64 [N].
        box: float64 [4] (x0, y0, x1, y1), or None.
        mask: float32 [side, side], logits or probabilities as the family wants them, or None.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None
    mask: np.ndarray | None


NO_PROMPTS = NetworkPrompts(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), None, None)
"""Nothing asked: what a model tuned to find its object unprompted gets."""


def network_prompts(
    prompts: SlicePrompts, frame: Frame, preparation: Preparation, side: int, mask_input: np.ndarray | None = None
) -> NetworkPrompts:
    """Prompts of a slice in the geometry of a network.

    A mask that is too small to be seen at the resolution of mask prompts becomes a box around it when nothing else
    prompts.

    Args:
        prompts: in pixels of the slice.
        frame: geometry of the encoded slice.
        preparation: of the family.
        side: of mask prompts, in pixels.
        mask_input: float32 [side, side] logits of an earlier decode of the same features, or None.

    Raises:
        PromptError: ``prompt.empty``, ``prompt.mask_input`` for logits of another size.
    """
    box = prompts.box
    if mask_input is not None and np.shape(mask_input) != (side, side):
        raise PromptError(
            "prompt.mask_input",
            f"mask_input must be the low-resolution logits of a decode, shape {(side, side)}; "
            f"got {np.shape(mask_input)}. Give a mask of the slice as prompts.mask instead.",
        )
    if mask_input is None and prompts.mask is not None and prompts.mask.any():
        mask_input = frame.mask_logits(prompts.mask, side)
        if mask_input is None and box is None and not len(prompts.points):
            box = _box_around(prompts.mask)
    if mask_input is None and box is None and not len(prompts.points):
        raise PromptError("prompt.empty", "A prompt needs at least one point, a box or a mask; got none of them.")
    return NetworkPrompts(
        points=preparation.points(prompts.points, frame),
        labels=np.asarray(prompts.labels, dtype=np.int64).reshape(-1),
        box=None if box is None else preparation.box(np.asarray(box, dtype=np.float64), frame),
        mask=None if mask_input is None else preparation.mask_prompt(np.asarray(mask_input, dtype=np.float32)),
    )


def _box_around(mask: np.ndarray) -> Box:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(cols[0]) - 0.5, float(rows[0]) - 0.5, float(cols[-1]) + 0.5, float(rows[-1]) + 0.5
