"""From an identified checkpoint to a model that runs."""

from __future__ import annotations

from dataclasses import replace

from segment_anything.modeling import Sam

from .checkpoints import Checkpoint, load_strictly
from .families import Identity
from .interface import ModelInfo, PromptableModel
from .layouts import SAM2, SAM_MED2D, TINY_VIT
from .lora import is_low_rank, merge_low_rank
from .sam import SamModel
from .sam_med2d import build_sam_med2d
from .sam_network import build_sam, sam_shape
from .tiny_vit import build_tiny_vit, tiny_shape


def open_model(
    checkpoint: Checkpoint, identity: Identity, device: str = "cpu", precision: str = "auto", fast: bool = True
) -> PromptableModel:
    """The model that a checkpoint holds.

    Args:
        checkpoint: from :func:`~SegmentAnythingMedLib.models.checkpoints.read_checkpoint`.
        identity: from :func:`~SegmentAnythingMedLib.models.families.identify`.
        device: from :func:`~SegmentAnythingMedLib.models.device.choose_device`.
        precision: of the encoder, see :func:`~SegmentAnythingMedLib.models.device.autocast_dtype`.
        fast: False is the switch back to the stock modules.

    Raises:
        ModelError: ``checkpoint.mismatch``; ``model.package`` when a family needs a package that is not installed.
    """
    info = ModelInfo(
        name=identity.name,
        family=identity.family,
        variant=identity.variant,
        sha256=checkpoint.fingerprint,
        source=identity.source,
        licence=identity.licence,
        preprocessing=identity.preparation,
    )
    options = {
        "device": device,
        "preprocessing": identity.preparation,
        "precision": precision,
        "notes": (*identity.notes, *_base_note(checkpoint)),
        "fast": fast,
    }
    if identity.network == SAM2:
        return _open_sam2(checkpoint, identity, info, options)
    if is_low_rank(checkpoint.tensors):
        checkpoint = replace(checkpoint, tensors=merge_low_rank(checkpoint.tensors, checkpoint.file_name))
    network = _empty_network(checkpoint, identity)
    load_strictly(network, checkpoint.tensors, checkpoint.file_name)
    return SamModel(network, info, semantic_decoder=checkpoint.decoder, **options)


def _base_note(checkpoint: Checkpoint) -> tuple[str, ...]:
    if not checkpoint.base_name:
        return ()
    base = f"{checkpoint.base_name} (SHA-256 {checkpoint.base_sha256})"
    return (f"The low-rank factors of {checkpoint.file_name} (SHA-256 {checkpoint.sha256}) were merged into {base}.",)


def _empty_network(checkpoint: Checkpoint, identity: Identity) -> Sam:
    tensors, file_name = checkpoint.tensors, checkpoint.file_name
    if identity.network == SAM_MED2D:
        return build_sam_med2d(tensors, file_name)
    if identity.network == TINY_VIT:
        return build_tiny_vit(tiny_shape(tensors, identity.image_size, file_name))
    return build_sam(sam_shape(tensors, file_name))


def _open_sam2(checkpoint: Checkpoint, identity: Identity, info: ModelInfo, options: dict) -> PromptableModel:
    from .sam2 import Sam2Model
    from .sam2_network import Sam2Shape, build_sam2, sam2_size

    size, version = sam2_size(checkpoint.tensors)
    network = build_sam2(Sam2Shape(size, version, identity.image_size))
    load_strictly(network, checkpoint.tensors, checkpoint.file_name)
    return Sam2Model(network, info, **options)
