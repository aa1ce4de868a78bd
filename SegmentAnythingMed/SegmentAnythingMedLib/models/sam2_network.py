"""SAM 2 networks (Ravi et al., 2024) from the modules of the ``sam2`` package, without its configuration files.

The tables here say what the eight published configurations say. The whole network is built, memory included, so that a
loaded model can segment slices one by one and track through a volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import ModelError

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

WIDTH, MEMORY_WIDTH, STRIDE = 256, 64, 16
INSTALL = 'SAM2_BUILD_CUDA=0 pip install --no-build-isolation "sam2==1.1.0"'
_TRUNK = "image_encoder.trunk."


@dataclass(frozen=True)
class Sam2Shape:
    """Sizes of a SAM 2 network.

    Attributes:
        size: ``tiny``, ``small``, ``base_plus`` or ``large``.
        version: ``2.0`` or ``2.1``.
        image_size: side of the square input in pixels, a multiple of 32.
    """

    size: str
    version: str
    image_size: int


@dataclass(frozen=True)
class _Trunk:
    """Hiera's sizes (Ryali et al., 2023): channels and heads of the first stage, blocks of each stage, ..."""

    width: int
    heads: int
    stages: tuple[int, int, int, int]
    global_blocks: tuple[int, int, int]
    position_grid: int
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)


_TRUNKS = {
    "tiny": _Trunk(96, 1, (1, 2, 7, 2), (5, 7, 9), 7),
    "small": _Trunk(96, 1, (1, 2, 11, 2), (7, 10, 13), 7),
    "base_plus": _Trunk(112, 2, (2, 3, 16, 3), (12, 16, 20), 14),
    "large": _Trunk(144, 2, (2, 6, 36, 4), (23, 33, 43), 7, (8, 4, 16, 8)),
}


def sam2_size(tensors: Mapping[str, torch.Tensor]) -> tuple[str, str] | None:
    """(size, version) of a SAM 2 told by the names and shapes of its tensors; None when they fit no published size."""
    patch = tensors.get(f"{_TRUNK}patch_embed.proj.weight")
    blocks = {name.split(".")[3] for name in tensors if name.startswith(f"{_TRUNK}blocks.")}
    for size, trunk in _TRUNKS.items():
        if patch is not None and patch.shape[0] == trunk.width and len(blocks) == sum(trunk.stages):
            return size, "2.1" if "no_obj_embed_spatial" in tensors else "2.0"
    return None


def build_sam2(shape: Sam2Shape) -> SAM2Base:
    """A SAM 2 network with random weights, in evaluation mode on the CPU.

    Raises:
        ModelError: ``model.package`` when the ``sam2`` package is not installed.
    """
    require_sam2()
    from sam2.modeling.sam2_base import SAM2Base

    newer = shape.version == "2.1"
    network = SAM2Base(
        image_encoder=_image_encoder(_TRUNKS[shape.size]),
        memory_attention=_memory_attention(shape.image_size // STRIDE),
        memory_encoder=_memory_encoder(),
        num_maskmem=7,
        image_size=shape.image_size,
        backbone_stride=STRIDE,
        sigmoid_scale_for_mem_enc=20.0,
        sigmoid_bias_for_mem_enc=-10.0,
        use_mask_input_as_output_without_sam=True,
        directly_add_no_mem_embed=True,
        no_obj_embed_spatial=newer,
        use_high_res_features_in_sam=True,
        multimask_output_in_sam=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        add_tpos_enc_to_obj_ptrs=newer,
        proj_tpos_enc_in_obj_ptrs=newer,
        use_signed_tpos_enc_to_obj_ptrs=newer,
        only_obj_ptrs_in_the_past_for_eval=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
        multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        use_mlp_for_obj_ptr_proj=True,
        binarize_mask_from_pts_for_mem_enc=True,  # of slices with prompts: as the official predictor of videos does
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    )
    return network.eval().requires_grad_(False)


def require_sam2() -> None:
    """Raise ``model.package`` with the way to install it when the ``sam2`` package is missing or broken."""
    try:
        import sam2.modeling.sam2_base  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "model.package",
            f"SAM 2 and MedSAM2 need the Python package sam2, which cannot be imported here ({error}). "
            f"Install it after torch with: {INSTALL}",
        ) from None


def _image_encoder(trunk: _Trunk) -> nn.Module:
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder

    hiera = Hiera(
        embed_dim=trunk.width,
        num_heads=trunk.heads,
        stages=trunk.stages,
        global_att_blocks=trunk.global_blocks,
        window_pos_embed_bkg_spatial_size=(trunk.position_grid, trunk.position_grid),
        window_spec=trunk.windows,
    )
    neck = FpnNeck(
        position_encoding=_position_code(WIDTH),
        d_model=WIDTH,
        backbone_channel_list=[trunk.width * factor for factor in (8, 4, 2, 1)],
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return ImageEncoder(trunk=hiera, neck=neck, scalp=1)


def _memory_attention(grid: int) -> nn.Module:
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.sam.transformer import RoPEAttention

    rotary: dict[str, Any] = {
        "rope_theta": 10000.0,
        "feat_sizes": (grid, grid),
        "embedding_dim": WIDTH,
        "num_heads": 1,
        "downsample_rate": 1,
        "dropout": 0.1,
    }
    layer = MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=2048,
        dropout=0.1,
        pos_enc_at_attn=False,
        self_attention=RoPEAttention(**rotary),
        d_model=WIDTH,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=RoPEAttention(**rotary, rope_k_repeat=True, kv_in_dim=MEMORY_WIDTH),
    )
    return MemoryAttention(d_model=WIDTH, pos_enc_at_input=True, layer=layer, num_layers=4)


def _memory_encoder() -> nn.Module:
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder

    block = CXBlock(dim=WIDTH, kernel_size=7, padding=3, layer_scale_init_value=1e-6, use_dwconv=True)
    return MemoryEncoder(
        out_dim=MEMORY_WIDTH,
        position_encoding=_position_code(MEMORY_WIDTH),
        mask_downsampler=MaskDownSampler(kernel_size=3, stride=2, padding=1),
        fuser=Fuser(block, num_layers=2),
    )


def _position_code(width: int) -> nn.Module:
    from sam2.modeling.position_encoding import PositionEmbeddingSine

    return PositionEmbeddingSine(num_pos_feats=width, normalize=True, scale=None, temperature=10000)
