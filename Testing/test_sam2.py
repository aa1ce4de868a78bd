from __future__ import annotations

import builtins
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.errors import ModelError, PromptError
from SegmentAnythingMedLib.models.catalog import load_model
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from tiny_sam2 import official_sam2, picture, require_sam2, save_official

POINTS = {"points": np.array([[12.0, 30.5], [20.0, 8.0]]), "labels": np.array([1, 0])}
BOX = {"box": (5.0, 6.5, 30.0, 31.0)}
SPACING = (0.7, 0.7)
INFO = ModelInfo("random", "sam2", "sam2.1_hiera_tiny", "0" * 64, "test", "Apache-2.0")


@pytest.fixture(scope="module", autouse=True)
def _needs_sam2():
    require_sam2()


@pytest.fixture(scope="module")
def official():
    """Tiny, for 256-pixel images: the same modules as at 1024 pixels, sixteen times as fast."""
    return official_sam2("tiny", "2.1", 256)


@pytest.fixture(scope="module")
def model(tmp_path_factory, official):
    path = save_official(tmp_path_factory.mktemp("sam2") / "mine.pt", official)
    Path(f"{path}.json").write_text(json.dumps({"family": "sam2", "image_size": "256"}))
    return load_model(path, "cpu")


@pytest.fixture
def own_model(official):
    """A model whose network a test may spoil."""
    from SegmentAnythingMedLib.models.sam2 import Sam2Model
    from SegmentAnythingMedLib.models.sam2_network import Sam2Shape, build_sam2

    network = build_sam2(Sam2Shape("tiny", "2.1", 256))
    network.load_state_dict(official.state_dict())
    return Sam2Model(network, INFO)


def predictor_of(network):
    """The official predictor; its feature sizes are those of 1024 pixels unless told otherwise."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(network)
    predictor._bb_feat_sizes = [(network.image_size // stride,) * 2 for stride in (4, 8, 16)]
    return predictor


def as_rgb(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def answer(predictor, prompts: dict, multimask: bool = False, mask_input=None):
    return predictor.predict(
        prompts.get("points"),
        prompts.get("labels"),
        np.array(prompts["box"]) if "box" in prompts else None,
        mask_input=mask_input,
        multimask_output=multimask,
        return_logits=True,
    )


def encode(model, image: np.ndarray):
    frame = model.frame(image.shape[:2], SPACING)
    return model.encode([image.astype(np.float32) / 255], [frame])[0]


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal within 1e-4 of the range."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max()) <= 1e-4 * float(np.ptp(theirs))


@pytest.mark.parametrize("shape", [(60, 100), (256, 256), (37, 200), (300, 260), (60, 100, 3)])
def test_equals_the_official_predictor(model, official, shape):
    image, predictor = picture(shape), predictor_of(official)
    predictor.set_image(as_rgb(image))
    features = encode(model, image)
    for prompts, multimask in itertools.product((POINTS, BOX, {**POINTS, **BOX}), (False, True)):
        theirs, quality, low_res = answer(predictor, prompts, multimask)
        ours = model.decode(features, SlicePrompts(**prompts), multimask_output=multimask)
        assert ours.logits.dtype == np.float32
        assert close(ours.logits, theirs)
        assert close(ours.low_res_logits, low_res)
        np.testing.assert_allclose(ours.predicted_iou, quality, atol=1e-5)


def test_equals_the_official_predictor_with_a_mask_prompt(model, official):
    image, predictor = picture((60, 100)), predictor_of(official)
    predictor.set_image(as_rgb(image))
    _, _, first = answer(predictor, POINTS)
    first = first * 40  # logits of trained weights are larger
    theirs, _, _ = answer(predictor, BOX, mask_input=first)
    alone, _, _ = predictor.predict(mask_input=first, multimask_output=False, return_logits=True)
    features = encode(model, image)
    assert close(model.decode(features, SlicePrompts(**BOX), mask_input=first[0]).logits, theirs)
    assert close(model.decode(features, SlicePrompts(), mask_input=first[0]).logits, alone)
    without = model.decode(features, SlicePrompts(**BOX))
    assert not close(without.logits, theirs), "the mask prompt must matter for this test to say anything"


def test_low_resolution_logits_are_bounded(own_model):
    for net in own_model.network.sam_mask_decoder.output_hypernetworks_mlps:
        net.register_forward_hook(lambda module, inputs, output: output * 1000)
    ours = own_model.decode(encode(own_model, picture((60, 100))), SlicePrompts(**BOX))
    assert np.abs(ours.low_res_logits).max() == 32
    assert np.abs(ours.logits).max() > 32


def test_the_published_tiny_network_at_its_own_size(tmp_path):
    """The whole way of a user: the file as published, a slice that is not square, a box, then a correction."""
    network = official_sam2("tiny", "2.0")
    model = load_model(save_official(tmp_path / "sam2_hiera_tiny.pt", network), "cpu")
    assert (model.info.family, model.info.variant, model.notes) == ("sam2", "sam2_hiera_tiny", ())
    assert (model.image_size, model.low_res_size) == (1024, 256)
    image, predictor = picture((300, 420)), predictor_of(network)
    predictor.set_image(as_rgb(image))
    theirs, _, low_res = answer(predictor, {"box": (100.0, 90, 300, 210)})
    click = {"points": np.array([[120.0, 100.0]]), "labels": np.array([0])}
    corrected, _, _ = answer(predictor, click, mask_input=low_res)
    features = encode(model, image)
    ours = model.decode(features, SlicePrompts(box=(100.0, 90, 300, 210)))
    assert close(ours.logits, theirs)
    assert close(model.decode(features, SlicePrompts(**click), mask_input=ours.low_res_logits[0]).logits, corrected)


@pytest.mark.parametrize("version", ["2.0", "2.1"])
@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("tiny", (38946242, 38962754)),
        ("small", (46044098, 46060610)),
        ("base_plus", (80833922, 80850434)),
        ("large", (224430386, 224446898)),
    ],
)
def test_our_tables_say_what_the_configurations_of_the_package_say(size, parameters, version):
    from SegmentAnythingMedLib.models.layouts import layout_of
    from SegmentAnythingMedLib.models.sam2_network import Sam2Shape, build_sam2

    theirs, ours = official_sam2(size, version, 128), build_sam2(Sam2Shape(size, version, 128))
    weights = theirs.state_dict()
    ours.load_state_dict(weights, strict=True)
    assert sum(tensor.numel() for tensor in weights.values()) == parameters[version == "2.1"]
    assert layout_of(weights).variant == f"sam{version.removesuffix('.0')}_hiera_{size}"
    plain = {name: value for name, value in vars(theirs).items() if isinstance(value, bool | int | float | dict)}
    plain.pop("_modules", None)
    for name, value in plain.items():
        # the package's predictor of videos sets this one, which our memory propagation relies on
        if not name.startswith("_") and name != "binarize_mask_from_pts_for_mem_enc":
            assert getattr(ours, name) == value, name
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    for one, other in zip(*(net.forward_image(image)["backbone_fpn"] for net in (ours, theirs)), strict=True):
        assert torch.equal(one, other)


def test_memory_parts_equal_the_official_ones(official, own_model):
    random = torch.Generator().manual_seed(0)
    now, codes = torch.randn(256, 1, 256, generator=random), torch.randn(256, 1, 256, generator=random)
    memory, places = torch.randn(260, 1, 64, generator=random), torch.randn(260, 1, 64, generator=random)
    features, masks = torch.randn(1, 256, 16, 16, generator=random), torch.rand(1, 1, 256, 256, generator=random)
    attended, remembered = (
        (net.memory_attention(now, memory, codes, places, num_obj_ptr_tokens=4), net.memory_encoder(features, masks))
        for net in (official, own_model.network)
    )
    assert torch.equal(attended[0], remembered[0])
    assert torch.equal(attended[1]["vision_features"], remembered[1]["vision_features"])


def test_features_leave_out_what_only_a_single_slice_gets(own_model):
    """Memory propagation shares them: the "no memory" embedding is added when a slice is decoded alone."""
    features = encode(own_model, picture((60, 100)))
    shapes = {name: tuple(tensor.shape) for name, tensor in features.tensors.items()}
    assert shapes == {"image_embedding": (256, 16, 16), "high_res_0": (32, 64, 64), "high_res_1": (64, 32, 32)}
    before = own_model.decode(features, SlicePrompts(**BOX)).logits
    own_model._no_memory = own_model._no_memory + 1
    assert not close(own_model.decode(replace(features), SlicePrompts(**BOX)).logits, before)


def test_decodes_features_out_of_the_cache(model):
    fresh = encode(model, picture((60, 100)))
    kept = FeatureCache().put("0" * 64, fresh)
    assert kept.nbytes * 2 == fresh.nbytes
    exact, rounded = (model.decode(f, SlicePrompts(**BOX)).logits for f in (fresh, kept))
    assert float(np.abs(exact - rounded).max()) <= 5e-3 * float(np.ptp(exact))


def test_many_slices_equal_single_slices(model):
    images = [picture((60, 100), seed).astype(np.float32) / 255 for seed in range(3)]
    frames = [model.frame((60, 100), SPACING)] * 3
    for image, features in zip(images, model.encode(images, frames), strict=True):
        alone = model.encode([image], frames[:1])[0].tensors
        assert all(torch.equal(alone[name], tensor) for name, tensor in features.tensors.items())
    assert model.encode([], []) == []


def test_nothing_to_prompt_with_is_refused(model):
    with pytest.raises(PromptError) as caught:
        model.decode(encode(model, picture((60, 100))), SlicePrompts())
    assert caught.value.code == "prompt.empty"


def test_a_session_runs_it(model):
    volume = Volume(np.stack([picture((60, 100), n) for n in range(3)]), Affine.from_parts((1, 1, 3)), modality="MR")
    with Session(volume, model) as session:
        result = session.predict(1, SlicePrompts(**BOX))
    assert result.mask.shape == (60, 100)


def test_overflow_in_half_precision_is_repeated_in_float32_once(own_model):
    calls = []

    def overflow(module, inputs, output):
        calls.append(torch.is_autocast_enabled("cpu"))
        if calls[-1]:
            output["backbone_fpn"][0] = output["backbone_fpn"][0] * float("inf")
        return output

    own_model.dtype = torch.bfloat16
    own_model.network.image_encoder.register_forward_hook(overflow)
    features = encode(own_model, picture((60, 100)))
    assert calls == [True, False]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in features.tensors.values())


@pytest.mark.parametrize("part", ["image_encoder", "sam_mask_decoder.output_hypernetworks_mlps.0"])
def test_nan_in_float32_is_an_error(own_model, part):
    def spoil(module, inputs, output):
        if isinstance(output, dict):
            output["backbone_fpn"][2] = output["backbone_fpn"][2] * float("nan")
            return output
        return output * float("nan")

    own_model.network.get_submodule(part).register_forward_hook(spoil)
    with pytest.raises(ModelError, match="of random returned NaN") as caught:
        own_model.decode(encode(own_model, picture((60, 100))), SlicePrompts(**BOX))
    assert caught.value.code == "model.nan"


def test_medsam2_prepares_its_own_way(tmp_path):
    """MedSAM2 is SAM 2.1 tiny for 512 pixels, shown slices that PIL has resized with its cubic filter."""
    network = official_sam2("tiny", "2.1", 512)
    path = save_official(tmp_path / "weights.pt", network)
    with pytest.raises(ModelError, match="may be one of sam2, medsam2") as caught:
        load_model(path, "cpu")
    assert caught.value.code == "checkpoint.ambiguous"
    Path(f"{path}.json").write_text('{"family": "medsam2", "variant": "sam2.1_hiera_tiny"}')
    model = load_model(path, "cpu")
    assert (model.info.family, model.image_size, model.low_res_size) == ("medsam2", 512, 128)
    image, predictor = picture((300, 200)), predictor_of(network)

    def transform(rgb):
        small = np.array(Image.fromarray(rgb).resize((512, 512))).astype(np.float32) / 255
        return torch.from_numpy((small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).float().permute(2, 0, 1)

    monkey = type("Transforms", (type(predictor._transforms),), {"__call__": lambda self, rgb: transform(rgb)})
    predictor._transforms.__class__ = monkey
    predictor.set_image(as_rgb(image))
    theirs, _, low_res = answer(predictor, BOX)
    features = encode(model, image)
    ours = model.decode(features, SlicePrompts(**BOX))
    assert close(ours.logits, theirs)
    again, _, _ = answer(predictor, POINTS, mask_input=low_res)
    assert close(model.decode(features, SlicePrompts(**POINTS), mask_input=ours.low_res_logits[0]).logits, again)


def test_the_file_name_decides_with_a_note(tmp_path, official):
    path = save_official(tmp_path / "MedSAM2_latest.pt", official)
    model = load_model(path, "cpu")
    assert (model.info.family, model.image_size) == ("medsam2", 512)
    assert "taken for MedSAM2 by its file name" in model.notes[0]
    assert "--family medsam2" in model.notes[0]
    assert load_model(path, "cpu", family="sam2").notes == ()


@pytest.mark.parametrize(
    ("sidecar", "code", "words"),
    [
        (
            {"family": "medsam"},
            "checkpoint.mismatch",
            "said to be MedSAM .*tensors are those of a SAM 2.1 of size tiny",
        ),
        ({"family": "sam2", "variant": "sam2.1_hiera_large"}, "checkpoint.mismatch", "variant sam2.1_hiera_large"),
        ({"family": "sam2", "image_size": "500"}, "checkpoint.sidecar", "multiple of 32"),
        ({"family": "sam2", "preprocessing": "magic"}, "checkpoint.unknown_family", "Preprocessing 'magic'"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused(tmp_path, official, sidecar, code, words):
    path = save_official(tmp_path / "mine.pt", official)
    Path(f"{path}.json").write_text(json.dumps(sidecar))
    with pytest.raises(ModelError, match=words) as caught:
        load_model(path, "cpu")
    assert caught.value.code == code


def test_a_file_with_a_lost_tensor_is_told_by_a_short_diff(tmp_path, official):
    tensors = dict(official.state_dict())
    del tensors["obj_ptr_tpos_proj.weight"]
    torch.save({"model": tensors}, tmp_path / "part.pt")
    with pytest.raises(ModelError, match=r"471 tensors\): 1 missing \(obj_ptr_tpos_proj.weight\)") as caught:
        load_model(tmp_path / "part.pt", "cpu", family="sam2")
    assert caught.value.code == "checkpoint.mismatch"


def test_without_the_package_the_error_tells_how_to_install_it(monkeypatch, tmp_path, official):
    path = save_official(tmp_path / "mine.pt", official)
    real = builtins.__import__

    def absent(name, scope=None, local=None, wanted=(), level=0):
        if level == 0 and name.split(".")[0] == "sam2":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, scope, local, wanted, level)

    for name in [name for name in sys.modules if name.split(".")[0] == "sam2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ModelError, match=r"SAM2_BUILD_CUDA=0 pip install --no-build-isolation") as caught:
        load_model(path, "cpu", family="sam2")
    assert caught.value.code == "model.package"
