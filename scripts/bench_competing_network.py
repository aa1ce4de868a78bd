"""The narrow SAM 2 of ``bench_competing.py``: the modules of the package ``sam2`` behind the built-in model's trunk."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

import torch
from SegmentAnythingMedLib.models.embedded import WEIGHTS
from SegmentAnythingMedLib.models.hybrid_encoder import HybridConfig, HybridEncoder, _resized
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

WIDTH, MEMORY_WIDTH = 128, 64
MEAN, DEVIATION = 0.485, 0.229
"""First channel of the normalisation that SAM 2 wants."""


class BuiltInTrunk(nn.Module):
    """The built-in model's pyramid as a trunk: maps of strides 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        from safetensors import safe_open

        with safe_open(WEIGHTS, "pt") as file:
            values = json.loads(file.metadata()["config"])
            known = {key: tuple(one) if isinstance(one, list) else one for key, one in values.items()}
            config = HybridConfig(**known)
            tensors = {
                name.removeprefix("image_encoder."): file.get_tensor(name).float()
                for name in file.keys()  # noqa: SIM118 (a file, not a dict)
                if name.startswith("image_encoder.")
            }
        self.encoder = HybridEncoder(config)
        missing = self.encoder.load_state_dict(tensors, strict=False).missing_keys
        if any("num_batches" not in name for name in missing):
            raise SystemExit(f"The built-in model lacks {missing}.")
        fuse(self.encoder)
        self.channel_list = [config.widths[3], config.widths[2], config.widths[1]]

    @torch.no_grad()
    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, 3, S, S] normalised as for SAM 2 -> three maps."""
        encoder = self.encoder
        grey = (image[:, :1] * DEVIATION + MEAN).clamp(0, 1)
        x2 = encoder.stem(encoder.standardise(grey).contiguous(memory_format=torch.channels_last))
        x4 = encoder.stage4(x2)
        x8 = encoder.stage8(x4)
        x16 = encoder.down16(x8)
        x16 = x16 + _resized(encoder.position, x16.shape[-2:])
        batch, width, rows, cols = x16.shape
        tokens = x16.flatten(2).transpose(1, 2)
        for block in encoder.blocks:
            tokens = block(tokens)
        x16 = encoder.norm16(tokens).transpose(1, 2).reshape(batch, width, rows, cols)
        return [x4.float().contiguous(), x8.float().contiguous(), x16.float().contiguous()]


def fuse(encoder: nn.Module) -> None:
    """Batch norms into the convolutions before them, which makes the trunk faster and nothing else."""
    encoder.eval().to(memory_format=torch.channels_last)
    for block in list(encoder.modules()):
        if isinstance(block, nn.Sequential) and len(block) > 1 and isinstance(block[1], nn.BatchNorm2d):
            block[0], block[1] = fuse_conv_bn_eval(block[0], block[1]), nn.Identity()


def build_network(side: int = 256) -> Any:
    """The narrow SAM 2; everything but the trunk random."""
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.transformer import RoPEAttention
    from sam2.modeling.sam2_base import SAM2Base

    def code(width: int) -> nn.Module:
        return PositionEmbeddingSine(num_pos_feats=width, normalize=True, scale=None, temperature=10000)

    trunk, grid = BuiltInTrunk(), side // 16
    neck = FpnNeck(code(WIDTH), WIDTH, trunk.channel_list, fpn_top_down_levels=[2], fpn_interp_model="nearest")
    rotary = {
        "rope_theta": 10000.0, "feat_sizes": (grid, grid), "embedding_dim": WIDTH, "num_heads": 1,
        "downsample_rate": 1, "dropout": 0.0,
    }  # fmt: skip
    layer = MemoryAttentionLayer(
        activation="relu", dim_feedforward=512, dropout=0.0, pos_enc_at_attn=False, d_model=WIDTH,
        self_attention=RoPEAttention(**rotary), pos_enc_at_cross_attn_keys=True, pos_enc_at_cross_attn_queries=False,
        cross_attention=RoPEAttention(**rotary, rope_k_repeat=True, kv_in_dim=MEMORY_WIDTH),
    )  # fmt: skip
    encoder = MemoryEncoder(
        out_dim=MEMORY_WIDTH, in_dim=WIDTH, position_encoding=code(MEMORY_WIDTH),
        mask_downsampler=MaskDownSampler(embed_dim=WIDTH, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(CXBlock(dim=WIDTH, kernel_size=7, padding=3, layer_scale_init_value=0.1), num_layers=2),
    )  # fmt: skip
    network = SAM2Base(
        image_encoder=ImageEncoder(trunk, neck),
        memory_attention=MemoryAttention(d_model=WIDTH, pos_enc_at_input=True, layer=layer, num_layers=2),
        memory_encoder=encoder, num_maskmem=7, image_size=side, backbone_stride=16, sigmoid_scale_for_mem_enc=20.0,
        sigmoid_bias_for_mem_enc=-10.0, use_mask_input_as_output_without_sam=True, directly_add_no_mem_embed=True,
        no_obj_embed_spatial=True, use_high_res_features_in_sam=True, multimask_output_in_sam=True,
        iou_prediction_use_sigmoid=True, use_obj_ptrs_in_encoder=True, add_tpos_enc_to_obj_ptrs=True,
        proj_tpos_enc_in_obj_ptrs=True, use_signed_tpos_enc_to_obj_ptrs=True, only_obj_ptrs_in_the_past_for_eval=True,
        pred_obj_scores=True, pred_obj_scores_mlp=True, fixed_no_obj_ptr=True, multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True, multimask_min_pt_num=0, multimask_max_pt_num=1,
        use_mlp_for_obj_ptr_proj=True, binarize_mask_from_pts_for_mem_enc=True,
    )  # fmt: skip
    network.image_encoder.trunk.requires_grad_(False)
    look_at_the_same_place(network)
    return network


@torch.no_grad()
def look_at_the_same_place(network: Any) -> None:
    """Let memory attention begin with what is near: that a place is told by its rotation takes long to learn.

    With constant queries and keys the rotations alone decide, and they agree best where the offset is zero.
    """
    for layer in network.memory_attention.layers:
        for projection in (layer.cross_attn_image.q_proj, layer.cross_attn_image.k_proj):
            projection.weight.mul_(0.5)
            projection.bias.fill_(3.5)


def load_fitted(path: Path) -> Any:
    """The network of a fit, in evaluation mode."""
    network = build_network()
    network.load_state_dict(torch.load(path, weights_only=True)["model"])
    return network.eval().requires_grad_(False)
