"""Ablations of P2SAM for ``bench_oneshot.py``: parts, distances, and what the cheap retrieval gives up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bench_oneshot_pairs import Task
from SegmentAnythingMedLib import SlicePrompts
from SegmentAnythingMedLib.adaptive.cascade import mask_box
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings

FIFTEEN: dict[str, Any] = {"positives": (1, 5), "negatives": (1, 3)}
CHEAP = {f"15 candidates, {k} finished": k for k in (2, 4, 10)}
FULL, PLAIN = "15 candidates, all finished", "15 plain decodes"


def p2sam(**settings: Any) -> Callable[[Task], np.ndarray]:
    """P2SAM with other settings than the default; the medical path everywhere."""
    method = P2SAM(P2SAMSettings(**settings))
    return lambda task: method.segment([task.reference], task.target).mask


ABLATIONS: dict[str, Callable[[], Callable[[Task], np.ndarray]]] = {
    **{f"{n} parts": lambda n=n: p2sam(positives=(n, n), retrieval="full") for n in (1, 3, 5)},
    **{f"1 to {n} parts": lambda n=n: p2sam(positives=(1, n), retrieval="full") for n in (3, 5)},
    **{d: lambda d=d: p2sam(positives=(1, 5), distance=d, retrieval="full") for d in ("jensen-shannon", "hungarian")},
    "raw tokens": lambda: p2sam(positives=(1, 5), contrast=False, retrieval="full"),
    **{name: lambda k=k: p2sam(**FIFTEEN, retrieval="cheap", finalists=k) for name, k in CHEAP.items()},
    FULL: lambda: p2sam(**FIFTEEN, retrieval="full"),
    PLAIN: lambda: fifteen_plain_decodes,
}


def fifteen_plain_decodes(task: Task) -> np.ndarray:
    """Nothing but the model: the same box fifteen times, one after the other."""
    prompts = SlicePrompts(box=mask_box(task.target.show(task.truth)))
    masks = [task.target.decode(prompts).logits[0] > 0 for _ in range(15)]
    return task.target.store(masks[0])


def show_checks(rows: Sequence[dict[str, Any]]) -> None:
    """Tables of the ablations and of the retrieval's cost."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["method"], []).append(row)
    print("\n| P2SAM with | mean Dice of all slices | decodes | CPU s |\n|---|---|---|---|")
    for name in (name for name in ABLATIONS if name in by_name):
        mean, decodes, cpu = (np.mean([row[key] for row in by_name[name]]) for key in ("dice", "decodes", "seconds"))
        print(f"| {name} | {mean:.3f} | {decodes:.1f} | {cpu:.2f} |")
    if FULL not in by_name or PLAIN not in by_name:
        return
    full = by_name[FULL]
    plain = np.mean([row["seconds"] for row in by_name[PLAIN]]) / 15
    print("\n| retrieval | cost in plain decodes | same mask | same, or Dice within 0.01 | mean Dice less |")
    print("|---|---|---|---|---|")
    for name in [*(name for name in CHEAP if name in by_name), FULL]:
        losses = np.array([b["dice"] - a["dice"] for a, b in zip(by_name[name], full, strict=True)])
        same = np.array([a["parts"] == b["parts"] for a, b in zip(by_name[name], full, strict=True)])
        cost = np.mean([row["seconds"] for row in by_name[name]]) / plain
        near = same | (np.abs(losses) <= 0.01)
        print(f"| {name} | {cost:.1f} | {same.mean():.0%} | {near.mean():.0%} | {losses.mean():+.4f} |")
