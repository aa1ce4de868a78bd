"""The commands of the command line, as functions of parsed options.

Each prints its result to standard output and raises the library's errors; :mod:`.cli` turns those into exit codes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files.drafts import Draft, Origin, Written
from ..files.images import load_volume, save_mask
from ..files.structures import structure_kind
from ..progress import Progress
from ..propagation.engines import check_engine
from ..propagation.settings import PropagationSettings
from ..space.planes import AXES, SliceStack
from ..space.volume import Volume
from .arguments import PromptArguments, parse_limits, parse_number, parse_whole
from .outputs import Outputs, Writer, write_together
from .pipelines import Remark, Segmentation, segment_volume
from .structure_outputs import (
    DICOM_KINDS,
    NIFTI,
    check_writers,
    describe_written,
    dicom_path,
    parse_write,
    write_dicom,
)
from .terminal import ProgressBar, Stopwatch, cancel_on_interrupt, print_json, say, warn

if TYPE_CHECKING:  # imports torch
    from .estimate import Estimate

TELL_FROM_S = 10.0
"""Jobs that cannot take longer are not announced."""


def segment(options: argparse.Namespace) -> None:
    """``segment IMAGE --output OUT``: prompts to a mask, a report and a figure."""
    given = PromptArguments.parse(
        options.point, options.box, options.mask, options.prompts, options.space, options.structures
    )
    settings = PropagationSettings(
        projection=options.projection,
        iou_threshold=parse_number(options.iou_threshold),
        limits=parse_limits(options.limits),
    )
    seed = parse_whole(options.seed, "seed")
    _check_axis(options.axis)
    check_engine(options.engine)
    kinds = parse_write(options.write)
    outputs = _outputs(options, kinds)
    outputs.check((Path(options.image), *given.files))
    watch, progress = Stopwatch(), None
    with ProgressBar() as bar:
        progress = Progress(bar.listen)
        with cancel_on_interrupt(progress):
            with watch.measure("read"):
                volume = _load(options, progress)
                check_writers(kinds, volume)
                bound = given.bind(SliceStack(volume, options.axis))
            if seed is not None:
                _fix_chance(seed)
            result = segment_volume(
                volume, bound.prompts, options.model, device=options.device, family=options.family, axis=options.axis,
                window=options.window, settings=settings, engine=options.engine, propagate=not options.no_propagate,
                progress=progress, estimated=partial(_tell_estimate, bar),
            )  # fmt: skip
            remarks = [Remark("prompts", note) for note in bound.notes]
            report = _write(result, outputs, watch, seed, remarks, progress)
    _tell(result, outputs, report, remarks, options.json)


def _outputs(options: argparse.Namespace, kinds: Sequence[str]) -> Outputs:
    mask = Path(options.output)
    dicom = {kind: dicom_path(mask, kind) for kind in DICOM_KINDS if kind in kinds}
    return Outputs(mask if NIFTI in kinds else None, _path(options.report), _path(options.figure), **dicom)


def _tell_estimate(bar: ProgressBar, estimate: Estimate) -> None:
    """Say what a job will take, when that may be long."""
    if estimate.most_seconds >= TELL_FROM_S:
        bar.clear()
        say(f"estimate: {estimate}")


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
    names = {kind: path.name for kind, path in outputs.named.items()}
    report = build_report(result, seconds=watch.seconds, seed=seed, remarks=remarks, outputs=names)
    files: list[tuple[Path, Writer]] = []
    if outputs.mask is not None:
        files.append((outputs.mask, lambda path: save_mask(result.labels, result.volume, path)))
    if outputs.figure is not None:
        files.append((outputs.figure, lambda path: _save_figure(result, path)))
    written: dict[str, Written] = {}
    for kind in DICOM_KINDS:
        if (path := getattr(outputs, kind)) is not None:
            files.append((path, partial(_write_drafts, result, kind, written)))
    if outputs.report is not None:  # last: it tells how well the others were read back
        files.append((outputs.report, lambda path: _write_text(path, to_text(_with_dicom(report, written)))))
    write_together(files)
    return _with_dicom(report, written)


def _write_drafts(result: Segmentation, kind: str, written: dict[str, Written], path: Path) -> None:
    """The objects as drafts; they follow the prompts of a person."""
    info = result.model.info
    drafts = [Draft(name, result.labels == value, "SEMIAUTOMATIC") for name, value in result.values.items()]
    written[kind] = write_dicom(kind, path, result.volume, drafts, Origin(info.name, info.sha256, "prompts"))


def _with_dicom(report: dict[str, Any], written: Mapping[str, Written]) -> dict[str, Any]:
    return {**report, "dicom": describe_written(written)} if written else report


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
    warn(map(str, (*remarks, *result.remarks)))
    if as_json:
        print_json(report)
        return
    for kind, path in outputs.named.items():
        print(f"{kind:8} {path}")
    for entry in report["objects"]:
        span = "not found"
        if entry["lower"] is not None:
            ends = f"{entry['end_lower']}, {entry['end_upper']}"
            span = f"{result.stack.axis} {entry['lower']}..{entry['upper']} (ends: {ends}), {entry['volume_ml']:.2f} ml"
        print(f"label {entry['label']}: {entry['name']}, {span}")


def adapt(options: argparse.Namespace) -> None:
    """``adapt``: see :mod:`.adapt_command`."""
    from .adapt_command import run_adapt

    run_adapt(options)


def evaluate(options: argparse.Namespace) -> None:
    """``evaluate PRED REF``: see :mod:`.evaluate_command`."""
    from .evaluate_command import run_evaluate

    run_evaluate(options)


def info(options: argparse.Namespace) -> None:
    """``info IMAGE``: what the image is, what would be done, what it would cost."""
    from .describe import describe_job, lines_of
    from .structure_facts import show_structure_file

    _check_axis(options.axis)
    if (kind := structure_kind(options.image)) is not None:
        show_structure_file(Path(options.image), kind, as_json=options.json)
        return
    with ProgressBar() as bar:
        progress = Progress(bar.listen)
        volume = _load(options, progress)
        progress.start("Measuring the model on one slice")
        from ..models.catalog import load_model

        model = load_model(options.model, options.device, options.family)
        facts = describe_job(volume, model, axis=options.axis, window=options.window)
    if options.json:
        print_json(facts)
        return
    warn(facts["notes"])
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
