"""Slice features on disk: one file per key, written atomically, read back without pickle, bounded by a quota.

A file is ``MAGIC``, the header's length (uint32, little endian), a JSON header (frame, names, shapes, dtypes, CRC-32 of
the rest) and the raw arrays. File names are the keys, which are hashes: no name of a patient, a file or a folder is
stored. The folder is private to the user, since features let one guess what the image looked like.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import struct
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np

from ..models.frame import Frame, Region
from ..models.interface import SliceFeatures

MAGIC = b"SAMFEAT1"
SUFFIX = ".features"
_SUBFOLDER = "features-v1"
_MAX_HEADER = 1 << 16
_DTYPES = ("float16", "float32")
_KEY = re.compile(r"[0-9a-f]{16,128}")
_log = logging.getLogger(__name__)


class FeatureStore:
    """A folder of features that outlives the process; least recently used files go when the quota is full.

    A store never makes a job fail: a missing, damaged or foreign file counts as absent (damaged ones are removed), and
    when the disk refuses to be written the store stops writing and says so once in ``problem``.

    Args:
        folder: made if missing. Files go to a sub-folder of it, with access for the user only (0700).
        quota_bytes: bound of all files together.

    Attributes:
        problem: why nothing is written any more, or None.
    """

    def __init__(self, folder: str | os.PathLike[str], quota_bytes: int) -> None:
        self.folder = Path(folder) / _SUBFOLDER
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

    def get(self, key: str) -> SliceFeatures | None:
        """Features stored under ``key`` (arrays float16 or float32), or None."""
        path = self._path(key)
        try:
            blob = bytearray(path.read_bytes())
        except OSError:
            return None
        try:
            features = unpack(blob)
        except (ValueError, KeyError, TypeError, struct.error):
            _log.warning("a damaged file of cached features was removed; the slice is encoded again")
            self._remove(path, len(blob))
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the quota drops what was used longest ago
        return features

    def put(self, key: str, features: SliceFeatures) -> None:
        """Store ``features`` under ``key``; does nothing when they exceed the quota or the disk refuses."""
        blob = pack(features)
        if self.problem is not None or len(blob) > self.quota_bytes:
            return
        path = self._path(key)
        with self._lock:
            try:
                old = path.stat().st_size if path.exists() else 0
                self._write(path, blob)
            except OSError as error:
                self._give_up(error)
                return
            self._bytes += len(blob) - old
            if self._bytes > self.quota_bytes:
                self._evict()

    def clear(self) -> None:
        """Remove every file of this store."""
        for path, size, _ in self._files():
            self._remove(path, size)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("a feature key is 16 to 128 lower-case hexadecimal digits")
        return self.folder / (key + SUFFIX)

    def _write(self, path: Path, blob: bytes) -> None:
        # No fsync: a file lost in a power cut fails its checksum and costs one encode; a flush costs every slice.
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(blob)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _files(self) -> list[tuple[Path, int, float]]:
        """(path, bytes, last use) of every file, leftovers of interrupted writes included."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith((SUFFIX, ".tmp")):
                    with contextlib.suppress(OSError):
                        stat = entry.stat(follow_symlinks=False)
                        found.append((Path(entry.path), stat.st_size, stat.st_mtime))
        return found

    def _evict(self) -> None:
        files = sorted(self._files(), key=lambda item: item[2])
        total = sum(size for _, size, _ in files)
        self._bytes = total  # other processes share the folder
        for path, size, _ in files:
            if self._bytes <= self.quota_bytes:
                break
            self._remove(path, size)

    def _remove(self, path: Path, size: int) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
            with self._lock:
                self._bytes = max(0, self._bytes - size)

    def _give_up(self, error: OSError) -> None:
        self.problem = f"features are not kept on disk: {error.strerror or type(error).__name__}"
        _log.warning(self.problem)


def pack(features: SliceFeatures) -> bytes:
    """Bytes of one file for features whose arrays are numpy float16 or float32."""
    arrays = {name: np.ascontiguousarray(array) for name, array in features.tensors.items()}
    body = b"".join(array.tobytes() for array in arrays.values())
    frame = features.frame
    region = frame.region
    header = {
        "slice_shape": list(frame.slice_shape),
        "region": [region.row0, region.col0, region.row1, region.col1],
        "size": frame.size,
        "content": list(frame.content),
        "arrays": [[name, str(array.dtype), list(array.shape)] for name, array in arrays.items()],
        "crc32": zlib.crc32(body),
    }
    text = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + body


def unpack(blob: bytearray) -> SliceFeatures:
    """Features of one file; the arrays are views of ``blob``.

    Raises:
        ValueError, KeyError, TypeError, struct.error: the bytes are not what :func:`pack` made.
    """
    start = len(MAGIC) + 4
    if blob[: len(MAGIC)] != MAGIC:
        raise ValueError("not a feature file")
    (length,) = struct.unpack_from("<I", blob, len(MAGIC))
    if length > _MAX_HEADER or start + length > len(blob):
        raise ValueError("header too long")
    header = json.loads(bytes(blob[start : start + length]))
    body = memoryview(blob)[start + length :]
    if zlib.crc32(body) != header["crc32"]:
        raise ValueError("checksum differs")
    arrays, offset = {}, 0
    for name, dtype, shape in header["arrays"]:
        if dtype not in _DTYPES:
            raise ValueError("unknown dtype")
        count = int(np.prod(shape, dtype=np.int64))
        arrays[str(name)] = np.frombuffer(body, dtype=dtype, count=count, offset=offset).reshape(shape)
        offset += arrays[str(name)].nbytes
    rows, cols = header["slice_shape"]
    content_rows, content_cols = header["content"]
    frame = Frame(
        (int(rows), int(cols)),
        Region(*(int(edge) for edge in header["region"])),
        int(header["size"]),
        (int(content_rows), int(content_cols)),
    )
    return SliceFeatures(arrays, frame)
