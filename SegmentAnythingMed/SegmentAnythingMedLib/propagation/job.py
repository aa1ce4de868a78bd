"""One object's propagation as a generator of requests, made of runs that an edit leaves alone unless it must not."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine.predictor import Request, SlicePredictor, SliceResult
from ..errors import PromptError
from ..prompts.seeds import ObjectSeeds, fingerprint
from ..prompts.types import SlicePrompts
from . import records
from .inside import fill_gap
from .outward import Outward, walk_outward
from .plan import plan
from .published import Annotated, walk_published
from .records import Propagation, Run, SliceRecord
from .settings import PropagationSettings
from .stopping import Terms

SEEDS, INSIDE, UP, DOWN = range(4)
"""Phases of a job, in order; objects in the same phase can share the slices that they visit."""


class Job:
    """The work on one object.

    Args:
        predictor: only its geometry and ``key`` are read.
        seeds: checked here.
        settings: how to walk.
        previous: an earlier result for the same object; its finished runs are used again where nothing that they
            depend on has changed.

    Raises:
        PromptError: see :meth:`ObjectSeeds.check`; ``prompt.outside_limits``.
    """

    run_type: type[Run] = Run

    def __init__(
        self,
        predictor: SlicePredictor,
        seeds: ObjectSeeds,
        settings: PropagationSettings,
        previous: Propagation | None = None,
    ) -> None:
        seeds.check(predictor.count, predictor.shape)
        self.phase = SEEDS
        self._seeds, self._settings = seeds, settings
        # The limits act through the barriers of the walks, which are in their keys.
        self._rules = replace(settings, limits=None)
        self._terms, self._count = Terms.of(settings, predictor), predictor.count
        self._predictor_key = getattr(predictor, "key", "")
        self._known = {} if previous is None else previous.runs
        self._runs: dict[Hashable, Run] = {}
        self._ahead: dict[Hashable, int] = {}
        self._current: Hashable = None
        self._answered = 0
        self._ends = [records.CANCELLED, records.CANCELLED]
        self.notes = list(seeds.notes)
        self._prompts = self._inside_limits()
        self._stops = sorted(seeds.stops - set(self._prompts))
        self._marks = {n: fingerprint(prompts) + str(n in seeds.drawn) for n, prompts in self._prompts.items()}

    def requests(self) -> Generator[Request, SliceResult, None]:
        """Everything that has to be asked, in order; send the answer to each."""
        steps, answer = self._steps(), None
        while True:
            try:
                request = steps.send(answer)
            except StopIteration:
                return
            answer = yield request
            self._answered += 1

    def _steps(self) -> Generator[Request, SliceResult, None]:
        masks: dict[int, np.ndarray] = {}
        for index in sorted(self._prompts):
            run = yield from self._run(
                ("seed", index, self._marks[index], self._settings.full_fraction), self._segment_seed, index
            )
            if index in run.masks:
                masks[index] = run.masks[index]
            else:
                self.notes.append(f"The model found nothing for the prompts on slice {index}; they are left out.")
        if not masks:
            return
        self._note_full(masks)
        if self._settings.as_published:
            yield from self._published(masks)
        else:
            yield from self._ours(masks)

    def result(self, completed: bool) -> Propagation:
        """What is done so far."""
        masks: dict[int, np.ndarray] = {}
        found: dict[int, SliceRecord] = {
            stop: SliceRecord(stop, records.STOPPED_USER) for stop in self._stops if self._within(stop)
        }
        for run in self._runs.values():
            masks.update(run.masks)
            found.update(run.records)
        return Propagation(
            count=self._count,
            shape=self._terms.shape,
            masks=dict(sorted(masks.items())),
            records=dict(sorted(found.items())),
            lower=min(masks, default=None),
            upper=max(masks, default=None),
            end_lower=self._ends[0] if masks or not completed else records.STOPPED_ABSENT,
            end_upper=self._ends[1] if masks or not completed else records.STOPPED_ABSENT,
            completed=completed,
            notes=tuple(self.notes),
            runs=self._runs,
        )

    def decided(self) -> dict[int, tuple[SliceRecord, np.ndarray | None]]:
        """Slices decided since the last call: record, and mask bool [H, W] or None where there is none."""
        found = {}
        for run in self._runs.values():
            found.update((index, (run.records[index], run.masks.get(index))) for index in run.news)
            run.news.clear()
        return found

    @property
    def ahead(self) -> int | None:
        """Slices still to be asked at most; None until the seeds are done. Most walks end long before."""
        if self.phase == SEEDS:
            return None
        return sum(self._ahead.values()) - min(self._answered, self._ahead.get(self._current, 0))

    def _within(self, index: int) -> bool:
        limits = self._settings.limits
        return limits is None or limits[0] <= index <= limits[1]

    def _inside_limits(self) -> dict[int, SlicePrompts]:
        inside = {index: prompts for index, prompts in self._seeds.seeds.items() if self._within(index)}
        if not inside:
            low, high = self._settings.limits
            raise PromptError(
                "prompt.outside_limits",
                f"Expected a prompt within the limits {low} to {high}; all prompts are on other slices: "
                f"{', '.join(map(str, sorted(self._seeds.seeds)))}.",
            )
        self.notes += [
            f"The prompts on slice {index} are outside the limits and left out."
            for index in sorted(set(self._seeds.seeds) - set(inside))
        ]
        return inside

    def _run(
        self, key: tuple, work: Callable[..., Generator[Request, SliceResult, None]], *arguments: Any
    ) -> Generator[Request, SliceResult, Run]:
        """The finished run of this key from before, or the work done now."""
        key = (self._predictor_key, *key)
        run = self._known.get(key)
        if run is not None and run.finished:
            self._runs[key] = run
            self._ahead.pop(key, None)
            run.news.clear()
            return run
        run = self._runs[key] = self.run_type(key)
        self._current, self._answered = key, 0
        yield from work(run, *arguments)
        run.finished = True
        self._ahead.pop(key, None)
        return run

    def _segment_seed(self, run: Run, index: int) -> Generator[Request, SliceResult, None]:
        prompts = self._prompts[index]
        if index in self._seeds.drawn and prompts.mask is not None:
            mask = np.array(prompts.mask, dtype=bool)
            if mask.any():
                run.accept(SliceRecord(index, records.DRAWN, area=int(np.count_nonzero(mask))), mask)
            return
        answer = yield Request(index, prompts, propagated=False)
        area = int(np.count_nonzero(answer.mask))
        score = None if answer.object_score is None else float(answer.object_score)
        numbers = {"area": area, "predicted_iou": float(answer.predicted_iou), "object_score": score}
        if not area:
            run.refuse(SliceRecord(index, records.STOPPED_ABSENT, note="empty answer to a prompt", **numbers))
            return
        note = "covers the whole slice" if self._terms.is_full(answer.mask) else ""
        run.accept(SliceRecord(index, records.SEED, note=note, **numbers), answer.mask)

    def _note_full(self, masks: dict[int, np.ndarray]) -> None:
        self.notes += [
            f"The mask on slice {index} covers the whole slice; it is not propagated outward."
            for index, mask in masks.items()
            if self._terms.is_full(mask)
        ]

    def _ours(self, masks: dict[int, np.ndarray]) -> Generator[Request, SliceResult, None]:
        gaps, walks = plan(sorted(masks), self._stops, self._count, self._settings.limits)
        keys = {
            gap: ("gap", gap.low, gap.high, self._marks[gap.low], self._marks[gap.high], self._rules) for gap in gaps
        }
        keys.update((walk, ("outward", walk, self._marks[walk.start], self._rules)) for walk in walks)
        self._ahead = {(self._predictor_key, *keys[part]): part.most for part in (*gaps, *walks)}
        for gap in gaps:
            self.phase = INSIDE
            pair = (masks[gap.low], masks[gap.high])
            yield from self._run(keys[gap], fill_gap, gap.low, gap.high, pair, self._terms)
        for walk in walks:
            self.phase = UP if walk.step > 0 else DOWN
            run = yield from self._run(keys[walk], walk_outward, walk, masks[walk.start], self._terms)
            self._note_end(walk, run, masks)

    def _note_end(self, walk: Outward, run: Run, masks: dict[int, np.ndarray]) -> None:
        if walk.step < 0 and walk.start == min(masks):
            self._ends[0] = run.end
        elif walk.step > 0 and walk.start == max(masks):
            self._ends[1] = run.end

    def _published(self, masks: dict[int, np.ndarray]) -> Generator[Request, SliceResult, None]:
        self.phase = INSIDE
        annotated, notes = Annotated.of(sorted(masks), self._stops)
        self.notes += notes
        key = ("published", annotated, tuple(self._marks[n] for n in sorted(masks)), self._rules)
        self._ahead = {(self._predictor_key, *key): self._count - len(masks)}
        run = yield from self._run(key, self._walk_published, annotated, masks)
        self._ends = list(run.end.split())

    def _walk_published(
        self, run: Run, annotated: Annotated, masks: dict[int, np.ndarray]
    ) -> Generator[Request, SliceResult, None]:
        ends = yield from walk_published(run, annotated, masks, self._count, self._terms)
        run.end = " ".join(ends)
