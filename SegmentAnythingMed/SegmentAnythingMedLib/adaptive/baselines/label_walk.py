"""Labels of known cells handed on to cells that look alike (space-time walk, Jabri et al. 2020, appendix)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..parts import unit

TEMPERATURE = 0.05
NEIGHBOURS = 10
RADIUS = 12.0


@dataclass(frozen=True, eq=False)
class KnownCells:
    """Cells whose label is known, of one slice.

    Attributes:
        tokens: float [N, C].
        labels: float [N], how much of the cell is the object, 0..1.
        places: float [N, 2] (row, column) in cells of the target's grid when only cells nearby may learn from these (a
            neighbouring slice), None when all may (a reference).
    """

    tokens: np.ndarray
    labels: np.ndarray
    places: np.ndarray | None = None


def hand_on(
    context: list[KnownCells],
    target: np.ndarray,
    places: np.ndarray,
    *,
    temperature: float = TEMPERATURE,
    neighbours: int = NEIGHBOURS,
    radius: float = RADIUS,
) -> np.ndarray:
    """Soft labels of target cells: of the ``neighbours`` most similar context cells, by the softmax of similarity.

    Args:
        context: at least one slice with at least one cell.
        target: float [T, C].
        places: float [T, 2] (row, column) of the target's cells.
        temperature: cosines are divided by it.
        neighbours: similar cells that count, of all context slices together.
        radius: in cells, for context slices with places.

    Returns:
        float64 [T], 0..1.
    """
    query = unit(target)
    affinity = []
    for cells in context:
        near = query @ unit(cells.tokens).T / temperature
        if cells.places is not None:
            distance = np.linalg.norm(places[:, None, :] - cells.places[None], axis=2)
            near = np.where(distance > radius, -1e10, near)
        affinity.append(near)
    affinity, labels = np.concatenate(affinity, axis=1), np.concatenate([cells.labels for cells in context])
    kept = min(neighbours, affinity.shape[1])
    best = np.argpartition(-affinity, kept - 1, axis=1)[:, :kept]
    values = np.take_along_axis(affinity, best, axis=1)
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    return (weights * labels[best]).sum(axis=1) / weights.sum(axis=1)
