"""Checkpoints of the catalogue onto this machine: asked for, resumable, checked, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from zipfile import BadZipFile, ZipFile

from ..errors import DownloadError, ModelError
from ..files.atomic import put_in_place
from ..files.fetch import discard, fetch
from ..files.locks import file_lock
from ..files.transfer import host_of
from ..progress import Progress
from .entries import FOLDER_VARIABLE, CatalogEntry, check_file_name, model_folder, need_entry
from .licences import accept, check_licence, is_set
from .records import expected_sha256, make_record, read_record, write_record
from .weight_files import file_sha256, sniff

OFFLINE_VARIABLE = "SEGMENT_ANYTHING_MED_OFFLINE"
MIRROR_VARIABLE = "SEGMENT_ANYTHING_MED_MIRROR"
_PARTS = ".downloads"
_OTHER_SOURCE_MAY_HELP = {
    "download.network", "download.not_found", "download.forbidden", "download.server", "download.html",
    "download.size", "download.sha256", "download.redirect", "download.insecure", "download.broken",
}  # fmt: skip


@dataclass(frozen=True)
class Fetched:
    """A checkpoint that is now on this machine.

    Attributes:
        name: of the model.
        path: of its file.
        sha256: of the file, or None when it lay there before and nothing is known about it.
        policy: ``published`` or ``first-seen`` (see :mod:`.records`), or ``unverified``.
        fetched: False when it was there already.
    """

    name: str
    path: Path
    sha256: str | None
    policy: str
    fetched: bool


def download_model(
    name: str,
    *,
    accept_licence: bool = False,
    accept_change: bool = False,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch the checkpoint of a model of the catalogue into the folder of models.

    What was fetched before is gone on with. Two processes that ask for the same model fetch it once. The file gets its
    name only when size, hash and kind are right.

    Args:
        name: of :func:`~SegmentAnythingMedLib.models.catalog.list_models`.
        accept_licence: the user accepts the licence; remembered.
        accept_change: take a file with another hash than the one first seen (only where no hash is published).
        offline: True never uses the network; None asks ``SEGMENT_ANYTHING_MED_OFFLINE``.
        progress: in bytes; may cancel, what has arrived is kept for the next time.

    Raises:
        ModelError: ``model.unknown``, ``model.shipped``, ``checkpoint.sha256`` (a file that lies there is another one).
        DownloadError: ``licence.not_accepted``, ``licence.research_only``, ``download.offline``, ``.manual`` (only a
            person can fetch it), ``.sha256``, ``.changed``, ``.broken`` and those of
            :func:`~SegmentAnythingMedLib.files.fetch.fetch`.
        Cancelled: see ``progress``.
    """
    entry = _downloadable(name)
    progress = progress or Progress()
    there = _already_there(entry, progress)
    if there is not None:
        return there
    if is_set(OFFLINE_VARIABLE) if offline is None else offline:
        raise DownloadError(
            "download.offline",
            f"{entry.file_name} is not on this machine, and the network may not be used (offline). {by_hand(entry)}",
        )
    addresses, any_http = _addresses(entry)
    if accept_licence and not entry.permissive:
        accept(entry)
    check_licence(entry)
    with locked(entry.name, progress):
        there = _already_there(entry, progress)
        return there or _from_first_that_works(entry, addresses, any_http, accept_change, progress)


def by_hand(entry: CatalogEntry) -> str:
    """How to bring the file of a model without this program's network."""
    return (
        f"By hand: save {entry.file_name} from {entry.source} and put it into {model_folder()}, "
        f"or: segment-anything-med models import FILE --as {entry.name}."
    )


@contextmanager
def locked(name: str, progress: Progress) -> Iterator[Path]:
    """Hold the lock of a model; gives the folder of unfinished files.

    Raises:
        DownloadError: ``download.folder``.
    """
    parts = model_folder() / _PARTS
    with ExitStack() as stack:
        try:
            parts.mkdir(parents=True, exist_ok=True)
            label = f"Waiting for another process that works on {name}"
            stack.enter_context(file_lock(parts / f"{name}.lock", progress, label))
        except OSError as error:
            raise folder_error(error) from None
        yield parts


def folder_error(error: OSError) -> DownloadError:
    """``download.folder`` for an error of the disk."""
    reason = error.strerror or type(error).__name__
    return DownloadError(
        "download.folder",
        f"Cannot write to {model_folder()}: {reason}. Let {FOLDER_VARIABLE} name a folder that can be written.",
    )


def part_of(entry: CatalogEntry) -> Path:
    """Where the unfinished file of a model is collected."""
    return model_folder() / _PARTS / f"{entry.file_name}.part"


def _downloadable(name: str) -> CatalogEntry:
    entry = need_entry(name)
    if entry.file_name is None:
        raise ModelError("model.shipped", f"{entry.name} comes with the package; there is nothing to download.")
    check_file_name(entry.file_name)
    return entry


def _addresses(entry: CatalogEntry) -> tuple[tuple[str, ...], bool]:
    """Where to fetch from, and whether http is allowed there: only at a mirror that the user named."""
    mirror = os.environ.get(MIRROR_VARIABLE, "").strip()
    if mirror:
        return (f"{mirror.rstrip('/')}/{quote(entry.file_name or '')}",), True
    if not entry.urls:
        raise DownloadError("download.manual", f"{entry.name} cannot be fetched by a program. {by_hand(entry)}")
    return entry.urls, False


def _already_there(entry: CatalogEntry, progress: Progress) -> Fetched | None:
    """The file that is in its place already, when it is the right one."""
    path = entry.path
    if path is None or not path.is_file():
        return None
    record, expected = read_record(entry.name), expected_sha256(entry)
    if record is not None and record.installed and record.untouched:
        return Fetched(entry.name, path, record.sha256, record.policy, False)
    if expected is None:
        return Fetched(entry.name, path, None, "unverified", False)
    progress.start(f"Checking {path.name}", path.stat().st_size, unit="B")
    found = file_sha256(path, progress)
    if found == expected:
        return Fetched(entry.name, path, found, record.policy if record else "published", False)
    raise ModelError(
        "checkpoint.sha256",
        f"{path} is another file than expected (SHA-256 should be {expected}, is {found}). It was left as it is; "
        "remove or rename it, then download again.",
    )


def _from_first_that_works(
    entry: CatalogEntry, addresses: tuple[str, ...], any_http: bool, accept_change: bool, progress: Progress
) -> Fetched:
    for address in addresses[:-1]:
        try:
            return _from(entry, address, any_http, accept_change, progress)
        except DownloadError as error:
            if error.code not in _OTHER_SOURCE_MAY_HELP:
                raise
    try:
        return _from(entry, addresses[-1], any_http, accept_change, progress)
    except DownloadError as error:
        if error.code not in _OTHER_SOURCE_MAY_HELP:
            raise
        raise DownloadError(error.code, f"{error.message} {by_hand(entry)}") from None


def _from(entry: CatalogEntry, address: str, any_http: bool, accept_change: bool, progress: Progress) -> Fetched:
    part, host = part_of(entry), host_of(address)
    try:
        for last in (False, True):
            got = fetch(address, part, size_bytes=entry.size_bytes, allow_http=any_http, progress=progress)
            progress.start(f"Checking {entry.file_name}", got.size_bytes, unit="B")
            sha256 = file_sha256(part, progress)
            try:
                _check(entry, part, sha256, accept_change, host)
            except DownloadError:
                if last or not got.pieced:  # pieces may be of two files: once more, in one go
                    raise
            else:
                break
        target = model_folder() / str(entry.file_name)
        put_in_place(part, target)
        discard(part)
        record = make_record(entry, target, sha256, host)
        write_record(record)
    except OSError as error:
        raise folder_error(error) from None
    return Fetched(entry.name, target, sha256, record.policy, True)


def _check(entry: CatalogEntry, part: Path, sha256: str, accept_change: bool, host: str) -> None:
    """Refuse, and remove, what is not the file that was asked for."""
    try:
        if entry.sha256 and sha256 != entry.sha256:
            raise DownloadError(
                "download.sha256",
                f"{host} sent another file than {entry.file_name} (SHA-256 should be {entry.sha256}, is {sha256}); "
                "it was removed.",
            )
        seen = expected_sha256(entry)
        if seen and sha256 != seen and not accept_change:
            raise DownloadError(
                "download.changed",
                f"{host} now has another {entry.file_name} than the one first seen here (SHA-256 was {seen}, is "
                f"{sha256}); it was removed. If the change is meant: segment-anything-med models download "
                f"{entry.name} --accept-change.",
            )
        check_whole(part)
    except ModelError as error:
        discard(part)
        raise DownloadError("download.broken", f"{host} sent no weights. {error.message}") from None
    except DownloadError:
        discard(part)
        raise


def check_whole(path: Path) -> None:
    """Refuse a file that is no weights file, or one of PyTorch's without its end.

    Raises:
        ModelError: ``checkpoint.empty``, ``.html``, ``.unreadable``, ``.truncated``.
    """
    if sniff(path) == "zip":
        try:
            ZipFile(path).close()
        except (BadZipFile, ValueError):
            raise ModelError("checkpoint.truncated", f"{path.name} is damaged or incomplete.") from None
