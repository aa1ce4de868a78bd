#!/usr/bin/env python
"""Whether OpenVINO would encode slices faster than our own form of SAM's image encoder, and how exactly.

    pip install openvino     (this project does not use it otherwise)
    python scripts/bench_openvino.py [--blocks 12] [--repeats 5] [--stock] [--bf16] [--json results.json]

ViT-B's geometry at 1024 pixels, random weights, one thread, one slice. Variants take turns within one process; figures
are medians and ranges of CPU seconds of the process. How exactly: the largest difference to the stock modules over the
range, of the embedding, and of the logits that SAM's decoder makes of it for a box.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from bench_phantom import VIT_B
from SegmentAnythingMedLib.models.interface import ModelInfo, SliceFeatures
from SegmentAnythingMedLib.models.sam import EMBEDDING, SamModel
from SegmentAnythingMedLib.models.sam_network import build_sam
from SegmentAnythingMedLib.prompts.types import SlicePrompts

INFO = ModelInfo("random", "sam", "vit-b", "0" * 64, "random", "none")
BOX = SlicePrompts(box=(300.0, 280.0, 700.0, 640.0))
EXACT = 1e-3
Encoder = Callable[[torch.Tensor], np.ndarray]


def sam(blocks: int, *, fast: bool) -> SamModel:
    """The same weights every time; tables of positions are drawn too, since zeros would hide their cost."""
    depths = tuple(n for n in VIT_B.global_blocks if n < blocks)
    torch.manual_seed(0)
    network = build_sam(replace(VIT_B, depth=blocks, global_blocks=depths))
    with torch.no_grad():
        for name, table in network.image_encoder.named_parameters():
            if "pos" in name:
                table.normal_(std=0.02)
    return SamModel(network.eval(), INFO, fast=fast)


def ours(blocks: int, *, fast: bool) -> Encoder:
    """The image encoder as this library runs it, or the stock modules."""
    encoder = sam(blocks, fast=fast)._network.image_encoder

    def encode(image: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return encoder(image).numpy()

    return encode


def openvino(blocks: int, precision: str) -> Encoder:
    """The stock modules, converted and compiled for one thread."""
    import openvino as ov

    begun = time.process_time()
    encoder = sam(blocks, fast=False)._network.image_encoder
    converted = ov.convert_model(encoder, example_input=torch.zeros(1, 3, 1024, 1024))
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = ov.Core().compile_model(converted, "CPU", options)
    print(f"OpenVINO {ov.__version__}, {precision}: {time.process_time() - begun:.0f} s CPU to convert and compile")
    return lambda image: compiled(image.numpy())[0].copy()


def measure(encoders: dict[str, Encoder], repeats: int, image: torch.Tensor) -> tuple[dict, dict[str, np.ndarray]]:
    """CPU seconds of every run, variants in turn after one run each to get warm, and the embeddings."""
    found = {name: encode(image) for name, encode in encoders.items()}
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(repeats):
        for name, encode in encoders.items():
            begun = time.process_time()
            encode(image)
            taken[name].append(time.process_time() - begun)
    return taken, found


def logits(model: SamModel, embedding: np.ndarray) -> np.ndarray:
    """Of the mask that SAM's decoder makes of an embedding for a box."""
    features = SliceFeatures({EMBEDDING: torch.from_numpy(embedding[0])}, model.frame((1024, 1024), (1.0, 1.0)))
    return model.decode(features, BOX).logits


def off(one: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference over the range."""
    return float(np.abs(one - wanted).max() / np.ptp(wanted))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=VIT_B.depth)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stock", action="store_true", help="time the stock modules too")
    parser.add_argument("--bf16", action="store_true", help="and OpenVINO in bfloat16")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    image = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(1))
    stock = ours(args.blocks, fast=False)
    encoders = {"ours": ours(args.blocks, fast=True), "OpenVINO f32": openvino(args.blocks, "f32")}
    encoders.update({"OpenVINO bf16": openvino(args.blocks, "bf16")} if args.bf16 else {})
    encoders.update({"stock": stock} if args.stock else {})
    wanted = stock(image)
    taken, found = measure(encoders, args.repeats, image)
    model, rows = sam(1, fast=False), []
    for name, runs in taken.items():
        row: dict[str, Any] = {"variant": name, "s": float(np.median(runs)), "range": [min(runs), max(runs)]}
        row["embedding"] = off(found[name], wanted)
        row["logits"] = off(logits(model, found[name]), logits(model, wanted))
        rows.append(row)
        verdict = "exact enough" if row["logits"] <= EXACT else "NOT exact enough"
        print(
            f"{name:14} {row['s']:6.2f} s [{min(runs):.2f}-{max(runs):.2f}]   off by {row['embedding']:.1e} of the "
            f"embedding's range, {row['logits']:.1e} of the logits' ({verdict})"
        )
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
