"""Checkpoint files, read without running anything that they contain.

Safetensors hold numbers only. PyTorch's own format is a pickle, which can name any code to run; it is read with
``weights_only=True`` by a PyTorch that has the fixes for the two known ways around that (CVE-2025-32434 up to 2.5.1,
CVE-2026-24747 up to 2.9.1). When the safe way refuses a file there is no second, unsafe try. What training programs
save beside the weights is read as nothing: ``stand_ins``.
"""

from __future__ import annotations

import hashlib
import pickle
import re
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
from .stand_ins import stand_ins
from .transformers_layout import is_transformers, to_sam_names
from .weight_files import file_sha256, read_sidecar, sniff

SAFE_TORCH = (2, 10)
_WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict")
_PREFIXES = ("module.", "sam.", "_orig_mod.")
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
        base_name, base_sha256: of the file that low-rank factors were merged into, or empty.
    """

    file_name: str
    sha256: str
    tensors: dict[str, torch.Tensor]
    decoder: dict[str, torch.Tensor] = field(default_factory=dict)
    sidecar: dict[str, str] = field(default_factory=dict)
    base_name: str = ""
    base_sha256: str = ""

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits for all weights: the file's hash, or one of both hashes when there is a base."""
        both = f"{self.sha256} {self.base_sha256}"
        return hashlib.sha256(both.encode()).hexdigest() if self.base_sha256 else self.sha256


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
    kind = sniff(path)
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


def unwrap(content: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(parameters of the model, parameters of a decoder beside it) of what training scripts save.

    Takes the first of ``model``, ``state_dict``, ``model_state``, ``model_state_dict`` that is there, then removes
    ``module.``, ``sam.`` and ``_orig_mod.`` where every name begins with it. Names that the ``transformers`` library
    gives to a SAM become SAM's own.
    """
    inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), content)
    decoder = content.get("decoder_state")
    tensors = _strip(_tensors(inner))
    if is_transformers(tensors):
        tensors = to_sam_names(tensors)
    return tensors, _tensors(decoder) if isinstance(decoder, Mapping) else {}


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
        with stand_ins(path):
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
