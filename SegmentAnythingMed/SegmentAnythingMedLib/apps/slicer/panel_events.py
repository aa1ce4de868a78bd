"""What the panel shows of what the controller tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from .panel_propagation import duration_words
from .quitting import GUARD
from .saying import said
from .slice_words import end_words

if TYPE_CHECKING:
    from ...errors import SegmentAnythingMedError
    from .events import Propagated, Step, Written
    from .panel import Panel

ANNOUNCED_FROM_S = 10.0
"""Propagations that cannot take longer are not announced."""


class Told:
    """Listener of a controller.

    Args:
        panel: where things are shown.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._known_notes: set[str] = set()
        self._handlers = {
            "busy": self._busy,
            "progress": self._progress,
            "slice_result": self._slice_result,
            "candidates": self._candidates,
            "propagated": self._propagated,
            "records": self._records,
            "prompts": self._prompts,
            "dropped": self._say,
            "status": self._say,
            "estimate": self._estimate,
            "error": self._error,
            "undo": self._undo,
            "visit": self._visit,
        }

    def __call__(self, event: str, data: Any = None) -> None:
        """Show an event of :data:`~.events.EVENTS`; events that the panel has no place for are left out."""
        handler = self._handlers.get(event)
        if handler is not None:
            handler(data)

    def _busy(self, on: bool) -> None:
        if on:
            GUARD.begin(self.panel, self.panel.stop)
        else:
            GUARD.end(self.panel)
        self.panel.refresh()

    def _progress(self, step: Step) -> None:
        self.panel.propagation.show_progress(step)
        self.panel.visit.show_progress(step)

    def _estimate(self, cost: Mapping[str, Any]) -> None:
        if cost["most_seconds"] < ANNOUNCED_FROM_S:
            return
        values = {
            "time": duration_words(cost["seconds"]),
            "slices": cost["slices"],
            "most": duration_words(cost["most_seconds"]),
            "all": cost["most_slices"],
            "memory": round(cost["memory_bytes"] / (1 << 20)),
        }
        words = _(
            "About {time} if the object is as deep as wide ({slices} slices), at most {most} ({all} slices); about "
            "{memory} MiB of memory."
        )
        self.panel.say(words.format(**values))

    def _prompts(self, collected: Any) -> None:
        self.panel.note(" ".join(map(said, collected.notes)))

    def _slice_result(self, written: Written) -> None:
        words = [_slices_words(written.slices), _kept_words(written.protected), *self._new(written.notes)]
        self.panel.say(" ".join(word for word in words if word))
        self.panel.refresh()

    def _candidates(self, offered: Any) -> None:
        if offered is None:
            self.panel.prompts.show_answers((), -1)
        else:
            self.panel.prompts.show_answers(offered.predicted_iou, offered.chosen)

    def _propagated(self, done: Propagated) -> None:
        panel, segment_id = self.panel, self.panel.controller.segment_id
        slices = done.slices.get(segment_id, ())
        words = [] if done.completed else [_("Cancelled; what was finished is kept.")]
        words += [_slices_words(slices), _ends_words(done.ends.get(segment_id))]
        words += [_kept_words(done.protected.get(segment_id, ())), *self._new(done.notes)]
        panel.say(" ".join(word for word in words if word))
        panel.refresh()

    def _new(self, notes: Iterable[str]) -> list[str]:
        """Notes that were not shown before: what is said of an image need not be said after every prompt."""
        found = [note for note in notes if note not in self._known_notes]
        self._known_notes.update(found)
        return [said(note) for note in found]

    def _say(self, sentence: str) -> None:
        self.panel.say(said(sentence))

    def _records(self, records: Any) -> None:
        self.panel.propagation.show_records(records)

    def _visit(self, _nothing: Any) -> None:
        """A proposal or drafts are there: its first segment becomes the current one."""
        work, parameters = self.panel.visit.work, self.panel.parameters
        rows = work.rows
        if parameters is not None and rows and parameters.segmentation is not work.shown:
            self.panel.work_on(work.shown, rows[0].segment_id)
        self.panel.refresh()

    def _error(self, error: SegmentAnythingMedError) -> None:
        if self.panel.visit.asked(error):
            return
        self.panel.complain(said(error))
        self.panel.refresh()

    def _undo(self, _nothing: Any) -> None:
        self.panel.refresh()


def _slices_words(slices: tuple[int, ...]) -> str:
    if not slices:
        return _("Nothing had to be changed.")
    if len(slices) == 1:
        return _("Slice {n} is in the segment.").format(n=slices[0])
    return _("{count} slices, {low} to {high}, are in the segment.").format(
        count=len(slices), low=min(slices), high=max(slices)
    )


def _ends_words(ends: tuple[str, str] | None) -> str:
    if ends is None:
        return ""
    words = _("Ends below: {lower}; above: {upper}.")
    return words.format(lower=end_words(ends[0]), upper=end_words(ends[1]))


def _kept_words(protected: tuple[int, ...]) -> str:
    if not protected:
        return ""
    numbers = ", ".join(map(str, protected))
    return _("Kept as you painted them: slice {numbers}.").format(numbers=numbers)
