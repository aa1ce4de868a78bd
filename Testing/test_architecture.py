"""The rules of the house, held by reading the code: who may import what, how long a file is, what is never written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import SegmentAnythingMedLib
from conftest import REPOSITORY

MODULE = REPOSITORY / "SegmentAnythingMed"
LIBRARY = MODULE / "SegmentAnythingMedLib"
LIBRARY_FILES = sorted(LIBRARY.rglob("*.py"))
CODE_FILES = sorted({*MODULE.rglob("*.py"), *REPOSITORY.glob("Testing/**/*.py"), *REPOSITORY.glob("scripts/*.py")})

# Propagation is pure logic behind a protocol of the engine, so it needs no torch either.
NUMERIC_ROOMS = ("space", "prompts", "files", "propagation")
NUMERIC_PACKAGES = {"numpy", "scipy", "SimpleITK", "pydicom", "highdicom", "PIL"}
SLICER_PACKAGES = {"slicer", "qt", "vtk", "ctk", "mrml"}
# Ground floor first; a room imports from lower floors and from itself.
FLOORS = (
    {"space"},
    {"prompts", "files"},
    {"models"},
    {"engine"},
    {"semantic", "autoprompt", "spectral"},
    {"propagation"},
    {"evaluation"},
    {"training"},
    {"adaptive"},
    {"apps"},
)
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def imports(path: Path) -> Iterator[tuple[str, int, ast.stmt]]:
    """(module as written, level of a relative import, statement) of every import anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, 0, node
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level, node


def third_party(path: Path) -> set[str]:
    """Top-level packages from outside the standard library and this library."""
    names = {module.split(".")[0] for module, level, _ in imports(path) if level == 0}
    return names - set(sys.stdlib_module_names) - {"SegmentAnythingMedLib"}


def room_of(path: Path) -> str:
    """Sub-package of a file of the library; empty for files at its root."""
    parts = path.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else ""


def rooms_used(path: Path) -> set[str]:
    """Sub-packages of the library that a file imports from."""
    used = set()
    package = path.relative_to(LIBRARY).parts[:-1]
    for module, level, node in imports(path):
        parts = module.split(".") if module else []
        if level == 0 and parts[:1] == ["SegmentAnythingMedLib"]:
            target = tuple(parts[1:])
        elif level > 0:
            target = (*package[: len(package) - level + 1], *parts)
        else:
            continue
        # `from .. import x`: x itself may be a room.
        used |= {target[0]} if target else {alias.name for alias in getattr(node, "names", [])}
    return {room for room in used if (LIBRARY / room).is_dir()}


def floor(room: str) -> int:
    return next(n for n, rooms in enumerate(FLOORS) if room in rooms)


def tracked_text_files() -> list[Path]:
    """Files under version control that are text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and b"\0" not in file.read_bytes()[:4096]]


def test_there_is_something_to_check() -> None:
    assert len(LIBRARY_FILES) > 20
    assert {room_of(path) for path in LIBRARY_FILES} - {""} <= set().union(*FLOORS)


@pytest.mark.parametrize("room", NUMERIC_ROOMS)
def test_numeric_rooms_import_no_torch(room: str) -> None:
    found = {name_of(path): third_party(path) - NUMERIC_PACKAGES for path in (LIBRARY / room).rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("room", NUMERIC_ROOMS)
def test_numeric_rooms_do_not_load_torch_in_fact(room: str) -> None:
    modules = [
        ".".join(("SegmentAnythingMedLib", *path.relative_to(LIBRARY).with_suffix("").parts))
        for path in sorted((LIBRARY / room).glob("*.py"))
        if path.stem != "__init__"
    ]
    code = f"import importlib, sys\nfor m in {modules}: importlib.import_module(m)\nprint('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=MODULE, capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("False", 0), ran.stderr


def test_slicer_stays_at_the_border() -> None:
    allowed = [MODULE / "SegmentAnythingMed.py"]
    inside = [path for path in CODE_FILES if path not in allowed and LIBRARY / "apps" / "slicer" not in path.parents]
    found = {name_of(path): third_party(path) & SLICER_PACKAGES for path in inside if MODULE in path.parents}
    assert {path: names for path, names in found.items() if names} == {}


def test_import_of_the_library_needs_the_standard_library_only() -> None:
    """Without site-packages any other import would fail; with them, none may have been loaded."""
    code = (
        "import sys; before = set(sys.modules); import SegmentAnythingMedLib as s; s.__version__; s.InputError; dir(s);"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'SegmentAnythingMedLib'}))"
    )
    for options in (["-S"], []):
        ran = subprocess.run(
            [sys.executable, *options, "-c", code], cwd=MODULE, capture_output=True, text=True, check=False
        )
        assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


def test_arrows_point_down() -> None:
    wrong = []
    for path in LIBRARY_FILES:
        room = room_of(path)
        for other in rooms_used(path) - {room} if room else ():
            if floor(other) >= floor(room):
                wrong.append(f"{name_of(path)} imports {other}")
    assert wrong == []


def test_every_public_name_resolves() -> None:
    for name in SegmentAnythingMedLib.__all__:
        assert getattr(SegmentAnythingMedLib, name) is not None
    assert set(SegmentAnythingMedLib.__all__) <= set(dir(SegmentAnythingMedLib))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = SegmentAnythingMedLib.nothing


def test_files_are_short() -> None:
    lengths = {name_of(path): path.read_text(encoding="utf-8").count("\n") for path in CODE_FILES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_functions_fit_on_a_screen() -> None:
    """Tests may hold longer tables."""
    long = []
    for path in [path for path in CODE_FILES if REPOSITORY / "Testing" not in path.parents]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{name_of(path)}: {node.name} has {lines} lines")
    assert long == []


def test_no_file_is_a_drawer_for_everything() -> None:
    assert [name_of(path) for path in CODE_FILES if path.stem in ("utils", "util", "helpers", "misc", "common")] == []


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    """Absolute paths of a developer's machine and hosts of package indexes do not belong in a repository."""
    paths = re.compile(r"(?<![\w.}/-])/(?:work|opt|root|home|Users|mnt)/\w")
    hosts = re.compile(r"\b(?:py" + r"pi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org)")
    found = []
    for file in tracked_text_files():
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if paths.search(line) or hosts.search(line):
                found.append(f"{name_of(file)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_version_and_name_are_the_same_everywhere() -> None:
    version = SegmentAnythingMedLib.__version__
    texts = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md")}
    assert f"\nversion: {version}\n" in texts["CITATION.cff"]
    assert f"\n## {version}" in texts["CHANGELOG.md"]
    assert re.search(r"^project\(SegmentAnythingMed\)$", (REPOSITORY / "CMakeLists.txt").read_text(), re.MULTILINE)


def test_licence_is_the_whole_apache_licence() -> None:
    text = (REPOSITORY / "LICENSE.txt").read_text(encoding="utf-8")
    assert len(text) > 11000
    for words in ("Apache License", "Version 2.0, January 2004", "9. Accepting", "END OF TERMS AND CONDITIONS"):
        assert words in text
