"""What can be told about a weights file without PyTorch: its kind, its hash, and what the sidecar beside it says."""

from __future__ import annotations

import hashlib
import json
import struct
from os import PathLike
from pathlib import Path

from ..errors import ModelError
from ..files.fetch import looks_like_a_page
from ..progress import Progress

SIDECAR_KEYS = (
    "name", "family", "preprocessing", "variant", "image_size", "licence", "source", "sha256", "url", "description",
    "citation", "base",
)  # fmt: skip
_MAX_SIDECAR = 1 << 16
_MAX_SAFETENSORS_HEADER = 100_000_000  # the format's own limit
_BLOCK = 1 << 20


def file_sha256(path: str | PathLike[str], progress: Progress | None = None) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; advances ``progress`` by bytes and stops when it is cancelled."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if progress is not None:
                progress.check()
                progress.advance(len(block))
    return digest.hexdigest()


def read_sidecar(path: str | PathLike[str]) -> dict[str, str]:
    """What ``<path>.json`` says about a checkpoint; empty if there is none.

    Raises:
        ModelError: ``checkpoint.sidecar`` when it is not a JSON object with texts under the known keys.
    """
    sidecar = Path(f"{path}.json")
    if not sidecar.is_file():
        return {}
    problem = f"{sidecar.name} must be a JSON object with texts under {', '.join(SIDECAR_KEYS)}"
    if sidecar.stat().st_size > _MAX_SIDECAR:
        raise ModelError("checkpoint.sidecar", f"{problem}; it is larger than 64 KiB. Correct or remove it.")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8-sig"))
    except ValueError:
        raise ModelError("checkpoint.sidecar", f"{problem}; it is not JSON. Correct or remove it.") from None
    if not isinstance(content, dict):
        raise ModelError("checkpoint.sidecar", f"{problem}; got a {type(content).__name__}. Correct or remove it.")
    for key in SIDECAR_KEYS:
        if not isinstance(content.get(key, ""), str):
            raise ModelError("checkpoint.sidecar", f"{problem}; {key!r} is not a text. Correct or remove it.")
    return {key: content[key] for key in SIDECAR_KEYS if content.get(key)}


def sniff(path: Path) -> str:
    """``safetensors``, ``zip`` or ``pickle`` by the first bytes; the suffix is not trusted.

    Raises:
        ModelError: ``checkpoint.empty``, ``.html`` (a web page or a Git LFS pointer), ``.unreadable``.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(512)
    if size == 0:
        raise ModelError("checkpoint.empty", f"{path.name} has zero bytes; fetch it again.")
    if looks_like_a_page(head):
        raise ModelError(
            "checkpoint.html",
            f"{path.name} holds a web page or a pointer, not weights: the download led to a page instead of the file. "
            "Open the link in a browser, save the file itself and replace this one.",
        )
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if len(head) >= 9 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= _MAX_SAFETENSORS_HEADER:
        return "safetensors"
    if head.startswith(b"\x80"):
        return "pickle"
    raise ModelError(
        "checkpoint.unreadable",
        f"{path.name} is neither a safetensors nor a PyTorch file; give the weights file as it was published.",
    )
