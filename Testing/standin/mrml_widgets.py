"""Stand-ins for the widgets of Slicer that hold a scene: module panel, node selector, scene-aware number widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtWidgets

from .ctk_widgets import ctkSliderWidget
from .qt_namespace import qt
from .qt_object import PythonQtManners
from .widget_base import Observers, emit, kept_property

Signal = QtCore.Signal


class qMRMLWidget(PythonQtManners, QtWidgets.QWidget):
    """A widget with a scene."""

    mrmlSceneChanged = Signal(object)
    SIGNATURES = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}  # noqa: RUF012

    def mrmlScene(self) -> Any:
        """The scene; None before it was set."""
        return self.__dict__.get("_scene")

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene and say so."""
        if self.mrmlScene() is scene:
            return
        self.__dict__["_scene"] = scene
        self._scene_set(scene)
        emit(self, "mrmlSceneChanged", scene)

    def _scene_set(self, scene: Any) -> None:
        """What a subclass does with a new scene."""


class qSlicerWidget(qMRMLWidget):
    """A widget of the application."""


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """What holds the panel of a scripted module."""

    isEntered = kept_property(bool, "isEntered", False)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        qt.QVBoxLayout(self)
        self._make: Callable[[], Any] | None = None

    def reload(self) -> None:
        """Make the module's widget anew from its file, set it up, and enter it if it is shown."""
        widget = self._make()
        if self.isEntered:
            widget.enter()


class qMRMLNodeComboBox(PythonQtManners, QtWidgets.QWidget):
    """Selector of nodes: the scene's real content, real creation of nodes; menu actions are methods here."""

    currentNodeChanged = Signal(object)
    currentNodeChangedToAny = Signal(bool)
    currentNodeIDChanged = Signal(str)
    nodeAdded = Signal(object)
    nodeAddedByUserAction = Signal(object)
    SIGNATURES = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "currentNodeChangedToAny",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded",
        "nodeAddedByUserAction(vtkMRMLNode*)": "nodeAddedByUserAction",
    }
    nodeTypes = kept_property("QStringList", "nodeTypes", [])
    hideChildNodeTypes = kept_property("QStringList", "hideChildNodeTypes", [])
    showHidden = kept_property(bool, "showHidden", False)
    showChildNodeTypes = kept_property(bool, "showChildNodeTypes", True)
    noneEnabled = kept_property(bool, "noneEnabled", False)
    noneDisplay = kept_property(str, "noneDisplay", "None")
    addEnabled = kept_property(bool, "addEnabled", True)
    removeEnabled = kept_property(bool, "removeEnabled", True)
    editEnabled = kept_property(bool, "editEnabled", False)
    renameEnabled = kept_property(bool, "renameEnabled", False)
    baseName = kept_property(str, "baseName", "")
    selectNodeUponCreation = kept_property(bool, "selectNodeUponCreation", True)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox()
        row.addWidget(self._combo)
        self._node: Any = None
        self._observers = Observers(self, "_refresh")
        self._combo.activated.connect(lambda index: self.setCurrentNode(self._combo.itemData(index)))

    def currentNode(self) -> Any:
        """The selected node; None when none is."""
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        """Select a node; one of another type selects none, as in Slicer."""
        self._select(node if node is None or node in self._nodes() else None)

    def setCurrentNodeID(self, node_id: str) -> None:
        """Select a node by its id."""
        self.setCurrentNode(self.mrmlScene().GetNodeByID(node_id) if node_id else None)

    def _get_current_id(self) -> str:
        return self._node.GetID() if self._node else ""

    currentNodeID = QtCore.Property(str, _get_current_id, setCurrentNodeID)

    def nodeCount(self) -> int:
        """Number of nodes that can be selected."""
        return len(self._nodes())

    def addNode(self, node_class: str = "") -> Any:
        """Make a new node as the menu's "Create new" does."""
        if not self.addEnabled:
            raise AssertionError("adding nodes is not enabled in this selector")
        scene = self.mrmlScene()
        name = scene.GenerateUniqueName(self.baseName or "Node")
        node = scene.AddNewNodeByClass(node_class or self.nodeTypes[0], name)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        emit(self, "nodeAdded", node)
        emit(self, "nodeAddedByUserAction", node)
        return node

    def mrmlScene(self) -> Any:
        """The scene; None before it was set."""
        return self.__dict__.get("_scene")

    def setMRMLScene(self, scene: Any) -> None:
        """Show the nodes of a scene."""
        self.__dict__["_scene"] = scene
        self._observers.clear()
        if scene:
            self._observers.observe(scene, scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent)
        self._refresh()

    def _nodes(self) -> list[Any]:
        scene = self.mrmlScene()
        nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())] if scene else []
        return [node for node in nodes if self._fits(node)]

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if node.GetClassName() in self.nodeTypes:
            return True
        hidden = any(node.IsA(kind) for kind in self.hideChildNodeTypes)
        return self.showChildNodeTypes and not hidden and any(node.IsA(kind) for kind in self.nodeTypes)

    def _refresh(self) -> None:
        nodes, current = self._nodes(), self._node
        self._combo.clear()
        if self.noneEnabled or not nodes:
            self._combo.addItem(self.noneDisplay, None)
        for node in nodes:
            self._combo.addItem(node.GetName(), node)
        if current is not None and current not in nodes:
            current = None
        if current is None and not self.noneEnabled and nodes:
            current = nodes[0]
        self._select(current)

    def _types_changed(self, _value: object) -> None:
        self._refresh()

    _nodeTypes_changed = _noneEnabled_changed = _hideChildNodeTypes_changed = _showHidden_changed = _types_changed

    def _select(self, node: Any) -> None:
        changed = node is not self._node
        self._node = node
        for index in range(self._combo.count()):
            if self._combo.itemData(index) is node:
                self._combo.setCurrentIndex(index)
        if changed:
            emit(self, "currentNodeChanged", node)
            emit(self, "currentNodeChangedToAny", node is not None)
            emit(self, "currentNodeIDChanged", self._get_current_id())


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Selector of several nodes; here of one."""


class qMRMLSliderWidget(ctkSliderWidget):
    """A slider with a scene for its units."""

    def setMRMLScene(self, scene: Any) -> None:
        """Units are not looked up here."""


WIDGETS = (
    qMRMLWidget,
    qSlicerWidget,
    qSlicerScriptedLoadableModuleWidget,
    qMRMLNodeComboBox,
    qMRMLCheckableNodeComboBox,
    qMRMLSliderWidget,
)
