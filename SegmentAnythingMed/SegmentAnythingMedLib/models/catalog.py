"""What models there are, where their weights come from, and how to open one by name or path."""

from __future__ import annotations

import difflib
import json
import os
import struct
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:  # listing models needs no torch; opening one does
    from .interface import PromptableModel

BUILT_IN = "built-in"
SHIPPED = Path(__file__).parent / "weights" / "built-in.safetensors"
"""Weights of the built-in model (``embedded.WEIGHTS``, which cannot be asked without torch)."""
FOLDER_VARIABLE = "SEGMENT_ANYTHING_MED_MODELS"
_MAX_HEADER = 1 << 24
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


@dataclass(frozen=True)
class CatalogEntry:
    """One model that can be opened by name.

    Attributes:
        name: what ``load_model`` takes.
        family: decides how images are prepared.
        variant: size within the family.
        licence: SPDX identifier of the weights, or ``unknown``.
        source: URL of the weights or of the page that links them, or ``shipped``.
        description: one or two plain sentences.
        file_name: of the checkpoint in :func:`model_folder`; None for what is shipped.
        size_bytes: of that file, or None when it is not known.
        sha256: of that file, or None when nobody publishes it: then any file of that name is taken.
        parameters: number of weights, or None.
    """

    name: str
    family: str
    variant: str
    licence: str
    source: str
    description: str
    file_name: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    parameters: int | None = None

    @property
    def path(self) -> Path | None:
        """Where the checkpoint is looked for; None for what is shipped."""
        return None if self.file_name is None else model_folder() / self.file_name

    @property
    def facts(self) -> dict[str, str]:
        """What reports say about a model of this entry."""
        return {"name": self.name, "family": self.family, "licence": self.licence, "source": self.source}

    @property
    def available(self) -> bool:
        """True if the weights are on this machine (their hash is checked when they are opened)."""
        weights = self.path or SHIPPED
        return weights.is_file() and self.size_bytes in (None, weights.stat().st_size)

    @property
    def stored_bytes(self) -> int | None:
        """Size of the weights on this machine, else the published size, or None."""
        return (self.path or SHIPPED).stat().st_size if self.available else self.size_bytes


def model_folder() -> Path:
    """Folder of this user's checkpoints: ``SEGMENT_ANYTHING_MED_MODELS``, else the system's place for program data."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "segment-anything-med" / "models"


@cache
def _entries() -> tuple[CatalogEntry, ...]:
    content = json.loads((Path(__file__).parent / "catalog.json").read_text(encoding="utf-8"))
    return tuple(CatalogEntry(**entry) for entry in content["models"])


def list_models() -> list[CatalogEntry]:
    """Every model that can be opened by name, the built-in one first."""
    return list(_entries())


def load_model(
    name_or_path: str | os.PathLike[str] = BUILT_IN,
    device: str = "auto",
    family: str | None = None,
    precision: str = "auto",
) -> PromptableModel:
    """Open a model.

    Args:
        name_or_path: a name of :func:`list_models`, or the path of a checkpoint file of the SAM family or of the
            built-in network (a result of ``scripts/train_default_model.py``).
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        family: how images are to be prepared (``sam``, ``medsam``, ``medicosam``); None to find out from the sidecar
            ``<checkpoint>.json``, the file's hash, its name and its tensors.
        precision: see :func:`~SegmentAnythingMedLib.models.device.autocast_dtype`; the built-in model ignores it.

    Raises:
        ModelError: ``model.unknown``; ``checkpoint.*`` of
            :func:`~SegmentAnythingMedLib.models.checkpoints.read_checkpoint` and of the network.
        DeviceError: see :func:`~SegmentAnythingMedLib.models.device.choose_device`.
    """
    from .device import choose_device, limit_threads

    wish = os.fspath(name_or_path)
    entry = next((entry for entry in _entries() if entry.name == wish.strip().lower()), None)
    path = _existing(wish, entry)
    chosen = choose_device(device)
    limit_threads()
    if path is None:
        from .embedded import load_embedded

        return load_embedded(chosen)
    if is_embedded(path):
        return _load_embedded_file(path, chosen)

    from .checkpoints import read_checkpoint
    from .families import identify
    from .sam import load_sam

    checkpoint = read_checkpoint(path, expected_sha256=entry.sha256 if entry else None)
    known = {checkpoint.sha256: entry.facts} if entry else {e.sha256: e.facts for e in _entries() if e.sha256}
    return load_sam(checkpoint, identify(checkpoint, family, known), chosen, precision)


def is_embedded(path: Path) -> bool:
    """True for a safetensors file of the built-in network: the header's metadata hold its configuration."""
    with open(path, "rb") as file:
        head = file.read(9)
        if len(head) < 9 or head[8:] != b"{":
            return False
        length = struct.unpack("<Q", head[:8])[0]
        if length > _MAX_HEADER:
            return False
        text = head[8:] + file.read(length - 1)
    try:
        header = json.loads(text)
    except ValueError:
        return False
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return isinstance(metadata, dict) and "config" in metadata


def _load_embedded_file(path: Path, device: str) -> PromptableModel:
    from safetensors import SafetensorError

    from .embedded import load_embedded

    try:
        return load_embedded(device, path)
    except SafetensorError:
        raise ModelError("checkpoint.truncated", f"{path.name} is damaged or incomplete; fetch it again.") from None
    except (ValueError, TypeError, RuntimeError) as error:  # configuration or shapes of another version
        reason = (str(error).splitlines() or [""])[0][:120]
        raise ModelError(
            "checkpoint.mismatch", f"{path.name} does not fit the built-in network of this version ({reason})."
        ) from None


def _existing(wish: str, entry: CatalogEntry | None) -> Path | None:
    """File to open; None for the built-in model."""
    if entry is not None:
        if entry.path is not None and not entry.path.is_file():
            raise ModelError(
                "checkpoint.missing",
                f"Model {entry.name!r} needs the file {entry.file_name}, which is not in {model_folder()}. "
                f"Download it from {entry.source} and place it there (this version does not download by itself).",
            )
        return entry.path
    path = Path(wish).expanduser()
    if path.is_file():
        return path
    if wish.lower().endswith(_SUFFIXES) or "/" in wish or os.sep in wish:
        raise ModelError("checkpoint.missing", f"Checkpoint {wish!r} is not a file; check the path.")
    raise ModelError("model.unknown", _unknown_text(wish))


def _unknown_text(wish: str) -> str:
    names = [entry.name for entry in _entries()]
    near = difflib.get_close_matches(wish.lower(), names, n=3, cutoff=0.4)
    hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(names)}"
    return f"There is no model {wish!r} ({hint}); give one of these names or the path of a checkpoint file."
