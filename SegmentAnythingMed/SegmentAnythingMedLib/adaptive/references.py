"""What a structure looks like on the prior, slice by slice: for the model, for P2SAM and for the distance.

Three readings of the same slices. The model's own *references* (``PromptableModel.reference``) tell the decoder what to
look for; the raw *tokens* of the structure are what P2SAM's distance compares; the *contrast* to the surroundings is
what pixels alone say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ..engine.appearance import contrast_of
from ..engine.session import Session
from ..models.frame import Region
from ..prompts.projection import mask_bounds, project
from ..prompts.types import SlicePrompts
from .arena import Arena
from .distance import EMPTY, wasserstein
from .one_shot import Reference
from .tokens import foreground_cells, spread_out
from .views import View

NEAREST = 3
"""Slices of the prior that are shown to the model at once, those nearest to the slice in question."""
MOST_TOKENS = 256
SMALLEST_PX = 6
"""Slices of the prior with less of the structure teach nothing."""
BOX_EXTENSION = 0.05
STEADY = 0.6
"""Part of the median contrast that every slice must have for contrast to tell whether the structure is there."""


class PriorLooks:
    """A structure as the prior shows it.

    Args:
        arena: where both visits lie on one grid.
        most: slices that are used, at most; spread evenly over the structure.
        comparable: the structure looks alike on both visits (one modality). If not, the prior tells where it is and
            nothing else: no references, no distance, no contrast.
    """

    def __init__(self, arena: Arena, most: int, comparable: bool = True) -> None:
        self.comparable = comparable
        self.session, self.mask = arena.prior, arena.rigid
        usable = [n for n, area in enumerate(np.count_nonzero(self.mask, axis=(1, 2))) if area >= SMALLEST_PX]
        self.indices = _spread(usable, most)
        self._references: dict[int, Any] = {}
        self._tokens: dict[int, np.ndarray] = {}
        self._shots: dict[int, Reference] = {}
        self.reach_mm = _longest_mm(self.mask, arena.follow_up.pixel_spacing)

    def nearest(self, index: float, without: int | None = None, count: int = NEAREST) -> list[int]:
        """Slices of the prior that are most like slice ``index`` by position."""
        return sorted((n for n in self.indices if n != without), key=lambda n: (abs(n - index), n))[:count]

    def references(self, index: float, without: int | None = None) -> tuple[Any, ...]:
        """References of the model for slice ``index`` of either visit; empty for a model that uses none."""
        if not self.comparable:
            return ()
        return tuple(r for r in map(self._reference, self.nearest(index, without)) if r is not None)

    def _reference(self, index: int) -> Any:
        if index not in self._references:
            self._references[index] = self.session.reference(self.mask[index], index)
        return self._references[index]

    def prompts(self, hint: np.ndarray, index: float, without: int | None = None) -> SlicePrompts:
        """Box and mask prompt from a rough mask, with references."""
        prompts = project(hint, "mask", box_extension=BOX_EXTENSION, min_margin_px=(1.0, 1.0))
        return replace(prompts, references=self.references(index, without))

    def tokens(self, index: int) -> np.ndarray:
        """float32 [N, C], of the structure on a slice of the prior."""
        if index not in self._tokens:
            region = self._region(index)
            self._tokens[index] = tokens_under(self.session, index, self.mask[index], region)
        return self._tokens[index]

    def _region(self, index: int) -> Region | None:
        """The part of the slice that the model is shown when it is asked for the structure there."""
        known = self.session.predict(index, self.prompts(self.mask[index], index, without=index), propagated=True)
        return known.region

    def distance(self, tokens: np.ndarray, index: float, without: int | None = None) -> float:
        """Appearance distance to the most similar of the nearest slices; infinite for no tokens."""
        known = [self.tokens(n) for n in self.nearest(index, without)]
        return min((wasserstein(tokens, other) for other in known), default=EMPTY) if len(tokens) else EMPTY

    @cached_property
    def contrast(self) -> float | None:
        """Mean inside less mean around, 0..1 scale; None where it is weak, or not much the same on all slices."""
        if not self.comparable:
            return None
        seen = [contrast_of(grey(self.session, n), self.mask[n]) for n in self.indices]
        found = [inside - outside for inside, outside in (pair for pair in seen if pair is not None)]
        if not found or len(found) < len(seen):
            return None
        middle = float(np.median(found))
        return middle if all(value / middle >= STEADY for value in found) else None

    @cached_property
    def medoid(self) -> int:
        """The slice that is most like all others (by tokens), ties by area: the best single reference."""
        if len(self.indices) < 3:
            return max(self.indices, key=lambda n: np.count_nonzero(self.mask[n]))
        means = np.stack([self.tokens(n).mean(axis=0) for n in self.indices])
        total = ((means[:, None] - means[None]) ** 2).sum(axis=2).sum(axis=1)
        areas = [-int(np.count_nonzero(self.mask[n])) for n in self.indices]
        return self.indices[min(range(len(total)), key=lambda n: (total[n], areas[n]))]

    def one_shot(self, index: float, without: int | None = None) -> list[Reference]:
        """References of the one-shot methods, in the part of the slice that the model is shown; made once each."""
        near = self.nearest(index, without)
        for n in near:
            if n not in self._shots:
                features = self.session.features(n, self._region(n))
                self._shots[n] = Reference(View(self.session, n, features), self.mask[n])
        return [self._shots[n] for n in near]


def _spread(indices: list[int], most: int) -> list[int]:
    if len(indices) <= most:
        return indices
    # a little inside of both ends: the caps of a structure are the least typical
    places = np.linspace(0, len(indices) - 1, most + 2)[1:-1] if most > 2 else np.linspace(0, len(indices) - 1, most)
    return [indices[n] for n in sorted({int(p + 0.5) for p in places})]


def _longest_mm(mask: np.ndarray, pixel_spacing: tuple[float, float]) -> float:
    bounds = mask_bounds(mask.any(axis=0))
    if bounds is None:
        return 0.0
    row0, row1, col0, col1 = bounds
    return max((row1 - row0) * pixel_spacing[0], (col1 - col0) * pixel_spacing[1])


def tokens_under(session: Session, index: int, mask: np.ndarray, region: Region | None) -> np.ndarray:
    """Raw tokens float32 [N, C] of what lies under a mask (stored pixels) of a slice, as seen in a (shown) region."""
    view = View(session, index, session.features(index, region))
    cells = foreground_cells(view.show(mask), view.frame, view.tokens.shape[:2])
    return spread_out(view.tokens[cells], MOST_TOKENS)


def grey(session: Session, index: int) -> np.ndarray:
    """A slice as the model's intensities, 0..1, without colour: float [H, W]."""
    image = session.mapping.apply(session.stack.image(index))
    return image.reshape(*session.shape, -1).mean(axis=-1)


def neighbour_distance(tokens: Sequence[np.ndarray]) -> float:
    """Median appearance distance of neighbouring token sets; NaN for fewer than two."""
    pairs = [wasserstein(a, b) for a, b in pairwise(tokens)]
    return float(np.median(pairs)) if pairs else float("nan")
