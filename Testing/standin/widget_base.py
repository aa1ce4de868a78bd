"""What the stand-in widgets share: Qt properties kept in the object, registration, direct access to signals."""

from __future__ import annotations

import types
import weakref
from typing import Any

import shiboken6
from PySide6 import QtCore

from .qt_loader import QUiLoader


def kept_property(kind: Any, name: str, default: Any, notify: str = "") -> Any:
    """A Qt property that is kept in the object.

    Writing a new value calls the object's ``_<name>_changed(value)`` where the class has it and emits ``notify``.
    """
    key = f"_value_of_{name}"

    def read(self: Any) -> Any:
        """Getter of the property."""
        return self.__dict__.get(key, default)

    def write(self: Any, value: Any) -> None:
        """Setter of the property."""
        if read(self) == value:
            return
        self.__dict__[key] = value
        changed = getattr(type(self), f"_{name}_changed", None)
        if changed is not None:
            changed(self, value)
        if notify:
            emit(self, notify, value)

    return QtCore.Property(kind, read, write)


def emit(item: Any, signal: str, *arguments: Any) -> None:
    """Emit a signal of a stand-in widget by its Python name."""
    QtCore.QObject.__getattribute__(item, signal).emit(*arguments)


class Observers:
    """Observers of a widget on VTK objects: they keep nothing alive and end with the widget."""

    def __init__(self, widget: Any, method: str) -> None:
        self._widget = weakref.ref(widget)
        self._method = method
        self._tags: list[tuple[Any, int]] = []

    def observe(self, item: Any, *events: Any) -> None:
        """Call the widget's method on some events of an object."""
        for event in events:
            self._tags.append((item, item.AddObserver(event, self._on_event)))

    def clear(self) -> None:
        """Remove all."""
        for item, tag in self._tags:
            item.RemoveObserver(tag)
        self._tags.clear()

    def _on_event(self, _item: Any, _event: str) -> None:
        widget = self._widget()
        if widget is None or not shiboken6.isValid(widget):
            self.clear()
        else:
            getattr(widget, self._method)()


def register(namespace: types.ModuleType, *classes: type) -> None:
    """Make classes known in a namespace and to the .ui loader."""
    for kind in classes:
        kind._made_by_qt = True
        setattr(namespace, kind.__name__, kind)
        QUiLoader.registry[kind.__name__] = kind
