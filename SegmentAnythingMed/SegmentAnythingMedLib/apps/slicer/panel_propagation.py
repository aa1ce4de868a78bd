"""Panel, sections Propagation and Settings: direction, limits, progress, the list of slices, what ends a walk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slicer.i18n import tr as _

from .events import Step
from .parameters import AXES, DIRECTIONS, ModuleParameters, show_settings
from .saying import said
from .slice_table import SliceTable
from .slice_words import rows_of

_OF_SLICES = ("Segmenting", "Propagating")
"""Steps of the library that count slices."""


class PropagationPart:
    """Shows how a propagation is to go, how far it is, and what it found.

    Args:
        ui: widgets by name.
        go_to: called with a slice that the user wants to see.
    """

    def __init__(self, ui: Any, go_to: Callable[[int], None]) -> None:
        self.ui = ui
        self._parameters: ModuleParameters | None = None
        self._showing = False
        self.table = SliceTable(ui.sliceTable, go_to)
        directions = (_("Up and down"), _("Up only"), _("Down only"))
        for name, words in zip(DIRECTIONS, directions, strict=True):
            ui.directionSelector.addItem(words, name)
        axes = (_("As acquired (automatic)"), _("Along K"), _("Along J"), _("Along I"))
        for name, words in zip(AXES, axes, strict=True):
            ui.axisSelector.addItem(words, name)
        ui.directionSelector.connect("currentIndexChanged(int)", self._direction_chosen)
        ui.axisSelector.connect("currentIndexChanged(int)", self._axis_chosen)
        ui.defaultsButton.connect("clicked()", self._use_defaults)
        ui.strictButton.connect("clicked()", self._use_strict)

    def show(self, parameters: ModuleParameters | None, last_slice: int | None) -> None:
        """Show the state of a parameter node.

        Args:
            parameters: or None without a scene.
            last_slice: highest slice number of the volume, or None without a volume.
        """
        self._parameters = parameters
        self._showing = True
        try:
            if parameters is not None:
                self.ui.directionSelector.currentIndex = DIRECTIONS.index(parameters.direction)
                self.ui.axisSelector.currentIndex = AXES.index(parameters.axis)
            limited = bool(parameters and parameters.limited)
            for box in (self.ui.lowerLimitSpinBox, self.ui.upperLimitSpinBox):
                box.enabled = limited
        finally:
            self._showing = False
        if parameters is not None and last_slice is not None and parameters.limited and not parameters.upperLimit:
            parameters.upperLimit = last_slice

    def show_records(self, found: Mapping[int, Any]) -> None:
        """Fill the list of slices."""
        first = bool(self._parameters and self._parameters.doubtfulFirst)
        self.table.show(rows_of(found, first))
        rows = bool(self.table.rows)
        self.ui.nextDoubtfulButton.enabled = rows
        self.ui.repromptButton.enabled = rows

    def show_progress(self, step: Step) -> None:
        """How far the running job is; without a known total the bar is only busy."""
        bar = self.ui.progressBar
        bar.setRange(0, step.total or 0)
        bar.setValue(min(step.done, step.total) if step.total else 0)
        self.ui.progressLabel.text = step_words(step)

    def hide_progress(self) -> None:
        """Nothing runs."""
        self.ui.progressBar.setRange(0, 100)
        self.ui.progressBar.setValue(0)
        self.ui.progressLabel.text = ""

    def _direction_chosen(self, index: int) -> None:
        if not self._showing and self._parameters is not None:
            self._parameters.direction = DIRECTIONS[index]

    def _axis_chosen(self, index: int) -> None:
        if not self._showing and self._parameters is not None:
            self._parameters.axis = AXES[index]

    def _use_defaults(self) -> None:
        from ...propagation.settings import PropagationSettings

        if self._parameters is not None:
            show_settings(self._parameters, PropagationSettings())

    def _use_strict(self) -> None:
        from ...propagation.settings import PropagationSettings

        if self._parameters is not None:
            show_settings(self._parameters, PropagationSettings.strict())


def step_words(step: Step) -> str:
    """A step as one would say it: what, how far, how long."""
    what = said(step.label)
    if not step.total:
        return what
    if step.label not in _OF_SLICES:
        words = _("{what}: {done} of {total}")
    else:
        words = _("{what}: slice {done} of at most {total}") if step.at_most else _("{what}: slice {done} of {total}")
    sentence = words.format(what=what, done=step.done, total=step.total)
    if step.remaining_s is None:
        return sentence
    left = _("{said}, at most {time} left") if step.at_most else _("{said}, {time} left")
    return left.format(said=sentence, time=duration_words(step.remaining_s))


def duration_words(seconds: float) -> str:
    """A remaining time as a person would say it."""
    if seconds < 1:
        return _("less than a second")
    if seconds < 90:
        return _("{n} s").format(n=round(seconds))
    return _("{n} min").format(n=round(seconds / 60))
