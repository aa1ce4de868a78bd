"""How a segment was made, into its tags: the same for the module's panel and the Segment Editor effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .provenance import image_facts, plain_prompts, plain_records, read_provenance, write_provenance
from .volumes import volume_from_node

if TYPE_CHECKING:
    from ...prompts.volume_prompts import Prompt
    from ...propagation.records import SliceRecord
    from .requests import Facts
    from .targets import Target


def describe(
    target: Target,
    facts: Facts,
    prompts: Iterable[Prompt],
    records: Iterable[SliceRecord],
    settings: Mapping[str, Any] | None = None,
    ends: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    """Put into a segment's tags how it was made.

    Args:
        target: the segment and its image.
        facts: model, device, intensities and image, from the worker.
        prompts: all of the segment.
        records: one for each slice, all of the segment.
        settings: of a propagation; None keeps those of the one before.
        ends: of a propagation; None keeps those of the one before.
        notes: what the user was told.

    Raises:
        InputError: ``segment.*``, ``volume.*``.
    """
    known = read_provenance(target.segmentation, target.segment_id)
    found = replace(
        known,
        model=dict(facts.model),
        device=dict(facts.device),
        image=_image(target, facts),
        axis=facts.axis,
        preprocessing={"intensity": dict(facts.intensity)},
        settings=known.settings if settings is None else dict(settings),
        prompts=plain_prompts(prompts),
        records=plain_records(records),
        ends=known.ends if ends is None else dict(ends),
        notes=tuple(dict.fromkeys((*facts.notes, *notes))),
    )
    write_provenance(target.segmentation, target.segment_id, found)


def _image(target: Target, facts: Facts) -> dict[str, Any]:
    """The image without a name; its hash comes with the first job that has time for it."""
    found = image_facts(volume_from_node(target.volume), voxels=False)
    if facts.voxels_sha256:
        return {**found, "voxels_sha256": facts.voxels_sha256}
    return found
