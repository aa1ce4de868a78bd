"""3D Slicer module: prompts on one slice become a segment through the volume, with a reason for every slice.

This file only wires. What has substance is in ``SegmentAnythingMedLib``; nothing of it needs more than numpy until the
first prompt is answered.
"""

import sys
from collections.abc import Sequence
from typing import Any

import slicer
import vtk
from SegmentAnythingMedLib.apps.slicer.parameters import ModuleParameters
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

LIBRARY = "SegmentAnythingMedLib"
HOMEPAGE = "https://github.com/SegmentAnythingMed/SlicerSegmentAnythingMed"


class SegmentAnythingMed(ScriptedLoadableModule):
    """What the application shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = _("Segment Anything Med")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["SegmentAnythingMed contributors"]
        parent.helpText = _(
            "Give the model a point, a box or a scribble on one slice and see its mask at once; propagate it through "
            "the volume, with a reason for every slice; correct, accept, save. A small model comes with the module and "
            "runs without a graphics card. <b>Not a medical device, not for clinical use.</b>"
        )
        parent.acknowledgementText = _(
            "The library, its model card and what it was measured on are described in the project's README. Licence: "
            "Apache-2.0. <b>Not for clinical use.</b>"
        )
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data() -> None:
    """Offer the sample of the tutorial in the module Sample Data."""
    from SegmentAnythingMedLib.apps.slicer.sample_data import registerSampleData

    registerSampleData()


class SegmentAnythingMedWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel and its life: opened, entered, left, closed scene, cleaned up."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: SegmentAnythingMedLogic | None = None
        self.panel: Any = None
        self.ui: Any = None
        self._parameterNode: ModuleParameters | None = None
        self._parameterNodeGuiTag: int | None = None

    def setup(self) -> None:
        """Called once when the user first opens the module."""
        from SegmentAnythingMedLib.apps.slicer.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/SegmentAnythingMed.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = SegmentAnythingMedLogic()
        self.panel = Panel(self.ui, self.logic.controller, self.parent)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded: nothing may be left behind."""
        self.setParameterNode(None)
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
        if self.logic is not None:
            self.logic.close()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self) -> None:
        """Called each time the user opens another module; what runs goes on."""
        self.panel.exit()

    def onReload(self) -> None:
        """Developer's reload: the library of the module is read again too."""
        for name in [name for name in sys.modules if name.split(".")[0] == LIBRARY]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller: Any = None, event: Any = None) -> None:
        """The nodes are about to go."""
        self.setParameterNode(None)
        self.panel.scene_closing()

    def onSceneEndClose(self, caller: Any = None, event: Any = None) -> None:
        """An empty scene gets a new parameter node when the module is shown; otherwise the next ``enter`` makes it."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller: Any = None, event: Any = None) -> None:
        """A scene was loaded; it may have brought its own settings, segments and prompts."""
        self.setParameterNode(None)
        self.initializeParameterNode()

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node; choose the first volume if none is chosen."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if first is not None:
                self._parameterNode.inputVolume = first

    def setParameterNode(self, parameters: ModuleParameters | None) -> None:
        """Bind the panel to a parameter node, or to none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameters
        if parameters is not None:
            self._parameterNodeGuiTag = parameters.connectGui(self.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.panel.show(parameters)

    def onParametersModified(self, caller: Any = None, event: Any = None) -> None:
        """A setting was changed, here or by a script."""
        self.panel.show(self._parameterNode)


class SegmentAnythingMedLogic(ScriptedLoadableModuleLogic):
    """What can be done without the panel; needs no Qt.

    From the Python console::

        logic = slicer.util.getModuleLogic("SegmentAnythingMed")
    """

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._controller: Any = None

    @property
    def controller(self) -> Any:
        """The state machine behind the panel; made when it is first asked for."""
        if self._controller is None:
            from SegmentAnythingMedLib.apps.slicer.controller import Controller

            self._controller = Controller()
        return self._controller

    def getParameterNode(self) -> ModuleParameters:
        """The scene's settings of the module."""
        return ModuleParameters(super().getParameterNode())

    def segment(self, volumeNode: Any, prompts: Sequence[Any], segmentation: Any = None, **options: Any) -> Any:
        """Segment the prompted slices; see :func:`SegmentAnythingMedLib.apps.slicer.console.segment`."""
        from SegmentAnythingMedLib.apps.slicer import console

        return console.segment(volumeNode, prompts, segmentation=segmentation, **options)

    def propagate(self, volumeNode: Any, prompts: Sequence[Any], segmentation: Any = None, **options: Any) -> Any:
        """Segment through the volume; see :func:`SegmentAnythingMedLib.apps.slicer.console.propagate`."""
        from SegmentAnythingMedLib.apps.slicer import console

        return console.propagate(volumeNode, prompts, segmentation=segmentation, **options)

    def batch(self, jobs: Sequence[Any], **options: Any) -> Any:
        """Several volumes one after the other; see :func:`SegmentAnythingMedLib.apps.slicer.console.batch`."""
        from SegmentAnythingMedLib.apps.slicer import console

        return console.batch(jobs, **options)

    def close(self) -> None:
        """Stop the worker; the next use of :attr:`controller` starts a new one."""
        if self._controller is not None:
            self._controller.close()
            self._controller = None


class SegmentAnythingMedTest(ScriptedLoadableModuleTest):
    """Placeholder of the class; its tests follow with the controller."""
