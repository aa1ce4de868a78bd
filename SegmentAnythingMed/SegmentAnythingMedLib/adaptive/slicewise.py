"""One-shot methods as they were published: one slice after the other, no decision whether the structure is there.

For comparison with :mod:`.searching`. What a method needs is given by the registration: which slices (those
of the warped mask), where to look (a square around it), and which slices of the prior are the references.
"""

from __future__ import annotations

import numpy as np

from ..models.frame import Region
from ..progress import Progress
from ..prompts.projection import mask_bounds
from ..prompts.types import SlicePrompts
from . import visit_results as words_of
from .arena import Arena
from .baselines.label_propagation import LabelPropagation
from .candidates import Candidate
from .following import Followed
from .one_shot import OneShotMethod, OneShotResult, Reference
from .references import NEAREST, PriorLooks
from .searching import Search
from .views import View, square_region, view

_SIDE = 2.0


def search_slicewise(
    arena: Arena, method: OneShotMethod, references: int, progress: Progress, *, paired_by_index: bool = False
) -> Search:
    """Run a method on every slice that the warped mask has.

    Args:
        arena: both visits around the structure.
        method: of the package.
        references: slices of the prior that are used, at most.
        progress: its ``cancel`` ends the work.
        paired_by_index: the published pairing: both stacks of slices aligned at their middle, one reference each.

    Returns:
        ``found`` with whatever the method says; these methods never say that nothing is there.
    """
    looks = PriorLooks(arena, references)
    indices = [int(n) for n in np.flatnonzero(arena.warped.any(axis=(1, 2)))]
    if not looks.indices or not indices:
        words = ("The structure is too small for the model: see W.",)
        return Search(words_of.REGISTRATION_ONLY, np.zeros_like(arena.warped), words=words)
    region = _region(arena)
    targets = [view(arena.follow_up, n, region) for n in indices]
    every = [int(n) for n in np.flatnonzero(arena.rigid.any(axis=(1, 2)))]
    followed = Followed()
    if isinstance(method, LabelPropagation):
        answers = _walked(method, _known(arena, looks.indices, region), targets)
    else:
        answers = []
        for place, target in enumerate(targets):
            progress.check()
            pairs = _pair(every, place, len(indices)) if paired_by_index else _nearest(every, target.index)
            answers.append(method.segment(_known(arena, pairs, region), target))
    for target, answer in zip(targets, answers, strict=True):
        if answer.mask.any():
            followed.chosen[target.index] = _candidate(target, answer)
        else:
            followed.refused[target.index] = "the method finds nothing"
    return Search(words_of.FOUND, followed.stack(arena.warped.shape), followed=followed)


def _region(arena: Arena) -> Region:
    bounds = mask_bounds((arena.warped | arena.rigid).any(axis=0))
    row0, row1, col0, col1 = bounds
    dy, dx = arena.follow_up.pixel_spacing
    side = _SIDE * max((row1 - row0) * dy, (col1 - col0) * dx)
    return square_region(arena.follow_up, ((col0 + col1 - 1) / 2, (row0 + row1 - 1) / 2), side)


def _known(arena: Arena, indices: list[int], region: Region) -> list[Reference]:
    return [Reference(view(arena.prior, n, region), arena.rigid[n]) for n in indices]


def _pair(every: list[int], place: int, count: int) -> list[int]:
    """The published pairing: slices of both visits aligned at their middle index, clamped to the ends."""
    paired = len(every) // 2 - (count // 2 - place)
    return [every[min(max(paired, 0), len(every) - 1)]]


def _nearest(every: list[int], index: int) -> list[int]:
    return sorted(every, key=lambda n: (abs(n - index), n))[:NEAREST]


def _walked(method: LabelPropagation, known: list[Reference], targets: list[View]) -> list[OneShotResult]:
    """Label propagation from the middle slice outward."""
    middle = len(targets) // 2
    up = method.propagate(known, targets[middle:])
    down = method.propagate(known, targets[middle::-1])[1:] if middle else []
    return [*down[::-1], *up]


def _candidate(target: View, answer: OneShotResult) -> Candidate:
    prompts = SlicePrompts(points=answer.points, labels=answer.labels)
    iou = float(answer.predicted_iou)
    return Candidate(
        target.index, words_of.MATCHED, answer.mask, answer.logits, iou if np.isfinite(iou) else None,
        None, None, None, None if prompts.empty else prompts,
    )  # fmt: skip
