"""How the origin of a segment is kept: one line of JSON after ``provenance.schema.json``, bounded in size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__

SCHEMA_NAME = "segment-anything-med/provenance"
SCHEMA_VERSION = "1.0"
"""First number: an older reader cannot understand it. Second: fields were added."""
SCHEMA_PATH = Path(__file__).with_name("provenance.schema.json")
DRAFT, ACCEPTED = "draft", "accepted"
MAX_BYTES = 512 * 1024
MAX_NOTES, MAX_TEXT = 50, 300
_BRIEF = ("index", "reason")


@dataclass(frozen=True, eq=False)
class Written:
    """Slices that were written, with a hash of what was written there.

    Attributes:
        axis: of the slices.
        shape: (K, J, I) of the volume.
        to_ras: voxel (I, J, K) -> RAS of the segmentation node, float64 [4, 4].
        to_cells: voxel (I, J, K) -> cell of the segment's labelmap, float64 [4, 4]; it stays when a transform is
            hardened into both.
        hashes: slice -> hash of its content.
    """

    axis: str
    shape: tuple[int, int, int]
    to_ras: np.ndarray
    to_cells: np.ndarray
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
        edited_slices: slices that a person had painted when it was accepted.
        content_hash: of the segment when it was accepted, 16 hex digits; empty while a draft.
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
    edited_slices: tuple[int, ...] = ()
    content_hash: str = ""
    tool: Mapping[str, str] = field(default_factory=lambda: {"name": "SegmentAnythingMed", "version": __version__})
    newer: str = ""

    def reasons(self) -> dict[int, str]:
        """Slice -> reason."""
        return {int(record["index"]): str(record["reason"]) for record in self.records}


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
    for name in ("status", "created_utc", "modified_utc", "reviewer", "accepted_utc", "content_hash", "axis"):
        if getattr(provenance, name):
            form[name] = getattr(provenance, name)
    for name in ("model", "device", "image", "preprocessing", "settings", "ends"):
        if getattr(provenance, name) is not None:
            form[name] = _plain(getattr(provenance, name))
    if provenance.edited_slices:
        form["edited_slices"] = [int(n) for n in provenance.edited_slices]
    form["prompts"] = [_plain(prompt) for prompt in provenance.prompts]
    form["records"] = [_plain(record) for record in provenance.records]
    form["notes"] = [str(note)[:MAX_TEXT] for note in provenance.notes[:MAX_NOTES]]
    if provenance.written is not None:
        written = provenance.written
        form["written"] = {
            "axis": written.axis,
            "shape_kji": [int(n) for n in written.shape],
            "ijk_to_ras": _rows(written.to_ras),
            "ijk_to_cells": _rows(written.to_cells),
            "hashes": {str(index): written.hashes[index] for index in sorted(written.hashes)},
        }
    return form


def _parsed(form: Mapping[str, Any]) -> Provenance:
    written = form.get("written")
    if written is not None:
        to_ras, to_cells = _matrix(written["ijk_to_ras"]), _matrix(written["ijk_to_cells"])
        hashes = {int(index): str(value) for index, value in written["hashes"].items()}
        written = Written(str(written["axis"]), tuple(int(n) for n in written["shape_kji"]), to_ras, to_cells, hashes)
    texts = ("status", "created_utc", "modified_utc", "reviewer", "accepted_utc", "content_hash")
    parts = ("model", "device", "image", "preprocessing", "settings", "ends", "axis")
    return Provenance(
        **{name: str(form.get(name, "")) for name in texts},
        **{name: form.get(name) for name in parts},
        prompts=tuple(dict(prompt) for prompt in form.get("prompts", ())),
        records=tuple(
            {**record, "index": int(record["index"]), "reason": str(record["reason"])}
            for record in form.get("records", ())
        ),
        notes=tuple(str(note) for note in form.get("notes", ())),
        written=written,
        edited_slices=tuple(int(n) for n in form.get("edited_slices", ())),
        tool=dict(form.get("tool", {})),
    )


def _rows(matrix: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 6) for x in row] for row in matrix[:3]]


def _matrix(rows: list[list[float]]) -> np.ndarray:
    return np.vstack([np.array(rows, dtype=np.float64).reshape(3, 4), [0, 0, 0, 1]])


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
