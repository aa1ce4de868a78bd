"""Walks of a model with memory: outward until the object ends, and over the gap between two seeds."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from ..engine.look_ahead import after
from ..engine.memory_bank import MemoryBank
from ..engine.tracking import TrackedRequest, TrackedSlice
from . import records
from .inside import Opinion, blended
from .memory_run import MemoryRun
from .outward import Outward
from .records import SliceRecord
from .shapes import ShapeBlend, iou
from .stopping import Terms, judge

Steps = Generator[TrackedRequest, TrackedSlice, None]
ABSENT = (records.STOPPED_OBJECT_SCORE, records.STOPPED_ABSENT)
_ANY_AREA = 1e12


def track_outward(run: MemoryRun, course: Outward, seed: np.ndarray, bank: MemoryBank, terms: Terms) -> Steps:
    """Fill ``run`` from the slice beside the seed outward.

    The walk goes on over slices without the object (object score, or an empty mask) and over refused ones while
    ``patience`` lasts. Behind slices without it the object may reappear anywhere and in any size. A refused mask is not
    remembered, so that a leak does not feed itself, and is replaced by the shape between its neighbours when the walk
    goes on; a slice without the object is remembered as such and stays empty.

    Args:
        run: filled.
        course: from the seed to a barrier.
        seed: bool [H, W], not empty.
        bank: conditioning slices (and what a walk before left); changed.
        terms: settings (``MemorySettings``) and geometry.
    """
    direction = records.FORWARD if course.step > 0 else records.BACKWARD
    last, last_index, refused = seed, course.start, []
    if terms.is_full(seed):
        run.end = records.STOPPED_FULL
        return
    for index in course.slices:
        result = yield TrackedRequest(index, bank, course.step < 0, after(course.slices, index))
        lost = any(record.reason in ABSENT for record in refused)
        record = judge_tracked(terms, last, index, result, direction, abs(index - last_index), lost)
        if record.accepted or record.reason in ABSENT:
            bank.remember(index, result.memory, course.step)
        if not record.accepted:
            run.refuse(record)
            refused.append(record)
            if len(refused) > terms.settings.patience:
                break
            continue
        if refused and not lost:
            _bridge(run, refused, (last_index, last), (index, result.mask), terms)
        note = "reappears" if lost else ""
        refused = []
        run.accept(replace(record, note=note), result.mask)
        run.low_res[index] = result.low_res
        last, last_index = result.mask, index
    run.end = refused[0].reason if refused else course.reason


def judge_tracked(
    terms: Terms, last: np.ndarray, index: int, result: TrackedSlice, accepted: str, steps: int, lost: bool
) -> SliceRecord:
    """Compare a tracked slice with the last accepted one; arguments as in ``stopping.judge``.

    Args:
        lost: the object was absent from a slice between: place and size say nothing then.
    """
    settings, area = terms.settings, int(np.count_nonzero(result.mask))
    if result.object_score <= settings.object_score_threshold:
        return SliceRecord(
            index, records.STOPPED_OBJECT_SCORE, iou=iou(last, result.mask), area=area,
            predicted_iou=float(result.predicted_iou), object_score=float(result.object_score),
        )  # fmt: skip
    if lost:
        terms = replace(terms, settings=replace(settings, iou_threshold=0.0, area_ratio=_ANY_AREA))
    return judge(terms, last, index, result, accepted, steps)


def _bridge(
    run: MemoryRun,
    refused: list[SliceRecord],
    before: tuple[int, np.ndarray],
    behind: tuple[int, np.ndarray],
    terms: Terms,
) -> None:
    blend = ShapeBlend(before[1], behind[1], terms.pixel_spacing)
    for record in refused:
        shape = blend.at((record.index - before[0]) / (behind[0] - before[0]))
        if shape.any():
            run.accept(replace(record, reason=records.INTERPOLATED, rejected=record.reason), shape)


def track_gap(
    run: MemoryRun,
    ends: tuple[int, int],
    masks: tuple[np.ndarray, np.ndarray],
    banks: tuple[MemoryBank, MemoryBank],
    terms: Terms,
) -> Steps:
    """Fill the slices between two seeds: tracked upward and downward, blended by distance, none left out.

    A blend that overlaps the shape interpolated between the seeds (signed distances, in mm) by less than ``prior_iou``
    is replaced by that shape. What a walk finds so far from it is not remembered.

    Args:
        run: filled from the upper seed down, when the upward walk is complete.
        ends: lower and upper seed, at least two apart.
        masks: bool [H, W] of both, not empty.
        banks: for the upward and the downward walk; changed.
        terms: settings (``MemorySettings``) and geometry.
    """
    low, high = ends
    blend = ShapeBlend(*masks, terms.pixel_spacing)
    shapes = {index: blend.at((index - low) / (high - low)) for index in range(low + 1, high)}
    upward: dict[int, tuple[Opinion, TrackedSlice]] = {}
    for index in (up := range(low + 1, high)):
        result = yield from _chained(up, index, banks[0], shapes[index], terms)
        slim = replace(result, mask=None, logits=None, memory=None)  # whole slices need not be kept for the way back
        upward[index] = Opinion.of(result, shapes[index]), slim
    for index in (down := range(high - 1, low, -1)):
        shape = shapes.pop(index)
        result = yield from _chained(down, index, banks[1], shape, terms)
        opinion, other = upward.pop(index)
        weight = (index - low) / (high - low)
        mask, predicted_iou = blended(opinion, Opinion.of(result, shape), weight, terms.shape)
        score = (1 - weight) * other.object_score + weight * result.object_score
        _decide(run, index, mask, (predicted_iou, score), shape, terms)
        low_res = (1 - weight) * other.low_res.astype(np.float32) + weight * result.low_res.astype(np.float32)
        run.low_res[index] = low_res.astype(np.float16)


def _chained(
    steps: range, index: int, bank: MemoryBank, shape: np.ndarray, terms: Terms
) -> Generator[TrackedRequest, TrackedSlice, TrackedSlice]:
    result = yield TrackedRequest(index, bank, steps.step < 0, after(steps, index))
    if iou(result.mask, shape) >= terms.settings.prior_iou:
        bank.remember(index, result.memory, steps.step)
    return result


def _decide(
    run: MemoryRun, index: int, mask: np.ndarray, numbers: tuple[float, float], shape: np.ndarray, terms: Terms
) -> None:
    overlap, area = iou(mask, shape), int(np.count_nonzero(mask))
    predicted_iou, score = numbers
    refusal = None
    if score <= terms.settings.object_score_threshold:
        refusal = records.STOPPED_OBJECT_SCORE
    elif not area:
        refusal = records.STOPPED_ABSENT
    elif terms.is_full(mask):
        refusal = records.STOPPED_FULL
    elif overlap < terms.settings.prior_iou:
        refusal = records.STOPPED_IOU
    reason = records.INTERPOLATED if refusal else records.BLEND
    record = SliceRecord(
        index, reason, iou=overlap, area=area, predicted_iou=predicted_iou, object_score=score, rejected=refusal
    )
    run.accept(record, shape if refusal else mask)
