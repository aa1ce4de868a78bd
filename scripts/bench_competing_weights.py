#!/usr/bin/env python
"""A small SAM 2 with memory whose masks mean something, fitted in minutes on one core, for ``bench_competing.py``.

    python scripts/bench_competing_weights.py WEIGHTS.pt --data DATA [--minutes 25]

The modules are those of the package ``sam2`` (prompt encoder, mask decoder with object score, memory attention, memory
encoder, object pointers) in a narrow configuration at 256 px. The trunk is the built-in model's, with its weights, and
stays as it is: nobody trains a trunk in minutes. The rest learns from scratch on short sequences of slices with a box
or a mask on the first: all slices but the first are segmented twice, from memory, and alone from the box and the mask
of the slice before, which is what the two engines ask. As SAM 2 was, it is not told what quality to predict where
there is no object; the object score says that.

Slices are cut from synthetic anatomy, from painted masses and from the real volumes of ``training_data.json``. Minutes
are of CPU time. Started again on the same file it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
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
from bench_competing_network import DEVIATION, MEAN, build_network
from bench_competing_slices import Source
from SegmentAnythingMedLib.training.planes import bounds
from SegmentAnythingMedLib.training.pool import load_real
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent


def boxes_of(masks: Tensor, jitter: float, rng: np.random.Generator) -> Tensor:
    """[B, 2, 2] corners (x, y) around masks [B, S, S]; of the whole slice where one is empty."""
    found = []
    for mask in masks.numpy():
        row0, row1, col0, col1 = bounds(mask) if mask.any() else (0, mask.shape[0], 0, mask.shape[1])
        shake = rng.normal(0, jitter, 4) * np.array([col1 - col0, row1 - row0] * 2)
        found.append((np.array([col0, row0, col1, row1]) + shake).reshape(2, 2))
    return torch.as_tensor(np.array(found), dtype=torch.float32)


def corners(boxes: Tensor) -> dict[str, Tensor]:
    """A box as SAM 2 takes it."""
    return {"point_coords": boxes, "point_labels": torch.tensor([[2, 3]], dtype=torch.int32).expand(len(boxes), -1)}


class Learner:
    """Losses of one batch of sequences."""

    def __init__(self, network: Any) -> None:
        self.network, self._raw = network, None
        network.sam_mask_decoder.register_forward_hook(self._keep)

    def _keep(self, _: Any, __: Any, outputs: tuple[Tensor, ...]) -> None:
        self._raw = outputs

    def step(self, images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Loss, and Dice of seed, tracked and projected slices."""
        length, count, side = images.shape[:3]
        shown = ((images.reshape(-1, 1, side, side) - MEAN) / DEVIATION).expand(-1, 3, -1, -1)
        maps = self._maps(shown)
        features = [one.view(length, count, *one.shape[1:]) for one in maps["backbone_fpn"]]
        codes = [one.view(length, count, *one.shape[1:]) for one in maps["vision_pos_enc"]]
        soft = F.avg_pool2d(masks.float().reshape(-1, 1, side, side), 4).view(length, count, side // 4, side // 4)
        losses, marks = [], {"seed": [], "tracked": [], "projected": [], "presence": []}
        outputs: dict[str, dict] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        # gaps, so that all of the seven places in memory are seen although sequences are shorter
        numbers = [0, *(np.arange(1, length) if rng.random() < 0.4 else sorted(rng.permutation(7)[: length - 1] + 1))]
        for t in range(length):
            here = [one[t] for one in features], [one[t] for one in codes]
            losses.append(self._slice((t, int(numbers[t])), here, masks, soft, outputs, marks, rng))
        losses.append(self._projected(features, masks, soft, marks, rng))
        return torch.stack(losses).sum() / length, {name: float(np.mean(one)) for name, one in marks.items() if one}

    def _maps(self, shown: Tensor) -> dict[str, list[Tensor]]:
        """As ``forward_image``, the trunk in half the time."""
        network, encoder = self.network, self.network.image_encoder
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            found = encoder.trunk(shown)
        convolutions, decoder = [one.conv for one in encoder.neck.convs], network.sam_mask_decoder
        top = convolutions[0](found[2])
        fine, middle = (
            chained(convolutions[2 - n], step, found[n]) for n, step in enumerate((decoder.conv_s0, decoder.conv_s1))
        )
        return {"backbone_fpn": [fine, middle, top], "vision_pos_enc": [encoder.neck.position_encoding(top)]}

    def _slice(self, place, here, masks, soft, outputs, marks, rng) -> Tensor:
        network, (t, number), (features, codes) = self.network, place, here
        flat = [one.flatten(2).permute(2, 0, 1) for one in features]
        places = [one.flatten(2).permute(2, 0, 1) for one in codes]
        sizes = [tuple(one.shape[-2:]) for one in features]
        points = given = None
        if t == 0:
            points = corners(boxes_of(masks[0], 0.03, rng))
            given = rough(soft[0], rng) if rng.random() < 0.3 else None
        verbatim = t == 0 and rng.random() < 0.5
        found = network._track_step(
            number, t == 0, flat, places, sizes, None if verbatim else points,
            masks[0][:, None].float() if verbatim else None, outputs, 16, False, None if verbatim else given,
        )[1]  # fmt: skip
        raw, quality, _, score = self._raw
        present = masks[t].flatten(1).any(1)
        loss = 0.0
        if not verbatim:
            loss, dice = mask_loss(raw, quality, soft[t], present)
            marks["tracked" if t else "seed"] += dice
            loss = loss + F.binary_cross_entropy_with_logits(score[:, 0], present.float())
            marks["presence"].append(float(((score[:, 0] > 0) == present).float().mean()))
        out: dict[str, Any] = {"obj_ptr": found[5]}
        # often the true mask, or memory would be of noise for most of a short fit
        drawn = masks[t][:, None].float() * 20 - 10 if rng.random() < 0.5 else found[4]
        network._encode_memory_in_output(flat, sizes, points, True, drawn, found[6], out)
        outputs["non_cond_frame_outputs" if t else "cond_frame_outputs"][number] = out
        return torch.as_tensor(loss, dtype=torch.float32)

    def _projected(self, features, masks, soft, marks, rng) -> Tensor:
        """Every slice but the first alone, from box and mask of the one before, or from a box of its own."""
        network, own = self.network, rng.random() < 0.4
        before = (masks[1:] if own else masks[:-1]).flatten(0, 1)
        usable = before.flatten(1).any(1) & masks[1:].flatten(0, 1).flatten(1).any(1)
        top, middle, fine = (one[1:].flatten(0, 1)[usable] for one in reversed(features))
        boxes = boxes_of(before[usable], 0.02, rng)
        prior = rough(soft[:-1].flatten(0, 1)[usable], rng) if not own and rng.random() < 0.8 else None
        network._forward_sam_heads(
            top + network.no_mem_embed.reshape(1, -1, 1, 1), corners(boxes), prior, [fine, middle], False
        )
        raw, quality, _, score = self._raw
        loss, dice = mask_loss(raw, quality, soft[1:].flatten(0, 1)[usable], torch.ones(len(raw), dtype=torch.bool))
        marks["seed" if own else "projected"] += dice
        return loss * 2 + F.binary_cross_entropy_with_logits(score[:, 0], torch.ones(len(raw)))


def chained(first: nn.Conv2d, second: nn.Conv2d, image: Tensor) -> Tensor:
    """Two convolutions of one pixel as one."""
    left, right = second.weight.flatten(1), first.weight.flatten(1)
    return F.conv2d(image, (left @ right)[..., None, None], left @ first.bias + second.bias)


def rough(soft: Tensor, rng: np.random.Generator) -> Tensor:
    """Mask prompts [B, 1, h, w] as a model would have drawn them: +-6.9, grown or shrunk a little."""
    moved = F.avg_pool2d(soft[:, None], 3, stride=1, padding=1)
    level = torch.as_tensor(rng.uniform(0.2, 0.8, (len(soft), 1, 1, 1)), dtype=torch.float32)
    return torch.where(moved > level, 6.907, -6.907)


def mask_loss(raw: Tensor, quality: Tensor, truth: Tensor, present: Tensor) -> tuple[Tensor, list[float]]:
    """Of the best of M masks [B, M, h, w], and of the predicted IoU of all; Dice of the mask that would be chosen."""
    if not present.any():
        return raw.sum() * 0, []
    raw, quality, truth = raw[present], quality[present], truth[present][:, None].expand(-1, raw.shape[1], -1, -1)
    chance = torch.sigmoid(raw)
    cross = F.binary_cross_entropy_with_logits(raw, truth, reduction="none")
    weight = 1 + 4 * (truth > 0.02).float()
    cross = (cross * weight).mean((2, 3)) * 4
    dice = 1 - (2 * (chance * truth).sum((2, 3)) + 1) / (chance.sum((2, 3)) + truth.sum((2, 3)) + 1)
    both = cross + dice
    with torch.no_grad():
        hard, true = raw > 0, truth > 0.5
        overlap = (hard & true).sum((2, 3)).float()
        ious = overlap / (hard | true).sum((2, 3)).clamp_min(1)
        chosen = quality.argmax(1)
        sizes = (hard.sum((2, 3)) + true.sum((2, 3))).clamp_min(1)
        marks = (2 * overlap / sizes)[torch.arange(len(raw)), chosen]
    loss = both.min(1).values.mean() + 0.05 * both.mean() + F.l1_loss(quality, ious)
    return loss, marks.tolist()


class Fit:
    """Everything that a fit carries from step to step, and from one start to the next."""

    def __init__(self, path: Path, minutes: float, rate: float, side: int) -> None:
        self.path, self.minutes, self.rate = path, minutes, rate
        torch.manual_seed(0)
        self.network = build_network(side).train()
        self.learning = [one for one in self.network.parameters() if one.requires_grad]
        self.optimiser = torch.optim.AdamW(self.learning, lr=rate, weight_decay=0.01)
        self.average = {name: one.detach().clone() for name, one in self.network.state_dict().items()}
        self.steps, self.spent = 0, 0.0
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average, self.steps, self.spent = state["model"], state["steps"], state["spent"]

    def save(self) -> None:
        """Write so that a crash leaves the old file."""
        part = self.path.with_suffix(".part")
        state = {"model": self.average, "network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save({**state, "steps": self.steps, "spent": self.spent}, part)
        os.replace(part, self.path)

    def learn(self, loss: Tensor) -> None:
        """One step: warm-up, cosine, clipped gradients, averaged weights."""
        share = min(self.spent / 60 / self.minutes, 1.0)
        rate = self.rate * min(1.0, (self.steps + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        if bool(torch.isfinite(loss)):
            self.optimiser.step()
        self.steps += 1
        decay = min(0.99, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for name, one in self.network.state_dict().items():
                if one.dtype.is_floating_point:
                    self.average[name].mul_(decay).add_(one, alpha=1 - decay)


def fit(options: argparse.Namespace) -> None:
    """Run or resume a fit."""
    manifest = HERE / "training_data.json"
    items = json.loads(manifest.read_text(encoding="utf-8"))["volumes"]
    real = list(load_real(manifest, options.data)) if options.data else []
    run = Fit(options.weights, options.minutes, options.rate, options.side)
    learner = Learner(run.network)
    source = Source(real, [float(one.get("weight", 1.0)) for one in items], 1000 + run.steps, options.side)
    rng = np.random.default_rng([7, run.steps])
    recent: dict[str, list[float]] = {}
    begun, before, saved = time.process_time(), run.spent, time.monotonic()
    while run.spent < 60 * (options.until or options.minutes):
        images, masks = source.batch(options.batch)
        loss, marks = learner.step(images, masks, rng)
        run.learn(loss)
        run.spent = before + time.process_time() - begun
        for name, one in {"loss": float(loss.detach()), **marks}.items():
            recent.setdefault(name, []).append(one)
        if run.steps % 40 == 0:
            told = ", ".join(f"{name} {np.mean(one):.3f}" for name, one in recent.items())
            print(f"step {run.steps}, {run.spent / 60:.1f} min: {told}", flush=True)
            recent = {}
        if time.monotonic() - saved > 120:
            run.save()
            saved = time.monotonic()
    run.save()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--side", type=int, default=256, help="of the input in pixels")
    parser.add_argument("--until", type=float, help="stop earlier, to go on at another size")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=8e-4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    fit(options)


if __name__ == "__main__":
    main()
