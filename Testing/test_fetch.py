from __future__ import annotations

import builtins
import errno
import json
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from SegmentAnythingMedLib.errors import Cancelled, DownloadError
from SegmentAnythingMedLib.files import fetch as fetching
from SegmentAnythingMedLib.files import transfer
from SegmentAnythingMedLib.files.fetch import Arrived, fetch
from SegmentAnythingMedLib.progress import Progress
from weights_server import Behaviour, WeightsServer, weights

DATA = weights()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with WeightsServer() as running:
        yield running


@pytest.fixture
def part(tmp_path) -> Path:
    return tmp_path / "x.pth.part"


def refused(server, part, code: str, **options) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        fetch(server.url("/x"), part, **options)
    assert caught.value.code == code
    return caught.value


def begin(server, part, share: float = 0.6) -> int:
    """Leave an unfinished part behind, as a killed process would."""
    how = server.paths["/x"]
    how.cut, how.cuts = share, 1
    progress = Progress(lambda now: now.cancel() if now.done >= int(len(DATA) * share) else None)
    with pytest.raises(Cancelled):
        fetch(server.url("/x"), part, progress=progress)
    how.cut, how.cuts = 1.0, 10**9
    assert 0 < part.stat().st_size < len(DATA)
    server.requests.clear()
    return part.stat().st_size


def test_a_whole_file_with_progress(server, part):
    server.paths["/x"] = Behaviour(DATA)
    seen = []
    progress = Progress(lambda now: seen.append((now.label, now.done, now.total, now.unit)))
    assert fetch(server.url("/x"), part, progress=progress) == Arrived(len(DATA), False)
    assert part.read_bytes() == DATA
    assert seen[-1] == ("Downloading from 127.0.0.1", len(DATA), len(DATA), "B")


def test_a_cut_at_60_percent_is_gone_on_with(server, part):
    server.paths["/x"] = Behaviour(DATA, cut=0.6, cuts=1)
    assert fetch(server.url("/x"), part) == Arrived(len(DATA), True)
    assert part.read_bytes() == DATA
    assert server.ranges_asked() == [None, f"bytes={int(len(DATA) * 0.6)}-"]


def test_a_killed_download_is_gone_on_with_later(server, part):
    server.paths["/x"] = Behaviour(DATA, etag=None, date="Sat, 21 Nov 2026 10:00:00 GMT")
    had = begin(server, part)
    assert fetch(server.url("/x"), part).pieced
    assert part.read_bytes() == DATA
    assert server.ranges_asked() == [f"bytes={had}-"]


def test_always_cut_at_the_same_place_ends(server, part):
    server.paths["/x"] = Behaviour(DATA, cut=0.6, ranges=False)
    error = refused(server, part, "download.network")
    assert len(server.requests) == fetching.ATTEMPTS
    assert f"first {int(len(DATA) * 0.6)} bytes are kept" in str(error)


def test_a_server_without_ranges(server, part):
    server.paths["/x"] = Behaviour(DATA, ranges=False)
    begin(server, part)
    assert fetch(server.url("/x"), part) == Arrived(len(DATA), False)
    assert part.read_bytes() == DATA


@pytest.mark.parametrize("change", ["etag", "date", "size"])
def test_a_file_that_changed_in_between_is_fetched_anew(server, part, change):
    other = weights(seed=1) if change != "size" else weights(200_000)
    server.paths["/x"] = Behaviour(DATA, etag='"one"' if change != "date" else None, date="yesterday")
    begin(server, part)
    server.paths["/x"] = Behaviour(other, etag='"two"' if change != "date" else None, date="today")
    assert fetch(server.url("/x"), part) == Arrived(len(other), False)
    assert part.read_bytes() == other


def test_no_tag_and_no_date_means_anew(server, part):
    server.paths["/x"] = Behaviour(DATA, etag=None)
    begin(server, part)
    assert fetch(server.url("/x"), part) == Arrived(len(DATA), False)
    assert server.ranges_asked() == [None]


def test_a_weak_tag_is_not_trusted(server, part):
    server.paths["/x"] = Behaviour(DATA, etag='W/"one"')
    begin(server, part)
    fetch(server.url("/x"), part)
    assert server.ranges_asked() == [None]


@pytest.mark.parametrize("shift", [-1000, 1000])
def test_a_range_that_was_not_asked_for_is_not_appended(server, part, shift):
    server.paths["/x"] = Behaviour(DATA)
    begin(server, part)
    server.paths["/x"].shift = shift
    assert fetch(server.url("/x"), part) == Arrived(len(DATA), False)
    assert part.read_bytes() == DATA


def test_a_range_of_another_file_of_the_same_tag(server, part):
    server.paths["/x"] = Behaviour(DATA, other=weights(400_000, seed=1))
    begin(server, part)
    server.paths["/x"].other = weights(400_000, seed=1)  # told by its total size
    assert fetch(server.url("/x"), part) == Arrived(len(DATA), False)
    assert part.read_bytes() == DATA


def test_a_part_longer_than_the_file(server, part):
    server.paths["/x"] = Behaviour(DATA)
    begin(server, part)
    with open(part, "ab") as file:
        file.write(bytes(len(DATA)))
    assert fetch(server.url("/x"), part).size_bytes == len(DATA)
    assert part.read_bytes() == DATA


def test_a_part_that_was_whole_needs_no_network(server, part):
    server.paths["/x"] = Behaviour(DATA)
    fetch(server.url("/x"), part)
    server.requests.clear()
    assert fetch(server.url("/x"), part) == Arrived(len(DATA), True)
    assert server.requests == []


@pytest.mark.parametrize("notes", ["", "[1]", '{"url": 1, "colour": 2}'])
def test_notes_that_cannot_be_read_mean_anew(server, part, notes):
    server.paths["/x"] = Behaviour(DATA)
    begin(server, part)
    Path(f"{part}.json").write_text(notes)
    fetch(server.url("/x"), part)
    assert part.read_bytes() == DATA
    assert server.ranges_asked() == [None]


def test_a_part_of_another_address_is_not_continued(server, part):
    server.paths["/x"] = Behaviour(DATA)
    begin(server, part)
    server.paths["/y"] = Behaviour(weights(seed=1))
    fetch(server.url("/y"), part)
    assert part.read_bytes() == weights(seed=1)


@pytest.mark.parametrize(
    ("status", "code", "tries"),
    [
        (404, "download.not_found", 1), (410, "download.not_found", 1), (403, "download.forbidden", 1),
        (401, "download.forbidden", 1), (500, "download.network", 5), (503, "download.network", 5),
        (418, "download.server", 1),
    ],
)  # fmt: skip
def test_answers_that_are_no_file(server, part, status, code, tries):
    server.paths["/x"] = Behaviour(DATA, status=status)
    assert "127.0.0.1" in str(refused(server, part, code))
    assert len(server.requests) == tries
    assert not part.exists()


def test_an_error_in_between_keeps_the_part(server, part):
    server.paths["/x"] = Behaviour(DATA)
    had = begin(server, part)
    server.paths["/x"].status, server.paths["/x"].statuses = 403, 1
    refused(server, part, "download.forbidden")
    assert part.stat().st_size == had
    server.paths["/x"].status, server.paths["/x"].statuses = 503, 2
    assert fetch(server.url("/x"), part).pieced
    assert part.read_bytes() == DATA


@pytest.mark.parametrize(
    "how",
    [
        Behaviour(b"<!DOCTYPE html><html>Sign in</html>"),
        Behaviour(DATA, headers={"Content-Type": "text/html; charset=utf-8"}),
        Behaviour(b'<?xml version="1.0"?><Error/>'),
        Behaviour(b"version https://git-lfs.github.com/spec/v1\noid 1"),
    ],
)
def test_a_web_page_is_not_kept(server, part, how):
    server.paths["/x"] = how
    assert "browser" in str(refused(server, part, "download.html"))
    assert not part.exists()


def test_a_file_of_another_size_is_refused_before_it_is_fetched(server, part):
    server.paths["/x"] = Behaviour(DATA)
    assert str(len(DATA)) in str(refused(server, part, "download.size", size_bytes=len(DATA) + 1))
    assert not part.exists()


def test_too_much_without_a_length_is_stopped(server, part):
    server.paths["/x"] = Behaviour(DATA, length=False)
    refused(server, part, "download.size", size_bytes=1000)
    assert not part.exists()


def test_without_a_length_it_takes_what_comes(server, part):
    server.paths["/x"] = Behaviour(DATA, length=False)
    assert fetch(server.url("/x"), part).size_bytes == len(DATA)


def test_packed_content_is_refused(server, part):
    server.paths["/x"] = Behaviour(DATA, headers={"Content-Encoding": "gzip"})
    refused(server, part, "download.server")


def test_a_full_disk_is_seen_before(server, part, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    server.paths["/x"] = Behaviour(DATA)
    refused(server, part, "download.disk_full")
    assert not part.exists()


class FullDisk:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def tell(self):
        return self.file.tell()

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def test_a_disk_that_fills_up_on_the_way(server, part, monkeypatch):
    server.paths["/x"] = Behaviour(DATA)
    real = builtins.open
    monkeypatch.setattr(fetching, "open", lambda path, mode: FullDisk(real(path, mode), 299_000), raising=False)
    assert "Make room" in str(refused(server, part, "download.disk_full"))
    monkeypatch.setattr(fetching, "open", real)
    fetch(server.url("/x"), part)
    assert part.read_bytes() == DATA


def test_cancel_while_the_server_says_nothing(server, part):
    server.paths["/x"] = Behaviour(DATA, stall=100_000)
    progress = Progress()
    timer = threading.Timer(0.3, progress.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        fetch(server.url("/x"), part, progress=progress)
    assert part.stat().st_size == 100_000
    assert json.loads(Path(f"{part}.json").read_text())["total"] == len(DATA)
    server.paths["/x"].stall = None
    fetch(server.url("/x"), part)
    assert part.read_bytes() == DATA


def test_a_server_that_falls_silent_is_asked_again(server, part, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.2)
    server.paths["/x"] = Behaviour(DATA, stall=100_000)

    def recover(progress: Progress) -> None:
        if progress.done >= 100_000:
            server.paths["/x"].stall = None

    assert fetch(server.url("/x"), part, progress=Progress(recover)).pieced
    assert part.read_bytes() == DATA
    assert server.ranges_asked() == [None, "bytes=100000-"]


def test_cancel_before_anything(server, part):
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        fetch(server.url("/x"), part, progress=progress)
    assert server.requests == []


def test_nobody_listens(part, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    with WeightsServer() as gone:
        url = gone.url("/x")
    with pytest.raises(DownloadError, match="proxy") as caught:
        fetch(url, part)
    assert caught.value.code == "download.network"


def test_a_redirect_is_followed(server, part):
    server.paths["/x"] = Behaviour(location=server.url("/y"))
    server.paths["/y"] = Behaviour(DATA)
    fetch(server.url("/x"), part)
    assert part.read_bytes() == DATA


def test_a_redirect_keeps_the_range(server, part):
    server.paths["/x"] = Behaviour(DATA)
    had = begin(server, part)
    server.paths["/y"], server.paths["/x"] = server.paths["/x"], Behaviour(location=server.url("/y"))
    fetch(server.url("/x"), part)
    assert part.read_bytes() == DATA
    assert server.ranges_asked() == [f"bytes={had}-"] * 2


def test_redirects_without_end(server, part):
    server.paths["/x"] = Behaviour(location=server.url("/y"))
    server.paths["/y"] = Behaviour(location=server.url("/x"))
    refused(server, part, "download.redirect")
    for n in range(20):
        server.paths[f"/far{n}"] = Behaviour(location=server.url(f"/far{n + 1}"))
    server.paths["/x"] = Behaviour(location=server.url("/far0"))
    refused(server, part, "download.redirect")


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("http://example.org/x", "download.insecure"),
        ("ftp://127.0.0.1/x", "download.url"),
        ("file:///etc/hostname", "download.redirect"),
    ],
)
def test_a_redirect_out_of_the_protected_is_refused(server, part, target, code):
    server.paths["/x"] = Behaviour(location=target)
    refused(server, part, code)
    assert not part.exists()


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/hostname", "/etc/hostname", "https://", "x"])
def test_addresses_that_are_refused_at_once(part, url):
    with pytest.raises(DownloadError) as caught:
        fetch(url, part)
    assert caught.value.code in ("download.insecure", "download.url")


def test_the_proxy_of_the_usual_variable_is_asked(server, part, monkeypatch):
    server.paths["/weights/x"] = Behaviour(DATA)
    monkeypatch.setenv("http_proxy", server.url(""))
    fetch("http://mirror.invalid/weights/x", part, allow_http=True)
    assert server.requests == [("http://mirror.invalid/weights/x", None)]
    assert part.read_bytes() == DATA
    monkeypatch.setenv("no_proxy", "mirror.invalid")
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    with pytest.raises(DownloadError):
        fetch("http://mirror.invalid/weights/y", part, allow_http=True)
    assert len(server.requests) == 1


def test_a_folder_that_is_not_there(server, tmp_path):
    server.paths["/x"] = Behaviour(DATA)
    refused(server, tmp_path / "none" / "x.part", "download.folder")
