"""A real MRML application core without Qt: scene, application logic, module logics, and the globals of Slicer."""

from __future__ import annotations

import colorsys
import os
import sys
import tempfile
import types
from pathlib import Path

import slicer
import slicer.util
import vtk

# (attribute of slicer.modules, class of the logic, name under which the application logic knows it)
MODULE_LOGICS = (
    ("volumes", "vtkSlicerVolumesLogic", "Volumes"),
    ("segmentations", "vtkSlicerSegmentationsModuleLogic", "Segmentations"),
    ("subjecthierarchy", "vtkSlicerSubjectHierarchyModuleLogic", "SubjectHierarchy"),
    ("markups", "vtkSlicerMarkupsLogic", "Markups"),
    ("transforms", "vtkSlicerTransformLogic", "Transforms"),
    ("models", "vtkSlicerModelsLogic", "Models"),
    ("sequences", "vtkSlicerSequencesLogic", "Sequences"),
    ("annotations", "vtkSlicerAnnotationModuleLogic", "Annotations"),
    ("cropvolume", "vtkSlicerCropVolumeLogic", "CropVolume"),
    ("volumerendering", "vtkSlicerVolumeRenderingLogic", "VolumeRendering"),
    ("tables", "vtkSlicerTablesLogic", "Tables"),
    ("plots", "vtkSlicerPlotsLogic", "Plots"),
    ("texts", "vtkSlicerTextsLogic", "Texts"),
    ("units", "vtkSlicerUnitsLogic", "Units"),
    ("colors", "vtkSlicerColorLogic", "Colors"),
    ("cameras", "vtkSlicerCamerasModuleLogic", "Cameras"),
    ("sceneviews", "vtkSlicerSceneViewsModuleLogic", "SceneViews"),
    ("data", "vtkSlicerDataModuleLogic", "Data"),
)


class StandInModule:
    """What ``slicer.modules.<name>`` is: the module's name, path, logic and widget."""

    def __init__(self, name: str, logic: object = None, path: str = "") -> None:
        self.name = name
        self.path = path
        self._logic = logic
        self._widget: object = None

    def logic(self) -> object:
        """The module's C++ logic; None for a scripted module."""
        return self._logic

    def widgetRepresentation(self) -> object:
        """The module's widget; None before it was made."""
        return self._widget


class StandInModules(types.ModuleType):
    """``slicer.modules``: an attribute for each module, AttributeError for every other name."""


class CoreHost:
    """Scene, application logic and module logics, booted in the order that the libraries need.

    Attributes:
        scene: vtkMRMLScene.
        applogic: vtkSlicerApplicationLogic.
        modules: what becomes ``slicer.modules``.
        folder: temporary folder of this host; removed with the process.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="slicer-standin-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.scene = slicer.vtkMRMLScene()
        self.scene.SetRootDirectory(str(self.folder))
        self.applogic = slicer.vtkSlicerApplicationLogic()
        self.applogic.SetMRMLScene(self.scene)
        self.applogic.SetTemporaryPath(str(self.folder))
        self._add_colors()
        self._add_views()
        self._add_data_io()
        self._add_scene_defaults()
        self.modules = StandInModules("slicer.modules")
        self.moduleNames = types.SimpleNamespace()
        for attribute, class_name, label in MODULE_LOGICS:
            self._add_logic(attribute, getattr(slicer, class_name)(), label)

    def publish(self) -> CoreHost:
        """Set the globals that the application sets, and remove those that only the wheel has."""
        drop_leaked_names()
        slicer.mrmlScene = self.scene
        slicer.modules = self.modules
        slicer.moduleNames = self.moduleNames
        slicer.util = sys.modules["slicer.util"]
        sys.modules["slicer.modules"] = self.modules
        return self

    def add_module(self, module: StandInModule) -> None:
        """Make a module known as ``slicer.modules.<name in lower case>``."""
        setattr(self.modules, module.name.lower(), module)
        setattr(self.moduleNames, module.name, module.name)

    def new_scene(self) -> None:
        """Close the scene as File > Close Scene does: singletons (views, selection, colours) stay."""
        self.scene.Clear(0)
        self.applogic.GetInteractionNode().SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)
        self.applogic.GetInteractionNode().SetPlaceModePersistence(0)

    def _add_colors(self) -> None:
        """One generated colour table: the wheel has no share folder, and segments get their names and colours there."""
        folder = self.folder / "share" / "ColorFiles"
        folder.mkdir(parents=True)
        lines = ["# Color table file GenericColors.txt", "0 background 0 0 0 0"]
        for index in range(1, 65):
            rgb = (round(255 * part) for part in colorsys.hsv_to_rgb(index * 0.61803 % 1, 0.65, 0.95))
            lines.append(f"{index} region_{index} {' '.join(map(str, rgb))} 255")
        (folder / "GenericColors.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
        self.applogic.SetHomeDirectory(str(self.folder))
        self.applogic.SetShareDirectory("share")
        self.applogic.GetColorLogic().SetMRMLScene(self.scene)
        self.applogic.GetColorLogic().AddDefaultColorNodes()

    def _add_views(self) -> None:
        self.applogic.SetSliceLogics(vtk.vtkCollection())
        self.applogic.SetViewLogics(vtk.vtkCollection())
        for name in ("vtkMRMLThreeDViewDisplayableManagerFactory", "vtkMRMLSliceViewDisplayableManagerFactory"):
            getattr(slicer, name).GetInstance().SetMRMLApplicationLogic(self.applogic)

    def _add_data_io(self) -> None:
        """Without these, scenes cannot be read from .mrb files."""
        cache = slicer.vtkCacheManager()
        cache.SetRemoteCacheDirectory(str(self.folder / "cache"))
        cache.SetMRMLScene(self.scene)
        os.makedirs(cache.GetRemoteCacheDirectory(), exist_ok=True)
        data_io = slicer.vtkDataIOManager()
        data_io.SetCacheManager(cache)
        self.scene.SetCacheManager(cache)
        self.scene.SetDataIOManager(data_io)

    def _add_scene_defaults(self) -> None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)

    def _add_logic(self, attribute: str, logic: object, label: str) -> None:
        if hasattr(logic, "SetMRMLApplicationLogic"):
            logic.SetMRMLApplicationLogic(self.applogic)  # before SetMRMLScene: logics read defaults from it
        logic.SetMRMLScene(self.scene)
        self.applogic.SetModuleLogic(label, logic)
        setattr(self.modules, attribute, StandInModule(label, logic))
        setattr(self.moduleNames, label, label)


def drop_leaked_names() -> None:
    """Remove what the wheel copies from ``slicer.util`` into ``slicer``: the application has no such names.

    A module that says ``slicer.arrayFromVolume(...)`` then fails here as it would in Slicer.
    """
    util = sys.modules["slicer.util"]
    loader_names = {"extend_path", "import_module", "info", "item_name", "iter_modules", "me", "module", "sys"}
    for name in list(vars(slicer)):
        if not name.startswith(("__", "EXIT_")) and name != "util" and (hasattr(util, name) or name in loader_names):
            delattr(slicer, name)
