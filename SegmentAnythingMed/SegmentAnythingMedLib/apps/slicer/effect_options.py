"""Options of the Segment Editor effect: model, propagate, cancel, clear prompts, and a line that says what is going "
"on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from ...models.catalog import list_models


class EffectOptions:
    """The options frame.

    Args:
        scripted_effect: the effect's adaptor.
        propagate: called by the button Propagate.
        cancel: called by the button Cancel.
        clear: called by the button Clear prompts.
    """

    def __init__(
        self,
        scripted_effect: Any,
        propagate: Callable[[], None],
        cancel: Callable[[], None],
        clear: Callable[[], None],
    ) -> None:
        self._effect = scripted_effect
        self.model_selector = qt.QComboBox()
        self.model_selector.toolTip = _("Network that answers the prompts. The built-in one needs no download.")
        for entry in list_models():
            self.model_selector.addItem(entry.name)
        scripted_effect.addLabeledOptionsWidget(_("Model:"), self.model_selector)
        self.propagate_button = _button(_("Propagate"), _("Segment the object on the other slices as well."))
        self.cancel_button = _button(_("Cancel"), _("Stop; what was done stays."))
        self.clear_button = _button(_("Clear prompts"), _("Forget the points and boxes; the segment stays."))
        row = qt.QHBoxLayout()
        for button in (self.propagate_button, self.cancel_button, self.clear_button):
            row.addWidget(button)
        scripted_effect.addOptionsWidget(row)
        self.status = qt.QLabel()
        self.status.wordWrap = True
        scripted_effect.addOptionsWidget(self.status)
        self._connections = (
            (self.model_selector, "currentIndexChanged(int)", self._on_model),
            (self.propagate_button, "clicked()", propagate),
            (self.cancel_button, "clicked()", cancel),
            (self.clear_button, "clicked()", clear),
        )
        for widget, signal, slot in self._connections:
            widget.connect(signal, slot)
        self.show_busy(False)

    @property
    def model(self) -> str:
        """Name of the chosen model."""
        return self.model_selector.currentText

    def show_model(self, name: str) -> None:
        """Choose a model; a name that is not in the list is added (the path of a checkpoint)."""
        if not name or name == self.model:
            return
        index = self.model_selector.findText(name)
        if index < 0:
            self.model_selector.addItem(name)
            index = self.model_selector.count - 1
        self.model_selector.currentIndex = index

    def show_busy(self, busy: bool) -> None:
        """Cancel can be pressed while something runs, Propagate while nothing does."""
        self.cancel_button.enabled = busy
        self.propagate_button.enabled = not busy

    def say(self, text: str) -> None:
        """Show a sentence."""
        self.status.text = text

    def disconnect(self) -> None:
        """Undo all connections: they would keep the effect alive."""
        for widget, signal, slot in self._connections:
            widget.disconnect(signal, slot)

    def _on_model(self, index: int) -> None:
        self._effect.setParameter("Model", self.model)


def _button(text: str, tool_tip: str) -> qt.QPushButton:
    button = qt.QPushButton(text)
    button.toolTip = tool_tip
    return button
