"""A web server on this machine that hands out files and misbehaves on purpose."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def weights(size: int = 300_000, seed: int = 0) -> bytes:
    """Bytes that look like a PyTorch file (a zip archive) of about ``size`` bytes."""
    noise = b"".join(hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(size // 32))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), noise)  # without the time of day
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Behaviour:
    """How a path is answered.

    ``cut`` ends the connection after this share of the bytes, for the next ``cuts`` answers. ``status`` answers so for
    the next ``statuses`` requests. ``stall`` sends this many bytes and then nothing until the server closes.
    """

    data: bytes = b""
    etag: str | None = '"one"'
    date: str | None = None
    ranges: bool = True
    length: bool = True
    cut: float = 1.0
    cuts: int = 10**9
    status: int = 200
    statuses: int = 10**9
    headers: dict[str, str] = field(default_factory=dict)
    shift: int = 0
    other: bytes | None = None
    stall: int | None = None
    location: str | None = None


class WeightsServer:
    """A running server: ``paths["/x"] = Behaviour(...)`` says what it does, ``requests`` tells what it was asked."""

    def __init__(self) -> None:
        self.paths: dict[str, Behaviour] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.closing = threading.Event()
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> WeightsServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ranges_asked(self) -> list[str | None]:
        return [asked for _, asked in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server_state: WeightsServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        state = self.server_state
        path = re.sub(r"^http://[^/]+", "", self.path)  # as a proxy is asked
        state.requests.append((self.path, self.headers.get("Range")))
        how = state.paths.get(path)
        self.close_connection = True
        if how is None:
            self.send_error(404)
        elif how.location is not None:
            self.send_response(302)
            self.send_header("Location", how.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how.status != 200 and how.statuses > 0:
            how.statuses -= 1
            self.send_error(how.status)
        else:
            self._send(how)

    def _send(self, how: Behaviour) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, how.etag, how.date)
        first = int(asked[1]) if asked and how.ranges and same else 0
        data = how.data
        if first >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if first and how.other is not None:
            data = how.other
        first = max(first + how.shift, 0) if first else 0
        body = data[first:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if how.length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in (("ETag", how.etag), ("Last-Modified", how.date)):
            if value:
                self.send_header(name, value)
        for name, value in ({"Content-Type": "application/octet-stream"} | how.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if how.stall is not None:
            self.wfile.write(body[: how.stall])
            self.wfile.flush()
            self.server_state.closing.wait(60)
            return
        if how.cut < 1 and how.cuts > 0:
            how.cuts -= 1
            body = body[: int(len(body) * how.cut)]
        self.wfile.write(body)
