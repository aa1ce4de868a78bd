"""References: a network that can use them starts as the one without, learns from them, and propagation gives them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from propagation_stub import StubPredictor, box_of, discs
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.errors import ModelError, PromptError
from SegmentAnythingMedLib.models.embedded import EmbeddedModel
from SegmentAnythingMedLib.models.hybrid import BOX_FIRST, BOX_SECOND, HybridConfig, HybridSam
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.reference import joined, likeness, weighted_means
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.walk import propagate
from SegmentAnythingMedLib.training.crops import cut_sample
from SegmentAnythingMedLib.training.interactive import collate, encode_batch, first_prompts, training_step
from SegmentAnythingMedLib.training.pool import synthetic_volume
from stub_model import StubModel, two_balls

SMALL = {"widths": (8, 16, 24, 32), "depths": (1, 1), "transformer_blocks": 1, "embed_dim": 32, "skip_dims": (8, 8)}
BOX = (40.0, 50.0, 100.0, 110.0)


def _pair(**sizes) -> tuple[HybridSam, HybridSam]:
    torch.manual_seed(0)
    without, able = HybridSam(HybridConfig(**sizes)).eval(), HybridSam(HybridConfig(**sizes, references=True)).eval()
    able.load_state_dict(without.state_dict(), strict=False)
    return without, able


def _woken(net: HybridSam) -> HybridSam:
    """The zero-initialised layers as training leaves them: not zero."""
    reader = net.reference_reader
    with torch.no_grad():
        for layer in (reader.pointer[-1], reader.dense, reader.border):
            layer.weight.normal_(0, 0.05)
    return net


def _model(net: HybridSam) -> EmbeddedModel:
    return EmbeddedModel(net, ModelInfo("random", "embedded", "test", "0" * 64, "test", "none"))


def _features(model, seed=0):
    image = np.random.default_rng(seed).random((160, 160)).astype(np.float32)
    frame = model.frame(image.shape, (1.0, 1.0))
    return model.encode([image], [frame])[0]


def _disc(radius=30):
    rows, cols = np.indices((160, 160))
    return np.hypot(rows - 80, cols - 70) < radius


@pytest.mark.parametrize("sizes", [{}, SMALL, {**SMALL, "skip_dims": (0, 0)}])
def test_a_network_starts_as_the_one_without_references(sizes):
    without, able = _pair(**sizes)
    image, mask = torch.rand(3, 1, 64, 64), (torch.rand(2, 1, 32, 32) > 0.5).float()
    with torch.no_grad():
        features = able.image_encoder(image)
        known = able.reference_reader.refer({name: value[:2] for name, value in features.items()}, mask)
        coords, labels = 64 * torch.rand(4, 2, 2), torch.tensor([[BOX_FIRST, BOX_SECOND]] * 4)
        image_of = torch.tensor([0, 1, 2, 2])
        plain = without.decode(features, coords, labels, image_of=image_of)
        same = able.decode(
            features, coords, labels, image_of=image_of, reference=known, reference_of=torch.tensor([0, -1, 1, 1])
        )
    assert all(torch.equal(a, b) for a, b in zip(plain, same, strict=True))


def test_only_prompts_with_a_reference_are_changed_by_it():
    net = _woken(_pair(**SMALL)[1])
    with torch.no_grad():
        features = net.image_encoder(torch.rand(2, 1, 64, 64))
        known = net.reference_reader.refer(features, (torch.rand(2, 1, 32, 32) > 0.5).float())
        coords, labels = 64 * torch.rand(3, 2, 2), torch.tensor([[BOX_FIRST, BOX_SECOND]] * 3)
        image_of = torch.tensor([0, 0, 1])
        plain = net.decode(features, coords, labels, image_of=image_of)[0]
        mixed = net.decode(
            features, coords, labels, image_of=image_of, reference=known, reference_of=torch.tensor([1, -1, 0])
        )[0]
        alone = net.decode(
            {name: value[1:] for name, value in features.items()}, coords[2:], labels[2:],
            reference={name: value[:1] for name, value in known.items()},
        )[0]  # fmt: skip
    assert torch.allclose(plain[1], mixed[1], atol=1e-6)
    assert not torch.allclose(plain[0], mixed[0], atol=1e-4)
    assert torch.allclose(alone[0], mixed[2], atol=1e-4)


def test_recall_finds_the_cells_that_look_like_the_object():
    reader = _pair(**SMALL)[1].reference_reader
    features = torch.zeros(1, 32, 8, 8)
    features[:, 0] = 1.0
    features[:, :16, 2:6, 2:6] = -1.0
    mask = torch.zeros(1, 1, 32, 32)
    mask[:, :, 8:24, 8:24] = 1
    known = reader.refer({"embedding": features, "skip4": torch.zeros(1, 8, 16, 16)}, mask)
    moved = features.roll(2, dims=3)
    with torch.no_grad():
        cover = reader.recall(moved, known)[0, 0]
    assert cover[2:6, 4:8].min() > cover[:2].max() + 0.2
    means = weighted_means(features, torch.nn.functional.avg_pool2d(mask, 4))
    like = likeness(moved, means)
    assert torch.all(like[0, 0, 2:6, 4:8] > 0.9)
    assert torch.all(like[0, 1, :2] > 0.9)


def test_model_makes_and_uses_references():
    model = _model(_woken(_pair()[1]))
    features, mask = _features(model), _disc()
    assert model.uses_references
    known = model.reference(features, mask)
    plain = model.decode(features, SlicePrompts(box=BOX)).low_res_logits
    shown = model.decode(features, SlicePrompts(box=BOX, references=(known,))).low_res_logits
    assert not np.allclose(plain, shown, atol=1e-4)
    twice = model.decode(features, SlicePrompts(box=BOX, references=(known, known))).low_res_logits
    assert np.allclose(shown, twice, atol=1e-3)  # the same knowledge twice is the same knowledge
    assert joined([known, known])["keys"].shape[1] == 2 * known["keys"].shape[1]
    speck = np.zeros_like(mask)
    speck[0, 0] = True
    assert model.reference(features, speck) is None


def test_models_without_references_refuse_them():
    model = _model(_pair()[0])
    features = _features(model)
    assert not model.uses_references
    with pytest.raises(ModelError) as caught:
        model.reference(features, _disc())
    assert caught.value.code == "model.no_references"
    with pytest.raises(PromptError) as caught:
        model.decode(features, SlicePrompts(box=BOX, references=({},)))
    assert caught.value.code == "prompt.references"
    session = Session(two_balls()[0], StubModel())
    assert session.reference(np.ones((64, 64), dtype=bool), 3) is None
    with pytest.raises(PromptError) as caught:
        session.predict(10, SlicePrompts(box=(10, 10, 30, 30), references=("x",)))
    assert caught.value.code == "prompt.references"


class _Recorder(StubModel):
    """Uses references, and remembers which slices' it was given."""

    uses_references = True

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple] = []

    def reference(self, features, mask):
        return int(mask.sum())

    def decode(self, features, prompts, **options):
        self.given.append(prompts.references)
        return super().decode(features, prompts, **options)


def test_propagation_shows_the_seed_slice_and_encodes_nothing_for_it():
    volume, labels = two_balls()
    area = int((labels[10] == 1).sum())
    model = _Recorder()
    with Session(volume, model) as session:
        result = propagate(session, {10: SlicePrompts(box=(8.5, 8.5, 31.5, 31.5))})
        assert model.given[0] == ()
        assert set(model.given[1:]) == {(area,), ()}  # refused slices are asked once more without
        assert session.counters.encodes <= len(result.masks) + 2
    model = _Recorder()
    with Session(volume, model) as session:
        boxes = {n: SlicePrompts(box=(8.5, 8.5, 31.5, 31.5)) for n in (8, 12)}
        result = propagate(session, boxes)
        ends = tuple(int((labels[n] == 1).sum()) for n in (8, 12))
        assert ends in model.given  # between seeds both are known
        assert session.counters.encodes <= len(result.masks) + 2


def test_training_samples_show_the_object_elsewhere_and_a_step_uses_it():
    volume, rng = synthetic_volume(3, size=48), np.random.default_rng(0)
    samples = [cut_sample(volume, rng, 64) for _ in range(150)]
    samples = [sample for sample in samples if sample is not None]
    known = [sample for sample in samples if sample.reference is not None]
    assert all(sample.from_previous for sample in known)
    assert len(known) > 0.5 * sum(sample.from_previous for sample in samples)
    assert all(16 <= sample.reference_mask.sum() < 0.9 * 64 * 64 for sample in known)
    assert any(not (sample.targets[0] > 0.5).any() for sample in known)
    batch = collate([first_prompts(sample, rng) for sample in [*known[:3], *samples[:3]]])
    assert batch["reference_of"][:6].tolist() == [0, -1, 1, -1, 2, -1]
    net = _pair(**SMALL)[1]
    net.train()
    assert set(encode_batch(net, batch)[1]) == {"reference", "reference_of"}
    loss, parts = training_step(net, batch, rng)
    loss.backward()
    assert np.isfinite(parts["recall"])
    assert float(net.reference_reader.dense.weight.grad.abs().sum()) > 0
    assert float(net.reference_reader.query.weight.grad.abs().sum()) > 0


class _Doubter(StubPredictor):
    """Finds nothing where it is shown what the object looks like; says how much of the seed's contrast is left."""

    share = 1.0

    def reference(self, mask, index):
        return "known"

    def contrast(self, mask, index):
        return 1.0, 0.0

    def mean_under(self, mask, index):
        return self.share

    def predict(self, index, prompts, *, propagated=False):
        result = super().predict(index, prompts, propagated=propagated)
        if not prompts.references:
            return result
        return replace(result, mask=np.zeros_like(result.mask), logits=np.full_like(result.logits, -5.0))


@pytest.mark.parametrize(("share", "found"), [(1.0, 9), (0.8, 9), (0.5, 1), (1.5, 1)])
def test_a_refusal_is_asked_again_without_the_reference_where_pixels_speak_for_the_object(share, found):
    truth = discs([0] * 3 + [9] * 9 + [0] * 3)
    doubter = _Doubter(truth)
    doubter.share = share
    result = propagate(doubter, {7: SlicePrompts(box=box_of(truth[7]))})
    assert len(result.masks) == found
    asked = [prompts.references for index, prompts, _ in doubter.calls if index == 8]
    assert asked == [("known",), ()]
