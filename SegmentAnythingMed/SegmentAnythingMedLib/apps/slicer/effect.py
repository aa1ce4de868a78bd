"""Segment Editor effect "Segment Anything": points and boxes on slices, answered into the selected segment.

Left click: inside. Ctrl or Shift + left click: outside. Left drag: box. Undo, masking and overwrite mode are the
editor's own. Slicer loads the class through the file in ``SegmentAnythingMedEffect`` beside the module's file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

from ...errors import SegmentAnythingMedError
from .effect_marks import ViewMarks
from .effect_options import EffectOptions
from .effect_registration import SOURCE
from .effect_session import EffectSession
from .geometry import axis_of_view
from .install import ensure_for
from .quitting import GUARD
from .requests import ModelChoice
from .saying import said

ICON = Path(__file__).parents[3] / "Resources" / "Icons" / "SegmentEditorSegmentAnything.png"
NAME = "Segment Anything"
DRAG = 5
"""Pixels that the mouse has to move with the button down to draw a box."""
POLL_MS = 30


class SegmentEditorSegmentAnythingEffect(AbstractScriptedSegmentEditorEffect):
    """The effect; ``scriptedEffect`` is its C++ side."""

    def __init__(self, scriptedEffect: Any) -> None:
        scriptedEffect.name = NAME  # not translated: modules find effects by it
        scriptedEffect.title = _("Segment Anything")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.session: EffectSession | None = None
        self.options: EffectOptions | None = None
        self._marks: dict[Any, ViewMarks] = {}
        self._pressed: tuple[Any, tuple[int, int], bool] | None = None
        self._timer: qt.QTimer | None = None

    def clone(self) -> Any:
        """A new effect of this kind, for another editor."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        other = effects.qSlicerSegmentEditorScriptedEffect(None)
        other.setPythonSource(SOURCE.as_posix())
        return other

    def icon(self) -> qt.QIcon:
        """Picture of the effect's button."""
        return qt.QIcon(str(ICON))

    def helpText(self) -> str:
        """What the editor shows while the effect is active."""
        return "<html>" + _(
            "Segment an object on a slice by a few prompts, then through its slices.<p><ul>"
            "<li><b>Left click:</b> the object is here.<li><b>Ctrl or Shift + left click:</b> the object is not here."
            "<li><b>Left drag:</b> box around the object.</ul><p>Undo and masking are the editor's. "
            "<b>Not for clinical use.</b>"
        )

    # life

    def setupOptionsFrame(self) -> None:
        """Called once per editor."""
        self.options = EffectOptions(self.scriptedEffect, self._propagate, self._cancel, self._clear)

    def activate(self) -> None:
        """The user chose the effect."""
        self.session = EffectSession(self.scriptedEffect, self.options.say, ensure_for)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._poll)
        self.updateGUIFromMRML()

    def deactivate(self) -> None:
        """The user chose another effect, or closed the editor: nothing of this one may be left in the views."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        for marks in self._marks.values():
            marks.remove()
        self._marks.clear()
        self._pressed = None
        GUARD.end(self)
        if self.session is not None:
            self.session.close()
            self.session = None

    def cleanup(self) -> None:
        """Called before the C++ side is destroyed."""
        if self.session is not None:
            self.deactivate()
        if self.options is not None:
            self.options.disconnect()
            self.options = None

    def createCursor(self, widget: Any) -> qt.QCursor:
        """A cross in every view."""
        return qt.QCursor(qt.Qt.CrossCursor)

    # settings, kept in the editor's node

    def setMRMLDefaults(self) -> None:
        """Settings of a new editor."""
        self.scriptedEffect.setParameterDefault("Model", ModelChoice().name)

    def updateGUIFromMRML(self) -> None:
        """The editor's node has changed."""
        model = self.scriptedEffect.parameter("Model")
        if self.options is not None:
            self.options.show_model(model)
        if self.session is not None:
            self.session.model = ModelChoice(model or ModelChoice().name)
            self._draw()

    def updateMRMLFromGUI(self) -> None:
        """The user has changed an option."""
        self.scriptedEffect.setParameter("Model", self.options.model)

    # events of the views

    def processInteractionEvents(self, callerInteractor: Any, eventId: int, viewWidget: Any) -> bool:
        """Mouse events of slice views; True ends an event here, so that the view does not react to it as well."""
        if self.session is None or viewWidget.className() != "qMRMLSliceWidget":
            return False
        pixel = callerInteractor.GetEventPosition()
        if eventId == vtk.vtkCommand.LeftButtonPressEvent:
            if not self.scriptedEffect.confirmCurrentSegmentVisible():
                return True
            negative = bool(callerInteractor.GetControlKey() or callerInteractor.GetShiftKey())
            self._pressed = (viewWidget, pixel, negative)
            return True
        if self._pressed is None or self._pressed[0] != viewWidget:
            return False
        start, negative = self._pressed[1:]
        box = not negative and max(abs(pixel[0] - start[0]), abs(pixel[1] - start[1])) >= DRAG
        if eventId == vtk.vtkCommand.MouseMoveEvent:
            self._draw_in(viewWidget, (start, pixel) if box else None)
            return True
        if eventId == vtk.vtkCommand.LeftButtonReleaseEvent:
            self._pressed = None
            self._prompt(viewWidget, start, pixel if box else None, negative)
            return True
        return False

    def processViewNodeEvents(self, callerViewNode: Any, eventId: int, viewWidget: Any) -> None:
        """Another slice is shown, or the view was moved: the marks move with it."""
        if self.session is not None and callerViewNode is not None and callerViewNode.IsA("vtkMRMLSliceNode"):
            self._draw_in(viewWidget)

    def _prompt(self, view: Any, start: tuple[int, int], end: tuple[int, int] | None, negative: bool) -> None:
        node = view.mrmlSliceNode()
        try:
            if end is None:
                self.session.point(node, start, int(not negative))
            else:
                self.session.box(node, start, end)
        except SegmentAnythingMedError as error:
            self.options.say(said(error))
        self._after_request(view)

    # what the options do

    def _propagate(self) -> None:
        if self.session is None:
            return
        try:
            self.session.propagate()
        except SegmentAnythingMedError as error:
            self.options.say(said(error))
        self._after_request(None)

    def _cancel(self) -> None:
        if self.session is not None:
            self.session.cancel()

    def _clear(self) -> None:
        if self.session is not None:
            self.session.clear()
            self._draw()

    def _after_request(self, view: Any) -> None:
        if view is not None and view not in self._marks:
            self._marks[view] = ViewMarks(self.scriptedEffect, view)
        self._draw()
        self.options.show_busy(self.session.busy)
        if self.session.busy:
            self._timer.start()
            GUARD.begin(self, self._stop)

    def _poll(self) -> None:
        self.session.poll()
        if not self.session.busy:
            self._timer.stop()
            self.options.show_busy(False)
            GUARD.end(self)

    def _stop(self, seconds: float) -> None:
        """The application is being closed: stop what runs, keep what is done; wait at most so long."""
        self.session.cancel()
        if self.session.wait(seconds):
            self._poll()

    def _draw(self) -> None:
        for view in self._marks:
            self._draw_in(view)

    def _draw_in(self, view: Any, rectangle: tuple | None = None) -> None:
        if view not in self._marks:
            self._marks[view] = ViewMarks(self.scriptedEffect, view)
        editor = self.scriptedEffect.parameterSetNode()
        volume = editor.GetSourceVolumeNode() if editor is not None else None
        try:
            axis = axis_of_view(view.mrmlSliceNode(), volume) if volume is not None else None
        except SegmentAnythingMedError:  # a bent transform: said when the user gives a prompt
            axis = None
        here = (editor.GetSelectedSegmentID() if editor is not None else "", axis)
        shown = []
        for place, held in self.session.slices.items():
            if (place.segment_id, place.axis) == here and _is_shown(view.mrmlSliceNode(), held.marks[0][0]):
                shown += held.marks
        self._marks[view].show(shown, rectangle)


def _is_shown(slice_node: slicer.vtkMRMLSliceNode, ras: Any) -> bool:
    """Whether a view is on the slice of a mark: nearer than half of its own slice spacing, RAS mm."""
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(slice_node.GetSliceToRAS(), inverse)
    distance = inverse.MultiplyPoint((*ras[0], 1.0))[2]
    spacing = slice_node.GetPrescribedSliceSpacing()[2]
    return abs(distance) <= 0.5 * max(spacing, 1e-3)
