#!/usr/bin/env python
"""Accuracy of a model on real data that the built-in model never saw, beside what needs no model.

    python scripts/bench_accuracy.py --data DATA [--model built-in] [--out results.json]

Protocols and baselines: ``SegmentAnythingMedLib/evaluation/protocols.py``. Data sets: ``evaluation_data.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

from SegmentAnythingMedLib import Session, load_mask, load_model, load_volume
from SegmentAnythingMedLib.evaluation import protocols


def run_case(case: dict[str, Any], data: Path, model: Any, seed: int, parts: set[str]) -> list[dict[str, Any]]:
    """All protocols on all objects of one case."""
    volume = load_volume(data / case["image"])
    labels = np.asarray(load_mask(data / case["labels"], volume))
    rows = []
    for name, value in case["objects"].items():
        reference = labels == value
        row: dict[str, Any] = {"set": case["set"], "object": name}
        session = Session(volume, model, window=case.get("window", "auto"))
        row["mapping"] = session.mapping.describe()["name"]
        if "box" in parts:
            row["box"] = protocols.box_on_slices(session, reference, seed)
        if "point" in parts:
            row["point"] = protocols.point_with_corrections(session, reference, seed)
        if "volume" in parts:
            session = Session(volume, model, window=case.get("window", "auto"))
            row["volume"] = protocols.box_propagated(session, reference, seed=seed)
        rows.append(row)
    return rows


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures per data set and over data sets, each with its number of objects."""
    sets: dict[str, Any] = {}
    grouped = defaultdict(list)
    for row in rows:
        grouped[row["set"]].append(row)
    for name, members in grouped.items():
        entry: dict[str, Any] = {}
        boxes = [b for row in members for b in row.get("box", [])]
        if boxes:
            entry["box"] = {k: float(np.mean([b[k] for b in boxes])) for k in ("model", "fill", "ellipse", "otsu")}
            best = max(entry["box"]["ellipse"], entry["box"]["otsu"])
            entry["box"]["n"] = len(boxes)
            entry["box"]["error_ratio"] = (1 - entry["box"]["model"]) / max(1 - best, 1e-9)
            entry["box"]["over_best"] = entry["box"]["model"] - best
        points = [p["dice"] for row in members for p in row.get("point", [])]
        if points:
            entry["point"] = [float(v) for v in np.mean(points, axis=0)]
        volumes = [row["volume"] for row in members if "volume" in row]
        if volumes:
            names = ("otsu_walk", "ellipsoid", "growcut")
            entry["volume"] = {k: float(np.mean([v[k] for v in volumes])) for k in ("model", *names)}
            entry["volume"]["best_baseline"] = float(np.mean([max(v[k] for k in names) for v in volumes]))
            entry["volume"]["n"] = len(volumes)
        sets[name] = entry
    total: dict[str, Any] = {}
    if any("box" in e for e in sets.values()):
        with_box = [e["box"] for e in sets.values() if "box" in e]
        total["box_error_ratio"] = float(np.mean([1 - b["model"] for b in with_box])) / float(
            np.mean([1 - max(b["ellipse"], b["otsu"]) for b in with_box])
        )
        total["box_worst_over_best"] = min(b["over_best"] for b in with_box)
        total["box_dice"] = float(np.mean([b["model"] for b in with_box]))
    if any("point" in e for e in sets.values()):
        curves = np.mean([e["point"] for e in sets.values() if "point" in e], axis=0)
        total["point_dice"], total["point_after_5"] = float(curves[0]), float(curves[-1])
    volumes = [row["volume"] for row in rows if "volume" in row]
    if volumes:
        best = [max(v[k] for k in ("otsu_walk", "ellipsoid", "growcut")) for v in volumes]
        total["volume_dice"] = float(np.mean([v["model"] for v in volumes]))
        total["volume_best_baseline"] = float(np.mean(best))
        total["volume_cases"] = len(volumes)
    return {"sets": sets, "total": total}


def show(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Tables as Markdown."""
    print("\n| data set | n | box: model | fill | ellipse | Otsu | error / best | 1 point | +1..5 rounds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, entry in summary["sets"].items():
        if "box" not in entry:
            continue
        b, p = entry["box"], entry.get("point", [float("nan")] * 6)
        rounds = " ".join(f"{v:.2f}" for v in p[1:])
        print(
            f"| {name} | {b['n']} | **{b['model']:.3f}** | {b['fill']:.3f} | {b['ellipse']:.3f} | {b['otsu']:.3f} "
            f"| {b['error_ratio']:.2f} | {p[0]:.3f} | {rounds} |"
        )
    print("\n| object | model | Otsu walk | ellipsoid | GrowCut | slices (true) | ends, mm too far | why it ended |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        if "volume" in row:
            v = row["volume"]
            print(
                f"| {row['set']}: {row['object']} | **{v['model']:.3f}** | {v['otsu_walk']:.3f} | {v['ellipsoid']:.3f} "
                f"| {v['growcut']:.3f} | {v['slices'][0]} ({v['slices'][1]}) | {v['extent_error_mm']} "
                f"| {' / '.join(v['ends'])} |"
            )
    print("\n" + json.dumps(summary["total"], indent=1))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--parts", default="box,point,volume")
    parser.add_argument("--sets", default="", help="only data sets whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_model(args.model, device=args.device)
    cases = json.loads((Path(__file__).parent / "evaluation_data.json").read_text(encoding="utf-8"))["cases"]
    rows = []
    for case in cases:
        if args.sets in case["set"]:
            rows += run_case(case, Path(args.data), model, args.seed, set(args.parts.split(",")))
            print(f"done: {case['set']} ({case['image']})", file=sys.stderr, flush=True)
    summary = summarise(rows)
    show(rows, summary)
    if args.out:
        Path(args.out).write_text(
            json.dumps({"model": vars(model.info), "seed": args.seed, **summary, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
