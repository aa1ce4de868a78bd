"""Files of a job: all of them or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from SegmentAnythingMedLib.apps import outputs
from SegmentAnythingMedLib.apps.outputs import Outputs, write_together
from SegmentAnythingMedLib.errors import InputError


def text(content: str):
    return lambda path: path.write_text(content)


def listed(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_all_are_written_and_replace_what_was_there(tmp_path):
    (tmp_path / "a.json").write_text("old")
    write_together([(tmp_path / "a.json", text("new a")), (tmp_path / "b.nii.gz", text("new b"))])
    assert listed(tmp_path) == {"a.json": "new a", "b.nii.gz": "new b"}


def test_the_hidden_name_tells_the_format(tmp_path):
    seen = []
    write_together([(tmp_path / "b.nii.gz", lambda path: (seen.append(path.name), path.write_text("b")))])
    assert seen[0].endswith(".nii.gz")
    assert seen[0].startswith(".")


FAILURES = [InputError("x.y", "No."), OSError(28, "No space left on device"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", FAILURES)
def test_a_writer_that_fails_leaves_everything_as_it_was(tmp_path, error):
    def fail(path):
        path.write_text("half")
        raise error

    (tmp_path / "a.json").write_text("old")
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        write_together([(tmp_path / "a.json", text("new")), (tmp_path / "b.png", fail)])
    assert listed(tmp_path) == {"a.json": "old"}
    if isinstance(error, OSError):
        assert caught.value.code == "output.not_writable"
        assert "b.png: No space left" in str(caught.value)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("failing", ["a.json", "b.png", "c.nii"])
def test_a_move_that_fails_takes_back_those_before(tmp_path, monkeypatch, failing, links):
    def replace(source, target, real=os.replace):
        if Path(target).name == failing and ".new" in Path(source).name:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    def no_links(*_):
        raise OSError(95, "Operation not supported")

    (tmp_path / "a.json").write_text("old a")
    (tmp_path / "c.nii").write_text("old c")
    monkeypatch.setattr(outputs.os, "replace", replace)
    if not links:
        monkeypatch.setattr(outputs.os, "link", no_links)
    with pytest.raises(InputError, match="Permission denied") as caught:
        write_together([(tmp_path / name, text("new")) for name in ("a.json", "b.png", "c.nii")])
    assert caught.value.code == "output.not_writable"
    assert listed(tmp_path) == {"a.json": "old a", "c.nii": "old c"}


def test_a_check_changes_nothing(tmp_path):
    (tmp_path / "m.nii").write_text("old")
    Outputs(tmp_path / "m.nii", tmp_path / "r.json", tmp_path / "f.png").check()
    assert listed(tmp_path) == {"m.nii": "old"}


def test_a_folder_that_refuses_files_is_found_before_the_work(tmp_path, monkeypatch):
    def refuse(self, **_):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(InputError, match="Read-only file system") as caught:
        Outputs(tmp_path / "m.nii").check()
    assert caught.value.code == "output.not_writable"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("m.txt", None, None), "output.format"),
        (("m.nii.gz", "r.txt", None), "output.format"),
        (("m.nii.gz", None, "f.jpg"), "output.format"),
        (("no/m.nii.gz", None, None), "output.folder"),
        (("m.nii.gz", "no/r.json", None), "output.folder"),
        (("folder.nii", None, None), "output.not_a_file"),
        (("m.nii.gz", "folder.json", None), "output.not_a_file"),
        (("m.nii.gz", "r.json", "folder/../r.json"), "output.format"),
        (("in.nii.gz", None, None), "output.is_input"),
        (("folder/../in.nii.gz", None, None), "output.is_input"),
        (("link.nii.gz", None, None), "output.is_input"),
    ],
)
def test_names_that_cannot_be(tmp_path, names, code):
    for folder in ("folder", "folder.nii", "folder.json"):
        (tmp_path / folder).mkdir()
    (tmp_path / "in.nii.gz").write_text("image")
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "in.nii.gz")
    given = [None if name is None else tmp_path / name for name in names]
    with pytest.raises(InputError) as caught:
        Outputs(*given).check([tmp_path / "in.nii.gz"])
    assert caught.value.code == code


def test_two_results_in_one_file(tmp_path):
    both = Outputs(tmp_path / "a.nii", tmp_path / "r.json", tmp_path / "f.png")
    both.check()
    object.__setattr__(both, "figure", tmp_path / "r.json")
    with pytest.raises(InputError):
        both.check()
