from __future__ import annotations

import json
from pathlib import Path

import known_weights
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.models.catalog import load_model
from SegmentAnythingMedLib.models.tiny_vit import TinyShape, TinyViT, build_tiny_vit, tiny_shape
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from tiny_sam2 import picture

PUBLISHED = {
    "mobile-sam": TinyShape(1024, 2, (64, 128, 160, 320), (2, 2, 6, 2), (7, 14, 7), classes=1000),
    "lite-medsam": TinyShape(256, 1, (64, 128, 160, 320), (2, 2, 6, 2), (7, 14, 7)),
}
REDUCED = {
    "mobile-sam": TinyShape(128, 2, (32, 64, 64, 96), (1, 1, 2, 1), (7, 5, 7), classes=10),
    "lite-medsam": TinyShape(64, 1, (32, 64, 64, 96), (1, 1, 2, 1), (7, 5, 7)),
}
POINTS = {"points": np.array([[12.0, 30.5], [20.0, 8.0]]), "labels": np.array([1, 0])}
BOX = {"box": (5.0, 6.5, 30.0, 31.0)}


def network_of(family: str, shapes=REDUCED):
    """Random weights everywhere, running means and variances included."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_tiny_vit(shapes[family])
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                if tensor.is_floating_point():
                    tensor.add_(
                        torch.rand(tensor.shape) * 0.05 if "running_var" in name else torch.randn(tensor.shape) * 0.05
                    )
    return network


def opened(folder: Path, network, family: str, size: int | None = None):
    path = folder / "weights.pt"
    torch.save(network.state_dict(), path)
    if size is not None:
        Path(f"{path}.json").write_text(json.dumps({"family": family, "image_size": str(size)}))
    return load_model(path, "cpu")


def encode(model, image: np.ndarray):
    frame = model.frame(image.shape[:2], (1.0, 1.0))
    return model.encode([image.astype(np.float32) / 255], [frame])[0]


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal within 1e-4 of the range."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max()) <= 1e-4 * float(np.ptp(theirs))


@pytest.mark.parametrize("family", PUBLISHED)
def test_the_encoder_returns_what_the_published_one_returns(family):
    """At its real size; numbers from the public repository's module with the same weights."""
    known = known_weights.OUTPUTS[family]
    encoder = TinyViT(PUBLISHED[family])
    assert len(encoder.state_dict()) == known["tensors"]
    known_weights.fill(encoder)
    with torch.no_grad():
        output = encoder.eval()(known_weights.image(encoder.img_size))
    assert list(output.shape) == known["shape"]
    np.testing.assert_allclose(known_weights.probe(output), known["probe"], atol=1e-4 * known["range"])


@pytest.mark.parametrize("family", PUBLISHED)
def test_sizes_are_told_by_the_tensors(family):
    for shape in (PUBLISHED[family], REDUCED[family]):
        tensors = build_tiny_vit(shape).state_dict()
        assert tiny_shape(tensors, shape.image_size, "weights.pt") == shape


def test_the_published_files_are_recognised_and_open_at_their_sizes(tmp_path):
    for family, size in (("mobile-sam", 1024), ("lite-medsam", 256)):
        model = opened(tmp_path, network_of(family, PUBLISHED), family)
        assert (model.info.family, model.info.variant, model.notes) == (family, "vit_t", ())
        assert (model.image_size, model.low_res_size) == (size, 256)


@pytest.mark.parametrize("shape", [(60, 100), (128, 128), (300, 260), (60, 100, 3)])
@pytest.mark.parametrize("prompts", [POINTS, BOX, {**POINTS, **BOX}], ids=["points", "box", "both"])
def test_mobile_sam_equals_the_official_predictor(tmp_path, shape, prompts):
    network, image = network_of("mobile-sam"), picture(shape)
    predictor = SamPredictor(network)
    predictor.set_image(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)
    theirs, _, low_res = predictor.predict(
        prompts.get("points"),
        prompts.get("labels"),
        np.array(prompts["box"]) if "box" in prompts else None,
        multimask_output=True,
        return_logits=True,
    )
    again, _, _ = predictor.predict(POINTS["points"], POINTS["labels"], mask_input=low_res[:1], return_logits=True)
    model = opened(tmp_path, network, "mobile-sam", 128)
    features = encode(model, image)
    ours = model.decode(features, SlicePrompts(**prompts), multimask_output=True)
    assert close(ours.logits, theirs)
    assert close(ours.low_res_logits, low_res)
    corrected = model.decode(features, SlicePrompts(**POINTS), mask_input=ours.low_res_logits[0], multimask_output=True)
    assert close(corrected.logits, again)


def lite_medsam(
    network, image: np.ndarray, box: tuple[float, ...], mask_input: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The published steps for a picture whose sides are halved: (probabilities of the slice, low-res logits)."""
    height, width = image.shape
    halves = image.reshape(height // 2, 2, width // 2, 2).astype(np.float64).mean(axis=(1, 3))
    halves = np.floor(halves + 0.5)
    unit = (halves - halves.min()) / max(halves.max() - halves.min(), 1e-8)
    size = max(unit.shape)
    padded = np.pad(unit, ((0, size - unit.shape[0]), (0, size - unit.shape[1])))
    corners = torch.tensor([int(value * size / max(height, width)) for value in box]).float()[None]
    with torch.no_grad():
        embedding = network.image_encoder(torch.tensor(padded).float().expand(1, 3, -1, -1))
        masks = None if mask_input is None else torch.from_numpy(mask_input)[None]
        sparse, dense = network.prompt_encoder(points=None, boxes=corners, masks=masks)
        low_res, _ = network.mask_decoder(embedding, network.prompt_encoder.get_dense_pe(), sparse, dense, False)
        cut = low_res[..., : unit.shape[0], : unit.shape[1]]
        logits = F.interpolate(cut, (height, width), mode="bilinear", align_corners=False)
    return torch.sigmoid(logits)[0].numpy(), low_res[0].numpy()


@pytest.mark.parametrize("shape", [(128, 128), (128, 90), (52, 128)])
def test_lite_medsam_prepares_and_scales_its_own_way(tmp_path, shape):
    network, image = network_of("lite-medsam"), picture(shape)
    box = (5.0, 6.5, 41.0, 31.0)
    theirs, low_res = lite_medsam(network, image, box)
    model = opened(tmp_path, network, "lite-medsam", 64)
    assert (model.image_size, model.low_res_size) == (64, 64)
    features = encode(model, image)
    ours = model.decode(features, SlicePrompts(box=box))
    assert close(ours.low_res_logits, low_res)
    assert close(1 / (1 + np.exp(-ours.logits)), theirs)
    again, _ = lite_medsam(network, image, box, low_res)
    corrected = model.decode(features, SlicePrompts(box=box), mask_input=low_res[0])
    assert close(1 / (1 + np.exp(-corrected.logits)), again)
    assert not close(again, theirs), "the mask prompt must matter"
    shifted = model.decode(features, SlicePrompts(box=(5.6, 6.0, 41.9, 31.9)))
    assert close(shifted.logits, ours.logits), "corners are cut to whole pixels of the input"


def test_an_incomplete_file_is_told(tmp_path):
    tensors = network_of("mobile-sam").state_dict()
    torch.save({name: value for name, value in tensors.items() if ".layers.2." not in name}, tmp_path / "part.pt")
    with pytest.raises(ModelError, match="lacks tensors of TinyViT's four stages") as caught:
        load_model(tmp_path / "part.pt", "cpu")
    assert caught.value.code == "checkpoint.mismatch"
    del tensors["image_encoder.neck.0.weight"]
    torch.save(tensors, tmp_path / "part.pt")
    with pytest.raises(ModelError, match=r"1 missing \(image_encoder.neck.0.weight\)"):
        load_model(tmp_path / "part.pt", "cpu")
