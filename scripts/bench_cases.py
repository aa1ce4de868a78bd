#!/usr/bin/env python
"""The command line on real images of many kinds: one box each, figures beside what needs no model.

    python scripts/bench_cases.py --data DATA [--out FOLDER] [--only TEXT] [--model built-in]

Cases: ``bench_cases.json``. For each, the box of the reference on its middle slice, every side moved by up to 5 %, goes
to ``segment-anything-med segment``; ``segment-anything-med evaluate`` compares the mask with the reference. Both run as
programs of their own, as a user would run them. The baselines get the same box (``evaluation/baselines.py``). Masks,
reports, figures and ``cases.json`` are left in the folder; the table is printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

from SegmentAnythingMedLib import load_mask, load_volume, save_mask
from SegmentAnythingMedLib.evaluation.baselines import (
    ellipse_in_box,
    ellipsoid_of_box,
    fill_box,
    growcut_of_box,
    otsu_in_box,
    otsu_walk,
)
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.prompts.simulation import jitter_box
from SegmentAnythingMedLib.prompts.types import Box
from SegmentAnythingMedLib.space.intensity import IntensityMapping, estimate_mapping
from SegmentAnythingMedLib.space.planes import SliceStack

JITTER = 0.05
LIBRARY = Path(__file__).resolve().parents[1] / "SegmentAnythingMed"


def reference_of(case: dict[str, Any], data: Path, stack: SliceStack) -> np.ndarray:
    """Bool [K, J, I] of the case's label, or of one of its connected parts."""
    labels = np.asarray(load_mask(data / case["labels"], stack.volume))
    mask = labels == case["label"]
    if "component" in case:
        parts, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        mask = parts == 1 + np.argsort(-sizes, kind="stable")[case["component"] - 1]
    return mask


def middle_of(truth: np.ndarray) -> int:
    """Labelled slice nearest to the middle of the extent."""
    labelled = np.flatnonzero(truth.any(axis=(1, 2)))
    middle = (labelled[0] + labelled[-1]) // 2
    return int(min(labelled, key=lambda n: (abs(n - middle), n)))


def program(*arguments: str) -> tuple[dict[str, Any], float]:
    """Run the command line with ``--json``; its answer and the seconds it took.

    Raises:
        RuntimeError: when it fails.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(LIBRARY), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "SegmentAnythingMedLib.apps.cli", *arguments, "--json"]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(arguments)}\n{done.stderr}")
    return json.loads(done.stdout), time.perf_counter() - begun


def baselines(
    stack: SliceStack, mapping: IntensityMapping, truth: np.ndarray, index: int, box: Box
) -> dict[str, float]:
    """Dice of what needs no model."""
    grey = np.stack([mapping.apply(stack.image(n)) for n in range(stack.count)])
    if stack.count == 1:
        masks = {
            "fill": fill_box(stack.shape, box),
            "ellipse": ellipse_in_box(stack.shape, box),
            "Otsu": otsu_in_box(grey[0], box),
        }
        return {name: dice(mask, truth[0]) for name, mask in masks.items()}
    spacing = (stack.pixel_spacing, stack.slice_spacing)
    masks = {
        "Otsu walk": otsu_walk(grey, index, box),
        "ellipsoid": ellipsoid_of_box(truth.shape, index, box, *spacing),
        "GrowCut": growcut_of_box(grey, index, box, *spacing),
    }
    return {name: dice(mask, truth) for name, mask in masks.items()}


def run_case(case: dict[str, Any], data: Path, folder: Path, model: str, seed: int) -> dict[str, Any]:
    """One row of the table."""
    volume = load_volume(data / case["image"])
    stack = SliceStack(volume, "auto")
    reference = reference_of(case, data, stack)
    truth = np.stack([stack.mask_slice(reference, n) for n in range(stack.count)])
    index = middle_of(truth)
    box = jitter_box(truth[index], JITTER, np.random.default_rng(seed))
    stem = folder / "".join(letter if letter.isalnum() else "-" for letter in case["name"]).strip("-")
    files = {end: f"{stem}{end}" for end in (".nii.gz", ".json", ".png", "-reference.nii.gz")}
    save_mask(reference, volume, files["-reference.nii.gz"])
    # the corner voxels belong to a box on the command line; a box of the library ends at their outer borders
    corners = f"{box[0] + 0.5:.3f},{box[1] + 0.5:.3f},{box[2] - 0.5:.3f},{box[3] - 0.5:.3f},{index}"
    report, seconds = program(
        "segment", str(data / case["image"]), "--output", files[".nii.gz"], "--report", files[".json"],
        "--figure", files[".png"], "--box", corners, "--window", case.get("window", "auto"), "--axis", stack.axis,
        "--model", model, "--device", "cpu",
    )  # fmt: skip
    measured, _ = program("evaluate", files[".nii.gz"], files["-reference.nii.gz"])
    found = report["objects"][0]
    return {
        "name": case["name"],
        "trained": case["trained"],
        "shape": list(volume.shape),
        "axis": stack.axis,
        "box": corners,
        **{key: measured[key] for key in ("dice", "nsd", "hd95_mm", "assd_mm", "flag")},
        "slices": [int(np.count_nonzero(truth.any(axis=(1, 2)))), found["lower"], found["upper"]],
        "true_slices": [int(n) for n in np.flatnonzero(truth.any(axis=(1, 2)))[[0, -1]]],
        "ends": [found["end_lower"], found["end_upper"]],
        "encodes": report["counters"]["encodes"],
        "seconds": seconds,
        "baselines": baselines(stack, estimate_mapping(volume, case.get("window", "auto")), truth, index, box),
        "figure": Path(files[".png"]).name,
    }


def show(rows: list[dict[str, Any]]) -> None:
    """The table as Markdown."""
    print("| case | in training? | Dice | NSD 2 mm | HD95, mm | baselines (Dice) | slices found (true) | encodes | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        best = max(row["baselines"].values())
        others = ", ".join(
            f"{name} **{value:.2f}**" if value == best and value > row["dice"] else f"{name} {value:.2f}"
            for name, value in row["baselines"].items()
        )
        own = f"**{row['dice']:.2f}**" if row["dice"] >= best else f"{row['dice']:.2f}"
        found = "none" if row["slices"][1] is None else f"{row['slices'][1]}-{row['slices'][2]}"
        print(
            f"| {row['name']} | {row['trained']} | {own} | {row['nsd']:.2f} | {row['hd95_mm']:.1f} | {others} "
            f"| {found} ({row['true_slices'][0]}-{row['true_slices'][1]}) | {row['encodes']} | {row['seconds']:.1f} |"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="folder for masks, reports and figures (default: a temporary one)")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = args.out or Path(tempfile.mkdtemp(prefix="segment-anything-med-"))
    folder.mkdir(parents=True, exist_ok=True)
    cases = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))["cases"]
    rows = []
    for case in cases:
        if args.only.lower() in case["name"].lower():
            rows.append(run_case(case, args.data, folder, args.model, args.seed))
            print(f"done: {case['name']}", file=sys.stderr, flush=True)
    show(rows)
    (folder / "cases.json").write_text(json.dumps({"model": args.model, "seed": args.seed, "rows": rows}, indent=1))
    print(f"\nMasks, reports and figures: {folder}")


if __name__ == "__main__":
    main()
