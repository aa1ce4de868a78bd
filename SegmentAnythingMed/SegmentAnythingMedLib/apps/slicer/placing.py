"""The tools that put prompts into the slice views: clicks through Slicer's own place mode, strokes through drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .drawing import LINE, RECTANGLE, SliceDrawing

POINT_TOOLS = ("positive", "negative", "stop")
DRAWING_TOOLS = {"box": RECTANGLE, "scribble": LINE, "scribble_negative": LINE}
TOOLS = (*POINT_TOOLS, *DRAWING_TOOLS)


class Target(Protocol):
    """Where prompts go."""

    def point_node(self, role: str) -> Any:
        """The point list of the current segment for a role of ``POINT_TOOLS``; made when there is none."""

    def add_drawing(self, role: str, slice_node: Any, points: np.ndarray) -> None:
        """Take a drawing (RAS mm [N, 3]) of the current segment."""


class PromptTools:
    """At most one tool is in the user's hand.

    Args:
        target: where prompts go.
        changed: called with the tool in hand (None: none) whenever that changes.
        slipped: called with a sentence when a drawing was too short.
    """

    def __init__(self, target: Target, changed: Callable[[str | None], None], slipped: Callable[[str], None]) -> None:
        self._target, self._changed, self._slipped = target, changed, slipped
        self._drawing: SliceDrawing | None = None
        self._observed: list[tuple[Any, int]] = []
        self.active: str | None = None

    def take(self, tool: str) -> None:
        """Put a tool into the user's hand; the one before is put down."""
        self.put_down()
        if tool in POINT_TOOLS:
            self._place_points(self._target.point_node(tool))
        else:
            self._drawing = SliceDrawing(DRAWING_TOOLS[tool], self._drawn, self._too_short)
        self.active = tool
        self._changed(tool)

    def put_down(self) -> None:
        """No tool in hand; the mouse does what it did before."""
        if self.active is None:
            return
        self.active = None
        if self._drawing is not None:
            self._drawing.stop()
            self._drawing = None
        if self._observed:
            for node, tag in self._observed:
                node.RemoveObserver(tag)
            self._observed = []
            interaction = slicer.app.applicationLogic().GetInteractionNode()
            if interaction.GetCurrentInteractionMode() == interaction.Place:
                interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self._changed(None)

    def _place_points(self, node: Any) -> None:
        logic = slicer.app.applicationLogic()
        selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(interaction.Place)

        def watch(*_arguments: object) -> None:
            """The user chose another mouse mode or another list in Slicer's toolbar, or pressed Escape in a view."""
            placing = interaction.GetCurrentInteractionMode() == interaction.Place
            if not placing or selection.GetActivePlaceNodeID() != node.GetID():
                self.put_down()

        event = vtk.vtkCommand.ModifiedEvent
        self._observed = [(one, one.AddObserver(event, watch)) for one in (selection, interaction)]

    def _drawn(self, slice_node: Any, points: np.ndarray) -> None:
        self._target.add_drawing(self.active, slice_node, points)

    def _too_short(self) -> None:
        self._slipped(_("Hold the mouse button down and draw."))
