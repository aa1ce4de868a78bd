"""``qt`` and ``ctk`` as modules that exist always and can be used only while Qt is there.

A file that says ``import qt`` at its head is imported once per process, in a test with or without Qt; the module object
that it got must serve both.
"""

from __future__ import annotations

import types
from typing import Any


class QtGate(types.ModuleType):
    """A module whose attributes come from another one while it is open; shut, every use raises."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"Gate to the stand-in of {name}.")
        self.__dict__["_source"] = None

    def __getattr__(self, name: str) -> Any:
        source = self.__dict__["_source"]
        if source is None:
            raise AttributeError(f"{self.__name__}.{name}: no Qt in core mode")
        try:
            return getattr(source, name)
        except AttributeError:
            raise AttributeError(f"module '{self.__name__}' of the stand-in has no '{name}'") from None

    def open(self, source: object) -> None:
        """Take the attributes from ``source``."""
        self.__dict__["_source"] = source

    def shut(self) -> None:
        """Refuse every use."""
        self.__dict__["_source"] = None


QT_GATES = {"qt": QtGate("qt"), "ctk": QtGate("ctk")}
