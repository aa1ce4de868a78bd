"""From likeness maps to points, and from the masks of single points to one mask (Zhang et al. 2024, GF-SAM)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from ..parts import unit

MOST_POINTS = 128


@dataclass(frozen=True, eq=False)
class LikenessMaps:
    """Cosines of every target cell [T] with the cells of references.

    Attributes:
        nearest: with the most similar foreground cell.
        mean: mean over the foreground cells.
        other: mean over the background cells; zeros when there are none.
    """

    nearest: np.ndarray
    mean: np.ndarray
    other: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        """How much more a cell speaks for the object than against it; positive cells belong to the positive region."""
        return self.mean**2 - self.other * (self.mean.max() + self.mean.min()) / 2


def likeness_maps(reference: np.ndarray, foreground: np.ndarray, target: np.ndarray) -> LikenessMaps:
    """Maps of target tokens [T, C] to reference tokens [R, C] with ``foreground`` bool [R], at least one True."""
    cosines = unit(target) @ unit(reference).T
    inside, outside = cosines[:, foreground], cosines[:, ~foreground]
    other = outside.mean(axis=1) if outside.shape[1] else np.zeros(len(target))
    return LikenessMaps(inside.max(axis=1), inside.mean(axis=1), other)


def point_cells(maps: LikenessMaps, most: int = MOST_POINTS) -> np.ndarray:
    """Cells that become positive points, best first: as many as the map of positives sums to, ``most`` at most."""
    positive, negative = _stretched(maps.mean * maps.nearest), _stretched(maps.other)
    positive = np.where(negative > positive, 0.0, positive)
    total = positive.sum()
    if total <= 0:
        return np.zeros(0, dtype=np.int64)
    count = min(max(int(total), 1), most, int(np.count_nonzero(positive)))
    return np.argsort(-positive, kind="stable")[:count]


def _stretched(values: np.ndarray) -> np.ndarray:
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def chosen_masks(
    points: np.ndarray, masks: np.ndarray, target: np.ndarray, places: np.ndarray, maps: LikenessMaps
) -> np.ndarray:
    """Which masks make the answer: accepted as they grow their cluster, and consistent with it.

    Args:
        points: int [P], cells of the points.
        masks: bool [P, T], cells that the mask of each point covers.
        target: float [T, C], tokens.
        places: float [T, 2] (row, column) of the cells.
        maps: of the same cells.

    Returns:
        Indices into ``points``, ascending; one at least when a mask is not empty.
    """
    edges = csr_matrix(masks[:, points])
    _, cluster = connected_components(edges, directed=True, connection="weak")
    gain = maps.gain
    score = np.array([gain[mask].mean() if mask.any() else -np.inf for mask in masks])
    accepted = _grown(cluster, masks, score, gain)
    consistent = _consistent(points, cluster, masks, target, places)
    both = np.flatnonzero(accepted & consistent)
    if len(both):
        return both
    either = np.flatnonzero((accepted | consistent) & np.isfinite(score))
    either = either if len(either) else np.flatnonzero(np.isfinite(score))
    return either[np.argmax(score[either])][None] if len(either) else either


def _grown(cluster: np.ndarray, masks: np.ndarray, score: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Within each cluster, best masks first: a mask is accepted if what it adds is positive for the most part."""
    accepted = np.zeros(len(masks), dtype=bool)
    for number in np.unique(cluster):
        union = np.zeros(masks.shape[1], dtype=bool)
        members = np.flatnonzero(cluster == number)
        for member in members[np.argsort(-score[members], kind="stable")]:
            new = masks[member] & ~union
            if np.count_nonzero(gain[new] > 0) > np.count_nonzero(gain[new] <= 0):
                accepted[member] = True
                union |= masks[member]
    return accepted


def _consistent(
    points: np.ndarray, cluster: np.ndarray, masks: np.ndarray, target: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Points that look most like what their own cluster covers, unless most of their cluster's points do not."""
    tokens = unit(target)
    pull = []
    for number in range(cluster.max() + 1):
        members = points[cluster == number]
        union = masks[cluster == number].any(axis=0)
        alike = tokens[points] @ tokens[union].mean(axis=0) if union.any() else np.full(len(points), -1.0)
        distance = np.linalg.norm(places[points][:, None] - places[members][None], axis=2).min(axis=1)
        pull.append(alike / np.where(distance == 0, 1.0, distance))
    consistent = np.argmax(pull, axis=0) == cluster
    for number in range(cluster.max() + 1):
        members = cluster == number
        if 2 * np.count_nonzero(consistent[members]) < np.count_nonzero(members):
            consistent[members] = False
    return consistent
