"""Opening and closing of the Qt side: application, gates to ``qt`` and ``ctk``, Slicer's widgets, main window."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shiboken6
import slicer
from PySide6 import QtCore, QtTest, QtWidgets

from . import mrml_widgets, segment_editor, segment_widgets
from .ctk_widgets import ctk
from .qt_gate import QT_GATES
from .qt_loader import QUiLoader
from .qt_namespace import qt
from .qt_object import PythonQtManners
from .widget_base import register


class qSlicerMainWindow(PythonQtManners, QtWidgets.QMainWindow):
    """The application's main window, as ``slicer.util.mainWindow()`` finds it."""

    _made_by_qt = True

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        QtCore.QObject.setObjectName(self, "qSlicerMainWindow")


class QtGui:
    """Qt while a test has it."""

    def __init__(self) -> None:
        self.application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["standin"])
        self.application.setOrganizationName("standin")
        self.application.setApplicationName("standin")
        self._widgets = (*mrml_widgets.WIDGETS, *segment_widgets.WIDGETS)
        self._settings: Any = None
        register(slicer, *self._widgets)

    def open(self) -> None:
        """Let ``qt``, ``ctk`` and ``slicer.q*`` be used."""
        QT_GATES["qt"].open(qt)
        QT_GATES["ctk"].open(ctk)
        register(slicer, *self._widgets)
        segment_editor.install()

    def close(self) -> None:
        """Destroy all windows; ``slicer`` has no widgets any more."""
        for window in self.application.topLevelWidgets():
            if shiboken6.isValid(window):
                window.close()
                window.deleteLater()
        self.process_events()
        QUiLoader.forget()
        for kind in self._widgets:
            if kind.__name__ in vars(slicer):
                delattr(slicer, kind.__name__)
        segment_editor.uninstall()
        self._settings = None

    def main_window(self) -> qSlicerMainWindow:
        """Make and show a main window; without it the application runs as with ``--no-main-window``."""
        window = qSlicerMainWindow()
        window.resize(900, 700)
        window.show()
        window.activateWindow()
        QtTest.QTest.qWaitForWindowActive(window, 1000)
        return window

    def close_application(self, window: Any) -> bool:
        """The user closes the main window: event filters see the close event first, and may keep it open.

        What Slicer itself asks about unsaved data is not here. When the window goes, ``aboutToQuit()`` is emitted.
        """
        if not window.close():
            return False
        slicer.app.emit("aboutToQuit()")
        return True

    def process_events(self) -> None:
        """Deliver what is waiting, deferred deletions too."""
        self.application.processEvents()
        self.application.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)

    def pump(self, milliseconds: int = 50) -> None:
        """Let timers, events and other threads run for a while (tests call this).

        Not with ``QTest.qWait``: it keeps Python's lock, and a worker thread would stand still.
        """
        end = time.monotonic() + milliseconds / 1000
        while time.monotonic() < end:
            self.process_events()
            time.sleep(0.002)

    def pump_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let timers and events run until ``condition()`` holds; AssertionError when it does not in time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition did not come true in time"
            self.pump(10)

    def press(self, widget: Any, key: str) -> None:
        """Press a key sequence (``"Ctrl+Z"``) while ``widget`` has the focus."""
        QtTest.QTest.keySequence(widget, qt.QKeySequence(key))
        self.process_events()

    def picture(self, widget: Any, path: str | Path) -> tuple[int, int]:
        """Write a picture of a widget; its width and height."""
        pixmap = QtWidgets.QWidget.grab(widget)
        assert pixmap.save(str(path)), f"the picture could not be written: {path}"
        return pixmap.width(), pixmap.height()

    def top_level_widgets(self) -> tuple[Any, ...]:
        """Windows that are there."""
        return tuple(self.application.topLevelWidgets())

    def settings(self, folder: str) -> Any:
        """The user's settings: a file of this process."""
        if self._settings is None:
            self._settings = qt.QSettings(str(Path(folder) / "settings.ini"), qt.QSettings.Format.IniFormat)
            self._settings.clear()
        return self._settings


GUI = QtGui()
