"""A second anchor where the structure was lost on the way, and two tracks that become one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..propagation.shapes import ShapeBlend, centroid, dice
from . import visit_results as words_of
from .candidates import Asker, Candidate
from .following import Follower, goes_on, score_of

Track = dict[int, Candidate]
"""Slice -> the answer there, without gaps."""
Opinions = Callable[[list[int]], Mapping[str, np.ndarray]]
"""Slices -> name -> bool [N, H, W], where the structure may be on them, beside where it was looked for already."""

_LEAST_SLICES = 2
"""Expected slices in a row without the structure that are a loss; and what a second track must add, at least."""
_LEAST_PART = 0.15
"""Part of the largest expected area below which a slice is the structure's cap, where it may well have ended."""
_KEYS = 3
"""Slices of a lost part on which an anchor is looked for."""
_TRUSTED_IOU = 0.7
"""Predicted IoU that an anchor must have: there is nothing else to hold on to."""
_AGREE = 0.5
"""Dice from which two tracks are on the same thing."""
_MOST_GAP = 3
"""Slices between two tracks that may show neither."""


def anchor_again(
    follower: Follower, masks: np.ndarray, opinions: Opinions, ask_for: Callable[[np.ndarray], Asker]
) -> None:
    """Look for a structure once more on expected slices that following left without it, and join what is found.

    Every lost part (two slices or more) is asked about afresh: other opinions on where it is, and part matches. The
    most convincing answer is the second anchor; from there it is followed both ways. Where both tracks are on the same
    thing the better answer of every slice is kept; where they are not, each is kept on its own side of the slice at
    which their scores cross. A track that lies apart from the first one is dropped.

    Args:
        follower: after :meth:`Follower.follow`; its decisions are added to.
        masks: bool [N, H, W], where the structure was expected.
        opinions: asked only where something was lost.
        ask_for: makes the asker that measures displacements from given masks.
    """
    if not follower.settings.propagate or not follower.found.chosen:
        return
    for part in lost_parts(masks, set(follower.found.chosen)):
        anchor, asker = _anchor(follower, masks, part, opinions(part), ask_for)
        if anchor is None:
            continue
        track = _followed(follower, asker, anchor, len(masks))
        if len(set(track) - set(follower.found.chosen)) >= _LEAST_SLICES and _belongs(follower, track):
            _join(follower, track)


def lost_parts(masks: np.ndarray, found: set[int]) -> list[list[int]]:
    """Runs of slices on which a structure was expected in earnest, and was not found."""
    areas = np.count_nonzero(masks, axis=(1, 2))
    missing = [n for n in np.flatnonzero(areas >= max(_LEAST_PART * areas.max(), 1)).tolist() if n not in found]
    runs: list[list[int]] = []
    for index in missing:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [run for run in runs if len(run) >= _LEAST_SLICES]


def _anchor(
    follower: Follower,
    masks: np.ndarray,
    part: list[int],
    opinions: Mapping[str, np.ndarray],
    ask_for: Callable[[np.ndarray], Asker],
) -> tuple[Candidate | None, Asker]:
    """The most convincing answer on a lost part, or None; and the asker that expects the structure there."""
    places = np.linspace(0, len(part) - 1, min(_KEYS, len(part)) + 2)[1:-1]
    keys = sorted({part[int(place + 0.5)] for place in places})
    answers: list[tuple[Candidate, Asker]] = []
    for hints in opinions.values():
        there = masks.copy()
        there[part] = hints[part]
        asker = ask_for(there)
        answers += [(_twice(asker, n, hints[n]), asker) for n in keys if hints[n].any()]
        follower.progress.check()
    for n in keys if follower.matcher is not None else ():
        follower.progress.check()
        found = follower.matcher.match(follower.asker, n, masks[n])
        if not found.empty:  # seen at another scale than the prior's slices: asked again as all others are
            answers.append((_twice(follower.asker, n, found.mask), follower.asker))
    trusted = [pair for pair in answers if _trusted(follower, pair[0])]
    return min(trusted, key=lambda pair: score_of(pair[0]), default=(None, follower.asker))


def _trusted(follower: Follower, answer: Candidate) -> bool:
    sure = answer.predicted_iou is None or answer.predicted_iou >= _TRUSTED_IOU
    return sure and follower.rule.verdict(answer, sure=True)[0]


def _twice(asker: Asker, index: int, hint: np.ndarray) -> Candidate:
    first = asker.ask(index, hint, words_of.SEGMENTED)
    return first if first.empty else asker.ask(index, first.mask, words_of.PROPAGATED)


def _followed(follower: Follower, asker: Asker, anchor: Candidate, count: int) -> Track:
    """From an anchor both ways, until it ends or is where the first track is already."""
    track = {anchor.index: anchor}
    for step in (1, -1):
        index = anchor.index + step
        while 0 <= index < count:
            follower.progress.check()
            before = track[index - step].mask
            answer = asker.ask(index, before, words_of.PROPAGATED)
            if not goes_on(before, answer.mask) or not follower.rule.verdict(answer, sure=True)[0]:
                break
            track[index] = answer
            first = follower.found.chosen.get(index)
            if first is not None and dice(first.mask, answer.mask) >= _AGREE:
                break
            index += step
    return track


def _belongs(follower: Follower, track: Track) -> bool:
    """True for a track that meets the first one, or ends close to where that one does."""
    first = follower.found.chosen
    if any(n in first and (first[n].mask & one.mask).any() for n, one in track.items()):
        return True
    here, there = min(((n, m) for n in first for m in track), key=lambda pair: abs(pair[0] - pair[1]))
    if abs(here - there) - 1 > _MOST_GAP:
        return False
    session = follower.asker.arena.follow_up
    away = np.subtract(centroid(first[here].mask), centroid(track[there].mask)) * session.pixel_spacing
    return bool(np.hypot(*away) <= max(follower.rule.displacement_mm, follower.settings.search_mm))


def _join(follower: Follower, track: Track) -> None:
    """Take a second track into the decisions."""
    first = follower.found.chosen
    kept = joined(first, track)
    added = sorted(n for n in kept if kept[n] is not first.get(n) and not _edited(first.get(n)))
    if not added:
        return
    for index in added:
        follower.found.tried.setdefault(index, {})[kept[index].source] = score_of(kept[index])
        first[index] = kept[index]
        follower.found.refused.pop(index, None)
    follower.found.again.append((added[0], added[-1]))
    _bridge(follower, added)


def _edited(candidate: Candidate | None) -> bool:
    return candidate is not None and candidate.source == words_of.EDITED


def joined(first: Mapping[int, Candidate], second: Mapping[int, Candidate]) -> Track:
    """Two tracks as one.

    Args:
        first: slice -> answer; may have gaps.
        second: slice -> answer, without gaps, on one side of the first's middle.

    Returns:
        On slices that only one has: that one's. Where both are on the same thing (Dice of a half): the better answer.
        Where they are not: the first's up to the slice at which the sum of scores is lowest, beyond it the second's.
    """
    shared = sorted(set(first) & set(second))
    disputed = [n for n in shared if dice(first[n].mask, second[n].mask) < _AGREE]
    out = {**second, **first}
    for index in shared:
        if index not in disputed and score_of(second[index]) < score_of(first[index]):
            out[index] = second[index]
    if np.mean(list(second)) < np.mean(list(first)):
        disputed.reverse()  # from the first's side to the second's
    cut = min(range(len(disputed) + 1), key=lambda at: _cost(disputed, at, first, second))
    out.update({index: second[index] for index in disputed[cut:]})
    return out


def _cost(disputed: list[int], cut: int, first: Mapping[int, Candidate], second: Mapping[int, Candidate]) -> float:
    return sum(score_of((first if place < cut else second)[index]) for place, index in enumerate(disputed))


def _bridge(follower: Follower, added: list[int]) -> None:
    """Slices between both tracks: asked with what lies between their ends."""
    chosen = follower.found.chosen
    for low, high in zip(sorted(chosen), sorted(chosen)[1:], strict=False):
        if not 1 < high - low <= _MOST_GAP + 1 or not {low, high} & set(added):
            continue
        blend = ShapeBlend(chosen[low].mask, chosen[high].mask, follower.asker.arena.follow_up.pixel_spacing)
        for index in range(low + 1, high):
            hint = blend.at((index - low) / (high - low))
            if hint.any():
                follower.offer(follower.asker.ask(index, hint, words_of.PROPAGATED), sure=True)
