"""Checkpoint files, read without running anything that they contain.

Safetensors hold numbers only. PyTorch's own format is a pickle, which can name any code to run; it is read with
``weights_only=True`` by a PyTorch that has the fixes for the two known ways around that (CVE-2025-32434 up to 2.5.1,
CVE-2026-24747 up to 2.9.1). When the safe way refuses a file there is no second, unsafe try.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import ModelError

SAFE_TORCH = (2, 10)
_WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict")
_PREFIXES = ("module.", "sam.", "_orig_mod.")
_SIDECAR_KEYS = ("name", "family", "preprocessing", "licence", "source", "sha256")
_MAX_SIDECAR = 1 << 16
_MAX_SAFETENSORS_HEADER = 100_000_000  # the format's own limit
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        file_name: name without folder.
        sha256: of the file, 64 hexadecimal digits.
        tensors: parameter name -> tensor on the CPU, wrappers and common prefixes removed.
        decoder: parameters of a semantic decoder stored beside the model (MedicoSAM), or empty.
        sidecar: what ``<file>.json`` says: ``name``, ``family`` (or ``preprocessing``, which means the same here),
            ``licence``, ``source``, ``sha256``, as far as given.
    """

    file_name: str
    sha256: str
    tensors: dict[str, torch.Tensor]
    decoder: dict[str, torch.Tensor] = field(default_factory=dict)
    sidecar: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | PathLike[str], expected_sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint in safetensors or PyTorch format; nothing in it is executed.

    Args:
        path: the file; ``<path>.json`` beside it, if any, is its sidecar.
        expected_sha256: refuse a file with another hash. A ``sha256`` in the sidecar is held likewise.

    Raises:
        ModelError: ``checkpoint.missing``, ``.empty``, ``.html`` (a web page or a Git LFS pointer was saved instead),
            ``.truncated``, ``.unreadable``, ``.unsafe`` (holds more than numbers), ``.unsafe_torch`` (this PyTorch is
            too old to read it safely), ``.sha256``, ``.sidecar``.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError("checkpoint.missing", f"Checkpoint {path} is not a file; give the path of a weights file.")
    kind = _sniff(path)
    sidecar = read_sidecar(path)
    sha256 = file_sha256(path)
    for expected in (expected_sha256, sidecar.get("sha256")):
        if expected and expected.lower() != sha256:
            raise ModelError(
                "checkpoint.sha256",
                f"{path.name} is not the expected file: SHA-256 should be {expected.lower()}, is {sha256}; "
                "it was not loaded. Fetch it again from its official source.",
            )
    content = _read_safetensors(path) if kind == "safetensors" else _read_torch(path, kind)
    tensors, decoder = unwrap(content)
    return Checkpoint(path.name, sha256, tensors, decoder, sidecar)


def file_sha256(path: str | PathLike[str]) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_sidecar(path: str | PathLike[str]) -> dict[str, str]:
    """What ``<path>.json`` says about a checkpoint; empty if there is none.

    Raises:
        ModelError: ``checkpoint.sidecar`` when it is not a JSON object with texts under the known keys.
    """
    sidecar = Path(f"{path}.json")
    if not sidecar.is_file():
        return {}
    problem = f"{sidecar.name} must be a JSON object with texts under {', '.join(_SIDECAR_KEYS)}"
    if sidecar.stat().st_size > _MAX_SIDECAR:
        raise ModelError("checkpoint.sidecar", f"{problem}; it is larger than 64 KiB. Correct or remove it.")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8-sig"))
    except ValueError:
        raise ModelError("checkpoint.sidecar", f"{problem}; it is not JSON. Correct or remove it.") from None
    if not isinstance(content, dict):
        raise ModelError("checkpoint.sidecar", f"{problem}; got a {type(content).__name__}. Correct or remove it.")
    for key in _SIDECAR_KEYS:
        if not isinstance(content.get(key, ""), str):
            raise ModelError("checkpoint.sidecar", f"{problem}; {key!r} is not a text. Correct or remove it.")
    return {key: content[key] for key in _SIDECAR_KEYS if content.get(key)}


def unwrap(content: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(parameters of the model, parameters of a decoder beside it) of what training scripts save.

    Takes the first of ``model``, ``state_dict``, ``model_state``, ``model_state_dict`` that is there, then removes
    ``module.``, ``sam.`` and ``_orig_mod.`` where every name begins with it.
    """
    inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    decoder = content.get("decoder_state")
    return _strip(_tensors(inner)), _tensors(decoder) if isinstance(decoder, Mapping) else {}


def load_strictly(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], file_name: str) -> None:
    """Copy ``tensors`` into ``network``; every name and shape must agree.

    Raises:
        ModelError: ``checkpoint.mismatch`` with a short account of what differs; the network is then unchanged.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in tensors]
    surplus = [name for name in tensors if name not in own]
    shapes = [
        f"{name} expected {tuple(own[name].shape)}, got {tuple(tensors[name].shape)}"
        for name in own
        if name in tensors and own[name].shape != tensors[name].shape
    ]
    if missing or surplus or shapes:
        parts = [_some("missing", missing), _some("unexpected", surplus), _some("of another shape", shapes)]
        raise ModelError(
            "checkpoint.mismatch",
            f"{file_name} does not fit the network ({len(own)} tensors): {'; '.join(part for part in parts if part)}. "
            "Check that file, family and variant belong together.",
        )
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=True)


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{more})"


def _tensors(content: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _strip(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    while tensors:
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return tensors


def _sniff(path: Path) -> str:
    """``safetensors``, ``zip`` or ``pickle`` by the first bytes; the suffix is not trusted."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(512)
    if size == 0:
        raise ModelError("checkpoint.empty", f"{path.name} has zero bytes; fetch it again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"version https://git-lfs")):
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


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _broken(path, error) from None


def _read_torch(path: Path, kind: str) -> Mapping[str, Any]:
    if _torch_version() < SAFE_TORCH:
        raise ModelError(
            "checkpoint.unsafe_torch",
            f"Reading {path.name} safely needs PyTorch >= {SAFE_TORCH[0]}.{SAFE_TORCH[1]}, this is {torch.__version__} "
            "(CVE-2026-24747); upgrade PyTorch, or use a .safetensors file.",
        )
    if kind == "zip":
        _check_zip(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            "checkpoint.unsafe",
            f"{path.name} holds more than numbers (Python objects that could run code), so it was not opened. "
            "Get a weights-only or safetensors version from its source.",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise _broken(path, error) from None
    if not isinstance(content, Mapping):
        raise ModelError(
            "checkpoint.unreadable",
            f"{path.name} should hold named tensors, but holds a {type(content).__name__}; save the state_dict.",
        )
    return content


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise _broken(path, error) from None
    if unpacked > 4 * path.stat().st_size:  # PyTorch stores tensors uncompressed
        raise ModelError(
            "checkpoint.unsafe",
            f"{path.name} would unpack to {unpacked} bytes, far more than its own size; it was not opened.",
        )


def _broken(path: Path, error: Exception) -> ModelError:
    reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    return ModelError(
        "checkpoint.truncated",
        f"{path.name} ({path.stat().st_size} bytes) is damaged or incomplete ({reason}); fetch it again.",
    )


def _torch_version() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    return (int(found[1]), int(found[2])) if found else (0, 0)
