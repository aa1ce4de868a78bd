from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from SegmentAnythingMedLib.errors import Cancelled, DownloadError, InputError, ModelError
from SegmentAnythingMedLib.models import entries, stored
from SegmentAnythingMedLib.models.catalog import list_models, load_model
from SegmentAnythingMedLib.models.entries import CatalogEntry
from SegmentAnythingMedLib.models.records import known_files, read_record
from SegmentAnythingMedLib.models.stored import import_model, remove_model, verify_models
from SegmentAnythingMedLib.progress import Progress
from weights_server import sha256, weights

DATA, OTHER = weights(), weights(seed=1)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(tmp_path / "models"))
    listed = (
        CatalogEntry("built-in", "embedded", "hybrid", "MIT", "shipped", "A test."),
        CatalogEntry(
            "tiny", "sam", "vit_b", "MIT", "https://example.org", "A test.", "tiny.pth", sha256=sha256(DATA),
        ),
        CatalogEntry("loose", "medsam2", "t", "MIT", "https://example.org", "A test.", "loose.pt"),
    )  # fmt: skip
    monkeypatch.setattr(entries, "catalogue", lambda: listed)
    monkeypatch.setattr(stored, "catalogue", lambda: listed)
    return tmp_path / "models"


@pytest.fixture
def mine(tmp_path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "Download (1).pth").write_bytes(DATA)
    return tmp_path / "home" / "Download (1).pth"


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))


def refused(code: str, *arguments, **options) -> str:
    with pytest.raises((ModelError, InputError, DownloadError)) as caught:
        import_model(*arguments, **options)
    assert caught.value.code == code
    return str(caught.value)


@pytest.mark.parametrize("link", [False, True])
def test_a_known_file_is_recognised_by_its_hash(folder, mine, link):
    got = import_model(mine, link=link)
    assert (got.name, got.path, got.fetched) == ("tiny", folder / "tiny.pth", True)
    assert got.path.read_bytes() == DATA
    assert got.path.samefile(mine) is link
    assert read_record("tiny").linked is link
    assert not import_model(mine).fetched
    remove_model("tiny")
    assert mine.read_bytes() == DATA
    assert visible(folder) == []


def test_a_symbolic_link_where_no_hard_one_can_be_made(folder, mine, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "other disk")))
    path = import_model(mine, link=True).path
    assert path.is_symlink()
    remove_model("tiny")
    assert mine.is_file()
    assert visible(folder) == []


def test_no_links_at_all_means_a_copy(folder, mine, monkeypatch):
    for name in ("link", "symlink"):
        monkeypatch.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    path = import_model(mine, link=True).path
    assert path.read_bytes() == DATA
    assert not read_record("tiny").linked


def test_a_name_for_what_no_hash_tells(folder, tmp_path):
    file = tmp_path / "loose.pt"
    file.write_bytes(OTHER)
    text = refused("model.unrecognised", file)
    assert "--as loose" in text
    assert sha256(OTHER) in text
    got = import_model(file, "Loose")
    assert (got.path, got.policy) == (folder / "loose.pt", "first-seen")
    assert known_files()[sha256(OTHER)]["family"] == "medsam2"  # from now on known wherever it lies
    file.write_bytes(weights(seed=2))
    refused("checkpoint.sha256", file, "loose")
    assert (folder / "loose.pt").read_bytes() == OTHER
    remove_model("loose")
    assert import_model(file, "loose", accept_change=True).sha256 == sha256(weights(seed=2))


def test_another_file_is_not_taken_for_a_published_one(folder, tmp_path, mine):
    (tmp_path / "x.pth").write_bytes(OTHER)
    refused("checkpoint.sha256", tmp_path / "x.pth", "tiny")
    refused("checkpoint.sha256", tmp_path / "x.pth", "tiny", accept_change=True)
    assert "is the file of tiny" in refused("model.name_taken", mine, "loose")
    assert visible(folder) == []


def test_anyone_registers_a_model(folder, tmp_path):
    file = tmp_path / "Our-Liver.pth"
    file.write_bytes(OTHER)
    facts = {"family": "medsam", "licence": "MIT", "description": "Livers of our ward."}
    import_model(file, "our-liver", facts=facts)
    assert visible(folder) == ["Our-Liver.pth", "Our-Liver.pth.json"]
    entry = next(entry for entry in list_models() if entry.name == "our-liver")
    assert (entry.family, entry.licence, entry.description, entry.sha256, entry.registered, entry.available) == (
        "medsam", "MIT", "Livers of our ward.", sha256(OTHER), True, True,
    )  # fmt: skip
    assert not import_model(file).fetched
    assert [verdict.state for verdict in verify_models()] == ["ok"]
    remove_model("our-liver")
    assert visible(folder) == []
    assert entries.find_entry("our-liver") is None


def test_a_registered_file_keeps_its_preparation_wherever_it_lies(folder, tmp_path):
    file = tmp_path / "odd.pth"
    file.write_bytes(OTHER)
    facts = {"family": "sam", "preprocessing": "medsam", "image_size": "512", "variant": "vit_b"}
    import_model(file, facts=facts)
    assert facts.items() <= known_files()[sha256(OTHER)].items()


def test_a_sidecar_registers_too(folder, tmp_path):
    file = tmp_path / "ward.safetensors"
    file.write_bytes(OTHER)
    Path(f"{file}.json").write_text(json.dumps({"family": "sam2", "variant": "t", "sha256": sha256(DATA)}))
    refused("checkpoint.sha256", file)
    Path(f"{file}.json").write_text(json.dumps({"family": "sam2", "variant": "t"}))
    assert import_model(file).name == "ward"
    assert json.loads((folder / "ward.safetensors.json").read_text())["variant"] == "t"


def test_a_registration_is_a_small_file_in_the_folder(folder):
    folder.mkdir()
    (folder / "a.pth.json").write_text('{"family": "medsam", "name": "ours", "variant": "vit_b"}')
    (folder / "b.pth.json").write_text('{"name": "no family"}')
    (folder / "c.pth.json").write_text("{")
    (folder / "d.pth.json").write_text('{"family": "sam", "name": "tiny"}')
    (folder / "e.pth.json").write_text('{"family": "sam", "name": "ours"}')
    (folder / "tiny.pth.json").write_text('{"licence": "MIT"}')  # a sidecar of a published file registers nothing
    (folder / "notes.json").write_text("[]")
    usable, problems = entries.registered()
    assert [(entry.name, entry.family, entry.available) for entry in usable] == [("ours", "medsam", False)]
    assert len(problems) == 4
    with pytest.raises(ModelError, match=r"By hand: save a\.pth") as caught:
        load_model("ours")
    assert caught.value.code == "checkpoint.missing"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../evil", "model.name"), ("a/b", "model.name"), ("a\\b", "model.name"), ("", "model.unrecognised"),
        (".hidden", "model.name"), ("nul", "model.name"), ("x" * 65, "model.name"), ("new", "model.unrecognised"),
        ("built-in", "model.shipped"),
    ],
)  # fmt: skip
def test_names_that_are_refused(folder, tmp_path, name, code):
    (tmp_path / "x.pth").write_bytes(OTHER)
    refused(code, tmp_path / "x.pth", name)
    assert visible(folder) == []


def test_file_names_that_are_refused(folder, tmp_path):
    for name in ("Download (1).pth", "weights", "con.pth"):
        (tmp_path / name).write_bytes(OTHER)
        refused("model.file_name", tmp_path / name, "new", facts={"family": "sam"})


def test_files_that_hold_no_weights(folder, tmp_path):
    for content, code in (
        (b"", "checkpoint.empty"), (b"<html>", "checkpoint.html"), (b"hello", "checkpoint.unreadable"),
        (DATA[:-50], "checkpoint.truncated"),
    ):  # fmt: skip
        (tmp_path / "x.pth").write_bytes(content)
        refused(code, tmp_path / "x.pth", "loose")
    refused("input.missing", tmp_path / "none.pth")
    assert visible(folder) == []


def test_a_cancelled_copy_leaves_nothing(folder, mine):
    progress = Progress(lambda now: now.cancel() if now.label.startswith("Copying") else None)
    with pytest.raises(Cancelled):
        import_model(mine, progress=progress)
    assert visible(folder) == []
    assert not list(folder.rglob("*.part*"))


def test_a_full_disk_leaves_nothing(folder, mine, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stored, "_copy", full)
    refused("download.disk_full", mine)
    assert visible(folder) == []


def test_the_place_is_taken_by_another_file(folder, mine):
    folder.mkdir()
    (folder / "tiny.pth").write_bytes(b"mine")
    refused("model.name_taken", mine)
    assert (folder / "tiny.pth").read_bytes() == b"mine"


def test_a_file_that_changed_since_it_was_first_seen_is_not_opened(folder, tmp_path):
    (tmp_path / "x.pt").write_bytes(OTHER)
    path = import_model(tmp_path / "x.pt", "loose").path
    path.write_bytes(DATA)
    with pytest.raises(ModelError, match="not the expected file") as caught:
        load_model("loose", "cpu")
    assert caught.value.code == "checkpoint.sha256"


def test_verify_finds_what_changed(folder, mine, tmp_path):
    assert verify_models() == []
    assert [verdict.state for verdict in verify_models(["tiny"])] == ["missing"]
    import_model(mine)
    (folder / "loose.pt").write_bytes(OTHER)
    assert {verdict.name: verdict.state for verdict in verify_models()} == {"tiny": "ok", "loose": "unverified"}
    (folder / "tiny.pth").write_bytes(DATA[:-1] + b"\1")
    verdict = verify_models(["Tiny"])[0]
    assert (verdict.state, verdict.expected) == ("changed", sha256(DATA))
    (folder / "tiny.pth").unlink()
    assert [verdict.state for verdict in verify_models(["tiny"])] == ["missing"]
    with pytest.raises(ModelError, match="nearest: tiny"):
        verify_models(["tinny"])


def test_verify_accepts_what_was_also_seen(folder, monkeypatch):
    listed = (replace(entries.find_entry("loose"), also_seen=(sha256(OTHER),)),)
    monkeypatch.setattr(entries, "catalogue", lambda: listed)
    folder.mkdir()
    for content, state in ((OTHER, "ok"), (DATA, "unverified")):
        (folder / "loose.pt").write_bytes(content)
        assert [verdict.state for verdict in verify_models()] == [state]


def test_remove_touches_only_what_is_ours(folder, mine):
    def not_removed(name: str, code: str) -> None:
        with pytest.raises(ModelError) as caught:
            remove_model(name)
        assert caught.value.code == code

    not_removed("built-in", "model.shipped")
    not_removed("tiny", "checkpoint.missing")
    not_removed("tinny", "model.unknown")
    (folder / "tiny.pth").write_bytes(DATA)
    not_removed("tiny", "model.not_ours")
    (folder / "tiny.pth").unlink()
    import_model(mine)
    (folder / "tiny.pth").write_bytes(b"changed by the user")
    not_removed("tiny", "model.not_ours")
    assert (folder / "tiny.pth").read_bytes() == b"changed by the user"
    (folder / "tiny.pth").write_bytes(DATA)  # the same content under another date is ours again
    remove_model("tiny")
    assert not read_record("tiny").installed
    assert visible(folder) == []


def test_remove_takes_an_unfinished_download_along(folder):
    part = stored.part_of(entries.find_entry("tiny"))
    part.parent.mkdir(parents=True)
    part.write_bytes(b"begun")
    remove_model("tiny")
    assert not part.exists()
