"""The report of a segmentation: JSON after ``report.schema.json``, enough to repeat and to judge it.

It holds no patient data and no folders: file names only, and of a DICOM series not even that.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..prompts.json_form import prompts_to_json
from ..propagation.engines import MEMORY
from ..space.planes import SliceStack
from ..space.volume import Volume
from .pipelines import Remark, Segmentation

SCHEMA_NAME = "segment-anything-med/report"
SCHEMA_VERSION = "1.3"
"""First number: a reader of an older version cannot understand it. Second: fields were added."""
SCHEMA_PATH = Path(__file__).with_name("report.schema.json")
DICOM_NAME = "DICOM series"
"""Stands for the name of a folder, which is often that of a patient."""

_WHOLE = "The network sees whole slices, with square pixels; the longer side fills its input."
_ZOOM = " An object that would be tiny there is shown in a square of four times its size."
_STRETCHED = "The network sees whole slices, stretched to its square input."
_REGION = "The network sees a square of about twice the object's size around it, with square pixels."


def build_report(
    result: Segmentation,
    *,
    seconds: Mapping[str, float] | None = None,
    seed: int | None = None,
    remarks: Sequence[Remark] = (),
    outputs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything about a segmentation as plain values.

    Args:
        result: what was done.
        seconds: further steps and their wall time (``read``, ``total``...).
        seed: of random numbers, when one was set.
        remarks: warnings from outside of the job, listed first.
        outputs: kind -> file name of what was written.

    Returns:
        A dictionary that fits ``report.schema.json``.
    """
    from ..models.device import describe_device

    stack, model = result.stack, result.model
    return {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "SegmentAnythingMed", "version": __version__, "python": platform.python_version()},
        "created_utc": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "completed": result.completed,
        "image": describe_image(result.volume),
        "model": {
            name: getattr(model.info, name) for name in ("name", "family", "variant", "sha256", "source", "licence")
        },
        "device": describe_device(model.device),
        "preprocessing": {
            **describe_stack(stack),
            "intensity": result.mapping.describe(),
            "network_input_px": int(model.image_size),
            "preparation": model.info.preprocessing or model.info.family,
            "frame": _STRETCHED if result.engine == MEMORY else frame_rule(model),
        },
        "settings": {
            "propagate": result.propagated,
            "engine": result.engine,
            "seed": seed,
            "propagation": result.settings.to_json(),
        },
        "prompts": prompts_to_json(result.prompts, result.volume.affine)["objects"],
        "objects": [_describe_object(result, name) for name in result.results],
        "labels_sha256": hashlib.sha256(np.ascontiguousarray(result.labels)).hexdigest(),
        "counters": describe_counters(result.counters),
        "seconds": {name: round(value, 4) for name, value in {**(seconds or {}), **result.seconds}.items()},
        "memory": peak_memory(model.device),
        "warnings": [describe_remark(remark) for remark in (*remarks, *result.remarks)],
        "outputs": dict(outputs or {}),
    }


def describe_image(volume: Volume) -> dict[str, Any]:
    """Geometry, type and content hash of a volume; the name of a file, but never of a DICOM folder."""
    digest = hashlib.sha256(f"{volume.voxels.dtype.str}{volume.voxels.shape}".encode())
    for plane in volume.voxels:
        digest.update(np.ascontiguousarray(plane))
    facts = {**volume.describe(), "name": public_name(volume), "voxels_sha256": digest.hexdigest()}
    facts.pop("notes")
    return facts


def public_name(volume: Volume) -> str:
    """Name of a volume that may be shown to others."""
    return DICOM_NAME if volume.source is not None else volume.name


def describe_stack(stack: SliceStack) -> dict[str, Any]:
    """Axis, number and geometry of the slices."""
    return {
        "axis": stack.axis,
        "slices": stack.count,
        "slice_shape": list(stack.shape),
        "pixel_spacing_mm": [round(value, 6) for value in stack.pixel_spacing],
        "slice_spacing_mm": round(stack.slice_spacing, 6),
    }


def frame_rule(model: Any) -> str:
    """What a model is shown of a slice, in words."""
    if model.uses_regions:
        return _REGION
    stretched = model.frame((1, 2), (1.0, 1.0)).content[0] == model.image_size
    return (_STRETCHED if stretched else _WHOLE) + _ZOOM


def describe_counters(counters: Any) -> dict[str, Any]:
    """Encodes, decodes and their seconds."""
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in vars(counters).items()
        if isinstance(value, (int, float))
    }


def describe_remark(remark: Remark) -> dict[str, str]:
    """A warning as plain values."""
    who = {} if remark.object is None else {"object": remark.object}
    return {"source": remark.source, **who, "text": remark.text}


def _describe_object(result: Segmentation, name: str) -> dict[str, Any]:
    propagation, value = result.results[name].to_json(), result.values[name]
    voxels = int(np.count_nonzero(result.labels == value))
    return {
        "name": name,
        "label": value,
        "voxels": voxels,
        "volume_ml": round(voxels * result.volume.voxel_ml, 4),
        **{key: propagation[key] for key in ("lower", "upper", "end_lower", "end_upper", "completed", "records")},
    }


def peak_memory(device: str) -> dict[str, int | None]:
    """Largest memory of this process so far, and of its GPU, in bytes; None where the system does not tell."""
    peak: int | None = None
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
    gpu: int | None = None
    if device.startswith("cuda"):
        import torch

        gpu = int(torch.cuda.max_memory_allocated(device))
    return {"peak_bytes": peak, "peak_gpu_bytes": gpu}


def to_text(report: Mapping[str, Any]) -> str:
    """Indented JSON; numbers that JSON does not know (NaN) are an error."""
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
