"""Which network a checkpoint holds, told by the names and shapes of its tensors.

A layout is a network; a family is a network with a way to prepare images. Families that share a layout cannot be told
apart by their tensors: the layout then names all of them, and ``families`` decides on other evidence or asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .lora import is_low_rank_alone
from .sam2_network import sam2_size

SAM, SAM_MED2D, TINY_VIT, SAM2 = "sam", "sam-med2d", "tiny-vit", "sam2"

_VARIANTS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_PATCH = "image_encoder.patch_embed.proj.weight"
_TINY_STEM = "image_encoder.patch_embed.seq.0.c.weight"


@dataclass(frozen=True)
class Layout:
    """What the tensors of a checkpoint tell.

    Attributes:
        network: ``sam``, ``sam-med2d``, ``tiny-vit`` or ``sam2``.
        variant: size within the family: ``vit_b``, ``vit_t``, ``sam2.1_hiera_tiny``, ...
        families: the families that publish checkpoints with exactly these names and shapes.
        words: plain description for messages.
    """

    network: str
    variant: str
    families: tuple[str, ...]
    words: str


def layout_of(tensors: Mapping[str, torch.Tensor]) -> Layout | None:
    """The layout that a checkpoint has, or None when it is none that can be run; see :func:`foreign_layout`."""
    if foreign_layout(tensors) is not None:
        return None
    if any(name.startswith("sam_mask_decoder.") for name in tensors):
        return _sam2_layout(tensors)
    stem = tensors.get(_TINY_STEM)
    if stem is not None:
        mobile = stem.ndim == 4 and stem.shape[-1] == 3
        family, words = ("mobile-sam", "MobileSAM") if mobile else ("lite-medsam", "LiteMedSAM")
        return Layout(TINY_VIT, "vit_t", (family,), f"a {words}")
    return _sam_layout(tensors)


def _sam2_layout(tensors: Mapping[str, torch.Tensor]) -> Layout | None:
    found = sam2_size(tensors)
    if found is None:
        return None
    size, version = found
    families = ("sam2", "medsam2") if found == ("tiny", "2.1") else ("sam2",)
    variant = f"sam{version.removesuffix('.0')}_hiera_{size}"
    return Layout(SAM2, variant, families, f"a SAM {version} of size {size}")


def _sam_layout(tensors: Mapping[str, torch.Tensor]) -> Layout:
    width, grid = tensors[_PATCH].shape[0], tensors["image_encoder.pos_embed"].shape[1]
    variant = _VARIANTS.get(width, f"vit_{width}")
    words = f"a SAM {variant} for {grid * 16}-pixel images"
    if any(".Adapter." in name for name in tensors):
        return Layout(SAM_MED2D, variant, ("sam-med2d",), f"{words} with the adapters of SAM-Med2D")
    if any(".qkv_proj." in name for name in tensors):  # micro-sam trains with SAM's own preparation, always
        return Layout(SAM, variant, ("sam",), f"{words} with low-rank changes of micro-sam")
    if grid == 64 and variant in ("vit_l", "vit_h"):
        return Layout(SAM, variant, ("sam",), words)
    families = ("sam", "medsam", "medicosam") if grid == 64 else ("sam", "medsam", "medicosam", "sam-med2d")
    return Layout(SAM, variant, families, words)


def foreign_layout(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Plain words for a layout that cannot be run, or None."""
    for description, signs in _FOREIGN:
        if any(sign in name for name in tensors for sign in signs):
            return description
    patch = tensors.get(_PATCH)
    if patch is not None and patch.ndim == 5:
        return "SAM-Med3D"
    mask_stem = tensors.get("prompt_encoder.mask_downscaling.0.weight")
    if mask_stem is not None and mask_stem.ndim == 4 and mask_stem.shape[1] == 3:
        return "Slide-SAM"
    if is_low_rank_alone(tensors):
        return "the low-rank factors of a SAM without the network they belong to"
    if any(name.startswith("sam_mask_decoder.") for name in tensors):
        return None if sam2_size(tensors) is not None else "a SAM 2 of a size that was never published"
    position = tensors.get("image_encoder.pos_embed")
    plain = patch is not None and position is not None and patch.ndim == position.ndim == 4
    if plain or _TINY_STEM in tensors:
        return None
    if not tensors:
        return "a file without tensors"
    return f"none of the layouts known here ({len(tensors)} tensors, the first is {next(iter(tensors))!r})"


_FOREIGN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a network in a layout of the transformers library", ("vision_encoder.",)),
    ("the adapters of MA-SAM without the network they belong to", ("q_FacTs_000",)),
    ("SegmentAnyBone", ("attention_fusion.gate",)),
    ("Slide-SAM", ("mask_decoder.output_upscaling2.",)),
    ("the semantic decoder of MedicoSAM without its network", ("decoder_head.", "deconv_out.")),
    ("Med-SA or SimAda", ("Space_Adapter", "MLP_Adapter", "Depth_Adapter")),
)
