"""The prior visit in the worker's thread: two images and the prior's masks in, drafts for today's image out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from .plans import facts_of, voxels_sha256
from .requests import Facts, ModelChoice
from .worker import Job

if TYPE_CHECKING:
    from ...adaptive.preflight import VisitFacts
    from ...adaptive.transforms import VisitTransform
    from ...adaptive.visit_results import Adaptation
    from ...files.drafts import Draft, Origin, Written
    from ...prompts.types import SlicePrompts
    from ...space.volume import Volume
    from .engine_host import EngineHost

_ROOT = __name__.rsplit(".apps.", 1)[0]
_ROOMS = ("adaptive.visits", "adaptive.registration", "adaptive.packages")


@dataclass(frozen=True, eq=False)
class AdaptRequest:
    """What :func:`adapt_visits` works on; plain data only.

    Attributes:
        prior: image of the earlier visit.
        masks: structure -> bool [K, J, I] of ``prior``.
        follow_up: today's image.
        model: what to ask.
        transform: ``auto``, ``none`` or a transform from points of the follow-up to points of the prior.
        method: ``p2sam`` or ``registration``.
        window: intensity mapping of both visits.
        axis: of the follow-up's slices, or ``auto``.
        prompts: structure -> slice -> prompts of a person.
        allow: codes of findings that the user accepts.
        prior_facts, facts: what is known of the visits, or None.
    """

    prior: Volume
    masks: Mapping[str, np.ndarray]
    follow_up: Volume
    model: ModelChoice
    transform: str | VisitTransform = "auto"
    method: str = "p2sam"
    window: str = "auto"
    axis: str = "auto"
    prompts: Mapping[str, Mapping[int, SlicePrompts]] = field(default_factory=dict)
    allow: frozenset[str] = frozenset()
    prior_facts: VisitFacts | None = None
    facts: VisitFacts | None = None


@dataclass(frozen=True, eq=False)
class AdaptAnswer:
    """Drafts of all structures, and how they were made."""

    adaptation: Adaptation
    facts: Facts


def import_adaptive() -> None:
    """Import what the prior visit needs beside the engine; call it in the main thread."""
    for room in _ROOMS:
        import_module(f"{_ROOT}.{room}")
    packages = import_module(f"{_ROOT}.adaptive.packages")
    packages.k_means_class()
    packages.optimal_transport()


def adapt_visits(host: EngineHost, request: AdaptRequest, job: Job) -> AdaptAnswer:
    """Register, look for every structure, compare; see :func:`SegmentAnythingMedLib.adaptive.visits.adapt`.

    Raises:
        InputError: ``visits.*``, ``option.*``, ``segment.*``. ModelError, DeviceError: of the model.
        Cancelled: before a structure was finished.
    """
    from ...adaptive.visit_results import PriorVisit
    from ...adaptive.visit_settings import VisitSettings
    from ...adaptive.visits import adapt
    from ...space.intensity import estimate_mapping

    with host.lent(request.model, job.progress) as model:
        adaptation = adapt(
            PriorVisit(request.prior, request.masks, request.prior_facts),
            request.follow_up,
            model,
            transform=request.transform,
            method=request.method,
            settings=VisitSettings(axis=request.axis, window=request.window),
            progress=job.progress,
            allow=request.allow,
            facts=request.facts,
            prompts=request.prompts,
        )
        mapping = estimate_mapping(request.follow_up, request.window)
        sha256 = voxels_sha256(request.follow_up)
        return AdaptAnswer(adaptation, facts_of(model, request.follow_up, mapping, adaptation.axis, sha256))


def export_drafts(
    kind: str, path: Path, series: Sequence[Path], image: Volume, drafts: Sequence[Draft], origin: Origin, job: Job
) -> Written:
    """Write drafts as RTSTRUCT or DICOM SEG of today's original series.

    Args:
        kind: ``rtstruct`` or ``seg``.
        path: file to write.
        series: files of the series, or its folder.
        image: today's image as it is in the scene; its voxels must lie where the series has them.
        drafts: with masks on the grid of ``image``.
        origin: model and mode.
        job: told of progress; may cancel.

    Raises:
        InputError: ``visits.other_series`` when the files are another image; of reader and writers.
    """
    from dataclasses import replace

    from ...files.images import load_volume
    from ...space.volume import map_mask
    from ..structure_outputs import write_dicom

    job.progress.start("Reading the original series")
    given = series[0] if len(series) == 1 else _common_folder(series)
    original = load_volume(given, progress=job.progress)
    if not original.same_grid(image):
        raise InputError(
            "visits.other_series",
            "Expected the DICOM series of today's image; the voxels of these files lie elsewhere. Choose the folder of "
            "the series that was loaded.",
        )
    drafts = [replace(draft, mask=map_mask(draft.mask, image, original)) for draft in drafts]
    return write_dicom(kind, path, original, drafts, origin, job.progress)


def _common_folder(files: Sequence[Any]) -> Path:
    folders = {Path(file).parent for file in files}
    if len(folders) != 1:
        raise InputError(
            "visits.other_series",
            "Expected the files of today's series in one folder; they are in several. Choose a folder that holds it.",
        )
    return folders.pop()
