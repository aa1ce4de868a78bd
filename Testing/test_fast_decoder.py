"""The fast mask decoder against the stock ones, random weights."""

from __future__ import annotations

import copy
import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from SegmentAnythingMedLib.engine.predictor import Request
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.models import fast_decoder
from SegmentAnythingMedLib.models.catalog import FAST_VARIABLE, load_model
from SegmentAnythingMedLib.models.fast_decoder import Cells, FastDecoder, RecentStates, SliceState
from SegmentAnythingMedLib.models.frame import OUTSIDE_LOGIT, Frame
from SegmentAnythingMedLib.models.interface import SliceFeatures
from SegmentAnythingMedLib.models.network_prompts import NetworkPrompts
from SegmentAnythingMedLib.models.sam import cells_around
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.step import predict_from
from SegmentAnythingMedLib.propagation.stopping import Terms
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from tiny_sam import save_stock_sam, stock_sam

GRID = 64
BOX = SlicePrompts(box=(30.0, 20.0, 40.0, 30.0))


@pytest.fixture(scope="module")
def parts():
    """Prompt encoder and mask decoder of SAM at full size, and an image embedding."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prompts = PromptEncoder(256, (GRID, GRID), (16 * GRID, 16 * GRID), 16)
        decoder = MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048))
        for part in (prompts, decoder):
            _disturb(part)
        return prompts, decoder, torch.randn(1, 256, GRID, GRID)


def _disturb(part: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in part.requires_grad_(False).eval().parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)


def ask(prompts: PromptEncoder, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    count = {"point": 1, "points": 20, "both": 2}.get(kind, 0)
    points = (torch.rand(1, count, 2, generator=random) * 1000, torch.ones(1, count).int()) if count else None
    box = torch.tensor([[100.0, 90.0, 700.0, 610.0]]) if kind in ("box", "both", "mask") else None
    mask = torch.randn(1, 1, 4 * GRID, 4 * GRID, generator=random) * 8 if "mask" in kind else None
    return prompts(points=points, boxes=box, masks=mask)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference over the range."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()).clamp_min(1.0))


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["point", "points", "box", "both", "mask", "mask alone"])
def test_equals_the_stock_decoder(parts, kind, multimask):
    prompts, stock, embedding = parts
    position = prompts.get_dense_pe()
    fast = FastDecoder(stock, position, prompts.no_mask_embed.weight)
    sparse, dense = ask(prompts, kind)
    masks, quality = stock(embedding, position, sparse, dense, multimask)
    state = fast.state(embedding[0])
    for turn in range(4):  # from the third on with kept projections
        ours = fast.predict(state, sparse, dense if "mask" in kind else None, multimask)
        assert difference(ours[0], masks) <= 1e-5, turn
        assert difference(ours[1], quality) <= 1e-5, turn
    assert (state.projected is None) == ("mask" in kind)


def test_one_state_serves_many_prompts(parts):
    """Objects of a slice do not see each other, in whatever order they ask."""
    prompts, stock, embedding = parts
    fast = FastDecoder(stock, prompts.get_dense_pe(), prompts.no_mask_embed.weight)
    kinds, state = ["box", "mask", "point", "both", "box", "mask"], fast.state(embedding[0])
    together = [fast.predict(state, *ask_for(prompts, kind), False)[0] for kind in kinds]
    for kind, ours in zip(kinds, together, strict=True):
        alone = fast.predict(fast.state(embedding[0]), *ask_for(prompts, kind), False)[0]
        assert difference(ours, alone) <= 1e-5


def ask_for(prompts: PromptEncoder, kind: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    sparse, dense = ask(prompts, kind)
    return sparse, dense if "mask" in kind else None


def test_a_map_that_is_not_square_keeps_its_order(parts):
    _, stock, _ = parts
    random = torch.Generator().manual_seed(2)
    embedding, position, dense = (torch.randn(1, 256, 3, 5, generator=random) for _ in range(3))
    sparse = torch.randn(1, 2, 256, generator=random)
    theirs, _ = stock(embedding, position, sparse, dense, True)
    fast = FastDecoder(stock, position, torch.zeros(1, 256))
    ours, _ = fast.predict(fast.state(embedding[0]), sparse, dense, True)
    assert ours.shape == (1, 3, 12, 20)
    assert difference(ours, theirs) <= 1e-5


def calm(parts, sign: float) -> tuple[FastDecoder, MaskDecoder, SliceState]:
    """A decoder whose logits have one sign everywhere: the mask covers everything, or nothing."""
    prompts, stock, embedding = parts
    stock = copy.deepcopy(stock)
    stock.output_upscaling[3].bias.copy_(torch.rand(32) + 1)
    for net in stock.output_hypernetworks_mlps:
        net.layers[-1].weight.mul_(1e-3)
        net.layers[-1].bias.fill_(sign / 32)
    fast = FastDecoder(stock, prompts.get_dense_pe(), prompts.no_mask_embed.weight)
    return fast, stock, fast.state(embedding[0])


@pytest.mark.parametrize("multimask", [False, True])
def test_cells_around_the_prompt_are_exact_and_the_rest_is_background(parts, multimask):
    prompts, _, embedding = parts
    fast, stock, state = calm(parts, -1.0)
    sparse, dense = ask(prompts, "box")
    cells = Cells(5, 10, 30, 50)
    masks, quality = stock(embedding, prompts.get_dense_pe(), sparse, dense, multimask)
    ours = fast.predict(state, sparse, None, multimask, cells)
    inside = np.s_[:, :, 4 * 5 : 4 * 30, 4 * 10 : 4 * 50]
    assert float(masks.std()) > 0.01  # a constant map would fit anywhere
    assert difference(ours[0][inside], masks[inside]) <= 1e-5
    assert difference(ours[1], quality) <= 1e-5
    ours[0][inside] = OUTSIDE_LOGIT
    assert bool((ours[0] == OUTSIDE_LOGIT).all())


def test_cells_keep_the_order_of_what_is_in_them(parts):
    """Random weights, so that every place looks different; a mask may touch all but the map's own border."""
    prompts, stock, embedding = parts
    fast = FastDecoder(stock, prompts.get_dense_pe(), prompts.no_mask_embed.weight)
    sparse, _ = ask(prompts, "box")
    state = fast.state(embedding[0])
    whole, _ = fast.predict(state, sparse, None, False)
    part, _ = fast.predict(state, sparse, None, False, Cells(0, 0, GRID, GRID))
    assert torch.equal(part, whole)


@pytest.mark.parametrize("cells", [Cells(5, 10, 30, 50), Cells(0, 0, 30, 64), Cells(0, 10, 64, 64)])
def test_a_mask_that_reaches_the_border_of_the_cells_is_looked_at_whole(parts, cells):
    prompts, _, _ = parts
    fast, _, state = calm(parts, 1.0)
    sparse, _ = ask(prompts, "box")
    found, _ = fast.predict(state, sparse, None, False, cells)
    assert bool((found > 0).all())


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"box": np.array([320.0, 160, 640, 320])}, Cells(0, 10, 30, 50)),  # 20 x 10 cells and half of 20 on each side
        ({"box": np.array([320.0, 160, 336, 176])}, Cells(6, 16, 15, 25)),  # four cells at least
        ({"box": np.array([900.0, 900, 1024, 1024])}, Cells(52, 52, 64, 64)),
        ({"points": np.array([[500.0, 500.0]])}, None),
    ],
)
def test_cells_around_prompts(asked, expected):
    nothing = {"points": np.zeros((0, 2)), "labels": np.zeros(0, dtype=int), "box": None, "mask": None}
    assert cells_around(NetworkPrompts(**{**nothing, **asked}), 1024, (64, 64)) == expected


def test_cells_hold_the_mask_prompt_and_the_points_too():
    mask = np.full((256, 256), -5.0)
    mask[100:120, 40:80] = 5.0
    asked = NetworkPrompts(np.array([[800.0, 420.0]]), np.ones(1, dtype=int), None, mask)
    cells = cells_around(asked, 1024, (64, 64))
    assert (cells.col0, cells.col1) == (0, 64)
    assert cells.row0 <= 25 - 20
    assert cells.row1 >= 30 + 20


def test_only_following_looks_around_the_prompt(tmp_path, monkeypatch):
    model = load_model(save_stock_sam(tmp_path / "tiny.pth", stock_sam()), "cpu", family="sam")
    seen = []
    predict = model._decoder.predict
    monkeypatch.setattr(model._decoder, "predict", lambda *asked: seen.append(asked[4]) or predict(*asked))
    volume = Volume(np.random.default_rng(0).normal(size=(2, 60, 100)), Affine.from_parts((1, 1, 3)), modality="MR")
    with Session(volume, model) as session:
        Request(0, BOX, True).serve(session)  # as published procedures ask
        Request(1, BOX, True, near=True).serve(session)  # as our own walk asks
    assert seen[0] is None
    assert isinstance(seen[1], Cells)


def test_our_own_walk_follows():
    terms = Terms(PropagationSettings(), (8, 8), (1.0, 1.0), 1.0)
    assert next(predict_from(3, [np.ones((8, 8), dtype=bool)], terms)).near


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["point", "box", "mask"])
@pytest.mark.parametrize("stable", [True, False])
def test_equals_the_decoder_of_sam2(kind, multimask, stable):
    sam2 = pytest.importorskip("SegmentAnythingMedLib.models.sam2_network")
    pytest.importorskip("sam2")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = sam2.build_sam2(sam2.Sam2Shape("tiny", "2.1", 16 * 16))
        prompts, stock = network.sam_prompt_encoder, network.sam_mask_decoder
        for part in (prompts, stock):
            _disturb(part)
        maps = [torch.randn(1, width, 16 * up, 16 * up) for width, up in ((256, 1), (32, 4), (64, 2))]
    stock.dynamic_multimask_stability_thresh = 0.0 if stable else 1.1  # the single mask always, or never
    sparse, dense = ask_sam2(prompts, kind)
    position = prompts.get_dense_pe()
    masks, quality, _, _ = stock(maps[0], position, sparse, dense, multimask, False, maps[1:])
    fast = FastDecoder(stock, position, prompts.no_mask_embed.weight)
    ours = fast.predict(fast.state(*(one[0] for one in maps)), sparse, dense if kind == "mask" else None, multimask)
    assert difference(ours[0], masks) <= 1e-5
    assert difference(ours[1], quality) <= 1e-5


def ask_sam2(prompts: torch.nn.Module, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    labels = {"point": [[1]], "box": [[2, 3]], "mask": [[2, 3]]}[kind]
    points = torch.tensor([[[30.0, 40.0], [200.0, 180.0]][: len(labels[0])]])
    mask = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1)) if kind == "mask" else None
    return prompts(points=(points, torch.tensor(labels).int()), boxes=None, masks=mask)


def test_other_arrangements_are_left_to_the_stock_module(parts):
    assert FastDecoder.fits(parts[1])
    assert not FastDecoder.fits(torch.nn.Linear(1, 1))
    other = MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048), activation=torch.nn.ReLU)
    assert not FastDecoder.fits(other)


def test_states_are_kept_for_the_last_slices_only():
    made, states = [], RecentStates()

    def make(features):
        made.append(features)
        return object()

    slices = [SliceFeatures({}, Frame.squash((4, 4), 16)) for _ in range(fast_decoder._RECENT + 1)]
    assert states.of(slices[0], make) is states.of(slices[0], make)
    assert states.of(replace(slices[0]), make) is not states.of(slices[0], make), "features are told by identity"
    for one in slices:
        states.of(one, make)
    made.clear()
    states.of(slices[0], make)
    assert made == slices[:1]


def test_states_do_not_keep_features_alive():
    states, features = RecentStates(), SliceFeatures({}, Frame.squash((4, 4), 16))
    states.of(features, lambda _: object())
    del features
    gc.collect()
    assert all(reference() is None for reference, _ in states._kept.values())


@pytest.mark.parametrize("prompts", [{"box": (5.0, 6.5, 30.0, 31.0)}, {"points": np.array([[12.0, 30.5]])}])
def test_one_switch_leads_back_to_the_stock_modules(tmp_path, monkeypatch, prompts):
    path = save_stock_sam(tmp_path / "tiny.pth", stock_sam())
    fast, stock = (load_model(path, "cpu", family="sam", fast=wish) for wish in (None, False))
    monkeypatch.setenv(FAST_VARIABLE, "0")
    by_variable, told = (load_model(path, "cpu", family="sam", fast=wish) for wish in (None, True))
    image = np.random.default_rng(0).random((60, 100), dtype=np.float32)
    asked = SlicePrompts(**prompts, **({"labels": np.array([1])} if "points" in prompts else {}))
    answers = []
    for model in (stock, by_variable, fast, told):
        features = model.encode([image], [model.frame(image.shape, (1, 1))])[0]
        answers.append((features.tensors["image_embedding"], model.decode(features, asked).low_res_logits))
    assert [model.fast for model in (stock, by_variable, fast, told)] == [False, False, True, True]
    for first, second in ((0, 1), (2, 3)):
        assert torch.equal(answers[first][0], answers[second][0])
        np.testing.assert_array_equal(answers[first][1], answers[second][1])
    assert not torch.equal(answers[0][0], answers[2][0]), "rounding differs, or nothing was switched"
    assert np.abs(answers[0][1] - answers[2][1]).max() <= 1e-4 * np.ptp(answers[0][1])
