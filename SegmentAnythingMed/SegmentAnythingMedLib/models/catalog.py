"""What models there are, where their weights come from, and how to open one by name or path."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from .entries import SUFFIXES, CatalogEntry, all_entries, find_entry, model_folder, nearest

if TYPE_CHECKING:  # listing models needs no torch; opening one does
    from .interface import PromptableModel

BUILT_IN = "built-in"
FAST_VARIABLE = "SEGMENT_ANYTHING_MED_FAST"
_MAX_HEADER = 1 << 24


def list_models() -> list[CatalogEntry]:
    """Every model that can be opened by name: the built-in one, the catalogue, what the user registered."""
    return all_entries()


def load_model(
    name_or_path: str | os.PathLike[str] = BUILT_IN,
    device: str = "auto",
    family: str | None = None,
    precision: str = "auto",
    fast: bool | None = None,
) -> PromptableModel:
    """Open a model.

    Args:
        name_or_path: a name of :func:`list_models`, or the path of a checkpoint file of the SAM family or of the
            built-in network (a result of ``scripts/train_default_model.py``).
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        family: key of :data:`~SegmentAnythingMedLib.models.families.FAMILIES`, which decides how images are prepared;
            None to find out from the file's hash, the sidecar ``<checkpoint>.json``, the tensors and the name.
        precision: see :func:`~SegmentAnythingMedLib.models.device.autocast_dtype`; the built-in model ignores it.
        fast: False computes with the stock modules of segment-anything and sam2 in place of our faster forms of them,
            which give the same numbers but for rounding (``docs/performance.md``). None is True, unless the environment
            variable ``SEGMENT_ANYTHING_MED_FAST`` is 0. The built-in model ignores it.

    Raises:
        ModelError: ``model.unknown``; ``checkpoint.*`` of
            :func:`~SegmentAnythingMedLib.models.checkpoints.read_checkpoint` and of the network.
        DeviceError: see :func:`~SegmentAnythingMedLib.models.device.choose_device`.
    """
    from .device import choose_device, limit_threads

    wish = os.fspath(name_or_path)
    entry = find_entry(wish)
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
    from .loading import open_model
    from .lora_base import with_base
    from .records import expected_sha256, known_files

    checkpoint = with_base(read_checkpoint(path, expected_sha256=expected_sha256(entry) if entry else None), path)
    known = {checkpoint.sha256: entry.facts} if entry else known_files()
    fast = os.environ.get(FAST_VARIABLE, "1").strip() != "0" if fast is None else fast
    return open_model(checkpoint, identify(checkpoint, family, known), chosen, precision, fast)


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
            raise ModelError("checkpoint.missing", missing_text(entry))
        return entry.path
    path = Path(wish).expanduser()
    if path.is_file():
        return path
    if wish.lower().endswith(SUFFIXES) or "/" in wish or os.sep in wish:
        raise ModelError("checkpoint.missing", f"Checkpoint {wish!r} is not a file; check the path.")
    raise ModelError(
        "model.unknown",
        f"There is no model {wish!r} ({nearest(wish)}); give one of these names or the path of a checkpoint file.",
    )


def missing_text(entry: CatalogEntry) -> str:
    """How to get a model that is not on this machine: the command, and the file and folder to do it by hand."""
    text = f"Model {entry.name!r} is not on this machine, and nothing is downloaded without being asked for. "
    if entry.urls:
        text += f"Get it with: segment-anything-med models download {entry.name}. "
    return (
        f"{text}By hand: save {entry.file_name} from {(*entry.urls, entry.source)[0]} into {model_folder()}, "
        f"or: segment-anything-med models import FILE --as {entry.name}."
    )
