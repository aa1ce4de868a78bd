"""One object's propagation with memory, made of runs that an edit leaves alone unless it must not."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Hashable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine.memory_bank import POINTER_REACH, MemoryBank, nearest
from ..engine.predictor import SlicePredictor
from ..engine.tracking import PromptedRequest, TrackedSlice
from ..prompts.projection import mask_bounds
from ..prompts.seeds import ObjectSeeds
from ..prompts.types import SlicePrompts
from . import records
from .job import DOWN, INSIDE, UP, Job
from .memory_published import largest_part, track_video
from .memory_run import MemoryRun
from .memory_settings import MemorySettings
from .memory_walk import track_gap, track_outward
from .outward import Outward
from .plan import Gap, plan
from .records import Propagation, SliceRecord
from .shapes import iou

Steps = Generator[Any, TrackedSlice, None]
NOT_MAIN = "not part of the largest connected part"


class MemoryJob(Job):
    """The work on one object; see :class:`~SegmentAnythingMedLib.propagation.job.Job`.

    Points on a slice that ``previous`` had tracked correct what was found there: they are decoded together with the
    earlier logits and the memory of the other prompted slices, and the slice becomes conditioning. Everything tracked
    from other conditioning slices is done anew with fresh memory, so nothing wrong around the corrected slice stays.

    Attributes:
        earliest: first prompted slice of all objects, where the published rules begin; its own unless set.
    """

    run_type = MemoryRun

    def __init__(
        self,
        predictor: SlicePredictor,
        seeds: ObjectSeeds,
        settings: MemorySettings,
        previous: Propagation | None = None,
    ) -> None:
        super().__init__(predictor, seeds, settings, previous)
        self.earliest = min(self._prompts)
        self._bases = {} if settings.published else _bases(self._prompts, previous)
        self._conditioning: dict[int, Any] = {}

    def _steps(self) -> Steps:
        masks: dict[int, np.ndarray] = {}
        first = [index for index in sorted(self._prompts) if index not in self._bases]
        for index in (*first, *sorted(self._bases)):
            run = yield from self._run(self._seed_key(index, first), self._segment_seed, index, first)
            if index in run.masks:
                masks[index] = run.masks[index]
            if index in run.masks or self._settings.published:
                self._conditioning[index] = run.memories[index]
            else:
                self.notes.append(f"The model found nothing for the prompts on slice {index}; they are left out.")
        if not masks:
            return
        if self._settings.published:
            yield from self._video(masks)
            return
        self._note_full(masks)
        yield from self._tracked(dict(sorted(masks.items())))

    def result(self, completed: bool) -> Propagation:
        """What is done so far."""
        found = super().result(completed)
        if self._settings.published != "medsam2":
            return found
        masks = largest_part(found.masks, found.count, found.shape)
        lost = {
            index: replace(found.records[index], reason=records.STOPPED_ABSENT, note=NOT_MAIN)
            for index in set(found.masks) - set(masks)
        }
        merged = dict(sorted({**found.records, **lost}.items()))
        return replace(
            found, masks=masks, records=merged, lower=min(masks, default=None), upper=max(masks, default=None)
        )

    def _seed_key(self, index: int, first: list[int]) -> tuple:
        settings = self._settings
        key = ("memory seed", index, self._marks[index], settings.masks, settings.prior_iou, settings.full_fraction)
        base = self._bases.get(index)
        if base is None:
            return key
        digest = hashlib.blake2b(np.ascontiguousarray(base).tobytes(), digest_size=16).hexdigest()
        return (*key, digest, *(self._marks[n] for n in first))

    def _segment_seed(self, run: MemoryRun, index: int, first: list[int]) -> Steps:
        prompts = self._prompts[index]
        if index in self._seeds.drawn and prompts.mask is not None:
            yield from self._remember_drawn(run, index, prompts)
            return
        answer = yield self._request(index, prompts, first)
        run.base = self._bases.get(index)
        run.prompted(index, answer)
        area = int(np.count_nonzero(answer.mask))
        numbers = {"area": area, "predicted_iou": answer.predicted_iou, "object_score": answer.object_score}
        if not area:
            run.refuse(SliceRecord(index, records.STOPPED_ABSENT, note="empty answer to a prompt", **numbers))
            return
        note = "covers the whole slice" if self._terms.is_full(answer.mask) else ""
        if run.base is not None:
            note = f"correction; {note}" if note else "correction"
        run.accept(SliceRecord(index, records.SEED, note=note, **numbers), answer.mask)

    def _request(self, index: int, prompts: SlicePrompts, first: list[int]) -> PromptedRequest:
        base, settings = self._bases.get(index), self._settings
        if base is None:
            mask_only = prompts.box is None and not len(prompts.points)
            if mask_only:
                verbatim = settings.masks == "verbatim"
                return PromptedRequest(index, prompts if verbatim else _boxed(prompts), verbatim=verbatim)
            if settings.published and prompts.mask is not None:
                self.notes.append(f"The mask beside other prompts on slice {index} is left out, as published.")
                prompts = replace(prompts, mask=None)
            return PromptedRequest(index, prompts)
        others = {n: self._conditioning[n] for n in first if n in self._conditioning}
        backward = bool(others) and min(others, key=lambda n: abs(n - index)) > index
        bank = MemoryBank(others, self._settings.conditioning_slices) if others else None
        return PromptedRequest(index, prompts, bank=bank, base=base, backward=backward)

    def _remember_drawn(self, run: MemoryRun, index: int, prompts: SlicePrompts) -> Steps:
        """A drawn slice keeps its mask; what is remembered of it is refined or verbatim."""
        mask = np.array(prompts.mask, dtype=bool)
        if not mask.any():
            return
        verbatim, note = self._settings.masks == "verbatim", ""
        answer = yield PromptedRequest(index, prompts if verbatim else _boxed(prompts), verbatim=verbatim)
        if not verbatim and iou(answer.mask, mask) < self._settings.prior_iou:
            note = "remembered as drawn: the model sees something else there"
            answer = yield PromptedRequest(index, prompts, verbatim=True)
        run.prompted(index, answer)
        run.accept(SliceRecord(index, records.DRAWN, area=int(np.count_nonzero(mask)), note=note), mask)

    def _tracked(self, masks: dict[int, np.ndarray]) -> Steps:
        gaps, walks = plan(sorted(masks), self._stops, self._count, self._settings.limits)
        keys = {part: self._part_key(part) for part in (*gaps, *walks)}
        if self._settings.coupled:
            keys.update(
                {walk: (*keys[walk], *self._beside(walk, gaps, walks, keys)) for walk in walks if walk.step < 0}
            )
        self._ahead = {(self._predictor_key, *keys[part]): part.most for part in (*gaps, *walks)}
        for gap in gaps:
            self.phase = INSIDE
            pair = masks[gap.low], masks[gap.high]
            banks = self._bank(range(gap.low + 1, gap.low + POINTER_REACH + 1)), self._bank()
            run = yield from self._run(keys[gap], track_gap, (gap.low, gap.high), pair, banks, self._terms)
            self._keep_left(run, banks[0])
        for walk in walks:
            self.phase = UP if walk.step > 0 else DOWN
            bank = self._bank(range(walk.start + 1, walk.start + POINTER_REACH + 1))
            if walk.step < 0:
                self._take_left(bank, (*gaps, *walks), walk, keys)
            run = yield from self._run(keys[walk], track_outward, walk, masks[walk.start], bank, self._terms)
            if walk.step > 0:
                self._keep_left(run, bank)
            self._note_end(walk, run, masks)

    def _part_key(self, part: Gap | Outward) -> tuple:
        """Everything that a gap or a walk depends on: its ends, the seeds that its slices read, the rules."""
        ends = range(part.low + 1, part.high) if isinstance(part, Gap) else range(
            part.start + part.step, part.barrier, part.step
        )  # fmt: skip
        read = self._read_by(ends)
        seeds = tuple((n, self._seed_mark(n)) for n in read)
        return ("memory", part, seeds, self._rules)

    def _read_by(self, indices: Iterable[int]) -> list[int]:
        most, found = self._settings.conditioning_slices, set()
        for index in indices:
            found |= nearest(index, self._conditioning, most)
            # an unread conditioning slice near by is read as an ordinary one
            found |= {n for n in self._conditioning if abs(n - index) <= POINTER_REACH}
        return sorted(found)

    def _seed_mark(self, index: int) -> Hashable:
        return self._seed_key(index, [n for n in sorted(self._prompts) if n not in self._bases])[2:]

    def _bank(self, keep: range | tuple[()] = ()) -> MemoryBank:
        return MemoryBank(
            self._conditioning, self._settings.conditioning_slices, keep if self._settings.coupled else ()
        )

    def _keep_left(self, run: MemoryRun, bank: MemoryBank) -> None:
        if self._settings.coupled and not run.left:
            run.left = dict(bank.recent)

    def _beside(self, walk: Outward, gaps: list[Gap], walks: list[Outward], keys: dict[Any, tuple]) -> tuple:
        """The part on the other side of a downward walk's start, whose memory it reads."""
        for part in (*gaps, *walks):
            start = part.low if isinstance(part, Gap) else part.start if part.step > 0 else None
            if start == walk.start:
                return (keys[part],)
        return ()

    def _take_left(self, bank: MemoryBank, parts: tuple, walk: Outward, keys: dict[Any, tuple]) -> None:
        if not self._settings.coupled:
            return
        gaps = [part for part in parts if isinstance(part, Gap)]
        walks = [part for part in parts if isinstance(part, Outward)]
        for key in self._beside(walk, gaps, walks, keys):
            run = self._runs.get((self._predictor_key, *key))
            for index, memory in (run.left if run is not None else {}).items():
                if 0 < index - walk.start <= POINTER_REACH:
                    bank.remember(index, memory, -1)

    def _video(self, masks: dict[int, np.ndarray]) -> Steps:
        self.phase = INSIDE
        self.notes += [f"The stop mark on slice {stop} is ignored by the published rules." for stop in self._stops]
        self._stops = []
        settings = self._settings
        seeds = tuple((n, self._seed_mark(n)) for n in sorted(self._conditioning))
        key = ("memory video", settings.published, self.earliest, seeds)
        self._ahead = {(self._predictor_key, *key): self._count + self.earliest}
        run = yield from self._run(key, self._walk_video, masks)
        self._ends = [run.end, run.end]

    def _walk_video(self, run: MemoryRun, masks: dict[int, np.ndarray]) -> Steps:
        reset = self._settings.published == "medsam2"
        yield from track_video(run, self._conditioning, masks, self.earliest, self._count, reset=reset)
        run.end = records.EDGE


def _bases(prompts: dict[int, SlicePrompts], previous: Propagation | None) -> dict[int, np.ndarray]:
    """Slices whose points correct what ``previous`` had tracked there, and the logits that they correct.

    None if no seed slice of before is left: then the points mean something new.
    """
    found: dict[int, np.ndarray] = {}
    runs = [run for run in (previous.runs.values() if previous else ()) if isinstance(run, MemoryRun) and run.finished]
    for index, given in prompts.items():
        if given.box is not None or given.mask is not None:
            continue
        for run in runs:
            if index in run.memories:
                if run.base is not None:
                    found[index] = run.base
            elif index in run.low_res and index in previous.masks:
                found[index] = run.low_res[index]
    seeds_before = {index for run in runs for index in run.memories}
    return found if seeds_before & (set(prompts) - set(found)) else {}


def _boxed(prompts: SlicePrompts) -> SlicePrompts:
    """A mask prompt together with its box, which the decoder refines better than a mask alone."""
    row0, row1, col0, col1 = mask_bounds(prompts.mask)
    return replace(prompts, box=(col0 - 0.5, row0 - 0.5, col1 - 0.5, row1 - 0.5))
