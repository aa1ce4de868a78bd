"""Clicks as maps: where they lie, what looks like them, and that a fresh reader changes nothing."""

import pytest
import torch
from SegmentAnythingMedLib.models.clicks import ClickReader, click_maps
from SegmentAnythingMedLib.models.hybrid import HybridConfig, HybridSam

KINDS = torch.tensor([[1, 0, -1]])  # positive, negative, padding


def _features() -> torch.Tensor:
    """Left half of one look, right half of another: [1, 2, 8, 8]."""
    features = torch.zeros(1, 2, 8, 8)
    features[:, 0, :, :4] = 1.0
    features[:, 1, :, 4:] = 1.0
    return features


def test_spots_lie_at_the_clicks_and_likeness_covers_what_looks_the_same():
    unit = torch.tensor([[[0.5 / 8, 2.5 / 8], [6.5 / 8, 5.5 / 8], [0.0, 0.0]]])
    maps = click_maps(_features(), unit, KINDS == 1, KINDS == 0)[0]
    assert maps[0].argmax() == 2 * 8 + 0
    assert maps[1].argmax() == 5 * 8 + 6
    assert maps[0].max() == pytest.approx(1.0)
    assert maps[0, 7, 7] < 1e-3
    assert torch.allclose(maps[2, :, :4], torch.tensor(1.0))
    assert torch.all(maps[2, :, 4:] < 0)
    assert torch.allclose(maps[3, :, 4:], torch.tensor(1.0))
    assert torch.all(maps[3, :, :4] < 0)


def test_without_clicks_of_a_kind_its_maps_are_zero():
    unit = torch.full((1, 3, 2), 0.5)
    maps = click_maps(_features(), unit, KINDS == 1, torch.zeros_like(KINDS, dtype=torch.bool))[0]
    assert not maps[1].any()
    assert not maps[3].any()
    assert maps[0].any()


def test_a_fresh_reader_adds_nothing_and_a_trained_one_moves_the_mask():
    torch.manual_seed(0)
    plain = HybridSam(HybridConfig()).eval()
    network = HybridSam(HybridConfig(clicks=True)).eval()
    network.load_state_dict(plain.state_dict(), strict=False)
    with torch.inference_mode():
        features = network.image_encoder(torch.rand(1, 1, 128, 128))
        coords, labels = torch.tensor([[[40.0, 50.0], [0.0, 0.0]]]), torch.tensor([[1, -1]])
        before = plain.decode(features, coords, labels)[0]
        assert torch.equal(network.decode(features, coords, labels)[0], before)
        network.click_reader.fine.weight += 0.1
        moved = network.decode(features, coords, labels)[0] - before
        box = torch.tensor([[[20.0, 20.0], [60.0, 60.0]]]), torch.tensor([[2, 3]])
        assert torch.equal(network.decode(features, *box)[0], plain.decode(features, *box)[0])
    assert moved.abs().max() > 1e-3


def test_gradient_reaches_the_reader():
    reader = ClickReader(8, 4)
    features = {"embedding": torch.rand(2, 8, 6, 6), "skip4": torch.rand(2, 4, 12, 12)}
    dense, fine = reader(
        features, torch.rand(2, 3, 2) * 40, torch.ones(2, 3, dtype=torch.bool), KINDS.expand(2, 3) == 0
    )
    assert dense.shape == (2, 8, 6, 6)
    assert fine.shape == (2, 4, 12, 12)
    (dense.sum() + fine.sum()).backward()
    assert reader.dense.weight.grad.abs().sum() > 0
    assert reader.fine.weight.grad.abs().sum() > 0
