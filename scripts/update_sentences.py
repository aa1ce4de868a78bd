"""Lists the library's sentences for translators: apps/slicer/sentences, from the source of the library.

python scripts/update_sentences.py           # write
python scripts/update_sentences.py --check   # exit 1 when something would change
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / "SegmentAnythingMed" / "SegmentAnythingMedLib"
TARGET = LIBRARY / "apps" / "slicer" / "sentences"
ROOMS = ("adaptive", "engine", "files", "models", "progress", "errors", "prompts", "propagation", "space")
# Below apps/: what runs in the worker's thread, where nothing can be translated.
WORKERS = ("pipelines.py", "slicer/worker.py", "slicer/engine_host.py", "slicer/plans.py", "slicer/adapting.py")
FEWEST_LETTERS = 6
HEADER = '"""Sentences of {room}, made by scripts/update_sentences.py. Not for editing."""\n\n'
IMPORT = "from .form import form as _\n\n"


def forms(path: Path) -> Iterator[tuple[str, str]]:
    """(code of an error or empty, form) of every sentence in a file; values are named fields."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr | ast.JoinedStr | ast.FormattedValue):
            inner |= {id(part) for part in ast.iter_child_nodes(node)}  # documentation; parts of a longer text
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node).endswith("Error") and len(node.args) == 2:
            code, text = node.args
            if isinstance(code, ast.Constant) and _form(text):
                inner.add(id(text))
                yield str(code.value), _form(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "start" and node.args and _form(node.args[0]):
            inner.add(id(node.args[0]))
            yield "", _form(node.args[0])
    for node in ast.walk(tree):
        if id(node) not in inner and re.match(r"[A-Z{].*[a-z]{2,} .*[a-z]{2,}.*[.?]\s*$", _form(node), re.DOTALL):
            yield "", _form(node)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _form(node: ast.AST) -> str:
    """A text with named fields for its values; empty for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("{", "{{").replace("}", "}}")
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts, used = [], set()
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(part.value.replace("{", "{{").replace("}", "}}"))
        else:
            parts.append("{" + _name(part.value, used) + "}")
    letters = sum(len(re.findall("[a-z]", part.value)) for part in node.values if isinstance(part, ast.Constant))
    return "".join(parts) if letters >= FEWEST_LETTERS else ""  # else it would fit sentences of others


def _name(value: ast.expr, used: set[str]) -> str:
    """A name for a value that tells a translator what it is."""
    words = re.findall(r"[A-Za-z]\w*", ast.unparse(value))
    plain = value.attr if isinstance(value, ast.Attribute) else words[-1] if words else "value"
    name = plain.strip("_").lower() or "value"
    number = 2
    while name in used:
        name, number = f"{plain.strip('_').lower()}{number}", number + 1
    used.add(name)
    return name


def listed() -> dict[str, list[tuple[str, str]]]:
    """Room -> its sentences, sorted, each once."""
    rooms = {room: sorted((LIBRARY / room).rglob("*.py")) or [LIBRARY / f"{room}.py"] for room in ROOMS}
    rooms["worker"] = [LIBRARY / "apps" / name for name in WORKERS]
    return {
        room: sorted({pair for path in paths if path.is_file() for pair in forms(path)})
        for room, paths in rooms.items()
    }


def written(room: str, pairs: list[tuple[str, str]]) -> str:
    """A Python file with a tuple of (code, form)."""
    lines = [HEADER.format(room=room), IMPORT, "SENTENCES = (\n"]
    for code, text in pairs:
        lines.append(f"    ({_quoted(code)}, _(")
        parts = textwrap.wrap(text, 96, drop_whitespace=False, replace_whitespace=False, break_on_hyphens=False)
        if len(code) + len(text) < 96:
            lines.append(f"{_quoted(text)})),\n")
        else:
            lines.append("\n" + "".join(f"        {_quoted(part)}\n" for part in parts) + "    )),\n")
    return "".join([*lines, ")  # fmt: skip\n"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def files() -> dict[str, str]:
    """Name -> content of every file of the list; a room with many sentences takes several."""
    made = {}
    for room, pairs in listed().items():
        most = 110
        for number in range(0, len(pairs), most):
            name = room if number == 0 else f"{room}_{number // most + 1}"
            made[f"{name}.py"] = written(room, pairs[number : number + most])
    return made


def main() -> int:
    """Write or check; exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    made = files()
    there = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.py")}
    kept = {name: text for name, text in there.items() if name not in ("__init__.py", "form.py")}
    if kept == made:
        return 0
    if check:
        print("The list of sentences is not up to date; run: python scripts/update_sentences.py")
        return 1
    for name in set(kept) - set(made):
        (TARGET / name).unlink()
    for name, text in made.items():
        (TARGET / name).write_text(text, encoding="utf-8")
    print(f"{sum(text.count('_(') for text in made.values())} sentences in {len(made)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
