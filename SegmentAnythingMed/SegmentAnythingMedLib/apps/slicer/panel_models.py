"""Panel, section Models: the catalogue of checkpoints, licences, download, import from disk, removal."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from ...errors import ModelError, SegmentAnythingMedError
from ...models.entries import CatalogEntry, model_folder
from ...models.licences import licence_text
from .events import Step
from .model_shelf import ABSENT, HERE, SHIPPED, UNFINISHED, ModelShelf, ShelfRow
from .panel_propagation import duration_words
from .quitting import GUARD
from .saying import said

_COLUMNS = 4
_ROW_PX = 22
_FILES = "*.safetensors *.pth *.pt *.bin *.ckpt"


class ModelPart:
    """List of models and what can be done with the selected one.

    Args:
        ui: widgets by name.
        changed: called when a model was fetched, imported or removed.
        use: called with the name of a model that the user wants to work with.
    """

    def __init__(self, ui: Any, changed: Callable[[], None], use: Callable[[str], None]) -> None:
        self.ui, self._changed, self._use = ui, changed, use
        self.shelf = ModelShelf(self._told)
        self.rows: list[ShelfRow] = []
        self._importing: Path | None = None
        table = ui.modelsTable
        table.setColumnCount(_COLUMNS)
        table.setHorizontalHeaderLabels([_("Model"), _("Here"), _("Size"), _("Licence")])
        for column in range(_COLUMNS):
            last = column == _COLUMNS - 1
            mode = qt.QHeaderView.Stretch if last else qt.QHeaderView.ResizeToContents
            table.horizontalHeader().setSectionResizeMode(column, mode)
        table.verticalHeader().setDefaultSectionSize(_ROW_PX)
        table.verticalHeader().hide()
        table.selectionBehavior = qt.QAbstractItemView.SelectRows
        table.selectionMode = qt.QAbstractItemView.SingleSelection
        table.editTriggers = qt.QAbstractItemView.NoEditTriggers
        self._connections = (
            (table, "currentCellChanged(int,int,int,int)", self._row_chosen),
            (ui.downloadModelButton, "clicked()", self.download),
            (ui.importModelButton, "clicked()", self.choose_file),
            (ui.removeModelButton, "clicked()", self.remove),
            (ui.useModelButton, "clicked()", self.use),
            (ui.cancelModelButton, "clicked()", self.shelf.cancel),
        )
        for widget, signal, slot in self._connections:
            widget.connect(signal, slot)
        self._show_end("")
        self.refresh()

    @property
    def entry(self) -> CatalogEntry | None:
        """The selected model."""
        row = self.ui.modelsTable.currentRow()
        return self.rows[row].entry if 0 <= row < len(self.rows) else None

    def poll(self) -> None:
        """Show how far a download is; from the panel's timer."""
        self.shelf.poll()

    def refresh(self) -> None:
        """Read the folder of models again."""
        selected = self.entry.name if self.entry is not None else None
        self.rows = self.shelf.rows()
        table = self.ui.modelsTable
        table.setRowCount(len(self.rows))
        for number, row in enumerate(self.rows):
            texts = (row.entry.name, state_words(row.state), size_words(row.bytes), licence_words(row.entry))
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.entry.description)
                table.setItem(number, column, item)
        names = [row.entry.name for row in self.rows]
        table.setCurrentCell(names.index(selected) if selected in names else 0, 0)
        words = _("Models on this computer: {size}, in {folder}.")
        self.ui.modelFolderLabel.text = words.format(size=size_words(self.shelf.stored_bytes()), folder=_short_folder())
        self._show_row()

    def close(self) -> None:
        """Stop what runs, let go of the widgets."""
        GUARD.end(self)
        self.shelf.close()
        for widget, signal, slot in self._connections:
            widget.disconnect(signal, slot)

    # ---- buttons ----

    def download(self) -> None:
        """Fetch the selected model; a licence that asks for more than its notice has to be accepted first."""
        entry = self.entry
        with_consent = self.shelf.needs_consent(entry.name)
        if with_consent:
            words = _("{licence}\n\nDo you accept it? Only then is the file fetched.")
            if not slicer.util.confirmOkCancelDisplay(words.format(licence=licence_text(entry)), _("Licence")):
                self._show_end(_("Nothing was downloaded."))
                return
        self._guarded(lambda: self.shelf.download(entry.name, with_consent))

    def choose_file(self) -> None:
        """Ask for a checkpoint file on the disks."""
        chosen = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Import a model"), "", _("Model files") + f" ({_FILES})"
        )
        file = chosen[0] if isinstance(chosen, tuple) else chosen
        if file:
            self.take_in(Path(file))

    def take_in(self, file: Path, name: str | None = None) -> None:
        """Copy a checkpoint file into the folder of models.

        Args:
            file: stays as it is.
            name: what it is; None to tell by its hash.
        """
        self._importing = file if name is None else None
        self._guarded(lambda: self.shelf.take_in(file, name))

    def remove(self) -> None:
        """Delete the file of the selected model, after a question."""
        entry = self.entry
        words = _("Delete {file} from this computer? It can be downloaded or imported again.")
        if slicer.util.confirmOkCancelDisplay(words.format(file=entry.file_name), _("Remove a model")):
            self._guarded(lambda: self.shelf.remove(entry.name))

    def use(self) -> None:
        """Work with the selected model."""
        self._use(self.entry.name)

    # ---- what is told ----

    def _told(self, event: str, data: Any) -> None:
        if event == "busy":
            if data:
                GUARD.begin(self, self._stop)
            else:
                GUARD.end(self)
            self._show_row()
        elif event == "progress":
            self._show_progress(data)
        elif event == "done":
            self._importing = None
            self._show_end(data)
            self.refresh()
            self._changed()
        else:
            self._failed(data)

    def _failed(self, error: SegmentAnythingMedError) -> None:
        file, self._importing = self._importing, None
        if isinstance(error, ModelError) and error.code == "model.unrecognised" and file is not None:
            words = _("{file} is none of the files that are known by their hash. Is it the file of {model}?")
            question = words.format(file=file.name, model=self.entry.name)
            if self.entry.file_name and slicer.util.confirmYesNoDisplay(question, _("Import a model")):
                self.take_in(file, self.entry.name)
                return
        self._show_end(_("<b>Problem:</b> {what}").format(what=escape(said(error))))
        self.refresh()

    def _stop(self, seconds: float) -> None:
        self.shelf.cancel()
        self.shelf.wait(seconds)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            self._show_end("")
            action()
        except SegmentAnythingMedError as error:
            self._failed(error)

    def _show_progress(self, step: Step) -> None:
        bar = self.ui.modelProgressBar
        bar.setRange(0, step.total or 0)
        bar.setValue(min(step.done, step.total) if step.total else 0)
        words = said(step.label)
        if step.total:
            words = _("{what}: {done} of {total} MB").format(what=words, done=step.done, total=step.total)
        if step.remaining_s is not None:
            words = _("{said}, {time} left").format(said=words, time=duration_words(step.remaining_s))
        self.ui.modelProgressLabel.text = words

    def _show_end(self, words: str) -> None:
        self.ui.modelProgressBar.setRange(0, 100)
        self.ui.modelProgressBar.setValue(0)
        self.ui.modelProgressLabel.text = words

    def _row_chosen(self, *_arguments: object) -> None:
        self._show_row()

    def _show_row(self) -> None:
        """What can be done with the selected model, and what one should know of it."""
        row = next((row for row in self.rows if self.entry is not None and row.entry.name == self.entry.name), None)
        state, idle = row.state if row else "", not self.shelf.busy
        ui = self.ui
        ui.downloadModelButton.enabled = idle and state in (ABSENT, UNFINISHED) and bool(row.entry.urls)
        ui.removeModelButton.enabled = idle and state in (HERE, UNFINISHED)
        ui.useModelButton.enabled = state in (HERE, SHIPPED)
        ui.importModelButton.enabled = idle
        ui.cancelModelButton.enabled = not idle
        ui.modelDetails.text = "" if row is None else details(row.entry)


def _short_folder() -> str:
    """The folder of models as one would write it: from the home folder on."""
    folder = model_folder()
    try:
        return str(Path("~") / folder.relative_to(Path.home()))
    except ValueError:
        return str(folder)


def state_words(state: str) -> str:
    """Where a model is."""
    words = {
        HERE: _("yes"),
        UNFINISHED: _("in part"),
        ABSENT: _("no"),
        SHIPPED: _("built in"),
    }
    return words[state]


def size_words(size: int | None) -> str:
    """Bytes as a person would say them."""
    if size is None:
        return _("unknown")
    megabytes = size / 1e6
    return _("{n} MB").format(n=f"{megabytes:.0f}" if megabytes >= 10 else f"{megabytes:.1f}")


def licence_words(entry: CatalogEntry) -> str:
    """Licence of the weights in a word or two."""
    licence = _("unknown") if entry.licence == "unknown" else entry.licence
    return _("{licence}, research only").format(licence=licence) if entry.research_only else licence


def details(entry: CatalogEntry) -> str:
    """Description, terms, source and citation of a model, in rich text."""
    lines = [f"<b>{escape(entry.name)}</b>: {escape(entry.description)} {escape(entry.good_for)}"]
    lines.append(escape(licence_text(entry)))
    if entry.citation:
        lines.append(_("Please cite: {citation}").format(citation=escape(entry.citation)))
    if entry.file_name and not entry.available and not entry.urls:
        words = _("It has to be fetched by hand: save {file} from the address above, then import it.")
        lines.append(escape(words.format(file=entry.file_name)))
    return "<br>".join(lines)
