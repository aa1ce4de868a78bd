"""Large files over HTTP: a fetch that was cut, cancelled or killed goes on where it stopped.

What has arrived lies in a part file; beside it, ``<part>.json`` tells which file of which address it belongs to (its
ETag or date). A server is asked to go on only from that very file (``If-Range``); whatever it answers, the part is
either continued at exactly the right byte or begun anew.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from .. import __version__
from ..errors import DownloadError
from ..progress import Progress
from .transfer import ConnectionBroken, Head, Transfer, host_of

ATTEMPTS = 5
"""Tries in a row without a single new byte before giving up."""
PAUSE_S = 0.5
"""Before the second try; doubled before each further one."""
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_WORTHLESS = {"download.html", "download.size"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EFBIG}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class PartState:
    """What a part file is a part of."""

    url: str
    etag: str | None = None
    date: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What ``If-Range`` takes: a strong ETag, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.date


@dataclass(frozen=True)
class Arrived:
    """What :func:`fetch` brought: the size of the file, and whether it came in several pieces."""

    size_bytes: int
    pieced: bool


def fetch(
    url: str, part: Path, *, size_bytes: int | None = None, allow_http: bool = False, progress: Progress | None = None
) -> Arrived:
    """Bring the file at ``url`` to ``part``, going on with what is there already.

    Args:
        url: https; http for this machine, or anywhere with ``allow_http``.
        part: where it is collected; its folder must exist. On success it is whole, as far as sizes tell.
        size_bytes: the known size; a file of another size is refused.
        allow_http: see :class:`~SegmentAnythingMedLib.files.transfer.Transfer`.
        progress: shown in bytes; may cancel. The part is kept then.

    Raises:
        DownloadError: ``download.network`` (the part is kept), ``.not_found``, ``.forbidden``, ``.server``, ``.html``,
            ``.size``, ``.disk_full`` (kept), ``.folder``, ``.insecure``, ``.redirect``, ``.tls``, ``.url``.
        Cancelled: see ``progress``.
    """
    progress = progress or Progress()
    failures, pause, best = 0, PAUSE_S, _size(part)
    while True:
        try:
            return _once(url, part, size_bytes, allow_http, progress)
        except DownloadError as error:
            if error.code in _WORTHLESS:
                discard(part)
            raise
        except ConnectionBroken as error:
            failures, pause = (failures + 1, pause * 2) if _size(part) <= best else (1, PAUSE_S)
            best = max(best, _size(part))  # a server that always begins anew must not keep us here for ever
            if failures >= ATTEMPTS:
                raise _given_up(url, part, error) from None
            _sleep(pause, progress)


def discard(part: Path) -> None:
    """Remove a part file and what is noted about it."""
    for path in (part, _notes(part)):
        with suppress(FileNotFoundError):
            path.unlink()


def looks_like_a_page(head: bytes) -> bool:
    """True for the first bytes of a web page, of a store's XML error or of a Git LFS pointer."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"version https://git-lfs"))


def _once(url: str, part: Path, size_bytes: int | None, allow_http: bool, progress: Progress) -> Arrived:
    state = _read_notes(part)
    offset = _size(part) if state is not None and state.url == url and state.validator else 0
    if offset and state is not None and offset == state.total:
        _check_size(url, offset, size_bytes)
        return Arrived(offset, True)
    headers = {"User-Agent": f"segment-anything-med/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": state.validator}
    progress.check()
    with Transfer(url, headers, progress, allow_http) as transfer:
        head = transfer.head()
        if head.status in (206, 416) and not _continues(head, state, offset):
            discard(part)  # an answer that does not fit what was asked: begin anew
            raise ConnectionBroken(f"answer {head.status} does not continue the part")
        _check_status(url, head)
        if head.status == 200:  # all of it: the server cannot go on, or the file has changed
            offset = 0
        total = _total(head)
        _check_size(url, total, size_bytes)
        _check_space(part, (total or size_bytes or 0) - offset)
        progress.start(f"Downloading from {host_of(url)}", total or size_bytes, unit="B")
        progress.advance(offset)
        with _disk_errors(part), open(part, "ab" if offset else "wb") as file:
            # after the old part was emptied: notes must never speak of other bytes than those that lie there
            _write_notes(part, PartState(url, head.headers.get("ETag"), head.headers.get("Last-Modified"), total))
            _receive(url, transfer, file, total or size_bytes, progress)
    size = _size(part)
    if total is not None and size < total:
        raise ConnectionBroken(f"the connection ended after {size} of {total} bytes")
    _check_size(url, size, size_bytes)
    return Arrived(size, offset > 0)


def _receive(url: str, transfer: Transfer, file: BinaryIO, total: int | None, progress: Progress) -> None:
    for chunk in transfer.chunks():
        if file.tell() == 0 and looks_like_a_page(chunk[:512]):
            raise _page(url)
        if total is not None and file.tell() + len(chunk) > total:
            raise _wrong_size(url, f"more than {total}", total)
        file.write(chunk)
        file.flush()  # a crash keeps what has come
        progress.advance(len(chunk))


def _continues(head: Head, state: PartState | None, offset: int) -> bool:
    """True when the answer is the rest, from exactly the next byte on, of the same file."""
    found = _RANGE.fullmatch(head.headers.get("Content-Range", "").strip())
    if head.status != 206 or found is None or int(found[1]) != offset or not offset or state is None:
        return False
    same_total = state.total is None or found[3] == "*" or int(found[3]) == state.total
    etag = head.headers.get("ETag")
    return same_total and (etag is None or state.etag is None or etag == state.etag)


def _total(head: Head) -> int | None:
    """Size of the whole file, as far as the answer tells."""
    ranged = re.fullmatch(r"bytes .*/(\d+)", head.headers.get("Content-Range", "").strip())
    if head.status == 206:
        return int(ranged[1]) if ranged else None
    length = head.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _check_status(url: str, head: Head) -> None:
    host, status = host_of(url), head.status
    if status in _RETRIED:
        raise ConnectionBroken(f"{host} answered {status}")
    if status in (404, 410):
        raise DownloadError("download.not_found", f"{host} no longer has the file (answer {status}).")
    if status in (401, 403, 407, 451):
        raise DownloadError("download.forbidden", f"{host} does not give the file to this program (answer {status}).")
    if status not in (200, 206) or head.headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError("download.server", f"{host} gave an answer that cannot be used ({status}).")
    if head.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise _page(url)


def _page(url: str) -> DownloadError:
    return DownloadError(
        "download.html",
        f"{host_of(url)} sent a web page in place of the file (a question, a login or a limit). Open the page in a "
        "browser, save the file, and import it.",
    )


def _check_size(url: str, found: int | None, expected: int | None) -> None:
    if found is not None and expected is not None and found != expected:
        raise _wrong_size(url, str(found), expected)


def _wrong_size(url: str, found: str, expected: int) -> DownloadError:
    return DownloadError(
        "download.size",
        f"Expected a file of {expected} bytes; {host_of(url)} has one of {found}. It was not taken: the file there is "
        "another one now, or something between here and there changes files.",
    )


def _check_space(part: Path, needed: int) -> None:
    with _disk_errors(part):
        free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise _disk_full(f"{needed / 1e6:.0f} MB more are needed, {free / 1e6:.0f} MB are free")


def _disk_full(what: str) -> DownloadError:
    return DownloadError(
        "download.disk_full",
        f"The disk is full ({what}). Make room, then repeat the command: it goes on where it stopped.",
    )


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    """Errors of the disk as what the user should know."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            raise _disk_full(reason) from None
        raise DownloadError("download.folder", f"Cannot write to {part.parent}: {reason}.") from None


def _given_up(url: str, part: Path, error: ConnectionBroken) -> DownloadError:
    size = _size(part)
    kept = f" The first {size} bytes are kept: the same command goes on from there." if size else ""
    return DownloadError(
        "download.network",
        f"{host_of(url)} could not be reached or broke off {ATTEMPTS} times ({error}).{kept} Check the network and the "
        "proxy (https_proxy).",
    )


def _sleep(seconds: float, progress: Progress) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        progress.check()
        time.sleep(min(left, 0.1))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_notes(part: Path) -> PartState | None:
    """Notes about a part; None when there are none, or none that can be read: then it is begun anew."""
    try:
        content = json.loads(_notes(part).read_text(encoding="utf-8"))
        return PartState(**content)
    except (OSError, ValueError, TypeError):
        return None


def _write_notes(part: Path, state: PartState) -> None:
    _notes(part).write_text(json.dumps(asdict(state)), encoding="utf-8")
