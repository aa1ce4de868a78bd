from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.models.catalog import load_model
from SegmentAnythingMedLib.models.transformers_layout import is_transformers, to_sam_names
from tiny_sam import stock_sam

# SAM's part of a name -> that of transformers, applied in this order to whole names
PARTS = (
    ("image_encoder.patch_embed.proj.", "vision_encoder.patch_embed.projection."),
    ("image_encoder.neck.0.", "vision_encoder.neck.conv1."),
    ("image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."),
    ("image_encoder.neck.2.", "vision_encoder.neck.conv2."),
    ("image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."),
    ("image_encoder.blocks.", "vision_encoder.layers."),
    ("image_encoder.", "vision_encoder."),
    ("point_embeddings.", "point_embed."),
    ("mask_downscaling.0.", "mask_embed.conv1."),
    ("mask_downscaling.1.", "mask_embed.layer_norm1."),
    ("mask_downscaling.3.", "mask_embed.conv2."),
    ("mask_downscaling.4.", "mask_embed.layer_norm2."),
    ("mask_downscaling.6.", "mask_embed.conv3."),
    ("norm_final_attn", "layer_norm_final_attn"),
    ("output_upscaling.0.", "upscale_conv1."),
    ("output_upscaling.1.", "upscale_layer_norm."),
    ("output_upscaling.3.", "upscale_conv2."),
    *((f".norm{n}.", f".layer_norm{n}.") for n in (1, 2, 3, 4)),
)
HEADS = (("layers.0.", "proj_in."), ("layers.1.", "layers.0."), ("layers.2.", "proj_out."))
POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def transformers_names(tensors: dict[str, torch.Tensor], twice: bool = True) -> dict[str, torch.Tensor]:
    """What ``SamModel.save_pretrained`` writes for the same weights."""
    renamed = {}
    for name, tensor in tensors.items():
        if name == POSITIONS:
            renamed["shared_image_embedding.positional_embedding"] = tensor
            if twice:
                renamed["prompt_encoder.shared_embedding.positional_embedding"] = tensor.clone()
            continue
        parts = HEADS if "hypernetworks" in name or "iou_prediction_head" in name else PARTS
        for own, other in parts:
            if own in name:
                name = name.replace(own, other)
                if parts is HEADS:
                    break
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("twice", [True, False])
def test_every_tensor_gets_its_own_name_back(twice):
    tensors = stock_sam().state_dict()
    foreign = transformers_names(tensors, twice)
    assert is_transformers(foreign)
    assert not is_transformers(tensors)
    back = to_sam_names(foreign)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in back.items())


def test_a_file_of_a_model_hub_opens_once_its_family_is_told(tmp_path):
    network = stock_sam()
    save_file(transformers_names(network.state_dict()), tmp_path / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path / "model.safetensors", "cpu")
    assert caught.value.code == "checkpoint.ambiguous"
    Path(tmp_path / "model.safetensors.json").write_text(json.dumps({"family": "medsam", "name": "medsam-hub"}))
    model = load_model(tmp_path / "model.safetensors", "cpu")
    assert (model.info.name, model.info.family, model.preprocessing) == ("medsam-hub", "medsam", "medsam")
    own = model._network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in network.state_dict().items())
