"""The files of a prior-visit job: all of them together at its end, in a folder that is made if need be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..adaptive.transform_files import save_transform
from ..adaptive.visit_results import Adaptation, PriorVisit
from ..errors import InputError
from ..files.atomic import write_bytes
from ..files.drafts import Draft, Origin, Written
from ..files.images import save_mask
from ..files.structures import LoadedStructures
from ..progress import Progress
from ..space.volume import Volume
from .adapt_drafts import drafts_of, label_map, origin_of
from .outputs import Outputs, Writer, write_together
from .pipelines import Remark
from .report import to_text
from .structure_outputs import DICOM_KINDS, describe_written, write_dicom

Report = Callable[[Outputs, dict[str, Any], tuple[Remark, ...]], dict[str, Any]]
"""Makes the report from what was really written: files, DICOM read back, remarks."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A job whose results are to be written.

    Attributes:
        result: of ``adapt``.
        prior: the earlier visit.
        loaded: its structures as they were read.
        follow_up: today's image.
        report: makes the report.
        draw: writes the figure to a path.
        progress: told of every DICOM structure.
    """

    result: Adaptation
    prior: PriorVisit
    loaded: LoadedStructures
    follow_up: Volume
    report: Report
    draw: Callable[[Path], None]
    progress: Progress | None = None
    written: dict[str, Written] = field(default_factory=dict)


def write_results(done: Finished, outputs: Outputs, folder: Path) -> tuple[dict[str, Any], Outputs]:
    """Write everything that there is something to write of.

    Without any draft (all structures resolved or outside) there is no DICOM file: nothing is invented. The report says
    so, and the label image is empty.

    Returns:
        The report, and the files that were written.

    Raises:
        InputError: ``output.*``, ``rtstruct.*``, ``seg.*``; nothing is left behind then.
    """
    drafts = drafts_of(done.result, done.prior, done.loaded)
    masks = {name: one.mask for name, one in done.result.structures.items()}
    labels, remarks = label_map(masks, done.follow_up.shape)
    outputs = replace(outputs, transform=_transform_path(done.result, folder))
    if not drafts:
        outputs = replace(outputs, rtstruct=None, seg=None)
        remarks += (Remark("output", "No structure has a draft, so that no DICOM file was written."),)
    files: list[tuple[Path, Writer]] = []
    if outputs.mask is not None:
        files.append((outputs.mask, lambda path: save_mask(labels, done.follow_up, path)))
    if outputs.figure is not None:
        files.append((outputs.figure, done.draw))
    if outputs.transform is not None:
        files.append((outputs.transform, lambda path: save_transform(done.result.transform, path)))
    origin = origin_of(done.result, done.loaded)
    for kind in DICOM_KINDS:
        if (path := getattr(outputs, kind)) is not None:
            files.append((path, partial(_write_dicom, done, kind, drafts, origin)))
    report: dict[str, Any] = {}

    def write_report(path: Path) -> None:
        """Write the report, which tells what the other outputs became."""
        report.update(done.report(outputs, describe_written(done.written), remarks))
        write_bytes(path, to_text(report).encode("utf-8"))

    files.append((outputs.report, write_report))  # last: it tells how well the others were read back
    write_together(files)
    return report, outputs


@contextmanager
def result_folder(folder: Path) -> Iterator[None]:
    """Make a folder for results; one that was made and is empty at the end, after an error, goes again.

    Raises:
        InputError: ``output.not_writable``.
    """
    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            "output.not_writable", f"Cannot make the folder {folder.name}: {error.strerror or type(error).__name__}."
        ) from None
    try:
        yield
    finally:
        if made:
            with suppress(OSError):  # not empty: the job is done
                folder.rmdir()


def _transform_path(result: Adaptation, folder: Path) -> Path | None:
    """A transform that was found here is kept, to be looked at and used again (``--transform``)."""
    if result.registration is None or result.transform.kind == "identity":
        return None
    return folder / ("transform.tfm" if result.transform.is_linear else "transform.h5")


def _write_dicom(done: Finished, kind: str, drafts: Sequence[Draft], origin: Origin, path: Path) -> None:
    done.written[kind] = write_dicom(kind, path, done.follow_up, drafts, origin, done.progress)
