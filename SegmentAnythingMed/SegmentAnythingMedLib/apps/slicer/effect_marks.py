"""What the Segment Editor effect shows in a slice view: its points, its boxes, the rectangle being drawn. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import vtk

from .effect_session import BOX

COLORS = {1: (0.18, 0.80, 0.44), 0: (0.91, 0.30, 0.24), BOX: (0.95, 0.77, 0.06)}
ARM = 6.0
"""Half length of a point's strokes, in pixels."""


class ViewMarks:
    """Marks of one slice view.

    Args:
        scripted_effect: adds and removes the actor.
        view_widget: of the view.
    """

    def __init__(self, scripted_effect: Any, view_widget: Any) -> None:
        self._effect, self._view = scripted_effect, view_widget
        self._lines = vtk.vtkPolyData()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(self._lines)
        mapper.SetScalarModeToUseCellData()
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetLineWidth(2)
        self._effect.addActor2D(view_widget, self._actor)

    def show(self, marks: Iterable[tuple[np.ndarray, int]], rectangle: Sequence[Sequence[float]] | None = None) -> None:
        """Draw marks, and the rectangle between two pixels.

        Args:
            marks: (RAS mm [n, 3], kind) with kind 1 inside, 0 outside, 2 box.
            rectangle: two opposite pixels (x, y), or None.
        """
        points, lines, colors = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkUnsignedCharArray()
        colors.SetNumberOfComponents(3)
        for stroke, kind in self._strokes(marks, rectangle):
            lines.InsertNextCell(len(stroke))
            for x, y in stroke:
                lines.InsertCellPoint(points.InsertNextPoint(x, y, 0.0))
            colors.InsertNextTuple3(*(255 * part for part in COLORS[kind]))
        self._lines.SetPoints(points)
        self._lines.SetLines(lines)
        self._lines.GetCellData().SetScalars(colors)
        self._lines.Modified()
        self._actor.SetVisibility(lines.GetNumberOfCells() > 0)  # some mappers keep drawing the last lines
        self._view.sliceView().scheduleRender()

    def remove(self) -> None:
        """Take everything out of the view."""
        self._effect.removeActor2D(self._view, self._actor)
        self._view.sliceView().scheduleRender()

    def _strokes(
        self, marks: Iterable[tuple[np.ndarray, int]], rectangle: Sequence[Sequence[float]] | None
    ) -> Iterable[tuple[list[tuple[float, float]], int]]:
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._view.mrmlSliceNode().GetXYToRAS(), inverse)
        for ras, kind in marks:
            pixels = [inverse.MultiplyPoint((*position, 1.0))[:2] for position in ras]
            if kind == BOX:
                yield [*pixels, pixels[0]], kind
                continue
            ((x, y),) = pixels
            yield [(x - ARM, y), (x + ARM, y)], kind
            if kind:
                yield [(x, y - ARM), (x, y + ARM)], kind
        if rectangle is not None:
            (x0, y0), (x1, y1) = rectangle
            yield [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], BOX
