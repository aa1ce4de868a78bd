"""Keyboard shortcuts that exist only while the module is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import qt
import slicer.util


@dataclass(frozen=True)
class Shortcut:
    """A key and what it does.

    Attributes:
        key: as ``QKeySequence`` reads it, untranslated: ``P``, ``Ctrl+Z``.
        words: what it does, for the list on the screen.
        action: called when the key is pressed.
    """

    key: str
    words: str
    action: Callable[[], None]


class Shortcuts:
    """Installs shortcuts when the module is entered and removes every trace of them when it is left.

    Args:
        entries: the shortcuts.
        fallback: widget to own them when Slicer runs without a main window.
    """

    def __init__(self, entries: Sequence[Shortcut], fallback: qt.QWidget) -> None:
        self.entries = tuple(entries)
        self._fallback = fallback
        self._installed: list[tuple[qt.QShortcut, Shortcut]] = []

    @property
    def installed(self) -> bool:
        """True between :meth:`install` and :meth:`remove`."""
        return bool(self._installed)

    def install(self) -> None:
        """Make the keys work; a second call changes nothing."""
        if self._installed:
            return
        owner = slicer.util.mainWindow() or self._fallback
        for entry in self.entries:
            shortcut = qt.QShortcut(qt.QKeySequence(entry.key), owner)
            shortcut.connect("activated()", entry.action)
            # Where the main window has the same key (undo), Qt asks both owners in turn.
            shortcut.connect("activatedAmbiguously()", entry.action)
            self._installed.append((shortcut, entry))

    def remove(self) -> None:
        """Give the keys back."""
        for shortcut, entry in self._installed:
            shortcut.enabled = False
            shortcut.disconnect("activated()", entry.action)
            shortcut.disconnect("activatedAmbiguously()", entry.action)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()

    def table(self) -> str:
        """The keys and what they do, as a table in rich text."""
        rows = "".join(
            f"<tr><td><b>{escape(entry.key)}</b>&nbsp;&nbsp;</td><td>{escape(entry.words)}</td></tr>"
            for entry in self.entries
        )
        return f"<table>{rows}</table>"
