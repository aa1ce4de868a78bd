"""What the main thread asks the worker, and what comes back: numpy data and plain values, nothing of the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ...errors import SegmentAnythingMedError
    from ...prompts.seeds import ObjectSeeds
    from ...prompts.volume_prompts import Prompt
    from ...propagation.records import Propagation, SliceRecord
    from ...propagation.settings import PropagationSettings
    from ...space.intensity import IntensityMapping
    from ...space.volume import Volume

DIRECTIONS = ("both", "up", "down")


@dataclass(frozen=True, eq=False)
class Scan:
    """What the network looks at.

    Attributes:
        volume: a view of the voxels; never written to.
        revision: changes with voxels, geometry and frame; names the sessions that may be used again.
        axis: ``k``, ``j``, ``i``, ``auto``.
        window: see ``estimate_mapping``.
    """

    volume: Volume
    revision: str
    axis: str = "auto"
    window: str | IntensityMapping = "auto"


@dataclass(frozen=True)
class ModelChoice:
    """Name of the catalogue or path of a checkpoint, and device ``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""

    name: str = "built-in"
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """Segment the prompted slices of one object.

    Attributes:
        scan, model: with what.
        prompts: all prompts of the object.
        known: slice -> mark; slices whose prompts still have this mark are left alone.
    """

    scan: Scan
    model: ModelChoice
    prompts: tuple[Prompt, ...]
    known: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """How a result was made, for its provenance: plain values.

    Attributes:
        model: name, family, variant, sha256, source, licence.
        device: as ``describe_device``.
        intensity: mapping in use.
        voxels_sha256: of the image, once there was time to compute it, else empty.
        axis: of the slices.
        notes: on image, intensities and model.
    """

    model: Mapping[str, str]
    device: Mapping[str, Any]
    intensity: Mapping[str, Any]
    voxels_sha256: str
    axis: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PredictResult:
    """Answer to a :class:`PredictRequest`.

    Attributes:
        axis: ``k``, ``j`` or ``i``.
        shape: (rows, columns) of a slice.
        masks: slice -> bool [rows, columns], of the slices that were done now and are not empty.
        records: slice -> record, of all slices that were done now.
        marks: slice -> mark of its prompts, of all prompted slices.
        stops: slices with nothing but negative prompts or a stop mark.
        notes: for the user.
        facts: how.
        completed: False when a cancel left slices undone.
    """

    axis: str
    shape: tuple[int, int]
    masks: Mapping[int, np.ndarray]
    records: Mapping[int, SliceRecord]
    marks: Mapping[int, str]
    stops: frozenset[int]
    notes: tuple[str, ...]
    facts: Facts
    completed: bool


@dataclass(frozen=True, eq=False)
class CandidatesRequest:
    """SAM's three masks for the prompts on slice ``index``."""

    scan: Scan
    model: ModelChoice
    prompts: tuple[Prompt, ...]
    index: int


@dataclass(frozen=True, eq=False)
class CandidatesResult:
    """Masks bool [rows, columns] of a slice, best predicted IoU first, and the mark of the prompts they answer."""

    axis: str
    index: int
    mark: str
    masks: tuple[np.ndarray, ...]
    predicted_iou: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class PropagateRequest:
    """Walk through the slices from the prompts of several objects.

    Attributes:
        scan, model: with what.
        objects: key -> prompts; a key names the same object in every request.
        settings: how to walk; its limits do not count.
        direction: ``both``, ``up`` (to higher slice numbers) or ``down``, from the outermost prompted slices.
        limits: first and last slice that may be touched, or None.
        reuse: take over what an earlier propagation of the same object found and nothing has changed since.
        engine: ``auto``, ``prompt`` or ``memory``, see ``propagation.engines``.
    """

    scan: Scan
    model: ModelChoice
    objects: Mapping[str, tuple[Prompt, ...]]
    settings: PropagationSettings
    direction: str = "both"
    limits: tuple[int, int] | None = None
    reuse: bool = True
    engine: str = "auto"


@dataclass(frozen=True, eq=False)
class Decided:
    """Told while a propagation runs: slice -> (record, mask or None where there is none) of one object."""

    name: str
    axis: str
    slices: Mapping[int, tuple[SliceRecord, np.ndarray | None]]


@dataclass(frozen=True)
class Foretold:
    """Told before a propagation runs: what it will take, plain values of ``estimate.Estimate``."""

    cost: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class PropagateResult:
    """Answer to a :class:`PropagateRequest`.

    Attributes:
        axis, shape: as in :class:`PredictResult`.
        results: key -> masks and records; not ``completed`` after a cancel.
        seeds: key -> prompts by slice.
        errors: key -> why an object could not be propagated.
        scopes: key -> first and last slice that could be touched.
        facts: how.
        encodes: slices that the encoder had to see anew.
    """

    axis: str
    shape: tuple[int, int]
    results: Mapping[str, Propagation]
    seeds: Mapping[str, ObjectSeeds]
    errors: Mapping[str, SegmentAnythingMedError]
    scopes: Mapping[str, tuple[int, int]]
    facts: Facts
    encodes: int


@dataclass(frozen=True, eq=False)
class EstimateRequest:
    """What would a propagation within ``limits`` cost?"""

    scan: Scan
    model: ModelChoice
    limits: tuple[int, int] | None = None
