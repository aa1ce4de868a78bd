from __future__ import annotations

import errno
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import SegmentAnythingMedLib
from SegmentAnythingMedLib.errors import Cancelled, DownloadError, ModelError
from SegmentAnythingMedLib.files import fetch as fetching
from SegmentAnythingMedLib.models import downloads, entries, licences, records
from SegmentAnythingMedLib.models.downloads import download_model
from SegmentAnythingMedLib.models.entries import CatalogEntry
from SegmentAnythingMedLib.models.records import read_record
from SegmentAnythingMedLib.progress import Progress
from weights_server import Behaviour, WeightsServer, sha256, weights

DATA = weights()
PACKAGE = str(Path(SegmentAnythingMedLib.__file__).parent.parent)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    with WeightsServer() as running:
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv(licences.SETTINGS_VARIABLE, str(tmp_path / "settings"))
    for name in (downloads.OFFLINE_VARIABLE, downloads.MIRROR_VARIABLE, licences.COMMERCIAL_VARIABLE, "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "models"


@pytest.fixture
def catalogue(monkeypatch, folder, server):
    """Set the entries of the catalogue; without a list, one model ``tiny`` with a known hash."""

    def use(*listed: CatalogEntry) -> CatalogEntry:
        monkeypatch.setattr(entries, "catalogue", lambda: listed)
        monkeypatch.setattr("SegmentAnythingMedLib.models.stored.catalogue", lambda: listed)
        return listed[0]

    use.tiny = CatalogEntry(
        name="tiny", family="sam", variant="vit_b", licence="MIT", source="https://example.org/tiny",
        description="A test.", file_name="tiny.pth", size_bytes=len(DATA), sha256=sha256(DATA), sha256_from="records",
        urls=(server.url("/tiny.pth"),),
    )  # fmt: skip
    use(use.tiny)
    return use


def files(folder: Path) -> list[str]:
    """Names of what a user sees in the folder of models."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def refused(code: str, name: str = "tiny", **options) -> str:
    with pytest.raises((DownloadError, ModelError)) as caught:
        download_model(name, **options)
    assert caught.value.code == code
    return str(caught.value)


def test_a_download_and_what_is_remembered(server, folder, catalogue):
    server.paths["/tiny.pth"] = Behaviour(DATA)
    got = download_model("Tiny")
    assert (got.name, got.path, got.sha256, got.policy, got.fetched) == (
        "tiny", folder / "tiny.pth", sha256(DATA), "published", True,
    )  # fmt: skip
    assert got.path.read_bytes() == DATA
    assert files(folder) == ["tiny.pth"]
    record = read_record("tiny")
    assert (record.sha256, record.size_bytes, record.origin, record.installed) == (
        sha256(DATA), len(DATA), "127.0.0.1", True,
    )  # fmt: skip
    assert record.untouched
    assert not list((folder / ".downloads").glob("*.part*"))
    server.requests.clear()
    assert not download_model("tiny").fetched
    assert server.requests == []


def test_a_cut_leaves_nothing_under_the_name(server, folder, catalogue):
    server.paths["/tiny.pth"] = Behaviour(DATA, cut=0.6, ranges=False)
    text = refused("download.network")
    assert str(folder) in text
    assert "models import" in text
    assert files(folder) == []
    server.paths["/tiny.pth"] = Behaviour(DATA)
    assert download_model("tiny").path.read_bytes() == DATA


def test_a_wrong_hash_is_removed(server, folder, catalogue):
    server.paths["/tiny.pth"] = Behaviour(weights(seed=1))
    assert sha256(DATA) in refused("download.sha256")
    assert files(folder) == []
    assert not list((folder / ".downloads").glob("*.part*"))
    assert len(server.requests) == 1


def test_pieces_of_two_files_are_fetched_again_in_one_go(server, folder, catalogue):
    """The rest of another file, under the same tag and of the same length: only the hash can tell."""
    server.paths["/tiny.pth"] = Behaviour(DATA, cut=0.6, cuts=1, other=weights(seed=1))
    assert download_model("tiny").path.read_bytes() == DATA
    assert [asked is None for asked in server.ranges_asked()] == [True, False, True]


def test_the_next_address_helps(server, folder, catalogue):
    catalogue(replace(catalogue.tiny, urls=tuple(map(server.url, ("/gone", "/page", "/wrong", "/good")))))
    server.paths |= {
        "/page": Behaviour(b"<html>log in</html>"), "/wrong": Behaviour(weights(seed=1)), "/good": Behaviour(DATA),
    }  # fmt: skip
    assert download_model("tiny").path.read_bytes() == DATA
    assert [path for path, _ in server.requests] == ["/gone", "/page", "/wrong", "/good"]


def test_a_page_that_passes_for_a_file(server, folder, catalogue):
    catalogue(replace(catalogue.tiny, sha256=None, size_bytes=None))
    server.paths["/tiny.pth"] = Behaviour(b"Too many requests, come back tomorrow")
    assert "By hand" in refused("download.broken")
    server.paths["/tiny.pth"] = Behaviour(DATA[:-30])
    refused("download.broken")
    assert files(folder) == []


def test_the_first_file_seen_is_held_to(server, folder, catalogue):
    catalogue(replace(catalogue.tiny, sha256=None, size_bytes=None))
    server.paths["/tiny.pth"] = Behaviour(DATA)
    assert download_model("tiny").policy == "first-seen"
    SegmentAnythingMedLib.remove_model("tiny")
    other = weights(seed=1)
    server.paths["/tiny.pth"] = Behaviour(other, etag='"two"')
    assert "--accept-change" in refused("download.changed")
    assert files(folder) == []
    assert download_model("tiny", accept_change=True).sha256 == sha256(other)
    assert records.expected_sha256(entries.need_entry("tiny")) == sha256(other)


def test_a_published_hash_cannot_be_waived(server, folder, catalogue):
    server.paths["/tiny.pth"] = Behaviour(weights(seed=1))
    refused("download.sha256", accept_change=True)


def test_a_licence_is_accepted_once_and_remembered(server, folder, catalogue, tmp_path):
    entry = catalogue(replace(catalogue.tiny, licence="CC-BY-SA-4.0", research_only=True))
    server.paths["/tiny.pth"] = Behaviour(DATA)
    text = refused("licence.not_accepted")
    assert "CC-BY-SA-4.0, for research and education only" in text
    assert "--accept-licence" in text
    assert server.requests == []
    download_model("tiny", accept_licence=True)
    SegmentAnythingMedLib.remove_model("tiny")
    assert download_model("tiny").fetched
    assert json.loads((tmp_path / "settings" / "licences.json").read_text())["tiny"]["terms"] == (
        "CC-BY-SA-4.0, research only"
    )
    catalogue(replace(entry, licence="CC-BY-NC-4.0"))  # other terms need another answer
    SegmentAnythingMedLib.remove_model("tiny")
    refused("licence.not_accepted")


def test_research_only_weights_where_work_is_commercial(server, folder, catalogue, monkeypatch):
    catalogue(replace(catalogue.tiny, research_only=True))
    server.paths["/tiny.pth"] = Behaviour(DATA)
    monkeypatch.setenv(licences.COMMERCIAL_VARIABLE, "1")
    refused("licence.research_only", accept_licence=True)
    assert server.requests == []


@pytest.mark.parametrize("how", ["option", "variable"])
def test_offline(server, folder, catalogue, monkeypatch, how):
    server.paths["/tiny.pth"] = Behaviour(DATA)
    if how == "variable":
        monkeypatch.setenv(downloads.OFFLINE_VARIABLE, "1")
    text = refused("download.offline", offline=True if how == "option" else None)
    assert "tiny.pth" in text
    assert str(folder) in text
    assert server.requests == []
    download_model("tiny", offline=False)
    assert not download_model("tiny", offline=True).fetched


def test_a_mirror_is_asked_in_place_of_the_publisher(server, folder, catalogue, monkeypatch):
    catalogue(replace(catalogue.tiny, urls=()))
    assert "cannot be fetched by a program" in refused("download.manual")
    monkeypatch.setenv(downloads.MIRROR_VARIABLE, server.url("/weights/"))
    server.paths["/weights/tiny.pth"] = Behaviour(DATA)
    assert download_model("tiny").path.read_bytes() == DATA


def test_unknown_and_shipped_models(folder):
    assert "nearest: medsam" in refused("model.unknown", "medsan")
    refused("model.shipped", "built-in")


def test_a_registered_name_never_leads_out_of_the_folder(folder, server):
    folder.mkdir()
    for number, name in enumerate(("../../evil", "a/b", "con", "x" * 80, "tiny\\x", "Ünïcode")):
        (folder / f"mine{number}.pth.json").write_text(json.dumps({"family": "sam", "name": name}))
    (folder / "con.pth.json").write_text(json.dumps({"family": "sam", "name": "fine"}))
    (folder / "sp ace.pth.json").write_text(json.dumps({"family": "sam", "name": "fine"}))
    usable, problems = entries.registered()
    assert usable == []
    assert len(problems) == 8
    assert "nearest" in refused("model.unknown", "../../etc/medsam")


def test_a_registered_model_with_an_address_is_downloaded(folder, server):
    folder.mkdir()
    facts = {"family": "medsam", "licence": "MIT", "url": server.url("/m"), "sha256": sha256(DATA)}
    (folder / "hospital-a.pth.json").write_text(json.dumps(facts))
    server.paths["/m"] = Behaviour(DATA)
    assert download_model("hospital-a").path == folder / "hospital-a.pth"


def test_a_file_that_lies_there_already_is_never_overwritten(server, folder, catalogue):
    folder.mkdir()
    (folder / "tiny.pth").write_bytes(b"mine")
    server.paths["/tiny.pth"] = Behaviour(DATA)
    assert "left as it is" in refused("checkpoint.sha256")
    assert (folder / "tiny.pth").read_bytes() == b"mine"
    (folder / "tiny.pth").write_bytes(DATA)
    assert not download_model("tiny").fetched
    assert server.requests == []


def test_a_folder_that_cannot_be_written(server, folder, catalogue, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(tmp_path / "file" / "models"))
    assert entries.FOLDER_VARIABLE in refused("download.folder")
    assert server.requests == []


def test_a_folder_without_the_right_to_write(server, folder, catalogue, monkeypatch):
    def deny(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    assert f"Cannot write to {folder}: Permission denied" in refused("download.folder")
    assert server.requests == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder(server, folder, catalogue):
    folder.mkdir(mode=0o500)
    refused("download.folder")
    folder.chmod(0o700)


def test_cancel_keeps_the_part(server, folder, catalogue):
    server.paths["/tiny.pth"] = Behaviour(DATA, stall=100_000)
    progress = Progress(lambda now: now.cancel() if now.done >= 100_000 else None)
    with pytest.raises(Cancelled):
        download_model("tiny", progress=progress)
    assert files(folder) == []
    assert downloads.part_of(catalogue.tiny).stat().st_size == 100_000
    server.paths["/tiny.pth"].stall = None
    assert download_model("tiny").path.read_bytes() == DATA


def test_a_certificate_that_nobody_vouches_for(folder, catalogue, server, tmp_path):
    made = [
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", "-out",
        tmp_path / "cert", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    ]  # fmt: skip
    try:
        subprocess.run(made, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server.paths["/tiny.pth"] = Behaviour(DATA)
    catalogue(replace(catalogue.tiny, urls=(f"https://localhost:{server.port}/tiny.pth",)))
    assert "SSL_CERT_FILE" in refused("download.tls")
    assert server.requests == []
    os.environ["SSL_CERT_FILE"] = str(tmp_path / "cert")
    try:
        assert download_model("tiny").path.read_bytes() == DATA
    finally:
        del os.environ["SSL_CERT_FILE"]


CHILD = """
import sys
from SegmentAnythingMedLib.models import entries
from SegmentAnythingMedLib.models.downloads import download_model
entry = entries.CatalogEntry("tiny", "sam", "vit_b", "MIT", "x", "x.", "tiny.pth", int(sys.argv[2]), sys.argv[3],
                             urls=(sys.argv[1],))
entries.catalogue = lambda: (entry,)
print("ready", flush=True)
print(download_model("tiny").fetched)
"""


def child(server, tmp_path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": PACKAGE}
    arguments = [sys.executable, "-c", CHILD, server.url("/tiny.pth"), str(len(DATA)), sha256(DATA)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_two_processes_fetch_one_file_once(server, folder, tmp_path):
    server.paths["/tiny.pth"] = Behaviour(DATA, stall=200_000)  # the first stays inside until both have begun
    both = [child(server, tmp_path) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    wait_for(lambda: server.requests)
    server.paths["/tiny.pth"].stall = None
    server.closing.set()
    ended = [process.communicate(timeout=60) for process in both]
    assert sorted(out for out, _ in ended) == ["False\n", "True\n"], ended
    assert (folder / "tiny.pth").read_bytes() == DATA
    assert len(server.requests) == 2  # one, and its second half
    assert files(folder) == ["tiny.pth"]


def test_a_killed_process_is_taken_over(server, folder, catalogue, tmp_path):
    server.paths["/tiny.pth"] = Behaviour(DATA, stall=200_000)
    killed = child(server, tmp_path)
    wait_for(lambda: downloads.part_of(catalogue.tiny).is_file() and downloads.part_of(catalogue.tiny).stat().st_size)
    killed.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    killed.communicate()
    assert files(folder) == []
    had = downloads.part_of(catalogue.tiny).stat().st_size
    server.paths["/tiny.pth"].stall = None
    server.requests.clear()
    assert download_model("tiny").path.read_bytes() == DATA
    assert server.ranges_asked() == [f"bytes={had}-"]


def wait_for(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
