"""What is known about an image before anything is done to it, what would be done, and what that would cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files.limits import machine_memory
from ..prompts.types import SlicePrompts
from ..space.intensity import estimate_mapping
from ..space.planes import SliceStack
from ..space.volume import Volume
from .estimate import MEBIBYTE, memory_needed, try_slices
from .report import describe_stack, frame_rule, public_name

if TYPE_CHECKING:
    from ..models.interface import PromptableModel


def describe_job(
    volume: Volume, model: PromptableModel | None = None, *, axis: str = "auto", window: str = "auto"
) -> dict[str, Any]:
    """Geometry, intensities, and what a segmentation would do.

    Args:
        volume: the image.
        model: when given, one slice is segmented to measure time and memory; nothing of that is kept.
        axis: as for ``segment``.
        window: as for ``segment``.

    Returns:
        Plain values: ``image``, ``slices``, ``intensity``, ``notes``, and with a model ``model`` and ``estimate``.

    Raises:
        InputError: ``option.axis``, ``option.window``.
    """
    stack = SliceStack(volume, axis)
    mapping = estimate_mapping(volume, window)
    image = {**volume.describe(), "name": public_name(volume)}
    image.pop("notes")
    image["extent_mm"] = [round(float(n * s), 3) for n, s in zip(volume.shape[::-1], volume.spacing, strict=True)]
    image["oblique"] = not _along_axes(volume)
    facts: dict[str, Any] = {
        "image": image,
        "slices": describe_stack(stack),
        "intensity": mapping.describe(),
        "notes": [*volume.notes, *mapping.notes],
    }
    if model is not None:
        facts["model"] = {
            "name": model.info.name, "device": model.device, "input_px": model.image_size, "frame": frame_rule(model)
        }  # fmt: skip
        facts["estimate"] = estimate_cost(volume, model, stack.axis, mapping)
        facts["notes"] += getattr(model, "notes", ())
        if facts["estimate"]["memory_bytes"] > (machine_memory() or np.inf):
            facts["notes"].append("The estimated memory is more than this machine has; crop or downsample the image.")
    return facts


def _along_axes(volume: Volume) -> bool:
    """True if every voxel axis is parallel to an axis of the patient (to 0.06 degrees)."""
    direction = np.abs(volume.affine.direction)
    return bool(np.abs(np.sort(direction, axis=0)[:2]).max() < 1e-3)


def estimate_cost(volume: Volume, model: PromptableModel, axis: str, mapping: Any) -> dict[str, Any]:
    """Seconds and bytes of segmenting with a model, measured on the middle slice of this image on this machine.

    Returns:
        ``seconds_per_slice`` (encode, decode and what is around them), ``seconds_whole_stack`` (an object on every
        slice), ``memory_bytes`` (peak of the process), ``feature_bytes_per_slice``.
    """
    from ..engine.session import Session

    session = Session(volume, model, axis=axis, window=mapping)
    rows, cols = session.shape
    box = SlicePrompts(box=(cols * 0.3, rows * 0.3, cols * 0.6, rows * 0.6))
    memory = session.tracker is not None
    cost = try_slices(session, session.count // 2, box, memory)
    seconds = cost.encode_s + cost.object_s
    found = {
        "seconds_per_slice": round(seconds, 4),
        "seconds_whole_stack": round(seconds * session.count, 2),
        "memory_bytes": memory_needed(session, 1, session.count, cost.feature_bytes),
        "image_bytes": int(volume.voxels.nbytes),
        "feature_bytes_per_slice": cost.feature_bytes,
        "machine_memory_bytes": machine_memory(),
    }
    session.close()
    return found


def lines_of(facts: Mapping[str, Any]) -> list[str]:
    """:func:`describe_job` for people, one fact a line."""
    image, slices, intensity = facts["image"], facts["slices"], facts["intensity"]
    size = image["shape_kji"][::-1]
    channels = f", {image['channels']} channels" if image["channels"] > 1 else ""
    hu = {True: ", Hounsfield units", False: "", None: ""}[image["is_hu"]]
    rows, cols = slices["slice_shape"]
    found = [
        f"image       {image['name']}, {image['modality'] or 'modality not given'}{hu}",
        f"voxels      {_times(size)} (I, J, K), {image['dtype']}{channels}",
        f"spacing     {_times(image['spacing_ijk_mm'])} mm, extent {_times(image['extent_mm'])} mm",
        f"origin      {', '.join(f'{x:.5g}' for x in image['origin_lps_mm'])} mm (LPS)",
        f"direction   {'oblique' if image['oblique'] else 'along the axes of the patient'}",
        f"slices      {slices['slices']} along axis {slices['axis']}, {rows} x {cols} pixels (rows, columns), "
        f"{slices['slice_spacing_mm']:.5g} mm apart",
        f"intensity   {intensity['lower']:g} to {intensity['upper']:g} ({intensity['mode']}, {intensity['name']})",
    ]
    if "model" in facts:
        model, cost = facts["model"], facts["estimate"]
        found += [
            f"model       {model['name']} on {model['device']}, {model['input_px']} x {model['input_px']} pixels. "
            f"{model['frame']}",
            f"time        about {cost['seconds_per_slice'] * 1000:.0f} ms per slice of an object, "
            f"{cost['seconds_whole_stack']:.1f} s for all {slices['slices']} slices",
            f"memory      about {cost['memory_bytes'] / MEBIBYTE:.0f} MiB, of that the image "
            f"{cost['image_bytes'] / MEBIBYTE:.1f} MiB",
        ]
    return found


def _times(numbers: Any) -> str:
    return " x ".join(f"{number:.5g}" for number in numbers)
