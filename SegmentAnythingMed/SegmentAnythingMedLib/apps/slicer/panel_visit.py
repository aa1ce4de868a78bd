"""Panel, section Prior visit: both visits, the alignment, the proposal, the table of drafts, the verdict, export."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ...adaptive.flags import AMBER, GREEN, RED
from ...errors import InputError, SegmentAnythingMedError
from .events import Step
from .panel_propagation import step_words
from .parameters import ALIGNMENTS, VISIT_METHODS, ModuleParameters
from .provenance import DRAFT
from .saying import said
from .visit_drafts import VisitRow
from .visit_export import known_series
from .visit_words import (
    diameter_words,
    finding_words,
    reasons_words,
    status_words,
    volume_words,
)
from .visit_work import VisitWork

_TINTS = {GREEN: "#d5efd5", AMBER: "#fff2c4", RED: "#ffd2c9"}
_INK = "#1a1a1a"
_ROW_PX = 22
_STOPS = (
    "visits.patient", "visits.laterality", "visits.dates", "visits.same_study", "visits.frame", "visits.series",
    "visits.overlap", "visits.modality",
)  # fmt: skip
"""Findings that a person may accept; the override is kept in the record of each draft."""


class VisitPart:
    """Widgets of the section, and what the buttons do.

    Args:
        ui: widgets by name.
        work: does it.
        guarded: context for an action of the user.
        go_to: called with a slice to show.
        select: called with (segmentation, segment id) of a draft that the user wants to work on.
    """

    def __init__(
        self,
        ui: Any,
        work: VisitWork,
        guarded: Callable[[], AbstractContextManager],
        go_to: Callable[[int], None],
        select: Callable[[Any, str], None],
    ) -> None:
        self.ui, self.work = ui, work
        self._guarded, self._go_to, self._select = guarded, go_to, select
        self._parameters: ModuleParameters | None = None
        self._showing = False
        self._looked = -1
        self._listed: tuple[tuple[str, str], ...] = ()
        self._allowed: frozenset[str] = frozenset()
        self.rows: list[VisitRow] = []
        alignments = (_("Register automatically"), _("As shown in the scene"), _("By a transform"))
        for name, words in zip(ALIGNMENTS, alignments, strict=True):
            ui.alignmentSelector.addItem(words, name)
        methods = (_("Model and look of the prior (P2SAM)"), _("Registration only"))
        for name, words in zip(VISIT_METHODS, methods, strict=True):
            ui.visitMethodSelector.addItem(words, name)
        self._make_table()
        self._connections = (
            (ui.alignmentSelector, "currentIndexChanged(int)", self._alignment_chosen),
            (ui.visitMethodSelector, "currentIndexChanged(int)", self._method_chosen),
            (ui.priorStructures, "itemChanged(QListWidgetItem*)", self._structures_chosen),
            (ui.proposeButton, "clicked()", self.start),
            (ui.segmentVisitButton, "clicked()", self.segment),
            (ui.dropVisitButton, "clicked()", self.drop),
            (ui.visitTable, "cellClicked(int,int)", self._clicked),
            (ui.acceptVisitButton, "clicked()", self.accept),
            (ui.rejectVisitButton, "clicked()", self.reject),
            (ui.exportRtButton, "clicked()", self.export_rtstruct),
            (ui.exportSegButton, "clicked()", self.export_seg),
        )
        for widget, signal, slot in self._connections:
            widget.connect(signal, slot)
        self.refresh()

    @property
    def row(self) -> VisitRow | None:
        """The selected line."""
        number = self.ui.visitTable.currentRow()
        return self.rows[number] if 0 <= number < len(self.rows) else None

    def show(self, parameters: ModuleParameters | None) -> None:
        """Follow a parameter node."""
        self._parameters = parameters
        work, ui = self.work, self.ui
        if parameters is None:
            return
        self._showing = True
        try:
            work.prior, work.prior_segmentation = parameters.priorVolume, parameters.priorSegmentation
            work.alignment, work.transform = parameters.alignment, parameters.priorTransform
            work.method = parameters.visitMethod
            if work.proposal is None and parameters.segmentation is not parameters.priorSegmentation:
                work.shown = parameters.segmentation
            self._list_structures()
            ui.alignmentSelector.currentIndex = ALIGNMENTS.index(parameters.alignment)
            ui.visitMethodSelector.currentIndex = VISIT_METHODS.index(parameters.visitMethod)
            ui.priorTransformSelector.enabled = parameters.alignment == ALIGNMENTS[2]
        finally:
            self._showing = False
        self.refresh()

    def refresh(self) -> None:
        """Show the drafts, and enable what can be done now."""
        ui, work, parameters = self.ui, self.work, self._parameters
        busy = work.controller.busy
        rows = work.rows
        if rows != self.rows:
            self._fill(rows)
        both = bool(parameters and parameters.inputVolume and parameters.priorVolume and parameters.priorSegmentation)
        both = both and work.wanted != set()
        proposal = work.proposal is not None
        row = self.row
        ui.proposeButton.enabled = both and not busy
        ui.segmentVisitButton.enabled = proposal and not busy
        ui.dropVisitButton.enabled = proposal and not busy
        ui.acceptVisitButton.enabled = bool(row) and row.status == DRAFT and not proposal and not busy
        ui.rejectVisitButton.enabled = ui.acceptVisitButton.enabled
        written = not proposal and not busy and any(one.status for one in rows)
        ui.exportRtButton.enabled = ui.exportSegButton.enabled = written
        ui.visitReasons.text = "" if row is None else reasons_words(row)
        today = parameters.inputVolume.GetName() if parameters and parameters.inputVolume else _("none")
        ui.visitTodayLabel.text = _("Today's image (section Input): {name}").format(name=today)
        ui.visitHint.text = hint_words(both, proposal, bool(rows))

    def show_progress(self, step: Step) -> None:
        """How far the comparison is; the bar is that of the section Propagation."""
        if self.work.comparing:
            self.ui.visitHint.text = _("{what}. Escape cancels.").format(what=step_words(step))

    def close(self) -> None:
        """Let go of the widgets."""
        for widget, signal, slot in self._connections:
            widget.disconnect(signal, slot)

    # ---- buttons ----

    def start(self) -> None:
        """Compare the visits; the prompts are shown when it is done."""
        self._allowed = frozenset()
        self.propose(self._allowed)

    def propose(self, allow: frozenset[str]) -> None:
        """Compare the visits although something was found that speaks against it."""
        with self._guarded():
            self.work.propose(allow)

    def segment(self) -> None:
        """Write the drafts, with the prompts as they are now."""
        with self._guarded():
            self.work.segment()

    def drop(self) -> None:
        """Forget the proposal."""
        with self._guarded():
            self.work.drop()

    def accept(self) -> None:
        """The selected draft is as the user wants it."""
        with self._guarded():
            self.work.accept(self.row.segment_id)

    def reject(self) -> None:
        """The selected draft is not wanted."""
        with self._guarded():
            self.work.reject(self.row.segment_id)

    def export_rtstruct(self) -> None:
        """Write the drafts as an RT structure set."""
        self._export("rtstruct", _("Export as RT structure set"))

    def export_seg(self) -> None:
        """Write the drafts as a DICOM segmentation."""
        self._export("seg", _("Export as DICOM SEG"))

    def asked(self, error: SegmentAnythingMedError) -> bool:
        """The visits do not seem to belong together: ask, and compare them all the same; True when that was done."""
        if error.code not in _STOPS or not isinstance(error, InputError):
            return False
        words = _("{what}\n\nCompare them all the same? That you said so is kept with every draft.")
        if not slicer.util.confirmYesNoDisplay(words.format(what=said(error)), _("Prior visit")):
            return False
        self._allowed |= {error.code}
        self.propose(self._allowed)
        return True

    def _export(self, kind: str, title: str) -> None:
        with self._guarded():
            window = slicer.util.mainWindow()
            series = known_series(self._parameters.inputVolume)
            if not series:
                words = _("Folder of today's original DICOM series")
                folder = qt.QFileDialog.getExistingDirectory(window, words)
                if not folder:
                    return
                series = [Path(folder)]
            chosen = qt.QFileDialog.getSaveFileName(window, title, f"{kind}.dcm", "DICOM (*.dcm)")
            path = chosen[0] if isinstance(chosen, tuple) else chosen
            if path:
                self.work.export(kind, Path(path), series)

    # ---- table ----

    def _make_table(self) -> None:
        table = self.ui.visitTable
        titles = (_("Structure"), _("Finding"), _("Volume"), _("Diameter"), _("Status"))
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(list(titles))
        for column in range(len(titles)):
            mode = qt.QHeaderView.Stretch if column == 1 else qt.QHeaderView.ResizeToContents
            table.horizontalHeader().setSectionResizeMode(column, mode)
        table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        table.verticalHeader().hide()
        table.selectionBehavior = qt.QAbstractItemView.SelectRows
        table.selectionMode = qt.QAbstractItemView.SingleSelection
        table.editTriggers = qt.QAbstractItemView.NoEditTriggers

    def _fill(self, rows: list[VisitRow]) -> None:
        table, selected = self.ui.visitTable, self.row
        self.rows = rows
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            texts = (
                row.name, finding_words(row), volume_words(row), diameter_words(row), status_words(row.status)
            )  # fmt: skip
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(reasons_words(row))
                if column == 1 and row.colour in _TINTS:
                    item.setBackground(qt.QBrush(qt.QColor(_TINTS[row.colour])))
                    item.setForeground(qt.QBrush(qt.QColor(_INK)))
                table.setItem(number, column, item)
        ids = [row.segment_id for row in rows]
        table.setCurrentCell(ids.index(selected.segment_id) if selected and selected.segment_id in ids else -1, 0)

    def _clicked(self, number: int, _column: int) -> None:
        """Work on the draft, and show its next slice to look at; without one, its middle."""
        if not 0 <= number < len(self.rows):
            return
        row = self.rows[number]
        self._select(self.work.shown, row.segment_id)
        places = row.slices or self._middle(row)
        if places:
            self._looked = next((index for index in places if index > self._looked), places[0])
            self._go_to(self._looked)
        self.refresh()

    def _middle(self, row: VisitRow) -> tuple[int, ...]:
        if self.work.proposal is not None:
            prompted = sorted(self.work.proposal.marks.get(row.name, {}))
        else:
            prompted = sorted(n for n, record in self.work.controller.records.items() if record.accepted)
        return (prompted[len(prompted) // 2],) if prompted else ()

    def _list_structures(self) -> None:
        """The segments of the prior, all of them wanted at first."""
        segmentation = self._parameters.priorSegmentation
        content = None if segmentation is None else segmentation.GetSegmentation()
        ids = [content.GetNthSegmentID(n) for n in range(content.GetNumberOfSegments())] if content else []
        listed = tuple((segment_id, content.GetSegment(segment_id).GetName()) for segment_id in ids)
        if listed == self._listed:
            return
        self._listed = listed
        self.work.wanted = None
        self.ui.priorStructures.clear()
        for _segment_id, name in listed:
            item = qt.QListWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked)
            self.ui.priorStructures.addItem(item)

    def _structures_chosen(self, *_arguments: object) -> None:
        if self._showing:
            return
        items = self.ui.priorStructures
        checked = [items.item(n).checkState() == qt.Qt.Checked for n in range(items.count)]
        chosen = {segment_id for (segment_id, _name), on in zip(self._listed, checked, strict=True) if on}
        self.work.wanted = None if all(checked) else chosen
        self.refresh()

    def _alignment_chosen(self, index: int) -> None:
        if not self._showing and self._parameters is not None:
            self._parameters.alignment = ALIGNMENTS[index]

    def _method_chosen(self, index: int) -> None:
        if not self._showing and self._parameters is not None:
            self._parameters.visitMethod = VISIT_METHODS[index]


def hint_words(both: bool, proposal: bool, rows: bool) -> str:
    """What to do next."""
    if proposal:
        return _("Look at the prompts in the views: move, add or remove some with the tools above. Then press Segment.")
    if rows:
        return _("Click a structure to look at it. Correct it with the tools above, then accept or reject it.")
    if both:
        return _("Press Find prompts. Nothing is written before you have seen them.")
    return _("Choose the image and the contours of the prior visit.")
