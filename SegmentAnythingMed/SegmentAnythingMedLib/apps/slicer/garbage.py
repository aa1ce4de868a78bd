"""Python's collector of reference cycles, kept out of the worker's thread.

It runs in whatever thread happens to allocate, and takes apart the garbage of all threads: also nodes, observers and
widgets of the main thread, which VTK and Qt allow in the main thread only. So while a worker has something to do, the
automatic collection rests, and the main thread collects the young garbage when it polls.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref

INTERVAL_S = 2.0
_YOUNG = 1


class GarbageGuard:
    """Who needs the collection to rest; it goes on when nobody does."""

    def __init__(self) -> None:
        self._owners: weakref.WeakSet = weakref.WeakSet()
        self._lock = threading.Lock()
        self._was_enabled = False
        self._collected_at = 0.0

    def hold(self, owner: object) -> None:
        """The automatic collection rests from now on; called in the main thread."""
        with self._lock:
            if not len(self._owners):
                self._was_enabled = self._was_enabled or gc.isenabled()
                self._collected_at = time.monotonic()
                gc.disable()
            self._owners.add(owner)

    def release(self, owner: object) -> None:
        """This owner has nothing to do any more; called in the main thread.

        What has piled up is collected here first: else the next allocation would start it, in whatever thread.
        """
        with self._lock:
            self._owners.discard(owner)
            if not len(self._owners) and self._was_enabled:
                self._was_enabled = False
                gc.collect(_YOUNG)
                gc.enable()

    def sweep(self) -> None:
        """Collect young garbage in this thread, the main one, now and then while the collection rests."""
        if self._was_enabled and time.monotonic() - self._collected_at > INTERVAL_S:
            self._collected_at = time.monotonic()
            gc.collect(_YOUNG)


GUARD = GarbageGuard()
