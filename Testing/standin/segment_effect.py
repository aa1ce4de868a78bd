"""Stand-in for ``qSlicerSegmentEditorScriptedEffect``: the C++ side of a scripted effect, on the real editor logic.

Only what can be called from Python in Slicer is here; every other name raises AttributeError.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from .effect_parts import EffectParameters, EffectViews
from .qt_namespace import qt

if TYPE_CHECKING:
    from .segment_editor import StandInSegmentEditor


class qSlicerSegmentEditorAbstractEffect:
    """Constants of the C++ base class."""

    ModificationModeSet = slicer.vtkSlicerSegmentEditorLogic.ModificationModeSet
    ModificationModeAdd = slicer.vtkSlicerSegmentEditorLogic.ModificationModeAdd
    ModificationModeRemove = slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemove
    ModificationModeRemoveAll = slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemoveAll
    NotConfirmed, ConfirmedWithoutDialog, ConfirmedWithDialog = 0, 1, 2


class qSlicerSegmentEditorScriptedEffect(EffectParameters, EffectViews):
    """Adaptor between an editor and an effect written in Python.

    Attributes:
        name, title, perSegment, requireSegments, showEffectCursorInSliceView, showEffectCursorInThreeDView: as in C++.
        actors: what the effect shows (tests look at it).
    """

    _SETTABLE = (
        "name",
        "title",
        "perSegment",
        "requireSegments",
        "showEffectCursorInSliceView",
        "showEffectCursorInThreeDView",
    )

    def __init__(self, parent: Any = None) -> None:
        self.name = "UnnamedScriptedEffect"
        self.title = ""
        self.perSegment = True
        self.requireSegments = True
        self.showEffectCursorInSliceView = True
        self.showEffectCursorInThreeDView = False
        self.actors: list[tuple[Any, Any]] = []
        self._source = ""
        self._self: Any = None
        self._editor: StandInSegmentEditor | None = None
        self._active = False
        self._frame: Any = None
        self._sealed = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "_sealed" in self.__dict__ and not name.startswith("_") and name not in self._SETTABLE:
            raise AttributeError(f"'{name}' does not exist on qSlicerSegmentEditorScriptedEffect")
        super().__setattr__(name, value)

    # The Python side

    def setPythonSource(self, path: str) -> bool:
        """Make the effect of a file: a class named as the file, in a module named as its folder."""
        file = Path(path)
        if file.suffix != ".py" or "\\" in str(path):
            return False
        class_name = file.stem if file.stem.endswith("Effect") else file.stem + "Effect"
        module = _module_of(file)
        if not hasattr(module, class_name):
            spec = importlib.util.spec_from_file_location(module.__name__, file)
            exec(compile(file.read_text(encoding="utf-8"), spec.origin, "exec"), module.__dict__)
        self._self = getattr(module, class_name)(self)
        self._source = path
        setattr(slicer, module.__name__, self._self)
        return True

    def pythonSource(self) -> str:
        """Path of the effect's file."""
        return self._source

    def self(self) -> Any:
        """The Python object."""
        return self._self

    def clone(self) -> qSlicerSegmentEditorScriptedEffect:
        """Another effect of the same kind, made by the Python side."""
        other = self._self.clone()
        if not isinstance(other, qSlicerSegmentEditorScriptedEffect):
            raise TypeError("clone() of an effect must return a scripted effect")
        return other

    # What an effect asks of the editor

    @property
    def _node(self) -> Any:
        return self._editor.node

    def parameterSetNode(self) -> Any:
        """The editor's vtkMRMLSegmentEditorNode."""
        return self._editor.node if self._editor else None

    def scene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    def active(self) -> bool:
        """Whether the effect is active."""
        return self._active

    def optionsFrame(self) -> Any:
        """The frame of the options."""
        return self._frame

    def optionsLayout(self) -> Any:
        """The form layout in the options frame."""
        return self._frame.layout()

    def addOptionsWidget(self, widget: Any) -> None:
        """Add a widget or a layout as a row of the options."""
        self.optionsLayout().addRow(widget)

    def addLabeledOptionsWidget(self, label: str, widget: Any) -> Any:
        """Add a row with a label; returns the label."""
        text = qt.QLabel(label)
        self.optionsLayout().addRow(text, widget)
        return text

    def saveStateForUndo(self) -> None:
        """The editor remembers the segmentation as it is now."""
        self._editor.logic.SaveStateForUndo()

    def modifierLabelmap(self) -> Any:
        """Labelmap for changes, in the reference geometry."""
        self._editor.logic.UpdateReferenceGeometryImage()
        return self._editor.logic.GetModifierLabelmap()

    def defaultModifierLabelmap(self) -> Any:
        """Empty labelmap for changes, in the reference geometry."""
        self._editor.logic.UpdateReferenceGeometryImage()
        self._editor.logic.ResetModifierLabelmapToDefault()
        return self._editor.logic.GetModifierLabelmap()

    def selectedSegmentLabelmap(self) -> Any:
        """Labelmap of the selected segment."""
        self._editor.logic.UpdateSelectedSegmentLabelmap()
        return self._editor.logic.GetSelectedSegmentLabelmap()

    def referenceGeometryImage(self) -> Any:
        """Reference geometry."""
        self._editor.logic.UpdateReferenceGeometryImage()
        return self._editor.logic.GetReferenceGeometryImage()

    def modifySelectedSegmentByLabelmap(
        self, modifierLabelmap: Any, modificationMode: int, *extentAndBypass: Any
    ) -> None:
        """Change the selected segment within the editor's masking; optionally an extent of six, then bypassMasking."""
        node = self._editor.node
        if not node.GetSelectedSegmentID():
            raise AssertionError("no segment is selected")
        self.modifySegmentByLabelmap(
            node.GetSegmentationNode(),
            node.GetSelectedSegmentID(),
            modifierLabelmap,
            modificationMode,
            *extentAndBypass,
        )

    def modifySegmentByLabelmap(
        self, segmentationNode: Any, segmentID: str, modifierLabelmap: Any, modificationMode: int, *extentAndBypass: Any
    ) -> None:
        """Change a segment within the editor's masking."""
        rest = list(extentAndBypass)
        extent = [tuple(rest.pop(0))] if rest and not isinstance(rest[0], bool) else []
        bypass = rest.pop(0) if rest else False
        if rest or not isinstance(bypass, bool) or any(len(part) != 6 for part in extent):
            raise TypeError("modifySegmentByLabelmap takes an extent of six and bypassMasking after the mode")
        self._editor.logic.ModifySegmentByLabelmap(
            segmentationNode, segmentID, modifierLabelmap, modificationMode, *extent, self.perSegment, bypass
        )

    def confirmCurrentSegmentVisible(self) -> int:
        """Asks when the segment is hidden; here a hidden segment is never edited."""
        node = self._editor.node
        display = node.GetSegmentationNode().GetDisplayNode()
        visible = display is None or display.GetSegmentVisibility(node.GetSelectedSegmentID())
        base = qSlicerSegmentEditorAbstractEffect
        return base.ConfirmedWithoutDialog if visible else base.NotConfirmed

    def selectEffect(self, effectName: str) -> None:
        """Ask the editor for another effect; empty for none."""
        self._editor.setActiveEffectByName(effectName)


def _module_of(file: Path) -> types.ModuleType:
    """The Python module into which Slicer loads an effect's file: named as the folder, made when it is not there."""
    name = file.parent.name
    if name in ("slicer", "qt", "vtk", "ctk"):
        raise AssertionError(f"an effect in a folder named {name} would be loaded into Slicer's own module")
    if name not in sys.modules:
        sys.modules[name] = types.ModuleType(name)
    return sys.modules[name]
