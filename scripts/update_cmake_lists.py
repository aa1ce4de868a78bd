"""Rewrites the lists of files in SegmentAnythingMed/CMakeLists.txt: what is not listed is not packaged by Slicer.

python scripts/update_cmake_lists.py           # write
python scripts/update_cmake_lists.py --check   # exit 1 when something would change
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parent.parent / "SegmentAnythingMed"
LISTS = MODULE / "CMakeLists.txt"
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"
# Left out: what Python makes, and records of training that nobody needs at run time.
SKIPPED_FOLDERS = {"__pycache__"}
SKIPPED_SUFFIXES = {".pyc", ".jsonl"}


def module_files(module: Path = MODULE) -> dict[str, list[str]]:
    """Files of the module, sorted, with forward slashes: Python files and all others."""
    files = [path for path in sorted(module.rglob("*")) if path.is_file() and _is_shipped(path.relative_to(module))]
    names = [path.relative_to(module).as_posix() for path in files]
    return {
        SCRIPTS: [name for name in names if name.endswith(".py")],
        RESOURCES: [name for name in names if not name.endswith(".py")],
    }


def _is_shipped(path: Path) -> bool:
    if path.name == "CMakeLists.txt" or path.suffix in SKIPPED_SUFFIXES:
        return False
    return not any(part in SKIPPED_FOLDERS or part.endswith(".egg-info") or part.startswith(".") for part in path.parts)


def with_lists(text: str, files: dict[str, list[str]]) -> str:
    """The text of a CMakeLists.txt with both lists replaced.

    Raises:
        ValueError: a list is not there exactly once.
    """
    for variable, names in files.items():
        block = f"set({variable}\n" + "".join(f"  {name}\n" for name in names) + "  )"
        text, count = re.subn(rf"^set\({variable}\b[^)]*\)", lambda _, block=block: block, text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"Expected one list {variable} in CMakeLists.txt, found {count}.")
    return text


def main() -> int:
    """Write or check the lists; exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    before = LISTS.read_text(encoding="utf-8")
    after = with_lists(before, module_files())
    if after == before:
        return 0
    if check:
        print("CMakeLists.txt is out of date: run scripts/update_cmake_lists.py", file=sys.stderr)
        return 1
    LISTS.write_text(after, encoding="utf-8")
    print(f"wrote {LISTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
