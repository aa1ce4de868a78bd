#!/usr/bin/env python
"""What a propagation costs beside its networks, and how often it encodes.

    python scripts/bench_engine.py [--model built-in] [--repeats 5] [--json results.json]

One thread. Two models: the built-in one, and a SAM of 1024 pixels whose encoder has 3 blocks in place of 12 and whose
masks come from the image (``bench_phantom.PseudoSam``): it needs no weights and costs what SAM costs, except that the
encoder is cheap, which is hard on the engine. Models are timed in turn; figures are medians over the repetitions.

Two clocks: *CPU* is the time that this process computed, and is not disturbed by other programs much; *wall* is what a
person waits, and equals it on a quiet machine. Parts of a visited slice:

    prepare   slice hash, crop, intensity mapping, cache        encode    ``PromptableModel.encode``
    decode    ``PromptableModel.decode``                        session   regions, results of a session
    engine    projection, comparison, stopping

Overhead is everything but encode and decode, over encode and decode. ``glue`` is stricter: everything but the bare
networks (resizing images and logits counts as overhead), over the bare networks. ``first mask`` is the time from a
prompt in a fresh session to its mask, over one encode and one decode.

    python scripts/bench_engine.py --objects [--repeats 3]

The time of eight objects on the same slices over the time of one, both from the volume to all masks, with an encoder of
the geometry of ViT-B (1024 pixels, 12 blocks; random weights, about a minute of computing per repetition).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from bench_phantom import VIT_B, Phantom, PseudoSam, make_phantom
from SegmentAnythingMedLib import PropagationSettings, Session, SlicePrompts, load_mask, load_model, load_volume
from SegmentAnythingMedLib.models.interface import PromptableModel
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects

SAMPLE = Path(__file__).resolve().parents[1] / "SegmentAnythingMed" / "Resources" / "SampleData" / "CTPelvisBladder"
BARS = {"built-in": {"ms": 60.0, "overhead": 0.15, "first": 1.1}, "pseudo-sam": {"overhead": 0.05, "first": 1.1}}
OBJECTS_BAR = 1.10
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}


class Meter:
    """Seconds spent in wrapped functions, by name and clock, and how often they were called."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self.calls: dict[str, int] = {}

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Replace a method of one object by a timed one."""
        inner = getattr(owner, name)

        @wraps(inner)
        def timed(*arguments: Any, **options: Any) -> Any:
            begun = {clock: read() for clock, read in CLOCKS.items()}
            try:
                return inner(*arguments, **options)
            finally:
                total = self.seconds.setdefault(label, dict.fromkeys(CLOCKS, 0.0))
                for clock, read in CLOCKS.items():
                    total[clock] += read() - begun[clock]
                self.calls[label] = self.calls.get(label, 0) + 1

        setattr(owner, name, timed)

    def of(self, label: str, clock: str) -> float:
        """Seconds under a label."""
        return self.seconds.get(label, {}).get(clock, 0.0)

    def clear(self) -> None:
        """Start again."""
        self.seconds.clear()
        self.calls.clear()


def metered(model: PromptableModel) -> Meter:
    """A meter on a model's two calls and on its bare networks."""
    meter = Meter()
    meter.wrap(model, "encode", "encode")
    meter.wrap(model, "decode", "decode")
    meter.wrap(model.network.image_encoder, "forward", "net")
    meter.wrap(model.network.prompt_encoder, "forward", "net")
    decoder = getattr(model, "_decoder", None)
    if decoder is None:
        meter.wrap(model.network.mask_decoder, "forward", "net")
    else:  # our form of the mask decoder
        meter.wrap(decoder, "state", "net")
        meter.wrap(decoder, "predict", "net")
    return meter


def time_once(model: PromptableModel, meter: Meter, phantom: Phantom, name: str) -> dict[str, dict[str, float]]:
    """Milliseconds per visited slice, by clock and part, of one cold propagation."""
    index, prompt = phantom.middle(name), SlicePrompts(box=phantom.box(name))
    first = first_mask(model, meter, phantom, index, prompt)
    session = Session(phantom.volume, model)
    meter.clear()
    meter.wrap(session, "features", "features")
    meter.wrap(session, "predict", "predict")
    prompts = {index: prompt}
    begun = {clock: read() for clock, read in CLOCKS.items()}
    result = propagate(session, prompts)
    out = {}
    for clock, read in CLOCKS.items():
        total, encode, decode = read() - begun[clock], meter.of("encode", clock), meter.of("decode", clock)
        features, predict = meter.of("features", clock), meter.of("predict", clock)
        parts = {
            "total": total,
            "prepare": features - encode,
            "encode": encode,
            "decode": decode,
            "session": predict - features - decode,
            "engine": total - predict,
            "net": meter.of("net", clock),
        }
        out[clock] = {part: 1000 * seconds / len(result.records) for part, seconds in parts.items()}
        out[clock]["overhead"] = total / (encode + decode) - 1
        out[clock]["glue"] = total / meter.of("net", clock) - 1
        out[clock].update(first[clock])
    out["slices"] = {"visited": len(result.records), "masks": len(result.masks)}
    return out


def first_mask(
    model: PromptableModel, meter: Meter, phantom: Phantom, index: int, prompt: SlicePrompts
) -> dict[str, dict[str, float]]:
    """``open``: milliseconds to open a session; ``first``: time to the first mask over one encode and one decode."""
    begun = {clock: read() for clock, read in CLOCKS.items()}
    session = Session(phantom.volume, model)
    opened = {clock: read() for clock, read in CLOCKS.items()}
    meter.clear()
    session.predict(index, prompt)
    out = {}
    for clock, read in CLOCKS.items():
        nets = meter.of("encode", clock) + meter.of("decode", clock)
        out[clock] = {"open": 1000 * (opened[clock] - begun[clock]), "first": (read() - opened[clock]) / nets}
    return out


def timings(models: dict[str, PromptableModel], repeats: int) -> dict[str, Any]:
    """Medians of interleaved repetitions; a first, uncounted one per model warms caches."""
    shape = {"ball": ("ellipsoid", (11.5, 256, 250), (8.4, 70, 90))}
    phantom = make_phantom(shape, size=(24, 512, 512))
    meters = {name: metered(model) for name, model in models.items()}
    taken: dict[str, list[Any]] = {name: [] for name in models}
    for repeat in range(repeats + 1):
        for name, model in models.items():
            found = time_once(model, meters[name], phantom, "ball")
            if repeat:
                taken[name].append(found)
    medians = {}
    for name, runs in taken.items():
        medians[name] = {
            clock: {part: float(np.median([run[clock][part] for run in runs])) for part in runs[0][clock]}
            for clock in CLOCKS
        }
        medians[name].update(runs[0]["slices"])
    return medians


def counts(name: str, model: PromptableModel, phantom: Phantom, target: str) -> dict[str, Any]:
    """Encodes of one object, then of the same prompt again, moved, and corrected."""
    session, index = Session(phantom.volume, model), phantom.middle(target)
    box = np.array(phantom.box(target))
    row: dict[str, Any] = {"model": name, "object": target, "true slices": phantom.slices(target)}
    first = propagate(session, {index: SlicePrompts(box=tuple(box))})
    row.update({"k": len(first.masks), "n": session.count, "encodes": session.counters.encodes})
    row["ends"] = f"{first.end_lower} / {first.end_upper}"
    middle = np.array([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]])
    moved = {
        "same box": SlicePrompts(box=tuple(box)),
        "box + 1 px": SlicePrompts(box=tuple(box + 1)),
        "box - 2 px": SlicePrompts(box=tuple(box - 2)),
        "+ point": SlicePrompts(middle, np.array([1]), box=tuple(box)),
    }
    for change, prompts in moved.items():
        before = session.counters.encodes
        session.predict(index, prompts)
        row[f"{change}: slice"] = session.counters.encodes - before
    visited = set(first.records)
    for change, prompts in moved.items():
        before = session.counters.encodes
        again = set(propagate(session, {index: prompts}).records)
        # a moved box can make the walk one slice longer; that slice has to be encoded
        row[f"{change}: known slices of the volume"] = session.counters.encodes - before - len(again - visited)
        row[f"{change}: slices visited for the first time"] = len(again - visited)
        visited |= again
    return row


def sharing(name: str, model: PromptableModel, phantom: Phantom) -> dict[str, Any]:
    """Encodes of every object alone, and of all together."""
    prompts = {o: {phantom.middle(o): SlicePrompts(box=phantom.box(o))} for o in phantom.truth}
    alone, union = [], set()
    for one in prompts.values():
        session = Session(phantom.volume, model)
        union |= set(propagate(session, one).records)
        alone.append(session.counters.encodes)
    session = Session(phantom.volume, model)
    propagate_objects(session, prompts, PropagationSettings())
    return {
        "model": name, "objects": len(prompts), "alone": alone, "together": session.counters.encodes,
        "slices visited": len(union),
    }  # fmt: skip


def objects_together(repeats: int) -> dict[str, Any]:
    """Seconds of CPU time for one and for eight objects on two slices, cold: medians, and their ratio."""
    centres = [(row, col) for row in (100, 400) for col in (70, 190, 310, 430)]
    shapes = {f"ball {n}": ("cylinder", (0.5, *centre), (1.4, 40, 44)) for n, centre in enumerate(centres)}
    phantom, model = make_phantom(shapes, size=(2, 512, 512)), PseudoSam(VIT_B)
    prompts = {name: {0: SlicePrompts(box=phantom.box(name))} for name in shapes}
    chosen = {1: dict(list(prompts.items())[:1]), len(prompts): prompts}
    taken: dict[int, list[float]] = {count: [] for count in chosen}
    encodes = {}
    for _ in range(repeats):
        for count, some in chosen.items():
            session = Session(phantom.volume, model)
            begun = time.process_time()
            found = propagate_objects(session, some, PropagationSettings())
            taken[count].append(time.process_time() - begun)
            encodes[count] = session.counters.encodes
            if not all(len(one.masks) == session.count for one in found.values()):
                raise SystemExit("an object was lost; the figures would mean nothing")
    seconds = {count: float(np.median(runs)) for count, runs in taken.items()}
    return {"seconds": seconds, "encodes": encodes, "ratio": seconds[len(prompts)] / seconds[1]}


def show_objects(found: dict[str, Any]) -> None:
    """As text."""
    state = "met" if found["ratio"] <= OBJECTS_BAR else "MISSED"
    for count, seconds in found["seconds"].items():
        print(f"{count} objects, ViT-B geometry, cold: {seconds:.2f} s CPU, {found['encodes'][count]} encodes")
    print(f"ratio {found['ratio']:.3f} (bar {OBJECTS_BAR}: {state})")


def bladder() -> Phantom | None:
    """The shipped sample as if it were a phantom; None where it is missing."""
    if not (SAMPLE / "ct.nii.gz").is_file():
        return None
    volume = load_volume(SAMPLE / "ct.nii.gz")
    labels = np.asarray(load_mask(SAMPLE / "labels.nii.gz", volume))
    return Phantom(volume, {"bladder": labels == 1})


def show_timings(medians: dict[str, Any]) -> None:
    """As a Markdown table."""
    parts = ("total", "prepare", "encode", "decode", "session", "engine")
    print("\n| model | clock | ms per slice | " + " | ".join(parts[1:]) + " | overhead | glue | first mask | bars |")
    print("|---|---|---|" + "---|" * (len(parts) + 3))
    for name, found in medians.items():
        bars = BARS.get(name, {})
        for clock in CLOCKS:
            row = found[clock]
            cells = " | ".join(f"{row[part]:.2f}" for part in parts)
            met = [f"{key} {'met' if row[source] <= bar else 'MISSED'}" for key, source, bar in _bars(bars)]
            print(
                f"| {name} | {clock} | {cells} | {row['overhead']:.1%} | {row['glue']:.1%} | {row['first']:.2f} "
                f"| {', '.join(met)} |"
            )
    for name, found in medians.items():
        print(
            f"{name}: {found['visited']} slices visited, {found['masks']} masks; opening {found['cpu']['open']:.0f} ms"
        )


def _bars(bars: dict[str, float]) -> list[tuple[str, str, float]]:
    known = {
        "ms": ("<= {:.0f} ms", "total"),
        "overhead": ("<= {:.0%}", "overhead"),
        "first": ("first <= {:.2f}", "first"),
    }
    return [(known[key][0].format(bar), known[key][1], bar) for key, bar in bars.items()]


def show_counts(rows: list[dict[str, Any]]) -> None:
    """As text."""
    print("\nEncodes of one object on k of n slices (bar: k + 2), then for changed prompts (bar: 0)")
    for row in rows:
        state = "met" if row["encodes"] <= row["k"] + 2 else "MISSED"
        print(
            f"  {row['model']:10} {row['object']:12} true {row['true slices']:2}, k {row['k']:2} of {row['n']}, "
            f"encodes {row['encodes']:2} = k + {row['encodes'] - row['k']} ({state})   ends: {row['ends']}"
        )
        for what in ("slice", "known slices of the volume", "slices visited for the first time"):
            again = {key.split(":")[0]: value for key, value in row.items() if key.endswith(f": {what}")}
            print(f"    new encodes, {what}: " + ", ".join(f"{key} {value}" for key, value in again.items()))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-sam", action="store_true", help="the built-in model only")
    parser.add_argument("--no-timing", action="store_true", help="count encodes only")
    parser.add_argument("--no-counts", action="store_true", help="time only")
    parser.add_argument("--objects", action="store_true", help="one object against eight, ViT-B, no more")
    parser.add_argument("--stock", action="store_true", help="the stock modules in place of our faster forms")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.objects:
        found = objects_together(args.repeats)
        show_objects(found)
        write(args.json, found)
        return
    models: dict[str, PromptableModel] = {args.model: load_model(args.model, device="cpu")}
    if not args.no_sam:
        models["pseudo-sam"] = PseudoSam(fast=not args.stock)
    results: dict[str, Any] = {"torch": torch.__version__, "threads": 1, "repeats": args.repeats}
    if not args.no_counts:
        results.update(count_all(models))
    if not args.no_timing:
        results["timings"] = timings(models, args.repeats)
        show_timings(results["timings"])
    write(args.json, results)


def count_all(models: dict[str, PromptableModel]) -> dict[str, Any]:
    """Encodes of all models on all objects, shown and returned."""
    single = make_phantom(
        {
            "ball": ("ellipsoid", (8, 110, 110), (5.9, 40, 46)),
            "cylinder": ("cylinder", (8, 360, 130), (4.4, 35, 35)),
        },
        size=(18, 480, 512),
    )
    scenes = [(single, target) for target in single.truth]
    sample = bladder()
    if sample is not None:
        scenes.append((sample, "bladder"))
    rows = []
    for name, model in models.items():
        for phantom, target in scenes:
            if name != "pseudo-sam" or target != "bladder":  # the pseudo-SAM knows bright objects only
                rows.append(counts(name, model, phantom, target))
                print(f"counted: {name}, {target}", file=sys.stderr, flush=True)
    show_counts(rows)
    shared = [sharing(name, model, single) for name, model in models.items()]
    print("\nSeveral objects: encodes alone, together (slices visited)")
    for row in shared:
        print(f"  {row['model']:10} {row['alone']}, {row['together']} ({row['slices visited']})")
    return {"counts": rows, "sharing": shared}


def write(path: str | None, results: dict[str, Any]) -> None:
    """All figures as JSON, where asked for."""
    if path:
        Path(path).write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
