"""Asks before the application is closed while something runs, and stops what runs when it is.

An event filter on the main window sees the close event before Slicer's own question about unsaved data; it is there
only while something runs. A quit that asks nobody (a script, the end of the session) is heard by ``aboutToQuit()``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

import qt
import slicer
from slicer.i18n import tr as _

STOP_S = 2.0
"""Seconds that what runs has to come to a clean end after the user agreed; with ``worker.END_S`` less than five."""

Stop = Callable[[float], object]
"""Cancels what runs and waits for its end, at most so many seconds."""


class QuitGuard:
    """One question for all that keeps the application busy."""

    def __init__(self) -> None:
        self._running: dict[Hashable, Stop] = {}
        self._asking = False
        self._filter: CloseFilter | None = None

    @property
    def watching(self) -> bool:
        """True while the close event of the main window is watched."""
        return self._filter is not None

    def begin(self, owner: Hashable, stop: Stop) -> None:
        """Something of this owner runs now; ``stop`` is called when the user closes the application all the same."""
        self._running[owner] = stop
        window = slicer.util.mainWindow()
        if self._filter is None and window is not None:  # without a window there is nobody to ask
            self._filter = CloseFilter(self.may_close)
            window.installEventFilter(self._filter)

    def end(self, owner: Hashable) -> None:
        """Nothing of this owner runs any more."""
        self._running.pop(owner, None)
        self._rest()

    def _rest(self) -> None:
        """Leave the window alone when nothing runs; not while the filter itself is asking: it must live until then."""
        if self._running or self._asking or self._filter is None:
            return
        window = slicer.util.mainWindow()
        if window is not None:
            window.removeEventFilter(self._filter)
        self._filter.deleteLater()
        self._filter = None

    def may_close(self) -> bool:
        """Ask; after a yes what runs is stopped, and what it had finished is kept before Slicer asks to save.

        Returns:
            False when the user wants to stay.
        """
        if self._asking:
            return False
        question = _(
            "Segment Anything Med is still at work. Stop it and close the application? What is finished is kept; you "
            "can still save it."
        )
        self._asking = True
        try:
            agreed = slicer.util.confirmYesNoDisplay(question, _("Close while working"))
            until = time.monotonic() + STOP_S
            for stop in tuple(self._running.values()) if agreed else ():
                stop(max(until - time.monotonic(), 0.0))
        finally:
            self._asking = False
            self._rest()
        return agreed


class CloseFilter(qt.QWidget):
    """Event filter for the main window's close event.

    Args:
        may_close: asked at each close event.
    """

    def __init__(self, may_close: Callable[[], bool]) -> None:
        super().__init__()
        self._may_close = may_close

    def eventFilter(self, watched: object, event: object) -> bool:  # noqa: N802 - as Qt calls it
        """True ends the event here: the window stays open."""
        if event.type() != qt.QEvent.Close or self._may_close():
            return False
        event.ignore()
        return True


GUARD = QuitGuard()
