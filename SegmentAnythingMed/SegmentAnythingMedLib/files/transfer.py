"""One HTTP request, read by a thread of its own, so that a cancel never waits for the network.

Proxies come from the usual variables (``https_proxy``, ``http_proxy``, ``no_proxy``) or the system's settings.
Certificates are always checked, against the system's or those that ``SSL_CERT_FILE`` names.
"""

from __future__ import annotations

import http.client
import ipaddress
import queue
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from ..errors import DownloadError
from ..progress import Progress

TIMEOUT_S = 30.0
"""Seconds without a byte after which a connection counts as broken."""
MAX_REDIRECTS = 10
_BLOCK = 1 << 18
_AHEAD = 8
_POLL_S = 0.1


@dataclass(frozen=True)
class Head:
    """Start of an answer: status code, headers (names without regard to case), address after redirects."""

    status: int
    headers: Message
    url: str


class ConnectionBroken(Exception):
    """The connection could not be made or did not last; trying again may help."""


class Transfer:
    """An HTTP GET, as a context manager: :meth:`head`, then :meth:`chunks`.

    Args:
        url: https, or http for this very machine.
        headers: of the request.
        progress: asked several times a second whether to stop.
        allow_http: also take http from elsewhere (a mirror that the user named).

    Raises:
        DownloadError: ``download.insecure``, ``download.redirect``, ``download.tls``, ``download.url``.
        ConnectionBroken: from :meth:`head` and :meth:`chunks`.
        Cancelled: likewise.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], progress: Progress | None = None, allow_http: bool = False
    ) -> None:
        check_address(url, allow_http)
        self._request = urllib.request.Request(url, headers=dict(headers))
        self._opener = _make_opener(allow_http)
        self._progress = progress
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="download", daemon=True)

    def __enter__(self) -> Transfer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()  # a thread that waits for a silent server ends with its time-out; nobody waits for it

    def head(self) -> Head:
        """Status and headers, when they have come."""
        return self._next()[1]

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece, as it comes."""
        while (item := self._next())[0] == "data":
            yield item[1]

    def _next(self) -> tuple[str, Any]:
        while True:
            if self._progress is not None:
                self._progress.check()
            alive = self._thread.is_alive()
            try:
                kind, content = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if not alive:
                    raise ConnectionBroken("the reading thread ended") from None
                continue
            if kind == "error":
                raise content
            return kind, content

    def _put(self, kind: str, content: Any = None) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put((kind, content), timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _read(self) -> None:
        try:
            with self._open() as answer:
                self._put("head", Head(answer.status, answer.headers, answer.url))
                while not self._stopped.is_set() and (block := answer.read1(_BLOCK)):
                    self._put("data", block)
            self._put("end")
        except DownloadError as error:
            self._put("error", error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._put("error", _translated(error))

    def _open(self) -> Any:
        try:
            return self._opener.open(self._request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as answer:
            if 300 <= answer.code < 400:
                answer.close()
                raise DownloadError(
                    "download.redirect",
                    f"{host_of(self._request.full_url)} sends on to other addresses without end, or to one that cannot "
                    "be used. Try later, or fetch the file with a browser and import it.",
                ) from None
            return answer


def host_of(url: str) -> str:
    """Name of the machine in an address, for messages: no user name, no path, no query."""
    return urlsplit(url).hostname or "the server"


def check_address(url: str, allow_http: bool) -> None:
    """Refuse what is neither https, nor http to this very machine, nor http that is allowed.

    Raises:
        DownloadError: ``download.insecure``, ``download.url``.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise DownloadError("download.url", f"Expected an address https://...; got {url[:120]!r}.")
    if parts.scheme == "http" and not allow_http and not _is_this_machine(parts.hostname):
        raise DownloadError(
            "download.insecure",
            f"Expected https; {parts.hostname} would send the file unprotected (http). Nothing was fetched.",
        )


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS

    def __init__(self, allow_http: bool) -> None:
        self._allow_http = allow_http

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_address(newurl, self._allow_http)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _make_opener(allow_http: bool) -> urllib.request.OpenerDirector:
    """Handlers of http and https only: an address can never mean a local file."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(allow_http),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _translated(error: Exception) -> Exception:
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return DownloadError(
            "download.tls",
            f"The certificate of the server cannot be trusted ({cause.verify_message}); nothing was fetched. Where a "
            "hospital's proxy inspects traffic, let SSL_CERT_FILE name a file with its certificate.",
        )
    if isinstance(error, http.client.InvalidURL):
        return DownloadError("download.url", "The address of the file is not a valid one.")
    return ConnectionBroken(str(cause) or type(error).__name__)
