"""Stand-in for the module PyTorchUtils of the extension PyTorch; it pretends an installation in ``packaging.STATE``."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from packaging.requirements import Requirement

from .packaging import STATE

CALLS: list[dict[str, Any]] = []


class PyTorchUtilsLogic:
    """The part of the logic that a module calls."""

    @staticmethod
    def torchInstalled() -> bool:
        """Whether PyTorch is installed."""
        return STATE.version("torch") is not None

    def installTorch(
        self,
        askConfirmation: bool = False,
        forceComputationBackend: str | None = None,
        torchVersionRequirement: str | None = None,
    ) -> Any:
        """Install PyTorch and torchvision; None when the user said no."""
        CALLS.append({"ask": askConfirmation, "backend": forceComputationBackend, "version": torchVersionRequirement})
        if askConfirmation and not STATE.answer:
            return None
        if STATE.failure is not None:
            raise STATE.failure
        STATE.install(Requirement("torch" + (torchVersionRequirement or "")))
        STATE.install(Requirement("torchvision"))
        return types.SimpleNamespace(__version__=STATE.version("torch"))


@contextmanager
def extension_installed() -> Iterator[list[dict[str, Any]]]:
    """The extension is there; gives the calls that were made."""
    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    sys.modules["PyTorchUtils"] = module
    CALLS.clear()
    try:
        yield CALLS
    finally:
        del sys.modules["PyTorchUtils"]
