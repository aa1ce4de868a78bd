"""The checkpoints on this computer: what there is, and fetching, importing and removing in a thread of their own.

No Qt. Nothing is fetched, and nothing is read over the network, unless :meth:`ModelShelf.download` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ...errors import Cancelled, SegmentAnythingMedError
from ...models.downloads import Fetched, download_model, part_of
from ...models.entries import CatalogEntry, all_entries, model_folder, need_entry
from ...models.licences import is_accepted
from ...models.stored import import_model, remove_model
from .events import Step
from .worker import END_S, Job, Worker

HERE, UNFINISHED, ABSENT, SHIPPED = "here", "unfinished", "absent", "shipped"
Tell = Callable[[str, Any], None]


@dataclass(frozen=True)
class ShelfRow:
    """A model in the list.

    Attributes:
        entry: of the catalogue.
        state: ``here``, ``unfinished`` (a part was fetched), ``absent`` or ``shipped`` (part of the module).
        bytes: size on disk, or as published; None when it is not known.
    """

    entry: CatalogEntry
    state: str
    bytes: int | None


class ModelShelf:
    """One thing at a time: a download, an import, or a removal.

    Args:
        tell: called with ``progress`` (a :class:`~.events.Step` in MB), ``done`` (a sentence), ``error``
            (SegmentAnythingMedError), ``busy`` (bool) in the main thread, from :meth:`poll`.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._worker: Worker | None = None
        self._job: Job | None = None
        self._shown: tuple[str, int] | None = None

    @property
    def busy(self) -> bool:
        """True while something is fetched, imported or removed."""
        return self._job is not None

    def rows(self) -> list[ShelfRow]:
        """Every model that can be opened by name, as it is now."""
        return [ShelfRow(entry, _state(entry), entry.stored_bytes) for entry in all_entries()]

    def stored_bytes(self) -> int:
        """Size of all checkpoints in the folder of models."""
        return sum(row.bytes or 0 for row in self.rows() if row.state == HERE)

    def needs_consent(self, name: str) -> bool:
        """True when the licence of a model has to be accepted before it is fetched.

        Raises:
            ModelError: ``model.unknown``.
        """
        return not is_accepted(need_entry(name))

    def download(self, name: str, accept_licence: bool = False) -> None:
        """Fetch a model; goes on where an earlier try stopped. ``accept_licence``: the user has said yes to it.

        Raises:
            SegmentAnythingMedError: ``job.running``.
        """
        self._start(lambda job: download_model(name, accept_licence=accept_licence, progress=job.progress))

    def take_in(self, file: Path, name: str | None = None) -> None:
        """Copy a checkpoint file into the folder of models; it is recognised by its hash, or taken for ``name``.

        Raises:
            SegmentAnythingMedError: ``job.running``.
        """
        self._start(lambda job: import_model(file, name, progress=job.progress))

    def remove(self, name: str) -> None:
        """Delete what was fetched or imported.

        Raises:
            SegmentAnythingMedError: ``job.running``.
        """
        self._start(lambda job: remove_model(name, job.progress))

    def cancel(self) -> None:
        """Stop; what has arrived of a download is kept for the next time."""
        if self._job is not None:
            self._job.cancel()

    def poll(self) -> None:
        """Tell how far it is, or how it ended; from a timer."""
        job = self._job
        if job is None:
            return
        self._worker.poll()
        if not job.finished:
            self._show(job)
            return
        self._job = self._shown = None
        self._tell("busy", False)
        if isinstance(job.error, Cancelled):
            self._tell("done", _("Cancelled; what has arrived is kept and the next download goes on from there."))
        elif job.error is not None:
            self._tell("error", job.error)
        else:
            self._tell("done", _words(job.result))

    def wait(self, seconds: float) -> bool:
        """Block until it has ended, at most so long, and tell; False when it goes on."""
        ended = self._job is None or self._worker.wait(self._job, seconds)
        if ended:
            self.poll()
        return ended

    def close(self) -> None:
        """Stop what runs; a part that was fetched stays for the next time."""
        if self._worker is not None:
            self._worker.stop(END_S)
        self._worker = self._job = None

    def _start(self, function: Callable[[Job], Any]) -> None:
        if self._job is not None:
            raise SegmentAnythingMedError("job.running", _("One model at a time; wait for the end or cancel it first."))
        if self._worker is None:
            self._worker = Worker("SegmentAnythingMed models")
        self._job = self._worker.submit(function)
        self._tell("busy", True)

    def _show(self, job: Job) -> None:
        progress = job.progress
        megabytes = progress.done // 1_000_000
        if not progress.label or (progress.label, megabytes) == self._shown:
            return
        self._shown = (progress.label, megabytes)
        total = None if progress.total is None else max(progress.total // 1_000_000, 1)
        self._tell("progress", Step(progress.label, megabytes, total, progress.remaining_s, False))


def _state(entry: CatalogEntry) -> str:
    if entry.file_name is None:
        return SHIPPED
    if entry.available:
        return HERE
    return UNFINISHED if part_of(entry).exists() else ABSENT


def _words(result: Fetched | Path) -> str:
    if isinstance(result, Path):
        return _("{file} was removed from {folder}.").format(file=result.name, folder=model_folder())
    if not result.fetched:
        return _("{model} was here already.").format(model=result.name)
    return _("{model} can be used now: {file} in {folder}.").format(
        model=result.name, file=result.path.name, folder=result.path.parent
    )
