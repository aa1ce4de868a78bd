#!/usr/bin/env python
"""How long a user of the Slicer module waits: from a prompt in the scene to the updated segment.

    python scripts/bench_slicer.py [--prompts 20] [--size 512] [--slices 60] [--threads 2] [--json results.json]

Real MRML (slicer-core with the stand-in of the tests), the real controller and its worker thread, the built-in model on
the CPU. Every prompt is a control point or a box that is added to the scene's Markups; the controller is polled every
30 ms as by the panel's timer, and the clock stops when it tells that the mask is in the segment. Shares of one prompt:

    encode, decode   the network                prepare   slice, intensities, cache
    write            into the segment, undo     rest      reading prompts, waiting for the timer, provenance, events

Wall time is what a person waits; CPU time is what this process computed, and is not disturbed by other programs much.
Waiting threads sleep (OMP_WAIT_POLICY=PASSIVE), as the module has it.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch: its threads must not spin beside Slicer's

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "SegmentAnythingMed"), str(ROOT / "Testing")]

POLL_S = 0.03
BAR_S = 0.3
PARTS = ("encode", "decode", "prepare", "write")


class Bench:
    """A controller on a phantom in a scene, with clocks at the places that matter."""

    def __init__(self, size: int, slices: int) -> None:
        from slicer_fixtures import add_phantom
        from standin.host import the_host

        the_host().fresh()
        import slicer
        from SegmentAnythingMedLib.apps.slicer.controller import Controller

        self.phantom = add_phantom("oblique", shape=(slices, size, size))
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.phantom.node)
        self.controller = Controller()
        self.controller.volume, self.controller.segmentation = self.phantom.node, self.segmentation
        self.written: Any = None
        self.write_s = 0.0
        self.controller.listen(self._told)
        inner = self.controller.scribe.write

        def write(*arguments: Any, **options: Any) -> Any:
            """The write itself, timed."""
            begun = time.perf_counter()
            try:
                return inner(*arguments, **options)
            finally:
                self.write_s += time.perf_counter() - begun

        self.controller.scribe.write = write

    def _told(self, event: str, data: Any) -> None:
        if event == "slice_result":
            self.written = data
        elif event == "error":
            raise data

    def new_segment(self) -> None:
        """Begin with a segment without prompts."""
        name = f"segment {self.segmentation.GetSegmentation().GetNumberOfSegments()}"
        self.controller.segment_id = self.segmentation.GetSegmentation().AddEmptySegment("", name)

    def node(self, role: str) -> Any:
        """Where the next prompt goes."""
        from SegmentAnythingMedLib.apps.slicer.prompt_nodes import prompt_node

        return prompt_node(self.segmentation, self.controller.segment_id, self.phantom.node, role)

    def point(self, k: int, shift: float) -> Callable[[], Any]:
        """Adds a point inside of the object on slice ``k``."""
        i, j, _ = self.phantom.centre
        where, node = self.phantom.world((i + shift, j + shift / 2, k)), self.node("positive")
        return lambda: node.AddControlPoint(*where)

    def box(self, k: int) -> Callable[[], Any]:
        """Adds a box around the object on slice ``k``."""
        rows, cols = np.nonzero(self.phantom.mask[k])
        low, high = (cols.min() - 3, rows.min() - 3), (cols.max() + 3, rows.max() + 3)
        middle = self.phantom.world(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, k))
        steps = self.phantom.ijk_to_world[:3, :3]
        sides = [np.linalg.norm(steps[:, n]) * extent for n, extent in enumerate((high[0] - low[0], high[1] - low[1]))]
        import vtk

        def add() -> None:
            """Put the box into the scene."""
            node, frame = self.node("box"), vtk.vtkMatrix4x4()
            for row in range(3):
                for col in range(3):
                    frame.SetElement(row, col, steps[row, col] / np.linalg.norm(steps[:, col]))
                frame.SetElement(row, 3, middle[row])
            node.SetAndObserveObjectToNodeMatrix(frame)
            node.SetSize(*sides, 1.0)

        return add

    def counters(self) -> dict[str, float]:
        """Seconds spent so far in the parts."""
        sessions = list(self.controller.host._sessions.values())
        found = {part: sum(getattr(one.counters, f"{part}_s") for one in sessions) for part in PARTS[:3]}
        return {**found, "write": self.write_s}

    def measure(self, prompt: Callable[[], Any]) -> dict[str, float]:
        """Seconds from the prompt to the told mask, and their parts."""
        self.written, before = None, self.counters()
        wall, cpu = time.perf_counter(), time.process_time()
        prompt()
        self.controller.prompts_changed()
        while self.written is None:
            self.controller.poll()
            if self.written is None:
                time.sleep(POLL_S)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        parts = {part: value - before[part] for part, value in self.counters().items()}
        self.controller.wait()  # candidates follow; they are not waited for
        return {"wall": wall, "cpu": cpu, **parts, "rest": wall - sum(parts.values())}

    def propagation(self) -> dict[str, float]:
        """Seconds of a propagation through the whole object, and per slice with a mask."""
        self.new_segment()
        self.measure(self.box(self.phantom.centre[2]))
        ended: list[Any] = []
        self.controller.listen(lambda event, data: ended.append(data) if event == "propagated" else None)
        wall, cpu, self.write_s = time.perf_counter(), time.process_time(), 0.0
        self.controller.propagate()
        while not ended:
            self.controller.poll()
            time.sleep(POLL_S)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        slices = len(ended[0].slices[self.controller.segment_id])
        return {
            "slices": slices, "wall": wall, "cpu": cpu, "wall per slice": wall / slices, "cpu per slice": cpu / slices,
            "write per slice": self.write_s / slices, "encodes": ended[0].encodes,
        }  # fmt: skip


def measure_prompts(bench: Bench, count: int) -> dict[str, list[dict[str, float]]]:
    """Kind of prompt -> measurements."""
    inside = np.flatnonzero(bench.phantom.mask.any(axis=(1, 2)))
    slices = [int(k) for k in inside[np.linspace(2, len(inside) - 3, count).round().astype(int)]]
    bench.new_segment()
    bench.measure(bench.point(slices[0], 9.0))  # opens the model, reads intensities, warms up
    found: dict[str, list[dict[str, float]]] = {"first point on a slice": [], "second point there": [], "box": []}
    bench.controller.host._cache.clear()
    bench.new_segment()
    for k in dict.fromkeys(slices):
        bench.controller.host._cache.clear()
        found["first point on a slice"].append(bench.measure(bench.point(k, 0.0)))
        found["second point there"].append(bench.measure(bench.point(k, 6.0)))
    bench.new_segment()
    for k in dict.fromkeys(slices):
        bench.controller.host._cache.clear()
        found["box"].append(bench.measure(bench.box(k)))
    return found


def show(found: dict[str, list[dict[str, float]]], propagation: dict[str, float]) -> None:
    """As Markdown tables."""
    columns = ("wall", "cpu", *PARTS, "rest")
    print("| prompt | n | " + " | ".join(f"{name} ms" for name in columns) + f" | <= {BAR_S * 1000:.0f} ms |")
    print("|---|---|" + "---|" * (len(columns) + 1))
    for name, rows in found.items():
        medians = {column: statistics.median(row[column] for row in rows) for column in columns}
        cells = " | ".join(f"{medians[column] * 1000:.0f}" for column in columns)
        state = "met" if medians["wall"] <= BAR_S else "MISSED"
        print(f"| {name} | {len(rows)} | {cells} | {state} |")
    ms = {name: f"{propagation[f'{name} per slice'] * 1000:.0f} ms" for name in ("wall", "cpu", "write")}
    print(f"\npropagation: {propagation['slices']} slices, {propagation['encodes']} encodes")
    print(f"  in all {propagation['wall']:.2f} s wall, {propagation['cpu']:.2f} s CPU")
    print(f"  per slice {ms['wall']} wall, {ms['cpu']} CPU; of the wall time writing {ms['write']}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = Bench(args.size, args.slices)
    found = measure_prompts(bench, args.prompts)
    propagation = bench.propagation()
    bench.controller.close()
    print(
        f"{args.size} x {args.size} pixels, {args.slices} slices, {args.threads} threads, torch {torch.__version__}\n"
    )
    show(found, propagation)
    if args.json:
        Path(args.json).write_text(json.dumps({"prompts": found, "propagation": propagation}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
