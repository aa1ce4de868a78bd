"""Which family a checkpoint belongs to, told by names and shapes of its tensors.

The family decides how an image must be prepared. Some families cannot be told apart by their tensors (SAM, MedSAM and
MedicoSAM share every name and shape): then the caller, the sidecar, a known hash or the file's name decides, in this
order, and a note says when none of them did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ModelError
from .checkpoints import Checkpoint

PREPROCESSING = {"sam": "sam", "medicosam": "sam", "medsam": "medsam"}
"""Family that this version runs -> how its images are prepared."""

_VARIANTS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_PATCH = "image_encoder.patch_embed.proj.weight"


@dataclass(frozen=True)
class Identity:
    """What a checkpoint is.

    Attributes:
        family: key of :data:`PREPROCESSING`.
        variant: ``vit_b``, ``vit_l``, ``vit_h`` or ``vit_<width>``.
        name, licence, source: for :class:`~SegmentAnythingMedLib.models.interface.ModelInfo`.
        notes: what the user should know, e.g. that the family was guessed.
    """

    family: str
    variant: str
    name: str
    licence: str
    source: str
    notes: tuple[str, ...] = ()


def identify(
    checkpoint: Checkpoint, family: str | None = None, known: Mapping[str, Mapping[str, str]] | None = None
) -> Identity:
    """Tell what a checkpoint is.

    Args:
        checkpoint: from :func:`~SegmentAnythingMedLib.models.checkpoints.read_checkpoint`.
        family: what the caller says it is, or None.
        known: SHA-256 -> ``name``, ``family``, ``licence``, ``source`` of published files.

    Raises:
        ModelError: ``checkpoint.unknown_family`` with what was seen, when this version cannot run it.
    """
    seen = describe_layout(checkpoint)
    if seen is not None:
        raise _unknown(f"{checkpoint.file_name} looks like {seen}, which this version cannot run")
    published = dict((known or {}).get(checkpoint.sha256, {}))
    facts = {**published, **checkpoint.sidecar}
    told = checkpoint.sidecar.get("family") or checkpoint.sidecar.get("preprocessing") or published.get("family")
    width, grid = checkpoint.tensors[_PATCH].shape[0], checkpoint.tensors["image_encoder.pos_embed"].shape[1]
    variant = _VARIANTS.get(width, f"vit_{width}")
    notes: tuple[str, ...] = ()
    decided = family or told or _by_file_name(checkpoint.file_name)
    if decided is None:
        if grid not in (32, 64):
            raise _unknown(
                f"{checkpoint.file_name} is a SAM for {grid * 16}-pixel images, whose preparation cannot be told "
                "(SAM-Med2D without adapters looks like this)"
            )
        decided = "sam"
        if variant == "vit_b" and grid == 64:
            notes = (
                f"{checkpoint.file_name} was taken for SAM; MedSAM files look the same but need other preprocessing: "
                'give the family "medsam", or put {"family": "medsam"} into a file of the same name plus .json.',
            )
    if decided not in PREPROCESSING:
        raise _unknown(f"Family {decided!r} of {checkpoint.file_name} is not one that this version runs")
    return Identity(
        family=decided,
        variant=variant,
        name=facts.get("name") or checkpoint.file_name.rpartition(".")[0] or checkpoint.file_name,
        licence=facts.get("licence", "unknown"),
        source=facts.get("source", checkpoint.file_name),
        notes=notes,
    )


def describe_layout(checkpoint: Checkpoint) -> str | None:
    """Plain words for a layout that is not SAM's own, told by names and shapes of its tensors; None when it is."""
    names = checkpoint.tensors.keys()
    for description, signs in _TELL_TALES:
        if any(sign in name for name in names for sign in signs):
            return description
    patch = checkpoint.tensors.get(_PATCH)
    if patch is not None and patch.ndim == 5:
        return "SAM-Med3D"
    mask_stem = checkpoint.tensors.get("prompt_encoder.mask_downscaling.0.weight")
    if mask_stem is not None and mask_stem.ndim == 4 and mask_stem.shape[1] == 3:
        return "Slide-SAM"
    position = checkpoint.tensors.get("image_encoder.pos_embed")
    if patch is None or position is None or patch.ndim != 4 or position.ndim != 4:
        if not names:
            return "a file without tensors"
        return f"none of the layouts known here ({len(names)} tensors, the first is {next(iter(names))!r})"
    return None


_TELL_TALES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a SAM in the layout of the transformers library", ("vision_encoder.",)),
    ("SAM 2.1 or MedSAM2", ("no_obj_embed_spatial",)),
    ("SAM 2", ("sam_mask_decoder.",)),
    ("the adapters of MA-SAM without the network they belong to", ("q_FacTs_000",)),
    ("a low-rank fine-tuning of micro-sam", ("attn.qkv.qkv_proj",)),
    ("SegmentAnyBone", ("attention_fusion.gate",)),
    ("Slide-SAM", ("mask_decoder.output_upscaling2.",)),
    ("a SAM with a TinyViT encoder (MobileSAM, LiteMedSAM)", ("patch_embed.seq",)),
    ("SAM-Med2D", (".Adapter.",)),
    ("Med-SA or SimAda", ("Space_Adapter", "MLP_Adapter", "Depth_Adapter", "w_a_linear_q")),
)


def _by_file_name(file_name: str) -> str | None:
    name = file_name.lower()
    if "medicosam" in name or "vit_b_medical_imaging" in name:
        return "medicosam"
    if "medsam" in name and "medsam2" not in name and "lite" not in name:
        return "medsam"
    return "sam" if name.startswith(("sam_vit_b_01ec64", "sam_vit_l_0b3195", "sam_vit_h_4b8939")) else None


def _unknown(what: str) -> ModelError:
    return ModelError(
        "checkpoint.unknown_family",
        f"{what}; it runs {', '.join(PREPROCESSING)} and the built-in model. "
        "Give another file, or name its family if it is one of these.",
    )
