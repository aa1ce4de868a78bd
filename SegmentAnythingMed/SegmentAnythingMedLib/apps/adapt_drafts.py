"""Results of a prior visit as drafts for DICOM: what identifies a structure is carried over, with its provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby

import numpy as np

from ..adaptive.visit_results import EDITED, Adaptation, PriorVisit, StructureResult
from ..files.drafts import TISSUE, Draft, Origin
from ..files.structures import RTSTRUCT, LoadedStructures, Structure
from .pipelines import Remark

MODE = "prior visit"


def drafts_of(
    result: Adaptation, prior: PriorVisit | None = None, loaded: LoadedStructures | None = None
) -> list[Draft]:
    """One draft per structure with a mask, in order.

    Colour, type, codes and tracking ids are those of the prior; a structure without a tracking id gets one. The
    algorithm is AUTOMATIC, or SEMIAUTOMATIC where a person's prompts took part.

    Args:
        result: of ``adapt``.
        prior: the earlier visit, to name its series.
        loaded: its structures as they were read.
    """
    known = {one.name: one for one in loaded.structures} if loaded is not None else {}
    drafts = []
    for name, one in result.structures.items():
        if not one.mask.any():
            continue
        before = known.get(name)
        drafts.append(
            Draft(
                name=name,
                mask=one.mask,
                algorithm="SEMIAUTOMATIC" if any(s.source == EDITED for s in one.slices) else "AUTOMATIC",
                colour=before.colour if before else None,
                interpreted_type=before.interpreted_type if before else "",
                category=(before.category if before else None) or TISSUE,
                code=(before.code if before else None) or TISSUE,
                description=describe_draft(result, one, prior, loaded),
                tracking_id=_tracking_id(name, before),
                tracking_uid=before.tracking_uid if before else "",
            )
        )
    return drafts


def _tracking_id(name: str, before: Structure | None) -> str:
    return (before.tracking_id if before else "") or name


def origin_of(result: Adaptation, loaded: LoadedStructures | None = None) -> Origin:
    """Model, mode and, of an RTSTRUCT, the predecessor."""
    model = result.model
    follows = loaded is not None and loaded.kind == RTSTRUCT
    return Origin(
        model=str(model.get("name", "")),
        model_sha256=str(model.get("sha256", "")),
        mode=f"{MODE}, {result.method}",
        predecessor_class_uid=loaded.sop_class_uid if follows else "",
        predecessor_uid=loaded.sop_instance_uid if follows else "",
    )


def describe_draft(
    result: Adaptation,
    one: StructureResult,
    prior: PriorVisit | None = None,
    loaded: LoadedStructures | None = None,
) -> str:
    """How a draft came about, for a text field of 1024 bytes: the flag, the prior, the transform, every slice."""
    reason = one.flag.reasons[0] if one.flag.reasons else ""
    parts = [f"{one.outcome}, {one.flag.colour}: {reason}".rstrip(": ")]
    source = None if prior is None else prior.volume.source
    if source is not None and source.series_uid:
        parts.append(f"prior series {source.series_uid}")
    if loaded is not None and loaded.sop_instance_uid:
        parts.append(f"prior {loaded.kind.upper()} {loaded.sop_instance_uid}")
    parts.append(f"transform {result.transform.kind} sha256 {result.transform.digest[:16]}")
    parts.append(f"slices {result.axis}: {slice_runs(one)}")
    if prompts := _prompt_counts(one):
        parts.append(f"prompts: {prompts}")
    return "; ".join(parts)


def slice_runs(one: StructureResult) -> str:
    """Decisions of neighbouring slices in one word each: ``12-30 segmented, 31 absent``."""
    runs = []
    numbered = [(s.index, s.source or s.outcome) for s in sorted(one.slices, key=lambda s: s.index)]
    for (word, _), group in groupby(enumerate(numbered), lambda entry: (entry[1][1], entry[1][0] - entry[0])):
        indices = [index for _, (index, _) in group]
        span = str(indices[0]) if len(indices) == 1 else f"{indices[0]}-{indices[-1]}"
        runs.append(f"{span} {word}")
    return ", ".join(runs) or "none"


def _prompt_counts(one: StructureResult) -> str:
    """Kinds of prompts and on how many slices they were used."""
    kinds: Counter[str] = Counter()
    for prompts in one.prompts.values():
        kinds["box"] += prompts.box is not None
        kinds["points"] += len(prompts.points) > 0
        kinds["mask"] += prompts.mask is not None
        kinds["references"] += bool(prompts.references)
    return ", ".join(f"{kind} on {count} slices" for kind, count in kinds.items() if count)


def label_map(results: Mapping[str, np.ndarray], shape: Iterable[int]) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """Masks as labels 1, 2, ... in their order, uint8 or uint16 [K, J, I]; where two overlap the later one wins."""
    labels = np.zeros(tuple(shape), dtype=np.uint8 if len(results) < 256 else np.uint16)
    remarks = []
    for value, (name, mask) in enumerate(results.items(), 1):
        lost = int(np.count_nonzero(labels[mask]))
        if lost:
            remarks.append(Remark("output", f"{lost} voxels also belong to an earlier structure; it lost them.", name))
        labels[mask] = value
    return labels, tuple(remarks)
