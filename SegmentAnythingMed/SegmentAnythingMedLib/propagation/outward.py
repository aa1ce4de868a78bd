"""The walk outward from a seed, slice by slice, until the object ends."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..engine.appearance import CLOSE
from ..engine.look_ahead import after
from ..engine.predictor import Request, SliceResult
from . import records
from .evidence import Appearance, Confidence
from .records import Run, SliceRecord
from .shapes import ShapeBlend
from .step import parts_of, predict_from
from .stopping import Terms, judge


@dataclass(frozen=True)
class Outward:
    """Course of a walk.

    Attributes:
        start: seed slice.
        barrier: first slice that may not be touched (-1 or the slice count at the volume's edge).
        reason: why the barrier is there: ``edge``, ``limit`` or ``stopped:user``.
    """

    start: int
    barrier: int
    reason: str

    @property
    def step(self) -> int:
        """+1 or -1."""
        return 1 if self.barrier > self.start else -1

    @property
    def slices(self) -> range:
        """Those that the walk comes to, in order, if it goes on to the barrier."""
        return range(self.start + self.step, self.barrier, self.step)

    @property
    def most(self) -> int:
        """Slices to ask if the object goes on to the barrier."""
        return abs(self.barrier - self.start) - 1


def walk_outward(run: Run, course: Outward, seed: np.ndarray, terms: Terms) -> Generator[Request, SliceResult, None]:
    """Fill ``run`` from the slice beside the seed outward.

    Every slice is prompted from the last accepted mask, and shown what the object looks like on the seed slice. A
    refused slice is jumped over while ``patience`` lasts and the object has not tapered and the pixels behind it do not
    speak against it; when the walk goes on there, it is filled with the shape between its neighbours.
    """
    settings = terms.settings
    direction = records.FORWARD if course.step > 0 else records.BACKWARD
    last, last_index = seed, course.start
    parts, largest = parts_of(seed, settings), np.count_nonzero(seed)
    refused: list[SliceRecord] = []
    confidence, looks = Confidence(terms, seed, course.start), Appearance(terms, seed, course.start)
    if terms.is_full(seed):
        run.end = records.STOPPED_FULL
        return
    if course.start + course.step == course.barrier:
        run.end = course.reason
        return
    references = terms.references((seed, course.start))

    def verdict(index: int, answer: SliceResult) -> SliceRecord:
        """Accept or refuse an answer."""
        share = looks.share(answer.mask, index)
        steps, least = abs(index - last_index), confidence.least(index)
        return judge(terms, last, index, answer, direction, steps, least, share)

    for index in course.slices:
        onward = after(course.slices, index)
        result, record = yield from _ask(index, parts, terms, references, verdict, onward)
        if not record.accepted:
            run.refuse(record)
            refused.append(record)
            if len(refused) > settings.patience or index + course.step == course.barrier:
                break
            tapered = np.count_nonzero(last) < settings.taper * largest
            if tapered or not _worth_a_look(terms, (seed, course.start), (last, last_index), index + course.step):
                break
            continue
        _bridge(run, refused, last_index, last, index, result.mask, terms)
        refused = []
        confidence.accept(record.predicted_iou)
        before, parts = len(parts), parts_of(result.mask, settings)
        run.accept(replace(record, components=len(parts), note=_change(before, len(parts))), result.mask)
        last, last_index, largest = result.mask, index, max(largest, record.area)
    run.end = refused[0].reason if refused else course.reason


def _ask(
    index: int, parts: list[np.ndarray], terms: Terms, references: tuple[Any, ...],
    verdict: Callable[[int, SliceResult], SliceRecord], onward: range,
) -> Generator[Request, SliceResult, tuple[SliceResult, SliceRecord]]:  # fmt: skip
    """The model's answer and what becomes of it.

    A model that is shown what the object looks like sometimes finds it gone too early. Where the answer is refused, it
    is asked once more without, and believed if the pixels under its mask look like the object.
    """
    result = yield from predict_from(index, parts, terms, references, onward)
    record = verdict(index, result)
    if record.accepted or not references:
        return result, record
    plain = yield from predict_from(index, parts, terms)
    second = verdict(index, plain)
    if second.accepted and second.appearance is not None and abs(second.appearance - 1) <= CLOSE:
        return plain, second
    return result, record


def _worth_a_look(terms: Terms, seed: tuple[np.ndarray, int], last: tuple[np.ndarray, int], beyond: int) -> bool:
    """False when the slice behind a refused one visibly lacks the object: it would be encoded for nothing.

    An object that stood out on its seed slice and does not any more on the last one was lost there already.
    """
    if terms.goes_on is None:
        return True
    answer = terms.goes_on(*last, beyond)
    return terms.goes_on(*seed, last[1]) is None if answer is None else answer


def _bridge(
    run: Run, refused: list[SliceRecord], low: int, last: np.ndarray, high: int, mask: np.ndarray, terms: Terms
) -> None:
    if not refused:
        return
    blend = ShapeBlend(last, mask, terms.pixel_spacing)
    for record in refused:
        shape = blend.at((record.index - low) / (high - low))
        if shape.any():
            run.accept(replace(record, reason=records.INTERPOLATED, rejected=record.reason), shape)


def _change(before: int, now: int) -> str:
    if before == now:
        return ""
    return f"{'split' if now > before else 'merged or lost parts'}: {before} -> {now} parts"
