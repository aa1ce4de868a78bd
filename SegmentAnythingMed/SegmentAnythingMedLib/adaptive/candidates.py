"""Answers of the model for one structure on one slice of the follow-up, measured alike so that they can compete."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..engine.appearance import RING_PX
from ..engine.results import SessionResult
from ..prompts.projection import mask_bounds
from ..prompts.types import SlicePrompts
from ..propagation.settings import PropagationSettings
from ..propagation.shapes import centroid
from ..propagation.step import parts_of
from .arena import Arena
from .references import PriorLooks, grey, tokens_under

_PARTS = PropagationSettings()
UNKNOWN_RHO = 1.0
"""Counts as the distance where the model has no tokens."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One answer on one slice.

    Attributes:
        index: slice of the arena.
        source: how it was made (``visit_results``).
        mask: bool [H, W].
        logits: float32 [H, W].
        predicted_iou: 0..1, or None.
        rho: appearance distance to the prior over the prior's own; infinite when empty; None without tokens.
        share: contrast to the surroundings over the prior's; None where the prior's structure does not stand out.
        displacement_mm: of the centroid from the expected one; None where nothing is expected or found.
        prompts: what the model was given.
    """

    index: int
    source: str
    mask: np.ndarray
    logits: np.ndarray
    predicted_iou: float | None
    rho: float | None
    share: float | None
    displacement_mm: float | None
    prompts: SlicePrompts | None

    @property
    def empty(self) -> bool:
        """Nothing was found."""
        return not self.mask.any()


class Asker:
    """Asks the model about one structure and measures what it says.

    Args:
        arena: both visits.
        looks: the structure on the prior.
        unit: the prior's own appearance distance (``Calibration.unit``), or None without tokens.
        expected: bool [N, H, W], where the structure should be: displacements are counted from there.
    """

    def __init__(self, arena: Arena, looks: PriorLooks, unit: float | None, expected: np.ndarray) -> None:
        self.arena, self.looks, self.unit = arena, looks, unit
        self._path = _path(expected)

    def ask(self, index: int, hint: np.ndarray, source: str, without: int | None = None) -> Candidate:
        """The model's answer to a rough mask, part by part.

        Args:
            index: slice of the arena.
            hint: bool [H, W], not empty.
            source: for the record.
            without: a slice of the prior that must not be used as a reference.
        """
        answers = [self._predict(index, self.looks.prompts(part, index, without)) for part in parts_of(hint, _PARTS)]
        prompts = self.looks.prompts(hint, index, without)
        best = answers[0]
        if len(answers) > 1:
            logits = np.maximum.reduce([answer.logits for answer in answers])
            iou = float(np.mean([answer.predicted_iou for answer in answers]))
            best = replace(best, mask=logits > 0, logits=logits, predicted_iou=iou)
        return self.measured(index, source, best, prompts, without)

    def given(self, index: int, prompts: SlicePrompts, source: str) -> Candidate:
        """The model's answer to prompts of a person, with references."""
        known = replace(prompts, references=self.looks.references(index))
        return self.measured(index, source, self._predict(index, known, propagated=False), known)

    def _predict(self, index: int, prompts: SlicePrompts, propagated: bool = True) -> SessionResult:
        return self.arena.follow_up.predict(index, prompts, propagated=propagated)

    def measured(
        self, index: int, source: str, result: SessionResult, prompts: SlicePrompts | None, without: int | None = None
    ) -> Candidate:
        """A result with its distance, contrast and displacement."""
        mask = _whole(result.mask)
        return Candidate(
            index, source, mask, result.logits, float(result.predicted_iou),
            self._rho(index, mask, result, without),
            self._share(index, mask), self._displacement(index, mask), prompts,
        )  # fmt: skip

    def _rho(self, index: int, mask: np.ndarray, result: SessionResult, without: int | None) -> float | None:
        if self.unit is None:
            return None
        if not mask.any():
            return float("inf")
        tokens = tokens_under(self.arena.follow_up, index, mask, result.region)
        return self.looks.distance(tokens, index, without) / self.unit

    def _share(self, index: int, mask: np.ndarray) -> float | None:
        """Contrast of the mask to a ring around it, over that of the prior."""
        if self.looks.contrast is None or not mask.any():
            return None
        seen = contrast_to_ring(grey(self.arena.follow_up, index), mask)
        return None if seen is None else seen / self.looks.contrast

    def _displacement(self, index: int, mask: np.ndarray) -> float | None:
        if not mask.any() or not len(self._path):
            return None
        nearest = self._path[np.argmin(np.abs(self._path[:, 0] - index))]
        moved = np.subtract(centroid(mask), nearest[1:]) * self.arena.follow_up.pixel_spacing
        return float(np.hypot(*moved))


def _whole(mask: np.ndarray) -> np.ndarray:
    """Without holes of a few pixels and specks: what the logits leave at their border is no anatomy."""
    if mask_bounds(mask) is None:
        return mask
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count > 1:
        sizes = np.bincount(labels.ravel())[1:]
        mask = np.isin(labels, 1 + np.flatnonzero(sizes >= 0.05 * sizes.max()))
    return ndimage.binary_fill_holes(mask)


def contrast_to_ring(image: np.ndarray, mask: np.ndarray) -> float | None:
    """Mean of an image [H, W] under a mask less its mean around; None without surroundings."""
    row0, row1, col0, col1 = mask_bounds(mask)
    rim = RING_PX + 2
    part = np.s_[max(row0 - rim, 0) : row1 + rim, max(col0 - rim, 0) : col1 + rim]
    inside, image = mask[part], image[part]
    near = ndimage.binary_dilation(inside)
    ring = ndimage.binary_dilation(near, iterations=RING_PX) & ~near
    return float(image[inside].mean() - image[ring].mean()) if ring.any() else None


def _path(expected: np.ndarray) -> np.ndarray:
    """(slice, row, column) of the centroid on every slice of a mask, float64 [n, 3]."""
    rows = [(n, *centroid(expected[n])) for n in range(len(expected)) if expected[n].any()]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
