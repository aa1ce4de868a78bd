"""Ablations of P2SAM for ``bench_oneshot.py``: parts and distances. Cost of the search: ``bench_retrieval.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bench_oneshot_pairs import Task
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings

Segment = Callable[[Task], np.ndarray]


def p2sam(**settings: Any) -> Segment:
    """P2SAM on its medical path, every candidate finished."""
    method = P2SAM(P2SAMSettings(retrieval="full", **settings))
    return lambda task: method.segment([task.reference], task.target, restrict=task.near).mask


ABLATIONS: dict[str, Callable[[], Segment]] = {
    **{f"{n} parts": lambda n=n: p2sam(positives=(n, n)) for n in (1, 3, 5)},
    **{f"1 to {n} parts": lambda n=n: p2sam(positives=(1, n)) for n in (3, 5)},
    **{name: lambda name=name: p2sam(positives=(1, 5), distance=name) for name in ("jensen-shannon", "hungarian")},
    "raw tokens": lambda: p2sam(positives=(1, 5), contrast=False),
}


def show_checks(rows: Sequence[dict[str, Any]]) -> None:
    """Mean Dice of each ablation, with and without the pairs of two modalities."""
    print("\n| P2SAM with | Dice, one modality | Dice, all | decodes | CPU s |\n|---|---|---|---|---|")
    for name in ABLATIONS:
        own = [row for row in rows if row["method"] == name]
        if own:
            one = np.mean([row["dice"] for row in own if row["group"] != "other modality"] or [np.nan])
            mean, decodes, cpu = (np.mean([row[key] for row in own]) for key in ("dice", "decodes", "seconds"))
            print(f"| {name} | {one:.3f} | {mean:.3f} | {decodes:.1f} | {cpu:.2f} |")
