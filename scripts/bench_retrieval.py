#!/usr/bin/env python
"""What P2SAM's search among 15 candidates costs, in plain predicts, and what the cheap search gives up.

    python scripts/bench_retrieval.py --data DATA [--model built-in] [--only cardiac] [--slices 3]

A plain predict is ``Session.predict`` with one box (and the reference, for models that use references) on an encoded
slice. The cost holds everything but encoding: parts of the reference, similarity maps, decodes, distances. Times are
those of the thread on the processor, one thread, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_oneshot_pairs import Task, tasks
from SegmentAnythingMedLib import SlicePrompts, load_model
from SegmentAnythingMedLib.adaptive.cascade import mask_box
from SegmentAnythingMedLib.adaptive.one_shot import OneShotResult
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings
from SegmentAnythingMedLib.evaluation.metrics import dice

FIFTEEN = P2SAMSettings(positives=(1, 5), negatives=(1, 3))
SEARCHES = {
    "cheap": FIFTEEN,
    "full": replace(FIFTEEN, retrieval="full"),
    "published": replace(FIFTEEN, protocol="published"),
}


@dataclass(frozen=True)
class Cost:
    """One search on one slice.

    Attributes:
        predicts: its time over that of a plain predict.
        again: the same for the next target of the same reference, whose parts are known.
        decodes: calls of the decoder.
        dice: with the truth.
        winner: (positive parts, negative parts) of the chosen candidate.
    """

    predicts: float
    again: float
    decodes: int
    dice: float
    winner: tuple[int, int]


def retrieval_costs(task: Task, searches: dict[str, P2SAMSettings] | None = None) -> dict[str, Cost]:
    """Name of a search -> what it costs and finds on one target; features and tokens are made beforehand."""
    target, reference = task.target, task.reference
    for seen in (target, reference.view):
        _ = seen.tokens, seen.valid
    plain = _plain_predict(task)
    costs = {}
    for name, settings in (searches or SEARCHES).items():
        method = P2SAM(settings)
        first, result = _timed(lambda method=method: method.segment([reference], target))
        second, _ = _timed(lambda method=method: method.segment([reference], target))
        score, winner = dice(result.mask, task.truth), (result.n_positive, result.n_negative)
        costs[name] = Cost(first / plain, second / plain, result.decodes, score, winner)
    return costs


def _plain_predict(task: Task) -> float:
    """Seconds of the middle one of five."""
    target, model = task.target, task.target.model
    seen, box = task.reference.view, mask_box(task.truth)
    known = model.reference(seen.features, seen.show(task.reference.mask)) if model.uses_references else None
    prompts = SlicePrompts(box=box, references=() if known is None else (known,))
    runs = [_timed(lambda: target.session.predict(target.index, prompts))[0] for _ in range(6)]
    return float(np.median(runs[1:]))  # the first one encodes


def _timed(work: Callable[[], OneShotResult]) -> tuple[float, OneShotResult]:
    begun = time.thread_time()
    result = work()
    return time.thread_time() - begun, result


def show(all_costs: Iterable[dict[str, Cost]]) -> None:
    """A table over all slices, and how the cheap search compares with the full one."""
    rows = list(all_costs)
    print(
        f"| search ({len(rows)} slices) | plain predicts | next target | decodes | mean Dice |\n|---|---|---|---|---|"
    )
    for name in rows[0]:
        own = [row[name] for row in rows]
        predicts, again, decodes, mean = (
            np.mean([getattr(cost, key) for cost in own]) for key in ("predicts", "again", "decodes", "dice")
        )
        print(f"| {name} | {predicts:.1f} | {again:.1f} | {decodes:.1f} | {mean:.4f} |")
    pairs = [(row["cheap"], row["full"]) for row in rows]
    same = np.mean([cheap.winner == full.winner for cheap, full in pairs])
    near = np.mean([cheap.winner == full.winner or abs(cheap.dice - full.dice) <= 0.01 for cheap, full in pairs])
    print(f"\nSame winner in {same:.0%}; same winner or Dice within 0.01 in {near:.0%}.")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--only", default="", help="only groups whose name contains this")
    parser.add_argument("--slices", type=int, default=3, help="of each pair at most")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(args.model, device="cpu")
    first = True
    rows = []
    for task in tasks(args.data, model, most=args.slices, only=args.only):
        if first:  # imports of packages are nobody's cost
            retrieval_costs(task)
            first = False
        rows.append(retrieval_costs(task))
    show(rows)


if __name__ == "__main__":
    main()
