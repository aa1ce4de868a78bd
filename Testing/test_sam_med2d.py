from __future__ import annotations

from functools import partial

import known_weights
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.models.catalog import load_model
from SegmentAnythingMedLib.models.sam_med2d import AdaptedBlock, Adapter, build_sam_med2d
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from tiny_sam2 import picture

SIZE = 128
POINTS = {"points": np.array([[12.0, 30.5], [20.0, 8.0]]), "labels": np.array([1, 0])}
BOX = {"box": (5.0, 6.5, 30.0, 31.0)}
MEAN, DEVIATION = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


@pytest.fixture(scope="module")
def network() -> Sam:
    """Two blocks of 64 channels with adapters, every weight random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ImageEncoderViT(
            img_size=SIZE, embed_dim=64, depth=2, num_heads=2, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True, window_size=5, global_attn_indexes=(1,),
        )  # fmt: skip
        for index in range(2):
            encoder.blocks[index] = AdaptedBlock(encoder.blocks[index], Adapter(64, 16))
        grid = SIZE // 16
        prompts = PromptEncoder(
            embed_dim=256, image_embedding_size=(grid, grid), input_image_size=(SIZE, SIZE), mask_in_chans=16
        )
        transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        network = Sam(encoder, prompts, MaskDecoder(transformer_dim=256, transformer=transformer))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.05)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model(tmp_path_factory, network):
    """Opened from a file in the published layout: the weights beside the optimiser."""
    path = tmp_path_factory.mktemp("med2d") / "sam-med2d_b.pth"
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.Adam([weight], lr=1e-4)
    weight.sum().backward()
    optimiser.step()
    torch.save({"model": network.state_dict(), "optimizer": optimiser}, path)  # the object, as its trainer does
    return load_model(path, "cpu")


def published(network: Sam, image: np.ndarray, prompts: dict, mask_input=None) -> tuple[np.ndarray, np.ndarray]:
    """The published steps: (logits of the slice, low-resolution logits); ``mask_input`` are logits."""
    height, width = image.shape[:2]
    rgb = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    normalised = torch.from_numpy((rgb - MEAN) / DEVIATION).float().permute(2, 0, 1)[None]
    square = F.interpolate(normalised, (SIZE, SIZE), mode="nearest")
    scale = np.array([SIZE / width, SIZE / height])
    points = box = mask = None
    if "points" in prompts:
        coordinates = torch.tensor(prompts["points"] * scale).float()[None]
        points = coordinates, torch.tensor(prompts["labels"])[None].int()
    if "box" in prompts:
        box = torch.tensor(np.array(prompts["box"]).reshape(2, 2) * scale).float().reshape(1, 4)
    if mask_input is not None:
        mask = torch.sigmoid(torch.tensor(mask_input))[None, None]
    sparse, dense = network.prompt_encoder(points=points, boxes=box, masks=mask)
    low_res, _ = network.mask_decoder(
        network.image_encoder(square), network.prompt_encoder.get_dense_pe(), sparse, dense, False
    )
    whole = F.interpolate(low_res, (SIZE, SIZE), mode="bilinear", align_corners=False)
    return F.interpolate(whole, (height, width), mode="bilinear", align_corners=False)[0].numpy(), low_res[0].numpy()


def encode(model, image: np.ndarray):
    frame = model.frame(image.shape[:2], (1.0, 1.0))
    return model.encode([image.astype(np.float32) / 255], [frame])[0]


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal within 1e-4 of the range."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max()) <= 1e-4 * float(np.ptp(theirs))


def test_the_encoder_returns_what_the_published_one_returns(network):
    """Numbers from the public repository's module with the same weights."""
    known = known_weights.OUTPUTS["sam-med2d"]
    own = build_sam_med2d(network.state_dict(), "weights.pth").image_encoder
    assert len(own.state_dict()) == known["tensors"]
    known_weights.fill(own)
    output = own(known_weights.image(SIZE))
    assert list(output.shape) == known["shape"]
    np.testing.assert_allclose(known_weights.probe(output), known["probe"], atol=1e-4 * known["range"])


def test_it_is_told_by_its_adapters(model):
    assert (model.info.family, model.info.variant, model.notes) == ("sam-med2d", "vit_64", ())
    assert (model.preprocessing, model.image_size, model.low_res_size) == ("sam-med2d", SIZE, 32)


@pytest.mark.parametrize("shape", [(60, 100), (128, 128), (90, 40), (256, 192), (60, 100, 3)])
@pytest.mark.parametrize("prompts", [POINTS, BOX, {**POINTS, **BOX}], ids=["points", "box", "both"])
def test_equals_the_published_steps(model, network, shape, prompts):
    image = picture(shape)
    theirs, low_res = published(network, image, prompts)
    ours = model.decode(encode(model, image), SlicePrompts(**prompts))
    assert close(ours.low_res_logits, low_res)
    assert close(ours.logits, theirs)


def test_mask_prompts_are_probabilities(model, network):
    image = picture((60, 100))
    _, first = published(network, image, BOX)
    first = first[0] * 20
    theirs, _ = published(network, image, POINTS, mask_input=first)
    features = encode(model, image)
    ours = model.decode(features, SlicePrompts(**POINTS), mask_input=first).logits
    assert close(ours, theirs)
    assert not close(model.decode(features, SlicePrompts(**POINTS)).logits, theirs), "the mask prompt must matter"


def test_a_drawn_mask_becomes_probabilities_too(model):
    features, mask = encode(model, picture((60, 100))), np.zeros((60, 100), dtype=bool)
    mask[10:40, 20:70] = True
    seen = []
    hook = model._network.prompt_encoder.mask_downscaling.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    model.decode(features, SlicePrompts(mask=mask))
    hook.remove()
    np.testing.assert_allclose(np.unique(seen[0]), [0.001, 0.999], atol=1e-4)


def test_adapters_of_another_width_are_told_by_a_short_diff(tmp_path, network):
    tensors = dict(network.state_dict())
    tensors["image_encoder.blocks.1.Adapter.channel.0.weight"] = torch.ones(8, 64)
    torch.save({"model": tensors}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match="1 of another shape") as caught:
        load_model(tmp_path / "odd.pth", "cpu")
    assert caught.value.code == "checkpoint.mismatch"
    del tensors["image_encoder.blocks.0.Adapter.channel.0.weight"]
    torch.save({"model": tensors}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match="lacks the adapters of SAM-Med2D"):
        load_model(tmp_path / "odd.pth", "cpu")
