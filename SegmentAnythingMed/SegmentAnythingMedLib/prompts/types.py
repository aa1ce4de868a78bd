"""Prompts as the network wants them: on one slice, in pixels of that slice.

Plane coordinates: ``(x, y)`` = (column, row), continuous; the centre of pixel ``[row, column]`` is ``(column, row)``.
A box is ``(x0, y0, x1, y1)`` with its edges on pixel borders: the box of pixels ``c0..c1`` x ``r0..r1`` (inclusive) is
``(c0 - 0.5, r0 - 0.5, c1 + 0.5, r1 + 0.5)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]


def _no_points() -> np.ndarray:
    return np.zeros((0, 2), dtype=np.float64)


def _no_labels() -> np.ndarray:
    return np.zeros((0,), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class SlicePrompts:
    """Everything that prompts one object on one slice.

    Attributes:
        points: float64 [N, 2], (x, y) in plane coordinates.
        labels: int64 [N], 1 = positive (inside the object), 0 = negative.
        box: (x0, y0, x1, y1) in plane coordinates, or None.
        mask: bool [H, W] of the slice, a rough or drawn mask, or None.
        references: what the object looks like on slices where it is known, each made by the model that gets them
            (``PromptableModel.reference``). They prompt nothing by themselves; a model without references refuses them.
    """

    points: np.ndarray = field(default_factory=_no_points)
    labels: np.ndarray = field(default_factory=_no_labels)
    box: Box | None = None
    mask: np.ndarray | None = None
    references: tuple[Any, ...] = ()

    @property
    def empty(self) -> bool:
        """True when there is nothing that a model could use."""
        return len(self.points) == 0 and self.box is None and self.mask is None

    @property
    def only_negative(self) -> bool:
        """True when the only prompts are negative points."""
        return len(self.points) > 0 and not bool(np.any(self.labels == 1)) and self.box is None and self.mask is None
