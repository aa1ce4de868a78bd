#!/usr/bin/env python
"""What two visits of 100 slices of 512 x 512 with three structures take, step by step.

    python scripts/bench_adaptive_time.py --data DATA [--case aorta|pelvis] [--threads 2] [--profile FILE]

Visits: a real CT is deformed by a known field with new noise (``evaluation/known_truth.py``), then both, and the masks,
are sampled on the large grid. The time is that of the command ``adapt`` as a user runs it, from files to files, with
figure and report, in this process and after its imports. Every step's seconds are its own: what it calls is counted
where it is named itself. Processor time is of all threads together; wall time means something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

from SegmentAnythingMedLib import Volume, load_mask, load_volume, save_mask
from SegmentAnythingMedLib.adaptive import drafting, searching, visits
from SegmentAnythingMedLib.adaptive.registration import SimpleITKRegistrar
from SegmentAnythingMedLib.apps import adapt_command, cli
from SegmentAnythingMedLib.evaluation.known_truth import Change, make_follow_up
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.files.images import save_volume
from SegmentAnythingMedLib.space.affine import Affine

SHAPE = (100, 512, 512)
CASES: dict[str, tuple[str, str, dict[str, int]]] = {
    "aorta": (
        "ct-aortic-dissection/ct.nii.gz",
        "ct-aortic-dissection/labels.nii.gz",
        {"true lumen": 1, "false lumen": 2, "T12": 8},
    ),
    "pelvis": (
        "ct-pelvis-dicom-rtstruct/ct",
        "ct-pelvis-dicom-rtstruct/labels_rasterised.nrrd",
        {"bladder": 8, "left femur": 9, "right femur": 10},
    ),
}
CHANGE = Change("deformed", deformation_mm=10.0, shift_mm=5.0, noise=0.01)
STEPS: tuple[tuple[Any, str, str], ...] = (
    (adapt_command, "read_visits", "reading"),
    (adapt_command, "load_model", "model"),
    (visits, "preflight", "preflight"),
    (SimpleITKRegistrar, "register", "registration"),
    (visits, "warp_mask", "warping"),
    (drafting, "open_arena", "warping"),
    (searching, "calibrated", "calibration"),
    (searching, "find_place", "searching"),
    (searching, "choose_start", "searching"),
    (searching.Follower, "follow", "following"),
    (searching, "anchor_again", "following"),
    (drafting.VisitPair, "_draft", "joining"),
    (visits, "finished", "agreement and flags"),
    (adapt_command, "write_results", "report, figure, files"),
)
REST = "everything else"


class Stopwatches:
    """Wall and processor time by step; a step that begins within another stops that one's watch."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._open = [REST]
        self._last = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def lap(self) -> None:
        """What passed since the last call belongs to the step that is open."""
        now = self._now()
        kept = self.seconds.setdefault(self._open[-1], [0.0, 0.0])
        for n in range(2):
            kept[n] += now[n] - self._last[n]
        self._last = now

    def timed(self, function: Callable, step: str) -> Callable:
        """The function, with its time noted."""

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.lap()
            self._open.append(step)
            try:
                return function(*args, **kwargs)
            finally:
                self.lap()
                self._open.pop()

        return run


def visits_of(data: Path, case: str, folder: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Files of both visits as arguments of the command, and the follow-up's true masks."""
    image, labels, structures = CASES[case]
    volume = load_volume(data / image)
    values = np.asarray(load_mask(data / labels, volume))
    masks = {name: values == value for name, value in structures.items()}
    pair = make_follow_up(volume, masks, CHANGE, seed=3)
    # noise on what lies outside of the scanner's circle would not look like Hounsfield units any more
    limited = np.clip(pair.volume.voxels, volume.voxels.min(), volume.voxels.max())
    before, today = _large(volume), _large(replace(pair.volume, voxels=limited))
    known, truth = ({name: _resampled(mask) > 0.5 for name, mask in of.items()} for of in (masks, pair.masks))
    files = [str(folder / name) for name in ("prior.nii.gz", "contours.nii.gz", "today.nii.gz")]
    save_volume(before, files[0])
    save_mask(sum(n * mask for n, mask in enumerate(known.values(), 1)).astype(np.uint8), before, files[1])
    save_volume(today, files[2])
    return ["--prior", files[0], "--prior-mask", files[1], "--follow-up", files[2]], truth


def _resampled(array: np.ndarray) -> np.ndarray:
    zoom = np.array(SHAPE) / array.shape
    return ndimage.zoom(array.astype(np.float32), zoom, order=1, mode="nearest")


def _large(volume: Volume) -> Volume:
    matrix = volume.affine.matrix.copy()
    matrix[:3, :3] *= [(n - 1) / (m - 1) for n, m in zip(volume.shape[::-1], SHAPE[::-1], strict=True)]
    voxels = np.rint(_resampled(volume.voxels)).astype(np.int16)
    return Volume(voxels, Affine(matrix), modality="CT", is_hu=volume.is_hu)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--case", choices=CASES, default="aorta")
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", type=Path, help="also profile, into this file")
    args = parser.parse_args()
    import SimpleITK as sitk
    import torch

    torch.set_num_threads(args.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, truth = visits_of(args.data, args.case, folder)
        out = folder / "results"
        asked = ["adapt", *files, "--output", str(out), "--figure", str(out / "figure.png"), "--model", args.model]
        seconds = timed_run([*asked, "--device", "cpu", "--json"], args.profile)
        labels = np.asarray(load_mask(out / "structures.nii.gz", load_volume(files[5])))
    show(seconds, {name: dice(labels == n, mask) for n, (name, mask) in enumerate(truth.items(), 1)})
    if args.profile is not None:
        pstats.Stats(str(args.profile)).sort_stats("tottime").print_stats(25)


def timed_run(arguments: list[str], profile: Path | None) -> dict[str, list[float]]:
    """Run the command line; (wall, processor) seconds by step."""
    watch = Stopwatches()
    for home, attribute, step in STEPS:
        setattr(home, attribute, watch.timed(getattr(home, attribute), step))
    profiler = None if profile is None else cProfile.Profile()
    with redirect_stdout(StringIO()):
        watch.lap()
        watch.seconds.clear()
        code = cli.main(arguments) if profiler is None else profiler.runcall(cli.main, arguments)
        watch.lap()
    if code:
        raise RuntimeError(f"the command ended with exit code {code}")
    if profiler is not None:
        profiler.dump_stats(profile)
    return watch.seconds


def show(seconds: dict[str, list[float]], scores: dict[str, float]) -> None:
    """The table as Markdown."""
    print("| step | wall, s | processor, s |\n|---|---|---|")
    order = [*dict.fromkeys(step for _, _, step in STEPS), REST]
    for step in order:
        if step in seconds:
            print(f"| {step} | {seconds[step][0]:.1f} | {seconds[step][1]:.1f} |")
    print("| **together** | {:.1f} | {:.1f} |".format(*np.sum(list(seconds.values()), axis=0)))
    print("\nDice with the truth: " + ", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    print(json.dumps({"seconds": seconds, "dice": scores}))


if __name__ == "__main__":
    main()
