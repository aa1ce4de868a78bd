"""What the prior told of its structures, kept on disk between jobs on the same visits.

One small JSON file per structure and pair of visits, with a checksum. Keys are hashes of content, and so are the files'
names: no name of a patient, a structure or a folder is stored. The folder is private to the user.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from dataclasses import asdict

import numpy as np

from ..engine.kept_folder import KeptFolder
from .arena import Arena
from .calibration import Calibration, calibrate
from .references import PriorLooks

QUOTA_BYTES = 8 << 20
_VERSION = 2
"""Of the way in which calibrations are made; another one never meets these files."""


class CalibrationStore(KeptFolder):
    """Calibrations between jobs, kept as :class:`~SegmentAnythingMedLib.engine.kept_folder.KeptFolder` tells.

    A missing, damaged or foreign file counts as absent (damaged ones are removed).

    Attributes:
        hits, misses: of :meth:`get`.
    """

    KEPT, SUBFOLDER, SUFFIX = "calibrations", "calibrations-v1", ".calibration"
    KEY = re.compile(r"[0-9a-f]{64}")

    def __init__(self, folder: str | os.PathLike[str], quota_bytes: int = QUOTA_BYTES) -> None:
        super().__init__(folder, quota_bytes)
        self.hits = self.misses = 0

    def get(self, key: str) -> Calibration | None:
        """What is stored under a key of :func:`calibration_key`, or None."""
        blob = self._read(key)
        found = None if blob is None else _unpacked(blob.decode(errors="replace"))
        if found is not None:
            self._used(key)
        elif blob is not None:
            self._drop(key, len(blob), "a damaged file of a calibration was removed; it is made again")
        self.hits, self.misses = self.hits + (found is not None), self.misses + (found is None)
        return found

    def put(self, key: str, calibration: Calibration) -> None:
        """Store a calibration; does nothing when it exceeds the quota or the disk refuses."""
        self._keep(key, _packed(calibration).encode())


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
