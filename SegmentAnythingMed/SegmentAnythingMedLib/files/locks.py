"""One process at a time: locks that the system itself lets go of when their owner ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..progress import Progress

_POLL_S = 0.1
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK, getattr(errno, "EWOULDBLOCK", errno.EAGAIN)}


@contextmanager
def file_lock(path: str | os.PathLike[str], progress: Progress | None = None, label: str = "Waiting") -> Iterator[None]:
    """Hold the lock named ``path`` for the time of the block; wait for it as long as another process has it.

    The lock is the system's lock on a small file, which stays behind: removing it would let two processes hold two
    locks of one name. A crashed owner leaves no lock.

    Args:
        path: of the lock file; its folder must exist.
        progress: shows ``label`` while waiting, and may cancel the waiting.
        label: what is being waited for.

    Raises:
        OSError: when the lock file cannot be made.
        Cancelled: while waiting.
    """
    descriptor = os.open(Path(path), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        told = False
        while not _try_lock(descriptor):
            if progress is not None:
                if not told:
                    progress.start(label)
                    told = True
                progress.check()
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            _unlock(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
