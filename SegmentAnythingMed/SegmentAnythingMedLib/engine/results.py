"""What a session answers, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.frame import Region
from ..models.interface import SlicePrediction
from .predictor import SliceResult


@dataclass(frozen=True, eq=False)
class SessionResult(SliceResult):
    """A :class:`SliceResult` that remembers how it was made, so that a correction can start from it.

    Attributes:
        low_res_logits: float32 [h, w] of the chosen mask, in the geometry of ``region``.
        region: what the model was shown, in pixels of the shown slice (``orientation``); None is the whole slice.
    """

    low_res_logits: np.ndarray | None = None
    region: Region | None = None


@dataclass
class Counters:
    """What a session did, for reports and benchmarks; times in seconds.

    ``encodes`` counts slices (or regions), ``encoder_calls`` how often the encoder ran for them.
    """

    encodes: int = 0
    encoder_calls: int = 0
    decodes: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0
    prepare_s: float = 0.0


def ordered(prediction: SlicePrediction, region: Region | None) -> list[SessionResult]:
    """Results by falling predicted IoU."""
    count = len(prediction.predicted_iou)
    return [
        SessionResult(
            mask=prediction.logits[n] > 0,
            logits=prediction.logits[n],
            predicted_iou=float(prediction.predicted_iou[n]),
            object_score=None,
            candidates=count,
            low_res_logits=prediction.low_res_logits[n],
            region=region,
        )
        for n in np.argsort(-prediction.predicted_iou, kind="stable")
    ]
