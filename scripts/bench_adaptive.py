#!/usr/bin/env python
"""The prior-visit mode against truth: pairs made from real scans with known changes, and real pairs of visits.

    python scripts/bench_adaptive.py --data DATA [--out FOLDER] [--quick] [--only TEXT] [--split NAME] [--jobs 2]

Scans, changes and pairs: ``bench_adaptive.json``. Of every scan a part around the structure is the prior visit; its
follow-up is made by ``evaluation/known_truth.py``, so that the true contour of the follow-up is known. Thresholds were
tuned on the scans of the split *tune*; the bars are told for the splits *report* and *fresh*; the latter was added
when all thresholds were settled (what its first run has changed since: docs/prior-visit.md). On the real pairs the
one-shot baselines run on the same model, the same registration and the same part of the slices, on the slices of the
warped contour (they have no way to say that the structure is not there). Tables are printed as Markdown; with
``--out`` rows and sums are left in the folder as JSON, every row as soon as it is there: a run that was cut goes on
with the others, unless the library or the plan has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

from SegmentAnythingMedLib import PriorVisit, adapt, load_mask, load_model, load_volume
from SegmentAnythingMedLib.adaptive.changes import longest_diameter_mm
from SegmentAnythingMedLib.adaptive.registration import Registrar
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.evaluation.known_truth import Change, KnownPair, make_follow_up
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.space.volume import Volume, map_mask

AROUND_MM = 45.0
"""Surroundings of the structure that are kept of a scan."""
SPLITS = ("tune", "report", "fresh")
RIVALS = ("copy", "registration", "persam", "persam-f", "matcher", "panet", "label-propagation", "gf-sam", "published")
QUICK_SCANS, QUICK_CHANGES = ("sarcoma MR T1, patient 028", "glioma", "spleen"), ("shifted", "grown much", "vanished")


@lru_cache(maxsize=2)
def model_named(name: str):
    """One model per process."""
    import torch

    torch.set_num_threads(1)
    return load_model(name)


def read(
    folder: Path, image: str, labels: str, structures: dict[str, int], component: int | None = None
) -> tuple[Volume, dict[str, np.ndarray]]:
    """A scan and its masks; of every label only the ``component``-th largest connected part where that is given."""
    volume = load_volume(folder / image)
    values = np.asarray(load_mask(folder / labels, volume))
    masks = {name: values == value for name, value in structures.items()}
    return volume, masks if component is None else {name: nth_part(mask, component) for name, mask in masks.items()}


def nth_part(mask: np.ndarray, number: int) -> np.ndarray:
    """The ``number``-th largest part of a mask whose voxels touch by their faces."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())[1:]
    return parts == 1 + np.argsort(-sizes, kind="stable")[number - 1]


def part_around(volume: Volume, masks: dict[str, np.ndarray]) -> tuple[Volume, dict[str, np.ndarray]]:
    """The part of a scan around its (first) structure."""
    steps = volume.spacing[::-1]
    places = np.argwhere(next(iter(masks.values())))
    margin = np.ceil(AROUND_MM / steps).astype(int)
    low = np.maximum(places.min(axis=0) - margin, 0)
    high = np.minimum(places.max(axis=0) + 1 + margin, volume.shape)
    part = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    cut = replace(volume, voxels=volume.voxels[part].copy(), affine=volume.affine.shifted(low[::-1]), source=None)
    return cut, {name: mask[part].copy() for name, mask in masks.items()}


def change_of(entry: dict[str, Any]) -> Change:
    """A change from its JSON form."""
    return Change(**{key: value for key, value in entry.items() if key != "kinds"})


def run_known(
    data: Path, scan: dict, change: dict, model: str, seed: int, registrar: Registrar | None = None
) -> dict[str, Any]:
    """One known-truth pair."""
    volume, masks = part_around(*read(data, scan["image"], scan["labels"], scan["structures"], scan.get("component")))
    pair = make_follow_up(volume, masks, change_of(change), seed)
    first = next(iter(masks))
    row = {"scan": scan["name"], "change": change["name"], "kind": scan["kind"], "split": scan["split"]}
    return {**row, **measured(volume, masks, pair, first, scan.get("window", "auto"), model, registrar)}


def measured(
    volume: Volume,
    masks: dict[str, np.ndarray],
    pair: KnownPair,
    first: str,
    window: str,
    model: str,
    registrar: Registrar | None,
) -> dict[str, Any]:
    """What ``adapt`` makes of a pair, compared with the truth."""
    begun = time.perf_counter()
    settings = VisitSettings(window=window)
    result = adapt(
        PriorVisit(volume, masks), pair.volume, model_named(model), settings=settings, progress=Progress(),
        registrar=registrar,
    )  # fmt: skip
    found, truth = result.structures[first], pair.masks[first]
    return {
        "there": bool(truth.any()),
        "outcome": found.outcome,
        "S": dice(found.segmented, truth),
        "W": dice(found.warped, truth),
        "copy": dice(masks[first], truth),
        "draft": dice(found.mask, truth),
        "flag": found.flag.colour,
        "reasons": list(found.flag.reasons),
        "agreement": None if found.agreement is None else found.agreement.describe(),
        "registration": None if result.registration is None else [result.registration.kind, result.registration.ok],
        "displacement_mm": pair.displacement_mm,
        "half_diameter_mm": longest_diameter_mm(masks[first], volume) / 2,
        "seconds": time.perf_counter() - begun,
        "remarks": list(found.remarks),
    }


def run_pair(data: Path, entry: dict, model: str, registrar: Registrar | None = None) -> dict[str, Any]:
    """One real pair with all rivals; Dice per method."""
    prior, masks = part_around(*read(data, entry["prior"], entry["prior_labels"], entry["structures"]))
    today, truths = read(data, entry["follow_up"], entry["follow_up_labels"], entry["structures"])
    today, truths = part_around(today, truths)
    first = next(iter(masks))
    visit, row = PriorVisit(prior, masks), {"pair": entry["name"]}
    own = adapt(visit, today, model_named(model), registrar=registrar)
    found = own.structures[first]
    row.update(outcome=found.outcome, flag=found.flag.colour, reasons=list(found.flag.reasons))
    scores = {
        "ours": dice(found.segmented, truths[first]),
        "copy": dice(map_mask(masks[first], prior, today), truths[first]),
    }
    for rival in RIVALS[1:]:
        method, protocol = ("p2sam", "published") if rival == "published" else (rival, "default")
        other = adapt(visit, today, model_named(model), method=method, protocol=protocol, transform=own.transform)
        scores[rival] = dice(other.structures[first].mask, truths[first])
    return {**row, "dice": scores}


def bars(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures that the mode is judged by."""
    there = [row for row in rows if row["there"]]
    found = [row for row in there if row["outcome"] == "found"]
    changed = [
        row for row in found if row["kind"] == "tumour" and ("grown" in row["change"] or "shrunk" in row["change"])
    ]
    far = [row for row in found if row["displacement_mm"] > row["half_diameter_mm"]]
    gone = [row for row in rows if not row["there"]]
    bad = [row for row in rows if row["draft"] < 0.7]
    green = [row for row in rows if row["flag"] == "green"]

    def mean(some: list[dict], *names: str) -> float | None:
        values = [row[names[0]] - (row[names[1]] if len(names) > 1 else 0.0) for row in some]
        return float(np.mean(values)) if values else None

    def share(some: list[dict], test) -> float | None:
        return float(np.mean([bool(test(row)) for row in some])) if some else None

    return {
        "pairs": len(rows),
        "found, Dice of S": mean(found, "S"),
        "found, S at 0.80 or more": share(found, lambda row: row["S"] >= 0.8),
        "found, S less W": mean(found, "S", "W"),
        "shifted by more than half a diameter, pairs": len(far),
        "shifted by more than half a diameter, S less copy": mean(far, "S", "copy"),
        "changed tumours, S less W": mean(changed, "S", "W"),
        "changed tumours, S / W": [mean(changed, "S"), mean(changed, "W")],
        "vanished, reported": share(gone, lambda row: row["outcome"] == "possibly resolved"),
        "there, falsely resolved": share(there, lambda row: row["outcome"] == "possibly resolved"),
        "there, found": share(there, lambda row: row["outcome"] == "found"),
        "draft below 0.7, pairs": len(bad),
        "draft below 0.7, caught (amber or red)": share(bad, lambda row: row["flag"] != "green"),
        "green, pairs": len(green),
        "green, wrong (draft below 0.7)": share(green, lambda row: row["draft"] < 0.7),
        "seconds per pair": mean(rows, "seconds"),
    }


def show_known(rows: list[dict[str, Any]]) -> None:
    """Tables of the known-truth pairs."""
    print("| scan | change | outcome | S | W | copy | flag | s |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        values = " | ".join(f"{row[name]:.2f}" for name in ("S", "W", "copy"))
        print(
            f"| {row['scan']} | {row['change']} | {row['outcome']} | {values} | {row['flag']} | {row['seconds']:.0f} |"
        )
    print("\n| change | pairs | S | W | copy |\n|---|---|---|---|---|")
    for name in dict.fromkeys(row["change"] for row in rows):
        some = [row for row in rows if row["change"] == name]
        values = " | ".join(f"{np.mean([row[n] for row in some]):.3f}" for n in ("S", "W", "copy"))
        print(f"| {name} | {len(some)} | {values} |")


def show_pairs(rows: list[dict[str, Any]]) -> None:
    """Table of the real pairs."""
    names = ["ours", *RIVALS]
    print("\n| pair | flag | " + " | ".join(names) + " |\n|---|---|" + "---|" * len(names))
    for row in rows:
        print(f"| {row['pair']} | {row['flag']} | " + " | ".join(f"{row['dice'][n]:.2f}" for n in names) + " |")
    if rows:
        print("| mean | | " + " | ".join(f"{np.mean([row['dice'][n] for row in rows]):.3f}" for n in names) + " |")


def digest_of_code() -> str:
    """Hash of the library, of this script and of its plan."""
    here = Path(__file__).resolve()
    files = [here, here.with_suffix(".json"), *sorted((here.parents[1] / "SegmentAnythingMed").rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class Kept:
    """Rows of earlier runs with the same choices, and of this one, in a file of JSON lines.

    Args:
        folder: for ``rows.jsonl``; nothing is kept when None.
        choices: what a row depends on beside its name.
    """

    def __init__(self, folder: Path | None, choices: dict[str, Any]) -> None:
        self.file, self.choices, self.known = None, choices, {}
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "rows.jsonl"
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        self.known = {line["name"]: line["row"] for line in map(json.loads, lines) if line["choices"] == choices}

    def row(self, pool: ProcessPoolExecutor, function: Callable[..., dict], job: tuple, name: str) -> Future:
        """The row of a job: known, or computed in the pool and kept when it is there."""
        if name in self.known:
            done: Future = Future()
            done.set_result(self.known[name])
            return done
        job = pool.submit(function, *job)
        job.add_done_callback(lambda done: self._keep(name, done))
        return job

    def _keep(self, name: str, done: Future) -> None:
        if self.file is not None and not done.cancelled() and done.exception() is None:
            line = json.dumps({"name": name, "choices": self.choices, "row": done.result()})
            with self.file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def jobs_of(args: argparse.Namespace, plan: dict[str, Any]) -> tuple[list[tuple], list[tuple]]:
    """Arguments of :func:`run_known` and :func:`run_pair`."""
    known = [
        (args.data, scan, change, args.model, args.seed + 101 * number)
        for number, scan in enumerate(plan["scans"])
        for change in plan["changes"]
        if scan["kind"] in change.get("kinds", ["tumour", "organ"]) and args.split in ("", scan["split"])
    ]
    pairs = [(args.data, pair, args.model) for pair in plan["pairs"]]
    if args.quick:
        known = [job for job in known if job[1]["name"].startswith(QUICK_SCANS) and job[2]["name"] in QUICK_CHANGES]
        pairs = pairs[:1]
    wanted = args.only.lower()
    known = [job for job in known if wanted in f"{job[1]['name']} {job[2]['name']}".lower()]
    return known, [job for job in pairs if wanted in job[1]["name"].lower()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="folder for the rows")
    parser.add_argument("--quick", action="store_true", help="three scans, three changes and one real pair")
    parser.add_argument("--only", default="", help="only names that contain this")
    parser.add_argument("--split", default="", choices=["", *SPLITS])
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # one process per core; the spawned ones read it
    known, pairs = jobs_of(args, json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8")))
    begun = time.perf_counter()
    kept = Kept(args.out, {"model": args.model, "seed": args.seed, "code": digest_of_code()})
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        rows = [kept.row(pool, run_known, job, f"{job[1]['name']}: {job[2]['name']}") for job in known]
        real = [kept.row(pool, run_pair, job, job[1]["name"]) for job in pairs]
        rows, real = [[row.result() for row in some] for some in (rows, real)]
    show_known(rows)
    sums = {split: bars([r for r in rows if r["split"] == split]) for split in SPLITS}
    for split, figures in sums.items():
        print(f"\n{split}: {json.dumps(figures, indent=1)}" if figures["pairs"] else "")
    show_pairs(real)
    print(f"\n{time.perf_counter() - begun:.0f} s in all")
    if args.out is not None:
        done = {"model": args.model, "seed": args.seed, "known": rows, "sums": sums, "pairs": real}
        (args.out / "adaptive.json").write_text(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
