"""Drawing with the mouse button held down in any slice view: a rectangle or a free line.

Markups are placed by clicks; a box by one drag and a scribble by one stroke are quicker. The left button is taken while
drawing is on, everything else (scrolling, panning, zooming) goes on to the view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import slicer
import vtk

RECTANGLE, LINE = "rectangle", "line"
SMALLEST_DRAG_PX = 3
"""A shorter drag is a slip of the hand."""
_PRIORITY = 10.0
_COLOUR = (1.0, 0.85, 0.1)
Finished = Callable[[Any, np.ndarray], None]


def slice_views() -> Iterator[tuple[Any, Any]]:
    """(slice view, its slice node) of the layout; none without a layout."""
    layout = slicer.app.layoutManager()
    for name in layout.sliceViewNames() if layout is not None else ():
        widget = layout.sliceWidget(name)
        yield widget.sliceView(), widget.mrmlSliceNode()


def xy_to_ras(slice_node: Any, points: np.ndarray) -> np.ndarray:
    """Pixels of a view [N, 2] -> RAS mm [N, 3] on its slice."""
    matrix = slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS())
    whole = np.column_stack([points, np.zeros(len(points)), np.ones(len(points))])
    return (whole @ matrix.T)[:, :3]


def rectangle_corners(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Corners [4, 2] of the rectangle with two opposite corners, in drawing order."""
    return np.array([first, [last[0], first[1]], last, [first[0], last[1]]], dtype=float)


class SliceDrawing:
    """Lets the user draw in all slice views until :meth:`stop`.

    Args:
        shape: ``rectangle`` or ``line``.
        finished: called with the slice node and the drawing in RAS mm: [4, 3] corners, or [N, 3] points of the line.
        slipped: called when the drag was too short to mean anything.
    """

    def __init__(self, shape: str, finished: Finished, slipped: Callable[[], None]) -> None:
        self.shape = shape
        self._finished, self._slipped = finished, slipped
        self._pens: list[_Pen] = []
        self._layout = slicer.app.layoutManager()
        if self._layout is not None:
            self._layout.connect("layoutChanged(int)", self._layout_changed)
        self._layout_changed()

    def stop(self) -> None:
        """Give the mouse back."""
        if self._layout is not None:
            self._layout.disconnect("layoutChanged(int)", self._layout_changed)
        self._layout = None
        self._release()

    def _layout_changed(self, _number: int = 0) -> None:
        """Other views are shown now."""
        self._release()
        self._pens = [_Pen(self, view, node) for view, node in slice_views()]

    def _release(self) -> None:
        for pen in self._pens:
            pen.release()
        self._pens = []

    def outline(self, pixels: np.ndarray) -> np.ndarray:
        """What is drawn so far, as points [N, 2] of the view."""
        return rectangle_corners(pixels[0], pixels[-1]) if self.shape == RECTANGLE else pixels

    def done(self, slice_node: Any, pixels: np.ndarray) -> None:
        """The button was released."""
        if np.ptp(pixels, axis=0).max() < SMALLEST_DRAG_PX:
            self._slipped()
        else:
            self._finished(slice_node, xy_to_ras(slice_node, self.outline(pixels)))


class _Pen:
    """The mouse in one view, and the picture of what it draws."""

    def __init__(self, drawing: SliceDrawing, view: Any, slice_node: Any) -> None:
        self._drawing, self._view, self._node = drawing, view, slice_node
        self._interactor = view.interactor()
        self._pixels: list[tuple[float, float]] = []
        self._picture = vtk.vtkPolyData()
        self._actor = _line_actor(self._picture)
        handlers = {
            vtk.vtkCommand.LeftButtonPressEvent: self._press,
            vtk.vtkCommand.MouseMoveEvent: self._move,
            vtk.vtkCommand.LeftButtonReleaseEvent: self._lift,
        }
        self._tags = {event: self._interactor.AddObserver(event, do, _PRIORITY) for event, do in handlers.items()}

    def release(self) -> None:
        """Give the mouse back to the view; an unfinished drawing is forgotten."""
        self._erase()
        for tag in self._tags.values():
            self._interactor.RemoveObserver(tag)
        self._tags = {}

    def _press(self, *_: object) -> None:
        self._pixels = [self._interactor.GetEventPosition()]
        self._renderer().AddViewProp(self._actor)
        self._keep(vtk.vtkCommand.LeftButtonPressEvent)

    def _move(self, *_: object) -> None:
        if not self._pixels:
            return
        self._pixels.append(self._interactor.GetEventPosition())
        self._draw()
        self._keep(vtk.vtkCommand.MouseMoveEvent)

    def _lift(self, *_: object) -> None:
        if not self._pixels:
            return
        pixels = np.array([*self._pixels, self._interactor.GetEventPosition()], dtype=float)
        self._keep(vtk.vtkCommand.LeftButtonReleaseEvent)
        self._erase()
        self._drawing.done(self._node, pixels)

    def _keep(self, event: int) -> None:
        """Nobody else gets the event."""
        tag = self._tags.get(event)
        if tag is not None:
            self._interactor.GetCommand(tag).SetAbortFlag(1)

    def _renderer(self) -> vtk.vtkRenderer:
        return self._view.renderWindow().GetRenderers().GetFirstRenderer()

    def _draw(self) -> None:
        outline = self._drawing.outline(np.array(self._pixels, dtype=float))
        points, line = vtk.vtkPoints(), vtk.vtkCellArray()
        closed = self._drawing.shape == RECTANGLE
        line.InsertNextCell(len(outline) + closed)
        for x, y in outline:
            line.InsertCellPoint(points.InsertNextPoint(x, y, 0.0))
        if closed:
            line.InsertCellPoint(0)
        self._picture.SetPoints(points)
        self._picture.SetLines(line)
        self._view.scheduleRender()

    def _erase(self) -> None:
        self._pixels = []
        self._picture.Initialize()
        self._renderer().RemoveViewProp(self._actor)
        self._view.scheduleRender()


def _line_actor(picture: vtk.vtkPolyData) -> vtk.vtkActor2D:
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(picture)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*_COLOUR)
    actor.GetProperty().SetLineWidth(2)
    return actor
