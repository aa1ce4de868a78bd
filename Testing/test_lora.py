from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.models.catalog import load_model
from SegmentAnythingMedLib.models.checkpoints import file_sha256
from SegmentAnythingMedLib.models.lora import is_low_rank, merge_low_rank
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from tiny_sam import save_stock_sam, stock_sam
from tiny_sam2 import picture

RANK, WIDTH = 4, 64
BOX = (5.0, 6.5, 30.0, 31.0)


class LowRankAttention(torch.nn.Module):
    """``qkv`` with factors for query and value (and key), named as one of the two schools does."""

    def __init__(self, stock: torch.nn.Linear, school: str, targets: str) -> None:
        super().__init__()
        inner, name = ("qkv_proj", "w_{}_linear_{}") if school == "micro-sam" else ("qkv", "linear_{}_{}")
        self.add_module(inner, stock)
        self.inner, self.name, self.targets = inner, name, targets
        for target in targets:
            self.add_module(name.format("a", target), torch.nn.Linear(WIDTH, RANK, bias=False))
            self.add_module(name.format("b", target), torch.nn.Linear(RANK, WIDTH, bias=False))

    def forward(self, x):
        qkv = getattr(self, self.inner)(x)
        for target in self.targets:
            start = "qkv".index(target) * WIDTH
            down, up = (getattr(self, self.name.format(part, target)) for part in "ab")
            qkv[..., start : start + WIDTH] += up(down(x))
        return qkv


class LowRankMlp(torch.nn.Module):
    """micro-sam's later form: factors beside both layers of the MLP."""

    def __init__(self, stock) -> None:
        super().__init__()
        self.mlp_layer = stock
        for number, layer in (("1", stock.lin1), ("2", stock.lin2)):
            self.add_module(f"w_a_linear_{number}", torch.nn.Linear(layer.in_features, RANK, bias=False))
            self.add_module(f"w_b_linear_{number}", torch.nn.Linear(RANK, layer.out_features, bias=False))

    def forward(self, x):
        x = self.mlp_layer.act(self.mlp_layer.lin1(x) + self.w_b_linear_1(self.w_a_linear_1(x)))
        return self.mlp_layer.lin2(x) + self.w_b_linear_2(self.w_a_linear_2(x))


def tuned(school: str, targets: str = "qv", mlp: bool = False):
    """A SAM of the official classes that runs its factors beside its weights."""
    network = stock_sam()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for block in network.image_encoder.blocks:
            block.attn.qkv = LowRankAttention(block.attn.qkv, school, targets)
            if mlp:
                block.mlp = LowRankMlp(block.mlp)
        for name, parameter in network.named_parameters():
            if "linear_" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("school", "targets", "mlp"),
    [("micro-sam", "qv", False), ("micro-sam", "qkv", True), ("Sam_LoRA", "qv", False)],
)
def test_merged_equals_beside(tmp_path, school, targets, mlp):
    network, image = tuned(school, targets, mlp), picture((60, 100))
    path = tmp_path / "best.pt"
    torch.save({"model_state": {f"sam.{k}": v for k, v in network.state_dict().items()}, "epoch": 7}, path)
    if school == "Sam_LoRA":
        Path(f"{path}.json").write_text(json.dumps({"family": "sam"}))
    model = load_model(path, "cpu")
    assert (model.info.family, model.notes) == ("sam", ())
    predictor = SamPredictor(network)
    predictor.set_image(np.repeat(image[..., None], 3, axis=2))
    theirs, _, _ = predictor.predict(box=np.array(BOX), multimask_output=False, return_logits=True)
    frame = model.frame((60, 100), (1.0, 1.0))
    features = model.encode([image.astype(np.float32) / 255], [frame])[0]
    ours = model.decode(features, SlicePrompts(box=BOX)).logits
    assert float(np.abs(ours - theirs).max()) <= 1e-4 * float(np.ptp(theirs))
    untuned = SamPredictor(stock_sam())
    untuned.set_image(np.repeat(image[..., None], 3, axis=2))
    without, _, _ = untuned.predict(box=np.array(BOX), multimask_output=False, return_logits=True)
    assert float(np.abs(without - theirs).max()) > 1e-2 * float(np.ptp(theirs)), "the factors must matter"


def test_merging_leaves_its_input_alone_and_names_nothing_low_rank():
    tensors = tuned("micro-sam").state_dict()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    merged = merge_low_rank(tensors, "best.pt")
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors.items())
    assert merged.keys() == stock_sam().state_dict().keys()
    assert is_low_rank(tensors)
    assert not is_low_rank(merged)


@pytest.mark.parametrize("lost", ["attn.qkv.w_b_linear_v.weight", "attn.qkv.qkv_proj.weight"])
def test_a_factor_without_its_partner_is_told(lost):
    tensors = dict(tuned("micro-sam").state_dict())
    del tensors[f"image_encoder.blocks.1.{lost}"]
    with pytest.raises(ModelError, match=r"blocks\.1\.attn\.qkv .* in best.pt are incomplete") as caught:
        merge_low_rank(tensors, "best.pt")
    assert caught.value.code == "checkpoint.mismatch"


def test_factors_of_another_width_are_told():
    tensors = dict(tuned("micro-sam").state_dict())
    tensors["image_encoder.blocks.0.attn.qkv.w_a_linear_q.weight"] = torch.ones(RANK, WIDTH + 1)
    with pytest.raises(ModelError, match="do not fit"):
        merge_low_rank(tensors, "best.pt")


def factors_alone(folder: Path, network, **sidecar) -> Path:
    """What Sam_LoRA saves: the factors of query and value of every block, numbered; and what else was trained."""
    tensors = {"mask_decoder.iou_token.weight": network.state_dict()["mask_decoder.iou_token.weight"] + 1}
    for index, block in enumerate(network.image_encoder.blocks):
        for offset, target in enumerate("qv"):
            for part in "ab":
                factor = getattr(block.attn.qkv, f"linear_{part}_{target}").weight
                tensors[f"w_{part}_{2 * index + offset:03d}"] = factor.clone()
    save_file(tensors, folder / "lora.safetensors")
    (folder / "lora.safetensors.json").write_text(json.dumps(sidecar))
    return folder / "lora.safetensors"


def test_factors_alone_are_merged_into_the_base_that_their_sidecar_names(tmp_path):
    network, base = tuned("Sam_LoRA"), save_stock_sam(tmp_path / "base.pth")
    path = factors_alone(tmp_path, network, base="base.pth", family="sam", name="liver-lora")
    model = load_model(path, "cpu")
    assert (model.info.name, model.info.family) == ("liver-lora", "sam")
    assert model.info.sha256 not in (file_sha256(path), file_sha256(base)), "another base must give another identity"
    assert file_sha256(base) in model.notes[0]
    inputs = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    ours, theirs = model._network.image_encoder(inputs), network.image_encoder(inputs)
    assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.max() - theirs.min())
    trained = network.state_dict()["mask_decoder.iou_token.weight"] + 1
    assert torch.equal(model._network.state_dict()["mask_decoder.iou_token.weight"], trained)


@pytest.mark.parametrize(
    ("sidecar", "code", "words"),
    [
        ({"family": "sam"}, "checkpoint.base", "without the network that they change.*lora.safetensors.json"),
        ({"family": "sam", "base": "gone.pth"}, "checkpoint.base", "changes 'gone.pth', which is not here"),
        ({"family": "sam", "base": "lora.safetensors"}, "checkpoint.base", "low-rank factors too"),
        ({"family": "sam", "base": "../base.pth"}, "model.file_name", "plain file name"),
        (
            {"family": "sam", "base": "other.pth"},
            "checkpoint.mismatch",
            "4 pairs .* and 1 tensors that other.pth lacks",
        ),
        ({"base": "base.pth"}, "checkpoint.ambiguous", "may be one of sam, medsam"),
    ],
)
def test_factors_alone_with_a_base_that_does_not_do(tmp_path, sidecar, code, words):
    save_stock_sam(tmp_path / "base.pth")
    torch.save({"x": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=words) as caught:
        load_model(factors_alone(tmp_path, tuned("Sam_LoRA"), **sidecar), "cpu")
    assert caught.value.code == code
