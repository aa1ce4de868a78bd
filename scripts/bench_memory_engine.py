#!/usr/bin/env python
"""Propagation with memory beside SAM2VideoPredictor: same network, same slices, same masks; time, and memory.

    python scripts/bench_memory_engine.py [--size 512] [--slices 8] [--repeats 3]
    python scripts/bench_memory_engine.py --memory [--size 512] [--slices 300]

One thread. The network is SAM 2.1 tiny with random weights (its times do not depend on them), the volume is made up,
and the frames are handed to the official predictor in memory (a folder of JPEGs would only slow it down). Both do all
slices in both directions by the rules of SAM2VideoPredictor, so that masks can be compared pixel by pixel. Three steps,
of both engines in turn, medians over the repetitions:

    cold       from opening the volume to all masks of one object
    re-prompt  the box of the object is moved a little and everything is tracked again (the official state is reset:
               else the earlier mask prompts too, and the masks are not comparable)
    add        a second object is boxed on the same slice (its masks are compared)

``--memory`` runs each engine in a process of its own and prints how far its peak lies above what the program, network
and volume take (with an image encoder that costs nothing, or it would take hours). What is on disk is not counted: the
system may keep it in memory, and drops it when a program needs the room.

Needs the package sam2 and the folder Testing.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Testing"))

import numpy as np
import torch
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.walk import propagate_objects
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from video_predictor import official_video, our_model, state_of

STEPS = {
    "cold": {"one": (0.20, 0.20, 0.45, 0.45)},
    "re-prompt": {"one": (0.19, 0.21, 0.46, 0.45)},
    "add": {"two": (0.60, 0.50, 0.85, 0.80)},
}
"""Boxes x0, y0, x1, y1 in parts of the slice."""
Boxes = dict[str, tuple[float, float, float, float]]
Masks = dict[str, dict[int, np.ndarray]]


class Official:
    """SAM2VideoPredictor on the slices of a session."""

    def __init__(self, network: Any, session: Session) -> None:
        self._network, self._session = network, session
        self._state = state_of(network, session)

    def segment(self, boxes: Boxes) -> Masks:
        """Masks by object and slice."""
        seed, found = self._session.count // 2, {}
        if not set(boxes) - set(self._state["obj_ids"]):
            self._network.reset_state(self._state)
        for name, box in scaled(boxes, self._session).items():
            self._network.add_new_points_or_box(self._state, seed, name, box=list(box))
        for reverse in (False, True):
            for index, names, logits in self._network.propagate_in_video(self._state, reverse=reverse):
                for name, one in zip(names, logits, strict=True):
                    found.setdefault(name, {})[index] = (one[0] > 0).numpy()
        return found


class Ours:
    """The memory engine on a session."""

    def __init__(self, _: Any, session: Session) -> None:
        self._session, self._boxes, self._before = session, {}, {}

    def segment(self, boxes: Boxes) -> Masks:
        """Masks by object and slice; objects whose box stays are taken over."""
        self._boxes.update(scaled(boxes, self._session))
        seeds = {name: {self._session.count // 2: SlicePrompts(box=box)} for name, box in self._boxes.items()}
        self._before = propagate_objects(self._session, seeds, MemorySettings.as_sam2(), previous=self._before)
        return {name: dict(one.masks) for name, one in self._before.items()}


def scaled(boxes: Boxes, session: Session) -> Boxes:
    """In pixels of the slice."""
    rows, cols = session.shape
    return {name: (x0 * cols, y0 * rows, x1 * cols, y1 * rows) for name, (x0, y0, x1, y1) in boxes.items()}


def make_volume(slices: int, side: int) -> Volume:
    """Two leaning tubes in noise, int16."""
    rng, axis = np.random.default_rng(0), np.arange(side)
    voxels = rng.integers(0, 40, (slices, side, side), dtype=np.int16)
    for n in range(slices):
        for row, col, lean, radius, value in ((0.32, 0.32, 0.1, 0.12, 120), (0.65, 0.72, -0.1, 0.13, 80)):
            row, col = side * (row + lean * n / slices), side * (col + lean * n / slices)
            voxels[n] += (value * ((axis[:, None] - row) ** 2 + (axis - col) ** 2 < (radius * side) ** 2)).astype("i2")
    return Volume(voxels, Affine.from_parts(spacing=(1, 1, 2)))


def measure_times(size: int, slices: int, repeats: int) -> None:
    """Print seconds of both engines, their ratio, and how many pixels differ."""
    network = official_video("2.1", size, quick=False)
    model, volume = our_model(network), make_volume(slices, size)
    seconds: dict[tuple[str, str], list[float]] = {}
    differing: dict[str, float] = {}
    for _ in range(repeats):
        engines: dict[str, Any] = {}
        for step, boxes in STEPS.items():
            found = {}
            for name, engine in (("official", Official), ("ours", Ours)):
                begun = time.process_time()
                if step == "cold":
                    engines[name] = engine(network, Session(volume, model, axis="k", window="60,120"))
                found[name] = engines[name].segment(boxes)
                seconds.setdefault((step, name), []).append(time.process_time() - begun)
            wrong = [compare(found["official"][name], found["ours"][name]) for name in boxes]
            differing[step] = max(differing.get(step, 0.0), *wrong)
    print(f"SAM 2.1 tiny, {size} px, {slices} slices, {repeats} repetitions, CPU seconds of one thread: median (range)")
    print(f"{'step':12}{'SAM2VideoPredictor':>24}{'this engine':>24}{'ratio':>8}{'pixels that differ':>22}")
    for step in STEPS:
        official, ours = (seconds[step, name] for name in ("official", "ours"))
        ratio = statistics.median(official) / statistics.median(ours)
        print(f"{step:12}{told(official):>24}{told(ours):>24}{ratio:8.2f}{100 * differing[step]:20.4f} %")


def told(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def compare(first: dict[int, np.ndarray], second: dict[int, np.ndarray]) -> float:
    """Part of all pixels that differ."""
    wrong = sum(np.count_nonzero(mask != second.get(index, np.zeros_like(mask))) for index, mask in first.items())
    return wrong / sum(mask.size for mask in first.values())


def measure_memory(kind: str, size: int, slices: int) -> None:
    """Print the growth of this process's peak in MiB as JSON."""
    network = official_video("2.1", size, quick=False)
    network.image_encoder.forward = _same_features(network, size)
    model, volume = our_model(network), make_volume(slices, size)
    model.network.image_encoder.forward = network.image_encoder.forward
    warm = Session(volume, model, axis="k", window="60,120", cache=FeatureCache())
    warm.predict(0, SlicePrompts(box=(0, 0, 9, 9)))
    warm.close()
    session = Session(volume, model, axis="k", window="60,120")
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed must not hide what is needed
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    engine = (Official if kind == "official" else Ours)(network, session)
    masks = engine.segment(STEPS["cold"])
    growth = (resident("VmHWM") - before) / 1024
    held = sum(mask.nbytes for one in masks.values() for mask in one.values()) / 2**20
    print(json.dumps({"engine": kind, "peak_growth_mib": round(growth, 1), "of_that_masks_mib": round(held, 1)}))


def compare_memory(size: int, slices: int) -> None:
    """Print the peaks of both engines, each in a process of its own, and their ratio."""
    print(f"SAM 2.1 tiny, {size} px, {slices} slices, one object: peak above program, network and volume", flush=True)
    peaks = []
    for kind in ("official", "ours"):
        command = [sys.executable, __file__, "--engine", kind, "--size", str(size), "--slices", str(slices)]
        told = subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout
        print(told.strip(), flush=True)
        peaks.append(json.loads(told)["peak_growth_mib"])
    print(f"this engine / SAM2VideoPredictor: {peaks[1] / peaks[0]:.2f}")


def _same_features(network: Any, size: int) -> Any:
    """An image encoder that costs nothing; memory depends on the shapes of what it returns only."""
    maps = [torch.randn(1, 256, size // stride, size // stride) for stride in (4, 8, 16)]
    codes = [network.image_encoder.neck.position_encoding(one) for one in maps]
    return lambda _: {"vision_features": maps[-1], "vision_pos_enc": list(codes), "backbone_fpn": list(maps)}


def resident(key: str) -> int:
    """A line of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int)
    parser.add_argument("--slices", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure memory (Linux only)")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.engine:
        measure_memory(options.engine, options.size, options.slices)
    elif options.memory:
        compare_memory(options.size or 512, options.slices or 300)
    else:
        measure_times(options.size or 512, options.slices or 8, options.repeats)


if __name__ == "__main__":
    main()
