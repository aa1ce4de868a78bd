"""Errors that nobody would see: exceptions in VTK observers and Qt slots, and VTK's own error messages."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import vtk


class ErrorLog:
    """Collects what would otherwise be lost.

    Exceptions raised in an observer or a slot do not reach the code that caused the event; both end in
    ``sys.excepthook``. VTK errors go to an output window. ``exceptions`` and ``vtk_errors`` hold their texts.
    """

    def __init__(self) -> None:
        self.exceptions: list[str] = []
        self.vtk_errors: list[str] = []
        self._window = vtk.vtkOutputWindow()
        self._window.SetDisplayModeToAlwaysStdErr()
        self._window.AddObserver("ErrorEvent", self._on_vtk_error)
        self._on_vtk_error_keep = self._on_vtk_error

    def install(self) -> None:
        """Take over ``sys.excepthook`` and VTK's output window for the rest of the process."""
        sys.excepthook = self._hook
        vtk.vtkOutputWindow.SetInstance(self._window)

    def clear(self) -> None:
        """Forget what was collected."""
        self.exceptions.clear()
        self.vtk_errors.clear()

    def report(self) -> str:
        """All that was collected as one text; empty when nothing was."""
        return "\n".join(self.exceptions + self.vtk_errors)

    @contextmanager
    def expected(self, part: str) -> Iterator[None]:
        """An error whose text contains ``part`` must happen inside; it is then forgotten."""
        before = len(self.exceptions), len(self.vtk_errors)
        yield
        new = self.exceptions[before[0] :] + self.vtk_errors[before[1] :]
        assert any(part in text for text in new), f"expected an error with {part!r}, got {new!r}"
        del self.exceptions[before[0] :], self.vtk_errors[before[1] :]

    def _hook(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        self.exceptions.append(text)
        sys.stderr.write(text)

    def _on_vtk_error(self, _window: vtk.vtkOutputWindow, _event: str, message: str) -> None:
        self.vtk_errors.append(message)

    _on_vtk_error.CallDataType = vtk.VTK_STRING  # type: ignore[attr-defined]


ERRORS = ErrorLog()
