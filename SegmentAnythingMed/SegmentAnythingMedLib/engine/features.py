"""Features of slices, made once and kept: in memory up to a bound, beyond it in a file that ends with the session.

With a folder they are kept on disk between sessions.

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
from .feature_overflow import FeatureOverflow
from .feature_store import FeatureStore

MEBIBYTE = 1 << 20
RAM_BYTES = 32 * MEBIBYTE
"""Features kept in memory while the disk takes the others: reading them again costs next to nothing."""
RAM_BYTES_ALONE = 512 * MEBIBYTE
"""Features kept in memory where the disk takes nothing: what is beyond is encoded again."""
OVERFLOW_BYTES = 16 * 1024 * MEBIBYTE
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
    """Cache of :class:`SliceFeatures` as float16, least recently used first out; safe to share between threads.

    Args:
        ram_bytes: bound of what is kept in memory; None is :data:`RAM_BYTES` while the disk takes the others, else
            :data:`RAM_BYTES_ALONE`.
        folder: where features are kept between sessions, or None.
        quota_bytes: bound of the folder.
        overflow_bytes: bound of the file that takes what memory has no room for, when no folder is given; 0 is none.

    Attributes:
        hits: successful :meth:`get` calls, from memory or disk.
        disk_hits: those of them that came from disk.
        misses: :meth:`get` calls that found nothing.
    """

    def __init__(
        self,
        ram_bytes: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        quota_bytes: int = 10 * 1024 * MEBIBYTE,
        overflow_bytes: int = OVERFLOW_BYTES,
    ) -> None:
        self._wanted = None if ram_bytes is None else int(ram_bytes)
        self.store = None if folder is None else FeatureStore(folder, quota_bytes)
        self.overflow = FeatureOverflow(overflow_bytes) if folder is None and overflow_bytes > 0 else None
        self.hits = self.disk_hits = self.misses = 0
        self._kept: OrderedDict[str, SliceFeatures] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    @property
    def ram_bytes(self) -> int:
        """Bound of what is kept in memory."""
        if self._wanted is not None:
            return self._wanted
        disk = self.overflow if self.store is None else self.store
        return RAM_BYTES if disk is not None and disk.problem is None else RAM_BYTES_ALONE

    @property
    def nbytes(self) -> int:
        """Bytes held in memory; never above ``ram_bytes``."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: str) -> bool:
        """Whether :meth:`get` would find something; reads nothing and counts nothing."""
        disk = self.overflow if self.store is None else self.store
        return key in self._kept or (disk is not None and key in disk)

    def get(self, key: str) -> SliceFeatures | None:
        """Features stored under ``key`` (numpy arrays, float16; not to be written to), or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                self.hits += 1
                return found
        disk = self.overflow if self.store is None else self.store
        found = disk.get(key) if disk is not None else None
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

    def shrink(self) -> None:
        """Keep a quarter of what was allowed in memory from now on; the least recently used features go."""
        with self._lock:
            self._wanted = self.ram_bytes // 4
            self._drop()

    def clear(self, *, disk: bool = False) -> None:
        """Forget everything in memory and beyond its bound, and the files in the folder too if ``disk``."""
        with self._lock:
            self._kept.clear()
            self._nbytes = 0
            if self.overflow is not None:
                self.overflow.clear()
        if disk and self.store is not None:
            self.store.clear()

    def _keep(self, key: str, features: SliceFeatures) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._nbytes -= old.nbytes
        if features.nbytes > self.ram_bytes:
            if self.overflow is not None:
                self.overflow.put(key, features)
            return
        self._kept[key] = features
        self._nbytes += features.nbytes
        self._drop()

    def _drop(self) -> None:
        while self._nbytes > self.ram_bytes:
            oldest, dropped = self._kept.popitem(last=False)
            self._nbytes -= dropped.nbytes
            if self.overflow is not None:
                self.overflow.put(oldest, dropped)


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
