"""The walk as published: micro-sam's ``segment_mask_in_volume`` rule for rule (spec 1.1.3), for comparisons.

Kept on purpose: the source is always the slice just before, the IoU is not compensated, gaps meet in the middle with
a step, the middle slice is prompted from the union of its neighbours (with many points even in ``single_point``), an
inner stop mark is ignored. One thing cannot be reproduced: from an empty mask the original prompts the network with
nothing and takes what comes; here such a slice is empty.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..engine.look_ahead import NOWHERE, after
from ..engine.predictor import Request, SliceResult
from ..prompts.projection import Projection, project
from . import records
from .records import Run, SliceRecord
from .stopping import Terms

Steps = Generator[Request, SliceResult, None]


@dataclass(frozen=True)
class Annotated:
    """Annotated slices in order, and which outer ones are stop marks.

    Attributes:
        slices: sorted, unique, stop marks at the ends included.
        stop_lower: the lowest is a stop mark.
        stop_upper: the highest is one.
    """

    slices: tuple[int, ...]
    stop_lower: bool
    stop_upper: bool

    @classmethod
    def of(cls, seeds: list[int], stops: list[int]) -> tuple[Annotated, list[str]]:
        """From seed slices (at least one) and stop marks; inner stop marks are left out, with a note each."""
        low = max((stop for stop in stops if stop < seeds[0]), default=None)
        high = min((stop for stop in stops if stop > seeds[-1]), default=None)
        ends = {low, high} - {None}
        ignored = [stop for stop in stops if stop not in ends]
        notes = [f"The stop mark on slice {stop} is ignored by the published rules." for stop in ignored]
        return cls(tuple(sorted({*seeds, *ends})), low is not None, high is not None), notes


def walk_published(
    run: Run, annotated: Annotated, masks: Mapping[int, np.ndarray], count: int, terms: Terms
) -> Generator[Request, SliceResult, tuple[str, str]]:
    """Fill ``run`` with everything but the annotated slices.

    Returns:
        Why the walk ended below and above.
    """
    volume = _Volume(run, dict(masks), terms)
    first, last = annotated.slices[0], annotated.slices[-1]
    end_lower = end_upper = records.STOPPED_USER
    if not annotated.stop_lower:
        end_lower = yield from volume.outward(first, -1)
    if not annotated.stop_upper:
        end_upper = yield from volume.outward(last, count)
    for low, high in pairwise(annotated.slices):
        yield from _between(volume, annotated, low, high)
    return end_lower, end_upper


def _between(volume: _Volume, annotated: Annotated, low: int, high: int) -> Steps:
    if high - low == 1:
        return
    if annotated.stop_lower and low == annotated.slices[0]:
        yield from volume.fill(range(high - 1, low, -1))
    elif annotated.stop_upper and high == annotated.slices[-1]:
        yield from volume.fill(range(low + 1, high))
    elif high - low == 2:
        yield from volume.meet(low + 1)
    else:
        middle = (low + high) // 2
        even = (high - low) % 2 == 0
        yield from volume.fill(range(low + 1, middle if even else middle + 1))
        yield from volume.fill(range(high - 1, middle, -1))
        if even:
            yield from volume.meet(middle)


class _Volume:
    """Masks found so far (stop slices and unvisited ones are empty) and the three ways to add one."""

    def __init__(self, run: Run, masks: dict[int, np.ndarray], terms: Terms) -> None:
        self._run, self._masks, self._terms = run, masks, terms

    def mask(self, index: int) -> np.ndarray:
        """The mask of a slice; empty where there is none."""
        found = self._masks.get(index)
        return np.zeros(self._terms.shape, dtype=bool) if found is None else found

    def outward(self, start: int, barrier: int) -> Generator[Request, SliceResult, str]:
        """Walk until the neighbours overlap less than the threshold; the slice that disagrees is discarded."""
        step = 1 if barrier > start else -1
        for index in (slices := range(start + step, barrier, step)):
            source = self.mask(index - step)
            result = yield from self._ask(index, source, onward=after(slices, index))
            record = _record(index, result, source, records.FORWARD if step > 0 else records.BACKWARD)
            if record.iou < self._terms.settings.iou_threshold:
                reason = records.STOPPED_IOU if record.area else records.STOPPED_ABSENT
                self._run.refuse(replace(record, reason=reason))
                return reason
            self._keep(record, result)
        return records.EDGE

    def fill(self, indices: range) -> Steps:
        """Walk over all of ``indices`` without a threshold."""
        for index in indices:
            source = self.mask(index - indices.step)
            result = yield from self._ask(index, source, onward=after(indices, index))
            direction = records.FORWARD if indices.step > 0 else records.BACKWARD
            self._keep(_record(index, result, source, direction), result)

    def meet(self, index: int) -> Steps:
        """The middle slice, from the union of both neighbours."""
        source = self.mask(index - 1) | self.mask(index + 1)
        result = yield from self._ask(index, source, single=False)
        self._keep(_record(index, result, source, records.BLEND), result)

    def _ask(
        self, index: int, source: np.ndarray, single: bool = True, onward: range = NOWHERE
    ) -> Generator[Request, SliceResult, SliceResult]:
        settings = self._terms.settings
        projection: Projection = settings.projection if single else replace(settings.projection, single=False)
        prompts = project(source, projection, box_extension=settings.box_extension, as_published=True)
        if prompts.empty or prompts.only_negative:
            return SliceResult(np.zeros_like(source), np.full(source.shape, -1.0, dtype=np.float32), 0.0)
        return (yield Request(index, prompts, propagated=True, near=bool(settings.near), onward=onward))

    def _keep(self, record: SliceRecord, result: SliceResult) -> None:
        self._masks[record.index] = result.mask
        if record.area:
            self._run.accept(record, result.mask)
        else:
            self._run.refuse(replace(record, reason=records.STOPPED_ABSENT))


def _record(index: int, result: SliceResult, source: np.ndarray, reason: str) -> SliceRecord:
    both, either = np.count_nonzero(result.mask & source), np.count_nonzero(result.mask | source)
    area, before = int(np.count_nonzero(result.mask)), int(np.count_nonzero(source))
    return SliceRecord(
        index,
        reason,
        iou=float(both / (either + 1e-7)),
        area=area,
        area_ratio=float(area / before) if before else None,
        predicted_iou=float(result.predicted_iou),
    )
