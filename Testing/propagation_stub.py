"""A stub model on a phantom: it returns the parts of the true object that the prompts touch."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import ndimage
from SegmentAnythingMedLib.engine.predictor import SliceResult
from SegmentAnythingMedLib.prompts.types import SlicePrompts

SHAPE = (48, 56)


def disc(radius: float, centre: tuple[float, float] = (24, 28), shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Bool [H, W] with all pixels closer to ``centre`` (row, column) than ``radius``."""
    rows, cols = np.indices(shape)
    return (rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 < radius**2


def discs(radii: list[float], centres: list[tuple[float, float]] | None = None) -> np.ndarray:
    """One disc per slice."""
    return np.stack([disc(r, c) for r, c in zip(radii, centres or [(24, 28)] * len(radii), strict=True)])


def ball(count: int, radius: float, centre: float) -> np.ndarray:
    """A ball in ``count`` slices of ``SHAPE``."""
    return discs([max(radius**2 - (n - centre) ** 2, 0) ** 0.5 for n in range(count)])


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Tight box in plane coordinates."""
    rows, cols = np.nonzero(mask)
    return cols.min() - 0.5, rows.min() - 0.5, cols.max() + 0.5, rows.max() + 0.5


class StubPredictor:
    """Answers from a true volume [n, H, W]; counts and logs every call."""

    def __init__(self, truth: np.ndarray, slice_spacing: float = 1.0) -> None:
        self.truth = truth
        self.count, self.shape = len(truth), truth.shape[1:]
        self.pixel_spacing, self.slice_spacing = (1.0, 1.0), slice_spacing
        self.calls: list[tuple[int, SlicePrompts, bool]] = []
        self.predicted_iou: dict[int, float] = {}
        self.object_score: dict[int, float] = {}

    @property
    def visited(self) -> Counter[int]:
        """Slice -> number of calls."""
        return Counter(index for index, _, _ in self.calls)

    def predict(self, index: int, prompts: SlicePrompts, *, propagated: bool = False) -> SliceResult:
        assert not prompts.empty, "the engine must never ask with empty prompts"
        self.calls.append((index, prompts, propagated))
        return result_of(
            touched(self.truth[index], prompts), self.predicted_iou.get(index, 0.9), self.object_score.get(index)
        )


def result_of(mask: np.ndarray, predicted_iou: float = 0.9, object_score: float | None = None) -> SliceResult:
    """A result with logits of +-5."""
    return SliceResult(mask, np.where(mask, 5.0, -5.0).astype(np.float32), predicted_iou, object_score)


def touched(truth: np.ndarray, prompts: SlicePrompts) -> np.ndarray:
    """Components of ``truth`` that box, mask or a positive point touch, cut to the box (grown by two pixels)."""
    labels, _ = ndimage.label(truth, structure=np.ones((3, 3)))
    seen = np.zeros_like(truth)
    inside = np.ones_like(truth)
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        rows, cols = np.indices(truth.shape)
        seen |= (rows > y0) & (rows < y1) & (cols > x0) & (cols < x1)
        inside = (rows > y0 - 2) & (rows < y1 + 2) & (cols > x0 - 2) & (cols < x1 + 2)
    elif prompts.mask is not None:
        seen |= prompts.mask
    for (x, y), label in zip(prompts.points, prompts.labels, strict=True):
        if label == 1:
            seen[round(y), round(x)] = True
    wanted = np.unique(labels[seen & truth])
    return np.isin(labels, wanted[wanted > 0]) & inside


def point(x: float, y: float, label: int = 1) -> SlicePrompts:
    """One point."""
    return SlicePrompts(points=np.array([[x, y]], dtype=float), labels=np.array([label]))
