"""Which cells of a slice belong to which cells of a reference: one to one, forth and back (Matcher)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..parts import unit


@dataclass(frozen=True, eq=False)
class Matches:
    """Cells of the target that found a partner.

    Attributes:
        target: int64 [M], indices into the target's tokens, no two alike.
        similarity: float64 [M], cosine with the foreground cell of the reference that chose it.
    """

    target: np.ndarray
    similarity: np.ndarray


def spread(count: int, most: int) -> np.ndarray:
    """At most ``most`` indices of ``0..count - 1``, evenly spread and ascending."""
    if count <= most:
        return np.arange(count)
    return ((np.arange(most) + 0.5) * count / most).astype(np.int64)


def mutual_matches(reference: np.ndarray, foreground: np.ndarray, target: np.ndarray) -> Matches:
    """Bidirectional matching (Liu et al. 2024, Matcher, section 3.2).

    Forth: the assignment of foreground cells to target cells of greatest summed cosine. Back: that of the chosen target
    cells to all reference cells; a match holds if its partner on the way back is foreground too. Where none holds, all
    are kept.

    Args:
        reference: float [R, C], tokens of the reference slices.
        foreground: bool [R], at least one True.
        target: float [T, C].

    Returns:
        Matches in the order of ``target``'s indices; none for an empty target.
    """
    reference, target = unit(reference), unit(target)
    forth = reference[foreground] @ target.T
    chooser, chosen = linear_sum_assignment(forth, maximize=True)
    similarity = forth[chooser, chosen]
    asked, partner = linear_sum_assignment(target[chosen] @ reference.T, maximize=True)
    holds = np.zeros(len(chosen), dtype=bool)
    holds[asked] = foreground[partner]
    if not holds.any():
        holds[:] = True
    chosen, similarity = chosen[holds], similarity[holds]
    order = np.argsort(chosen)
    return Matches(chosen[order], similarity[order])


def strongest_half(matches: Matches, above: int = 40) -> Matches:
    """The half of greater similarity when there are more than ``above`` matches; else all."""
    if len(matches.target) <= above:
        return matches
    best = np.argsort(-matches.similarity, kind="stable")[: len(matches.target) // 2]
    best.sort()
    return Matches(matches.target[best], matches.similarity[best])
