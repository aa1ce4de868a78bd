"""Where a segment comes from: model, prompts, settings, the reason for every slice; JSON in a tag of the segment.

The tag is saved with the scene and with the segmentation (``.seg.nrrd``). It fits ``provenance.schema.json``, is
bounded in size and holds no patient data: the image is known by its geometry and a hash of its voxels.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ... import __version__
from ...errors import InputError
from ...prompts.json_form import prompts_to_json
from ...prompts.volume_prompts import MaskPrompt, Prompt, ScribblePrompt, VolumePrompts
from ...propagation.records import SliceRecord
from ...space.volume import Volume
from .prompt_nodes import segment_of, tag_of

TAG = "SegmentAnythingMed.Provenance"
KEPT_TAG = "SegmentAnythingMed.ProvenanceOfNewerVersion"
ALGORITHM_TYPE_TAG, ALGORITHM_NAME_TAG = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
SCHEMA_NAME = "segment-anything-med/provenance"
SCHEMA_VERSION = "1.0"
"""First number: an older reader cannot understand it. Second: fields were added."""
SCHEMA_PATH = Path(__file__).with_name("provenance.schema.json")
DRAFT, ACCEPTED = "draft", "accepted"
MAX_BYTES = 512 * 1024
MAX_PROMPTS, MAX_VERTICES, MAX_NOTES, MAX_TEXT = 500, 64, 50, 300
_DICOM_NAME_LENGTH = 64  # VR LO of (0062,0009)
_BRIEF = ("index", "reason")


@dataclass(frozen=True, eq=False)
class Written:
    """Slices that were written, with a hash of what was written there.

    Attributes:
        axis: of the slices.
        shape: (K, J, I) of the volume.
        to_ras: voxel (I, J, K) -> RAS of the segmentation node, float64 [4, 4].
        hashes: slice -> hash of its content.
    """

    axis: str
    shape: tuple[int, int, int]
    to_ras: np.ndarray
    hashes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Provenance:
    """What is known about how a segment was made.

    Attributes:
        status: ``draft`` until a person accepts it, then ``accepted``; empty when nothing was written by this module.
        model: name, family, variant, sha256, source, licence (``ModelInfo``), or None.
        device: as ``models.device.describe_device`` tells, or None.
        image: :func:`image_facts`, or None.
        axis: along which slices were segmented, or None.
        preprocessing: intensity mapping and the like, or None.
        settings: of the propagation, or None.
        prompts: :func:`plain_prompts`.
        records: one for each slice (``SliceRecord.to_json``): its reason, and the measures behind it.
        ends: lower, upper, end_lower, end_upper, completed of the propagation, or None.
        notes: remarks that the user was shown.
        written: content of the slices as they were written last; kept up by ``SegmentWriter``.
        created_utc: first write.
        modified_utc: last write of this record.
        reviewer: who accepted it, as the user typed it; empty while a draft.
        accepted_utc: when; empty while a draft.
        tool: name and version of the program that wrote it.
        newer: version of a record that this program cannot read, else empty; all other fields are then empty.
    """

    status: str = ""
    model: Mapping[str, Any] | None = None
    device: Mapping[str, Any] | None = None
    image: Mapping[str, Any] | None = None
    axis: str | None = None
    preprocessing: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] | None = None
    prompts: tuple[Mapping[str, Any], ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()
    ends: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    written: Written | None = None
    created_utc: str = ""
    modified_utc: str = ""
    reviewer: str = ""
    accepted_utc: str = ""
    tool: Mapping[str, str] = field(default_factory=lambda: {"name": "SegmentAnythingMed", "version": __version__})
    newer: str = ""

    def reasons(self) -> dict[int, str]:
        """Slice -> reason."""
        return {int(record["index"]): str(record["reason"]) for record in self.records}


def read_provenance(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Provenance:
    """The provenance of a segment; an empty one for a segment that has none or an unreadable one.

    Raises:
        InputError: ``segment.no_segmentation``, ``segment.missing``.
    """
    return from_text(tag_of(segment_of(segmentation, segment_id), TAG))


def write_provenance(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, provenance: Provenance) -> None:
    """Store the provenance of a segment, and name the algorithm for DICOM export.

    Terminology, colour, name, status and every other tag of the segment stay as they are. A record of a newer version
    is kept beside the new one.

    Args:
        segmentation: in a scene.
        segment_id: of the segment.
        provenance: without ``written`` (None), what is known about written slices stays.

    Raises:
        InputError: ``segment.no_segmentation``, ``segment.missing``, ``option.status``.
    """
    segment = segment_of(segmentation, segment_id)
    if provenance.status not in ("", DRAFT, ACCEPTED):
        raise InputError("option.status", f"Expected the status draft or accepted; got {provenance.status!r}.")
    before = tag_of(segment, TAG)
    known = from_text(before)
    if known.newer:
        segment.SetTag(KEPT_TAG, before)
    now = _now()
    stored = replace(
        provenance,
        written=provenance.written or known.written,
        created_utc=provenance.created_utc or known.created_utc or now,
        modified_utc=now,
        newer="",
    )
    segment.SetTag(TAG, to_text(stored))
    if stored.model is not None:
        segment.SetTag(ALGORITHM_TYPE_TAG, "SEMIAUTOMATIC")
        name = f"SegmentAnythingMed {__version__} {stored.model.get('name', '')}".strip()
        segment.SetTag(ALGORITHM_NAME_TAG, name[:_DICOM_NAME_LENGTH])


def store_written(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, written: Written) -> None:
    """Keep what was written to slices; a segment without a status becomes a draft, an accepted one too."""
    known = read_provenance(segmentation, segment_id)
    write_provenance(
        segmentation, segment_id, replace(known, written=written, status=DRAFT, reviewer="", accepted_utc="")
    )


def accept(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, reviewer: str = "") -> None:
    """Mark a segment as reviewed and accepted, now; the next write makes it a draft again."""
    known = read_provenance(segmentation, segment_id)
    write_provenance(
        segmentation,
        segment_id,
        replace(known, status=ACCEPTED, reviewer=reviewer.strip()[:MAX_TEXT], accepted_utc=_now()),
    )


def image_facts(volume: Volume, voxels: bool = True) -> dict[str, Any]:
    """A volume without a name: size, geometry and a hash of the voxels (``voxels=False`` leaves the hash out)."""
    facts: dict[str, Any] = {
        "shape_kji": [int(n) for n in volume.shape],
        "dtype": str(volume.voxels.dtype),
        "ijk_to_lps": [[round(float(x), 6) for x in row] for row in volume.affine.matrix[:3]],
        "modality": volume.modality,
    }
    if voxels:
        digest = hashlib.sha256(f"{volume.voxels.dtype.str}{volume.voxels.shape}".encode())
        for plane in volume.voxels:
            digest.update(np.ascontiguousarray(plane))
        facts["voxels_sha256"] = digest.hexdigest()
    return facts


def plain_prompts(prompts: Iterable[Prompt]) -> tuple[dict[str, Any], ...]:
    """Prompts as plain values: masks by their hash, long scribbles thinned, not more than ``MAX_PROMPTS``."""
    plain = []
    for prompt in prompts:
        if len(plain) == MAX_PROMPTS:
            break
        if isinstance(prompt, MaskPrompt):
            packed = hashlib.blake2b(np.packbits(prompt.mask).tobytes(), digest_size=8).hexdigest()
            plain.append(
                {
                    "type": "mask",
                    "slice": prompt.slice,
                    "keep": prompt.keep,
                    "pixels": int(prompt.mask.sum()),
                    "hash": packed,
                }
            )
            continue
        if isinstance(prompt, ScribblePrompt) and len(prompt.polyline) > MAX_VERTICES:
            few = np.linspace(0, len(prompt.polyline) - 1, MAX_VERTICES).round().astype(int)
            prompt = replace(prompt, polyline=prompt.polyline[few])
        plain += prompts_to_json(VolumePrompts({"object": [prompt]}))["objects"][0]["prompts"]
    return tuple(plain)


def plain_records(records: Iterable[SliceRecord]) -> tuple[dict[str, Any], ...]:
    """Records of slices as plain values, ascending."""
    return tuple(record.to_json() for record in sorted(records, key=lambda record: record.index))


def to_text(provenance: Provenance) -> str:
    """JSON on one line that fits the schema and ``MAX_BYTES``: measures, then prompts are left out when it is too long.

    A tag may not hold the character ``|``, which separates tags in files; JSON can write it in another way.
    """
    form = _form(provenance)
    for shorten in (lambda: None, lambda: _shorten_records(form), lambda: form.update(prompts=[], shortened=True)):
        shorten()
        text = json.dumps(form, separators=(",", ":"), allow_nan=False).replace("|", "\\u007c")
        if len(text) <= MAX_BYTES:
            break
    return text


def from_text(text: str) -> Provenance:
    """Inverse of :func:`to_text`; empty for no text, for what is not ours, and (with ``newer``) for a newer version."""
    try:
        form = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return Provenance()
    if not isinstance(form, dict) or form.get("schema") != SCHEMA_NAME:
        return Provenance()
    version = str(form.get("version", ""))
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        return Provenance(newer=version or "?")
    try:
        return _parsed(form)
    except (TypeError, ValueError, KeyError, AttributeError):
        return Provenance()


def _form(provenance: Provenance) -> dict[str, Any]:
    form: dict[str, Any] = {"schema": SCHEMA_NAME, "version": SCHEMA_VERSION, "tool": dict(provenance.tool)}
    for name in ("status", "created_utc", "modified_utc", "reviewer", "accepted_utc", "axis"):
        if getattr(provenance, name):
            form[name] = getattr(provenance, name)
    for name in ("model", "device", "image", "preprocessing", "settings", "ends"):
        if getattr(provenance, name) is not None:
            form[name] = _plain(getattr(provenance, name))
    form["prompts"] = [_plain(prompt) for prompt in provenance.prompts]
    form["records"] = [_plain(record) for record in provenance.records]
    form["notes"] = [str(note)[:MAX_TEXT] for note in provenance.notes[:MAX_NOTES]]
    if provenance.written is not None:
        written = provenance.written
        form["written"] = {
            "axis": written.axis,
            "shape_kji": [int(n) for n in written.shape],
            "ijk_to_ras": [[round(float(x), 6) for x in row] for row in written.to_ras[:3]],
            "hashes": {str(index): written.hashes[index] for index in sorted(written.hashes)},
        }
    return form


def _parsed(form: Mapping[str, Any]) -> Provenance:
    written = form.get("written")
    if written is not None:
        matrix = np.eye(4)
        matrix[:3] = np.array(written["ijk_to_ras"], dtype=np.float64)
        hashes = {int(index): str(value) for index, value in written["hashes"].items()}
        written = Written(str(written["axis"]), tuple(int(n) for n in written["shape_kji"]), matrix, hashes)
    texts = ("status", "created_utc", "modified_utc", "reviewer", "accepted_utc")
    parts = ("model", "device", "image", "preprocessing", "settings", "ends", "axis")
    return Provenance(
        **{name: str(form.get(name, "")) for name in texts},
        **{name: form.get(name) for name in parts},
        prompts=tuple(form.get("prompts", ())),
        records=tuple(form.get("records", ())),
        notes=tuple(form.get("notes", ())),
        written=written,
        tool=dict(form.get("tool", {})),
    )


def _shorten_records(form: dict[str, Any]) -> None:
    form["records"] = [{name: record[name] for name in _BRIEF if name in record} for record in form["records"]]
    form["shortened"] = True


def _plain(value: Any) -> Any:
    """JSON types only; numbers that JSON does not know become null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
