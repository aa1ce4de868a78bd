"""The one host of a test process: booted once, with or without Qt, with a fresh scene for each test."""

from __future__ import annotations

import sys
from functools import cache

import slicer

from . import i18n, packaging, parameter_node, sample_data, scripted_module
from .application import StandInApplication
from .core import CoreHost
from .errors import ERRORS
from .qt_gate import QT_GATES


class StandInHost(CoreHost):
    """Core, ``slicer.app`` and Slicer's Python layer.

    Attributes:
        app: what ``slicer.app`` is.
        errors: exceptions from observers and slots, VTK errors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors = ERRORS
        self.errors.install()
        self.publish()
        self.app = StandInApplication(self)
        slicer.app = self.app
        for module in (scripted_module, parameter_node, i18n, packaging):
            name = module.SLICER_NAME
            sys.modules[f"slicer.{name}"] = module
            setattr(slicer, name, module)
        sys.modules["SampleData"] = sample_data
        for name, gate in QT_GATES.items():
            sys.modules[name] = gate
        self.close_gui()

    @property
    def views(self) -> object:
        """Layout manager; tests add their offscreen views to it."""
        return self.app.layoutManager()

    def open_gui(self) -> StandInHost:
        """Make ``qt``, ``ctk`` and Slicer's widgets usable; PySide6 must be there."""
        from .qt_gui import GUI

        self.app._qt = GUI
        GUI.open()
        return self

    def close_gui(self) -> StandInHost:
        """``qt`` and ``ctk`` can be imported, and refuse every use: code that needs them says so."""
        if self.app._qt is not None:
            self.app._qt.close()
        self.app._qt = None
        for gate in QT_GATES.values():
            gate.shut()
        return self

    def fresh(self) -> StandInHost:
        """No views, an empty scene, no collected errors, testing mode, nothing installed or registered."""
        self.views.close_views()
        self.new_scene()
        self.errors.clear()
        self.set_testing(True)
        packaging.reset()
        i18n.load(None)
        slicer.modules.sampleDataSources = {}
        return self

    def set_testing(self, testing: bool) -> None:
        """Testing mode of the application: messages are logged instead of shown, nothing is installed."""
        self.app._testing = testing


@cache
def the_host() -> StandInHost:
    """Boot the host of this process, or return it."""
    return StandInHost()
