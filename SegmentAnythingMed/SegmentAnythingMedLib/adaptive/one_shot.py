"""What every one-shot method takes and gives: known slices of an object in, the object on another slice out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import InputError
from ..prompts.types import Box
from .views import View


@dataclass(frozen=True, eq=False)
class Reference:
    """A slice on which the object is known.

    Attributes:
        view: the encoded slice or region.
        mask: bool [H, W] in stored pixels of the slice, the object.
    """

    view: View
    mask: np.ndarray

    def __post_init__(self) -> None:
        if np.shape(self.mask) != self.view.shape:
            raise InputError(
                "reference.mask",
                f"Expected a reference mask of the slice's shape {self.view.shape}, got {np.shape(self.mask)}.",
            )


@dataclass(frozen=True, eq=False)
class CandidateRow:
    """One answer that a method considered, for reports.

    Attributes:
        n_positive, n_negative: numbers of parts that were asked for (points can be fewer where duplicates are dropped).
        points: float64 [N, 2], (x, y) in stored pixels.
        labels: int64 [N], 1 positive, 0 negative.
        distance: between the object's tokens on the references and on the target; infinite for an empty mask, NaN where
            it was not computed.
        predicted_iou: the model's own estimate, 0..1.
        area: pixels of the mask.
        words: why it was skipped, dropped or chosen; empty for an ordinary candidate.
    """

    n_positive: int
    n_negative: int
    points: np.ndarray
    labels: np.ndarray
    distance: float
    predicted_iou: float
    area: int
    words: str = ""


@dataclass(frozen=True, eq=False)
class OneShotResult:
    """What a method found on the target; everything in stored pixels.

    Attributes:
        mask: bool [H, W]; all False when nothing was found.
        logits: float32 [H, W]; the mask is ``logits > 0`` (less what ``avoid`` takes away).
        points: float64 [N, 2], (x, y) of the chosen candidate; no rows for methods without points.
        labels: int64 [N].
        distance: of the chosen candidate; infinite when empty, NaN for methods without a distance.
        predicted_iou: the model's own estimate, 0..1; NaN for methods without a decoder.
        n_positive, n_negative: numbers of parts of the chosen candidate.
        candidates: everything that was considered, in the order in which it was.
        empty: nothing was found.
        decodes: calls of the model's decoder.
    """

    mask: np.ndarray
    logits: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    distance: float
    predicted_iou: float
    n_positive: int
    n_negative: int
    candidates: list[CandidateRow]
    empty: bool
    decodes: int


class OneShotMethod(Protocol):
    """A method that finds on one slice what is known on others, without training."""

    name: str

    def segment(
        self,
        references: Sequence[Reference],
        target: View,
        *,
        restrict: np.ndarray | None = None,
        box: Box | None = None,
        avoid: np.ndarray | None = None,
    ) -> OneShotResult:
        """The object on the target.

        Args:
            references: at least one, made with the target's model; their tokens are pooled.
            target: where to look.
            restrict: bool [H, W] in stored pixels, where positive points may lie; None is anywhere in the view.
            box: (x0, y0, x1, y1) in stored pixels: the object of a neighbouring slice or visit. The prompts are kept
                near it, for objects that have look-alikes (P2SAM, appendix E). None: no such knowledge.
            avoid: bool [H, W] in stored pixels, other structures.

        Raises:
            InputError: ``reference.none`` without references.
        """
        ...


def no_points() -> tuple[np.ndarray, np.ndarray]:
    """Points and labels of a result without any."""
    return np.zeros((0, 2), dtype=np.float64), np.zeros(0, dtype=np.int64)


def nothing_found(shape: tuple[int, int], candidates: Sequence[CandidateRow] = (), decodes: int = 0) -> OneShotResult:
    """The result of a method that found nothing; ``shape`` is (rows, columns) in stored pixels."""
    points, labels = no_points()
    return OneShotResult(
        mask=np.zeros(shape, dtype=bool),
        logits=np.full(shape, -32.0, dtype=np.float32),
        points=points,
        labels=labels,
        distance=float("inf"),
        predicted_iou=0.0,
        n_positive=0,
        n_negative=0,
        candidates=list(candidates),
        empty=True,
        decodes=decodes,
    )


def require_references(references: Sequence[Reference]) -> None:
    """Raise ``reference.none`` when there is no reference."""
    if not references:
        raise InputError("reference.none", "Expected at least one slice on which the object is known, got none.")
