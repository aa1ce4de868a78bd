"""Progress and cancel: one small object that is passed down to every long step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .errors import Cancelled

Listener = Callable[["Progress"], None]


class Progress:
    """What a long step reports to, and asks whether it should stop.

    A step calls :meth:`start`, then :meth:`advance` once per unit of work, and :meth:`check` wherever it could stop
    cleanly. :meth:`cancel` may be called from any thread.

    Args:
        listener: called after every change, in the thread of the step. ``None`` reports to nobody.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._cancelled = threading.Event()
        self._started = time.monotonic()
        self.label = ""
        self.unit = ""
        self.done = 0
        self.total: int | None = None
        self.at_most: int | None = None

    @property
    def cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._cancelled.is_set()

    @property
    def elapsed_s(self) -> float:
        """Seconds since :meth:`start`."""
        return time.monotonic() - self._started

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds to go; ``None`` while it cannot be known."""
        if not self.total or not self.done:
            return None
        return self.elapsed_s / self.done * max(self.total - self.done, 0)

    @property
    def longest_s(self) -> float | None:
        """Seconds to go at most, for a step whose end shows only on the way; ``None`` while it cannot be known."""
        if self.at_most is None or not self.done:
            return self.remaining_s
        return self.elapsed_s / self.done * self.at_most

    def cancel(self) -> None:
        """Ask the running step to stop at its next :meth:`check`."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise :class:`~SegmentAnythingMedLib.errors.Cancelled` if the user cancelled."""
        if self.cancelled:
            raise Cancelled()

    def start(self, label: str, total: int | None = None, unit: str = "") -> None:
        """Begin a step called ``label`` of ``total`` units (``None``: unknown); ``unit`` is ``B`` for bytes."""
        self.label, self.total, self.done, self.at_most, self.unit = label, total, 0, None, unit
        self._started = time.monotonic()
        self._tell()

    def advance(self, units: int = 1, at_most: int | None = None) -> None:
        """Report ``units`` more as done, and how many are left at most, where the total is not known."""
        self.done, self.at_most = self.done + units, at_most
        self._tell()

    def _tell(self) -> None:
        if self._listener is not None:
            self._listener(self)
