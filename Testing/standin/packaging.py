"""Stand-in for ``slicer.packaging`` of Slicer 5.12: asks and records, never runs pip.

Tests set ``STATE``: what is installed, what the user answers, what pip does. Real distributions are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

SLICER_NAME = "packaging"


@dataclass
class PackagingState:
    """The pretended environment.

    Attributes:
        installed: version of each distribution, lower-case name.
        answer: whether the user agrees to an installation.
        failure: raised instead of installing, as a failing pip does.
        asked: what the user was asked for. installs: arguments of every installation.
    """

    installed: dict[str, str] = field(default_factory=dict)
    answer: bool = True
    failure: Exception | None = None
    asked: list[list[str]] = field(default_factory=list)
    installs: list[list[str]] = field(default_factory=list)


STATE = PackagingState()


def reset() -> PackagingState:
    """A new pretended environment (tests call this)."""
    STATE.__init__()  # type: ignore[misc]
    return STATE


def load_requirements(path: str | Path) -> list[Requirement]:
    """Requirements of a requirements.txt; comments and empty lines are left out."""
    lines = [line.split(" #")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for line in lines:
        if line.startswith("-") or "://" in line:
            raise ValueError(f"not a requirement: {line}")
    return [Requirement(line) for line in lines]


def pip_check(req: Requirement | list[Requirement], _seen: set | None = None) -> bool:
    """Whether requirements are met by what is installed."""
    requirements = [req] if isinstance(req, Requirement) else list(req)
    return all(_met(requirement) for requirement in requirements)


def pip_ensure(
    requirements: list[Requirement],
    constraints: str | Path | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_packages: list[str] | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str]:
    """Install what is missing after asking; returns what was left out because of ``skip_packages``.

    Raises:
        RuntimeError: the user refused, or pip failed.
    """
    missing = [requirement for requirement in requirements if not _met(requirement)]
    if not missing:
        return []
    if prompt_install:
        STATE.asked.append([str(requirement) for requirement in missing])
        if not STATE.answer:
            raise RuntimeError("The user declined the installation.")
    skip = {_normal(name) for name in skip_packages or []}
    pip_install([requirement for requirement in missing if _normal(requirement.name) not in skip])
    return sorted(skip)


def pip_install(
    requirements: str | list[str] | list[Requirement],
    *,
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    no_deps_requirements: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    parent: object = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> None:
    """Record an installation and pretend that it worked, unless ``STATE.failure`` is set."""
    listed = requirements.split() if isinstance(requirements, str) else [str(item) for item in requirements]
    STATE.installs.append(listed)
    if STATE.failure is not None:
        raise STATE.failure
    for item in listed:
        if not item.startswith("-"):
            requirement = Requirement(item)
            STATE.installed[_normal(requirement.name)] = _some_version(requirement)


def pip_uninstall(requirements: str | list[str], **_kwargs: object) -> None:
    """Not to be used by a module."""
    raise NotImplementedError("the stand-in uninstalls nothing")


def _met(requirement: Requirement) -> bool:
    version = STATE.installed.get(_normal(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some_version(requirement: Requirement) -> str:
    """A version that fits: the first lower or exact bound."""
    bounds = [spec.version for spec in requirement.specifier if spec.operator in (">=", "==", "~=")]
    return bounds[0] if bounds else "1.0"
