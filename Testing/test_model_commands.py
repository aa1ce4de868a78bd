from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import SegmentAnythingMedLib
from SegmentAnythingMedLib.apps import model_commands
from SegmentAnythingMedLib.apps.cli import main
from SegmentAnythingMedLib.models import downloads, entries, licences
from weights_server import Behaviour, WeightsServer, sha256, weights

DATA = weights()
PACKAGE = str(Path(SegmentAnythingMedLib.__file__).parent.parent)


@pytest.fixture
def server():
    with WeightsServer() as running:
        running.paths["/medsam2_latest"] = Behaviour(DATA)
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch, server) -> Path:
    """A folder of models with two registrations: one that anybody may use, one for research only."""
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv(licences.SETTINGS_VARIABLE, str(tmp_path / "settings"))
    monkeypatch.delenv(downloads.OFFLINE_VARIABLE, raising=False)
    monkeypatch.delenv(downloads.MIRROR_VARIABLE, raising=False)
    (tmp_path / "models").mkdir()
    server.paths["/m"] = Behaviour(DATA)
    for name, licence in (("free", "MIT"), ("bound", "CC-BY-NC-4.0")):
        facts = {"family": "medsam", "licence": licence, "url": server.url("/m"), "sha256": sha256(DATA)}
        (tmp_path / "models" / f"{name}.pth.json").write_text(json.dumps(facts))
    return tmp_path / "models"


@pytest.fixture
def run(folder, capsys):
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["models", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_a_walk_through_all_commands(run, folder, tmp_path):
    code, out, _ = run("download", "free")
    assert (code, out.splitlines()) == (
        0,
        [
            f"free: downloaded, {len(DATA) / 1e6:.1f} MB, {folder / 'free.pth'}",
            f"SHA-256 {sha256(DATA)} (the one that it should have)",
        ],
    )
    code, out, err = run("download", "free", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "name": "free", "path": str(folder / "free.pth"), "sha256": sha256(DATA), "policy": "published",
        "fetched": False,
    }  # fmt: skip
    code, out, _ = run("verify")
    assert (code, out) == (0, f"{'free':26}{'ok':12}{sha256(DATA)}\n")
    _, out, _ = run()
    assert f"{'free':26}{'available':12}" in out
    assert f"In {folder}: 0 MB" in out
    code, out, _ = run("remove", "free")
    assert (code, out) == (0, f"free: removed {folder / 'free.pth'}\n")
    assert not (folder / "free.pth").exists()


def test_json_before_and_after_the_action(run):
    for arguments in (("--json",), ("list", "--json"), ("--json", "list")):
        code, out, _ = run(*arguments)
        assert code == 0
        rows = {row["name"]: row for row in json.loads(out)["models"]}
        assert rows["medsam2"]["research_only"] is True
        assert rows["free"]["registered"] is True


def test_all_about_one_model(run, folder):
    code, out, _ = run("list", "medsam2")
    assert code == 0
    for words in ("medsam2 (not here)", "CC-BY-SA-4.0, research only.", "512 x 512", "arXiv:2504.03600",
                  "https://huggingface.co/wanglab/MedSAM2", str(folder / "MedSAM2_latest.pt"), "c92743b9"):  # fmt: skip
        assert words in out
    assert "the first file seen sets it" in run("list", "medicosam")[1]
    assert [row["name"] for row in json.loads(run("list", "medsam", "--json")[1])["models"]] == ["medsam"]
    assert run("list", "nothing")[0] == 2


def test_a_licence_must_be_accepted(run, folder, server):
    code, out, err = run("download", "bound")
    assert (code, out) == (2, "")
    assert err.startswith("error: licence.not_accepted: The licence of bound is CC-BY-NC-4.0 (")
    assert "--accept-licence" in err
    assert server.requests == []
    assert run("download", "bound", "--accept-licence")[0] == 0
    run("remove", "bound")


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 2), ("\n", 2), ("", 2)])
def test_a_person_is_asked(run, folder, server, monkeypatch, answer, code):
    class Terminal:
        def isatty(self):
            return True

        def readline(self):
            return answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    found, _, err = run("download", "bound")
    assert found == code
    assert "Do you accept it? [y/N]" in err
    assert (folder / "bound.pth").exists() is (code == 0)
    assert bool(server.requests) is (code == 0)


def test_what_verify_finds_wrong_is_the_exit_code(run, folder):
    run("download", "free")
    (folder / "free.pth").write_bytes(b"changed")
    code, out, err = run("verify")
    assert code == 2
    assert out.startswith(f"{'free':26}{'changed':12}")
    assert err.startswith("error: checkpoint.sha256: Not what they should be: free.")
    code, out, _ = run("verify", "--json")
    assert (code, json.loads(out)["ok"], json.loads(out)["models"][0]["state"]) == (2, False, "changed")


def test_import(run, folder, tmp_path):
    file = tmp_path / "ours.pth"
    file.write_bytes(weights(seed=3))
    code, _, err = run("import", str(file))
    assert code == 2
    assert "error: model.unrecognised" in err
    code, out, _ = run("import", str(file), "--as", "ours", "--family", "medsam", "--licence", "MIT", "--link")
    assert code == 0
    assert "ours: imported" in out
    assert (folder / "ours.pth").samefile(file)


def test_offline_names_file_and_folder(run, folder, server):
    code, _, err = run("download", "free", "--offline")
    assert code == 2
    assert "error: download.offline: free.pth is not on this machine" in err
    assert str(folder) in err
    assert server.requests == []


def test_an_unknown_name_and_a_broken_registration(run, folder):
    code, _, err = run("download", "medsan")
    assert (code, "nearest: medsam" in err) == (2, True)
    (folder / "x.pth.json").write_text("{")
    code, _, err = run("list")
    assert code == 0
    assert err.startswith("warning: x.pth.json must be a JSON object")


def test_mistakes_in_the_options(run):
    for arguments in (("fetch", "x"), ("download",), ("remove",), ("list", "--jso")):
        code, _, err = run(*arguments)
        assert (code, err.split(": ")[1]) == (2, "option.usage")


def test_sizes_are_shown_and_what_is_unfinished(run, folder):
    downloads.part_of(entries.find_entry("free")).parent.mkdir()
    downloads.part_of(entries.find_entry("free")).write_bytes(b"begun")
    _, out, _ = run("list")
    assert f"{'free':26}{'unfinished':12}" in out
    assert f"{'sam-vit-b':26}{'not here':12}{'375 MB':>9}  sam vit_b, Apache-2.0" in out
    assert "CC-BY-SA-4.0, research only" in out
    assert "licence unknown" in out


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_one_interrupt_stops_a_download_and_keeps_what_came(folder, server):
    server.paths["/m"].stall = 200_000
    program = subprocess.Popen(
        [sys.executable, "-m", "SegmentAnythingMedLib.apps.cli", "models", "download", "free"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": PACKAGE},
    )  # fmt: skip
    part = downloads.part_of(entries.find_entry("free"))
    end = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size == 200_000):
        assert time.monotonic() < end
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out) == (130, "")
    assert err == "error: cancelled: Stopped; what has arrived is kept, and the same command goes on from there.\n"
    assert not (folder / "free.pth").exists()


def test_downloading_needs_no_torch(folder):
    code = "import sys; from SegmentAnythingMedLib.apps.cli import main; main(['models', 'download', 'free']); "
    code += "print('torch' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": PACKAGE},
        check=True,
    )  # fmt: skip
    assert ran.stdout.endswith("False\n")
    assert (folder / "free.pth").exists()


def test_every_policy_has_words():
    assert set(model_commands._POLICIES) == {"published", "first-seen", "unverified"}
