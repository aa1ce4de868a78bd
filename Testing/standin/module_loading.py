"""Loading of a scripted module in the application's order: file, module, widget, setup, enter; and its removal."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import slicer

from .core import StandInModule

if TYPE_CHECKING:
    from .host import StandInHost

CORE_MODULES = {
    "Annotations",
    "Cameras",
    "Colors",
    "CropVolume",
    "DICOM",
    "Data",
    "Markups",
    "Models",
    "Plots",
    "SampleData",
    "ScreenCapture",
    "SegmentEditor",
    "SegmentStatistics",
    "Segmentations",
    "Sequences",
    "SubjectHierarchy",
    "Tables",
    "Terminologies",
    "Texts",
    "Transforms",
    "Units",
    "VolumeRendering",
    "Volumes",
}


class LoadedModule(NamedTuple):
    """What loading made: Python module of the file, instance of the module, its widget (None without Qt)."""

    file: Any
    instance: Any
    widget: Any


def load_module(path: str | Path, host: StandInHost, *, gui: bool = True, enter: bool = True) -> LoadedModule:
    """Load a module's file as the application does; ``gui`` also makes its widget and calls ``setup`` and ``enter``.

    Raises:
        AssertionError: the module names a dependency that Slicer does not have.
    """
    path = Path(path)
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    file = importlib.import_module(name)
    parent = types.SimpleNamespace(
        path=str(path),
        name=name,
        title="",
        categories=[],
        dependencies=[],
        contributors=[],
        helpText="",
        acknowledgementText="",
        icon=None,
        hidden=False,
        widgetRepresentationCreationEnabled=True,
    )
    module = StandInModule(name, None, str(path))
    host.add_module(module)
    instance = getattr(file, name)(parent)
    setattr(slicer.modules, name + "Instance", instance)
    unknown = set(parent.dependencies) - CORE_MODULES
    assert not unknown, f"dependencies that Slicer does not have: {sorted(unknown)}"
    widget = _make_widget(module, enter) if gui else None
    return LoadedModule(file, instance, widget)


def _make_widget(module: StandInModule, enter: bool) -> Any:
    holder = slicer.qSlicerScriptedLoadableModuleWidget()
    holder.setMRMLScene(slicer.mrmlScene)
    module._widget = holder

    def make() -> Any:
        """A new widget of the class that the file holds now (it may have been reloaded)."""
        widget = getattr(sys.modules[module.name], module.name + "Widget")(holder)
        setattr(slicer.modules, module.name + "Widget", widget)
        widget.setup()
        return widget

    holder._make = make
    widget = make()
    if enter:
        enter_module(widget)
    return widget


def enter_module(widget: Any) -> None:
    """The user switches to the module."""
    widget.parent.isEntered = True
    widget.enter()


def exit_module(widget: Any) -> None:
    """The user switches to another module."""
    widget.exit()
    widget.parent.isEntered = False


def unload_module(loaded: LoadedModule, host: StandInHost) -> None:
    """Leave and clean up; no observer may be left and no error may have been swallowed."""
    widget = loaded.widget
    if widget is not None:
        if widget.parent.isEntered:
            exit_module(widget)
        slicer.app.moduleManager().emit("moduleAboutToBeUnloaded(QString)", loaded.instance.moduleName)
        left = [observation[:2] for observation in getattr(widget, "Observations", [])]
        assert not left, f"observers left after cleanup(): {left}"
    name = loaded.instance.moduleName
    for attribute in (name.lower(), name + "Instance", name + "Widget"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    delattr(slicer.moduleNames, name)
    assert not host.errors.report(), host.errors.report()
