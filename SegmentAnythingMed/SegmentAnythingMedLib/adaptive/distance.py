"""How different two sets of tokens are: optimal transport, as P2SAM has it, and what its ablation compares it with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ..errors import InputError
from .packages import k_means_class, optimal_transport

EMPTY = float("inf")
"""Distance to an empty set."""
_ITERATIONS = 10_000_000
_BINS, _FLOOR = 16, 1e-6
_PARTS = 4


def wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """Squared 2-Wasserstein distance of two token sets with uniform weights, by exact optimal transport.

    The cost is the squared Euclidean distance of raw tokens (P2SAM's released code; the paper leaves the norm open).
    Costs are scaled to at most 1 before they are solved, since the solver loses exactness with large ones.

    Args:
        first: float [N, C].
        second: float [M, C].

    Returns:
        At least 0; infinite when a set is empty.

    Raises:
        InputError: ``adaptive.package``.
    """
    if not len(first) or not len(second):
        return EMPTY
    cost = cdist(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64), "sqeuclidean")
    largest = float(cost.max())
    if largest == 0:
        return 0.0
    weights = [np.full(len(tokens), 1 / len(tokens)) for tokens in (first, second)]
    return float(optimal_transport().emd2(*weights, cost / largest, numItermax=_ITERATIONS)) * largest


def at_least(first_mean: np.ndarray, second: np.ndarray) -> float:
    """A lower bound of :func:`wasserstein`, nearly for free: squared distance of the sets' means (Jensen's inequality).

    Args:
        first_mean: float [C], mean of the first set.
        second: float [M, C].
    """
    if not len(second):
        return EMPTY
    return float(np.sum((first_mean - second.mean(axis=0)) ** 2))


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence of two token sets, in nats, 0..ln 2; infinite when a set is empty.

    Both are projected onto the first two principal components of their union and counted in 16 x 16 bins.
    """
    if not len(first) or not len(second):
        return EMPTY
    union = np.concatenate([first, second]).astype(np.float64)
    union -= union.mean(axis=0)
    axes = np.linalg.svd(union, full_matrices=False)[2][:2]
    flat = union @ axes.T
    span = [
        (float(low), float(high) if high > low else float(low) + 1) for low, high in zip(*_extent(flat), strict=True)
    ]
    p, q = (
        _shares(np.histogramdd(part, bins=_BINS, range=span)[0]) for part in (flat[: len(first)], flat[len(first) :])
    )
    middle = (p + q) / 2
    return float((np.sum(p * np.log(p / middle)) + np.sum(q * np.log(q / middle))) / 2)


def _extent(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return flat.min(axis=0), flat.max(axis=0)


def _shares(counts: np.ndarray) -> np.ndarray:
    counts = counts + _FLOOR
    return counts / counts.sum()


def hungarian(first: np.ndarray, second: np.ndarray) -> float:
    """Mean distance of the parts of two token sets, matched one to one; infinite when a set is empty.

    Each set is split into (up to) four parts by k-means; the parts' centres are matched by the Hungarian method.
    """
    if not len(first) or not len(second):
        return EMPTY
    parts = min(_PARTS, len(first), len(second))
    cost = cdist(_centres(first, parts), _centres(second, parts))
    return float(cost[linear_sum_assignment(cost)].mean())


def _centres(tokens: np.ndarray, parts: int) -> np.ndarray:
    distinct = len(np.unique(tokens, axis=0))
    tokens = np.asarray(tokens, dtype=np.float64)
    fitted = k_means_class()(min(parts, distinct), n_init=10, random_state=0).fit(tokens)
    return fitted.cluster_centers_


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "wasserstein": wasserstein,
    "jensen-shannon": jensen_shannon,
    "hungarian": hungarian,
}
"""Name -> distance of two token sets [N, C] and [M, C]."""


def distance_named(name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """A distance by its name.

    Raises:
        InputError: ``option.distance``.
    """
    if name not in DISTANCES:
        raise InputError("option.distance", f"Expected the distance {', '.join(DISTANCES)}, got {name!r}.")
    return DISTANCES[name]
