"""3D Slicer module: prompts on one slice become a segment through the volume, with a reason for every slice.

This file only wires. What has substance is in ``SegmentAnythingMedLib``; nothing of it needs more than numpy until the
first prompt is answered.
"""

import gc
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from SegmentAnythingMedLib.apps.slicer.parameters import ModuleParameters, connect_gui, wrapped
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
        parent.helpText += _('<p><a href="{url}">Documentation and tutorial</a></p>').format(url=HOMEPAGE)
        parent.acknowledgementText = _(
            "The library, its model card and what it was measured on are described in the project's README. Licence: "
            "Apache-2.0. <b>Not for clinical use.</b>"
        )
        slicer.app.connect("startupCompleted()", register_sample_data)
        slicer.app.connect("startupCompleted()", register_effect)


def register_sample_data() -> None:
    """Offer the sample of the tutorial in the module Sample Data."""
    from SegmentAnythingMedLib.apps.slicer.sample_data import registerSampleData

    registerSampleData()


def register_effect() -> None:
    """Offer the effect Segment Anything in the Segment Editor."""
    from SegmentAnythingMedLib.apps.slicer import effect_registration

    effect_registration.register_effect()


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
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        slicer.app.connect("aboutToQuit()", self.onAboutToQuit)
        self.initializeParameterNode()

    def onAboutToQuit(self) -> None:
        """The application ends, whether the user was asked or not: stop within seconds."""
        from SegmentAnythingMedLib.apps.slicer.worker import END_S

        self._close(END_S, finish=False)

    def cleanup(self) -> None:
        """Called when the application closes and before the module is reloaded: nothing may be left behind."""
        self._close()

    def _close(self, timeout: float = 5.0, finish: bool = True) -> None:
        if self.panel is None:
            return
        slicer.app.disconnect("aboutToQuit()", self.onAboutToQuit)
        self.setParameterNode(None)
        self.removeObservers()
        self.panel.close(finish)
        self.logic.close(timeout)
        self.panel = self.logic = self.ui = None
        # The panel and its parts hold each other. Left to chance, Python might take the widgets apart in a thread.
        gc.collect()

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self.initializeParameterNode()
        self.panel.enter()

    def exit(self) -> None:
        """Called each time the user opens another module; what runs goes on."""
        if self.panel is not None:  # the application may be on its way out
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

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller: Any, event: Any, node: Any) -> None:
        """The user deleted something; it may be what is worked on."""
        self.panel.node_removed(node)

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
            self._parameterNodeGuiTag = connect_gui(parameters, self.ui)
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
            from SegmentAnythingMedLib.apps.slicer.install import ensure_ready, ensure_sam2

            self._controller = Controller(before_first_use=ensure_ready, before_sam2=ensure_sam2)
        return self._controller

    def getParameterNode(self) -> ModuleParameters:
        """The scene's settings of the module."""
        return wrapped(super().getParameterNode())

    def segment(self, volumeNode: Any, prompts: Any = None, segmentation: Any = None, **options: Any) -> Any:
        """Segment the prompted slices; see ``SegmentAnythingMedLib.apps.slicer.console.segment``."""
        from SegmentAnythingMedLib.apps.slicer import console

        return console.segment(volumeNode, prompts, segmentation, **options)

    def propagate(self, volumeNode: Any, prompts: Any = None, segmentation: Any = None, **options: Any) -> Any:
        """Segment through the volume; see ``SegmentAnythingMedLib.apps.slicer.console.propagate``."""
        from SegmentAnythingMedLib.apps.slicer import console

        return console.propagate(volumeNode, prompts, segmentation, **options)

    def batch(self, cases: Sequence[Any], **options: Any) -> Any:
        """Several volumes one after the other; see ``SegmentAnythingMedLib.apps.slicer.console.batch``."""
        from SegmentAnythingMedLib.apps.slicer import console

        return console.batch(cases, **options)

    def close(self, timeout: float = 5.0) -> None:
        """Stop the worker, wait at most so many seconds; the next use of :attr:`controller` starts a new one."""
        if self._controller is not None:
            self._controller.close(timeout)
            self._controller = None


class SegmentAnythingMedTest(ScriptedLoadableModuleTest):
    """Self test: Reload & Test in Slicer, and the same on the test bench. Small volumes, a few seconds each."""

    SHAPE = (12, 80, 96)
    CENTRE = (48, 40, 6)

    def setUp(self) -> None:
        """An empty scene."""
        slicer.mrmlScene.Clear(0)
        self.logic = SegmentAnythingMedLogic()

    def tearDown(self) -> None:
        """No thread is left."""
        self.logic.close()

    def runTest(self, **kwargs: Any) -> None:
        """Run every test; older base classes run none by themselves."""
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.delayDisplay(name)
            self.setUp()
            try:
                getattr(self, name)()
            finally:
                self.tearDown()
        self.delayDisplay("All tests passed")

    def test_console(self) -> None:
        """A box on one slice becomes a volume of masks with a reason for each."""
        volume, ball = self.add_volume()
        found = self.logic.propagate(volume, [self.box(ball)])
        (segment_id,) = found.segment_ids.values()
        self.assert_like(self.mask(found.segmentation, segment_id, volume), ball, 0.8)
        one = self.logic.segment(volume, [self.box(ball)], segmentation=found.segmentation, segment="one slice")
        (other_id,) = one.segment_ids.values()
        slices = np.flatnonzero(self.mask(one.segmentation, other_id, volume).any(axis=(1, 2)))
        self.assertLessEqual(set(slices), {self.CENTRE[2]})
        results = self.logic.batch([(volume, [self.box(ball)]), (volume, [])])
        self.assertEqual([result.state == "done" for result in results], [True, False])

    def test_oblique_volume_under_a_transform(self) -> None:
        """Prompts of the scene, undo and redo, propagation in the background."""
        volume, ball = self.add_volume(oblique=True)
        controller, node, segment_id = self.start(volume)
        self.add_point(volume, node, segment_id, self.CENTRE)
        controller.prompts_changed()
        self.assertTrue(controller.wait(120))
        first = self.mask(node, segment_id, volume)
        self.assert_like(first[self.CENTRE[2]], ball[self.CENTRE[2]], 0.85)
        controller.undo()
        self.assertFalse(self.mask(node, segment_id, volume).any())
        controller.redo()
        self.assertTrue((self.mask(node, segment_id, volume) == first).all())
        controller.propagate()
        self.assertTrue(controller.wait(300))
        self.assert_like(self.mask(node, segment_id, volume), ball, 0.8)
        self.assertEqual(controller.records[self.CENTRE[2]].reason, "seed")

    def test_other_segments_lose_nothing(self) -> None:
        """A new segment may overlap the one before, as the Segment Editor allows, and takes no voxel from it."""
        volume, ball = self.add_volume()
        controller, node, first_id = self.start(volume)
        half = ball.copy()
        half[:, :, self.CENTRE[0] :] = False
        slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), node, first_id, volume)
        controller.segment_id = second_id = node.GetSegmentation().AddEmptySegment("", "second")
        self.add_point(volume, node, second_id, (self.CENTRE[0] + 6, *self.CENTRE[1:]))
        controller.prompts_changed()
        self.assertTrue(controller.wait(120))
        self.assertTrue(self.mask(node, second_id, volume).any())
        self.assertTrue((self.mask(node, first_id, volume) == half).all())

    def test_scene_is_saved_and_restored(self) -> None:
        """Masks, prompts, provenance, records and settings come back; nothing is computed again."""
        volume, _ball = self.add_volume(oblique=True)
        controller, node, segment_id = self.start(volume)
        parameters = self.logic.getParameterNode()
        parameters.inputVolume, parameters.segmentation, parameters.segmentID = volume, node, segment_id
        parameters.iouThreshold = 0.65
        self.add_point(volume, node, segment_id, self.CENTRE)
        controller.prompts_changed()
        controller.wait(120)
        mask, records = self.mask(node, segment_id, volume), dict(controller.records)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            controller.scene_closing()
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
            parameters = self.logic.getParameterNode()
            volume, node, segment_id = parameters.inputVolume, parameters.segmentation, parameters.segmentID
            self.assertEqual(parameters.iouThreshold, 0.65)
            self.assertTrue((self.mask(node, segment_id, volume) == mask).all())
            controller.volume, controller.segmentation, controller.segment_id = volume, node, segment_id
            self.assertEqual(set(controller.records), set(records))
            controller.prompts_changed()
            controller.wait(120)
            self.assertFalse(controller.can_undo)
            self.assertTrue((self.mask(node, segment_id, volume) == mask).all())

    def test_sample(self) -> None:
        """The bladder in the CT that comes with the module, from one box."""
        folder = Path(__file__).parent / "Resources" / "SampleData" / "CTPelvisBladder"
        volume = slicer.util.loadVolume(str(folder / "ct.nii.gz"))
        from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt

        found = self.logic.propagate(volume, [BoxPrompt((122, 55, 14), (188, 111, 14))])
        self.assertGreater(found.millilitres["object"], 50)
        self.assertTrue(found.result.completed)

    # ---- helpers ----

    def add_volume(self, oblique: bool = False) -> tuple[Any, np.ndarray]:
        """A bright ball, bool [K, J, I], in a noisy volume; oblique ones lie under a transform, too."""
        k, j, i = np.ogrid[tuple(slice(n) for n in self.SHAPE)]
        centre = self.CENTRE
        ball = ((i - centre[0]) / 20) ** 2 + ((j - centre[1]) / 16) ** 2 + ((k - centre[2]) / 4) ** 2 < 1
        voxels = np.where(ball, 180.0, -20.0) + np.random.default_rng(7).normal(0, 12, self.SHAPE)
        matrix = np.diag([-0.8, -0.9, 2.5, 1.0])
        if oblique:
            angle = np.deg2rad(25)
            turn = np.eye(4)
            turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            matrix = turn @ matrix
        node = slicer.util.addVolumeFromArray(voxels.astype(np.int16), ijkToRAS=matrix, name="Ball")
        if oblique:
            transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            slicer.util.updateTransformMatrixFromArray(transform, np.eye(4)[[2, 0, 1, 3]] @ turn)
            node.SetAndObserveTransformNodeID(transform.GetID())
        return node, ball

    def start(self, volume: Any) -> tuple[Any, Any, str]:
        """The controller on a new, empty segment."""
        from SegmentAnythingMedLib.apps.slicer.new_segments import add_segment, new_segmentation

        node = new_segmentation(volume)
        controller, segment_id = self.logic.controller, add_segment(node)
        controller.volume, controller.segmentation, controller.segment_id = volume, node, segment_id
        return controller, node, segment_id

    def add_point(self, volume: Any, node: Any, segment_id: str, ijk: tuple[int, int, int]) -> None:
        """A positive point on a voxel."""
        from SegmentAnythingMedLib.apps.slicer.geometry import ijk_to_world, map_points
        from SegmentAnythingMedLib.apps.slicer.prompt_nodes import prompt_node

        point = map_points(ijk_to_world(volume), np.array(ijk))[0]
        prompt_node(node, segment_id, volume, "positive").AddControlPointWorld(vtk.vtkVector3d(*point))

    def box(self, ball: np.ndarray) -> Any:
        """The box around the middle slice of the ball."""
        from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt

        rows, columns = np.nonzero(ball[self.CENTRE[2]])
        low, high = (columns.min(), rows.min()), (columns.max(), rows.max())
        return BoxPrompt((*low, self.CENTRE[2]), (*high, self.CENTRE[2]))

    def mask(self, node: Any, segment_id: str, volume: Any) -> np.ndarray:
        """A segment on the grid of a volume, bool [K, J, I]."""
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume) > 0

    def assert_like(self, found: np.ndarray, reference: np.ndarray, least: float) -> None:
        """Dice of two masks."""
        dice = 2 * np.count_nonzero(found & reference) / (np.count_nonzero(found) + np.count_nonzero(reference))
        self.assertGreaterEqual(dice, least)
