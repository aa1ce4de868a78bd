"""What Slicer's build and catalogue need, checked as text: CMake lists, metadata, entry of the catalogue, pictures."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image

MODULE = REPOSITORY / "SegmentAnythingMed"
TOP = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
LISTS = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
ENTRY_FILE = REPOSITORY / "ExtensionsIndex" / "SegmentAnythingMed.json"
ENTRY = json.loads(ENTRY_FILE.read_text(encoding="utf-8"))
SCHEMA = REPOSITORY / "Testing" / "extension_entry.schema.json"
LARGEST_CHECKOUT = 100 * 2**20


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cmake_list(text: str, variable: str) -> list[str]:
    found = re.search(rf"^set\({variable}\b([^)]*)\)", text, re.MULTILINE)
    assert found, f"no {variable}"
    return found[1].split()


def cmake_text(variable: str) -> str:
    found = re.search(rf'^set\({variable} "([^"]*)"\)', TOP, re.MULTILINE)
    assert found, f"no {variable}"
    return found[1]


@pytest.mark.parametrize("variable", ["MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"])
def test_every_file_is_listed_and_every_listed_file_is_there(variable: str) -> None:
    there = load_script("update_cmake_lists").module_files()[variable]
    listed = cmake_list(LISTS, variable)
    assert (sorted(set(there) - set(listed)), sorted(set(listed) - set(there))) == ([], []), (
        "run scripts/update_cmake_lists.py"
    )
    assert len(listed) == len(set(listed))


def test_lists_hold_what_the_module_cannot_do_without() -> None:
    assert {"SegmentAnythingMed.py", "SegmentAnythingMedLib/__init__.py"} <= set(
        cmake_list(LISTS, "MODULE_PYTHON_SCRIPTS")
    )
    resources = set(cmake_list(LISTS, "MODULE_PYTHON_RESOURCES"))
    assert {
        "Resources/UI/SegmentAnythingMed.ui",
        "Resources/Icons/SegmentAnythingMed.png",
        "Resources/requirements.txt",
        "Resources/SampleData/CTPelvisBladder/ct.nii.gz",
        "SegmentAnythingMedLib/models/weights/built-in.safetensors",
    } <= resources
    assert not [name for name in resources if name.endswith((".pyc", ".jsonl"))]


def test_lists_are_rewritten_without_touching_the_rest(tmp_path: Path) -> None:
    script = load_script("update_cmake_lists")
    for name in ("M.py", "Lib/a.py", "Lib/__pycache__/a.pyc", "R/x.png", "M.egg-info/PKG-INFO", "CMakeLists.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    files = script.module_files(tmp_path)
    assert files == {script.SCRIPTS: ["Lib/a.py", "M.py"], script.RESOURCES: ["R/x.png"]}
    text = script.with_lists(LISTS, files)
    assert cmake_list(text, script.SCRIPTS) == ["Lib/a.py", "M.py"]
    assert text.partition("slicerMacroBuildScriptedModule")[2] == LISTS.partition("slicerMacroBuildScriptedModule")[2]
    with pytest.raises(ValueError, match="found 0"):
        script.with_lists("nothing", files)


def test_build_files_call_what_slicer_wants() -> None:
    for words in (
        "find_package(Slicer REQUIRED)",
        "include(${Slicer_USE_FILE})",
        "add_subdirectory(SegmentAnythingMed)",
        "## NEXT_MODULE",
        "include(${Slicer_EXTENSION_GENERATE_CONFIG})",
        "include(${Slicer_EXTENSION_CPACK})",
    ):
        assert words in TOP
    assert "slicerMacroBuildScriptedModule(" in LISTS
    assert "WITH_GENERIC_TESTS" in LISTS
    assert "slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)" in LISTS
    for text in (TOP, LISTS):
        code = re.sub(r'#[^\n]*|"[^"]*"', "", text)
        assert code.count("(") == code.count(")")


def test_metadata_agrees_everywhere() -> None:
    name = re.search(r"^project\((\w+)\)$", TOP, re.MULTILINE)[1]
    assert name == ENTRY_FILE.stem == MODULE.name
    assert not name.startswith("Slicer")
    home = cmake_text("EXTENSION_HOMEPAGE")
    assert home.rpartition("/")[2] == f"Slicer{name}"
    assert ENTRY["scm_url"] == home + ".git"
    assert cmake_list(TOP, "EXTENSION_DEPENDS") == [f'"{part}"' for part in ENTRY["build_dependencies"]]
    assert home in (MODULE / "SegmentAnythingMed.py").read_text(encoding="utf-8")
    assert (REPOSITORY / "README.md").read_text(encoding="utf-8").startswith(f"# {name}")
    assert 40 < len(cmake_text("EXTENSION_DESCRIPTION")) < 250
    assert "EXTENSION_CATEGORY" not in TOP


@pytest.mark.parametrize("variable", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_pictures_of_the_catalogue_are_in_the_repository(variable: str) -> None:
    start = cmake_text("EXTENSION_HOMEPAGE").replace("github.com", "raw.githubusercontent.com") + "/main/"
    for address in cmake_text(variable).split():
        assert address.startswith(start)
        path = REPOSITORY / address.removeprefix(start)
        assert path.suffix in (".png", ".jpg", ".gif")
        with Image.open(path) as picture:
            picture.verify()


def test_entry_is_valid() -> None:
    jsonschema.validate(ENTRY, json.loads(SCHEMA.read_text(encoding="utf-8")))
    raw = ENTRY_FILE.read_bytes()
    assert raw.endswith(b"}\n")
    assert b"\r" not in raw


def test_schema_refuses_other_fields() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for wrong in ({"scmurl": "https://x"}, {"tier": 2}, {"scm_url": "git@host:x"}, {"build_dependencies": "PyTorch"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(ENTRY | wrong, schema)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("SegmentAnythingMed.png", (128, 128)),
        ("SegmentAnythingMed/Resources/Icons/SegmentAnythingMed.png", (128, 128)),
        ("SegmentAnythingMed/Resources/Icons/SegmentEditorSegmentAnything.png", (128, 128)),
        ("SegmentAnythingMed/Resources/Icons/SampleCTPelvisBladder.png", (260, 280)),
    ],
)
def test_sizes_of_pictures(name: str, size: tuple[int, int]) -> None:
    with Image.open(REPOSITORY / name) as picture:
        assert picture.size == size
        if size == (128, 128):
            assert picture.convert("RGBA").getextrema()[3][0] == 0, "an icon has a transparent surround"


def test_pictures_are_what_the_script_draws() -> None:
    script = load_script("make_icons")
    drawn = {"SegmentAnythingMed": script.module_icon(), "SegmentEditorSegmentAnything": script.effect_icon()}
    for name, picture in drawn.items():
        with Image.open(script.ICONS / f"{name}.png") as kept:
            difference = np.abs(np.subtract(kept.convert("RGBA"), picture, dtype=float))
        assert difference.mean() < 1, "other versions of Pillow smooth a little differently, but not more than this"


def test_checkout_is_small_enough_for_the_catalogue() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) < LARGEST_CHECKOUT


def test_licence_has_a_name_that_the_catalogue_knows() -> None:
    assert (REPOSITORY / "LICENSE.txt").is_file()
