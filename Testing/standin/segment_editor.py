"""Stand-in for the Segment Editor: effects are registered, cloned, activated, and get the events of the slice views."""

from __future__ import annotations

import sys
import types
from typing import Any

import slicer
import vtk

from .qt_namespace import qt
from .segment_effect import qSlicerSegmentEditorAbstractEffect, qSlicerSegmentEditorScriptedEffect

EVENTS = (
    vtk.vtkCommand.LeftButtonPressEvent,
    vtk.vtkCommand.LeftButtonReleaseEvent,
    vtk.vtkCommand.RightButtonPressEvent,
    vtk.vtkCommand.RightButtonReleaseEvent,
    vtk.vtkCommand.MouseMoveEvent,
    vtk.vtkCommand.KeyPressEvent,
    vtk.vtkCommand.EnterEvent,
    vtk.vtkCommand.LeaveEvent,
)
REQUIRED_METHODS = ("clone", "activate", "deactivate", "setupOptionsFrame", "setMRMLDefaults", "updateGUIFromMRML")


class AbstractScriptedSegmentEditorEffect:
    """Base class of effects written in Python."""

    def __init__(self, scriptedEffect: qSlicerSegmentEditorScriptedEffect) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        """Make the effect known to all editors."""
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self) -> None:
        """For the subclass."""

    def rasToXy(self, ras: Any, viewWidget: Any) -> list[int]:
        """RAS mm to a pixel."""
        point = self.scriptedEffect.rasToXy(qt.QVector3D(*ras), viewWidget)
        return [point.x(), point.y()]

    def xyToRas(self, xy: Any, viewWidget: Any) -> list[float]:
        """Pixel to RAS mm."""
        vector = self.scriptedEffect.xyToRas(qt.QPoint(*xy), viewWidget)
        return [vector.x(), vector.y(), vector.z()]


class qSlicerSegmentEditorEffectFactory:
    """Known effects; one for the process."""

    _instance: qSlicerSegmentEditorEffectFactory | None = None

    def __init__(self) -> None:
        self.effects: dict[str, qSlicerSegmentEditorScriptedEffect] = {}

    @classmethod
    def instance(cls) -> qSlicerSegmentEditorEffectFactory:
        """The factory."""
        cls._instance = cls._instance or cls()
        return cls._instance

    def registerEffect(self, effect: qSlicerSegmentEditorScriptedEffect) -> bool:
        """Add an effect; False when its name is known already or empty."""
        if not effect.name or effect.name in self.effects:
            return False
        self.effects[effect.name] = effect
        return True


class StandInSegmentEditor:
    """What qMRMLSegmentEditorWidget does for an effect.

    Attributes:
        node: vtkMRMLSegmentEditorNode. logic: the real vtkSlicerSegmentEditorLogic with its history.
    """

    def __init__(self, host: Any, segmentation: Any, volume: Any, segment_id: str) -> None:
        self.host = host
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.history = slicer.vtkSegmentationHistory()
        self.history.SetMaximumNumberOfStates(30)
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.logic.SetMRMLApplicationLogic(host.applogic)
        self.logic.SetSegmentEditorNode(self.node)
        self.logic.SetSegmentationHistory(self.history)
        self.node.SetAndObserveSegmentationNode(segmentation)
        self.node.SetAndObserveSourceVolumeNode(volume)
        self.history.SetSegmentation(segmentation.GetSegmentation())
        self.effect: qSlicerSegmentEditorScriptedEffect | None = None
        self._observed: list[tuple[Any, int]] = []
        self.setCurrentSegmentID(segment_id)

    def setCurrentSegmentID(self, segment_id: str) -> None:
        """Select a segment."""
        self.node.SetSelectedSegmentID(segment_id)
        self.logic.SetCurrentSegmentID(segment_id)

    def setActiveEffectByName(self, name: str) -> None:
        """Switch to an effect, as a click on its button does; an empty name is no effect."""
        if self.effect is not None:
            self._deactivate()
        if not name:
            return
        effect = qSlicerSegmentEditorEffectFactory.instance().effects[name].clone()
        missing = [method for method in REQUIRED_METHODS if not hasattr(effect.self(), method)]
        assert not missing, f"the effect has no {missing}"
        self.effect = effect
        effect._editor = self
        effect._frame = qt.QFrame()
        qt.QFormLayout(effect._frame)
        effect.self().setupOptionsFrame()
        effect.self().setMRMLDefaults()
        effect.self().updateGUIFromMRML()
        effect._active = True
        effect.self().activate()
        self.node.SetActiveEffectName(name)
        self._observe(self.node, vtk.vtkCommand.ModifiedEvent, self._on_node)
        self._observe(self.node, self.node.EffectParameterModified, self._on_node)
        for view_name in self.host.views.sliceViewNames():
            self._observe_view(self.host.views.sliceWidget(view_name))

    def undo(self) -> None:
        """The editor's Undo button."""
        self.logic.Undo()

    def redo(self) -> None:
        """The editor's Redo button."""
        self.logic.Redo()

    def close(self) -> None:
        """Leave the editor; the effect must have removed what it showed."""
        self.setActiveEffectByName("")

    def _deactivate(self) -> None:
        effect, self.effect = self.effect, None
        for item, tag in self._observed:
            item.RemoveObserver(tag)
        self._observed.clear()
        effect._active = False
        effect.self().deactivate()
        effect.self().cleanup()
        assert not effect.actors, f"the effect left {len(effect.actors)} actors in the views"

    def _observe(self, item: Any, event: Any, callback: Any, priority: float = 0.0) -> int:
        tag = item.AddObserver(event, callback, priority)
        self._observed.append((item, tag))
        return tag

    def _on_node(self, *_: object) -> None:
        if self.effect is not None:
            self.effect.self().updateGUIFromMRML()

    def _observe_view(self, widget: Any) -> None:
        interactor = widget.sliceView().interactor()
        for event in EVENTS:
            # Ahead of the view's own interaction, as the editor does; an event that the effect took ends here.
            forward = _Forward(self, widget, event)
            forward.tag = self._observe(interactor, event, forward, 100.0)

        def on_view(caller: Any, _event: str) -> None:
            """Tell the effect that a view shows something else."""
            handler = getattr(self.effect and self.effect.self(), "processViewNodeEvents", None)
            if handler is not None:
                handler(caller, vtk.vtkCommand.ModifiedEvent, widget)

        self._observe(widget.mrmlSliceNode(), vtk.vtkCommand.ModifiedEvent, on_view)


class _Forward:
    """Gives an event of a view to the active effect."""

    def __init__(self, editor: StandInSegmentEditor, widget: Any, event: int) -> None:
        self.editor = editor
        self.widget = widget
        self.event = event
        self.tag = 0

    def __call__(self, interactor: Any, _event: str) -> None:
        effect = self.editor.effect
        if effect is None:
            return
        took = effect.self().processInteractionEvents(interactor, self.event, self.widget)
        if not isinstance(took, bool):
            raise TypeError("processInteractionEvents must return a bool")
        if took:
            interactor.GetCommand(self.tag).SetAbortFlag(1)


def install() -> None:
    """Make the classes known under the names that Slicer gives them."""
    slicer.qSlicerSegmentEditorAbstractEffect = qSlicerSegmentEditorAbstractEffect
    slicer.qSlicerSegmentEditorEffectFactory = qSlicerSegmentEditorEffectFactory
    plugin = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
    plugin.qSlicerSegmentEditorScriptedEffect = qSlicerSegmentEditorScriptedEffect
    sys.modules[plugin.__name__] = plugin
    package = types.ModuleType("SegmentEditorEffects")
    package.AbstractScriptedSegmentEditorEffect = AbstractScriptedSegmentEditorEffect
    sys.modules[package.__name__] = package


def uninstall() -> None:
    """Forget the classes and all registered effects."""
    for name in ("qSlicerSegmentEditorAbstractEffect", "qSlicerSegmentEditorEffectFactory"):
        if hasattr(slicer, name):
            delattr(slicer, name)
    for name in ("qSlicerSegmentationsEditorEffectsPythonQt", "SegmentEditorEffects"):
        sys.modules.pop(name, None)
    qSlicerSegmentEditorEffectFactory._instance = None
