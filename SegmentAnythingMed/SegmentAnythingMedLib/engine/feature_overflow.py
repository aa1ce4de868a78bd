"""Features that memory has no room for, in a file without a name that ends with its owner.

Walks go through the same slices again and again, in the same order. A cache that forgets what was used longest ago has
then forgotten every slice just before it is needed: beyond its bound it is worth nothing. Reading a slice from a file
takes a millisecond or two, encoding it up to many seconds; so what does not fit goes to a file. Nothing in it outlives
the session, even if the process is killed, and nobody else can open it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass
from typing import IO

import numpy as np

from ..models.frame import Frame
from ..models.interface import SliceFeatures

_LEAVE_FREE = 0.5
"""Part of the free disk that is left to others."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where features lie: offset and length in bytes, their arrays in order, their frame."""

    offset: int
    nbytes: int
    arrays: tuple[tuple[str, str, tuple[int, ...]], ...]
    frame: Frame


class FeatureOverflow:
    """A nameless temporary file of features; safe to share between threads.

    What was stored first stays when the file is full: of a walk that comes again, some slices are then still found. The
    file is made when the first features come. A disk that refuses never makes a job fail.

    Args:
        quota_bytes: bound of the file; half of what is free on the disk, if that is less.
        folder: where the file lies; by default the system's folder for large temporary files.

    Attributes:
        problem: why nothing more is written, or None; what is there can still be read when the file is full.
    """

    def __init__(self, quota_bytes: int, folder: str | os.PathLike[str] | None = None) -> None:
        self.problem: str | None = None
        self._folder = _large_temporary() if folder is None else os.fspath(folder)
        self._wanted, self._quota = int(quota_bytes), 0
        self._file: IO[bytes] | None = None
        self._places: dict[str, _Place] = {}
        self._end = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self._end

    def put(self, key: str, features: SliceFeatures) -> bool:
        """Store features (numpy arrays) unless they are there; False when there is no room or the disk refuses."""
        with self._lock:
            if key in self._places:
                return True
            if self.problem is not None or not self._open():
                return False
            if self._end + features.nbytes > self._quota:
                self.problem = "features are not kept on disk: no room for more"
                return False
            try:
                self._file.seek(self._end)
                for array in features.tensors.values():
                    self._file.write(np.ascontiguousarray(array).data.cast("B"))
                self._file.flush()
            except OSError as error:
                self._give_up(error)
                return False
            arrays = tuple((name, array.dtype.str, array.shape) for name, array in features.tensors.items())
            self._places[key] = _Place(self._end, features.nbytes, arrays, features.frame)
            self._end += features.nbytes
            return True

    def get(self, key: str) -> SliceFeatures | None:
        """Features stored under ``key``, or None."""
        with self._lock:
            place = self._places.get(key)
            if place is None:
                return None
            body = bytearray(place.nbytes)
            try:
                self._file.seek(place.offset)
                whole = self._file.readinto(body) == place.nbytes
            except OSError as error:
                self._give_up(error)
                return None
        if not whole:
            return None
        arrays, offset = {}, 0
        for name, dtype, shape in place.arrays:
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(body, dtype=dtype, count=count, offset=offset).reshape(shape)
            offset += arrays[name].nbytes
        return SliceFeatures(arrays, place.frame)

    def clear(self) -> None:
        """Forget everything and give the disk back."""
        with self._lock:
            self._close()
            self.problem = None  # there may be room again

    def _open(self) -> bool:
        if self._file is None:
            try:
                self._quota = min(self._wanted, int(shutil.disk_usage(self._folder).free * (1 - _LEAVE_FREE)))
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - as long as its owner
                weakref.finalize(self, self._file.close)
            except OSError as error:
                self._give_up(error)
        return self._file is not None

    def _close(self) -> None:
        self._places.clear()
        self._end = 0
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file = None

    def _give_up(self, error: OSError) -> None:
        self.problem = f"features are not kept on disk: {error.strerror or type(error).__name__}"
        _log.warning(self.problem)
        self._close()


def _large_temporary() -> str:
    """The system's folder for large temporary files: on many Linux systems the usual one lies in memory."""
    chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    if not chosen and os.name == "posix" and os.access("/var/tmp", os.W_OK | os.X_OK):
        return "/var/tmp"
    return tempfile.gettempdir()
