"""The flat ``qt`` namespace: PySide6's classes, the ones that modules use with PythonQt's manners."""

from __future__ import annotations

import types

from PySide6 import QtCore, QtGui, QtNetwork, QtWidgets

from .qt_object import with_manners

MODULES = (QtCore, QtGui, QtWidgets, QtNetwork)
WITH_MANNERS = (
    QtWidgets.QWidget,
    QtWidgets.QLayout,
    QtWidgets.QButtonGroup,
    QtGui.QAction,
    QtGui.QShortcut,
    QtCore.QTimer,
)
WITH_EXEC = ("QMessageBox", "QDialog", "QMenu", "QFileDialog")


def _needs_manners(kind: object) -> bool:
    return isinstance(kind, type) and (issubclass(kind, WITH_MANNERS) or kind is QtCore.QObject)


def _build() -> types.ModuleType:
    namespace = types.ModuleType("qt")
    for module in MODULES:
        for name in dir(module):  # not vars(): PySide6 makes its classes on first use
            if name.startswith("Q"):
                setattr(namespace, name, getattr(module, name))
    for name, value in list(vars(namespace).items()):
        if _needs_manners(value):
            setattr(namespace, name, with_manners(value))
    for name in WITH_EXEC:
        kind = getattr(namespace, name)
        if not hasattr(kind, "exec_"):
            kind.exec_ = kind.exec
    return namespace


qt = _build()
