#!/usr/bin/env python
"""Train the built-in model (spec: README, "The built-in model"). Resumable, seeded, CPU or CUDA.

    python scripts/train_default_model.py --data DATA --run RUN --minutes 120
    python scripts/train_default_model.py --run RUN --export OUT.safetensors      # weights for the library

A run folder holds ``state.pt`` (everything needed to go on; written every few minutes), ``log.jsonl`` (one line per
100 steps) and ``config.json``. Started again on the same folder it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

from SegmentAnythingMedLib.models.hybrid import HybridConfig, HybridSam
from SegmentAnythingMedLib.training.crops import cut_sample
from SegmentAnythingMedLib.training.interactive import collate, first_prompts, training_step
from SegmentAnythingMedLib.training.masses import mass_sample
from SegmentAnythingMedLib.training.pool import PoolVolume, load_real, synthetic_volume

HERE = Path(__file__).resolve().parent
DESIGNS = {
    "plain": HybridConfig(skip_dims=(0, 0), dense_prior=False),
    "skips": HybridConfig(dense_prior=False),
    "prior": HybridConfig(),
    "reference": HybridConfig(references=True),
    "clicks": HybridConfig(references=True, clicks=True),
}
"""Networks that were compared: SAM's decoder; with skips; with skips and the box's ellipse as mask prompt; with what
the object looked like where it is known, besides; with clicks as maps, too."""


class Crops(IterableDataset):
    """Endless training samples; sample ``n`` depends on the seed, ``n`` and the synthetic volumes in the pool."""

    def __init__(self, real: list[PoolVolume], weights: list[float], start: int, args: argparse.Namespace) -> None:
        self.real, self.weights = real, np.asarray(weights) / max(sum(weights), 1e-9)
        self.seed, self.start, self.size = args.seed, start, args.size
        self.synthetic_share, self.mass_share = args.synthetic_share, args.mass_share

    def __iter__(self):
        torch.set_num_threads(1)
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        volumes: list[PoolVolume] = []
        number = self.start + worker
        made = 0
        while True:
            # a fresh synthetic volume every 64 samples, 24 in the pool
            if made % 64 == 0 or len(volumes) < 6:
                volumes.append(synthetic_volume(self.seed * 1_000_003 + number))
                volumes = volumes[-24:]
            rng = np.random.default_rng([self.seed, number])
            number += workers
            sample = None
            while sample is None:
                if not self.real or rng.random() < self.synthetic_share:
                    volume = volumes[rng.integers(len(volumes))]
                else:
                    volume = self.real[rng.choice(len(self.real), p=self.weights)]
                draw = mass_sample if rng.random() < self.mass_share else cut_sample
                sample = draw(volume, rng, self.size)
            made += 1
            yield first_prompts(sample, rng)


def update_average(average: dict[str, torch.Tensor], net: HybridSam, step: int) -> None:
    """Exponential moving average of weights and batch statistics."""
    decay = min(0.999, (1 + step) / (20 + step))
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                average[name].mul_(decay).add_(value.detach().cpu(), alpha=1 - decay)
            else:
                average[name].copy_(value.cpu())


def load_data(args: argparse.Namespace) -> tuple[list[PoolVolume], list[float]]:
    """Real volumes and their sampling weights; none when there is no data folder."""
    if not args.data:
        return [], []
    manifest = HERE / "training_data.json"
    items = json.loads(manifest.read_text(encoding="utf-8"))["volumes"]
    real = list(load_real(manifest, Path(args.data)))
    for volume in real:
        print(
            f"{volume.name}: {volume.labels.shape}, {len(volume.targets)} objects, oblique {volume.oblique}", flush=True
        )
    return real, [float(item.get("weight", 1.0)) for item in items]


class Run:
    """Everything that a training carries from step to step, and from one start to the next."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.folder = args, Path(args.run)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() and args.device != "cpu" else "cpu")
        torch.manual_seed(args.seed)
        self.config = DESIGNS[args.design]
        self.net = HybridSam(self.config).to(self.device, memory_format=torch.channels_last)
        if args.freeze_encoder:
            self.net.image_encoder.requires_grad_(False)
        learning = [p for p in self.net.parameters() if p.requires_grad]
        groups = ([p for p in learning if p.ndim > 1], [p for p in learning if p.ndim <= 1])
        self.optimizer = torch.optim.AdamW(
            [{"params": groups[0], "weight_decay": 0.02}, {"params": groups[1], "weight_decay": 0.0}], lr=args.lr
        )
        self.step, self.elapsed = 0, 0.0
        self.state_file = self.folder / "state.pt"
        if self.state_file.exists():
            self._resume()
        else:
            if args.init:
                warm = torch.load(Path(args.init) / "state.pt", map_location="cpu", weights_only=True)["average"]
                print("fresh:", self.net.load_state_dict(warm, strict=False).missing_keys, flush=True)
            self.average = {k: v.detach().cpu().clone() for k, v in self.net.state_dict().items()}
        self._sums: dict[str, list[float]] = {}

    def _resume(self) -> None:
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step, self.elapsed = state["average"], state["step"], state["elapsed"]
        print(f"resumed at step {self.step}, {self.elapsed / 60:.1f} min", flush=True)

    def save(self) -> None:
        """Write the checkpoint so that a crash leaves the old one."""
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        part = self.state_file.with_suffix(".part")
        torch.save({**state, "average": self.average, "step": self.step, "elapsed": self.elapsed}, part)
        os.replace(part, self.state_file)

    @property
    def progress(self) -> float:
        """Part of the run that is done, 0..1."""
        steps = self.step / self.args.steps if self.args.steps else 0.0
        return max(self.elapsed / 60 / self.args.minutes, steps)

    def learn(self, batch: dict[str, torch.Tensor]) -> None:
        """One optimizer step: linear warm-up, cosine decay, clipped gradients, averaged weights."""
        cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.progress))
        rate = self.args.lr * min(1.0, (self.step + 1) / 200) * cosine
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = {k: v.to(self.device) for k, v in batch.items()}
        loss, parts = training_step(self.net, batch, np.random.default_rng([self.args.seed, 7, self.step]))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        value = float(loss.detach())
        if math.isfinite(value):
            self.optimizer.step()
            update_average(self.average, self.net, self.step)
        self.step += 1
        for key, number in {"loss": value, **parts}.items():
            if math.isfinite(number):
                self._sums.setdefault(key, []).append(number)
        if self.step % 100 == 0:
            self._log(rate)

    def _log(self, rate: float) -> None:
        means = {k: round(float(np.mean(v)), 4) for k, v in self._sums.items()}
        line = {"step": self.step, "minutes": round(self.elapsed / 60, 2), "lr": rate, **means}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._sums = {}


def train(args: argparse.Namespace) -> None:
    """Run or resume a training."""
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    run = Run(args)
    settings = {**vars(args), "config": run.config.as_dict()}
    (run.folder / "config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    real, weights = load_data(args)
    crops = Crops(real, weights, run.step * args.batch, args)
    prefetch = 4 if args.workers else None
    loader = DataLoader(
        crops, batch_size=args.batch, num_workers=args.workers, collate_fn=collate, prefetch_factor=prefetch
    )
    saved = time.monotonic()
    begun = saved - run.elapsed
    run.net.train()
    run.net.image_encoder.train(not args.freeze_encoder)
    for batch in loader:
        run.elapsed = time.monotonic() - begun
        if run.progress >= 1:
            break
        run.learn(batch)
        if time.monotonic() - saved > args.save_minutes * 60:
            run.save()
            saved = time.monotonic()
    run.save()
    print(f"done: {run.step} steps, {run.elapsed / 60:.1f} min", flush=True)


def export(args: argparse.Namespace) -> None:
    """Averaged weights of a run as fp16 safetensors with the network's sizes in the metadata."""
    from safetensors.torch import save_file

    run = Path(args.run)
    state = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))["config"]
    tensors = {
        k: (v.half() if v.dtype == torch.float32 and "running" not in k else v).contiguous()
        for k, v in state["average"].items()
    }
    tensors = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    metadata = {
        "format": "pt",
        "config": json.dumps(config),
        "steps": str(state["step"]),
        "minutes": f"{state['elapsed'] / 60:.1f}",
    }
    part = Path(args.export).with_suffix(".part")
    save_file(tensors, part, metadata=metadata)
    os.replace(part, args.export)
    print(f"{args.export}: {Path(args.export).stat().st_size / 1e6:.1f} MB, {state['step']} steps")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", help="folder with the data sets named in training_data.json; without it: synthetic only"
    )
    parser.add_argument("--run", required=True, help="run folder")
    parser.add_argument(
        "--minutes", type=float, default=120, help="length of the run (the learning-rate schedule follows it)"
    )
    parser.add_argument("--steps", type=int, default=0, help="end after this many steps if that is earlier")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--size", type=int, default=128, help="side of the crops; a run may go on at another size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--design", choices=list(DESIGNS), default="prior")
    parser.add_argument("--synthetic-share", type=float, default=0.4)
    parser.add_argument("--mass-share", type=float, default=0.35, help="part of the crops with a painted mass")
    parser.add_argument("--save-minutes", type=float, default=3)
    parser.add_argument("--init", help="start from the averaged weights of another run; what is new starts fresh")
    parser.add_argument("--freeze-encoder", action="store_true", help="train what reads the features, not the encoder")
    parser.add_argument("--export", help="write the averaged weights of the run to this file and stop")
    args = parser.parse_args()
    if args.export:
        export(args)
    else:
        train(args)


if __name__ == "__main__":
    main()
