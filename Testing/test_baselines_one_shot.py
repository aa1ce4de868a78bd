"""The baselines of P2SAM behind the common interface, on the built-in model, a small SAM and a small SAM 2."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib import InputError, Session, load_model
from SegmentAnythingMedLib.adaptive.baselines.answers import cell_centres, pooled_cells, usable_cells
from SegmentAnythingMedLib.adaptive.baselines.label_propagation import LabelPropagation
from SegmentAnythingMedLib.adaptive.baselines.mask_copy import MaskCopy
from SegmentAnythingMedLib.adaptive.baselines.matcher import Matcher, MatcherSettings
from SegmentAnythingMedLib.adaptive.baselines.panet import pulled_back
from SegmentAnythingMedLib.adaptive.methods import METHOD_NAMES, one_shot_method
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.views import View, view
from SegmentAnythingMedLib.errors import ModelError
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.models.frame import Frame, Region
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from tiny_sam import stock_sam

SIDE = 96
MODEL_METHODS = tuple(name for name in METHOD_NAMES if name not in ("copy", "direct"))


def scan(centre: tuple[int, int], radius: float, seed: int, direction: np.ndarray | None = None):
    """A bright ball on textured ground, [3, 96, 96], and its mask."""
    rows, cols = np.indices((SIDE, SIDE))
    mask = np.stack([np.hypot(rows - centre[0], cols - centre[1]) < radius - abs(k - 1) for k in range(3)])
    grey = np.random.default_rng(seed).normal(60, 4, mask.shape) + 90 * mask
    affine = Affine.from_parts((1.0, 1.0, 3.0), (0.0, 0.0, 0.0), direction)
    return Volume(grey.astype(np.float32), affine, modality="MR"), mask


def pair(model, region: Region | None = None, direction: np.ndarray | None = None):
    prior, known = scan((40, 42), 13, 0, direction)
    follow_up, truth = scan((52, 50), 15, 1, direction)
    reference = Reference(view(Session(prior, model, axis="k"), 1, region), known[1])
    return reference, Session(follow_up, model, axis="k"), truth


@pytest.fixture(scope="module")
def built_in():
    return load_model("built-in")


@pytest.fixture(scope="module")
def sam():
    return SamModel(stock_sam(), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))


def quick(name: str):
    if name == "matcher":
        return Matcher(MatcherSettings(centres=5))
    return one_shot_method(name, **({"steps": 50} if name == "persam-f" else {}))


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_every_method_finds_a_ball_with_the_built_in_model(built_in, name):
    reference, session, truth = pair(built_in, Region(8, 8, 88, 88))
    result = quick(name).segment([reference], view(session, 1, Region(8, 8, 88, 88)))
    assert result.mask.shape == truth[1].shape
    assert result.mask.dtype == bool
    assert dice(result.mask, truth[1]) > 0.8
    assert np.array_equal(result.mask, result.logits > 0)
    assert not result.empty
    assert len(result.points) == len(result.labels)


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_results_are_in_stored_pixels_however_voxels_are_stored(built_in, name):
    turned = np.diag([-1.0, 1.0, 1.0])[:, [1, 0, 2]]
    reference, session, truth = pair(built_in, Region(8, 8, 88, 88), turned)
    result = quick(name).segment([reference], view(session, 1, Region(8, 8, 88, 88)))
    assert dice(result.mask, truth[1]) > 0.8
    x, y = result.points[result.labels == 1].T if len(result.points) else ([], [])
    assert all(truth[1][np.rint(y).astype(int), np.rint(x).astype(int)])


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_other_models_and_awkward_cases_raise_nothing(sam, name):
    reference, session, _ = pair(sam)
    target, method = view(session, 1), quick(name)
    nothing = Reference(reference.view, np.zeros((SIDE, SIDE), dtype=bool))
    tiny = np.zeros((SIDE, SIDE), dtype=bool)
    tiny[40, 42] = True
    everything = Reference(reference.view, np.ones((SIDE, SIDE), dtype=bool))
    for known in (nothing, Reference(reference.view, tiny), everything, reference):
        result = method.segment([known], target)
        assert result.mask.shape == (SIDE, SIDE)
        assert result.empty == (not result.mask.any())
    assert method.segment([nothing], target).empty
    assert method.segment([reference], target, restrict=np.zeros((SIDE, SIDE), dtype=bool)).empty


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_avoided_pixels_and_the_box_are_kept_to(built_in, name):
    reference, session, _ = pair(built_in, Region(8, 8, 88, 88))
    other = np.zeros((SIDE, SIDE), dtype=bool)
    other[:, :44] = True
    result = quick(name).segment([reference], view(session, 1, Region(8, 8, 88, 88)), avoid=other)
    positive = result.points[result.labels == 1]
    assert (positive[:, 0] > 43).all()
    assert name in ("p2sam", "persam") or not (result.mask & other).any()
    near = quick(name).segment([reference], view(session, 1), box=(41.5, 43.5, 58.5, 60.5))
    positive = near.points[near.labels == 1]
    assert (np.abs(positive - [50, 52]) <= 19).all()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_references_are_required(built_in, name):
    _, session, _ = pair(built_in)
    with pytest.raises(InputError) as raised:
        one_shot_method(name).segment([], view(session, 1))
    assert raised.value.code == "reference.none"


def test_unknown_names_are_refused_in_words():
    with pytest.raises(InputError, match="p2sam, persam, persam-f") as raised:
        one_shot_method("sam")
    assert raised.value.code == "option.method"


def test_direct_transfer_is_the_decoder_without_prompts(sam, built_in):
    reference, session, _ = pair(sam)
    result = one_shot_method("direct").segment([reference], view(session, 1))
    target = view(session, 1)
    with torch.no_grad():
        network = sam._network
        sparse, dense = network.prompt_encoder(points=None, boxes=None, masks=None)
        low, _ = network.mask_decoder(
            image_embeddings=torch.as_tensor(np.asarray(target.features.tensors["image_embedding"])).float()[None],
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
    assert np.allclose(target.decode_unprompted().low_res_logits, low[0].numpy(), atol=1e-4)
    assert result.decodes == 1
    reference, session, _ = pair(built_in)
    with pytest.raises(ModelError, match="always needs a prompt") as raised:
        one_shot_method("direct").segment([reference], view(session, 1))
    assert raised.value.code == "model.needs_prompt"


def test_copying_is_exact_in_space_and_follows_a_transform(built_in):
    reference, session, _ = pair(built_in)
    target = view(session, 1)
    assert np.array_equal(MaskCopy().segment([reference], target).mask, reference.mask)
    assert np.array_equal(MaskCopy(in_space=False).segment([reference], target).mask, reference.mask)
    moved = MaskCopy(VisitTransform.translation((-4.0, -7.0, 0.0))).segment([reference], target)
    assert np.array_equal(moved.mask, np.roll(reference.mask, (7, 4), axis=(0, 1)))
    assert moved.decodes == 0


def test_copying_takes_the_nearest_reference_slice(built_in):
    prior, known = scan((40, 42), 13, 0)
    session = Session(prior, built_in, axis="k")
    references = [Reference(view(session, k), known[k]) for k in range(3)]
    for k in range(3):
        assert np.array_equal(MaskCopy().segment(references, view(session, k)).mask, known[k])


def test_labels_walk_through_slices(built_in):
    """A reference two slices away helps less than what was found in between."""
    reference, session, truth = pair(built_in, Region(8, 8, 88, 88))
    targets = [view(session, k, Region(8, 8, 88, 88)) for k in range(3)]
    results = LabelPropagation().propagate([reference], targets)
    assert len(results) == 3
    assert all(dice(found.mask, truth[k]) > 0.8 for k, found in enumerate(results))
    alone = LabelPropagation().segment([reference], targets[2])
    assert not np.array_equal(alone.logits, results[2].logits)
    assert np.array_equal(LabelPropagation().segment([reference], targets[0]).logits, results[0].logits)


def test_pooling_weights_are_those_of_upsampled_features():
    """Masked average pooling after bilinear upsampling, computed the long way."""
    frame = Frame((30, 44), Region(-4, 2, 36, 42), 64, (64, 64))
    rng = np.random.default_rng(0)
    mask, cells = rng.random((30, 44)) > 0.6, rng.normal(size=(8, 8))
    mask[:, :2] = mask[:, 42:] = False
    upsampled = frame.restore(torch.from_numpy(cells).float()[None])[0]
    longer = (upsampled * mask).sum()
    assert (pulled_back(mask, frame, (8, 8)) * cells).sum() == pytest.approx(longer, rel=2e-2, abs=0.5)


def test_cells_beyond_the_slice_are_not_used(sam):
    volume = Volume(np.zeros((2, 40, 80), np.float32), Affine.from_parts((1.0, 1.0, 3.0), (0, 0, 0), None))
    target = view(Session(volume, sam, axis="k"), 0)
    everywhere = np.ones((40, 80), dtype=bool)
    assert target.valid.sum() == 32
    assert np.array_equal(usable_cells(target, everywhere), target.valid)
    left = everywhere.copy()
    left[:, 40:] = False
    assert usable_cells(target, left).sum() == 16
    assert cell_centres(target)[0, 0] == pytest.approx([4.5, 4.5])
    pooled = pooled_cells([Reference(target, left)])
    assert len(pooled.tokens) == 32
    assert pooled.foreground.sum() == 16


def test_sam2_answers_every_method():
    from tiny_sam2 import official_sam2, require_sam2

    require_sam2()
    from SegmentAnythingMedLib.models.sam2 import Sam2Model

    model = Sam2Model(official_sam2(image_size=256), ModelInfo("t", "sam2", "t", "ef" * 32, "t.pt", "Apache-2.0"))
    reference, session, truth = pair(model)
    target = view(session, 1)
    for name in METHOD_NAMES:
        result = quick(name).segment([reference], target)
        assert result.mask.shape == truth[1].shape


@pytest.mark.parametrize("name", ["p2sam", "persam-f", "matcher", "gf-sam"])
def test_references_are_not_shown_to_the_model_for_another_modality(built_in, name, monkeypatch):
    reference, session, _ = pair(built_in, Region(8, 8, 88, 88))
    given = []
    one, many = View.decode, View.decode_many

    def decode(own, prompts, **more):
        given.append((own, prompts.references))
        return one(own, prompts, **more)

    def decode_many(own, prompts, **more):
        given.extend((own, asked.references) for asked in prompts)
        return many(own, prompts, **more)

    monkeypatch.setattr(View, "decode", decode)
    monkeypatch.setattr(View, "decode_many", decode_many)
    other = Session(replace(session.volume, modality="CT"), built_in, axis="k", window=session.mapping)
    for known, shown in ((session, True), (other, False)):
        target = view(known, 1, Region(8, 8, 88, 88))
        quick(name).segment([reference], target)
        asked = [references for own, references in given if own is target]
        assert asked
        assert all(bool(references) == shown for references in asked)
