"""Stand-ins for CTK's widgets: the properties, slots and signals that scripted modules use."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from .qt_object import PythonQtManners
from .widget_base import emit, kept_property, register

Signal = QtCore.Signal
ctk = types.ModuleType("ctk")
HEADER = 24


class ctkCollapsibleButton(PythonQtManners, QtWidgets.QWidget):
    """A section with a header that hides its contents."""

    contentsCollapsed = Signal(bool)
    collapsed = kept_property(bool, "collapsed", False, "contentsCollapsed")
    text = kept_property(str, "text", "")
    collapsedHeight = kept_property(int, "collapsedHeight", 0)
    checkable = kept_property(bool, "checkable", True)

    def __init__(self, text: Any = "", parent: Any = None) -> None:
        if isinstance(text, QtWidgets.QWidget):
            text, parent = "", text
        super().__init__(parent)
        self._hidden: list[QtWidgets.QWidget] = []
        self.text = text
        QtWidgets.QWidget.setContentsMargins(self, 0, HEADER + 2, 0, 0)

    def _collapsed_changed(self, collapsed: bool) -> None:
        for child in self._hidden:
            child.setVisible(True)
        self._hidden = []
        self._hide_children(collapsed)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """A .ui file says ``collapsed`` before the children are there; CTK hides those that come later too."""
        self._hide_children(self.collapsed)
        super().showEvent(event)

    def _hide_children(self, collapsed: bool) -> None:
        if collapsed:
            widgets = [child for child in QtCore.QObject.children(self) if isinstance(child, QtWidgets.QWidget)]
            found = [child for child in widgets if not QtWidgets.QWidget.isHidden(child)]
            self._hidden += found
            for child in found:
                child.setVisible(False)
        QtWidgets.QWidget.updateGeometry(self)
        QtWidgets.QWidget.update(self)

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        header = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), HEADER)
        painter.fillRect(header, QtGui.QColor(225, 228, 234))
        painter.setPen(QtGui.QColor(20, 20, 20))
        middle = QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawText(header.adjusted(22, 0, 0, 0), middle, self.text)
        painter.drawText(header.adjusted(6, 0, 0, 0), middle, "\u25b8" if self.collapsed else "\u25be")
        painter.end()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() < HEADER:
            self.collapsed = not self.collapsed


class ctkCollapsibleGroupBox(PythonQtManners, QtWidgets.QGroupBox):
    """A group box that can be closed."""

    collapsed = kept_property(bool, "collapsed", False)


class ctkSliderWidget(PythonQtManners, QtWidgets.QWidget):
    """A slider with a spin box."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    minimum = kept_property(float, "minimum", 0.0)
    maximum = kept_property(float, "maximum", 99.0)
    singleStep = kept_property(float, "singleStep", 1.0)
    pageStep = kept_property(float, "pageStep", 10.0)
    decimals = kept_property(int, "decimals", 2)
    suffix = kept_property(str, "suffix", "")
    prefix = kept_property(str, "prefix", "")
    tracking = kept_property(bool, "tracking", True)
    tickInterval = kept_property(float, "tickInterval", 0.0)
    spinBoxVisible = kept_property(bool, "spinBoxVisible", True)
    popupSlider = kept_property(bool, "popupSlider", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._value = 0.0
        self._showing = False
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, 1000)
        self._box = QtWidgets.QDoubleSpinBox()
        self._box.setRange(-1e9, 1e9)
        row.addWidget(self._slider, 1)
        row.addWidget(self._box)
        self._slider.valueChanged.connect(self._on_slider)
        self._box.valueChanged.connect(self._on_box)
        self._show()

    def _get_value(self) -> float:
        return self._value

    def setValue(self, value: float) -> None:
        """Set the value, cut to the range."""
        value = float(min(max(value, self.minimum), self.maximum))
        if value != self._value:
            self._value = value
            self._show()
            emit(self, "valueChanged", value)

    value = QtCore.Property(float, _get_value, setValue)

    def setRange(self, low: float, high: float) -> None:
        """Set both ends."""
        self.minimum, self.maximum = float(low), float(high)

    def setMinimum(self, value: float) -> None:
        """Set the lower end."""
        self.minimum = float(value)

    def setMaximum(self, value: float) -> None:
        """Set the upper end."""
        self.maximum = float(value)

    def _on_slider(self, position: int) -> None:
        if not self._showing:
            self.setValue(self.minimum + (self.maximum - self.minimum) * position / 1000)

    def _on_box(self, value: float) -> None:
        if not self._showing:
            self.setValue(value)

    def _show(self, _value: object = None) -> None:
        self._showing = True
        self._box.setDecimals(self.decimals)
        self._box.setSuffix(self.suffix)
        self._box.setPrefix(self.prefix)
        self._box.setSingleStep(self.singleStep)
        self._box.setValue(self._value)
        span = self.maximum - self.minimum
        if span > 0:
            self._slider.setValue(int(1000 * (self._value - self.minimum) / span))
        self._showing = False

    def _range_changed(self, _value: float) -> None:
        self.setValue(self._value)
        self._show()

    _minimum_changed = _maximum_changed = _range_changed
    _decimals_changed = _suffix_changed = _prefix_changed = _singleStep_changed = _show


class ctkRangeWidget(PythonQtManners, QtWidgets.QWidget):
    """Two values within a range."""

    valuesChanged = Signal(float, float)
    minimum = kept_property(float, "minimum", 0.0)
    maximum = kept_property(float, "maximum", 99.0)
    decimals = kept_property(int, "decimals", 2)
    singleStep = kept_property(float, "singleStep", 1.0)
    minimumValue = kept_property(float, "minimumValue", 0.0)
    maximumValue = kept_property(float, "maximumValue", 99.0)

    def setRange(self, low: float, high: float) -> None:
        """Set both ends."""
        self.minimum, self.maximum = float(low), float(high)

    def setValues(self, low: float, high: float) -> None:
        """Set both values."""
        if (low, high) != (self.minimumValue, self.maximumValue):
            self.minimumValue, self.maximumValue = float(low), float(high)
            emit(self, "valuesChanged", float(low), float(high))


class ctkComboBox(PythonQtManners, QtWidgets.QComboBox):
    """A combo box with a default text."""

    defaultText = kept_property(str, "defaultText", "")


class ctkCheckablePushButton(PythonQtManners, QtWidgets.QPushButton):
    """A push button with a check box."""

    checkBoxControlsButtonToggleState = kept_property(bool, "checkBoxControlsButtonToggleState", True)


class ctkMenuButton(PythonQtManners, QtWidgets.QPushButton):
    """A push button with a menu."""


class ctkPathLineEdit(PythonQtManners, QtWidgets.QWidget):
    """A path with a browse button."""

    currentPathChanged = Signal(str)
    Files, Dirs, Readable = 0x002, 0x001, 0x010
    currentPath = kept_property(str, "currentPath", "", "currentPathChanged")
    settingKey = kept_property(str, "settingKey", "")
    label = kept_property(str, "label", "")
    filters = kept_property(int, "filters", 0)
    nameFilters = kept_property("QStringList", "nameFilters", [])


class ctkDirectoryButton(PythonQtManners, QtWidgets.QPushButton):
    """A folder."""

    directoryChanged = Signal(str)
    directory = kept_property(str, "directory", "", "directoryChanged")


class ctkMessageBox(PythonQtManners, QtWidgets.QMessageBox):
    """A message box that can be switched off."""

    dontShowAgainVisible = kept_property(bool, "dontShowAgainVisible", False)
    dontShowAgainSettingsKey = kept_property(str, "dontShowAgainSettingsKey", "")


register(
    ctk,
    ctkCollapsibleButton,
    ctkCollapsibleGroupBox,
    ctkSliderWidget,
    ctkRangeWidget,
    ctkComboBox,
    ctkCheckablePushButton,
    ctkMenuButton,
    ctkPathLineEdit,
    ctkDirectoryButton,
    ctkMessageBox,
)
