"""Tracking as published: ``SAM2VideoPredictor`` as it is, and MedSAM2's use of it (spec 1.4, 1.5), for comparisons.

Kept on purpose: every slice to the ends of the stack is asked, nothing is refused, the first pass starts at the first
prompted slice of *all* objects (before its own first prompt an object is tracked from the future), the second pass
reads what the first one left. Not reproduced: the filling of holes of up to eight pixels, which needs a CUDA extension
that is compiled from the package's source (without it the predictor warns and goes on).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

import numpy as np
from scipy import ndimage

from ..engine.look_ahead import after
from ..engine.memory_bank import POINTER_REACH, MemoryBank, SliceMemory
from ..engine.tracking import TrackedRequest, TrackedSlice
from . import records
from .memory_run import MemoryRun
from .records import SliceRecord
from .shapes import iou


def track_video(
    run: MemoryRun,
    conditioning: Mapping[int, SliceMemory],
    masks: Mapping[int, np.ndarray],
    start: int,
    count: int,
    *,
    reset: bool,
) -> Generator[TrackedRequest, TrackedSlice, None]:
    """Fill ``run`` with everything but the prompted slices: from ``start`` to the end, then back to the beginning.

    Args:
        run: filled.
        conditioning: memories of the prompted slices, empty answers included.
        masks: bool [H, W] masks of those of them that are not empty.
        start: first prompted slice of all objects.
        count: slices of the stack.
        reset: memory is emptied between the passes and their union taken (MedSAM2); else the second pass reads what the
            first left, and its answers replace earlier ones.
    """
    keep = () if reset else range(start, start + POINTER_REACH + 1)
    bank = MemoryBank(conditioning, keep=keep)
    for step, indices in ((1, range(start, count)), (-1, range(start, -1, -1) if start else range(0))):
        if step < 0 and reset:
            bank = MemoryBank(conditioning)
        for index in indices:
            if index in conditioning:
                continue
            result = yield TrackedRequest(index, bank, step < 0, after(indices, index))
            bank.remember(index, result.memory, step)
            mask = result.mask
            if reset and index in run.masks:
                mask = mask | run.masks[index]
            _keep(run, index, mask, result, run.masks.get(index - step, masks.get(index - step)), step)


def _keep(
    run: MemoryRun, index: int, mask: np.ndarray, result: TrackedSlice, before: np.ndarray | None, step: int
) -> None:
    area = int(np.count_nonzero(mask))
    numbers = {
        "iou": None if before is None else iou(before, mask),
        "area": area,
        "predicted_iou": float(result.predicted_iou),
        "object_score": float(result.object_score),
    }
    run.low_res[index] = result.low_res
    if area:
        run.accept(SliceRecord(index, records.FORWARD if step > 0 else records.BACKWARD, **numbers), mask)
        return
    run.masks.pop(index, None)
    absent = result.object_score <= 0
    run.refuse(SliceRecord(index, records.STOPPED_OBJECT_SCORE if absent else records.STOPPED_ABSENT, **numbers))


def largest_part(masks: Mapping[int, np.ndarray], count: int, shape: tuple[int, int]) -> dict[int, np.ndarray]:
    """The largest connected part (faces, edges and corners touch) of masks bool [H, W] by slice."""
    if not masks:
        return {}
    low, high = min(masks), max(masks)
    stack = np.zeros((high - low + 1, *shape), dtype=bool)
    for index, mask in masks.items():
        stack[index - low] = mask
    labels, parts = ndimage.label(stack, structure=np.ones((3, 3, 3), dtype=bool))
    if parts > 1:
        stack = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    return {low + n: plane for n, plane in enumerate(stack) if plane.any()}
