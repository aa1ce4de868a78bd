"""What happens when a button or a key is pressed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from .clearing import clear_slice
from .geometry import show_slice
from .prompt_nodes import remove_prompts
from .shortcuts import Shortcut

if TYPE_CHECKING:
    from .panel import Panel


class Actions:
    """The user's actions, each guarded: what is refused is said in the panel.

    Args:
        panel: whose buttons and keys.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._prepared: tuple[object, ...] = ()

    def connect_buttons(self) -> None:
        """Every button that is not a prompt tool or an answer of the model."""
        ui = self.panel.ui
        for button, action in (
            (ui.seedButton, self.use_as_seed),
            (ui.segmentSliceButton, self.segment_now),
            (ui.clearSliceButton, self.clear_slice),
            (ui.clearAllButton, self.clear_all),
            (ui.acceptButton, self.accept),
            (ui.rejectButton, self.reject),
            (ui.undoButton, self.undo),
            (ui.redoButton, self.redo),
            (ui.propagateButton, self.propagate),
            (ui.cancelButton, self.cancel),
            (ui.nextDoubtfulButton, self.next_doubtful),
            (ui.repromptButton, self.reprompt),
        ):
            button.connect("clicked()", action)

    def keys(self) -> list[Shortcut]:
        """The keyboard while the module is shown.

        None of them is a key of Slicer's slice and 3D views (B, F, V, R, G, T, brackets, arrows, page keys) or of its
        main window: a shortcut of a window would take the key away from them.
        """
        tools = (
            ("P", _("Point inside"), "positive"),
            ("N", _("Point outside"), "negative"),
            ("O", _("Box"), "box"),
            ("S", _("Scribble inside"), "scribble"),
            ("D", _("Scribble outside"), "scribble_negative"),
            ("M", _("Stop mark"), "stop"),
        )
        entries = [Shortcut(key, words, partial(self.toggle_tool, tool)) for key, words, tool in tools]
        return [
            *entries,
            Shortcut("Escape", _("Put the tool down, or cancel what runs"), self.escape),
            Shortcut("U", _("Propagate"), self.propagate),
            Shortcut("A", _("Next answer of the model"), self.next_answer),
            Shortcut("Q", _("Next doubtful slice"), self.next_doubtful),
            Shortcut("E", _("Re-prompt on the selected slice"), self.reprompt),
            Shortcut("Ctrl+Return", _("Accept"), self.accept),
            Shortcut("Ctrl+Z", _("Undo"), self.undo),
            Shortcut("Ctrl+Y", _("Redo"), self.redo),
        ]

    # ---- prompts ----

    def take_tool(self, tool: str | None) -> None:
        """Put a tool into the user's hand, or none."""
        panel = self.panel
        with panel.guarded():
            if tool is None or panel.parameters is None or panel.parameters.inputVolume is None:
                panel.tools.put_down()
            else:
                panel.inputs.need_segment()
                panel.tools.take(tool)
                self._prepare()
        panel.prompts.show_tool(panel.tools.active)

    def _prepare(self) -> None:
        """Open the model while the user aims, so that the first answer comes sooner."""
        controller = self.panel.controller
        chosen = controller.model_name, controller.device, controller.volume, controller.axis, controller.window
        if controller.live and chosen != self._prepared:
            self._prepared = chosen
            controller.prepare()

    def toggle_tool(self, tool: str) -> None:
        """The key of the tool in hand puts it down."""
        self.take_tool(None if self.panel.tools.active == tool else tool)

    def escape(self) -> None:
        """First the tool, then what runs."""
        if self.panel.tools.active is not None:
            self.take_tool(None)
        else:
            self.cancel()

    def segment_now(self) -> None:
        """Ask the model again for all prompts of the segment."""
        with self._on_segment():
            self.panel.controller.segment_slice()

    def use_as_seed(self) -> None:
        """What is in the segment now is the prompt."""
        with self._on_segment():
            self.panel.controller.seed_from_segment()

    def clear_slice(self) -> None:
        """Remove the prompts on the slice that is shown; the mask that they made goes with the next answer."""
        with self._on_segment():
            panel, index = self.panel, self.panel.shown_slice()
            if index is None:
                panel.complain(_("No slice view shows a slice of the image; turn one to the volume plane."))
                return
            parameters, axis = panel.parameters, panel.controller.resolved_axis
            count = clear_slice(parameters.segmentation, parameters.segmentID, parameters.inputVolume, axis, index)
            panel.controller.prompts_changed()
            panel.say(_("{count} prompts removed from slice {n}.").format(count=count, n=index))

    def clear_all(self) -> None:
        """Remove all prompts of the segment; the masks that they made go with the next answer."""
        with self._on_segment():
            panel = self.panel
            panel.tools.put_down()
            remove_prompts(panel.parameters.segmentation, panel.parameters.segmentID)
            panel.controller.prompts_changed()
            panel.say(_("All prompts of the segment are removed."))

    # ---- answers ----

    def choose_answer(self, number: int) -> None:
        """Put another of the model's masks into the segment."""
        with self._on_segment():
            self.panel.controller.choose_candidate(number)
        self._show_answers()

    def next_answer(self) -> None:
        """The answer after the chosen one, round and round."""
        offered = self.panel.controller.candidates
        if offered is not None and len(offered.predicted_iou) > 1:
            self.choose_answer((offered.chosen + 1) % len(offered.predicted_iou))

    def accept(self) -> None:
        """The user has looked at the segment and takes it as it is."""
        if self.panel.ui.acceptButton.enabled:
            with self._on_segment():
                self.panel.controller.accept()
                self.panel.controller.finish()

    def reject(self) -> None:
        """Take back what the model wrote since the last accept."""
        with self._on_segment():
            self.panel.controller.reject()

    def undo(self) -> None:
        """Take back the last change."""
        with self._on_segment():
            self.panel.controller.undo()

    def redo(self) -> None:
        """Do again what was taken back."""
        with self._on_segment():
            self.panel.controller.redo()

    # ---- propagation ----

    def propagate(self) -> None:
        """Follow the structure from all slices that have prompts."""
        with self._on_segment():
            self.panel.controller.propagate()

    def cancel(self) -> None:
        """Stop what runs; what is finished is kept."""
        with self.panel.guarded():
            self.panel.controller.cancel()

    def go_to(self, index: int) -> None:
        """Show a slice in all views."""
        with self.panel.guarded():
            show_slice(self.panel.parameters.inputVolume, self.panel.controller.resolved_axis, index)

    def next_doubtful(self) -> None:
        """Go to the next slice that deserves a look."""
        table = self.panel.propagation.table
        index = table.go_to_next_doubtful(self.panel.shown_slice() if table.current is None else table.current)
        if index is None:
            self.panel.say(_("No slice is doubtful."))

    def reprompt(self) -> None:
        """Go to the selected slice and give it a prompt of its own."""
        index = self.panel.propagation.table.current
        if index is None:
            self.panel.say(_("Select a slice in the list first."))
            return
        self.go_to(index)
        self.take_tool("positive")
        self.panel.say(_("Give slice {n} a prompt, then propagate again.").format(n=index))

    def _show_answers(self) -> None:
        self.panel.told("candidates", self.panel.controller.candidates)
        self.panel.refresh()

    @contextmanager
    def _on_segment(self) -> Iterator[None]:
        """Guarded, and the buttons show afterwards what can be done."""
        try:
            with self.panel.guarded():
                yield
        finally:
            self.panel.refresh()
