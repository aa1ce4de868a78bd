"""``adapt``: contours of a prior visit to today's image, from files to files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..adaptive.calibration_store import CalibrationStore
from ..adaptive.packages import k_means_class, optimal_transport
from ..adaptive.visit_settings import VisitSettings
from ..adaptive.visits import adapt
from ..models.catalog import load_model
from ..progress import Progress
from .adapt_inputs import Visits, read_visits
from .adapt_outputs import Finished, result_folder, write_results
from .adapt_report import build_adapt_report, percent
from .adapt_request import AdaptRequest
from .outputs import Outputs
from .pipelines import CANCELLED, Remark
from .report import public_name
from .structure_outputs import check_writers
from .terminal import ProgressBar, Stopwatch, cancel_on_interrupt, print_json, warn

_NEED_PACKAGES = ("p2sam", "persam", "matcher")
"""Methods that need the packages of the extra ``adaptive``."""


def run_adapt(options: argparse.Namespace) -> None:
    """Run the job; see :mod:`.cli` for exit codes.

    Raises:
        SegmentAnythingMedError: of everything that it calls; nothing is written then.
    """
    request = AdaptRequest.parse(options)
    settings = VisitSettings(axis=options.axis, window=options.window, policy=request.policy)
    request.check_folder()
    if request.method in _NEED_PACKAGES:  # known now rather than after the registration
        optimal_transport()
        k_means_class()
    with result_folder(request.folder), ProgressBar() as bar:
        request.outputs.check(request.inputs)
        progress = Progress(bar.listen)
        with cancel_on_interrupt(progress):
            report, outputs = _run(request, options, settings, progress)
    _tell(report, outputs, options.json)


def _run(
    request: AdaptRequest, options: argparse.Namespace, settings: VisitSettings, progress: Progress
) -> tuple[dict[str, Any], Outputs]:
    watch = Stopwatch()
    with watch.measure("read"):
        visits = read_visits(
            request, progress, prior_series=options.prior_series, series=options.series, allow_gaps=options.allow_gaps
        )
        check_writers(request.write, visits.follow_up)
    with watch.measure("model"):
        progress.start("Opening the model")
        model = load_model(options.model, options.device, options.family)
    store = None if options.cache is None else CalibrationStore(options.cache)
    result = adapt(
        visits.prior,
        visits.follow_up,
        model,
        transform=visits.transform,
        method=request.method,
        protocol=request.protocol,
        settings=settings,
        progress=progress,
        allow=request.allow,
        facts=visits.facts,
        calibrations=store,
    )
    remarks = [*visits.remarks, *(Remark("model", note) for note in getattr(model, "notes", ()))]
    if store is not None and store.problem is not None:
        remarks.append(Remark("cache", f"{store.problem[0].upper()}{store.problem[1:]}."))
    if not result.completed:
        remarks.append(CANCELLED)

    def make_report(outputs: Outputs, dicom: dict[str, Any], more: tuple[Remark, ...]) -> dict[str, Any]:
        """The report, once the outputs and their DICOM objects are known."""
        seconds = {**watch.seconds, "total": watch.total}
        names = {kind: path.name for kind, path in outputs.named.items()}
        return build_adapt_report(
            result, visits.prior, visits.follow_up, loaded=visits.loaded, device=model.device, seconds=seconds,
            remarks=(*remarks, *more), outputs=names, dicom=dicom, hashes=visits.hashes,
        )  # fmt: skip

    def draw(path: Path) -> None:
        """Write the figure."""
        from .adapt_figure import save_visit_figure

        title = f"{_short(visits)}, {request.method}, model {model.info.name}"
        save_visit_figure(path, result, visits.prior, visits.follow_up, title=title, window=settings.window)

    progress.start("Writing the results")
    done = Finished(result, visits.prior, visits.loaded, visits.follow_up, make_report, draw)
    return write_results(done, request.outputs, request.folder)


def _short(visits: Visits) -> str:
    """Names of both visits that may be shown to others."""
    names = [public_name(volume) for volume in (visits.prior.volume, visits.follow_up)]
    return names[0] if names[0] == names[1] else f"{names[0]} → {names[1]}"


def _tell(report: Mapping[str, Any], outputs: Outputs, as_json: bool) -> None:
    warn(f"{one['object']}: {one['text']}" if "object" in one else one["text"] for one in report["warnings"])
    if as_json:
        print_json(report)
        return
    for kind, path in outputs.named.items():
        print(f"{kind:8} {path}")
    for finding in report["findings"]:
        how = "accepted" if finding["overridden"] else finding["severity"]
        print(f"{how:8} {finding['code']}: {finding['words']}")
    warned = {one["text"] for one in report["warnings"]}
    for words in (report["registration"] or {}).get("words", ()):
        if words not in warned:
            print(f"{'visits':8} {words}")
    for one in report["structures"]:
        print(line_of(one))


def line_of(one: Mapping[str, Any]) -> str:
    """One structure of a report in a line: flag, name, outcome, volumes, reasons and slices to look at."""
    changes, flag = one["changes"], one["flag"]
    size = f"{changes['prior_ml']:.2f} ml on the prior"
    if one["voxels"]:
        size = f"{changes['prior_ml']:.2f} -> {one['volume_ml']:.2f} ml ({percent(changes['volume_percent'])})"
    look = f"; slices {', '.join(map(str, flag['slices'][:12]))}" if flag["slices"] else ""
    return f"{flag['colour']:8} {one['name']}: {one['outcome']}, {size}: {'; '.join(flag['reasons'])}{look}"
