"""The commands of the command line, as functions of parsed options.

Each prints its result to standard output and raises the library's errors; :mod:`.cli` turns those into exit codes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files.images import load_volume, read_mask, save_mask
from ..progress import Progress
from ..propagation.engines import check_engine
from ..propagation.settings import PropagationSettings
from ..space.planes import AXES, SliceStack
from ..space.volume import Volume
from .arguments import PromptArguments, parse_limits, parse_number, parse_whole
from .outputs import Outputs, write_together
from .pipelines import Remark, Segmentation, segment_volume
from .terminal import ProgressBar, Stopwatch, cancel_on_interrupt, say


def segment(options: argparse.Namespace) -> None:
    """``segment IMAGE --output OUT``: prompts to a mask, a report and a figure."""
    given = PromptArguments.parse(options.point, options.box, options.mask, options.prompts, options.space)
    settings = PropagationSettings(
        projection=options.projection,
        iou_threshold=parse_number(options.iou_threshold),
        limits=parse_limits(options.limits),
    )
    seed = parse_whole(options.seed, "seed")
    _check_axis(options.axis)
    check_engine(options.engine)
    outputs = Outputs(Path(options.output), _path(options.report), _path(options.figure))
    outputs.check((Path(options.image), *given.files))
    watch, progress = Stopwatch(), None
    with ProgressBar() as bar:
        progress = Progress(bar.listen)
        with cancel_on_interrupt(progress):
            with watch.measure("read"):
                volume = _load(options, progress)
                bound = given.bind(SliceStack(volume, options.axis))
            if seed is not None:
                _fix_chance(seed)
            result = segment_volume(
                volume, bound.prompts, options.model, device=options.device, family=options.family, axis=options.axis,
                window=options.window, settings=settings, engine=options.engine, propagate=not options.no_propagate,
                progress=progress,
            )  # fmt: skip
            remarks = [Remark("prompts", note) for note in bound.notes]
            report = _write(result, outputs, watch, seed, remarks, progress)
    _tell(result, outputs, report, remarks, options.json)


def _write(
    result: Segmentation,
    outputs: Outputs,
    watch: Stopwatch,
    seed: int | None,
    remarks: list[Remark],
    progress: Progress,
) -> dict[str, Any]:
    from .report import build_report, to_text

    progress.start("Writing the results")
    watch.seconds["total"] = watch.total
    names = {kind: path.name for kind, path in vars(outputs).items() if path is not None}
    report = build_report(result, seconds=watch.seconds, seed=seed, remarks=remarks, outputs=names)
    files = [(outputs.mask, lambda path: save_mask(result.labels, result.volume, path))]
    if outputs.figure is not None:
        files.append((outputs.figure, lambda path: _save_figure(result, path)))
    if outputs.report is not None:
        files.append((outputs.report, lambda path: _write_text(path, to_text(report))))
    write_together(files)
    return report


def _save_figure(result: Segmentation, path: Path) -> None:
    from .figure import save_montage
    from .report import public_name

    save_montage(
        path, result.stack, result.mapping,
        {name: one.masks for name, one in result.results.items()},
        {name: one.records for name, one in result.results.items()},
        {name: one.seeds for name, one in result.seeds.items()},
        f"{public_name(result.volume)}, model {result.model.info.name}"
        + ("" if result.completed else ", cancelled before the end"),
    )  # fmt: skip


def _write_text(path: Path, text: str) -> None:
    from ..files.atomic import write_bytes

    write_bytes(path, text.encode("utf-8"))


def _tell(
    result: Segmentation, outputs: Outputs, report: Mapping[str, Any], remarks: list[Remark], as_json: bool
) -> None:
    _warn(map(str, (*remarks, *result.remarks)))
    if as_json:
        _print_json(report)
        return
    for kind, path in vars(outputs).items():
        if path is not None:
            print(f"{kind:8}{path}")
    for entry in report["objects"]:
        span = "not found"
        if entry["lower"] is not None:
            ends = f"{entry['end_lower']}, {entry['end_upper']}"
            span = f"{result.stack.axis} {entry['lower']}..{entry['upper']} (ends: {ends}), {entry['volume_ml']:.2f} ml"
        print(f"label {entry['label']}: {entry['name']}, {span}")


def evaluate(options: argparse.Namespace) -> None:
    """``evaluate PRED REF``: metrics of a mask against a reference."""
    label = parse_whole(options.label, "label", lowest=1)
    with ProgressBar() as bar:
        progress = Progress(bar.listen)
        progress.start("Reading the masks")
        reference_volume = load_volume(options.reference)
        reference = read_mask(options.reference, reference_volume)
        prediction = read_mask(options.prediction, reference_volume)
        notes = [*prediction.notes]
        masks = [
            _chosen(prediction.labels, label, Path(options.prediction).name, notes, lenient=True),
            _chosen(reference.labels, label, Path(options.reference).name, notes, lenient=False),
        ]
        progress.start("Measuring")
        from ..evaluation.metrics import evaluate_masks

        found = evaluate_masks(*masks, reference_volume.spacing.tolist())
    _warn(notes)
    if options.json:
        _print_json({"label": label, **found, "warnings": notes})
        return
    for name, key, unit in _SHOWN:
        print(f"{name:24}{found[key]:10.4f} {unit}".rstrip())
    if found["flag"]:
        print(f"{'flag':24}{found['flag']:>10}")


_SHOWN = (
    ("Dice", "dice", ""),
    ("NSD (2 mm)", "nsd", ""),
    ("HD95", "hd95_mm", "mm"),
    ("ASSD", "assd_mm", "mm"),
    ("volume of prediction", "volume_prediction_ml", "ml"),
    ("volume of reference", "volume_reference_ml", "ml"),
    ("difference", "volume_error_ml", "ml"),
)


def _chosen(labels: np.ndarray, label: int | None, name: str, notes: list[str], *, lenient: bool) -> np.ndarray:
    """The voxels to compare. A prediction of one label stands for the wanted one, whatever its number."""
    present = sorted({int(value) for plane in labels for value in np.unique(plane)} - {0})
    if label is None:
        if len(present) > 1:
            notes.append(f"{name} has {len(present)} labels; all were taken together (--label N chooses one).")
        return labels != 0
    if lenient and len(present) == 1 and present[0] != label:
        notes.append(f"{name} holds one label, {present[0]}; it was compared with label {label} of the reference.")
        return labels != 0
    if not lenient and label not in present:
        shown = ", ".join(map(str, present[:20])) or "none"
        raise InputError("option.label", f"Expected a label of {name} (it has {shown}); got {label}.")
    return labels == label


def info(options: argparse.Namespace) -> None:
    """``info IMAGE``: what the image is, what would be done, what it would cost."""
    from .describe import describe_job, lines_of

    _check_axis(options.axis)
    with ProgressBar() as bar:
        progress = Progress(bar.listen)
        volume = _load(options, progress)
        progress.start("Measuring the model on one slice")
        from ..models.catalog import load_model

        model = load_model(options.model, options.device, options.family)
        facts = describe_job(volume, model, axis=options.axis, window=options.window)
    if options.json:
        _print_json(facts)
        return
    _warn(facts["notes"])
    for line in lines_of(facts):
        print(line)


def models(options: argparse.Namespace) -> int:
    """``models list|download|import|remove|verify``: see :mod:`.model_commands`."""
    from .model_commands import run_models

    return run_models(options)


def _load(options: argparse.Namespace, progress: Progress) -> Volume:
    progress.start("Reading the image")
    return load_volume(options.image, series=options.series, allow_gaps=options.allow_gaps, progress=progress)


def _check_axis(axis: str) -> None:
    if axis not in (*AXES, "auto"):
        raise InputError("option.axis", f"Expected the axis k, j, i or auto, got {axis!r}.")


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _fix_chance(seed: int) -> None:
    """Nothing here draws random numbers today; a seed also forbids the GPU's non-repeatable algorithms."""
    import torch

    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _warn(texts: Iterable[str]) -> None:
    for text in dict.fromkeys(texts):
        say(f"warning: {text}")


def _print_json(content: Mapping[str, Any]) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
