"""Projected prompts and memory compete for the slices between two seeds, where each walk can be held to the other."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ..engine.look_ahead import after
from ..engine.memory_bank import MemoryBank
from ..engine.tracking import TrackedRequest
from . import records
from .competing import MEMORY, PROMPT, Candidate, CompetingRecord, Steps, remembered, score_of
from .inside import Opinion, blended
from .memory_run import MemoryRun
from .records import SliceRecord
from .shapes import ShapeBlend, iou
from .step import parts_of, predict_from
from .stopping import Terms


@dataclass(frozen=True, eq=False)
class Proposals:
    """What both engines say about a slice on one walk.

    Attributes:
        opinions: engine -> logits around the mask.
        candidates: both, without whole slices.
        low_res: float16 [h, w] logits of what the walk went on with.
    """

    opinions: dict[str, Opinion]
    candidates: tuple[Candidate, Candidate]
    low_res: np.ndarray


def compete_gap(
    run: MemoryRun,
    ends: tuple[int, int],
    masks: tuple[np.ndarray, np.ndarray],
    banks: tuple[MemoryBank, MemoryBank],
    terms: Terms,
) -> Steps:
    """Fill the slices between two seeds, none left out; arguments as ``memory_walk.track_gap``.

    Each walk goes on with the candidate that agrees better with its last mask and with the interpolated shape. When
    both walks are done, every slice gets the blend of that pair of one upward and one downward candidate whose scores
    and whose agreement with each other are highest.
    """
    low, high = ends
    blend = ShapeBlend(*masks, terms.pixel_spacing)
    shapes = {index: blend.at((index - low) / (high - low)) for index in range(low + 1, high)}
    upward: dict[int, Proposals] = {}
    source = masks[0]
    for index in (up := range(low + 1, high)):
        upward[index], source = yield from _chained(up, index, source, banks[0], shapes[index], terms)
    source = masks[1]
    for index in (down := range(high - 1, low, -1)):
        shape, weight = shapes.pop(index), (index - low) / (high - low)
        downward, source = yield from _chained(down, index, source, banks[1], shape, terms)
        _decide(run, index, (upward.pop(index), downward), weight, shape, terms)


def _chained(
    steps: range, index: int, source: np.ndarray, bank: MemoryBank, shape: np.ndarray, terms: Terms
) -> Generator[Any, Any, tuple[Proposals, np.ndarray]]:
    """One step of a walk: proposals, and the mask to go on from (the shape when both went astray)."""
    tracked = yield TrackedRequest(index, bank, steps.step < 0, after(steps, index))
    projected = yield from predict_from(index, parts_of(source, terms.settings), terms)
    both = tuple(
        Candidate(engine, result, _judged(index, result, shape, terms), score_of(result, (source, shape), terms))
        for engine, result in ((PROMPT, projected), (MEMORY, tracked))
    )
    fitting = [one for one in both if one.record.accepted]
    chosen = max(reversed(fitting), key=lambda one: one.score, default=None)  # of equals the memory's
    opinions = {one.engine: Opinion.of(one.result, shape) for one in both}
    slim = tuple(replace(one, result=replace(one.result, mask=None, logits=None)) for one in both)
    if chosen is None:
        return Proposals(opinions, _forgotten(slim), tracked.low_res), shape
    known = yield from remembered(chosen, index)
    bank.remember(index, known.memory, steps.step)
    return Proposals(opinions, _forgotten(slim), known.low_res), chosen.result.mask


def _forgotten(both: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Without memories and logits, which a long gap need not keep until the way back."""
    prompt, memory = both
    return prompt, replace(memory, result=replace(memory.result, memory=None, low_res=None))


def _judged(index: int, result: Any, shape: np.ndarray, terms: Terms) -> SliceRecord:
    """What the rules inside a gap say of a mask."""
    mask = result.mask
    overlap, area = iou(mask, shape), int(np.count_nonzero(mask))
    score = None if result.object_score is None else float(result.object_score)
    reason = records.BLEND
    if score is not None and score <= terms.settings.object_score_threshold:
        reason = records.STOPPED_OBJECT_SCORE
    elif not area:
        reason = records.STOPPED_ABSENT
    elif terms.is_full(mask):
        reason = records.STOPPED_FULL
    elif overlap < terms.settings.prior_iou:
        reason = records.STOPPED_IOU
    return SliceRecord(
        index, reason, iou=overlap, area=area, predicted_iou=float(result.predicted_iou), object_score=score
    )


def _decide(
    run: MemoryRun, index: int, walks: tuple[Proposals, Proposals], weight: float, shape: np.ndarray, terms: Terms
) -> None:
    """The blend of the pair that agrees best, or the interpolated shape where nothing does."""
    up, down = walks
    pairs = [(a, b) for a, b in product(up.candidates, down.candidates) if a.record.accepted and b.record.accepted]
    low_res = (1 - weight) * up.low_res.astype(np.float32) + weight * down.low_res.astype(np.float32)
    run.low_res[index] = low_res.astype(np.float16)
    told = _told(walks)
    if not pairs:
        worst = up.candidates[1].record if not up.candidates[1].record.accepted else down.candidates[1].record
        record = replace(worst, reason=records.INTERPOLATED, rejected=worst.reason)
        run.accept(replace(CompetingRecord.of(record, ()), candidates=told), shape)
        return

    def agreeing(pair: tuple[Candidate, Candidate]) -> float:
        """Scores of both, and how much they agree with each other."""
        a, b = pair
        return a.score + b.score + _overlap(up.opinions[a.engine], down.opinions[b.engine])

    first, second = max(reversed(pairs), key=agreeing)  # of equals the memory's
    mask, predicted_iou = blended(up.opinions[first.engine], down.opinions[second.engine], weight, terms.shape)
    scores = [one.record.object_score for one in (first, second) if one.record.object_score is not None]
    overlap, area = iou(mask, shape), int(np.count_nonzero(mask))
    good = area and overlap >= terms.settings.prior_iou and not terms.is_full(mask)
    record = CompetingRecord(
        index, records.BLEND if good else records.INTERPOLATED, iou=overlap, area=area, predicted_iou=predicted_iou,
        object_score=float(np.mean(scores)) if scores else None, rejected=None if good else records.STOPPED_IOU,
        engine="+".join(dict.fromkeys((first.engine, second.engine))) if good else None, candidates=told,
    )  # fmt: skip
    run.accept(record, mask if good else shape)


def _told(walks: tuple[Proposals, Proposals]) -> dict[str, dict[str, Any]]:
    return {
        f"{one.engine} {way}": one.told()
        for way, walk in zip((records.FORWARD, records.BACKWARD), walks, strict=True)
        for one in walk.candidates
    }


def _overlap(first: Opinion, second: Opinion) -> float:
    ends = zip(first.bounds, second.bounds, strict=True)
    bounds = tuple(pick(pair) for pick, pair in zip((min, max, min, max), ends, strict=True))
    return iou(first.within(bounds) > 0, second.within(bounds) > 0)
