"""Binding of a parameter to a widget, by the widget's class and with the side effects that Slicer's binding has."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from .parameter_types import Choice, Decimals, Maximum, Minimum, Parameter, SingleStep, WithinRange

SMALLEST, LARGEST = -(2**31), 2**31 - 1


class Connector(NamedTuple):
    """How a class of widgets keeps its value: signal, property, types of parameter that fit."""

    signal: str
    attribute: str
    types: tuple[type, ...]


# Slicer compares the widget's very class; subclasses do not count.
CONNECTORS = {
    "qMRMLNodeComboBox": Connector("currentNodeChanged(vtkMRMLNode*)", "", ()),
    "QCheckBox": Connector("toggled(bool)", "checked", (bool,)),
    "QPushButton": Connector("toggled(bool)", "checked", (bool,)),
    "QComboBox": Connector("currentIndexChanged(int)", "currentIndex", (int, float, str, bool, enum.Enum)),
    "QSpinBox": Connector("valueChanged(int)", "value", (int,)),
    "QSlider": Connector("valueChanged(int)", "value", (int,)),
    "QDoubleSpinBox": Connector("valueChanged(double)", "value", (float,)),
    "ctkSliderWidget": Connector("valueChanged(double)", "value", (float,)),
    "QLineEdit": Connector("textChanged(QString)", "text", (str,)),
    "ctkPathLineEdit": Connector("currentPathChanged(QString)", "currentPath", (pathlib.PurePath,)),
    "ctkDirectoryButton": Connector("directoryChanged(QString)", "directory", (pathlib.PurePath,)),
}


class GuiLink:
    """One widget bound to one parameter; preparing it sets range, items or node types of the widget."""

    def __init__(self, parameter: Parameter, widget: Any) -> None:
        self.parameter = parameter
        self.widget = widget
        kind = type(widget).__name__
        connector = CONNECTORS.get(kind)
        fits = connector is not None and (
            issubclass(parameter.type, connector.types) if connector.types else parameter.is_node
        )
        if not fits:
            raise RuntimeError(f"no binding of parameter {parameter.name} ({parameter.type}) to a {kind}")
        self.connector = connector
        self._items: list[Any] = []
        self._slot: Callable[[], None] | None = None
        self._prepare(kind)

    def show(self, value: Any) -> None:
        """Put a value into the widget."""
        if self.parameter.is_node:
            self.widget.setCurrentNode(value)
            return
        if self._items:
            value = self._items.index(value)
        elif isinstance(value, pathlib.PurePath):
            value = str(value)
        setattr(self.widget, self.connector.attribute, value)

    def value(self) -> Any:
        """What the widget holds, as the parameter's type."""
        if self.parameter.is_node:
            return self.widget.currentNode()
        value = getattr(self.widget, self.connector.attribute)
        return self._items[value] if self._items else self.parameter.type(value)

    def connect(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` whenever the widget changes."""
        self._slot = changed
        self.widget.connect(self.connector.signal, changed)

    def disconnect(self) -> None:
        """Undo ``connect``."""
        self.widget.disconnect(self.connector.signal, self._slot)

    def _prepare(self, kind: str) -> None:
        widget, note = self.widget, self.parameter.note
        if kind == "QPushButton" and not widget.checkable:
            raise RuntimeError(f"{widget.name} must be checkable to hold the bool {self.parameter.name}")
        if note(Decimals) is not None:
            widget.decimals = note(Decimals).value
        if note(SingleStep) is not None:
            widget.singleStep = note(SingleStep).value
        if self.connector.attribute == "value":
            self._set_range(kind)
        if kind == "QComboBox":
            self._fill(note(Choice))
        if self.parameter.is_node:
            widget.nodeTypes = [self.parameter.type.__name__]

    def _set_range(self, kind: str) -> None:
        """The parameter's bounds replace the widget's own; without bounds a spin box loses its range."""
        within, low, high = (self.parameter.note(note) for note in (WithinRange, Minimum, Maximum))
        bounded = within is not None or (low is not None and high is not None)
        if kind in ("ctkSliderWidget", "QSlider") and not bounded:
            raise RuntimeError(f"{self.parameter.name} needs bounds to be bound to a {kind}")
        lowest, highest = (SMALLEST, LARGEST) if self.parameter.type is int else (float("-inf"), float("inf"))
        self.widget.minimum = within.minimum if within else low.minimum if low else lowest
        self.widget.maximum = within.maximum if within else high.maximum if high else highest

    def _fill(self, choice: Choice | None) -> None:
        """The items of a combo box become the choices, whatever the .ui file says."""
        if self.parameter.is_enum:
            label = getattr(self.parameter.type, "label", lambda item: item.name)
            self._items, labels = list(self.parameter.type), [label(item) for item in self.parameter.type]
        elif choice is not None:
            self._items, labels = list(choice.choices), [str(item) for item in choice.choices]
        else:
            raise RuntimeError(f"{self.parameter.name} needs a Choice to be bound to a QComboBox")
        self.widget.clear()
        for text in labels:
            self.widget.addItem(text)
