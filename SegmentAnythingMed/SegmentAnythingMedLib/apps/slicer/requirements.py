"""Requirements of the module and the versions that are installed. Pure Python: works wherever Slicer starts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

REQUIREMENTS = Path(__file__).parents[3] / "Resources" / "requirements.txt"
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*((?:[<>=!~]=?\s*[\w.]+\s*,?\s*)*)$")
_BOUND = re.compile(r"(>=|<)\s*([\w.]+)")


class Requirement(NamedTuple):
    """A package and the range of versions that fit: ``name``, ``at_least``, ``below`` (empty: no bound)."""

    name: str
    at_least: str = ""
    below: str = ""

    def __str__(self) -> str:
        bounds = [f">={self.at_least}"] * bool(self.at_least) + [f"<{self.below}"] * bool(self.below)
        return self.name + ",".join(bounds)

    def met_by(self, version: str | None) -> bool:
        """Whether an installed version fits; None is not installed."""
        if version is None:
            return False
        if self.at_least and release(version) < release(self.at_least):
            return False
        return not self.below or release(version) < release(self.below)


def parse(line: str) -> Requirement:
    """A requirement such as ``name>=1.0,<2``; only these two kinds of bound are known.

    Raises:
        ValueError: anything else.
    """
    found = _LINE.match(line.strip())
    if found is None:
        raise ValueError(f"Expected 'name>=version,<version', got {line!r}.")
    bounds = dict(_BOUND.findall(found[2]))
    requirement = Requirement(found[1], bounds.get(">=", ""), bounds.get("<", ""))
    if str(requirement) != re.sub(r"\s", "", line):
        raise ValueError(f"Expected only '>=' and '<' in a requirement, got {line!r}.")
    return requirement


def read(path: Path = REQUIREMENTS) -> list[Requirement]:
    """Requirements of a file; comments and empty lines are left out."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [parse(line) for line in lines if line]


def release(version: str) -> tuple[int, ...]:
    """Numbers of a version without suffixes and trailing zeros: ``2.12.0+cpu`` -> ``(2, 12)``."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def installed(name: str) -> str | None:
    """Version of an installed distribution; None when it is not installed. Nothing is imported."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def missing(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Those that are not installed in a version that fits."""
    return [requirement for requirement in requirements if not requirement.met_by(installed(requirement.name))]
