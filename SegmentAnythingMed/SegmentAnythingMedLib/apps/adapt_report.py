"""The report of a prior-visit job: JSON after ``adapt_report.schema.json``, enough to judge, to repeat and to trace it.

It holds no patient data and no folders. UIDs of the visits stand as SHA-256, so that who has the objects can check
them; the DICOM files that are written hold the UIDs themselves.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..adaptive.visit_results import Adaptation, PriorVisit, SliceDecision, StructureResult
from ..files.structures import LoadedStructures
from ..prompts.json_form import prompts_to_json
from ..prompts.types import SlicePrompts
from ..prompts.volume_prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt, VolumePrompts
from ..space.planes import SliceStack
from ..space.volume import Volume
from .pipelines import Remark
from .report import describe_image, describe_remark, describe_stack, peak_memory

SCHEMA_NAME = "segment-anything-med/prior-visit-report"
SCHEMA_VERSION = "1.0"
SCHEMA_PATH = Path(__file__).with_name("adapt_report.schema.json")


def build_adapt_report(
    result: Adaptation,
    prior: PriorVisit,
    follow_up: Volume,
    *,
    loaded: LoadedStructures | None = None,
    device: str = "cpu",
    seconds: Mapping[str, float] | None = None,
    remarks: Sequence[Remark] = (),
    outputs: Mapping[str, str] | None = None,
    dicom: Mapping[str, Any] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything about a job as plain values.

    Args:
        result: what ``adapt`` returned.
        prior: the earlier visit.
        follow_up: today's image.
        loaded: structures of the prior as they were read.
        device: where the model ran.
        seconds: further steps and their wall time.
        remarks: warnings from outside of the job, listed first.
        outputs: kind -> file name of what was written.
        dicom: facts about DICOM files that were written.
        hashes: SHA-256 of input files by role (``prior_mask``, ``transform``).

    Returns:
        A dictionary that fits ``adapt_report.schema.json``.
    """
    stack = SliceStack(follow_up, result.axis)
    own = [Remark("job", text) for text in result.remarks]
    own += [Remark("job", text, name) for name, one in result.structures.items() for text in one.remarks]
    report = {
        **_describe_job(result, device),
        "prior": {
            "image": describe_image(prior.volume),
            **_uid_hashes(prior.volume),
            "structures": _describe_structures(prior, loaded, hashes or {}),
        },
        "follow_up": {"image": describe_image(follow_up), **_uid_hashes(follow_up), "slices": describe_stack(stack)},
        "structures": [
            describe_result(name, value, one, stack) for value, (name, one) in enumerate(result.structures.items(), 1)
        ],
        "counts": dict(result.counts),
        "seconds": {name: round(float(s), 4) for name, s in {**(seconds or {}), **result.seconds}.items()},
        "memory": peak_memory(device),
        "warnings": [describe_remark(remark) for remark in (*remarks, *own)],
        "outputs": dict(outputs or {}),
        "dicom": dict(dicom or {}),
    }
    return plain(report)


def _describe_job(result: Adaptation, device: str) -> dict[str, Any]:
    """What was used: program, model, settings, transform, and what was noticed about the visits."""
    from ..models.device import describe_device

    return {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "SegmentAnythingMed", "version": __version__, "python": platform.python_version()},
        "created_utc": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "completed": result.completed,
        "status": "AI draft, not reviewed",
        "model": dict(result.model),
        "device": describe_device(device),
        "method": result.method,
        "protocol": result.protocol,
        "settings": result.settings.to_json(),
        "transform": result.transform.describe(),
        "registration": None if result.registration is None else result.registration.describe(),
        "findings": [asdict(finding) for finding in result.findings],
    }


def describe_result(name: str, label: int, one: StructureResult, stack: SliceStack) -> dict[str, Any]:
    """One structure: outcome, flag, figures, and the decision of every slice with its prompts."""
    voxels = int(np.count_nonzero(one.mask))
    return {
        "name": name,
        "label": label,
        "outcome": one.outcome,
        "draft": _which(one),
        "voxels": voxels,
        "volume_ml": round(voxels * stack.volume.voxel_ml, 4),
        "mask_sha256": hashlib.sha256(np.packbits(one.mask).tobytes()).hexdigest(),
        "flag": asdict(one.flag),
        "agreement": None if one.agreement is None else asdict(one.agreement),
        "changes": asdict(one.changes),
        "slices": [_describe_slice(decision, one, stack) for decision in one.slices],
        "remarks": list(one.remarks),
    }


def _which(one: StructureResult) -> str:
    """Where the draft comes from: S, W, something between, or nothing."""
    if not one.mask.any():
        return "none"
    if np.array_equal(one.mask, one.segmented):
        return "segmented"
    return "warped" if np.array_equal(one.mask, one.warped) else "mixed"


def _describe_slice(decision: SliceDecision, one: StructureResult, stack: SliceStack) -> dict[str, Any]:
    used = decision.prompts if decision.prompts is not None else one.prompts.get(decision.index)
    facts = {
        key: getattr(decision, key)
        for key in ("index", "outcome", "source", "area_mm2", "rho", "predicted_iou", "displacement_mm", "words")
    }
    return {
        **facts,
        "candidates": dict(decision.candidates),
        "prompts": [] if used is None else describe_prompts(used, decision.index, stack),
        "references": 0 if used is None else len(used.references),
    }


def describe_prompts(prompts: SlicePrompts, index: int, stack: SliceStack) -> list[dict[str, Any]]:
    """Prompts of a slice in the form of ``prompts.schema.json``, with LPS beside voxel indices."""
    given: list[Prompt] = []
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box
        corners = stack.to_ijk(index, [(x0 + 0.5, y0 + 0.5), (x1 - 0.5, y1 - 0.5)]).round(4).tolist()
        given.append(BoxPrompt(tuple(corners[0]), tuple(corners[1])))
    places = stack.to_ijk(index, np.asarray(prompts.points).reshape(-1, 2)).round(4).tolist()
    given += [PointPrompt(tuple(at), int(label)) for at, label in zip(places, prompts.labels, strict=True)]
    if prompts.mask is not None:
        given.append(MaskPrompt(prompts.mask, index, stack.axis, keep=False))
    return prompts_to_json(VolumePrompts({"object": given}), stack.volume.affine)["objects"][0]["prompts"]


def _describe_structures(
    prior: PriorVisit, loaded: LoadedStructures | None, hashes: Mapping[str, str]
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "names": list(prior.masks), "kind": None, "approval": None, "file_sha256": hashes.get("prior_mask"),
        "sop_instance_uid_sha256": None, "tracking": {},
    }  # fmt: skip
    if loaded is not None:
        facts["kind"], facts["approval"] = loaded.kind, loaded.approval or None
        if loaded.sop_instance_uid:
            facts["sop_instance_uid_sha256"] = uid_sha256(loaded.sop_instance_uid)
        facts["tracking"] = {one.name: one.tracking_id for one in loaded.structures if one.tracking_id}
    return facts


def _uid_hashes(volume: Volume) -> dict[str, str | None]:
    source = volume.source
    given = {"series_uid": "", "study_uid": "", "frame_of_reference_uid": ""}
    return {f"{key}_sha256": uid_sha256(uid) if (uid := getattr(source, key, "")) else None for key in given}


def percent(value: float | None) -> str:
    """A change with its sign for people; ``±0 %`` when there is none to speak of, ``?`` when it is not known."""
    if value is None or not math.isfinite(value):
        return "? %"
    return f"{round(value):+d} %" if round(value) else "±0 %"


def uid_sha256(uid: str) -> str:
    """SHA-256 of a UID as text, 64 hexadecimal digits."""
    return hashlib.sha256(uid.encode("ascii", "replace")).hexdigest()


def plain(value: Any) -> Any:
    """JSON types only: arrays and tuples become lists, keys texts; infinite numbers and NaN become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
