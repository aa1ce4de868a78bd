"""Drafts of a prior visit as DICOM objects of today's original series: from segments to a file, in the background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ...errors import InputError
from ...files.drafts import Draft, Origin
from .adapting import export_drafts
from .provenance import read_provenance
from .reading import read_segment
from .tasks import Task
from .visit_drafts import MODE, VisitRow
from .volumes import volume_from_node

if TYPE_CHECKING:
    from ...files.drafts import Written
    from .controller import Controller

_INSTANCES = "DICOM.instanceUIDs"


class ExportTask(Task):
    """Writes one file; the segments are only read.

    Args:
        controller: whose worker does it.
        kind: ``rtstruct`` or ``seg``.
        path: file to write.
        series: files of the original series, or its folder.
        volume: today's volume node.
        segmentation: of the drafts.
        rows: drafts to write.

    Raises:
        InputError: ``visits.nothing``, ``volume.*``, ``segment.*``.
    """

    def __init__(
        self,
        controller: Controller,
        kind: str,
        path: Path,
        series: Sequence[Path],
        volume: Any,
        segmentation: Any,
        rows: Sequence[VisitRow],
    ) -> None:
        if volume is None or not rows:
            raise InputError("visits.nothing", _("Expected drafts of today's image; there is none to export."))
        drafts = [draft_of(segmentation, volume, row) for row in rows]
        origin = _origin(segmentation, rows[0].segment_id)
        image = volume_from_node(volume)
        super().__init__(controller, export_drafts, kind, path, list(series), image, drafts, origin)
        self._path = path

    def done(self, result: Written) -> None:
        """Say what was written, and how well it was read back."""
        words = _("{count} structures were written to {file}, unapproved; read back, the least Dice is {dice}.")
        said = words.format(count=len(result.names), file=self._path.name, dice=f"{result.dice:.3f}")
        self.controller.listeners.tell("status", said)


def draft_of(segmentation: Any, volume: Any, row: VisitRow) -> Draft:
    """A segment as it is now, for the DICOM writers: never approved, with a sentence on how it came about."""
    segment = segmentation.GetSegmentation().GetSegment(row.segment_id)
    known = read_provenance(segmentation, row.segment_id)
    transform = (known.settings or {}).get("transform", {})
    parts = [f"{row.outcome}, {row.colour}", *row.reasons[:2], known.status]
    parts.append(f"transform {transform.get('kind', '')} sha256 {str(transform.get('sha256', ''))[:16]}")
    return Draft(
        name=segment.GetName(),
        mask=read_segment(segmentation, row.segment_id, volume),
        colour=tuple(round(255 * part) for part in segment.GetColor()),
        description="; ".join(part for part in parts if part),
    )


def known_series(volume: Any) -> list[Path]:
    """Files of the series that a volume was loaded from, as Slicer's DICOM database has them; none when it has not."""
    database = getattr(slicer, "dicomDatabase", None)
    uids = (volume.GetAttribute(_INSTANCES) or "").split()
    if database is None or not uids:
        return []
    files = [database.fileForInstance(uid) for uid in uids]
    return [Path(file) for file in files] if all(files) else []


def _origin(segmentation: Any, segment_id: str) -> Origin:
    known = read_provenance(segmentation, segment_id)
    model, settings = known.model or {}, known.settings or {}
    mode = f"{MODE}, {settings.get('method', '')}".rstrip(", ")
    return Origin(model=str(model.get("name", "")), model_sha256=str(model.get("sha256", "")), mode=mode)
