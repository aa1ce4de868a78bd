"""Low-rank factors saved without their network (Sam_LoRA): merged into the network that their sidecar names as base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import ModelError
from .checkpoints import Checkpoint, read_checkpoint
from .entries import check_file_name, find_entry
from .lora import is_low_rank_alone, merge_alone
from .records import expected_sha256


def with_base(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """A checkpoint of factors alone, merged into its base; any other checkpoint as it is.

    Args:
        checkpoint: read from ``path``.
        path: of the factors. The ``base`` of its sidecar is a name of the catalogue or of a file in the same folder.

    Raises:
        ModelError: ``checkpoint.base`` when the sidecar names no base, or none that is here; ``checkpoint.mismatch``
            when the factors do not fit it; ``checkpoint.*`` of the base.
    """
    if not is_low_rank_alone(checkpoint.tensors):
        return checkpoint
    base = _read_base(checkpoint, path)
    return replace(
        checkpoint,
        tensors=merge_alone(checkpoint.tensors, base.tensors, checkpoint.file_name, base.file_name),
        decoder=base.decoder,
        base_name=base.file_name,
        base_sha256=base.sha256,
    )


def _read_base(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    wish = checkpoint.sidecar.get("base")
    if not wish:
        raise ModelError(
            "checkpoint.base",
            f"{checkpoint.file_name} holds low-rank factors without the network that they change. Name that network: "
            f'put {{"base": "sam-vit-b", "family": "sam"}} into {checkpoint.file_name}.json beside it (a name of the '
            "catalogue, or of a file in the same folder).",
        )
    entry = find_entry(wish)
    found = entry.path if entry is not None else path.parent / check_file_name(wish)
    if found is None or not found.is_file():
        raise ModelError(
            "checkpoint.base",
            f"{checkpoint.file_name} changes {wish!r}, which is not here; download it, or put it beside the file.",
        )
    base = read_checkpoint(found, expected_sha256=expected_sha256(entry) if entry is not None else None)
    if is_low_rank_alone(base.tensors):
        raise ModelError("checkpoint.base", f"{wish!r} holds low-rank factors too; name a whole network as base.")
    return base
