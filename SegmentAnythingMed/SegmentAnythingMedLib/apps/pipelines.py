"""Whole jobs as Python functions: what the command line, Slicer and a server have in common.

volume + prompts + model -> labels on the volume's grid, with the reason of every slice
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import Cancelled, DeviceError, PromptError, is_lack_of_memory
from ..progress import Progress
from ..prompts.resolve import resolve
from ..prompts.seeds import ObjectSeeds
from ..prompts.volume_prompts import Prompt, VolumePrompts
from ..propagation import records
from ..propagation.engines import AUTO, MEMORY, check_engine, choose_engine
from ..propagation.memory_settings import MemorySettings
from ..propagation.records import Propagation, SliceRecord
from ..propagation.settings import PropagationSettings
from ..space.intensity import IntensityMapping, estimate_mapping
from ..space.planes import SliceStack
from ..space.volume import Volume

if TYPE_CHECKING:  # prompts and settings are checked before torch is imported
    from ..engine.features import FeatureCache
    from ..engine.session import Counters, Session
    from ..models.interface import PromptableModel
    from .estimate import Estimate

NOT_PROPAGATED = "not propagated"
"""End of an object that was segmented on its prompted slices only."""


@dataclass(frozen=True)
class Remark:
    """Something the user should know.

    Attributes:
        source: ``image``, ``intensity``, ``model``, ``prompts``, ``propagation``, ``structures``,
            ``output`` or ``job``.
        text: one or two sentences.
        object: whom it concerns, or None.
    """

    source: str
    text: str
    object: str | None = None

    def __str__(self) -> str:
        return self.text if self.object is None else f"{self.object}: {self.text}"


PROJECTION_UNUSED = Remark(
    "propagation", "The projection was not used: this model remembers the object. Use --engine prompt for projections."
)
CANCELLED = Remark("job", "Cancelled: the masks are what was finished before.")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What :func:`segment_volume` returns.

    Attributes:
        labels: uint8 or uint16 [K, J, I] on the volume's grid; 0 is background.
        values: object -> its label, 1, 2, ... in the order of the prompts.
        results: object -> masks and records.
        seeds: object -> prompts on slices.
        prompts: as given.
        stack: the slices.
        mapping: intensities.
        settings: of the propagation, as they were used.
        propagated: False if only prompted slices were segmented.
        engine: ``prompt`` or ``memory``; None if nothing was propagated.
        model: the model that was used.
        counters: encodes, decodes and their times.
        remarks: everything the user should know.
        completed: False after a cancel.
        seconds: wall time by step (``model``, ``segment``).
    """

    labels: np.ndarray
    values: dict[str, int]
    results: dict[str, Propagation]
    seeds: dict[str, ObjectSeeds]
    prompts: VolumePrompts
    stack: SliceStack
    mapping: IntensityMapping
    settings: PropagationSettings
    propagated: bool
    engine: str | None
    model: PromptableModel
    counters: Counters
    remarks: tuple[Remark, ...]
    completed: bool
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def volume(self) -> Volume:
        """What was segmented."""
        return self.stack.volume

    def millilitres(self, name: str) -> float:
        """Volume of an object in ``labels``."""
        return int(np.count_nonzero(self.labels == self.values[name])) * self.volume.voxel_ml


def segment_volume(
    volume: Volume,
    prompts: VolumePrompts | Sequence[Prompt],
    model: PromptableModel | str | os.PathLike[str] = "built-in",
    *,
    device: str = "auto",
    family: str | None = None,
    axis: str = "auto",
    window: str | IntensityMapping = "auto",
    settings: PropagationSettings | None = None,
    engine: str = AUTO,
    propagate: bool = True,
    progress: Progress | None = None,
    cache: FeatureCache | None = None,
    estimated: Callable[[Estimate], None] | None = None,
) -> Segmentation:
    """Segment one or several objects of a volume from prompts.

    Prompts and settings are checked before the model is opened. Where objects overlap, the later one wins.

    Args:
        volume: never modified.
        prompts: for several objects, or a list of prompts for one.
        model: an open model, or a name or path for ``load_model``.
        device, family: for a model given by name or path, see ``load_model``.
        axis, window: of the slices, see ``Session``.
        settings: of the propagation (``MemorySettings`` for what only the memory engine knows); defaults when None.
        engine: ``prompt``, ``memory`` (SAM 2, MedSAM2), or ``auto``: memory for models that have it.
        propagate: False segments the prompted slices only.
        progress: told of every step; after its ``cancel`` what is done is returned with ``completed`` False.
        cache: of features, to share between calls.
        estimated: told what the propagation will take before it begins, from slices that it needs first anyway.

    Raises:
        PromptError: ``prompt.*``; ``prompt.no_mask`` when the model found none of the objects.
        InputError, ModelError: ``option.*``; ``model.*``, ``checkpoint.*``.
        DeviceError: ``device.*``; ``device.memory`` when memory of machine or GPU is, or would be, too small.
        Cancelled: when there is nothing to keep yet.
    """
    check_engine(engine)
    progress, settings = progress or Progress(), settings or PropagationSettings()
    prompts = prompts if isinstance(prompts, VolumePrompts) else VolumePrompts.single(prompts)
    stack = SliceStack(volume, axis)
    seeds = resolve(prompts, stack)
    window = _mapping(volume, window, progress)
    model, seconds = _opened(model, device, family, progress)
    from ..engine.session import Session

    session = Session(volume, model, axis=stack.axis, window=window, cache=cache)
    used, settings = _engine(session, settings, engine) if propagate else (None, settings)
    begun = time.perf_counter()
    results = _run(session, seeds, settings, used, progress, estimated)
    completed, (labels, values, overlaps) = _check_found(results), combine(results, stack)
    seconds["segment"] = time.perf_counter() - begun
    remarks = (*_remarks(session, seeds, results, settings), *overlaps, *(() if completed else (CANCELLED,)))
    return Segmentation(
        labels, values, results, seeds, prompts, session.stack, window, settings, propagate, used, model,
        session.counters, remarks, completed, seconds,
    )  # fmt: skip


def _mapping(volume: Volume, window: str | IntensityMapping, progress: Progress) -> IntensityMapping:
    if isinstance(window, IntensityMapping):
        return window
    progress.start("Reading intensities")
    return estimate_mapping(volume, window)


def _opened(
    model: PromptableModel | str | os.PathLike[str], device: str, family: str | None, progress: Progress
) -> tuple[PromptableModel, dict[str, float]]:
    """The model, and how long it took to open."""
    progress.check()
    begun = time.perf_counter()
    if isinstance(model, (str, os.PathLike)):
        progress.start("Opening the model")
        from ..models.catalog import load_model

        model = load_model(model, device, family)
    return model, {"model": time.perf_counter() - begun}


def _engine(session: Session, settings: PropagationSettings, wish: str) -> tuple[str, PropagationSettings]:
    """The engine that is used, and its settings."""
    used = choose_engine(session, settings, wish)
    return used, MemorySettings.of(settings) if used == MEMORY else settings


def _estimate(
    session: Session,
    seeds: Mapping[str, ObjectSeeds],
    settings: PropagationSettings,
    engine: str,
    progress: Progress,
    estimated: Callable[[Estimate], None],
) -> None:
    from .estimate import check_memory, estimate_job

    progress.start("Measuring the model on the first slices")
    found = estimate_job(session, seeds, settings.limits, engine == MEMORY)
    estimated(found)
    check_memory(found)


def _run(
    session: Session,
    seeds: Mapping[str, ObjectSeeds],
    settings: PropagationSettings,
    engine: str | None,
    progress: Progress,
    estimated: Callable[[Estimate], None] | None,
) -> dict[str, Propagation]:
    from ..propagation.walk import propagate_objects

    try:
        if estimated is not None and engine is not None:
            _estimate(session, seeds, settings, engine, progress, estimated)
        if engine is not None:
            return propagate_objects(session, seeds, settings, progress, engine=engine)
        progress.start("Segmenting", sum(len(one.seeds) for one in seeds.values()))
        return {name: segment_prompted(session, one, progress) for name, one in seeds.items()}
    except (MemoryError, RuntimeError) as error:
        if is_lack_of_memory(error):
            raise _out_of_memory("The GPU" if "CUDA" in str(error) else "The machine") from None
        raise


def _out_of_memory(who: str) -> DeviceError:
    return DeviceError(
        "device.memory",
        f"{who} has too little free memory for this model and image; close other programs, choose a smaller model, or "
        "use --device cpu.",
    )


def segment_prompted(session: Session, seeds: ObjectSeeds, progress: Progress) -> Propagation:
    """Masks of the prompted slices, without a walk; a cancel keeps what is done (``completed`` is False then)."""
    masks: dict[int, np.ndarray] = {}
    found: dict[int, SliceRecord] = {}
    notes, completed = list(seeds.notes), True
    for index, prompts in sorted(seeds.seeds.items()):
        if progress.cancelled:
            completed = False
            break
        if index in seeds.drawn and prompts.mask is not None:
            mask = np.array(prompts.mask, dtype=bool)
            found[index] = SliceRecord(index, records.DRAWN, area=int(np.count_nonzero(mask)))
        else:
            answer = session.predict(index, prompts)
            mask = answer.mask
            reason = records.SEED if mask.any() else records.STOPPED_ABSENT
            area = int(np.count_nonzero(mask))
            found[index] = SliceRecord(index, reason, area=area, predicted_iou=float(answer.predicted_iou))
        if mask.any():
            masks[index] = mask
        else:
            notes.append(f"The model found nothing for the prompts on slice {index}.")
        progress.advance()
    return Propagation(
        session.count, session.shape, masks, found, min(masks, default=None), max(masks, default=None),
        NOT_PROPAGATED, NOT_PROPAGATED, completed, tuple(notes),
    )  # fmt: skip


def _check_found(results: Mapping[str, Propagation]) -> bool:
    """True when all objects are complete; an error when there is no mask at all."""
    completed = all(result.completed for result in results.values())
    if any(result.masks for result in results.values()):
        return completed
    if not completed:
        raise Cancelled("Cancelled before anything was finished; nothing was written.")
    slices = sorted({index for result in results.values() for index in result.records})
    raise PromptError(
        "prompt.no_mask",
        f"The model found no object for the prompts on slice {', '.join(map(str, slices[:9]))}. Nothing was changed; "
        "move the prompt or add a point or a box.",
    )


def combine(
    results: Mapping[str, Propagation], stack: SliceStack
) -> tuple[np.ndarray, dict[str, int], tuple[Remark, ...]]:
    """Masks of several objects as one label volume.

    Returns:
        labels uint8 (uint16 beyond 255 objects) [K, J, I]; object -> label, 1, 2, ...; a remark for every object that
        lost voxels to a later one.
    """
    labels = np.zeros(stack.volume.shape, dtype=np.uint8 if len(results) < 256 else np.uint16)
    values = {name: n for n, name in enumerate(results, 1)}
    lost: dict[int, int] = {}
    for name, result in results.items():
        for index, mask in result.masks.items():
            plane = stack.mask_slice(labels, index)
            for value, count in zip(*np.unique(plane[mask], return_counts=True), strict=True):
                lost[int(value)] = lost.get(int(value), 0) + int(count)
            plane[mask] = values[name]
    remarks = tuple(
        Remark("output", f"{lost[value]} voxels also belong to a later object, which got them.", name)
        for name, value in values.items()
        if lost.get(value)
    )
    return labels, values, remarks


def _remarks(
    session: Session,
    seeds: Mapping[str, ObjectSeeds],
    results: Mapping[str, Propagation],
    settings: PropagationSettings,
) -> tuple[Remark, ...]:
    found = [Remark("image", note) for note in session.volume.notes]
    found += [Remark("intensity", note) for note in session.mapping.notes]
    found += [Remark("model", note) for note in getattr(session.model, "notes", ())]
    found += [Remark("job", note) for note in session.lean.notes]
    if isinstance(settings, MemorySettings) and settings.projection != MemorySettings().projection:
        found.append(PROJECTION_UNUSED)
    for name, result in results.items():
        who = name if len(results) > 1 else None
        given = seeds[name].notes
        found += [Remark("prompts", note, who) for note in given]
        # a propagation repeats the notes of its seeds
        found += [Remark("propagation", note, who) for note in result.notes if note not in given]
    return tuple(found)
