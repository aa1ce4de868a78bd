#!/usr/bin/env python
"""What ``info`` says that a job will take, and what the job then takes; and the memory of a very long volume.

    python scripts/bench_estimate.py [--weights vit_b.pth]    # built-in, SAM 2.1 tiny; ViT-B where weights are given
    python scripts/bench_estimate.py --long [--slices 1000]   # memory beyond volume and masks; bar 600 MiB

Every command runs in a process of its own, as a person would run it. Time: the estimate per slice times the slices that
the job visited, over the wall clock of its step ``segment``. Memory: peaks of whole processes. The bar is a factor 1.5
either way. On a machine that does other things the clock jumps; repeat then.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Testing"))

import numpy as np
from SegmentAnythingMedLib import Affine, Volume
from SegmentAnythingMedLib.files.images import save_volume

ROOM = Path(__file__).resolve().parents[1] / "SegmentAnythingMed"
MEBIBYTE = 1 << 20
SAID = re.compile(r"at most ([\d.]+) (s|min|h) \((\d+) slices\); about (\d+) MiB")
SIDE = 512
BOX = "150,160,350,340"
"""Of the phantom's tube, corners (I, J)."""


def tube(slices: int, path: Path) -> None:
    """A bright tube through all slices, int16, 512 x 512, written without compression."""
    rows, cols = np.ogrid[:SIDE, :SIDE]
    disc = ((rows - 250) / 90) ** 2 + ((cols - 250) / 100) ** 2 < 1
    noise = np.random.default_rng(0).normal(40, 12, (SIDE, SIDE)).astype(np.int16)
    voxels = np.empty((slices, SIDE, SIDE), dtype=np.int16)
    for n in range(slices):
        voxels[n] = np.roll(noise, 7 * n) + 120 * disc
    save_volume(Volume(voxels, Affine.from_parts(spacing=(0.8, 0.8, 1.0)), modality="CT"), path)


def command(*words: str) -> tuple[str, str]:
    """Standard output and standard error of a command line of ours."""
    environment = {**os.environ, "PYTHONPATH": str(ROOM)}
    run = [sys.executable, "-m", "SegmentAnythingMedLib.apps.cli", *words]
    done = subprocess.run(run, check=True, env=environment, capture_output=True, text=True)
    return done.stdout, done.stderr


def segment(image: Path, box: str, options: list[str], folder: Path) -> tuple[dict[str, Any], str]:
    """The report of a job from a box on a slice, and what was said on standard error."""
    report = folder / "report.json"
    _, said = command(
        "segment", str(image), "--box", box, "--output", str(folder / "mask.nii"),
        "--report", str(report), *options,
    )  # fmt: skip
    return json.loads(report.read_text(encoding="utf-8")), said


def compare(name: str, options: list[str], image: Path, box: str, rules: list[str], folder: Path) -> None:
    """Print estimate and truth of one model."""
    told = json.loads(command("info", str(image), "--json", *options)[0])["estimate"]
    report, said = segment(image, box, [*options, *rules], folder)
    visited, seconds = len(report["objects"][0]["records"]), report["seconds"]["segment"]
    peak = report["memory"]["peak_bytes"] / MEBIBYTE
    pairs = {
        "info: time, s": (told["seconds_per_slice"] * visited, seconds),
        "info: peak, MiB": (told["memory_bytes"] / MEBIBYTE, peak),
    }
    found = SAID.search(said)
    if found:  # short jobs are not announced
        most = float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]]
        pairs["segment: time, s"] = most / int(found[3]) * visited, seconds
        pairs["segment: peak, MiB"] = float(found[4]), peak
    for what, (estimate, truth) in pairs.items():
        factor = max(estimate / truth, truth / estimate)
        state = "met" if factor <= 1.5 else "MISSED"
        print(f"| {name} | {visited} | {what} | {estimate:.1f} | {truth:.1f} | {factor:.2f} ({state}) |", flush=True)


def sam2_tiny(folder: Path) -> Path:
    """SAM 2.1 tiny with random weights in the published layout, run at 512 pixels."""
    import torch
    from tiny_sam2 import official_sam2

    path = folder / "sam2.pt"
    torch.save({"model": official_sam2("tiny", "2.1", 512).state_dict()}, path)
    Path(f"{path}.json").write_text(json.dumps({"family": "sam2", "image_size": "512"}), encoding="utf-8")
    return path


def estimates(weights: Path | None, folder: Path) -> None:
    """Print a table."""
    print("| model | slices visited | what | estimate | truth | factor |\n|---|---|---|---|---|---|")
    image = folder / "ct.nii"
    tube(60, image)
    compare("built-in", ["--model", "built-in"], image, f"{BOX},30", [], folder)
    tube(16, image)
    lenient = ["--iou-threshold", "0", "--limits", "4,12"]  # masks of random weights jump
    compare("SAM 2.1 tiny, 512 px", ["--model", str(sam2_tiny(folder))], image, f"{BOX},8", lenient, folder)
    if weights is not None:
        fitted(weights, folder)


def fitted(weights: Path, folder: Path) -> None:
    """ViT-B on the phantom that its weights were fitted to: a mask in pieces costs an encode for every piece."""
    from bench_weights import WINDOW, phantom

    scene, image = phantom(), folder / "phantom.nii"
    save_volume(scene.volume, image)
    name = next(iter(scene.truth))
    box = ",".join(f"{round(corner)}" for corner in scene.box(name))
    options = ["--model", str(weights), "--family", "sam", "--axis", "k", "--window", WINDOW]
    compare("SAM ViT-B, 1024 px", options, image, f"{box},{scene.middle(name)}", ["--iou-threshold", "0.3"], folder)


def long_volume(slices: int, folder: Path) -> None:
    """Print how much memory a job on many slices takes beyond a job on few, less volume and masks."""
    peaks = {}
    for count in (10, slices):
        tube(count, folder / "ct.nii")
        report, _ = segment(folder / "ct.nii", f"{BOX},{count // 2}", ["--model", "built-in"], folder)
        masks = report["objects"][0]["upper"] - report["objects"][0]["lower"] + 1
        peaks[count] = report["memory"]["peak_bytes"] / MEBIBYTE, masks
        print(f"{count} slices: {masks} with a mask, peak {peaks[count][0]:.0f} MiB, "
              f"{report['seconds']['segment']:.1f} s", flush=True)  # fmt: skip
    volume = (slices - 10) * SIDE**2 * 2 / MEBIBYTE
    masks = (slices - 10 + peaks[slices][1] - peaks[10][1]) * SIDE**2 / MEBIBYTE
    growth = peaks[slices][0] - peaks[10][0] - volume - masks
    print(f"beyond volume ({volume:.0f} MiB) and masks ({masks:.0f} MiB): {growth:.0f} MiB (bar 600)")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="SAM ViT-B, see bench_weights.py")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--slices", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        if options.long:
            long_volume(options.slices, Path(folder))
        else:
            estimates(options.weights, Path(folder))


if __name__ == "__main__":
    main()
