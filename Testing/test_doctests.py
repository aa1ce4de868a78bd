"""Examples in docstrings and in README.md are run as they are written, from the root of the checkout."""

from __future__ import annotations

import doctest
import importlib
import os
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY

LIBRARY = REPOSITORY / "SegmentAnythingMed" / "SegmentAnythingMedLib"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def has_example(path: Path) -> bool:
    return ">>> " in path.read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the root of the checkout, so that examples may write files."""
    shutil.copytree(REPOSITORY / "SegmentAnythingMed" / "Resources", tmp_path / "SegmentAnythingMed" / "Resources")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", [p.relative_to(LIBRARY) for p in LIBRARY.rglob("*.py") if has_example(p)], ids=str)
def test_docstrings(path: Path, checkout: Path) -> None:
    parts = path.with_suffix("").parts
    name = ".".join(("SegmentAnythingMedLib", *(part for part in parts if part != "__init__")))
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    "name", [n for n in ("README.md", "docs/prior-visit.md", "docs/one-shot.md") if has_example(REPOSITORY / n)]
)
def test_documents(name: str, checkout: Path) -> None:
    result = doctest.testfile(os.fspath(REPOSITORY / name), module_relative=False, optionflags=OPTIONS)
    assert result.attempted > 0
    assert result.failed == 0
