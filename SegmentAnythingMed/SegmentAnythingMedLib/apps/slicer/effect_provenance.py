"""What the Segment Editor effect leaves in a segment's tags: the same record as the module's panel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...prompts.volume_prompts import Prompt
from ...propagation.records import SliceRecord
from .describing import describe
from .labelmaps import grid_of, map_between
from .painted import painted_slices, remember, written_here
from .provenance import read_provenance, record_of
from .requests import PredictResult, PropagateResult
from .targets import Target


@contextmanager
def writing(target: Target, slices: Iterable[int]) -> Iterator[None]:
    """Around a write: afterwards the content of these slices is known to be this program's.

    A slice that the user had painted counts as painted still: the effect adds to what is there.
    """
    segmentation, segment_id, volume = target.segmentation, target.segment_id, target.volume
    grid = map_between(volume, segmentation, grid_of(segmentation, segment_id))
    slices = set(slices)
    own = slices - painted_slices(segmentation, segment_id, volume, target.axis, slices)
    written = written_here(segmentation, segment_id, grid, target.axis)
    yield
    grid = map_between(volume, segmentation, grid_of(segmentation, segment_id))
    remember(segmentation, segment_id, written, grid, own)


def describe_answer(target: Target, result: PredictResult, prompts: Iterable[Prompt]) -> None:
    """One slice was answered; records of the other slices stay."""
    describe(target, result.facts, prompts, _merged(target, result.records), notes=result.notes)


def describe_propagation(
    target: Target, result: PropagateResult, prompts: Iterable[Prompt], settings: Mapping[str, Any]
) -> None:
    """A propagation has ended; every slice that it decided has a record."""
    found = result.results[target.key]
    ends = {name: getattr(found, name) for name in ("lower", "upper", "end_lower", "end_upper", "completed")}
    describe(target, result.facts, prompts, _merged(target, found.records), settings, ends, found.notes)


def _merged(target: Target, records: Mapping[int, SliceRecord]) -> list[SliceRecord]:
    known = read_provenance(target.segmentation, target.segment_id)
    merged: dict[int, SliceRecord] = {}
    if known.axis == target.axis:
        merged = {record.index: record for record in map(record_of, known.records)}
    return list({**merged, **records}.values())
