"""What a request means on the slices of a session: seeds, marks and settings per object."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import ModelError, PromptError, SegmentAnythingMedError
from .graphics_driver import keep_triton_out
from .requests import Facts

if TYPE_CHECKING:
    from ...engine.session import Session
    from ...prompts.seeds import ObjectSeeds
    from ...prompts.volume_prompts import Prompt
    from ...propagation.settings import PropagationSettings
    from ...space.intensity import IntensityMapping
    from ...space.planes import SliceStack
    from ...space.volume import Volume
    from .requests import PropagateRequest

OBJECT = "object"
SAM2_FAMILIES = ("sam2", "medsam2")
_MARK_LENGTH = 16
_ENGINE = ("torch", "safetensors.torch", "resource" if os.name == "posix" else "gc")
_ROOMS = (
    "engine.session", "models.catalog", "models.device", "models.embedded", "propagation.walk", "apps.pipelines",
    "apps.describe", "apps.report",
)  # fmt: skip
_OTHER_MODELS = ("models.checkpoints", "models.loading", "models.lora_base", "models.records")
"""All that a first job would import otherwise, in the worker's thread; torchvision comes with other models only."""
_ROOT = __name__.rsplit(".apps.", 1)[0]


def import_engine() -> None:
    """Import torch and the library's engine; call it in the main thread before the first job.

    In Slicer an import of something large in another thread has left Qt objects in the wrong thread and the program
    stuck. Waiting threads must sleep: OpenMP's default is to spin, which steals the cores from Slicer's rendering.

    Raises:
        ModelError: ``model.torch`` or ``model.package`` when something is not installed, ``model.segment_anything``.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_triton_out()
    try:
        for name in (*_ENGINE, *(f"{_ROOT}.{room}" for room in _ROOMS)):
            import_module(name)
    except ImportError as error:
        what = "PyTorch" if error.name == "torch" else f"the Python package {error.name}"
        raise ModelError(
            "model.torch" if error.name == "torch" else "model.package",
            f"Expected {what} to be installed; it cannot be imported. Nothing was changed; install it first.",
        ) from None
    from ...models.sam_blocks import decoder_blocks

    decoder_blocks()


def needs_sam2(model: str) -> bool:
    """True for a name of the catalogue whose family needs the package ``sam2``."""
    from ...models.entries import find_entry

    entry = find_entry(model)
    return entry is not None and entry.family in SAM2_FAMILIES


def import_model(model: str) -> None:
    """Import what a model needs beside the engine, in the main thread; what is missing, opening the model says."""
    from ...models.catalog import BUILT_IN

    if model.strip().lower() == BUILT_IN:
        return
    for name in _OTHER_MODELS:
        import_module(f"{_ROOT}.{name}")
    if needs_sam2(model):
        import_module(f"{_ROOT}.models.sam2")
        import_module(f"{_ROOT}.engine.memory_tracker")
        with suppress(ImportError):
            import_module("sam2.modeling.sam2_base")


def facts_of(model: Any, volume: Volume, mapping: IntensityMapping, axis: str, sha256: str = "") -> Facts:
    """How a result is made with a model on a volume."""
    from ...models.device import describe_device

    names = ("name", "family", "variant", "sha256", "source", "licence")
    return Facts(
        model={name: getattr(model.info, name) for name in names},
        device=describe_device(model.device),
        intensity=mapping.describe(),
        voxels_sha256=sha256,
        axis=axis,
        notes=(*volume.notes, *mapping.notes, *getattr(model, "notes", ())),
    )


def voxels_sha256(volume: Volume) -> str:
    """Hash of the voxels, as reports have it; reads all of them."""
    from ..report import describe_image

    return describe_image(volume)["voxels_sha256"]


def resolved(prompts: Iterable[Prompt], stack: SliceStack) -> ObjectSeeds:
    """Prompts of one object on the slices of a stack.

    Raises:
        PromptError: ``prompt.*``.
    """
    from ...prompts.resolve import resolve
    from ...prompts.volume_prompts import VolumePrompts

    return resolve(VolumePrompts.single(prompts, OBJECT), stack)[OBJECT]


def marks_of(seeds: ObjectSeeds) -> dict[int, str]:
    """Slice -> what its prompts are, in a word."""
    from ...prompts.seeds import fingerprint

    return {
        index: fingerprint(given)[:_MARK_LENGTH] + ("d" if index in seeds.drawn else "")
        for index, given in seeds.seeds.items()
    }


def plans(
    request: PropagateRequest, session: Session
) -> tuple[dict[str, ObjectSeeds], dict[str, PropagationSettings], dict[str, SegmentAnythingMedError]]:
    """Seeds and settings of the objects that can be propagated, and what is wrong with the others.

    Raises:
        PromptError: when none can.
    """
    seeds: dict[str, ObjectSeeds] = {}
    settings: dict[str, PropagationSettings] = {}
    errors: dict[str, SegmentAnythingMedError] = {}
    for name, prompts in request.objects.items():
        try:
            found = resolved(prompts, session.stack)
            limits = _limits(found, request, session.count)
        except PromptError as error:
            errors[name] = error.with_traceback(None)
            continue
        seeds[name], settings[name] = found, replace(request.settings, limits=limits)
    if not seeds:
        raise next(iter(errors.values()), PromptError("prompt.none", "Expected at least one object with a prompt."))
    return seeds, settings, errors


def _limits(seeds: ObjectSeeds, request: PropagateRequest, count: int) -> tuple[int, int] | None:
    """First and last slice that may be touched, from the limits and the direction.

    Raises:
        PromptError: ``prompt.outside_limits``.
    """
    low, high = request.limits or (0, count - 1)
    low, high = max(low, 0), min(high, count - 1)
    inside = [index for index in seeds.seeds if low <= index <= high]
    if not inside:
        raise PromptError(
            "prompt.outside_limits",
            f"Expected a prompt within the limits {low} to {high}; all prompts are on other slices: "
            f"{', '.join(map(str, sorted(seeds.seeds)))}.",
        )
    if request.direction == "up":
        low = min(inside)
    elif request.direction == "down":
        high = max(inside)
    return None if (low, high) == (0, count - 1) else (low, high)
