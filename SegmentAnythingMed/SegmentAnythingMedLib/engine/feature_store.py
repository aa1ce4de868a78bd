"""Slice features on disk: one file per key, written atomically, read back without pickle, bounded by a quota.

A file is ``MAGIC``, the header's length (uint32, little endian), a JSON header (frame, names, shapes, dtypes, CRC-32 of
the rest) and the raw arrays. File names are the keys, which are hashes: no name of a patient, a file or a folder is
stored. The folder is private to the user, since features let one guess what the image looked like.
"""

from __future__ import annotations

import json
import re
import struct
import zlib

import numpy as np

from ..models.frame import Frame, Region
from ..models.interface import SliceFeatures
from .kept_folder import KeptFolder

MAGIC = b"SAMFEAT1"
_MAX_HEADER = 1 << 16
_DTYPES = ("float16", "float32")


class FeatureStore(KeptFolder):
    """Features of slices between processes, kept as :class:`KeptFolder` tells.

    A missing, damaged or foreign file counts as absent (damaged ones are removed).
    """

    KEPT, SUBFOLDER, SUFFIX = "features", "features-v1", ".features"
    KEY = re.compile(r"[0-9a-f]{16,128}")

    def get(self, key: str) -> SliceFeatures | None:
        """Features stored under ``key`` (arrays float16 or float32), or None."""
        blob = self._read(key)
        if blob is None:
            return None
        try:
            features = unpack(blob)
        except (ValueError, KeyError, TypeError, struct.error):
            self._drop(key, len(blob), "a damaged file of cached features was removed; the slice is encoded again")
            return None
        self._used(key)
        return features

    def put(self, key: str, features: SliceFeatures) -> None:
        """Store ``features`` under ``key``; does nothing when they exceed the quota or the disk refuses."""
        self._keep(key, pack(features))


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
