"""Ablations of P2SAM for ``bench_oneshot.py``: parts, distances, and what the cheap retrieval gives up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bench_oneshot_pairs import Task
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings

FIFTEEN: dict[str, Any] = {"positives": (1, 5), "negatives": (1, 3)}
CHEAP, FULL = "15 candidates, cheap", "15 candidates, full"


def p2sam(**settings: Any) -> Callable[[Task], np.ndarray]:
    """P2SAM with other settings than the default; the medical path everywhere."""
    method = P2SAM(P2SAMSettings(**settings))
    return lambda task: method.segment([task.reference], task.target).mask


ABLATIONS: dict[str, Callable[[], Callable[[Task], np.ndarray]]] = {
    **{f"{n} parts": lambda n=n: p2sam(positives=(n, n), retrieval="full") for n in (1, 3, 5)},
    **{f"1 to {n} parts": lambda n=n: p2sam(positives=(1, n), retrieval="full") for n in (3, 5)},
    **{d: lambda d=d: p2sam(positives=(1, 5), distance=d, retrieval="full") for d in ("jensen-shannon", "hungarian")},
    "raw tokens": lambda: p2sam(positives=(1, 5), contrast=False, retrieval="full"),
    CHEAP: lambda: p2sam(**FIFTEEN, retrieval="cheap"),
    FULL: lambda: p2sam(**FIFTEEN, retrieval="full"),
}


def show_checks(rows: Sequence[dict[str, Any]]) -> None:
    """Tables of the ablations and of the retrieval's cost."""
    print("\n| P2SAM with | mean Dice of all slices | decodes | s |\n|---|---|---|---|")
    for name in ABLATIONS:
        own = [row for row in rows if row["method"] == name]
        mean, decodes, seconds = (np.mean([row[key] for row in own]) for key in ("dice", "decodes", "seconds"))
        print(f"| {name} | {mean:.3f} | {decodes:.1f} | {seconds:.2f} |")
    cheap, full = ([row for row in rows if row["method"] == name] for name in (CHEAP, FULL))
    losses = np.array([b["dice"] - a["dice"] for a, b in zip(cheap, full, strict=True)])
    same = [a["parts"] == b["parts"] for a, b in zip(cheap, full, strict=True)]
    near = np.array(same) | (np.abs(losses) <= 0.01)
    decodes = [row["decodes"] for row in cheap]
    print(
        f"\nCheap retrieval: {max(decodes)} decodes at most, {np.mean(decodes):.1f} on average (full: "
        f"{np.mean([row['decodes'] for row in full]):.1f}); the same mask in {np.mean(same):.0%} of {len(same)} slices"
        f", the same or Dice within 0.01 in {np.mean(near):.0%}; mean Dice {np.mean(losses):+.4f} for the full one."
    )
