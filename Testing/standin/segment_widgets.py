"""Stand-ins for the widgets of segments and markups, on the real segmentation, selection and interaction nodes."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_widgets import qMRMLWidget, qSlicerWidget
from .qt_namespace import qt
from .widget_base import Observers, emit, kept_property

Signal = QtCore.Signal


class qMRMLSegmentsTableView(qMRMLWidget):
    """Table of the segments of a segmentation."""

    selectionChanged = Signal(object, object)
    SIGNATURES = {"selectionChanged(QItemSelection,QItemSelection)": "selectionChanged"}  # noqa: RUF012
    selectionMode = kept_property(int, "selectionMode", 3)
    headerVisible = kept_property(bool, "headerVisible", True)
    visibilityColumnVisible = kept_property(bool, "visibilityColumnVisible", True)
    colorColumnVisible = kept_property(bool, "colorColumnVisible", True)
    opacityColumnVisible = kept_property(bool, "opacityColumnVisible", True)
    statusColumnVisible = kept_property(bool, "statusColumnVisible", False)
    layerColumnVisible = kept_property(bool, "layerColumnVisible", False)
    filterBarVisible = kept_property(bool, "filterBarVisible", False)
    readOnly = kept_property(bool, "readOnly", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self._segmentation: Any = None
        self._ids: list[str] = []
        self._observers = Observers(self, "_refresh")
        self._table = QtWidgets.QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["", "", "Name"])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.verticalHeader().hide()
        for narrow in (0, 1):
            self._table.setColumnWidth(narrow, 26)
        column.addWidget(self._table)
        self._table.itemSelectionChanged.connect(lambda: emit(self, "selectionChanged", None, None))

    def segmentationNode(self) -> Any:
        """The segmentation shown."""
        return self._segmentation

    def setSegmentationNode(self, node: Any) -> None:
        """Show the segments of a segmentation."""
        self._observers.clear()
        self._segmentation = node
        if node is not None:
            events = slicer.vtkSegmentation
            self._observers.observe(
                node.GetSegmentation(), events.SegmentAdded, events.SegmentRemoved, events.SegmentModified
            )
        self._refresh()

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        """Ids of the selected rows; PythonQt gives lists of texts as tuples."""
        return tuple(self._ids[index.row()] for index in self._table.selectionModel().selectedRows())

    def setSelectedSegmentIDs(self, segment_ids: list[str] | tuple[str, ...]) -> None:
        """Select the rows of some segments."""
        self._table.clearSelection()
        for segment_id in segment_ids:
            if segment_id in self._ids:
                self._table.selectRow(self._ids.index(segment_id))

    def clearSelection(self) -> None:
        """Select nothing."""
        self._table.clearSelection()

    def _count(self) -> int:
        return len(self._ids)

    segmentCount = QtCore.Property(int, _count)

    def _scene_set(self, scene: Any) -> None:
        if scene is None:
            self.setSegmentationNode(None)

    def _refresh(self) -> None:
        selected = self.selectedSegmentIDs()
        self._table.blockSignals(True)
        self._table.setRowCount(0)
        self._ids.clear()
        segmentation = self._segmentation.GetSegmentation() if self._segmentation else None
        for row in range(segmentation.GetNumberOfSegments() if segmentation else 0):
            segment = segmentation.GetNthSegment(row)
            self._ids.append(segmentation.GetNthSegmentID(row))
            self._table.insertRow(row)
            self._table.setItem(row, 0, QtWidgets.QTableWidgetItem("\u25c9"))
            color = QtWidgets.QTableWidgetItem("")
            color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            self._table.setItem(row, 1, color)
            self._table.setItem(row, 2, QtWidgets.QTableWidgetItem(segment.GetName()))
        self.setSelectedSegmentIDs(selected)
        self._table.blockSignals(False)
        if self.selectedSegmentIDs() != selected:
            emit(self, "selectionChanged", None, None)


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Selector of a segmentation and one of its segments."""

    currentNodeChanged = Signal(object)
    currentSegmentChanged = Signal(str)
    SIGNATURES = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentSegmentChanged(QString)": "currentSegmentChanged",
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._segment_id = ""

    def currentNode(self) -> Any:
        """The segmentation."""
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        """Select a segmentation."""
        if node is not self._node:
            self._node = node
            emit(self, "currentNodeChanged", node)

    def currentSegmentID(self) -> str:
        """Id of the segment; empty when none is selected."""
        return self._segment_id

    def setCurrentSegmentID(self, segment_id: str) -> None:
        """Select a segment."""
        if segment_id != self._segment_id:
            self._segment_id = segment_id
            emit(self, "currentSegmentChanged", segment_id)


class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    """Place buttons; they drive the real selection and interaction nodes, so clicks in real views place points."""

    activeMarkupsPlaceModeChanged = Signal(bool)
    SIGNATURES = {"activeMarkupsPlaceModeChanged(bool)": "activeMarkupsPlaceModeChanged"}  # noqa: RUF012
    ShowPlaceMultipleMarkupsOption, HidePlaceMultipleMarkupsOption = 0, 1
    ForcePlaceSingleMarkup, ForcePlaceMultipleMarkups = 2, 3
    buttonsVisible = kept_property(bool, "buttonsVisible", True)
    placeMultipleMarkups = kept_property(int, "placeMultipleMarkups", 0)
    placeModePersistency = kept_property(bool, "placeModePersistency", False)
    deleteAllControlPointsOptionVisible = kept_property(bool, "deleteAllControlPointsOptionVisible", True)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._button = qt.QToolButton()

    def currentNode(self) -> Any:
        """The markups node that points are placed in."""
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        """Set the node that points are placed in."""
        self._node = node

    def placeButton(self) -> Any:
        """The button."""
        return self._button

    def setPlaceModeEnabled(self, enabled: bool) -> None:
        """Start or end placing."""
        logic = slicer.app.applicationLogic()
        selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
        if enabled and self._node is not None:
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())
            interaction.SetPlaceModePersistence(int(self.placeMultipleMarkups != self.ForcePlaceSingleMarkup))
            interaction.SetCurrentInteractionMode(interaction.Place)
        else:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        emit(self, "activeMarkupsPlaceModeChanged", bool(enabled))

    def _placing(self) -> bool:
        logic = slicer.app.applicationLogic()
        placing = logic.GetInteractionNode().GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place
        mine = self._node is not None and logic.GetSelectionNode().GetActivePlaceNodeID() == self._node.GetID()
        return placing and mine

    placeModeEnabled = QtCore.Property(bool, _placing, setPlaceModeEnabled)


WIDGETS = (qMRMLSegmentsTableView, qMRMLSegmentSelectorWidget, qSlicerMarkupsPlaceWidget)
