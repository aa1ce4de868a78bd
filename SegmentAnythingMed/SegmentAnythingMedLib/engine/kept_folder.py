"""A private folder of small results that outlive the process: one file per key, whole or not at all, within a quota."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import threading
from pathlib import Path
from typing import ClassVar

_log = logging.getLogger(__name__)


class KeptFolder:
    """Files under keys that are hashes of content; the least recently used ones go when the quota is full.

    It never makes a job fail: what cannot be read counts as absent, and when the disk refuses to be written nothing is
    written any more, which is said once in ``problem``. Sub-classes say what a file holds.

    Args:
        folder: made if missing. Files go to a sub-folder of it, with access for the user only (0700).
        quota_bytes: bound of all files together.

    Attributes:
        folder: the sub-folder.
        problem: why nothing is written any more, or None.
    """

    KEPT: ClassVar[str]
    """What is kept, in the plural, for messages."""
    SUBFOLDER: ClassVar[str]
    SUFFIX: ClassVar[str]
    KEY: ClassVar[re.Pattern[str]]

    def __init__(self, folder: str | os.PathLike[str], quota_bytes: int) -> None:
        self.folder = Path(folder) / self.SUBFOLDER
        self.quota_bytes = int(quota_bytes)
        self.problem: str | None = None
        self._lock = threading.RLock()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            self._give_up(error)
        self._bytes = sum(size for _, size, _ in self._files())

    @property
    def nbytes(self) -> int:
        """Bytes of all files, as far as this process knows."""
        return self._bytes

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def clear(self) -> None:
        """Remove every file of this kind, leftovers of interrupted writes included."""
        for path, size, _ in self._files():
            self._remove(path, size)

    def _read(self, key: str) -> bytearray | None:
        """The file under a key, or None."""
        try:
            return bytearray(self._path(key).read_bytes())
        except OSError:
            return None

    def _used(self, key: str) -> None:
        """The quota drops what was used longest ago."""
        with contextlib.suppress(OSError):
            os.utime(self._path(key))

    def _drop(self, key: str, size: int, words: str) -> None:
        """Remove a damaged file."""
        _log.warning(words)
        self._remove(self._path(key), size)

    def _keep(self, key: str, blob: bytes) -> None:
        """Write a file; nothing happens when it exceeds the quota or the disk refuses."""
        path = self._path(key)
        if self.problem is not None or len(blob) > self.quota_bytes:
            return
        with self._lock:
            try:
                old = path.stat().st_size if path.exists() else 0
                self._write(path, blob)
            except OSError as error:
                self._give_up(error)
                return
            self._bytes += len(blob) - old
            if self._bytes > self.quota_bytes:
                self._evict(path)

    def _path(self, key: str) -> Path:
        if not self.KEY.fullmatch(key):
            raise ValueError(f"not a key of {self.KEPT}: lower-case hexadecimal digits are")
        return self.folder / (key + self.SUFFIX)

    def _write(self, path: Path, blob: bytes) -> None:
        # No fsync: a file lost in a power cut fails its checksum and is made again; a flush costs every time.
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(blob)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _files(self) -> list[tuple[Path, int, int]]:
        """(path, bytes, last use) of every file, leftovers of interrupted writes included; longest unused first."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith((self.SUFFIX, ".tmp")):
                    with contextlib.suppress(OSError):
                        stat = entry.stat(follow_symlinks=False)
                        found.append((Path(entry.path), stat.st_size, stat.st_mtime_ns))
        return sorted(found, key=lambda item: item[2])

    def _evict(self, newest: Path) -> None:
        files = self._files()
        self._bytes = sum(size for _, size, _ in files)  # other processes share the folder
        for path, size, _ in files:
            if self._bytes <= self.quota_bytes:
                break
            if path != newest:
                self._remove(path, size)

    def _remove(self, path: Path, size: int) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
            with self._lock:
                self._bytes = max(0, self._bytes - size)

    def _give_up(self, error: OSError) -> None:
        self.problem = f"{self.KEPT} are not kept on disk: {error.strerror or type(error).__name__}"
        _log.warning(self.problem)
