"""``qt.QUiLoader``: every widget of a .ui file is of the class that code would get from ``qt``, ``ctk``, ``slicer``."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from .qt_namespace import qt
from .qt_object import PythonQtManners, qt_properties

# Properties that a .ui file may set although they are not Qt properties of the class: Designer's own.
DYNAMIC_PROPERTIES = {"SlicerParameterName", "icon_name"}


class QUiLoader(QtUiTools.QUiLoader):
    """Loader that knows the stand-ins; an unknown class, property or object name in a connection raises."""

    registry: dict[str, type] = {}  # noqa: RUF012
    _kept: list[Any] = []  # noqa: RUF012

    @classmethod
    def forget(cls) -> None:
        """Let go of the objects made so far: without a reference in Python they would lose their manners."""
        cls._kept.clear()

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
        kind = self.registry.get(className) or getattr(qt, className, None)
        if kind is None:
            raise RuntimeError(f"the stand-in has no widget class {className}")
        widget = kind(parent) if parent is not None else kind()
        QtCore.QObject.setObjectName(widget, name)
        self._kept.append(widget)
        return widget

    def createLayout(self, className: str, parent: Any = None, name: str = "") -> Any:
        kind = getattr(qt, className)
        layout = kind(parent) if isinstance(parent, QtWidgets.QWidget) else kind()
        QtCore.QObject.setObjectName(layout, name)
        self._kept.append(layout)
        return layout

    def load(self, file: Any, parent: Any = None) -> Any:
        tree = ET.parse(file.fileName() if hasattr(file, "fileName") else str(file))
        self._check_properties(tree)
        with_vtk_types = self._take_connections(tree)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(tree.getroot()))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        PythonQtManners.loading = True
        try:
            root = super().load(buffer, parent)
        finally:
            PythonQtManners.loading = False
        if root is None:
            raise RuntimeError(f"the .ui file could not be read: {self.errorString()}")
        objects = {QtCore.QObject.objectName(item): item for item in (root, *root.findChildren(QtCore.QObject))}
        for sender, signal, receiver, slot in with_vtk_types:
            if sender not in objects or receiver not in objects:
                raise RuntimeError(f"a connection of the .ui file names a missing object: {sender} to {receiver}")
            objects[sender].connect(signal, getattr(objects[receiver], slot.split("(")[0]))
        return root

    def _check_properties(self, tree: ET.ElementTree) -> None:
        """Qt makes an unknown property a dynamic one without a word; a misspelt name would never be seen."""
        for widget in tree.iter("widget"):
            kind = self.registry.get(widget.get("class")) or getattr(qt, widget.get("class"), None)
            if kind is None:
                raise RuntimeError(f"the stand-in has no widget class {widget.get('class')}")
            for entry in widget.findall("property"):
                name = entry.get("name")
                if name not in qt_properties(kind) and name not in DYNAMIC_PROPERTIES:
                    raise RuntimeError(f"{widget.get('class')} {widget.get('name')} has no property {name}")

    @staticmethod
    def _take_connections(tree: ET.ElementTree) -> list[tuple[str, str, str, str]]:
        """Take connections with VTK types out of the tree: Qt's own loader cannot make them."""
        taken = []
        connections = tree.getroot().find("connections")
        for entry in list(connections) if connections is not None else []:
            ends = tuple(entry.findtext(part) for part in ("sender", "signal", "receiver", "slot"))
            if "vtk" in ends[1] or "vtk" in ends[3]:
                taken.append(ends)
                connections.remove(entry)
        return taken


qt.QUiLoader = QUiLoader
