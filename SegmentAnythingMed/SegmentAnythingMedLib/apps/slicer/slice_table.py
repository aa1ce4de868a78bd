"""The table of slices: what happened on each, coloured by doubt; a click goes there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from slicer.i18n import tr as _

from .slice_words import Doubt, SliceRow, doubt_words, next_doubtful

_TINTS = {Doubt.SURE: None, Doubt.LOOK: "#fff2c4", Doubt.DOUBTFUL: "#ffd2c9"}
_INK = "#1a1a1a"
"""Text on a tint; it must be read in dark themes too."""
_ROW_PX = 22


class SliceTable:
    """Rows of a QTableWidget.

    Args:
        widget: the QTableWidget.
        chosen: called with a slice when the user clicks its row or moves there by keyboard.
    """

    def __init__(self, widget: qt.QTableWidget, chosen: Callable[[int], None]) -> None:
        self._widget, self._chosen = widget, chosen
        self._showing = False
        self.rows: list[SliceRow] = []
        widget.setColumnCount(5)
        widget.setHorizontalHeaderLabels([_("Slice"), _("What happened"), _("IoU"), _("Predicted"), _("Check")])
        header = widget.horizontalHeader()
        for column in range(5):
            stretch = column == 1
            header.setSectionResizeMode(column, qt.QHeaderView.Stretch if stretch else qt.QHeaderView.ResizeToContents)
        widget.verticalHeader().setDefaultSectionSize(_ROW_PX)
        widget.verticalHeader().hide()
        widget.selectionBehavior = qt.QAbstractItemView.SelectRows
        widget.selectionMode = qt.QAbstractItemView.SingleSelection
        widget.editTriggers = qt.QAbstractItemView.NoEditTriggers
        widget.connect("currentCellChanged(int,int,int,int)", self._current_changed)
        widget.connect("cellClicked(int,int)", self._clicked)

    @property
    def current(self) -> int | None:
        """Slice of the selected row."""
        row = self._widget.currentRow()
        return self.rows[row].index if 0 <= row < len(self.rows) else None

    def show(self, rows: Sequence[SliceRow]) -> None:
        """Show these rows; the selected slice stays selected while it is among them."""
        if list(rows) == self.rows:
            return
        selected = self.current
        self._showing = True
        try:
            self.rows = list(rows)
            self._widget.setRowCount(len(self.rows))
            for number, row in enumerate(self.rows):
                self._fill(number, row)
        finally:
            self._showing = False
        self.select(selected)

    def select(self, index: int | None) -> None:
        """Mark the row of a slice without going there; None or an unknown slice: no row."""
        number = next((number for number, row in enumerate(self.rows) if row.index == index), -1)
        self._showing = True
        try:
            self._widget.setCurrentCell(number, 0 if number >= 0 else -1)
        finally:
            self._showing = False

    def go_to_next_doubtful(self, current: int | None) -> int | None:
        """Select the next slice above ``current`` that deserves a look and go there; returns it."""
        index = next_doubtful(self.rows, current)
        if index is not None:
            self.select(index)
            self._chosen(index)
        return index

    def _fill(self, number: int, row: SliceRow) -> None:
        texts = (str(row.index), row.words, _figure(row.iou), _figure(row.predicted_iou), doubt_words(row.doubt))
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(row.words)
            if _TINTS[row.doubt] is not None:
                item.setBackground(qt.QBrush(qt.QColor(_TINTS[row.doubt])))
                item.setForeground(qt.QBrush(qt.QColor(_INK)))
            self._widget.setItem(number, column, item)

    def _current_changed(self, row: int, _column: int, row_before: int, _column_before: int) -> None:
        if not self._showing and row != row_before and 0 <= row < len(self.rows):
            self._chosen(self.rows[row].index)

    def _clicked(self, row: int, _column: int) -> None:
        """A click on the selected row goes there again; one on another row came by _current_changed too."""
        if 0 <= row < len(self.rows):
            self._chosen(self.rows[row].index)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
