"""What the engine needs from a model on a volume: one mask for prompts on one slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..prompts.types import SlicePrompts
from .look_ahead import NOWHERE, announce


@dataclass(frozen=True, eq=False)
class SliceResult:
    """What the model says about one object on one slice.

    Attributes:
        mask: bool [H, W] in pixels of the slice; may be all False. It is kept, so it must not be written to later.
        logits: float32 [H, W]; the mask is ``logits > 0``.
        predicted_iou: the model's own estimate, 0..1.
        object_score: logit of "the object is on this slice" (SAM 2), or None.
        candidates: how many masks the model offered; this is the chosen one.
    """

    mask: np.ndarray
    logits: np.ndarray
    predicted_iou: float
    object_score: float | None = None
    candidates: int = 1


class SlicePredictor(Protocol):
    """A model on the slices of one volume; ``engine.Session`` is one.

    Attributes:
        count: number of slices.
        shape: (rows, columns) of a slice.
        pixel_spacing: (row, column) distance of pixel centres in mm.
        slice_spacing: distance of slices in mm.

    An optional attribute ``key`` (str) names volume, axis, model and preprocessing; results are only reused between
    predictors of the same key. Optional methods say what pixels alone tell, at no cost of the model (see ``Session``):
    ``contrast(mask, index)`` and ``mean_under(mask, index)``, by which a walk notices that it has left the object, and
    ``goes_on(mask, index, beyond)``, which a walk whose last slice was refused asks before it looks ahead. The optional
    method ``reference(mask, index)`` gives what the object looks like, for ``SlicePrompts.references``, or None.
    ``looks_near = True`` says that ``predict`` takes ``near`` (see ``Session.predict``). The optional method
    ``expect(index, onward)`` hears which slices come next, before each of them is asked for.
    """

    count: int
    shape: tuple[int, int]
    pixel_spacing: tuple[float, float]
    slice_spacing: float

    def predict(self, index: int, prompts: SlicePrompts, *, propagated: bool = False) -> SliceResult:
        """Segment one slice.

        Args:
            index: slice, ``0..count - 1``.
            prompts: never empty. ``prompts.mask`` is a mask prompt.
            propagated: the prompts come from a neighbouring mask: use the single-mask output even for one point.
        """
        ...


@dataclass(frozen=True, eq=False)
class Request:
    """One call of :meth:`SlicePredictor.predict` that a run waits for.

    Runs are generators that yield requests and are sent results, so that several objects can share the features of a
    slice (see ``schedule``), and a cancel can come between any two slices.

    Attributes:
        index, prompts, propagated: as in :meth:`SlicePredictor.predict`.
        near: the mask around the prompts is wanted; where a predictor can save work by that, what lies apart may be
            left out.
        onward: slices that the run asks for next, in order, unless it ends before.
    """

    index: int
    prompts: SlicePrompts
    propagated: bool
    near: bool = False
    onward: Sequence[int] = NOWHERE

    def serve(self, predictor: SlicePredictor) -> SliceResult:
        """The answer."""
        announce(predictor, self.index, self.onward)
        more = {"near": True} if self.near and getattr(predictor, "looks_near", False) else {}
        return predictor.predict(self.index, self.prompts, propagated=self.propagated, **more)
