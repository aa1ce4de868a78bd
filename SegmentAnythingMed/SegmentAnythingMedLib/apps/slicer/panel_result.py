"""Panel, section Result: is it a draft, accept, reject, undo, redo."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from .provenance import ACCEPTED, DRAFT


class ResultPart:
    """Says whether a person has looked at the segment."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui

    def show(self, status: str, can_undo: bool, can_redo: bool, busy: bool) -> None:
        """Show the state of the current segment.

        Args:
            status: ``draft``, ``accepted``, or empty when the model has written nothing into it.
            can_undo, can_redo: there is a step to take back, to do again.
            busy: something runs; the segment is still changing.
        """
        self.ui.draftLabel.text = status_words(status)
        self.ui.draftLabel.visible = bool(status)
        draft = status == DRAFT
        for button, on in (
            (self.ui.acceptButton, draft and not busy),
            (self.ui.rejectButton, draft and not busy),
            (self.ui.undoButton, can_undo),
            (self.ui.redoButton, can_redo),
        ):
            button.enabled = on


def status_words(status: str) -> str:
    """What is said of a segment."""
    words = {DRAFT: _("<b>AI draft, not reviewed.</b>"), ACCEPTED: _("Accepted by you after review.")}
    return words.get(status, "")
