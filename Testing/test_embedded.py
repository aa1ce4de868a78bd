"""The built-in network: shapes, prompts, weights on disk, and what it must be able to do."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib.errors import ModelError, PromptError
from SegmentAnythingMedLib.models import embedded
from SegmentAnythingMedLib.models.embedded import LEAN, EmbeddedModel, enclosing_square, lean_on_shape, load_embedded
from SegmentAnythingMedLib.models.frame import Region
from SegmentAnythingMedLib.models.hybrid import BOX_FIRST, HybridConfig, HybridSam, ellipse_prior
from SegmentAnythingMedLib.models.interface import ModelInfo, SliceFeatures
from SegmentAnythingMedLib.prompts.types import SlicePrompts


@pytest.fixture(scope="module")
def model() -> EmbeddedModel:
    return load_embedded()


@pytest.fixture(scope="module")
def random_model() -> EmbeddedModel:
    torch.manual_seed(0)
    return EmbeddedModel(HybridSam(HybridConfig()), ModelInfo("random", "embedded", "test", "0" * 64, "test", "none"))


def _disc(shape=(160, 160), centre=(80, 70), radius=24, contrast=0.4):
    rows, cols = np.indices(shape)
    mask = np.hypot(rows - centre[0], cols - centre[1]) < radius
    noise = np.random.default_rng(0).normal(0, 0.02, shape)
    return (0.3 + contrast * mask + noise).clip(0, 1).astype(np.float32), mask


def _features(model, image, region=None, spacing=(1.0, 1.0)) -> SliceFeatures:
    frame = model.frame(image.shape[:2], spacing, region)
    return model.encode([frame.crop(image)], [frame])[0]


def test_shapes_of_features_and_prediction(random_model):
    image, _ = _disc()
    features = _features(random_model, image)
    assert tuple(features.tensors["embedding"].shape) == (1, 128, 16, 16)
    one = random_model.decode(features, SlicePrompts(box=(40, 50, 100, 110)))
    three = random_model.decode(features, SlicePrompts(box=(40, 50, 100, 110)), multimask_output=True)
    assert one.logits.shape == (1, 160, 160)
    assert three.logits.shape == (3, 160, 160)
    assert three.low_res_logits.shape == (3, 64, 64)
    assert np.all((three.predicted_iou >= 0) & (three.predicted_iou <= 1))


def test_a_batch_is_the_same_as_one_by_one(random_model):
    images = [_disc(radius=r)[0] for r in (10, 20, 30)]
    frames = [random_model.frame(i.shape, (1.0, 1.0)) for i in images]
    together = random_model.encode(images, frames)
    for image, frame, features in zip(images, frames, together, strict=True):
        alone = random_model.encode([image], [frame])[0]
        assert torch.allclose(alone.tensors["embedding"], features.tensors["embedding"], atol=1e-4)


def test_colour_is_seen_as_luminance(random_model):
    image, _ = _disc()
    frame = random_model.frame(image.shape, (1.0, 1.0))
    grey = random_model.encode([image], [frame])[0].tensors["embedding"]
    colour = random_model.encode([np.repeat(image[..., None], 3, axis=2)], [frame])[0].tensors["embedding"]
    assert torch.allclose(grey, colour, atol=1e-3)


def test_nothing_to_decode_is_refused(random_model):
    features = _features(random_model, _disc()[0])
    with pytest.raises(PromptError) as caught:
        random_model.decode(features, SlicePrompts())
    assert caught.value.code == "prompt.empty"
    speck = np.zeros((160, 160), dtype=bool)
    speck[0, 0] = True
    with pytest.raises(PromptError):
        random_model.decode(features, SlicePrompts(mask=speck))


def test_numbers_that_are_not_finite_are_an_error(random_model):
    features = _features(random_model, _disc()[0])
    broken = {name: torch.full_like(value, torch.nan) for name, value in features.tensors.items()}
    with pytest.raises(ModelError) as caught:
        random_model.decode(SliceFeatures(broken, features.frame), SlicePrompts(box=(40, 50, 100, 110)))
    assert caught.value.code == "model.nan"


@pytest.mark.parametrize(
    ("shape", "spacing"), [((100, 50), (1.0, 1.0)), ((20, 100), (5.0, 1.0)), ((64, 64), (2.0, 0.5))]
)
def test_enclosing_square_is_square_in_mm_and_holds_the_slice(shape, spacing):
    region = enclosing_square(shape, spacing)
    assert region.row0 <= 0
    assert region.col0 <= 0
    assert region.row1 >= shape[0]
    assert region.col1 >= shape[1]
    assert abs(region.height * spacing[0] - region.width * spacing[1]) <= max(spacing)


def test_ellipse_prior_is_zero_on_the_ellipse():
    prior = ellipse_prior(torch.tensor([[27.5, 43.5, 99.5, 83.5]]), 64, 128)[0, 0]
    assert prior.shape == (64, 64)
    inside = prior > 0
    rows, cols = np.nonzero(inside.numpy())
    assert abs(2 * cols.min() - 27.5) <= 2.5
    assert abs(2 * cols.max() + 1 - 99.5) <= 2.5
    assert abs(2 * rows.min() - 43.5) <= 2.5
    assert abs(float(inside.sum()) * 4 / (np.pi * 36 * 20) - 1) < 0.05


def test_weights_round_trip_and_refusals(tmp_path, random_model):
    from safetensors.torch import save_file

    path = tmp_path / "own.safetensors"
    tensors = {
        k: v.contiguous() for k, v in random_model.network.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    save_file(tensors, path, metadata={"config": json.dumps(HybridConfig().as_dict())})
    loaded = load_embedded(path=path)
    assert loaded.info.name == "own"
    assert len(loaded.info.sha256) == 64
    image, _ = _disc()
    prompts = SlicePrompts(box=(40, 50, 100, 110))
    first = random_model.decode(_features(random_model, image), prompts).low_res_logits
    assert np.allclose(first, loaded.decode(_features(loaded, image), prompts).low_res_logits, atol=1e-5)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError) as caught:
        load_embedded(path=tmp_path / "other.safetensors")
    assert caught.value.code == "checkpoint.mismatch"
    del tensors["mask_decoder.refine.bias"]
    save_file(tensors, tmp_path / "part.safetensors", metadata={"config": json.dumps(HybridConfig().as_dict())})
    with pytest.raises(ModelError, match=r"refine\.bias"):
        load_embedded(path=tmp_path / "part.safetensors")
    with pytest.raises(ModelError) as caught:
        load_embedded(path=tmp_path / "nowhere.safetensors")
    assert caught.value.code == "checkpoint.missing"


def test_shipped_weights_are_small_and_segment_a_disc_from_a_box_a_mask_and_a_point(model):
    assert embedded.WEIGHTS.stat().st_size < 20e6
    image, mask = _disc()
    features = _features(model, image, Region(30, 20, 130, 120))
    grown = np.zeros_like(mask)
    grown[52:110, 42:100] = True
    asked = [
        (SlicePrompts(box=(44.0, 54.0, 96.0, 106.0)), 0.9),
        (SlicePrompts(box=(43.0, 53.0, 97.0, 107.0), mask=grown), 0.85),
        (SlicePrompts(np.array([[70.0, 80.0]]), np.array([1])), 0.75),
    ]
    for prompts, least in asked:
        best = model.decode(features, prompts, multimask_output=len(prompts.points) == 1)
        answer = best.logits[int(np.argmax(best.predicted_iou))] > 0
        assert 2 * (answer & mask).sum() / (answer.sum() + mask.sum()) > least


def test_box_tokens_carry_both_corners(model):
    frame = model.frame((160, 160), (1.0, 1.0))
    coords, labels = embedded.prompt_tokens(SlicePrompts(box=(-0.5, -0.5, 159.5, 159.5)), frame)
    assert labels.tolist() == [[BOX_FIRST, BOX_FIRST + 1]]
    assert np.allclose(coords, [[[-0.5, -0.5], [127.5, 127.5]]])


def test_round_answers_lean_on_the_ellipse_and_others_do_not():
    prior = ellipse_prior(torch.tensor([[20.0, 20.0, 100.0, 100.0]]), 64, 128)[0]
    round_ish = torch.where(prior > 0.3, 1.0, -1.0)
    round_ish[:, 28:34, 28:34] = -1.0  # a hole that the shape fills
    bar = torch.full_like(prior, -1.0)
    bar[:, 30:34, 12:50] = 1.0
    leaned = lean_on_shape(torch.cat([round_ish, bar]), prior)
    assert torch.all(leaned[0, 28:34, 28:34] > 0)
    assert torch.allclose(leaned[0], round_ish[0] + LEAN * prior[0])
    assert torch.equal(leaned[1], bar[0])
