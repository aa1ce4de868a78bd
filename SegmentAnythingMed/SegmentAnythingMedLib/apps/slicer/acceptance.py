"""A person's verdict on a segment: accepted as it is now, with what they had changed in it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import slicer

from .labelmaps import layer_of
from .painted import grid_of_record, painted_on_record, slice_hash
from .provenance import ACCEPTED, read_provenance, utc_now, write_provenance
from .provenance_form import MAX_TEXT, Written
from .reading import read_plane


def accept(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, reviewer: str = "") -> None:
    """Mark a segment as reviewed and accepted, now; the next write makes it a draft again.

    The slices that were painted by hand, and a hash of the content, are kept: see :func:`changed_since_accepted`.

    Args:
        segmentation: in a scene.
        segment_id: of the segment.
        reviewer: who accepts it, as typed.

    Raises:
        InputError: ``segment.no_segmentation``, ``segment.missing``, ``segment.representation``.
    """
    known = read_provenance(segmentation, segment_id)
    edited = painted_on_record(segmentation, segment_id)
    accepted = replace(
        known,
        status=ACCEPTED,
        reviewer=reviewer.strip()[:MAX_TEXT],
        accepted_utc=utc_now(),
        edited_slices=tuple(sorted(edited)),
        content_hash=_content_hash(segmentation, segment_id, known.written),
    )
    write_provenance(segmentation, segment_id, accepted)


def changed_since_accepted(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """True when an accepted segment has another content now than when it was accepted.

    Raises:
        InputError: as :func:`accept`.
    """
    known = read_provenance(segmentation, segment_id)
    return known.status == ACCEPTED and known.content_hash != _content_hash(segmentation, segment_id, known.written)


def _content_hash(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, written: Written | None) -> str:
    """Of all slices on the grid that was written; empty when nothing was."""
    layer = layer_of(segmentation, segment_id)
    if written is None or layer is None:
        return ""
    grid = grid_of_record(written, layer)
    digest = hashlib.blake2b(digest_size=8)
    for index in range(written.shape["kji".index(written.axis)]):
        digest.update(slice_hash(read_plane(layer, grid, written.axis, index)).encode())
    return digest.hexdigest()
