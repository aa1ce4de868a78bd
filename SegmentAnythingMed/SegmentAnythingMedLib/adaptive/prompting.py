"""From prototypes to points on the target: positives where it looks like the object's parts, negatives elsewhere.

Everything here is in shown pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.interface import TargetGuidance
from ..prompts.types import Box
from .p2sam_settings import P2SAMSettings
from .reference_pool import ReferencePool
from .similarity import highest, in_pixels, lowest, seen_pixels, similarity_maps
from .views import View

LEAST_GROWTH_PX, GROWTH = 10.0, 0.2
"""A regularising box grows on each side by 10 pixels or a fifth of the side, whichever is more."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Where prompts may lie.

    Attributes:
        positive: bool [H, W].
        negative: bool [H, W].
        avoid: bool [H, W], other structures, or None.
        box: the grown regularising box, or None.
        beyond: bool [H, W], outside the grown box, where look-alikes may be; None without a box.
    """

    positive: np.ndarray
    negative: np.ndarray
    avoid: np.ndarray | None
    box: Box | None
    beyond: np.ndarray | None = None

    @classmethod
    def on(cls, target: View, restrict: np.ndarray | None, box: Box | None, avoid: np.ndarray | None) -> Limits:
        """Limits for what ``OneShotMethod.segment`` is given, in stored pixels."""
        seen = seen_pixels(target.frame)
        positive, negative = seen.copy(), seen.copy()
        if restrict is not None:
            positive &= target.show(restrict)
        shown_avoid = None if avoid is None else target.show(avoid) & seen
        if shown_avoid is not None:
            positive &= ~shown_avoid
        grown = beyond = None
        if box is not None:
            tight = target.show_box(box)
            grown = grown_box(tight)
            beyond = seen & ~pixels_in(grown, seen.shape)
            positive &= ~beyond
            negative &= ~pixels_in(tight, seen.shape)
        return cls(positive, negative, shown_avoid, grown, beyond)


@dataclass(frozen=True, eq=False)
class PointPrompts:
    """Points of one candidate.

    Attributes:
        points: float64 [N, 2], (x, y); positives first.
        labels: int64 [N].
        guidance: for the first decode (natural path), or None.
    """

    points: np.ndarray
    labels: np.ndarray
    guidance: TargetGuidance | None = None


class PointFinder:
    """Points on one target for any number of parts; maps are made once per number.

    Args:
        pool: of the references.
        target: where to look.
        settings: protocol and path.
        limits: where points may lie.
    """

    def __init__(self, pool: ReferencePool, target: View, settings: P2SAMSettings, limits: Limits) -> None:
        self._pool, self._target, self._settings, self._limits = pool, target, settings, limits
        self._grid = target.standardised if settings.contrasts else target.tokens
        self._maps: dict[tuple[bool, int], np.ndarray | None] = {}

    def find(self, positives: int, negatives: int) -> PointPrompts | str:
        """Points for so many parts, or why there are none, in words."""
        maps = self._similar(positives, background=False)
        if maps is None:
            return "fewer tokens than parts"
        inside = [place for one in maps if (place := highest(one, self._limits.positive)) is not None]
        if not inside:
            return "no place is allowed"
        guidance = None
        if self._settings.natural:
            mean = maps.mean(axis=0)
            farthest = lowest(mean, None if self._settings.published else self._limits.negative)
            outside = [] if farthest is None else [farthest]
            if self._target.model.supports_guidance:
                guidance = self._guidance(positives, mean)
        elif (found := self._background_points(negatives)) is None:
            return "fewer background tokens than parts"
        else:
            outside = found
        if not self._settings.published:
            inside, outside = self._tidied(inside, outside + self._avoided(maps))
        points = np.array([*inside, *outside], dtype=np.float64).reshape(-1, 2)
        return PointPrompts(points, np.array([1] * len(inside) + [0] * len(outside), dtype=np.int64), guidance)

    def _background_points(self, count: int) -> list[tuple[float, float]] | None:
        if count == 0:
            return []
        maps = self._similar(count, background=True)
        if maps is None:
            return None
        return [place for one in maps if (place := highest(one, self._limits.negative)) is not None]

    def _avoided(self, maps: np.ndarray) -> list[tuple[float, float]]:
        """Where another structure, and what lies beyond the regularising box, looks most like the object."""
        most = maps.max(axis=0)
        found = [highest(most, part) for part in (self._limits.beyond, self._limits.avoid) if part is not None]
        return [place for place in found if place is not None]

    def _tidied(
        self, inside: list[tuple[float, float]], outside: list[tuple[float, float]]
    ) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Without repeated points, negatives in the cell of a positive, and negatives beyond the model's cap."""
        inside, outside = list(dict.fromkeys(inside)), list(dict.fromkeys(outside))
        taken = set(self.cells(inside))
        outside = [place for place in outside if self.cells([place])[0] not in taken]
        cap = self._target.model.negatives_cap
        return inside, outside if cap is None else outside[len(outside) - min(cap, len(outside)) :]

    def cells(self, places: np.ndarray | list[tuple[float, float]]) -> tuple[tuple[int, int], ...]:
        """(row, column) on the token grid of places (x, y) [N, 2]."""
        rows, cols = self._target.tokens.shape[:2]
        frame = self._target.frame
        found = (frame.to_network(np.array(places)) + 0.5) * np.array([cols, rows]) // frame.size
        return tuple((int(row), int(col)) for col, row in found)

    def _similar(self, count: int, *, background: bool) -> np.ndarray | None:
        """Maps float32 [count, H, W] of the parts, or None when there are fewer tokens than parts."""
        key = (background, count)
        if key not in self._maps:
            likeness = self._likeness(count, background=background)
            self._maps[key] = None if likeness is None else self._in_pixels(likeness)
        return self._maps[key]

    def _likeness(self, count: int, *, background: bool) -> np.ndarray | None:
        """Maps float32 [count, h, w] of the parts, less the likeness to the mean of what is not the object (or is)."""
        prototypes = self._pool.prototypes(count, background=background)
        if prototypes is None:
            return None
        likeness = similarity_maps(prototypes, self._grid)
        other = self._pool.prototypes(1, background=not background) if self._settings.contrasts else None
        return likeness if other is None else likeness - similarity_maps(other, self._grid)

    def _in_pixels(self, likeness: np.ndarray) -> np.ndarray:
        return in_pixels(likeness, self._target.frame, all_steps=self._settings.published)

    def _guidance(self, positives: int, mean: np.ndarray) -> TargetGuidance:
        """PerSAM's: the mean map, standardised, through a sigmoid; and the object's mean token."""
        shown = mean[np.isfinite(mean)]
        centre, spread = float(shown.mean()), float(shown.std(ddof=1)) or 1.0
        rows, cols = self._target.tokens.shape[:2]
        if self._settings.published:  # from the slice without its padding: stretched where there is some
            import torch
            import torch.nn.functional as F

            whole = torch.from_numpy(np.ascontiguousarray(self._target.frame.crop(mean)))[None, None]
            small = F.interpolate((whole - centre) / spread, size=(rows, cols), mode="bilinear")[0, 0].numpy()
        else:
            small = (self._likeness(positives, background=False).mean(axis=0) - centre) / spread
        return TargetGuidance((1 / (1 + np.exp(-small))).astype(np.float32), self._pool.embedding)


def grown_box(box: Box) -> Box:
    """A regularising box with room for what moved or grew."""
    x0, y0, x1, y1 = box
    dx, dy = max(LEAST_GROWTH_PX, GROWTH * (x1 - x0)), max(LEAST_GROWTH_PX, GROWTH * (y1 - y0))
    return x0 - dx, y0 - dy, x1 + dx, y1 + dy


def pixels_in(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie in a box, bool [H, W]."""
    rows, cols = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    return (cols >= box[0]) & (cols <= box[2]) & (rows >= box[1]) & (rows <= box[3])
