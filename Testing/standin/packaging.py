"""Stand-in for ``slicer.packaging`` of Slicer 5.12: asks and records, never runs pip.

Tests set ``STATE``: what is installed, what the user answers, what pip does. Real distributions are not looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import slicer
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

SLICER_NAME = "packaging"
Wish = str | Requirement | list[str | Requirement]


@dataclass
class PackagingState:
    """The pretended environment.

    Attributes:
        installed: version of each distribution by its canonical name.
        available: version that pip would install; the lower bound of the requirement where none is given.
        answer: whether the user agrees to an installation.
        failure: raised instead of installing, as a failing pip does.
        asked: what the user was asked for, each time. installs: what pip was called with, each time.
        constraints: text of the constraints file of each installation.
    """

    installed: dict[str, str] = field(default_factory=dict)
    available: dict[str, str] = field(default_factory=dict)
    answer: bool = True
    failure: Exception | None = None
    asked: list[list[str]] = field(default_factory=list)
    installs: list[list[str]] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)

    def version(self, name: str) -> str | None:
        """Version of a distribution; None when it is not installed."""
        return self.installed.get(canonicalize_name(name))

    def install(self, requirement: Requirement) -> None:
        """Pretend an installation."""
        name = canonicalize_name(requirement.name)
        bounds = [spec.version for spec in requirement.specifier if spec.operator in (">=", "==", "~=")]
        self.installed[name] = self.available.get(name, bounds[0] if bounds else "1.0")


STATE = PackagingState()


def reset() -> PackagingState:
    """Back to an empty environment (tests call this)."""
    STATE.__dict__.update(PackagingState().__dict__)
    return STATE


def load_requirements(path: str | Path) -> list[Requirement]:
    """Requirements of a requirements.txt; comment lines, empty lines and options of pip are left out."""
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def pip_check(req: Wish, _seen: set[tuple[str, frozenset[str]]] | None = None) -> bool:
    """Whether requirements are met by what is installed."""
    return all(_met(requirement) for requirement in _requirements(req))


def pip_ensure(
    requirements: Wish,
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Install what is missing after asking; nothing is installed in testing mode.

    Raises:
        RuntimeError: the user refused.
    """
    missing = [requirement for requirement in _requirements(requirements) if not _met(requirement)]
    if not missing:
        return None
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info("testing mode: not installed: %s", ", ".join(map(str, missing)))
        return None
    if prompt_install:
        STATE.asked.append([str(requirement) for requirement in missing])
        if not STATE.answer:
            raise RuntimeError("User declined package installation")
    return pip_install([str(requirement) for requirement in missing], constraints, skip_packages=skip_packages)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    parent: object = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> list[str] | None:
    """Record an installation and pretend that it worked, unless ``STATE.failure`` is set."""
    if not blocking or no_deps_requirements is not None:
        raise NotImplementedError("the stand-in installs in one blocking step only")
    arguments = requirements.split() if isinstance(requirements, str) else list(requirements)
    STATE.installs.append(list(arguments))
    if "--constraint" in arguments:
        at = arguments.index("--constraint")
        constraints = arguments[at + 1]
        del arguments[at : at + 2]
    STATE.constraints.append(Path(constraints).read_text(encoding="utf-8") if constraints else "")
    if STATE.failure is not None:
        raise STATE.failure
    skip = {canonicalize_name(name) for name in skip_packages or []}
    for item in arguments:
        requirement = Requirement(item)
        if canonicalize_name(requirement.name) not in skip:
            STATE.install(requirement)
    return None if skip_packages is None else sorted(skip)


def pip_uninstall(requirements: str | list[str], blocking: bool = True) -> None:
    """Not to be used by a module."""
    raise NotImplementedError("the stand-in uninstalls nothing")


def _requirements(wish: Wish) -> list[Requirement]:
    if isinstance(wish, str):
        try:
            return [Requirement(wish)]
        except InvalidRequirement:
            return [Requirement(part) for part in wish.split()]
    items = [wish] if isinstance(wish, Requirement) else wish
    return [Requirement(item) if isinstance(item, str) else item for item in items]


def _met(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    version = STATE.version(requirement.name)
    return version is not None and version in requirement.specifier
