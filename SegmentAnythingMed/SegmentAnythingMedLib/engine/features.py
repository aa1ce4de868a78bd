"""Features of slices, made once and kept: in RAM up to a bound, on disk when a folder is given.

Keys are hashes of *content* (pixels of the slice, weights, preprocessing, frame), so that an edited slice, another
window or another model never meets stale features, and unchanged slices are found again in the next session.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..models.frame import Frame
from ..models.interface import ModelInfo, SliceFeatures
from .feature_store import FeatureStore

MEBIBYTE = 1 << 20
_HALF_MAX = float(np.finfo(np.float16).max)


def slice_key(array: np.ndarray) -> str:
    """Content hash of the pixels of one slice, or of the part that a model is shown.

    Args:
        array: [H, W] or [H, W, C] of any numeric dtype; dtype and shape are part of the hash.

    Returns:
        32 hexadecimal digits (BLAKE2b, 128 bits; about 1 ms for 512 x 512 int16).
    """
    digest = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def feature_key(slice_hash: str, model: ModelInfo, frame: Frame, conditions: Mapping[str, Any] | str = "") -> str:
    """Key of the features of one slice seen by one model in one frame.

    Args:
        slice_hash: from :func:`slice_key`, of all pixels that the frame shows at least.
        model: its weights' hash, its family and its preprocessing (the same file can be run in several ways) are part
            of the key.
        frame: geometry in which the slice is encoded.
        conditions: whatever else changes the features, as JSON values: the intensity mapping; the kind of device, where
            results must not depend on features that another device left on disk.

    Returns:
        64 hexadecimal digits.
    """
    region = frame.region
    parts = [
        slice_hash,
        [model.sha256, model.family, model.preprocessing],
        list(frame.slice_shape),
        [region.row0, region.col0, region.row1, region.col1],
        frame.size,
        list(frame.content),
        conditions if isinstance(conditions, str) else dict(conditions),
    ]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=32).hexdigest()


class FeatureCache:
    """Least-recently-used cache of :class:`SliceFeatures` as float16; safe to share between threads.

    Args:
        ram_bytes: bound of what is kept in memory.
        folder: where features are kept between sessions, or None for memory only.
        quota_bytes: bound of the folder.

    Attributes:
        hits: successful :meth:`get` calls, from memory or disk.
        disk_hits: those of them that came from disk.
        misses: :meth:`get` calls that found nothing.
    """

    def __init__(
        self,
        ram_bytes: int = 512 * MEBIBYTE,
        folder: str | os.PathLike[str] | None = None,
        quota_bytes: int = 10 * 1024 * MEBIBYTE,
    ) -> None:
        self.ram_bytes = int(ram_bytes)
        self.store = None if folder is None else FeatureStore(folder, quota_bytes)
        self.hits = self.disk_hits = self.misses = 0
        self._kept: OrderedDict[str, SliceFeatures] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held in memory; never above ``ram_bytes``."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> SliceFeatures | None:
        """Features stored under ``key`` (numpy arrays, float16; not to be written to), or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                self.hits += 1
                return found
        found = self.store.get(key) if self.store is not None else None
        with self._lock:
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self.disk_hits += 1
            self._keep(key, found)
        return found

    def put(self, key: str, features: SliceFeatures) -> SliceFeatures:
        """Store ``features`` and return them as they are stored.

        Decode from what is returned, not from what was passed: then a result does not depend on whether its features
        came fresh from the network or out of the cache.

        Args:
            key: from :func:`feature_key`.
            features: arrays are torch tensors of any device or numpy arrays, of any float type.

        Returns:
            The same features with numpy arrays in float16 (float32 where a value is too large for float16).
        """
        stored = SliceFeatures({name: _half(array) for name, array in features.tensors.items()}, features.frame)
        with self._lock:
            self._keep(key, stored)
        if self.store is not None:
            self.store.put(key, stored)
        return stored

    def clear(self, *, disk: bool = False) -> None:
        """Forget everything in memory, and the files on disk too if ``disk``."""
        with self._lock:
            self._kept.clear()
            self._nbytes = 0
        if disk and self.store is not None:
            self.store.clear()

    def _keep(self, key: str, features: SliceFeatures) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._nbytes -= old.nbytes
        if features.nbytes > self.ram_bytes:
            return
        self._kept[key] = features
        self._nbytes += features.nbytes
        while self._nbytes > self.ram_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._nbytes -= dropped.nbytes


def _half(array: Any) -> np.ndarray:
    """A copy as numpy float16 on the CPU; float32 when float16 would overflow to infinity."""
    if hasattr(array, "detach"):  # torch converts to half precision 15 times faster than numpy
        tensor = array.detach().float().cpu().contiguous()
        array = tensor.numpy()
        if not array.size or float(np.abs(array).max()) <= _HALF_MAX:
            return tensor.half().numpy()
    array = np.asarray(array)
    if array.dtype != np.float16 and array.size and float(np.abs(array).max()) > _HALF_MAX:
        return np.array(array, dtype=np.float32, order="C")
    return np.array(array, dtype=np.float16, order="C")
