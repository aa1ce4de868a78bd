"""What a header may claim before anything is allocated for it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from ..errors import InputError

LARGEST_VOXEL_COUNT = 1 << 35
"""34 billion voxels: beyond any scanner, below any nonsense."""

_DEFLATE_RATIO = 1032
"""Deflate cannot compress better than this (RFC 1951: 258 bytes from two bits)."""


def check_claimed_size(
    name: str, shape: Sequence[int], voxel_bytes: int, stored_bytes: int | None = None, compressed: bool = False
) -> int:
    """Refuse a header that claims an impossible or unaffordable volume.

    Args:
        name: file name for the message.
        shape: lengths of all axes in any order.
        voxel_bytes: bytes of one voxel, all channels.
        stored_bytes: bytes of the file that are there for voxels, or None when unknown.
        compressed: whether those bytes are deflated.

    Returns:
        Bytes that the voxels will take.

    Raises:
        InputError: ``input.too_large`` beyond :data:`LARGEST_VOXEL_COUNT` or the machine's memory; ``input.truncated``
            when the file is too small for the claim; ``volume.shape`` for an axis below 1.
    """
    axes = " x ".join(str(int(n)) for n in shape)
    if min(shape) < 1:
        raise InputError("volume.shape", f"{name}: expected a voxel or more along every axis, the header says {axes}.")
    count = math.prod(int(n) for n in shape)
    needed = count * voxel_bytes
    if count > LARGEST_VOXEL_COUNT:
        raise InputError(
            "input.too_large", f"{name}: the header claims {axes} voxels, which no image has; the header is damaged."
        )
    possible = None if stored_bytes is None else stored_bytes * (_DEFLATE_RATIO if compressed else 1)
    if possible is not None and needed > possible:
        raise InputError(
            "input.truncated",
            f"{name}: the header claims {axes} voxels ({needed} bytes), the file holds {stored_bytes} bytes"
            f"{' compressed' if compressed else ''}; it is damaged or was copied incompletely.",
        )
    memory = machine_memory()
    if memory is not None and needed > 0.9 * memory:
        raise InputError(
            "input.too_large",
            f"{name}: {axes} voxels need {needed / 2**30:.1f} GiB, this machine has {memory / 2**30:.1f} GiB of memory;"
            " crop or downsample the image, or use a larger machine.",
        )
    return needed


def machine_memory() -> int | None:
    """Bytes of physical memory, or None where the system does not tell."""
    try:
        return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


def free_memory() -> int | None:
    """Bytes of memory that a program could still get without swapping, or None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = next((line for line in lines if line.startswith("MemAvailable:")), None)
        return None if found is None else int(found.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
