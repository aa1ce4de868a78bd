"""Where a segment comes from: model, prompts, settings, the reason for every slice; JSON in a tag of the segment.

The tag is saved with the scene and with the segmentation (``.seg.nrrd``). It fits ``provenance.schema.json``, is
bounded in size and holds no patient data: the image is known by its geometry and a hash of its voxels.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ... import __version__
from ...errors import InputError
from ...prompts.json_form import prompts_to_json
from ...prompts.volume_prompts import MaskPrompt, Prompt, ScribblePrompt, VolumePrompts
from ...propagation.records import SliceRecord
from ...space.volume import Volume
from .prompt_nodes import segment_of, tag_of
from .provenance_form import ACCEPTED, DRAFT, SCHEMA_PATH, Provenance, Written, from_text, to_text

__all__ = [
    "ACCEPTED",
    "DRAFT",
    "SCHEMA_PATH",
    "TAG",
    "Provenance",
    "Written",
    "image_facts",
    "plain_prompts",
    "plain_records",
    "read_provenance",
    "record_of",
    "store_written",
    "write_provenance",
]

TAG = "SegmentAnythingMed.Provenance"
KEPT_TAG = "SegmentAnythingMed.ProvenanceOfNewerVersion"
ALGORITHM_TYPE_TAG, ALGORITHM_NAME_TAG = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
MAX_PROMPTS, MAX_VERTICES = 500, 64
_DICOM_NAME_LENGTH = 64  # VR LO of (0062,0009)


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
        raise InputError(
            "option.status",
            _("Expected the status draft or accepted; got {status!r}.").format(status=provenance.status),
        )
    before = tag_of(segment, TAG)
    known = from_text(before)
    if known.newer:
        segment.SetTag(KEPT_TAG, before)
    now = utc_now()
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
    draft = replace(known, status=DRAFT, reviewer="", accepted_utc="", edited_slices=(), content_hash="")
    write_provenance(segmentation, segment_id, replace(draft, written=written))


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


def record_of(form: Mapping[str, Any]) -> SliceRecord:
    """A record from its plain values; those that this version does not know are left out."""
    return SliceRecord(**{name: form[name] for name in SliceRecord.__dataclass_fields__ if name in form})


def utc_now() -> str:
    """This moment in ISO 8601, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
