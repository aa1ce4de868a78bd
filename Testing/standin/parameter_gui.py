"""Binding of a parameter to a widget, by the widget's class as Slicer does it. Needs no Qt to be imported."""

from __future__ import annotations

import enum
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

from .parameter_types import Choice, Decimals, Parameter, SingleStep, WithinRange

if TYPE_CHECKING:
    from .parameter_node import WrappedParameterNode


class Connector(NamedTuple):
    """How a class of widgets keeps its value: signal, property or getter, types of parameter that fit."""

    widget: str
    signal: str
    attribute: str
    types: tuple[type, ...]


CONNECTORS = (
    Connector("qMRMLNodeComboBox", "currentNodeChanged(vtkMRMLNode*)", "", ()),
    Connector("QCheckBox", "toggled(bool)", "checked", (bool,)),
    Connector("QPushButton", "toggled(bool)", "checked", (bool,)),
    Connector("QComboBox", "currentTextChanged(QString)", "currentText", (str, enum.Enum)),
    Connector("QSpinBox", "valueChanged(int)", "value", (int,)),
    Connector("QSlider", "valueChanged(int)", "value", (int,)),
    Connector("QDoubleSpinBox", "valueChanged(double)", "value", (float,)),
    Connector("ctkSliderWidget", "valueChanged(double)", "value", (float, int)),
    Connector("QLineEdit", "textChanged(QString)", "text", (str,)),
    Connector("ctkPathLineEdit", "currentPathChanged(QString)", "currentPath", (pathlib.PurePath,)),
)


class GuiLink:
    """One widget bound to one parameter."""

    def __init__(self, owner: WrappedParameterNode, parameter: Parameter, widget: Any) -> None:
        self.owner = owner
        self.parameter = parameter
        self.widget = widget
        self.connector = self._find_connector()
        self._prepare()

    def show(self) -> None:
        """Put the parameter's value into the widget."""
        value = self.parameter.read(self.owner.parameterNode)
        if self.parameter.is_node:
            self.widget.setCurrentNode(value)
            return
        shown = value.name if self.parameter.is_enum else str(value) if isinstance(value, pathlib.PurePath) else value
        if getattr(self.widget, self.connector.attribute) != shown:
            setattr(self.widget, self.connector.attribute, shown)

    def connect(self) -> None:
        """Write the parameter whenever the user changes the widget."""
        self.widget.connect(self.connector.signal, self._on_changed)

    def disconnect(self) -> None:
        """Undo ``connect``."""
        self.widget.disconnect(self.connector.signal, self._on_changed)

    def _on_changed(self, *_: object) -> None:
        if not self.owner._refreshing:
            self.parameter.write(self.owner.parameterNode, self._value())

    def _value(self) -> Any:
        if self.parameter.is_node:
            return self.widget.currentNode()
        value = getattr(self.widget, self.connector.attribute)
        return self.parameter.type[value] if self.parameter.is_enum else self.parameter.type(value)

    def _find_connector(self) -> Connector:
        for connector in CONNECTORS:
            # Slicer compares the widget's very class, subclasses do not count.
            if type(self.widget).__name__ != connector.widget:
                continue
            fits = issubclass(self.parameter.type, connector.types) if connector.types else self.parameter.is_node
            if fits:
                return connector
        kind = type(self.widget).__name__
        raise RuntimeError(f"no connection of parameter {self.parameter.name} ({self.parameter.type}) with {kind}")

    def _prepare(self) -> None:
        """Range, decimals, step and choices of the parameter become those of the widget."""
        widget, bounds, choice = self.widget, self.parameter.note(WithinRange), self.parameter.note(Choice)
        if bounds is not None and self.connector.attribute == "value":
            widget.minimum, widget.maximum = bounds.minimum, bounds.maximum
        decimals, step = self.parameter.note(Decimals), self.parameter.note(SingleStep)
        if decimals is not None:
            widget.decimals = decimals.value
        if step is not None:
            widget.singleStep = step.value
        if self.connector.attribute == "currentText":
            self._fill(choice)
        if self.parameter.is_node and not widget.nodeTypes:
            widget.nodeTypes = [self.parameter.type.__name__]

    def _fill(self, choice: Choice | None) -> None:
        if choice is not None:
            names = [str(item) for item in choice.choices]
        elif self.parameter.is_enum:
            names = [item.name for item in self.parameter.type]
        else:
            return
        self.widget.clear()
        for name in names:
            self.widget.addItem(name)
