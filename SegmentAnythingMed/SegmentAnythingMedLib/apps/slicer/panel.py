"""The panel: brings widgets, parameter node, prompt tools and controller together. No decisions about masks here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from ...errors import SegmentAnythingMedError
from .clearing import shown_slice
from .collecting import DISPLAY
from .drawing import slice_views
from .drawn_prompts import add_drawing
from .geometry import dimensions
from .install import ensure_adaptive
from .panel_actions import Actions
from .panel_events import Told
from .panel_input import InputPart
from .panel_models import ModelPart
from .panel_prompts import PromptPart
from .panel_propagation import PropagationPart
from .panel_result import ResultPart
from .panel_visit import VisitPart
from .parameters import ModuleParameters, propagation_settings
from .placing import PromptTools
from .prompt_nodes import prompt_node, show_only
from .prompt_watch import PromptWatch
from .provenance import read_provenance
from .quitting import GUARD
from .saying import said
from .shortcuts import Shortcuts
from .visit_work import VisitWork

POLL_MS = 30
_COLUMN = {"i": 0, "j": 1, "k": 2}


class Panel:
    """What the user sees and presses.

    Args:
        ui: widgets of the .ui file by name.
        controller: does the work.
        owner: widget of the module; owns shortcuts when there is no main window.
    """

    def __init__(self, ui: Any, controller: Any, owner: qt.QWidget) -> None:
        self.ui, self.controller = ui, controller
        self.parameters: ModuleParameters | None = None
        self._entered = self._applying = self._polling = False
        self.actions = Actions(self)
        self.inputs = InputPart(ui, self._segments_changed)
        self.models = ModelPart(ui, self._models_changed, self._use_model)
        self.tools = PromptTools(self, self._tool_changed, self.say)
        self.prompts = PromptPart(ui, self.actions.take_tool, self.actions.choose_answer)
        self.result = ResultPart(ui)
        self.propagation = PropagationPart(ui, self.actions.go_to)
        work = VisitWork(controller, ensure_adaptive)
        self.visit = VisitPart(ui, work, self.guarded, self.actions.go_to, self.work_on)
        self.watch = PromptWatch(controller.prompts_changed)
        self.shortcuts = Shortcuts(self.actions.keys(), owner)
        ui.shortcutsLabel.text = self.shortcuts.table()
        self.actions.connect_buttons()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._tick)
        self.told = Told(self)
        controller.listen(self.told)
        self.say("")
        self.complain("")
        self.prompts.show_tool(None)
        self.prompts.show_answers((), -1)

    # ---- life ----

    def enter(self) -> None:
        """The user opened the module."""
        self._entered = True
        self.shortcuts.install()
        self.watch.start()
        self._timer.start()
        self._show_prompts_of_segment()

    def exit(self) -> None:
        """The user opened another module: keys and mouse are given back, what runs goes on."""
        self._leave()
        self.controller.finish()

    def scene_closing(self) -> None:
        """The nodes are about to go."""
        self.tools.put_down()
        self.watch.stop()
        self.visit.work.scene_closing()
        self.controller.scene_closing()
        self.propagation.show_records({})
        self.prompts.show_answers((), -1)

    def stop(self, seconds: float) -> None:
        """The application is being closed: stop what runs, keep what is done; wait at most so long."""
        self.controller.cancel()
        self.controller.wait(seconds)

    def close(self, finish: bool = True) -> None:
        """Leave nothing behind.

        Args:
            finish: make the closed surfaces again that were set aside; pointless when the application ends.
        """
        self._leave()
        if finish:
            self.controller.finish()
        GUARD.end(self)
        self._timer.stop()
        self._timer.disconnect("timeout()", self._tick)
        self.watch.stop()
        self.inputs.close()
        self.models.close()
        self.visit.close()
        self.controller.unlisten(self.told)

    # ---- state ----

    def show(self, parameters: ModuleParameters | None) -> None:
        """Show a parameter node and let the controller follow it."""
        if self._applying:
            return
        self._applying = True
        try:
            self.parameters = parameters
            self.inputs.show(parameters)
            last_slice = None
            with self.guarded():
                last_slice = self._apply(parameters)
            self.propagation.show(parameters, last_slice)
            self.visit.show(parameters)
        finally:
            self._applying = False
        if self._entered and parameters is not None:
            self.watch.start()
        self.refresh()

    def node_removed(self, node: Any) -> None:
        """A node has left the scene; what was to be written into it is not wanted any more."""
        concerned = node in (self.controller.volume, self.controller.segmentation)
        self.controller.node_removed(node)
        self.visit.work.node_removed(node)
        if concerned:
            self.refresh()

    def refresh(self) -> None:
        """Enable what can be done now."""
        parameters, controller = self.parameters, self.controller
        ready = bool(parameters and parameters.inputVolume)
        segment = ready and bool(parameters.segmentation and parameters.segmentID)
        self.prompts.enable(ready, segment)
        status = read_provenance(parameters.segmentation, parameters.segmentID).status if segment else ""
        self.result.show(status, controller.can_undo, controller.can_redo, controller.busy)
        self.ui.propagateButton.enabled = segment and not controller.propagating
        self.ui.cancelButton.enabled = controller.busy
        self.visit.refresh()
        if not controller.busy:
            self.propagation.hide_progress()

    def say(self, sentence: str) -> None:
        """Show a sentence in the status line."""
        self.ui.statusLabel.text = sentence or _("Ready.")

    def complain(self, sentence: str) -> None:
        """Show what is wrong until the next action; empty: nothing is."""
        self._show_notice(_("<b>Problem:</b> {what}"), sentence)

    def note(self, sentence: str) -> None:
        """Show what was taken differently from what the user may have meant."""
        self._show_notice(_("<b>Note:</b> {what}"), sentence)

    def _show_notice(self, form: str, sentence: str) -> None:
        self.ui.errorLabel.text = form.format(what=sentence) if sentence else ""
        self.ui.errorLabel.visible = bool(sentence)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """An action of the user: what the library refuses is said in the panel, what nobody foresaw in a window."""
        self.complain("")
        with slicer.util.tryWithErrorDisplay(_("Something unforeseen went wrong; nothing was saved or removed.")):
            try:
                yield
            except SegmentAnythingMedError as error:
                self.complain(said(error))

    def shown_slice(self) -> int | None:
        """The slice that the user looks at; None when no view shows one."""
        axis = self.controller.resolved_axis if self.parameters is not None else None
        if axis is None:
            return None
        return shown_slice(self.parameters.inputVolume, axis, [node for _view, node in slice_views()])

    # ---- where prompts go (placing.Target) ----

    def point_node(self, role: str) -> Any:
        """The point list of the current segment for a role."""
        segmentation, segment_id = self.inputs.need_segment()
        return prompt_node(segmentation, segment_id, self.parameters.inputVolume, role)

    def add_drawing(self, role: str, slice_node: Any, points: np.ndarray) -> None:
        """Take a drawing of the current segment, RAS mm [N, 3]."""
        with self.guarded():
            segmentation, segment_id = self.inputs.need_segment()
            volume, axis = self.parameters.inputVolume, self.controller.resolved_axis
            add_drawing(segmentation, segment_id, volume, role, slice_node, points, axis)
            self.controller.prompts_changed()

    # ---- what follows from what ----

    def _leave(self) -> None:
        self._entered = False
        self.tools.put_down()
        self.shortcuts.remove()

    def _apply(self, parameters: ModuleParameters | None) -> int | None:
        """The controller works on what the parameter node says; returns the highest slice number."""
        controller = self.controller
        if parameters is None:
            return None
        before = controller.volume, controller.segmentation, controller.segment_id
        if parameters.segmentation is not controller.segmentation:
            controller.finish()  # the surfaces of the one before
        controller.volume, controller.segmentation = parameters.inputVolume, parameters.segmentation
        controller.segment_id = parameters.segmentID
        controller.model_name, controller.device = parameters.model, parameters.device
        controller.axis, controller.direction = parameters.axis, parameters.direction
        controller.live, controller.overwrite_painted = parameters.live, parameters.overwritePainted
        controller.window = DISPLAY if parameters.displayWindow else "auto"
        if (controller.volume, controller.segmentation, controller.segment_id) != before:
            self._another_segment()
        self.propagation.show_records(controller.records)
        controller.settings = propagation_settings(parameters)
        axis = controller.resolved_axis
        return None if axis is None else dimensions(parameters.inputVolume)[_COLUMN[axis]] - 1

    def _another_segment(self) -> None:
        self.tools.put_down()
        self._show_prompts_of_segment()
        self.told("candidates", self.controller.candidates)

    def _show_prompts_of_segment(self) -> None:
        """Only the prompts of the current segment are shown and can be moved."""
        if self.parameters is not None and self.parameters.segmentation is not None:
            show_only(self.parameters.segmentation, self.parameters.segmentID)

    def _segments_changed(self) -> None:
        self.show(self.parameters)

    def work_on(self, segmentation: Any, segment_id: str) -> None:
        """A draft of the prior visit becomes the current segment."""
        if self.parameters is not None and segmentation is not None:
            self.parameters.segmentation, self.parameters.segmentID = segmentation, segment_id

    def _models_changed(self) -> None:
        """Checkpoints have come or gone."""
        self.inputs.refill()
        self.show(self.parameters)

    def _use_model(self, name: str) -> None:
        if self.parameters is not None:
            self.parameters.model = name

    def _tool_changed(self, tool: str | None) -> None:
        self.prompts.show_tool(tool)

    def _tick(self) -> None:
        """Let the controller take in prompts and write results; rest when the module is left and nothing runs.

        A question to the user (installation) lets timers go on: a second poll must not start inside of the first.
        """
        if self._polling:
            return
        self._polling = True
        try:
            self.controller.poll()
            self.models.poll()
        finally:
            self._polling = False
        if not (self._entered or self.controller.busy or self.models.shelf.busy):
            self._timer.stop()
            self.controller.finish()
