#!/usr/bin/env python
"""Prompt engine, memory engine and both in competition on the same weights: volume Dice from one prompt.

    python scripts/bench_competing_weights.py WEIGHTS.pt --data DATA
    python scripts/bench_competing.py WEIGHTS.pt --data DATA [--prompt mask] [--out results.json]

One jittered box (or the true mask) on the middle slice, the rest by each engine under its defaults; beside what needs
no model, and beside two ceilings: ``both`` takes of the finished volumes of prompt and memory engine the better mask of
every slice, ``oracle`` lets the truth choose between the candidates while both compete. Real volumes are those of
``evaluation_data.json``, which neither the trunk nor the rest was fitted to; synthetic ones have seeds of their own.
``--validation`` runs on other synthetic volumes, on which settings may be chosen. ``--agreement`` and
``--against-absence`` as in ``CompetingSettings``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "SegmentAnythingMed"))

import numpy as np
import torch
from bench_competing_network import load_fitted
from scipy import ndimage
from SegmentAnythingMedLib import Affine, Session, Volume, load_mask, load_volume
from SegmentAnythingMedLib.evaluation.baselines import copy_through, ellipsoid_of_box, growcut_of_box, otsu_walk
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.evaluation.protocols import JITTER, mapped_slice, middle_slice
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam2 import Sam2Model
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.simulation import jitter_box
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation import competing
from SegmentAnythingMedLib.propagation.competing_settings import CompetingSettings
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate
from SegmentAnythingMedLib.training.appearance import random_means
from SegmentAnythingMedLib.training.pool import _smooth_noise, synthetic_volume

HELD_OUT, VALIDATION = 900_000, 800_000
"""First seeds of synthetic volumes; those of the fit end with their running number below 100 000."""
TITLES = ("synthetic", "real")
ENGINES = ("prompt", "memory", "competing", "oracle")
Case = tuple[str, str, Volume, str, np.ndarray]


def synthetic_cases(first: int, count: int, per_volume: int = 2) -> Iterator[Case]:
    """Group, name, volume, window and truth [K, J, I] of painted anatomy: every second slice of 96 cubed voxels."""
    for seed in range(first, first + count):
        rng = np.random.default_rng([99, seed])
        labels = synthetic_volume(seed, 96).labels
        found = 0
        for target in rng.permutation(np.unique(labels)[1:]):
            parts, _ = ndimage.label(labels == target)
            sizes = np.bincount(parts.ravel())[1:]
            truth = parts == int(np.argmax(sizes)) + 1
            slices = truth[::2].sum(axis=(1, 2))
            if np.count_nonzero(slices) < 8 or not 120 < slices.max() < 2500:
                continue
            voxels = painted(labels, truth, rng)
            affine = Affine.from_parts((1, 1, 2), (0, 0, 0), np.eye(3))
            volume = Volume(np.ascontiguousarray(voxels[::2]), affine, modality="MR")
            yield "synthetic", f"synthetic {seed - first}-{target}", volume, "auto", truth[::2]
            found += 1
            if found == per_volume:
                break


def painted(labels: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int16 [K, J, I]: a grey value per label, texture, shading, blur and noise, all in three dimensions."""
    middle = int(np.argmax(truth.sum(axis=(1, 2))))
    means, _ = random_means(labels[middle], truth[middle], rng)
    texture = _smooth_noise(rng, labels.shape, float(rng.uniform(2, 6)))
    shade = _smooth_noise(rng, labels.shape, 30.0)
    image = means[labels] + rng.uniform(0, 0.06, 256)[labels] * texture / texture.std()
    image = ndimage.gaussian_filter(image, rng.uniform(0.4, 1.2)) * np.exp(0.15 * shade / (shade.std() + 1e-6))
    image = image + rng.normal(0, rng.uniform(0.01, 0.06), image.shape)
    return (np.clip(image, -0.2, 1.4) * 1000).astype(np.int16)


def real_cases(data: Path) -> Iterator[Case]:
    """The objects of ``evaluation_data.json``."""
    listed = json.loads((Path(__file__).parent / "evaluation_data.json").read_text(encoding="utf-8"))["cases"]
    for case in listed:
        volume = load_volume(data / case["image"])
        labels = np.asarray(load_mask(data / case["labels"], volume))
        for name, value in case["objects"].items():
            near, truth = around(volume, labels == value)
            yield case["set"], name, near, case.get("window", "auto"), truth


def around(volume: Volume, truth: np.ndarray) -> tuple[Volume, np.ndarray]:
    """At most 256 x 256 pixels of every slice around the object, since the network sees no more of a slice."""
    cut: list[slice] = [slice(None)]
    for axis in (1, 2):
        other = tuple(n for n in range(3) if n != axis)
        present = np.flatnonzero(truth.any(axis=other))
        side = max(256, int(present[-1] - present[0]) + 32)
        low = int(np.clip((present[0] + present[-1]) // 2 - side // 2, 0, max(truth.shape[axis] - side, 0)))
        cut.append(slice(low, low + side))
    voxels = np.ascontiguousarray(volume.voxels[tuple(cut)])
    return Volume(voxels, volume.affine, modality=volume.modality), np.ascontiguousarray(truth[tuple(cut)])


class Oracle:
    """In place of ``competing.choose``: the truth decides which candidate is kept."""

    def __init__(self, truth: np.ndarray) -> None:
        self._truth = truth

    def __call__(self, prompt: Any, memory: Any, _: Any) -> Any:
        """The accepted candidate with fewer wrong pixels; None where the truth is empty."""
        truth = self._truth[prompt.record.index]
        if not truth.any():
            return None
        left = [one for one in (memory, prompt) if one.record.accepted]
        return min(left, key=lambda one: np.count_nonzero(one.result.mask != truth), default=None)


def seeds_of(truth: np.ndarray, index: int, prompt: str) -> tuple[ObjectSeeds, tuple]:
    """What the user gives, and the box for the baselines."""
    box = jitter_box(truth[index], JITTER, np.random.default_rng(0))
    if prompt == "mask":
        return ObjectSeeds({index: SlicePrompts(mask=truth[index])}, drawn=frozenset({index})), box
    return ObjectSeeds({index: SlicePrompts(box=box)}), box


def run_case(case: Case, model: Sam2Model, prompt: str, settings: CompetingSettings) -> dict[str, Any]:
    """Dice of everything on one object, with free ends and within its true extent."""
    group, name, volume, window, reference = case
    session = Session(volume, model, window=window)
    truth = np.stack([session.stack.mask_slice(reference, n) for n in range(session.count)])
    index, present = middle_slice(session, reference), np.flatnonzero(truth.any(axis=(1, 2)))
    seeds, box = seeds_of(truth, index, prompt)
    row: dict[str, Any] = {"group": group, "object": name, "slices": [len(present), session.count]}
    for ends, limits in (("free", None), ("within", (int(present[0]), int(present[-1])))):
        row[ends] = followed(session, seeds, truth, replace(settings, limits=limits), index)
        row[ends].update(baselines(session, truth, index, box, limits))
    session.close()
    return row


def followed(
    session: Session, seeds: ObjectSeeds, truth: np.ndarray, settings: CompetingSettings, index: int
) -> dict[str, Any]:
    """Dice, questions and CPU seconds of every engine."""
    found: dict[str, Any] = {}
    masks, rule = {}, competing.choose
    for engine in ENGINES if settings.limits else ENGINES[:3]:
        counts, begun = session.counters.decodes, time.process_time()
        competing.choose = Oracle(truth) if engine == "oracle" else rule
        rules = settings if engine in ("competing", "oracle") else PropagationSettings(limits=settings.limits)
        wish = engine if engine in ("prompt", "memory") else "competing"
        result = propagate(session, seeds, rules, engine=wish)
        masks[engine] = result.stack()
        found[engine] = dice(masks[engine], truth)
        found[f"{engine} work"] = [session.counters.decodes - counts, time.process_time() - begun]
        found[f"{engine} ends"] = [result.end_lower, result.end_upper]
        found[f"{engine} slices"] = len(result.masks)
        if engine == "competing":
            told = [getattr(record, "engine", None) for record in result.records.values()]
            found["won"] = [told.count(one) for one in ("prompt", "memory")]
    competing.choose = rule
    found["seed"] = dice(masks["memory"][index], truth[index])
    pairs = zip(masks["memory"], masks["prompt"], truth, strict=True)
    better = [min(pair, key=lambda m, t=t: np.count_nonzero(m != t)) for *pair, t in pairs]
    found["both"] = dice(np.stack(better), truth)
    return found


def baselines(
    session: Session, truth: np.ndarray, index: int, box: tuple, limits: tuple[int, int] | None
) -> dict[str, float]:
    """Dice of what needs no model; the copy of the seed's true mask only where the extent is known."""
    grey = np.stack([mapped_slice(session, n) for n in range(session.count)])
    spacing = session.pixel_spacing, session.slice_spacing
    found = {
        "otsu_walk": dice(otsu_walk(grey, index, box, limits=limits), truth),
        "ellipsoid": dice(ellipsoid_of_box(truth.shape, index, box, *spacing, limits=limits), truth),
    }
    if limits is None:
        found["growcut"] = dice(growcut_of_box(grey, index, box, *spacing), truth)
    else:
        found["copy"] = dice(copy_through(truth[index], len(truth), limits), truth)
    return found


def show(rows: list[dict[str, Any]], ends: str) -> None:
    """Markdown: every object, then means and smallest per kind."""
    engines = ENGINES[:3] if ends == "free" else ENGINES
    columns = [*engines, "both", "otsu_walk", "ellipsoid", "growcut" if ends == "free" else "copy"]
    print(f"\n{ends}\n\n| object | " + " | ".join(columns) + " | slices won (prompt / memory) |")
    print("|---" * (len(columns) + 2) + "|")
    for row in rows:
        cells, won = " | ".join(f"{row[ends][name]:.3f}" for name in columns), row[ends]["won"]
        print(f"| {row['group']}: {row['object']} | {cells} | {won[0]} / {won[1]} |")
    kinds = {title: [r for r in rows if (r["group"] == "synthetic") == (title == "synthetic")] for title in TITLES}
    for title, members in {**kinds, "all": rows}.items():
        for kind, reduce in (("mean", np.mean), ("smallest", np.min)) if members else ():
            cells = " | ".join(f"{reduce([row[ends][name] for row in members]):.3f}" for name in columns)
            print(f"| {title} ({len(members)}), {kind} | {cells} | |")
    for other in ("prompt", "memory"):
        gain = np.array([row[ends]["competing"] - row[ends][other] for row in rows])
        print(f"\ncompeting minus {other}: mean {gain.mean():+.3f}, from {gain.min():+.3f} to {gain.max():+.3f}")
    for name in engines:
        decodes, seconds = (sum(row[ends][f"{name} work"][n] for row in rows) for n in (0, 1))
        print(f"{name}: {decodes} decodes, {seconds:.0f} CPU seconds (features are shared; the first one pays)")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--prompt", choices=("box", "mask"), default="mask")
    parser.add_argument("--volumes", type=int, default=10, help="synthetic volumes")
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--agreement", type=float, default=CompetingSettings.agreement)
    parser.add_argument("--against-absence", type=float, default=CompetingSettings.against_absence)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    info = ModelInfo("fitted", "sam2", "narrow", "0" * 64, "fitted", "none")
    model = Sam2Model(load_fitted(options.weights), info)
    settings = CompetingSettings(agreement=options.agreement, against_absence=options.against_absence)
    cases = list(synthetic_cases(VALIDATION if options.validation else HELD_OUT, options.volumes))
    if options.data and not options.validation:
        cases = [*cases, *real_cases(options.data)]
    rows = []
    for case in cases:
        rows.append(row := run_case(case, model, options.prompt, settings))
        for ends in ("free", "within"):
            told = ", ".join(f"{name} {row[ends][name]:.3f}" for name in (*ENGINES, "both") if name in row[ends])
            print(f"{row['group']}: {row['object']} ({ends}): {told}", file=sys.stderr, flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1))
    show(rows, "free")
    show(rows, "within")


if __name__ == "__main__":
    main()
