from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from segment_anything import SamPredictor, sam_model_registry
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.errors import DeviceError, ModelError, PromptError
from SegmentAnythingMedLib.models.catalog import load_model
from SegmentAnythingMedLib.models.frame import OUTSIDE_LOGIT, Region
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.preparation import to_uint8
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.models.sam_network import build_sam, sam_shape
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from skimage.transform import resize
from tiny_sam import save_stock_sam, stock_sam

INFO = ModelInfo("tiny", "sam", "vit_64", "0" * 64, "test", "Apache-2.0")
SQUARE = (0.7, 0.7)


@pytest.fixture(scope="module")
def stock():
    return stock_sam()


@pytest.fixture(scope="module")
def model(tmp_path_factory, stock):
    return load_model(save_stock_sam(tmp_path_factory.mktemp("sam") / "tiny.pth", stock), "cpu", family="sam")


@pytest.fixture
def own_model(stock):
    """A model whose network a test may spoil."""
    network = build_sam(sam_shape(stock.state_dict(), "tiny"))
    network.load_state_dict(stock.state_dict())
    return SamModel(network, INFO)


def picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """uint8 noise with a bright disc."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    disc = (rows - shape[0] / 2) ** 2 + (cols - shape[1] / 3) ** 2 < (min(shape[:2]) / 4) ** 2
    image = rng.integers(0, 120, shape) + 100 * disc.reshape(*disc.shape, *([1] * (len(shape) - 2)))
    return image.astype(np.uint8)


def as_rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def encode(model: SamModel, image: np.ndarray, spacing=SQUARE, region=None):
    frame = model.frame(image.shape[:2], spacing, region)
    return model.encode([frame.crop(image).astype(np.float32) / 255], [frame])[0]


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal within 1e-4 of the range."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max()) <= 1e-4 * float(np.ptp(theirs))


POINTS = {"points": np.array([[12.0, 30.5], [20.0, 8.0]]), "labels": np.array([1, 0])}
BOX = {"box": (5.0, 6.5, 30.0, 31.0)}


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (128, 128), (37, 200), (300, 260), (60, 100, 3)])
@pytest.mark.parametrize("prompts", [POINTS, BOX, {**POINTS, **BOX}], ids=["points", "box", "both"])
@pytest.mark.parametrize("multimask", [False, True])
def test_equals_the_official_predictor(model, stock, shape, prompts, multimask):
    image = picture(shape)
    predictor = SamPredictor(stock)
    predictor.set_image(as_rgb(image))
    theirs, quality, low_res = predictor.predict(
        prompts.get("points"),
        prompts.get("labels"),
        np.array(prompts["box"]) if "box" in prompts else None,
        multimask_output=multimask,
        return_logits=True,
    )
    ours = model.decode(encode(model, image), SlicePrompts(**prompts), multimask_output=multimask)
    assert ours.logits.dtype == np.float32
    assert close(ours.logits, theirs)
    assert close(ours.low_res_logits, low_res)
    np.testing.assert_allclose(ours.predicted_iou, np.clip(quality, 0, 1), atol=1e-5)


def test_equals_the_official_predictor_with_a_mask_prompt(model, stock):
    image = picture((60, 100))
    predictor = SamPredictor(stock)
    predictor.set_image(image=as_rgb(image))
    _, _, first = predictor.predict(box=np.array(BOX["box"]), multimask_output=False)
    theirs, _, _ = predictor.predict(
        box=np.array(BOX["box"]), mask_input=first, multimask_output=False, return_logits=True
    )
    features = encode(model, image)
    ours = model.decode(features, SlicePrompts(**BOX), mask_input=first[0])
    without = model.decode(features, SlicePrompts(**BOX))
    assert close(ours.logits, theirs)
    assert not close(without.logits, theirs), "the mask prompt must matter for this test to say anything"


def test_equals_the_official_predictor_at_1024_pixels():
    stock, image = stock_sam(1024), picture((512, 400))
    predictor = SamPredictor(stock)
    predictor.set_image(as_rgb(image))
    theirs, _, _ = predictor.predict(box=np.array([100.0, 90, 300, 310]), multimask_output=False, return_logits=True)
    network = build_sam(sam_shape(stock.state_dict(), "tiny"))
    network.load_state_dict(stock.state_dict())
    model = SamModel(network, INFO)
    ours = model.decode(encode(model, image), SlicePrompts(box=(100.0, 90, 300, 310)))
    assert close(ours.logits, theirs)


def test_a_region_equals_the_cut_out_picture(model, stock):
    image, region = picture((90, 120)), Region(10, 40, 70, 115)
    predictor = SamPredictor(stock)
    predictor.set_image(as_rgb(image[10:70, 40:115]))
    theirs, _, _ = predictor.predict(
        np.array([[20.0, 25.0]]), np.array([1]), multimask_output=False, return_logits=True
    )
    prompts = SlicePrompts(points=np.array([[60.0, 35.0]]), labels=np.array([1]))
    ours = model.decode(encode(model, image, region=region), prompts).logits
    assert ours.shape == (1, 90, 120)
    assert close(ours[:, 10:70, 40:115], theirs)
    outside = np.ones((90, 120), dtype=bool)
    outside[10:70, 40:115] = False
    assert (ours[0][outside] == OUTSIDE_LOGIT).all()


def test_a_session_shows_a_tiny_object_in_a_cut_out(model, stock):
    """The session cuts before it maps intensities; the model must not cut again."""
    voxels = np.stack([picture((400, 300), seed) for seed in range(2)])
    volume = Volume(voxels, Affine.from_parts((1.0, 1.0, 4.0)), modality="US")
    with Session(volume, model, window="range") as session:
        result = session.predict(1, SlicePrompts(box=(100.0, 200.0, 106.0, 205.0)))
        mapped = to_uint8(session.mapping.apply(voxels[1]))
        cut = session.orientation.show(mapped)
        region = result.region
        assert region is not None
        cut = cut[region.row0 : region.row1, region.col0 : region.col1]
        features = session.features(1, region).tensors["image_embedding"]
    predictor = SamPredictor(stock)
    predictor.set_image(as_rgb(cut))
    theirs = predictor.get_image_embedding()[0].numpy()
    assert float(np.abs(np.asarray(features, dtype=np.float32) - theirs).max()) <= 5e-3 * float(np.ptp(theirs))


def test_anisotropic_pixels_become_square(model, stock):
    image = picture((40, 120))
    features = encode(model, image, spacing=(3.0, 1.0))
    assert features.frame.content == (128, 128), "40 rows of 3 mm are as long as 120 columns of 1 mm"
    tall = np.array(Image.fromarray(image).resize((128, 128), Image.Resampling.BILINEAR))
    predictor = SamPredictor(stock)
    predictor.set_image(as_rgb(tall))
    point = np.array([[40 * 128 / 120, 20 * 128 / 40]])
    _, _, low_res = predictor.predict(point, np.array([1]), multimask_output=False)
    ours = model.decode(features, SlicePrompts(points=np.array([[40.0, 20.0]]), labels=np.array([1])))
    assert close(ours.low_res_logits, low_res)
    assert ours.logits.shape == (1, 40, 120)


def test_medsam_prepares_and_scales_its_own_way(stock, tmp_path):
    model = load_model(save_stock_sam(tmp_path / "medsam_vit_b.pth", stock), "cpu")
    assert (model.info.family, model.preprocessing) == ("medsam", "medsam")
    image, box = picture((60, 100)), np.array([10.0, 5.0, 80.0, 50.0])
    square = resize(as_rgb(image), (128, 128), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    square = (square - square.min()) / (square.max() - square.min())
    with torch.no_grad():
        embedding = stock.image_encoder(torch.tensor(square).float().permute(2, 0, 1)[None])
        scaled = torch.tensor(box / [100, 60, 100, 60] * 128).float()[None]
        sparse, dense = stock.prompt_encoder(points=None, boxes=scaled, masks=None)
        low_res, _ = stock.mask_decoder(embedding, stock.prompt_encoder.get_dense_pe(), sparse, dense, False)
        theirs = F.interpolate(torch.sigmoid(low_res), (60, 100), mode="bilinear")[0].numpy()
    ours = model.decode(encode(model, image), SlicePrompts(box=tuple(box)))
    np.testing.assert_allclose(1 / (1 + np.exp(-ours.logits)), theirs, atol=2e-5)
    assert 0 < ((theirs > 0.5) == (ours.logits > 0)).mean() <= 1
    assert ((theirs > 0.5) == (ours.logits > 0)).mean() > 0.999


def test_medsam_takes_points_and_a_last_mask_in_its_own_frame(stock, tmp_path):
    """Beyond the published box: a click scaled by each side, and the logits of an answer as they are."""
    model = load_model(save_stock_sam(tmp_path / "medsam_vit_b.pth", stock), "cpu")
    image = picture((60, 100))
    features = encode(model, image)
    first = model.decode(features, SlicePrompts(box=(10.0, 5.0, 80.0, 50.0))).low_res_logits
    ours = model.decode(features, SlicePrompts(**POINTS), mask_input=first[0])
    without = model.decode(features, SlicePrompts(**POINTS))
    scaled = torch.tensor(POINTS["points"] / [100, 60] * 128).float()[None]
    with torch.no_grad():
        sparse, dense = stock.prompt_encoder(
            points=(scaled, torch.tensor(POINTS["labels"])[None]), boxes=None, masks=torch.tensor(first)[None]
        )
        embedding = torch.as_tensor(features.tensors["image_embedding"])[None]
        theirs, _ = stock.mask_decoder(embedding, stock.prompt_encoder.get_dense_pe(), sparse, dense, False)
    assert close(ours.low_res_logits, theirs[0].numpy())
    assert not close(without.low_res_logits, theirs[0].numpy()), "the mask prompt must matter"


def test_preprocessing_matters(stock, tmp_path):
    path = save_stock_sam(tmp_path / "tiny.pth", stock)
    as_sam, as_medsam = (load_model(path, "cpu", family=family) for family in ("sam", "medsam"))
    image = picture((60, 100))
    masks = [m.decode(encode(m, image), SlicePrompts(**BOX)).low_res_logits for m in (as_sam, as_medsam)]
    assert not close(*masks)


@pytest.mark.parametrize("region", [None, Region(-5, -5, 60, 60)])
def test_constant_and_nan_images_are_finite(model, region):
    for image in (np.zeros((50, 50), np.float32), np.full((50, 50), np.nan, np.float32)):
        frame = model.frame((50, 50), SQUARE, region)
        kept = image.copy()
        features = model.encode([frame.crop(image)], [frame])[0]
        np.testing.assert_array_equal(image, kept)
        assert np.isfinite(model.decode(features, SlicePrompts(**BOX)).logits).all()


@pytest.mark.parametrize(("shape", "spacing"), [((1, 1), (1, 1)), ((1, 200), (5, 0.5)), ((13, 7), (0.01, 10))])
def test_odd_slices_come_back_in_their_shape(model, shape, spacing):
    features = encode(model, picture(shape), spacing=spacing)
    prompts = SlicePrompts(points=np.zeros((1, 2)), labels=np.ones(1, dtype=int))
    assert model.decode(features, prompts).logits.shape == (1, *shape)


def test_many_slices_equal_single_slices(model):
    images = [picture((60, 100), seed).astype(np.float32) / 255 for seed in range(3)]
    frames = [model.frame((60, 100), SQUARE)] * 3
    together = model.encode(images, frames)
    for image, frame, features in zip(images, frames, together, strict=True):
        alone = model.encode([image], [frame])[0].tensors["image_embedding"]
        assert torch.equal(alone, features.tensors["image_embedding"])
    assert model.encode([], []) == []


def test_decodes_features_out_of_the_cache(model):
    fresh = encode(model, picture((60, 100)))
    kept = FeatureCache().put("0" * 64, fresh)
    assert kept.nbytes * 2 == fresh.nbytes
    exact, rounded = (model.decode(f, SlicePrompts(**BOX)).logits for f in (fresh, kept))
    assert float(np.abs(exact - rounded).max()) <= 5e-3 * float(np.ptp(exact))
    assert ((exact > 0) == (rounded > 0)).mean() > 0.999


@pytest.mark.parametrize("prompts", [SlicePrompts(), SlicePrompts(mask=np.zeros((60, 100), dtype=bool))])
def test_nothing_to_prompt_with_is_refused(model, prompts):
    with pytest.raises(PromptError, match="at least one point, a box or a mask") as caught:
        model.decode(encode(model, picture((60, 100))), prompts)
    assert caught.value.code == "prompt.empty"


def test_a_drawn_mask_prompts(model):
    features, mask = encode(model, picture((60, 100))), np.zeros((60, 100), dtype=bool)
    mask[10:40, 20:70] = True
    drawn = model.decode(features, SlicePrompts(mask=mask))
    given = model.decode(features, SlicePrompts(), mask_input=features.frame.mask_logits(mask, model.low_res_size))
    np.testing.assert_array_equal(drawn.logits, given.logits)


def test_a_mask_too_small_for_the_network_becomes_a_box(model):
    features, mask = encode(model, picture((600, 1000))), np.zeros((600, 1000), dtype=bool)
    mask[300, 400:403] = True
    assert features.frame.mask_logits(mask, model.low_res_size) is None
    drawn = model.decode(features, SlicePrompts(mask=mask))
    boxed = model.decode(features, SlicePrompts(box=(399.5, 299.5, 402.5, 300.5)))
    np.testing.assert_array_equal(drawn.logits, boxed.logits)


def test_mask_input_of_another_size_is_refused(model):
    with pytest.raises(PromptError, match=r"shape \(32, 32\); got \(256, 256\)") as caught:
        model.decode(encode(model, picture((60, 100))), SlicePrompts(**BOX), mask_input=np.zeros((256, 256)))
    assert caught.value.code == "prompt.mask_input"


def test_overflow_in_half_precision_is_repeated_in_float32(own_model):
    calls = []

    def overflow(module, inputs, output):
        calls.append(torch.is_autocast_enabled("cpu"))
        return output * float("nan") if calls[-1] else output

    own_model._dtype = torch.bfloat16
    own_model._network.image_encoder.register_forward_hook(overflow)
    features = encode(own_model, picture((60, 100)))
    assert calls == [True, False]
    assert bool(torch.isfinite(features.tensors["image_embedding"]).all())


@pytest.mark.parametrize("part", ["image_encoder", "mask_decoder.output_hypernetworks_mlps.0"])
def test_nan_in_float32_is_an_error(own_model, part):
    own_model._network.get_submodule(part).register_forward_hook(lambda module, inputs, output: output * float("nan"))
    named = part.partition(".")[0].replace("_", " ")
    with pytest.raises(ModelError, match=f"{named} of tiny returned NaN") as caught:
        own_model.decode(encode(own_model, picture((60, 100))), SlicePrompts(**BOX))
    assert caught.value.code == "model.nan"


def test_a_batch_that_does_not_fit_is_split(own_model, monkeypatch):
    room = 1

    def full(module, inputs, output):
        if len(inputs[0]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    own_model._network.image_encoder.register_forward_hook(full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**34))
    inputs = torch.zeros(3, 3, 128, 128)
    assert len(own_model._embed(inputs)) == 3
    room = 0
    with pytest.raises(DeviceError, match=r"1\.0 of 16\.0 GiB.*--device cpu") as caught:
        own_model._embed(inputs)
    assert caught.value.code == "device.memory"


@pytest.mark.parametrize(
    ("variant", "parameters", "heads"), [("vit_b", 93735728, 12), ("vit_l", 312343088, 16), ("vit_h", 641090864, 16)]
)
def test_reads_the_sizes_of_the_published_variants(variant, parameters, heads):
    with torch.device("meta"):
        official = sam_model_registry[variant]()
        shape = sam_shape(official.state_dict(), variant)
        ours = build_sam(shape)
    assert shape.image_size == 1024
    assert shape.heads == heads
    expected = {name: tensor.shape for name, tensor in official.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == expected
    windows = [block.window_size for block in ours.image_encoder.blocks]
    assert windows == [block.window_size for block in official.image_encoder.blocks]
    assert sum(tensor.numel() for tensor in ours.state_dict().values()) == parameters
