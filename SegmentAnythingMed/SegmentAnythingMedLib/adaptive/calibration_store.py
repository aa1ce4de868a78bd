"""What the prior told of its structures, kept on disk between jobs on the same visits.

One small JSON file per structure and pair of visits, with a checksum. Keys are hashes of content, and so are the files'
names: no name of a patient, a structure or a folder is stored. The folder is private to the user.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .arena import Arena
from .calibration import Calibration, calibrate
from .references import PriorLooks

SUFFIX = ".calibration"
QUOTA_BYTES = 8 << 20
_SUBFOLDER = "calibrations-v1"
_VERSION = 2
"""Of the way in which calibrations are made; another one never meets these files."""
_KEY = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


class CalibrationStore:
    """A folder of calibrations; the least recently used files go when the quota is full.

    A store never makes a job fail: a missing, damaged or foreign file counts as absent (damaged ones are removed), and
    when the disk refuses to be written the store stops writing and says so once in ``problem``.

    Args:
        folder: made if missing. Files go to a sub-folder of it, with access for the user only (0700).
        quota_bytes: bound of all files together.

    Attributes:
        problem: why nothing is written any more, or None.
        hits, misses: of :meth:`get`.
    """

    def __init__(self, folder: str | os.PathLike[str], quota_bytes: int = QUOTA_BYTES) -> None:
        self.folder = Path(folder) / _SUBFOLDER
        self.quota_bytes = int(quota_bytes)
        self.problem: str | None = None
        self.hits = self.misses = 0
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            self._give_up(error)

    def get(self, key: str) -> Calibration | None:
        """What is stored under a key of :func:`calibration_key`, or None."""
        path = self._path(key)
        found = None
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            found = _unpacked(text)
            if found is None:
                _log.warning("a damaged file of a calibration was removed; it is made again")
                path.unlink()
            else:
                os.utime(path)  # the quota drops what was used longest ago
        self.hits, self.misses = self.hits + (found is not None), self.misses + (found is None)
        return found

    def put(self, key: str, calibration: Calibration) -> None:
        """Store a calibration; does nothing when it exceeds the quota or the disk refuses."""
        blob, path = _packed(calibration).encode(), self._path(key)
        if self.problem is not None or len(blob) > self.quota_bytes:
            return
        try:
            handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(blob)
                os.replace(temporary, path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            self._give_up(error)
            return
        self._evict(path)

    def clear(self) -> None:
        """Remove every file of this store."""
        for path, _, _ in self._files():
            with contextlib.suppress(OSError):
                path.unlink()

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError("the key of a calibration is 64 lower-case hexadecimal digits")
        return self.folder / (key + SUFFIX)

    def _files(self) -> list[tuple[Path, int, int]]:
        """(path, bytes, last use) of every file, leftovers of interrupted writes included; longest unused first."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith((SUFFIX, ".tmp")):
                    with contextlib.suppress(OSError):
                        stat = entry.stat(follow_symlinks=False)
                        found.append((Path(entry.path), stat.st_size, stat.st_mtime_ns))
        return sorted(found, key=lambda item: item[2])

    def _evict(self, newest: Path) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        for path, size, _ in files:
            if total <= self.quota_bytes:
                break
            if path != newest:
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size

    def _give_up(self, error: OSError) -> None:
        self.problem = f"calibrations are not kept on disk: {error.strerror or type(error).__name__}"
        _log.warning(self.problem)


def calibrated(arena: Arena, looks: PriorLooks, presence: float, store: CalibrationStore | None) -> Calibration:
    """A calibration, made now or found in a store; both leave everything else as it would be.

    Only models with tokens, on visits that look alike, are worth the file: without them there is little to compute.
    """
    if store is None or not looks.comparable or not getattr(arena.prior.model, "has_tokens", False):
        return calibrate(arena, looks, presence)
    key = calibration_key(arena, looks, presence)
    known = store.get(key)
    if known is not None:
        for index in looks.indices:  # as calibration begins: what the model is shown of a slice is settled by it
            looks.tokens(index)
        return known
    made = calibrate(arena, looks, presence)
    store.put(key, made)
    return made


def calibration_key(arena: Arena, looks: PriorLooks, presence: float) -> str:
    """Key of a calibration: image and mask of the prior as they are compared, model and settings, 64 digits."""
    session, info = arena.prior, arena.prior.model.info
    facts = [
        _VERSION, [info.sha256, info.family, info.preprocessing], str(getattr(session.model, "device", "")),
        session.stack.axis, session.mapping.describe(), [float(step) for step in arena.spacing],
        looks.indices, float(presence),
    ]  # fmt: skip
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=32)
    for array in (session.volume.voxels, np.packbits(arena.rigid)):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _packed(calibration: Calibration) -> str:
    body = json.dumps(asdict(calibration), sort_keys=True)
    return f"{hashlib.blake2b(body.encode(), digest_size=16).hexdigest()}\n{body}"


def _unpacked(text: str) -> Calibration | None:
    check, _, body = text.partition("\n")
    if check != hashlib.blake2b(body.encode(), digest_size=16).hexdigest():
        return None
    try:
        values = json.loads(body)
        own, beside = (tuple(float(value) for value in values.pop(name)) for name in ("own", "beside"))
        numbers = {name: None if value is None else float(value) for name, value in values.items()}
        made = Calibration(**numbers, own=own, beside=beside)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    known = (made.dice, made.presence, made.sure, made.iou)
    return made if all(value is not None and math.isfinite(value) for value in known) else None
