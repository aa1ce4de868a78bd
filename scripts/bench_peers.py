#!/usr/bin/env python
"""This engine beside micro-sam and SAM2VideoPredictor: same weights, same volume, in one process, in turn.

    python scripts/bench_weights.py vit_b.pth                            # once, some minutes; see there
    python scripts/bench_peers.py micro-sam vit_b.pth --step cold        # from opening the volume to an object
    python scripts/bench_peers.py micro-sam vit_b.pth --step warm        # re-prompt, and three objects, when encoded
    python scripts/bench_peers.py sam2 [--size 512] [--slices 8]         # cold, re-prompt, a second object
    python scripts/bench_peers.py sam2-memory [--size 512] [--slices 300]

One thread; CPU seconds of this process, which other programs disturb less than the clock. Figures are medians over the
repetitions, with the range; the engines take turns. Where the package ``micro_sam`` is not installed, its steps are
re-enacted on ``SamPredictor`` (``bench_peer_sam.py``); the first line of the output says which. ``cold`` is everything
from opening the volume: micro-sam encodes all of its slices, this engine those that it visits. In ``warm`` both start
from the same embeddings. Bars:

    micro-sam           cold, re-prompt, three objects in one pass >= 2.5; Dice of the results >= 0.999
    SAM2VideoPredictor  re-prompt >= 3, adding an object >= 2, peak memory <= 1/4 on 300 slices
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

import numpy as np
import torch
from bench_peer_sam import IOU, peer
from bench_phantom import Phantom
from bench_weights import WINDOW, phantom
from SegmentAnythingMedLib import PropagationSettings, Session, SlicePrompts, load_model
from SegmentAnythingMedLib.propagation.walk import propagate_objects

MOVED = np.array([2.0, -1.0, 1.0, 2.0])
"""How a re-prompt changes a box, in pixels."""
SETTINGS = PropagationSettings.published(projection="mask", box_extension=0.0, iou_threshold=IOU, near=True)
Masks = dict[str, np.ndarray]


class Theirs:
    """micro-sam on the phantom."""

    def __init__(self, weights: Path, scene: Phantom) -> None:
        self._peer, self._voxels = peer(weights), scene.volume.voxels
        self.name, self._embeddings = self._peer.name, None

    def open(self) -> None:
        """Encode every slice."""
        self._embeddings = self._peer.embed(self._voxels)

    def open_with(self, features: np.ndarray) -> None:
        """Use embeddings [K, 256, 64, 64] that were made elsewhere."""
        self._embeddings = self._peer.given(features, self._voxels.shape)

    def segment(self, boxes: dict[str, Any], index: int) -> Masks:
        """One object after the other."""
        shape = self._voxels.shape
        return {name: self._peer.segment(self._embeddings, shape, index, tuple(box)) for name, box in boxes.items()}


class Ours:
    """This engine by the same rules (``PropagationSettings.published``)."""

    name = "this engine"

    def __init__(self, weights: Path, scene: Phantom) -> None:
        self._model = load_model(weights, device="cpu", family="sam")
        self._volume, self._session, self.visited = scene.volume, None, []

    def open(self) -> None:
        """Encode nothing yet."""
        self._session = Session(self._volume, self._model, axis="k", window=WINDOW)

    def segment(self, boxes: dict[str, Any], index: int) -> Masks:
        """All objects in one pass."""
        seeds = {name: {index: SlicePrompts(box=tuple(map(float, box)))} for name, box in boxes.items()}
        found = propagate_objects(self._session, seeds, SETTINGS)
        self.visited = sorted({index for one in found.values() for index in one.records})
        return {name: one.stack() for name, one in found.items()}

    @property
    def encodes(self) -> int:
        """Slices encoded since :meth:`open`."""
        return self._session.counters.encodes

    def features(self) -> np.ndarray:
        """Embeddings float32 [K, 256, 64, 64] of the slices that were encoded; others are 0."""
        found = np.zeros((self._session.count, 256, 64, 64), dtype=np.float32)
        for index in self.visited:
            found[index] = self._session.features(index, None).tensors["image_embedding"]
        return found


def boxes_of(scene: Phantom, names: tuple[str, ...], moved: int = 0) -> dict[str, np.ndarray]:
    """Boxes of objects on their middle slice, as a person would draw them, the ``moved``-th version."""
    return {name: np.round(np.array(scene.box(name)) + 0.5 + moved * MOVED) for name in names}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, result."""
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def compare_micro_sam(weights: Path, step: str, repeats: int) -> None:
    """Print seconds, ratios and Dice."""
    scene = phantom()
    theirs, ours = Theirs(weights, scene), Ours(weights, scene)
    print(f"{theirs.name} beside this engine; SAM ViT-B at 1024 px, {scene.volume.shape[0]} slices of 512 x 512, "
          f"objects on {scene.slices('one')} of them; {machine()}", flush=True)  # fmt: skip
    index, rows = scene.middle("one"), Rows(theirs.name, ours.name)
    engines, three = (theirs, ours), tuple(scene.truth)

    def cold(engine: Any, boxes: dict[str, Any]) -> Masks:
        engine.open()
        return engine.segment(boxes, index)

    if step == "cold":
        for repeat in range(repeats):
            boxes = boxes_of(scene, ("one",), repeat)
            rows.add("cold, first object", [timed(lambda e=e, b=boxes: cold(e, b)) for e in engines])
        print(f"slices encoded by this engine: {ours.encodes}")
    else:
        ours.open()
        ours.segment(boxes_of(scene, three), index)
        theirs.open_with(ours.features())
        theirs.segment(boxes_of(scene, three), index)
        for repeat in range(1, repeats + 1):
            one, all_three = boxes_of(scene, ("one",), repeat), boxes_of(scene, three, repeat)
            rows.add("re-prompt", [timed(lambda e=e, b=one: e.segment(b, index)) for e in engines])
            rows.add("three objects, encoded", [timed(lambda e=e, b=all_three: e.segment(b, index)) for e in engines])
    rows.show()


class Rows:
    """Times of two engines by step, and the Dice of their masks."""

    def __init__(self, *names: str) -> None:
        self._names, self._seconds, self._dice, self._areas = names, {}, {}, {}

    def add(self, step: str, pair: list[tuple[float, Masks]]) -> None:
        """One repetition: (seconds, masks) of both."""
        self._seconds.setdefault(step, []).append([seconds for seconds, _ in pair])
        theirs, ours = (found for _, found in pair)
        for name, mask in theirs.items():
            self._dice.setdefault(step, []).append(dice(mask.astype(bool), ours[name]))
            self._areas.setdefault(step, []).append(int(np.count_nonzero(mask)))

    def show(self) -> None:
        """As a Markdown table."""
        print(f"\n| step | {self._names[0]} | {self._names[1]} | ratio | Dice of the masks (smallest) | voxels |")
        print("|---|---|---|---|---|---|")
        for step, pairs in self._seconds.items():
            theirs, ours = zip(*pairs, strict=True)
            ratio = statistics.median(theirs) / statistics.median(ours)
            print(f"| {step} | {told(theirs)} | {told(ours)} | {ratio:.2f} | {min(self._dice[step]):.5f} "
                  f"| {min(self._areas[step])} to {max(self._areas[step])} |")  # fmt: skip


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Of two bool arrays; 0 when both are empty: then nothing was compared."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else 0.0


def told(values: Any) -> str:
    """Median and range in seconds."""
    return f"{statistics.median(values):.2f} s ({min(values):.2f}-{max(values):.2f}, n = {len(values)})"


def machine() -> str:
    """What it ran on."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return f"{name}, one thread, torch {torch.__version__}, Python {platform.python_version()}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tools = parser.add_subparsers(dest="tool", required=True)
    sam = tools.add_parser("micro-sam")
    sam.add_argument("weights", type=Path)
    sam.add_argument("--step", choices=("cold", "warm"), default="warm")
    sam.add_argument("--repeats", type=int)
    sam2 = tools.add_parser("sam2")
    sam2.add_argument("--repeats", type=int, default=3)
    memory = tools.add_parser("sam2-memory")
    for one, slices in ((sam2, 8), (memory, 300)):
        one.add_argument("--size", type=int, default=512)
        one.add_argument("--slices", type=int, default=slices)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.tool == "micro-sam":
        compare_micro_sam(options.weights, options.step, options.repeats or (1 if options.step == "cold" else 5))
        return
    import bench_memory_engine

    print(machine())
    if options.tool == "sam2":
        bench_memory_engine.measure_times(options.size, options.slices, options.repeats)
    else:
        bench_memory_engine.compare_memory(options.size, options.slices)


if __name__ == "__main__":
    main()
