"""Projected prompts and memory compete for every slice outward from a seed; the mask that agrees better wins.

Both are asked on every slice. Each answer is judged by the rules of its own engine; of what is left the one with the
higher score (agreement with the neighbouring masks and predicted IoU) is kept. It becomes the prompt of the next slice
and the memory of this one, whoever gave it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..engine.look_ahead import after
from ..engine.memory_bank import MemoryBank
from ..engine.predictor import SliceResult
from ..engine.tracking import PromptedRequest, TrackedRequest, TrackedSlice
from ..prompts.types import SlicePrompts
from . import records
from .evidence import Appearance, Confidence
from .memory_run import MemoryRun
from .memory_walk import ABSENT, _bridge, judge_tracked
from .outward import Outward
from .records import SliceRecord
from .shapes import iou
from .step import parts_of, predict_from
from .stopping import Terms, judge

PROMPT, MEMORY = "prompt", "memory"
_NUMBERS = ("iou", "area", "area_ratio", "predicted_iou", "appearance", "object_score")

Steps = Generator[Any, Any, None]


@dataclass(frozen=True)
class CompetingRecord(SliceRecord):
    """One slice for which two engines competed.

    Attributes:
        engine: whose mask it is, ``prompt`` or ``memory``; None where there is none.
        candidates: engine -> reason (what its own rules say of its mask), score and numbers.
    """

    engine: str | None = None
    candidates: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls, record: SliceRecord, candidates: tuple[Candidate, ...], engine: str | None = None, **changes: Any
    ) -> CompetingRecord:
        """A record together with what competed."""
        known = {one.name: getattr(record, one.name) for one in fields(SliceRecord)}
        return cls(**{**known, **changes}, engine=engine, candidates={one.engine: one.told() for one in candidates})


@dataclass(frozen=True, eq=False)
class Candidate:
    """One engine's answer on a slice.

    Attributes:
        engine: ``prompt`` or ``memory``.
        result: the answer.
        record: what the rules of its own engine say of it.
        score: agreement and predicted quality, 0..1.
    """

    engine: str
    result: SliceResult
    record: SliceRecord
    score: float

    def told(self) -> dict[str, Any]:
        """Plain values for the record of the slice."""
        numbers = {name: getattr(self.record, name) for name in _NUMBERS}
        known = {name: value for name, value in numbers.items() if value is not None}
        told = {"reason": self.record.reason, "score": self.score, **known}
        return {name: round(value, 5) if isinstance(value, float) else value for name, value in told.items()}


def agreement(mask: np.ndarray, neighbours: tuple[np.ndarray, ...]) -> float:
    """Mean over the neighbouring masks of IoU and of the smaller area over the larger one, 0..1."""
    area, found = np.count_nonzero(mask), []
    for other in neighbours:
        both = area, np.count_nonzero(other)
        found.append((iou(mask, other) + (min(both) / max(both) if all(both) else 0.0)) / 2)
    return float(np.mean(found))


def score_of(result: SliceResult, neighbours: tuple[np.ndarray, ...], terms: Terms) -> float:
    """Agreement and predicted quality, weighed by the settings."""
    share = terms.settings.agreement
    return share * agreement(result.mask, neighbours) + (1 - share) * float(result.predicted_iou)


def choose(prompt: Candidate, memory: Candidate, terms: Terms) -> Candidate | None:
    """The better of two candidates for a slice; None when the slice gets no mask.

    A refused one is out. Where the memory says that the object is absent, the other must be good to be believed. Of
    equals the memory's is taken.
    """
    if not prompt.record.accepted:
        return memory if memory.record.accepted else None
    if memory.record.reason in ABSENT:
        return prompt if prompt.score >= terms.settings.against_absence else None
    if not memory.record.accepted:
        return prompt
    return prompt if prompt.score > memory.score else memory


def compete_outward(run: MemoryRun, course: Outward, seed: np.ndarray, bank: MemoryBank, terms: Terms) -> Steps:
    """Fill ``run`` from the slice beside the seed outward; arguments as ``memory_walk.track_outward``.

    What ends the walk is as there: more than ``patience`` slices on which both candidates are refused. The reason is
    the memory's.
    """
    direction = records.FORWARD if course.step > 0 else records.BACKWARD
    last, last_index, parts = seed, course.start, parts_of(seed, terms.settings)
    refused: list[SliceRecord] = []
    if terms.is_full(seed):
        run.end = records.STOPPED_FULL
        return
    confidence, looks = Confidence(terms, seed, course.start), Appearance(terms, seed, course.start)
    for index in course.slices:
        tracked = yield TrackedRequest(index, bank, course.step < 0, after(course.slices, index))
        projected = yield from predict_from(index, parts, terms)
        lost, steps = any(one.reason in ABSENT for one in refused), abs(index - last_index)
        memory = judge_tracked(terms, last, index, tracked, direction, steps, lost)
        prompt = judge(
            terms, last, index, projected, direction, steps, confidence.least(index), looks.share(projected.mask, index)
        )
        both = (
            Candidate(PROMPT, projected, prompt, score_of(projected, (last,), terms)),
            Candidate(MEMORY, tracked, memory, score_of(tracked, (last,), terms)),
        )
        chosen = choose(*both, terms)
        if chosen is None:
            record = CompetingRecord.of(memory if not memory.accepted else prompt, both)
            if record.reason in ABSENT:
                bank.remember(index, tracked.memory, course.step)
            run.refuse(record)
            refused.append(record)
            if len(refused) > terms.settings.patience:
                break
            continue
        mask = chosen.result.mask
        if refused and not lost:
            _bridge(run, refused, (last_index, last), (index, mask), terms)
        note = "reappears" if lost else ""
        refused = []
        if prompt.accepted:
            confidence.accept(prompt.predicted_iou)
        parts = parts_of(mask, terms.settings)
        run.accept(CompetingRecord.of(chosen.record, both, chosen.engine, note=note, components=len(parts)), mask)
        known = yield from remembered(chosen, index)
        bank.remember(index, known.memory, course.step)
        run.low_res[index] = known.low_res
        last, last_index = mask, index
    run.end = refused[0].reason if refused else course.reason


def remembered(chosen: Candidate, index: int) -> Generator[PromptedRequest, TrackedSlice, TrackedSlice]:
    """What a slice leaves behind with the chosen mask; one more question when that is not the memory's own."""
    if chosen.engine == MEMORY:
        return chosen.result
    return (yield PromptedRequest(index, SlicePrompts(mask=chosen.result.mask), verbatim=True))
