"""MedicoSAM: SAM's network and preparation; its training files carry a semantic decoder, which is kept."""

from __future__ import annotations

import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from SegmentAnythingMedLib.models.catalog import load_model
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from tiny_sam import stock_sam
from tiny_sam2 import picture

DECODER = {
    "deconv1.block.0.conv.weight": torch.arange(8.0).reshape(2, 4, 1, 1),
    "base.block.1.weight": torch.ones(2, 2, 3, 3),
    "out_conv.weight": torch.full((2, 2, 1, 1), 0.5),
}


def training_file(network, **more) -> dict:
    """What the published trainer saves, on several GPUs."""
    return {
        "model_state": {f"module.sam.{name}": tensor for name, tensor in network.state_dict().items()},
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-5}]},
        "epoch": 11,
        "iteration": 300000,
        "best_metric": 0.1,
        **more,
    }


@pytest.mark.parametrize("with_decoder", [True, False])
def test_training_files_open_and_keep_their_decoder(tmp_path, with_decoder):
    network, image = stock_sam(), picture((60, 100))
    path = tmp_path / "vit_b_medicosam.pt"
    torch.save(training_file(network, **({"decoder_state": DECODER} if with_decoder else {})), path)
    model = load_model(path, "cpu")
    assert (model.info.family, model.preprocessing) == ("medicosam", "sam")
    assert "taken for MedicoSAM by its file name" in model.notes[0]
    assert model.semantic_decoder.keys() == (DECODER.keys() if with_decoder else set())
    assert all(torch.equal(DECODER[name], tensor) for name, tensor in model.semantic_decoder.items())
    predictor = SamPredictor(network)
    predictor.set_image(np.repeat(image[..., None], 3, axis=2))
    box = (5.0, 6.5, 30.0, 31.0)
    theirs, _, _ = predictor.predict(box=np.array(box), multimask_output=False, return_logits=True)
    frame = model.frame((60, 100), (1.0, 1.0))
    features = model.encode([image.astype(np.float32) / 255], [frame])[0]
    ours = model.decode(features, SlicePrompts(box=box)).logits
    assert float(np.abs(ours - theirs).max()) <= 1e-4 * float(np.ptp(theirs))
    points, labels = np.array([[12.0, 30.5], [20.0, 8.0]]), np.array([1, 0])
    theirs, quality, low_res = predictor.predict(points, labels, return_logits=True)
    best = int(np.argmax(quality))
    corrected, _, _ = predictor.predict(
        points, labels, mask_input=low_res[best][None], multimask_output=False, return_logits=True
    )
    clicks = SlicePrompts(points, labels)
    ours = model.decode(features, clicks, multimask_output=True).logits
    assert float(np.abs(ours - theirs).max()) <= 1e-4 * float(np.ptp(theirs))
    ours = model.decode(features, clicks, mask_input=low_res[best]).logits
    assert float(np.abs(ours - corrected).max()) <= 1e-4 * float(np.ptp(corrected))


def test_data_sets_in_a_training_file_are_read_as_nothing(tmp_path, monkeypatch):
    """The trainer of torch_em saves its data sets and functions; neither the package nor its objects are needed."""
    module = types.ModuleType("torch_em.data")

    class Dataset:
        def __init__(self, files, transform):
            self.files, self.transform = files, transform

    def to_rgb(image):
        return image

    for thing in (Dataset, to_rgb):
        thing.__module__, thing.__qualname__ = "torch_em.data", thing.__name__
        setattr(module, thing.__name__, thing)
    monkeypatch.setitem(sys.modules, "torch_em", types.ModuleType("torch_em"))
    monkeypatch.setitem(sys.modules, "torch_em.data", module)
    data = Dataset([Path("a.tif")], partial(to_rgb, 3))
    init = {"train_dataset": data, "train_loader_kwargs": {"batch_size": 7}, "rois": np.s_[:3], "seen": np.arange(4)}
    path = tmp_path / "best.pt"
    torch.save(training_file(stock_sam(), init=init, best_metric=np.float32(0.1), decoder_state=DECODER), path)
    monkeypatch.delitem(sys.modules, "torch_em.data")
    monkeypatch.delitem(sys.modules, "torch_em")
    model = load_model(path, "cpu", family="medicosam")
    assert model.semantic_decoder.keys() == DECODER.keys()
    assert "torch_em" not in sys.modules


def test_the_exported_file_is_flat(tmp_path):
    torch.save(stock_sam().state_dict(), tmp_path / "vit_b_medicosam.pt")
    model = load_model(tmp_path / "vit_b_medicosam.pt", "cpu")
    assert (model.info.family, model.semantic_decoder) == ("medicosam", {})
