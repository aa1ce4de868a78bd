#!/usr/bin/env python
"""Says where the results of the demo are, and how they compare with the reference and with what needs no model.

    python scripts/demo_report.py IMAGE REFERENCE OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

from SegmentAnythingMedLib import load_mask, load_volume
from SegmentAnythingMedLib.evaluation.baselines import (
    ellipse_in_box,
    ellipsoid_of_box,
    growcut_of_box,
    otsu_in_box,
    otsu_walk,
)
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.space.intensity import IntensityMapping
from SegmentAnythingMedLib.space.planes import SliceStack

LABEL = 1
"""The urinary bladder in the reference."""


def baselines(stack: SliceStack, report: dict[str, Any]) -> tuple[int, dict[str, np.ndarray]]:
    """Seed slice, and masks [slices, rows, columns] of every method that needs no model, from the box in the report."""
    intensity = report["preprocessing"]["intensity"]
    mapping = IntensityMapping(intensity["lower"], intensity["upper"], intensity["mode"], intensity["name"])
    grey = np.stack([mapping.apply(stack.image(n)) for n in range(stack.count)])
    box_prompt = next(p for one in report["prompts"] for p in one["prompts"] if p["type"] == "box")
    slices, corners = stack.to_plane(box_prompt["ijk"])
    seed, low, high = int(slices[0]), corners.min(axis=0) - 0.5, corners.max(axis=0) + 0.5
    box = (*low.tolist(), *high.tolist())
    geometry = (stack.pixel_spacing, stack.slice_spacing)
    on_seed = {}
    for name, mask in (("ellipse", ellipse_in_box(stack.shape, box)), ("otsu", otsu_in_box(grey[seed], box))):
        on_seed[name] = np.zeros(grey.shape, dtype=bool)
        on_seed[name][seed] = mask
    return seed, {
        "ellipse in the box": on_seed["ellipse"],
        "Otsu in the box": on_seed["otsu"],
        "ellipsoid of the box": ellipsoid_of_box(grey.shape, seed, box, *geometry),
        "Otsu, slice to slice": otsu_walk(grey, seed, box),
        "GrowCut from the box": growcut_of_box(grey, seed, box, *geometry),
    }


def main(image: str, reference: str, folder: str) -> None:
    """Print the table."""
    volume = load_volume(image)
    report = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))
    stack = SliceStack(volume, report["preprocessing"]["axis"])
    planes = [stack.mask_slice(load_mask(reference, volume) == LABEL, n) for n in range(stack.count)]
    mask = load_mask(Path(folder, report["outputs"]["mask"]), volume)
    masks = {f"{report['model']['name']} model": np.stack([stack.mask_slice(mask, n) for n in range(stack.count)]) > 0}
    seed, others = baselines(stack, report)
    truth = np.stack(planes)
    print(f"\nDice against the reference    slice {seed}   volume")
    for name, found in {**masks, **others}.items():
        whole = "     -" if name.endswith("in the box") else f"{dice(found, truth):6.3f}"
        print(f"  {name:26}{dice(found[seed], truth[seed]):8.3f}   {whole}")
    print()
    for name, found in (("model", masks.popitem()[1]), ("reference", truth)):
        present = np.flatnonzero(found.any(axis=(1, 2)))
        print(f"  {name:10}{np.count_nonzero(found) * volume.voxel_ml:6.1f} ml, slices {present[0]} to {present[-1]}")
    print()
    for kind, name in report["outputs"].items():
        print(f"{kind:8}{Path(folder, name).resolve()}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
