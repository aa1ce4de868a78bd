"""Propagate prompts through a stack of slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..engine.predictor import Request, SlicePredictor, SliceResult
from ..engine.tracking import PromptedRequest, TrackedRequest
from ..errors import Cancelled, PromptError
from ..progress import Progress
from ..prompts.seeds import ObjectSeeds
from ..prompts.types import SlicePrompts
from .engines import AUTO, MEMORY, choose_engine
from .job import DOWN, Job
from .memory_job import MemoryJob
from .memory_settings import MemorySettings
from .records import Propagation, SliceRecord
from .settings import PropagationSettings

Seeds = ObjectSeeds | Mapping[int, SlicePrompts]
Asked = Request | PromptedRequest | TrackedRequest
Decided = Mapping[int, tuple[SliceRecord, np.ndarray | None]]
Listener = Callable[[str, Decided], None]
"""Told, after every answer that decided something: object, slice -> (record, mask or None where there is none)."""


def propagate(
    predictor: SlicePredictor,
    seeds: Seeds,
    settings: PropagationSettings | None = None,
    progress: Progress | None = None,
    previous: Propagation | None = None,
    engine: str = AUTO,
) -> Propagation:
    """Segment one object through the slices, from prompts on some of them.

    Between seeds every slice is filled; outward the walk goes on until the object ends (spec of the engine, 1.8).

    Args:
        predictor: model and volume.
        seeds: slice -> prompts, or :class:`ObjectSeeds` with stop marks and drawn slices.
        settings: defaults of the engine when None; :class:`MemorySettings` for what only the memory engine knows.
        progress: told of every decoded slice; its ``cancel`` ends the walk and keeps what is done.
        previous: an earlier result of the same predictor; only what an edit of seeds, stop marks or settings affects
            is done again.
        engine: ``prompt`` (the last mask prompts the next slice), ``memory`` (SAM 2 remembers the object), or ``auto``:
            memory for models that have it.

    Returns:
        Masks and a record per slice; ``completed`` is False after a cancel.

    Raises:
        PromptError: ``prompt.none``, ``prompt.only_negative``, ``prompt.outside``, ``prompt.empty``,
            ``prompt.wrong_volume``, ``prompt.outside_limits``; ``prompt.no_mask`` when the model found nothing.
        InputError: ``option.engine``, see :func:`~SegmentAnythingMedLib.propagation.engines.choose_engine`.
    """
    before = None if previous is None else {"object": previous}
    result = propagate_objects(predictor, {"object": seeds}, settings, progress, before, engine=engine)["object"]
    if result.completed and not result.masks:
        slices = ", ".join(map(str, sorted(ObjectSeeds.of(seeds).seeds)))
        raise PromptError(
            "prompt.no_mask",
            f"The model found no object for the prompts on slice {slices}. Nothing was changed; move the prompt or add "
            "a point or a box.",
        )
    return result


def propagate_objects(
    predictor: SlicePredictor,
    objects: Mapping[str, Seeds],
    settings: PropagationSettings | Mapping[str, PropagationSettings] | None = None,
    progress: Progress | None = None,
    previous: Mapping[str, Propagation] | None = None,
    listener: Listener | None = None,
    engine: str = AUTO,
) -> dict[str, Propagation]:
    """Segment several objects together, so that each slice is encoded once for all of them.

    The objects do not see each other: masks may overlap. Arguments and errors as in :func:`propagate`; an object for
    which the model found nothing has no masks and a note, the others go on. ``settings`` may be given per object.
    ``listener`` hears of every slice as soon as it is decided (a later answer may decide it anew); runs that are taken
    over from ``previous`` are in the result only.
    """
    if not objects:
        raise PromptError("prompt.none", "Expected at least one object with a prompt; got none.")
    settings, progress = settings or PropagationSettings(), progress or Progress()
    each = settings if isinstance(settings, Mapping) else dict.fromkeys(objects, settings)
    jobs = {
        name: _job(predictor, ObjectSeeds.of(seeds), each[name], (previous or {}).get(name), engine)
        for name, seeds in objects.items()
    }
    tracking = [job for job in jobs.values() if isinstance(job, MemoryJob)]
    for job in tracking:
        job.earliest = min(one.earliest for one in tracking)
    progress.start("Propagating")
    completed = _drive(predictor, jobs, progress, listener)
    return {name: job.result(completed[name]) for name, job in jobs.items()}


def _job(
    predictor: SlicePredictor,
    seeds: ObjectSeeds,
    settings: PropagationSettings,
    previous: Propagation | None,
    engine: str,
) -> Job:
    if choose_engine(predictor, settings, engine) == MEMORY:
        return MemoryJob(predictor, seeds, MemorySettings.of(settings), previous)
    return Job(predictor, seeds, settings, previous)


def _drive(
    predictor: SlicePredictor, jobs: Mapping[str, Job], progress: Progress, listener: Listener | None
) -> dict[str, bool]:
    """Serve all jobs, slice by slice; False for those that a cancel left unfinished."""
    generators = {name: job.requests() for name, job in jobs.items()}
    waiting: dict[str, Asked] = {}
    completed = dict.fromkeys(jobs, False)

    def resume(name: str, answer: SliceResult | None) -> None:
        try:
            waiting[name] = generators[name].send(answer)
        except StopIteration:
            waiting.pop(name, None)
            completed[name] = True
        decided = jobs[name].decided() if listener is not None else None
        if decided:
            listener(name, decided)

    for name in jobs:
        resume(name, None)
    try:
        while waiting:
            progress.check()
            name = min(waiting, key=lambda name: _turn(jobs[name], waiting[name]))
            resume(name, waiting[name].serve(predictor))
            ahead = [job.ahead for name, job in jobs.items() if not completed[name]]
            progress.advance(at_most=None if None in ahead else sum(ahead))
    except Cancelled:
        pass
    return completed


def _turn(job: Job, request: Asked) -> tuple[int, int]:
    """Whoever lags behind goes first, so that objects meet on a slice while its features are at hand."""
    return job.phase, -request.index if job.phase == DOWN else request.index
