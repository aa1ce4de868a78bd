"""Training data and steps: crops are what they claim to be, a step learns, a run resumes where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage
from SegmentAnythingMedLib.models.embedded import load_embedded
from SegmentAnythingMedLib.models.hybrid import BOX_FIRST, PADDING, HybridConfig, HybridSam
from SegmentAnythingMedLib.training.crops import cut_sample
from SegmentAnythingMedLib.training.interactive import (
    collate,
    correction_points,
    first_prompts,
    mask_losses,
    training_step,
    true_iou,
)
from SegmentAnythingMedLib.training.masses import mass_sample
from SegmentAnythingMedLib.training.pool import PoolVolume, partition, synthetic_volume


def _samples(count, seed=0, size=64):
    volume = synthetic_volume(3, size=48)
    rng = np.random.default_rng(seed)
    out = []
    while len(out) < count:
        sample = cut_sample(volume, rng, size)
        if sample is not None:
            out.append(sample)
    return out


def test_synthetic_volumes_repeat_and_differ():
    assert np.array_equal(synthetic_volume(5, size=32).labels, synthetic_volume(5, size=32).labels)
    assert not np.array_equal(synthetic_volume(5, size=32).labels, synthetic_volume(6, size=32).labels)


def test_crops_are_well_formed():
    empties = previous = 0
    for sample in _samples(120):
        assert sample.image.shape == (64, 64)
        assert sample.image.min() >= 0
        assert sample.image.max() <= 1
        assert sample.targets.shape == (2, 64, 64)
        assert 0 <= sample.targets.min() <= sample.targets.max() <= 1
        if not (sample.targets[0] > 0.5).any():
            empties += 1
            assert sample.from_previous
            assert sample.previous.any()
        previous += sample.from_previous
    assert 2 <= empties <= 40
    assert 30 <= previous <= 90


def test_neighbour_masks_are_near_the_target():
    overlaps = []
    for sample in _samples(200):
        target = sample.targets[0] > 0.5
        if sample.from_previous and target.any():
            overlaps.append((sample.previous & target).sum() / (sample.previous | target).sum())
    assert np.mean(overlaps) > 0.4
    assert np.mean(np.array(overlaps) < 0.99) > 0.5  # a true neighbour, not a copy


def test_a_real_image_shows_through():
    rng = np.random.default_rng(0)
    image = (100 + rng.normal(0, 20, (20, 40, 40))).astype(np.int16)
    labels = np.zeros(image.shape, dtype=np.uint8)
    labels[5:15, 10:30, 12:28] = 7
    image[labels == 7] = 300
    volume = PoolVolume("box", image, labels, partition(image, labels), (1, 1, 3), "MR", [7], oblique=False)
    bright = []
    while len(bright) < 30:
        sample = cut_sample(volume, rng, 64)
        if sample is not None and (sample.targets[0] > 0.9).any() and not (sample.targets[0] > 0.9).all():
            bright.append(sample.image[sample.targets[0] > 0.9].mean() - sample.image[sample.targets[0] < 0.1].mean())
    assert np.mean(np.abs(bright) > 0.2) > 0.6


def test_painted_masses_are_visible_where_they_are_said_to_be():
    volume = synthetic_volume(3, size=48)
    rng = np.random.default_rng(0)
    ends = seen = 0
    contrasts = []
    while seen < 80:
        sample = mass_sample(volume, rng, 64)
        if sample is None:
            continue
        seen += 1
        target = sample.targets[0] > 0.5
        assert sample.previous.any()
        if not target.any():
            ends += 1
            assert sample.from_previous
            continue
        area, before = target.sum(), sample.previous.sum()
        assert (target & sample.previous).sum() > 0.5 * min(area, before)
        near = ndimage.binary_dilation(target, iterations=6) & ~ndimage.binary_dilation(target, iterations=2)
        if near.any():
            contrasts.append(abs(np.median(sample.image[target]) - np.median(sample.image[near])))
    assert 4 <= ends <= 30
    assert np.median(contrasts) > 0.06


def test_first_prompts_hold_the_object():
    rng = np.random.default_rng(0)
    for sample in _samples(40):
        prompted = first_prompts(sample, rng)
        assert prompted.labels[0].tolist() == [BOX_FIRST, BOX_FIRST + 1]
        assert prompted.labels[1][1] == (PADDING if prompted.ambiguous[1] else BOX_FIRST + 1)
        if prompted.ambiguous[1] and (sample.targets[1] > 0.5).any():
            x, y = prompted.coords[1, 0]
            assert sample.targets[1][int(y), int(x)] > 0.5
        assert prompted.has_mask[0]
        assert (prompted.masks[0] > 0).any()


def test_losses_and_corrections_know_right_from_wrong():
    target = torch.zeros(2, 32, 32)
    target[:, 8:20, 8:20] = 1
    right = (target * 20 - 10)[:, None]
    losses = mask_losses(torch.cat([right, -right], dim=1), target)
    assert torch.all(losses[:, 0] < 0.05)
    assert torch.all(losses[:, 1] > 1)
    assert torch.allclose(true_iou(right, target), torch.ones(2, 1))
    empty = torch.zeros(2, 32, 32)
    assert torch.all(mask_losses(-right.abs(), empty) < 0.05)
    assert torch.allclose(true_iou(-right.abs(), empty), torch.zeros(2, 1))
    coords, labels = correction_points(torch.full((2, 32, 32), -5.0), target, np.random.default_rng(0))
    assert labels.tolist() == [[1], [1]]
    assert torch.all((coords[:, 0] >= 16) & (coords[:, 0] <= 40))


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    net = HybridSam(
        HybridConfig(widths=(8, 16, 24, 32), depths=(1, 1), transformer_blocks=1, embed_dim=32, skip_dims=(8, 8))
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    rng = np.random.default_rng(0)
    batch = collate([first_prompts(s, rng) for s in _samples(8)])
    losses = []
    for step in range(25):
        loss, parts = training_step(net, batch, np.random.default_rng(step))
        optimizer.zero_grad()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert set(parts) >= {"box_iou", "point_iou", "iou_mse"}


@pytest.mark.parametrize("design", ["plain", "prior", "reference"])
def test_a_run_resumes_and_exports_weights_the_library_loads(repository, tmp_path, design):
    run = tmp_path / "run"

    def script(*options):
        command = [sys.executable, str(repository / "scripts" / "train_default_model.py"), "--run", str(run), *options]
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def train(steps):
        few = ["--batch", "2", "--size", "64", "--threads", "1", "--workers", "0", "--steps", str(steps)]
        script("--design", design, *few)

    train(2)
    assert torch.load(run / "state.pt", weights_only=True)["step"] == 2
    train(3)
    assert torch.load(run / "state.pt", weights_only=True)["step"] == 3
    weights = tmp_path / "weights.safetensors"
    script("--export", str(weights))
    assert load_embedded(path=weights).image_size == 128
    assert json.loads((run / "config.json").read_text())["design"] == design
