"""``slicer.app``: what scripted modules and ``slicer.util`` ask of the application object."""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer

from . import i18n
from .files import StandInIOManager

if TYPE_CHECKING:
    from .core import CoreHost
    from .views import SliceView, ThreeDView


class SignalBus:
    """Signals by their C++ signature; connecting to one that does not exist raises."""

    SIGNALS: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._slots: dict[str, list[Callable[..., Any]]] = {name: [] for name in self.SIGNALS}

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        """Call ``slot`` on every emission."""
        if not callable(slot):
            raise TypeError(f"connect: {slot!r} is not callable")
        self._known(signal).append(slot)
        return True

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        """Undo ``connect``; False when ``slot`` was not connected."""
        slots = self._known(signal)
        if slot in slots:
            slots.remove(slot)
            return True
        return False

    def emit(self, signal: str, *arguments: object) -> None:
        """Call the slots with as many arguments as each takes (tests call this)."""
        for slot in list(self._known(signal)):
            takes = [p for p in inspect.signature(slot).parameters.values() if p.kind in (0, 1)]
            slot(*arguments[: len(takes)])

    def _known(self, signal: str) -> list[Callable[..., Any]]:
        if signal not in self._slots:
            raise AttributeError(f"{type(self).__name__} has no signal {signal}")
        return self._slots[signal]


class StandInModuleManager(SignalBus):
    """``slicer.app.moduleManager()``."""

    SIGNALS = ("moduleAboutToBeUnloaded(QString)", "moduleLoaded(QString)", "modulesLoaded(QStringList)")

    def modulesNames(self) -> tuple[str, ...]:
        """Names of the modules there are."""
        return tuple(vars(slicer.moduleNames))

    def module(self, name: str) -> object:
        """A module by its name; None when there is none."""
        return getattr(slicer.modules, name.lower(), None)


class StandInSliceWidget:
    """What ``layoutManager().sliceWidget(name)`` gives, around an offscreen view."""

    def __init__(self, view: SliceView) -> None:
        self.view = view

    def className(self) -> str:
        """Name of the C++ class."""
        return "qMRMLSliceWidget"

    def sliceLogic(self) -> object:
        """The view's vtkMRMLSliceLogic."""
        return self.view.logic

    def mrmlSliceNode(self) -> object:
        """The view's vtkMRMLSliceNode."""
        return self.view.node

    def sliceView(self) -> StandInSliceView:
        """The part that draws."""
        return StandInSliceView(self.view)


class StandInSliceView:
    """What ``sliceWidget.sliceView()`` gives."""

    def __init__(self, view: SliceView) -> None:
        self._view = view

    def renderWindow(self) -> object:
        """The vtkRenderWindow."""
        return self._view.window

    def interactor(self) -> object:
        """The vtkRenderWindowInteractor."""
        return self._view.interactor

    def mrmlSliceNode(self) -> object:
        """The vtkMRMLSliceNode."""
        return self._view.node

    def convertDeviceToXYZ(self, xy: tuple[int, int]) -> list[float]:
        """Device pixel to (x, y, lightbox index); one slice in the view."""
        return [float(xy[0]), float(xy[1]), 0.0]

    def convertXYZToRAS(self, xyz: list[float]) -> list[float]:
        """View coordinates to RAS mm."""
        return list(self._view.view_to_ras(xyz[0], xyz[1]))

    def scheduleRender(self) -> None:
        """The offscreen view draws when a picture is asked for."""


class StandInLayoutManager(SignalBus):
    """``slicer.app.layoutManager()``: the offscreen views that a test made."""

    SIGNALS = ("layoutChanged(int)",)
    tableViewCount = 0
    plotViewCount = 0

    def __init__(self) -> None:
        super().__init__()
        self.layout = 0
        self._slices: dict[str, StandInSliceWidget] = {}
        self._three_d: list[ThreeDView] = []

    def add_slice_view(self, view: SliceView) -> SliceView:
        """Make a view known to the layout (tests call this)."""
        self._slices[view.node.GetName()] = StandInSliceWidget(view)
        return view

    def add_three_d_view(self, view: ThreeDView) -> ThreeDView:
        """Make a 3D view known to the layout (tests call this)."""
        self._three_d.append(view)
        return view

    def close_views(self) -> None:
        """Close and forget all views (tests call this)."""
        for view in [*(widget.view for widget in self._slices.values()), *self._three_d]:
            view.close()
        self._slices.clear()
        self._three_d.clear()

    @property
    def threeDViewCount(self) -> int:
        """Number of 3D views."""
        return len(self._three_d)

    def setLayout(self, layout: int) -> None:
        """Remember the layout and say that it changed."""
        self.layout = layout
        self.emit("layoutChanged(int)", layout)

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of the slice views there are."""
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> StandInSliceWidget | None:
        """A slice view by its name."""
        return self._slices.get(name)

    def resetSliceViews(self) -> None:
        """Fit every slice view."""
        for widget in self._slices.values():
            widget.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self) -> None:
        """Fit every 3D view."""
        for view in self._three_d:
            view.reset()


class StandInApplication(SignalBus):
    """``slicer.app``. Anything that is not here raises AttributeError."""

    SIGNALS = ("startupCompleted()", "aboutToQuit()", "mrmlSceneChanged(vtkMRMLScene*)")
    applicationName = "Slicer"
    mainApplicationName = "Slicer"
    applicationVersion = "5.12.3-stand-in"
    majorVersion = 5
    minorVersion = 12
    os = "linux"
    arch = "amd64"
    platform = "linux-amd64"
    documentationBaseUrl = "https://slicer.readthedocs.io/"

    def __init__(self, host: CoreHost) -> None:
        super().__init__()
        self._host = host
        self._io = StandInIOManager()
        self._layout = StandInLayoutManager()
        self._modules = StandInModuleManager()
        self._qt: Any = None
        self._testing = True
        self.temporaryPath = str(host.folder)
        self.slicerHome = str(host.folder)
        self._sealed = True

    def __setattr__(self, name: str, value: object) -> None:
        if "_sealed" in self.__dict__ and not name.startswith("_"):
            raise AttributeError(f"'{name}': attributes of slicer.app are not for setting")
        super().__setattr__(name, value)

    def mrmlScene(self) -> object:
        """The scene."""
        return self._host.scene

    def applicationLogic(self) -> object:
        """The vtkSlicerApplicationLogic."""
        return self._host.applogic

    def layoutManager(self) -> StandInLayoutManager:
        """The layout manager."""
        return self._layout

    def moduleManager(self) -> StandInModuleManager:
        """The module manager."""
        return self._modules

    def coreIOManager(self) -> StandInIOManager:
        """Reading and writing of nodes."""
        return self._io

    ioManager = coreIOManager

    def testingEnabled(self) -> bool:
        """True: messages are logged instead of shown."""
        return self._testing

    def commandOptions(self) -> types.SimpleNamespace:
        """How the application was started."""
        return types.SimpleNamespace(noMainWindow=True, testingEnabled=self._testing)

    def translate(self, context: str, text: str) -> str:
        """The text in the language that a test has loaded."""
        return i18n.translate(context, text)

    def startupEnvironment(self) -> dict[str, str]:
        """Environment of the process."""
        return dict(os.environ)

    def processEvents(self) -> None:
        """Let Qt work; nothing to do without Qt."""
        if self._qt is not None:
            self._qt.process_events()

    def topLevelWidgets(self) -> tuple[object, ...]:
        """Windows of the application."""
        return () if self._qt is None else self._qt.top_level_widgets()

    def userSettings(self) -> object:
        """The user's QSettings; a file of this process."""
        if self._qt is None:
            raise RuntimeError("slicer.app.userSettings(): no Qt in core mode")
        return self._qt.settings(self.temporaryPath)

    settings = userSettings
    revisionUserSettings = userSettings

    def setOverrideCursor(self, cursor: object) -> None:
        """No cursor to be seen."""

    def restoreOverrideCursor(self) -> None:
        """No cursor to be seen."""

    def pauseRender(self) -> None:
        """Offscreen views draw on demand."""

    def resumeRender(self) -> None:
        """Offscreen views draw on demand."""
