"""SAM 2 follows the object from slice to slice, and P2SAM corrects it where the references disagree.

The paper reports SAM 2 with P2SAM (Zhao et al., 2025) without saying how the two meet. Here the tracker's mask competes
with P2SAM's on every slice: if P2SAM's tokens are nearer to those of the references by more than a tenth, its points
become a correction on that slice, which the tracker remembers; else the track is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..engine.memory_bank import MemoryBank, SliceMemory
from ..engine.session import Session
from ..engine.tracking import TrackedSlice, Tracker
from ..errors import ModelError
from ..progress import Progress
from ..prompts.types import Box, SlicePrompts
from .cascade import mask_box
from .one_shot import OneShotResult, Reference
from .p2sam import P2SAM
from .views import view

WIN_BY = 0.1
"""How much nearer P2SAM's answer must be than the track's."""
FOUND_WITHIN = 1.25
"""Where the track has lost the object, P2SAM's answer counts within so many typical distances of accepted slices."""


@dataclass(frozen=True, eq=False)
class FollowedSlice:
    """One slice of a corrected track, in stored pixels.

    Attributes:
        index: of the slice.
        mask: bool [H, W]; all False where the object is absent.
        logits: float32 [H, W].
        object_score: the tracker's logit of presence.
        track_distance: of the track's own mask to the references; infinite where it is empty.
        p2sam_distance: of P2SAM's answer.
        corrected: P2SAM's points corrected the track here.
        points: float64 [N, 2] (x, y) and ``labels`` int64 [N] of the correction; none without one.
    """

    index: int
    mask: np.ndarray
    logits: np.ndarray
    object_score: float
    track_distance: float
    p2sam_distance: float
    corrected: bool
    points: np.ndarray
    labels: np.ndarray


def remembered(session: Session, masks: Mapping[int, np.ndarray]) -> dict[int, SliceMemory]:
    """What the tracker remembers of slices on which the object is known; masks bool [H, W], taken as they are.

    Raises:
        ModelError: ``model.no_memory``.
    """
    tracker = _tracker(session)
    return {
        index: tracker.prompted(index, SlicePrompts(mask=mask), verbatim=True).memory for index, mask in masks.items()
    }


def placed_before(memories: Sequence[SliceMemory], first: int, step: int) -> dict[int, SliceMemory]:
    """Memories of another visit as if its slices came just before slice ``first`` of a walk in direction ``step``.

    SAM 2 compares places too: the other visit's slices should show the patient where the walk's slices do.

    Args:
        memories: from :func:`remembered`, in the order of the walk; the last one is nearest.
        first: slice with which the walk begins.
        step: +1 or -1.
    """
    return {first - step * (len(memories) - n): memory for n, memory in enumerate(memories)}


def follow(
    session: Session,
    references: Sequence[Reference],
    memories: Mapping[int, SliceMemory],
    indices: range,
    *,
    method: P2SAM | None = None,
    win_by: float = WIN_BY,
    start_box: Box | None = None,
    progress: Progress | None = None,
) -> list[FollowedSlice]:
    """Track an object through slices, with P2SAM's corrections.

    Args:
        session: with a model that has memory (SAM 2, MedSAM2).
        references: slices on which the object is known, whole (``view(session, index)``).
        memories: at least one conditioning slice, from :func:`remembered` or :func:`placed_before`.
        indices: slices in the order of the walk, step +1 or -1.
        method: P2SAM with other settings.
        win_by: see ``WIN_BY``; 1 never corrects.
        start_box: (x0, y0, x1, y1) of the object before the walk, in stored pixels: P2SAM's prompts stay near the last
            slice's mask then, for objects that have look-alikes. None: P2SAM looks everywhere.
        progress: a cancel ends the walk with ``Cancelled``.

    Raises:
        ModelError: ``model.no_memory``.
        InputError: ``reference.none``.
    """
    walk = _Walk(session, references, method or P2SAM(), win_by, start_box)
    bank, backward, progress = MemoryBank(memories), indices.step < 0, progress or Progress()
    progress.start("Following the object", len(indices))
    rows = []
    for index in indices:
        progress.check()
        row, memory = walk.step(index, bank, backward)
        bank.remember(index, memory, indices.step)
        rows.append(row)
        progress.advance()
    return rows


class _Walk:
    """What one walk knows: the last box (frozen while the object is absent) and the distances of accepted slices."""

    def __init__(
        self, session: Session, references: Sequence[Reference], method: P2SAM, win_by: float, box: Box | None
    ) -> None:
        self._session, self._tracker = session, _tracker(session)
        self._references, self._method, self._win_by = references, method, win_by
        self._box, self._near = box, box is not None
        self._accepted: list[float] = []

    def step(self, index: int, bank: MemoryBank, backward: bool) -> tuple[FollowedSlice, SliceMemory]:
        """One slice, with what the memory holds so far; its own memory for the next ones."""
        target = view(self._session, index)
        track = self._tracker.tracked(index, bank, backward=backward)
        answer = self._method.segment(self._references, target, box=self._box)
        ahead = self._method.distance(self._references, target, track.mask)
        chosen, corrected = track, False
        if self._wins(answer, ahead):
            other = self._corrected(index, answer, track, bank, backward)
            if self._method.distance(self._references, target, other.mask) < ahead:  # it did what it was to do
                chosen, corrected = other, True
        self._learn(chosen, self._method.distance(self._references, target, chosen.mask))
        row = FollowedSlice(
            index=index,
            mask=chosen.mask,
            logits=chosen.logits,
            object_score=float(chosen.object_score),
            track_distance=ahead,
            p2sam_distance=answer.distance,
            corrected=corrected,
            points=answer.points if corrected else answer.points[:0],
            labels=answer.labels if corrected else answer.labels[:0],
        )
        return row, chosen.memory

    def _wins(self, answer: OneShotResult, ahead: float) -> bool:
        if answer.empty or not np.isfinite(answer.distance):
            return False
        if np.isfinite(ahead):
            return answer.distance < (1 - self._win_by) * ahead
        # the track says "absent"; P2SAM never does, so its word counts only where it looks like what was accepted
        typical = float(np.median(self._accepted)) if self._accepted else 0.0
        return self._win_by < 1 and answer.distance <= FOUND_WITHIN * typical

    def _corrected(
        self, index: int, answer: OneShotResult, track: TrackedSlice, bank: MemoryBank, backward: bool
    ) -> TrackedSlice:
        prompts = SlicePrompts(answer.points, answer.labels)
        base = track.low_res if track.mask.any() else None
        return self._tracker.prompted(index, prompts, bank=bank, base=base, backward=backward)

    def _learn(self, chosen: TrackedSlice, distance: float) -> None:
        if np.isfinite(distance):
            self._accepted.append(distance)
        if self._near and chosen.mask.any():
            self._box = mask_box(chosen.mask)


def _tracker(session: Session) -> Tracker:
    tracker = session.tracker
    if tracker is None:
        raise ModelError(
            "model.no_memory",
            f"The model {session.model.info.name} has no memory; following an object needs SAM 2 or MedSAM2.",
        )
    return tracker
