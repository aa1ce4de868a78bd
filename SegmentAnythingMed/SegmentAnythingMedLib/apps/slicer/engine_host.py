"""What lives in the worker's thread: the model, and a session per volume and axis. Numpy and plain values only.

Every public method takes a frozen request and the job that it runs in, and returns a frozen result; nothing here knows
what a scene is. A prediction is a function of the prompts alone, not of the order in which they were given: the same
prompts give the same mask again after a reload, and on the command line.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import PromptError
from ...progress import Progress
from .plans import facts_of, marks_of, plans, resolved, voxels_sha256
from .requests import (
    CandidatesRequest,
    CandidatesResult,
    Decided,
    EstimateRequest,
    Facts,
    Foretold,
    ModelChoice,
    PredictRequest,
    PredictResult,
    PropagateRequest,
    PropagateResult,
    Scan,
)
from .worker import Job, as_library_error

if TYPE_CHECKING:  # numpy and torch are there when the first job runs, not when the module is loaded
    from ...engine.session import Session
    from ...propagation.records import Propagation

SESSIONS = 4
"""Sessions kept (a session holds hashes and a reference to its image; the features are in the one bounded cache)."""
PROPAGATIONS = 16
"""Results kept, so that an edit does again only what depends on it; a mask of a 512 x 512 slice is 256 KiB."""


class EngineHost:
    """Model and sessions behind requests; used by one thread at a time.

    Args:
        ram_bytes: bound of the features kept in memory, for all sessions together; None is the cache's own.
        open_model: ``(name or path, device) -> model``; the catalogue's by default.
    """

    def __init__(self, ram_bytes: int | None = None, open_model: Any = None) -> None:
        self._ram_bytes, self._open_model = ram_bytes, open_model
        self._cache: Any = None
        self._choice: ModelChoice | None = None
        self._model: Any = None
        self._sessions: OrderedDict[tuple, Session] = OrderedDict()
        self._mappings: OrderedDict[tuple, Any] = OrderedDict()
        self._hashes: dict[str, str] = {}
        self._propagations: OrderedDict[tuple[str, str], Propagation] = OrderedDict()

    def prepare(self, scan: Scan | None, model: ModelChoice, job: Job) -> Facts | None:
        """Open the model, and a session when there is a scan, before the first prompt is there."""
        with self._memory():
            if scan is None:
                self._opened(model, job.progress)
                return None
            return self._facts(self._session(scan, model, job.progress), hashed=True)

    def predict(self, request: PredictRequest, job: Job) -> PredictResult:
        """Masks of the prompted slices of one object.

        Raises:
            PromptError: ``prompt.*``.
            InputError: ``option.*``.
            ModelError: ``model.*``, ``checkpoint.*``.
            DeviceError: ``device.*``.
            Cancelled: when it was cancelled before the first slice was done.
        """
        from ..pipelines import segment_prompted

        progress = job.progress
        with self._memory():
            session = self._session(request.scan, request.model, progress)
            seeds = resolved(request.prompts, session.stack)
            marks = marks_of(seeds)
            wanted = {index: seeds.seeds[index] for index, mark in marks.items() if request.known.get(index) != mark}
            progress.check()
            progress.start("Segmenting", len(wanted))
            done = segment_prompted(session, replace(seeds, seeds=wanted), progress)
            if not done.completed and not done.records:
                progress.check()
            return PredictResult(
                axis=session.stack.axis, shape=session.shape, masks=done.masks, records=done.records, marks=marks,
                stops=seeds.stops, notes=(*done.notes, *session.lean.notes), facts=self._facts(session),
                completed=done.completed,
            )  # fmt: skip

    def candidates(self, request: CandidatesRequest, job: Job) -> CandidatesResult:
        """SAM's three masks for the prompts of one slice, best first.

        Raises:
            PromptError: ``prompt.none`` when the slice has no prompt that a model could use; and as :meth:`predict`.
        """
        with self._memory():
            session = self._session(request.scan, request.model, job.progress)
            seeds = resolved(request.prompts, session.stack)
            if request.index not in seeds.seeds or request.index in seeds.drawn:
                raise PromptError("prompt.none", f"Expected a point or a box on slice {request.index}; got none.")
            job.progress.check()
            found = session.candidates(request.index, seeds.seeds[request.index])
            return CandidatesResult(
                axis=session.stack.axis, index=request.index, mark=marks_of(seeds)[request.index],
                masks=tuple(one.mask for one in found),
                predicted_iou=tuple(float(one.predicted_iou) for one in found),
            )  # fmt: skip

    def propagate(self, request: PropagateRequest, job: Job) -> PropagateResult:
        """Walk from the prompts of one or several objects through the slices.

        The job is told a :class:`~.requests.Foretold` where that can be said, and a :class:`~.requests.Decided` for
        every decided slice. An object whose prompts cannot be used
        is in ``errors``; the others go on. After a cancel the result holds what was done.

        Raises:
            PromptError: when no object can be used; and as :meth:`predict`.
        """
        from ...propagation.walk import propagate_objects

        with self._memory():
            session = self._session(request.scan, request.model, job.progress)
            seeds, settings, errors = plans(request, session)
            known = {name: self._propagations.get((session.key, name)) for name in seeds if request.reuse}
            previous = {name: one for name, one in known.items() if one is not None}
            if not previous:
                self._foretell(session, seeds, settings, request.engine, job)
            encodes = session.counters.encodes
            results = propagate_objects(
                session, seeds, settings, job.progress, previous,
                listener=lambda name, decided: job.tell(Decided(name, session.stack.axis, decided)),
                engine=request.engine,
            )  # fmt: skip
            for name, result in results.items():
                self._keep((session.key, name), result)
            lean = tuple(session.lean.notes)
            results = {name: replace(one, notes=(*one.notes, *lean)) for name, one in results.items()}
            return PropagateResult(
                axis=session.stack.axis, shape=session.shape, results=results, seeds=seeds, errors=errors,
                scopes={name: one.limits or (0, session.count - 1) for name, one in settings.items()},
                facts=self._facts(session, hashed=True), encodes=session.counters.encodes - encodes,
            )  # fmt: skip

    def estimate(self, request: EstimateRequest, job: Job) -> Mapping[str, Any]:
        """Seconds and bytes that a propagation would take, measured on the middle slice.

        Returns:
            As :func:`~SegmentAnythingMedLib.apps.describe.estimate_cost`, and ``slices`` and ``seconds`` for the
            slices within the limits.
        """
        from ..describe import estimate_cost

        with self._memory():
            session = self._session(request.scan, request.model, job.progress)
            job.progress.start("Measuring the model on one slice")
            cost = estimate_cost(session.volume, self._model, session.stack.axis, session.mapping)
            low, high = request.limits or (0, session.count - 1)
            slices = max(min(high, session.count - 1) - max(low, 0) + 1, 0)
            seconds = round(cost["seconds_per_slice"] * slices, 2)
            return {**cost, "slices": slices, "seconds": seconds, "most_slices": slices, "most_seconds": seconds}

    @contextmanager
    def lent(self, choice: ModelChoice, progress: Progress) -> Iterator[Any]:
        """The open model for a job of another kind; after a lack of memory features are let go, as for all jobs.

        Raises:
            ModelError, DeviceError: of the model.
        """
        with self._memory():
            yield self._opened(choice, progress)

    def _foretell(
        self, session: Session, seeds: Mapping[str, Any], settings: Mapping[str, Any], engine: str, job: Job
    ) -> None:
        """Tell what a walk will take, from what its session has done before."""
        from ...propagation.engines import MEMORY, choose_engine
        from ..estimate import estimate_job

        rules = next(iter(settings.values()))
        memory = choose_engine(session, rules, engine) == MEMORY
        found = estimate_job(session, seeds, rules.limits, memory, try_out=False)
        if found is not None:
            job.tell(Foretold(found.to_json()))

    def forget(self, job: Job | None = None) -> None:
        """Let go of images and results (the scene was closed); the model stays open."""
        for session in self._sessions.values():
            session.close()
        for kept in (self._sessions, self._mappings, self._hashes, self._propagations):
            kept.clear()
        self._free()

    def forget_volume(self, revisions_from: str, job: Job | None = None) -> None:
        """Let go of the images whose revision begins so (a volume was removed); features stay in the bounded cache."""
        for key in [key for key in self._sessions if key[0].startswith(revisions_from)]:
            session = self._sessions.pop(key)
            for result in [result for result in self._propagations if result[0] == session.key]:
                del self._propagations[result]
            self._hashes.pop(session.key, None)
            session.close()

    @property
    def model(self) -> Any:
        """The open model, or None."""
        return self._model

    def _opened(self, choice: ModelChoice, progress: Progress) -> Any:
        if self._model is not None and choice == self._choice:
            return self._model
        self.forget()
        self._model = self._choice = None  # two large models at once may not fit
        self._free()
        progress.check()
        progress.start("Opening the model")
        if self._open_model is None:
            from ...models.catalog import load_model

            self._open_model = load_model
        self._model = self._open_model(choice.name, choice.device)
        self._choice = choice
        return self._model

    def _session(self, scan: Scan, choice: ModelChoice, progress: Progress) -> Session:
        from ...engine.features import FeatureCache
        from ...engine.session import Session
        from ...space.intensity import IntensityMapping, estimate_mapping
        from ...space.planes import SliceStack

        model = self._opened(choice, progress)
        if self._cache is None:
            self._cache = FeatureCache() if self._ram_bytes is None else FeatureCache(self._ram_bytes)
        axis = SliceStack(scan.volume, scan.axis).axis
        key = (scan.revision, axis, scan.window)
        session = self._sessions.get(key)
        if session is None:
            mapping = scan.window if isinstance(scan.window, IntensityMapping) else self._mappings.get(key[::2])
            if mapping is None:
                progress.start("Reading intensities")
                mapping = self._mappings[key[::2]] = estimate_mapping(scan.volume, scan.window)
            session = self._sessions[key] = Session(scan.volume, model, axis=axis, window=mapping, cache=self._cache)
        self._sessions.move_to_end(key)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)[1].close()
        while len(self._mappings) > SESSIONS:
            self._mappings.popitem(last=False)
        return session

    def _keep(self, key: tuple[str, str], result: Propagation) -> None:
        self._propagations[key] = result
        self._propagations.move_to_end(key)
        while len(self._propagations) > PROPAGATIONS:
            self._propagations.popitem(last=False)

    def _facts(self, session: Session, hashed: bool = False) -> Facts:
        if hashed and session.key not in self._hashes:  # reads the whole image: not while somebody waits for a mask
            self._hashes[session.key] = voxels_sha256(session.volume)
        return facts_of(
            session.model, session.volume, session.mapping, session.stack.axis, self._hashes.get(session.key, "")
        )

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """After a lack of memory features are let go, and the session lives on."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:  # torch has a class of its own for the GPU only
            lack = as_library_error(error)
            if lack.code != "device.memory":
                raise
            self._propagations.clear()
            self._free()
            raise lack from None

    def _free(self) -> None:
        """Not with ``gc.collect``: in this thread it would take apart nodes and widgets of the main thread, too."""
        if self._cache is not None:
            self._cache.clear()
        if self._model is not None and str(self._model.device).startswith("cuda"):
            import torch

            torch.cuda.empty_cache()
