#!/usr/bin/env python
"""One-shot methods beside each other on real pairs of slices, and what needs no model.

    python scripts/bench_oneshot.py --data DATA [--model built-in] [--out results.json] [--only cardiac] [--checks]

Pairs: ``bench_oneshot_pairs.py``. Every method gets the same encoded views, one reference slice and no place but that
of the view; ``--near`` tells all of them where to look. ``--checks`` adds the ablations of P2SAM
(``bench_oneshot_checks.py``): numbers of parts, distances. Tables are printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_oneshot_checks import ABLATIONS, show_checks
from bench_oneshot_pairs import Task, tasks
from SegmentAnythingMedLib import SlicePrompts, load_model
from SegmentAnythingMedLib.adaptive.cascade import mask_box
from SegmentAnythingMedLib.adaptive.methods import one_shot_method
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings
from SegmentAnythingMedLib.evaluation.metrics import dice

Segment = Callable[[Task], np.ndarray]


def named(name: str, *args: Any, **settings: Any) -> Segment:
    """A method by its name, on one reference."""
    method = one_shot_method(name, *args, **settings)
    return lambda task: method.segment([task.reference], task.target, restrict=task.near).mask


def p2sam(protocol: str) -> Segment:
    """P2SAM: 1 to 3 parts and one negative; the natural path with 1 to 5 parts for photographs."""
    medical = P2SAM(P2SAMSettings(protocol=protocol))
    natural = P2SAM(P2SAMSettings(protocol=protocol, natural=True, positives=(1, 5)))

    def segment(task: Task) -> np.ndarray:
        method = natural if task.natural else medical
        return method.segment([task.reference], task.target, restrict=task.near).mask

    return segment


def copied(task: Task) -> np.ndarray:
    """The reference's mask, to the same place of the patient, or of the picture."""
    return one_shot_method("copy", in_space=not task.natural).segment([task.reference], task.target).mask


def near(task: Task, reach_mm: float) -> np.ndarray:
    """Pixels within a distance of the copied mask: what a registration of the two visits would tell every method."""
    spacing = task.target.session.pixel_spacing
    return ndimage.distance_transform_edt(~copied(task), sampling=spacing) <= reach_mm


def grey_levels(task: Task) -> np.ndarray:
    """Every pixel of the view by its grey value: the class of the reference in which that value is more frequent."""
    grey, inside, seen = [], [], []
    for one, mask in ((task.reference.view, task.reference.mask), (task.target, task.truth)):
        region, values = one.frame.region, one.session.mapping.apply(one.session.stack.image(one.index))
        values = one.show(values if values.ndim == 2 else values.mean(axis=2))
        window = np.s_[max(region.row0, 0) : max(region.row1, 0), max(region.col0, 0) : max(region.col1, 0)]
        grey.append(np.clip(values * 32, 0, 31).astype(int))
        inside.append(one.show(mask))
        seen.append(window)
    here, known = grey[0][seen[0]], inside[0][seen[0]]
    object_, rest = (np.bincount(here[part], minlength=32) for part in (known, ~known))
    out = np.zeros_like(inside[1])
    out[seen[1]] = (object_ / object_.sum() > rest / rest.sum())[grey[1][seen[1]]]
    return task.target.store(out)


def true_box(task: Task) -> np.ndarray:
    """The model with the truth's own box: what no method here should be able to beat."""
    box = mask_box(task.truth)
    return task.target.session.predict(task.target.index, SlicePrompts(box=box)).mask


METHODS: dict[str, Callable[[], Segment]] = {
    "P2SAM": lambda: p2sam("default"),
    "P2SAM, published": lambda: p2sam("published"),
    "PerSAM": lambda: named("persam"),
    "PerSAM, published": lambda: named("persam", protocol="published"),
    "PerSAM-F": lambda: named("persam-f"),
    "Matcher": lambda: named("matcher"),
    "PANet": lambda: named("panet"),
    "label propagation": lambda: named("label-propagation"),
    "GF-SAM": lambda: named("gf-sam"),
    "direct transfer": lambda: named("direct"),
    "mask copy (no model)": lambda: copied,
    "grey levels (no model)": lambda: grey_levels,
    "(true box)": lambda: true_box,
}


def run(task: Task, methods: dict[str, Segment]) -> list[dict[str, Any]]:
    """One row per method."""
    rows = []
    _ = task.target.tokens, task.reference.view.tokens  # encoded beforehand: seconds are those of the method
    for name, segment in methods.items():
        counters, begun = task.target.session.counters, time.process_time()
        before = counters.decodes
        mask = segment(task)
        rows.append(
            {
                "group": task.group,
                "pair": task.pair,
                "slice": task.target.index,
                "method": name,
                "dice": dice(mask, task.truth),
                "parts": [int(np.count_nonzero(m)) for m in (mask & task.truth, mask, task.truth)],
                "seconds": time.process_time() - begun,
                "decodes": counters.decodes - before,
            }
        )
    return rows


def volume_dice(rows: Sequence[dict[str, Any]]) -> float:
    """Mean over pairs of the Dice of all their slices together."""
    pairs = {row["pair"]: np.zeros(3) for row in rows}
    for row in rows:
        pairs[row["pair"]] += row["parts"]
    return float(np.mean([2 * hit / max(found + true, 1) for hit, found, true in pairs.values()]))


def show(rows: list[dict[str, Any]]) -> None:
    """Mean Dice of slices per group; mean over groups; Dice of pooled slices; cost."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    counts = {g: len({(r["pair"], r["slice"]) for r in rows if r["group"] == g}) for g in groups}
    print("| method | " + " | ".join(f"{g} ({counts[g]})" for g in groups) + " | mean | volumes | decodes | CPU s |")
    print("|---" * (len(groups) + 5) + "|")
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == name]
        means = [float(np.mean([r["dice"] for r in own if r["group"] == g])) for g in groups]
        print(
            f"| {name} | "
            + " | ".join(f"{m:.3f}" for m in means)
            + f" | {np.mean(means):.3f} | {volume_dice(own):.3f} "
            f"| {np.mean([r['decodes'] for r in own]):.1f} | {np.mean([r['seconds'] for r in own]):.2f} |"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="only groups whose name contains this")
    parser.add_argument("--methods", default="", help="only these methods, separated by semicolons")
    parser.add_argument("--zoom", type=float, default=3.0)
    parser.add_argument("--near", type=float, help="positive points (or masks) within so many mm of the copied mask")
    parser.add_argument("--slices", type=int, default=4, help="of each pair at most")
    parser.add_argument("--checks", nargs="?", const="", help="ablations of P2SAM too (whose name contains this)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_model(args.model, device=args.device)
    wanted = [name.strip() for name in args.methods.split(";") if name.strip()] or list(METHODS)
    if not model.answers_unprompted and "direct transfer" in wanted:
        print(f"direct transfer: not for {model.info.name}, which always needs a prompt", file=sys.stderr)
        wanted.remove("direct transfer")
    methods = {name: METHODS[name]() for name in wanted}
    if args.checks is not None:
        methods |= {name: make() for name, make in ABLATIONS.items() if args.checks in name}
    rows, last = [], ""
    for task in tasks(args.data, model, zoom=args.zoom, most=args.slices, only=args.only):
        task = task if args.near is None or task.natural else replace(task, near=near(task, args.near))
        rows += run(task, methods)
        if task.pair != last:
            print(f"{task.group}: {task.pair}", file=sys.stderr, flush=True)
            last = task.pair
    show([row for row in rows if row["method"] in wanted])
    if args.checks is not None:
        show_checks(rows)
    if args.out:
        about = {
            "model": vars(model.info),
            "zoom": args.zoom,
            "near_mm": args.near,
            "python": platform.python_version(),
        }
        args.out.write_text(json.dumps({**about, "torch": torch.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
