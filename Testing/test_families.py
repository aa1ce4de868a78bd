from __future__ import annotations

import pytest
import torch
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.models.checkpoints import Checkpoint
from SegmentAnythingMedLib.models.families import FAMILIES, PREPROCESSING, identify
from SegmentAnythingMedLib.models.preparation import PREPARATIONS

TINY_STEM = "image_encoder.patch_embed.seq.0.c.weight"


def checkpoint_of(tensors: dict[str, torch.Tensor], name: str = "weights.pth", sidecar=None) -> Checkpoint:
    return Checkpoint(name, "0" * 64, tensors, sidecar=sidecar or {})


def plain(width: int = 768, grid: int = 64) -> dict[str, torch.Tensor]:
    """The tensors by which a plain SAM is told, without memory."""
    with torch.device("meta"):
        return {
            "image_encoder.pos_embed": torch.empty(1, grid, grid, width),
            "image_encoder.patch_embed.proj.weight": torch.empty(width, 3, 16, 16),
        }


def sam2(width: int = 96, blocks: int = 12, version: str = "2.1") -> dict[str, torch.Tensor]:
    """The tensors by which a SAM 2 is told."""
    with torch.device("meta"):
        tensors = {
            "image_encoder.trunk.patch_embed.proj.weight": torch.empty(width, 3, 7, 7),
            "sam_mask_decoder.iou_token.weight": torch.empty(1, 256),
            **{f"image_encoder.trunk.blocks.{n}.norm1.weight": torch.empty(1) for n in range(blocks)},
        }
        return tensors if version == "2.0" else {**tensors, "no_obj_embed_spatial": torch.empty(1, 64)}


def adapted() -> dict[str, torch.Tensor]:
    """SAM-Med2D as published."""
    return {**plain(grid=16), "image_encoder.blocks.0.Adapter.norm.weight": torch.ones(1)}


def tiny_vit(kernel: int) -> dict[str, torch.Tensor]:
    """MobileSAM (3) or LiteMedSAM (1)."""
    return {TINY_STEM: torch.ones(32, 3, kernel, kernel)}


FOREIGN = {
    "transformers": ({"vision_encoder.backbone.x": torch.ones(1)}, "transformers library"),
    "SAM 2 of no known size": (sam2(width=50), "SAM 2 of a size that was never published"),
    "SAM-Med3D": ({"image_encoder.patch_embed.proj.weight": torch.ones(2, 1, 2, 2, 2)}, "SAM-Med3D"),
    "MA-SAM": ({"q_FacTs_000.weight": torch.ones(1)}, "MA-SAM"),
    "SegmentAnyBone": ({"attention_fusion.gate": torch.ones(1)}, "SegmentAnyBone"),
    "Med-SA": ({**plain(), "image_encoder.blocks.0.Space_Adapter.x": torch.ones(1)}, "Med-SA"),
    "a decoder alone": ({"deconv_out.block.0.conv.weight": torch.ones(1)}, "decoder of MedicoSAM without its network"),
    "Slide-SAM": ({**plain(), "prompt_encoder.mask_downscaling.0.weight": torch.ones(4, 3, 2, 2)}, "Slide-SAM"),
    "anything": ({"fc.weight": torch.ones(1)}, "1 tensors, the first is 'fc.weight'"),
    "nothing": ({}, "without tensors"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_families_are_named_and_refused(name):
    tensors, words = FOREIGN[name]
    with pytest.raises(ModelError, match=words) as caught:
        identify(checkpoint_of(tensors))
    assert caught.value.code == "checkpoint.unknown_family"


CERTAIN = {
    "SAM vit_l": (plain(1024), "sam", "vit_l"),
    "SAM vit_h": (plain(1280), "sam", "vit_h"),
    "SAM 2 tiny": (sam2(96, 12, "2.0"), "sam2", "sam2_hiera_tiny"),
    "SAM 2.1 small": (sam2(96, 16), "sam2", "sam2.1_hiera_small"),
    "SAM 2.1 base+": (sam2(112, 24), "sam2", "sam2.1_hiera_base_plus"),
    "SAM 2 large": (sam2(144, 48, "2.0"), "sam2", "sam2_hiera_large"),
    "SAM-Med2D": (adapted(), "sam-med2d", "vit_b"),
    "MobileSAM": (tiny_vit(3), "mobile-sam", "vit_t"),
    "LiteMedSAM": (tiny_vit(1), "lite-medsam", "vit_t"),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_what_the_tensors_tell(name):
    tensors, family, variant = CERTAIN[name]
    identity = identify(checkpoint_of(tensors))
    assert (identity.family, identity.variant, identity.licence, identity.notes) == (family, variant, "unknown", ())
    assert identity.preparation == FAMILIES[family].preparation
    assert identity.image_size == FAMILIES[family].image_size
    assert identity.name == "weights"


AMBIGUOUS = {
    "vit_b": (plain(), "sam, medsam, medicosam"),
    "512 pixels": (plain(1024, 32), "sam, medsam, medicosam, sam-med2d"),
    "256 pixels": (plain(grid=16), "sam, medsam, medicosam, sam-med2d"),
    "tiny 2.1": (sam2(), "sam2, medsam2"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_look_alikes_are_asked_for_with_the_choices(name):
    tensors, choices = AMBIGUOUS[name]
    with pytest.raises(ModelError, match=f"may be one of {choices}, and.*--family.*weights.pth.json") as caught:
        identify(checkpoint_of(tensors))
    assert caught.value.code == "checkpoint.ambiguous"
    assert "\n" not in str(caught.value)
    for family in choices.split(", "):
        assert identify(checkpoint_of(tensors), family).family == family


@pytest.mark.parametrize(
    ("tensors", "file_name", "family"),
    [
        (plain(), "medsam_vit_b.pth", "medsam"),
        (plain(), "vit_b_medicosam.pt", "medicosam"),
        (plain(), "sam_vit_b_01ec64.pth", "sam"),
        (sam2(), "MedSAM2_CTLesion.pt", "medsam2"),
        (sam2(), "sam2.1_hiera_tiny.pt", "sam2"),
        (plain(grid=16), "ft-sam-med2d.pth", "sam-med2d"),
    ],
)
def test_names_of_published_files_decide_between_look_alikes_with_a_note(tensors, file_name, family):
    identity = identify(checkpoint_of(tensors, file_name))
    assert identity.family == family
    assert f"taken for {FAMILIES[family].title} by its file name" in identity.notes[0]


def test_a_name_of_another_layout_decides_nothing():
    with pytest.raises(ModelError) as caught:
        identify(checkpoint_of(plain(), "medsam2_new.pt"))
    assert caught.value.code == "checkpoint.ambiguous"


def test_caller_before_hash_before_sidecar_before_file_name():
    known = {"0" * 64: {"name": "published", "family": "medicosam", "licence": "MIT", "source": "https://example.org"}}
    named = checkpoint_of(plain(), "medsam.pth")
    with_sidecar = checkpoint_of(plain(), "medsam.pth", {"family": "sam", "licence": "CC0-1.0", "name": "mine"})
    assert identify(named).family == "medsam"
    assert identify(with_sidecar).family == "sam"
    assert (identify(with_sidecar).name, identify(with_sidecar).licence) == ("mine", "CC0-1.0")
    assert identify(with_sidecar, known=known).family == "medicosam"
    assert (identify(with_sidecar, known=known).name, identify(with_sidecar, known=known).licence) == (
        "published", "MIT",
    )  # fmt: skip
    assert identify(with_sidecar, "medsam", known).family == "medsam"


def test_a_sidecar_may_name_the_preprocessing_alone_or_beside_the_family():
    alone = identify(checkpoint_of(plain(), sidecar={"preprocessing": "medsam"}))
    assert (alone.family, alone.preparation) == ("medsam", "medsam")
    beside = identify(checkpoint_of(plain(1024), sidecar={"family": "sam", "preprocessing": "medsam"}))
    assert (beside.family, beside.preparation) == ("sam", "medsam")
    named = identify(checkpoint_of(plain(), sidecar={"family": "medsam", "preprocessing": "medicosam"}))
    assert named.preparation == "sam", "the name of a family stands for its preparation"


def test_a_family_that_does_not_exist():
    with pytest.raises(ModelError, match=r"Family 'samurai'.*runs sam, medicosam, medsam, sam2") as caught:
        identify(checkpoint_of(plain()), "samurai")
    assert caught.value.code == "checkpoint.unknown_family"


@pytest.mark.parametrize(("tensors", "family"), [(plain(), "sam2"), (adapted(), "sam"), (tiny_vit(3), "medsam")])
def test_a_family_of_another_network_is_refused(tensors, family):
    with pytest.raises(ModelError, match=f"said to be {FAMILIES[family].title} ") as caught:
        identify(checkpoint_of(tensors), family)
    assert caught.value.code == "checkpoint.mismatch"


def test_every_family_has_a_preparation():
    assert set(PREPROCESSING) == set(FAMILIES)
    assert set(PREPROCESSING.values()) <= set(PREPARATIONS)
