"""Tells when the prompts of the scene change: set, moved, removed, loaded, undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.util import VTKObservationMixin

from .prompt_nodes import all_prompt_nodes, role_of

_MARKUPS = slicer.vtkMRMLMarkupsNode
_EVENTS = (
    _MARKUPS.PointPositionDefinedEvent,
    _MARKUPS.PointPositionUndefinedEvent,
    _MARKUPS.PointRemovedEvent,
    _MARKUPS.PointEndInteractionEvent,
    _MARKUPS.PointModifiedEvent,
)


class PromptWatch(VTKObservationMixin):
    """Observes every prompt node of the scene.

    Args:
        changed: called without arguments; often, so it should only take a note.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def start(self) -> None:
        """Observe the prompts that are there, and those that come; a second call changes nothing."""
        scene = slicer.mrmlScene
        if not self.hasObserver(scene, slicer.vtkMRMLScene.NodeAddedEvent, self._node_added):
            self.addObserver(scene, slicer.vtkMRMLScene.NodeAddedEvent, self._node_added)
            self.addObserver(scene, slicer.vtkMRMLScene.NodeRemovedEvent, self._node_removed)
        for node in all_prompt_nodes(scene):
            self._observe(node)

    def stop(self) -> None:
        """Let go of everything."""
        self.removeObservers()

    def _observe(self, node: Any) -> None:
        for event in _EVENTS:
            if not self.hasObserver(node, event, self._prompt_modified):
                self.addObserver(node, event, self._prompt_modified)

    def _prompt_modified(self, node: Any, _event: str) -> None:
        """A point that follows the mouse is no prompt yet."""
        if node.GetNumberOfDefinedControlPoints(True) == node.GetNumberOfDefinedControlPoints(False):
            self._changed()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, _scene: Any, _event: str, node: Any) -> None:
        """A new node gets its role only after it came: look again at the first thing that happens to it."""
        if node.IsA("vtkMRMLMarkupsNode"):
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._first_modified)

    def _first_modified(self, node: Any, _event: str) -> None:
        if role_of(node) is not None:
            self.removeObserver(node, vtk.vtkCommand.ModifiedEvent, self._first_modified)
            self._observe(node)
            self._changed()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, _scene: Any, _event: str, node: Any) -> None:
        for event in (*_EVENTS, vtk.vtkCommand.ModifiedEvent):
            for method in (self._prompt_modified, self._first_modified):
                if self.hasObserver(node, event, method):
                    self.removeObserver(node, event, method)
        if role_of(node) is not None:
            self._changed()
