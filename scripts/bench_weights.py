#!/usr/bin/env python
"""A SAM ViT-B without published weights whose masks mean something: random, with the decoder fitted to one phantom.

    python scripts/bench_weights.py WEIGHTS.pth [--steps 250]

Speed does not depend on weights, but a comparison of masks does: masks of a random decoder are noise, and a propagation
that follows noise stops at once. So image encoder and prompt encoder stay random (the tables of positions too, which
SAM's constructor leaves at zero), and the mask decoder is fitted for a few minutes until it follows the bright objects
of the phantom of ``bench_peers.py``. The file has the layout of SAM's published one. Useless on any other image.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

import numpy as np
import torch
import torch.nn.functional as F
from bench_phantom import Phantom, make_phantom
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.preparation import to_uint8
from SegmentAnythingMedLib.models.sam import EMBEDDING, SamModel
from SegmentAnythingMedLib.models.sam_network import SamShape, build_sam
from SegmentAnythingMedLib.space.intensity import estimate_mapping
from SegmentAnythingMedLib.space.volume import Volume

VIT_B = SamShape(width=768, depth=12, heads=12, image_size=1024, window=14, global_blocks=(2, 5, 8, 11))
SIZE = (10, 512, 512)
SHAPES = {
    "one": ("ellipsoid", (4.5, 160, 170), (1.9, 70, 80)),
    "two": ("ellipsoid", (4.5, 350, 150), (1.9, 60, 65)),
    "three": ("ellipsoid", (4.5, 260, 380), (1.9, 85, 60)),
}
"""Three objects on four of ten slices each."""
WINDOW = "127.5,255"
"""Under which 0..255 stays as it is."""


def phantom() -> Phantom:
    """The volume that the engines are compared on: uint8, 0 and 255 on every slice.

    Tools that stretch each slice to its own minimum and maximum show a network the same pixels as one with a window.
    """
    made = make_phantom(SHAPES, size=SIZE)
    mapping = estimate_mapping(made.volume, "auto")
    voxels = np.stack([to_uint8(mapping.apply(plane)) for plane in made.volume.voxels])
    voxels[:, 0, 0], voxels[:, 0, 1] = 0, 255
    return Phantom(Volume(voxels, made.volume.affine, modality="MR"), made.truth)


def random_sam(seed: int = 0) -> Any:
    """ViT-B; tables of positions are drawn too, so that nothing is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_sam(VIT_B)
        for name, parameter in network.image_encoder.named_parameters():
            if "pos_embed" in name or "rel_pos" in name:
                parameter.normal_(0, 0.02)
    return network


def embeddings(network: Any, scene: Phantom) -> torch.Tensor:
    """Of all slices, [K, 256, 64, 64]."""
    model = SamModel(network, ModelInfo("random", "sam", "vit_b", "0" * 64, "random", "none"))
    mapping = estimate_mapping(scene.volume, WINDOW)
    found = []
    for index, voxels in enumerate(scene.volume.voxels):
        begun, frame = time.perf_counter(), model.frame(voxels.shape, (1.0, 1.0))
        found.append(model.encode([mapping.apply(voxels)], [frame])[0].tensors[EMBEDDING])
        print(f"slice {index}: {time.perf_counter() - begun:.1f} s", file=sys.stderr, flush=True)
    return torch.stack(found)


def batch_of(scene: Phantom, index: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes [N, 4] in pixels of the input, mask prompts [N, 1, 256, 256], truth [N, 256, 256] of one slice."""
    boxes, masks, truths = [], [], []
    for truth in scene.truth.values():
        here = truth[index]
        near = truth[int(np.clip(index + rng.integers(-1, 2), 0, len(truth) - 1))]
        if not near.any():
            continue
        rows, cols = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        jitter = rng.normal(0, 2, 4)
        boxes.append((np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]) + jitter) * 2)
        masks.append(np.where(near[::2, ::2], 6.9, -6.9))
        truths.append(here[::2, ::2])
    stacked = (torch.as_tensor(np.array(one), dtype=torch.float32) for one in (boxes, masks, truths))
    box, mask, truth = stacked
    return box, mask[:, None], truth


def fit(network: Any, scene: Phantom, maps: torch.Tensor, steps: int) -> float:
    """Train the mask decoder; returns the last mean Dice."""
    decoder, prompts = network.mask_decoder, network.prompt_encoder
    for parameter in decoder.parameters():
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=4e-4, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps)
    rng, position, recent = np.random.default_rng(0), prompts.get_dense_pe(), []
    around = [truth.any(axis=(1, 2)) for truth in scene.truth.values()]
    usable = [n for n in range(len(maps)) if any(one[max(n - 1, 0) : n + 2].any() for one in around)]
    for step in range(steps):
        index = int(rng.choice(usable))
        boxes, masks, truth = batch_of(scene, index, rng)
        if not len(boxes):
            continue
        with torch.no_grad():
            sparse, dense = prompts(points=None, boxes=boxes, masks=masks if rng.random() < 0.6 else None)
        logits, quality = decoder(
            image_embeddings=maps[index][None], image_pe=position, sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense, multimask_output=False,
        )  # fmt: skip
        logits = logits[:, 0]
        chance = torch.sigmoid(logits)
        overlap = 2 * (chance * truth).sum((1, 2)) + 1
        dice = overlap / (chance.sum((1, 2)) + truth.sum((1, 2)) + 1)
        loss = F.binary_cross_entropy_with_logits(logits, truth) + (1 - dice).mean()
        loss = loss + F.mse_loss(quality[:, 0], dice.detach())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        hard = logits > 0
        recent.append(float((2 * (hard * truth).sum() + 1) / (hard.sum() + truth.sum() + 1)))
        if step % 20 == 19:
            print(
                f"step {step + 1}: loss {loss.item():.3f}, Dice {np.mean(recent[-20:]):.3f}",
                file=sys.stderr,
                flush=True,
            )
    return float(np.mean(recent[-20:]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, scene = random_sam(), phantom()
    cached = options.weights.with_suffix(".maps.pt")
    if cached.exists():
        maps = torch.load(cached, weights_only=True)
    else:
        maps = embeddings(network, scene)
        torch.save(maps, cached)
    fit(network, scene, maps, options.steps)
    torch.save(network.state_dict(), options.weights)


if __name__ == "__main__":
    main()
