"""Panel, section Prompts: tools, seeds, clearing, the model's other answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slicer.i18n import tr as _

from .placing import TOOLS


class PromptPart:
    """Buttons of the prompt tools and of the model's answers.

    Args:
        ui: widgets by name.
        take: called with the tool that the user wants in hand, or None to put it down.
        choose: called with the number of an answer, 0 the first.
    """

    def __init__(self, ui: Any, take: Callable[[str | None], None], choose: Callable[[int], None]) -> None:
        self.ui, self._take = ui, take
        self._showing = False
        self.buttons = dict(
            zip(
                TOOLS,
                (
                    ui.positiveButton, ui.negativeButton, ui.stopButton, ui.boxButton, ui.scribbleButton,
                    ui.scribbleOutsideButton,
                ),
                strict=True,
            )
        )  # fmt: skip
        for tool, button in self.buttons.items():
            button.connect("toggled(bool)", lambda on, tool=tool: self._toggled(tool, on))
        self.answers = (ui.candidate1Button, ui.candidate2Button, ui.candidate3Button)
        for number, button in enumerate(self.answers):
            button.connect("clicked()", lambda number=number: choose(number))

    def show_tool(self, tool: str | None) -> None:
        """Show which tool is in hand, and what to do with it."""
        self._showing = True
        try:
            for name, button in self.buttons.items():
                button.checked = name == tool
        finally:
            self._showing = False
        self.ui.hintLabel.text = tool_hint(tool)

    def show_answers(self, predicted_iou: Sequence[float], chosen: int) -> None:
        """Show the model's answers for the last slice; ``chosen`` (-1: none of them) is in the segment."""
        self.ui.candidateLabel.enabled = len(predicted_iou) > 1
        for number, button in enumerate(self.answers):
            there = number < len(predicted_iou)
            button.enabled = there and len(predicted_iou) > 1
            button.checked = there and number == chosen
            button.text = f"{number + 1}" if not there else f"{number + 1}: {predicted_iou[number]:.2f}"

    def enable(self, ready: bool, segment: bool) -> None:
        """Tools need a volume (``ready``), the rest a segment too."""
        for button in self.buttons.values():
            button.enabled = ready
        ui = self.ui
        for button in (ui.seedButton, ui.segmentSliceButton, ui.clearSliceButton, ui.clearAllButton):
            button.enabled = segment

    def _toggled(self, tool: str, on: bool) -> None:
        if not self._showing:
            self._take(tool if on else None)


def tool_hint(tool: str | None) -> str:
    """What to do with a tool."""
    hints = {
        "positive": _("Click on the structure in any slice view. Escape puts the tool down."),
        "negative": _("Click on what does not belong to the structure. Escape puts the tool down."),
        "stop": _("Click on a slice where a propagation must end. Escape puts the tool down."),
        "box": _("Draw a rectangle around the structure with the mouse button held down."),
        "scribble": _("Draw a line over the structure with the mouse button held down."),
        "scribble_negative": _("Draw a line over what does not belong, with the mouse button held down."),
    }
    return hints.get(tool, _("Take a tool and give the model a prompt on one slice."))
