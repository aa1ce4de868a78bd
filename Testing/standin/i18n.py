"""Stand-in for ``slicer.i18n``: no translation is loaded, every text is returned as it is."""

from __future__ import annotations

import os

SLICER_NAME = "i18n"


def tr(text: str) -> str:
    """The text itself; a text that is not a string is refused."""
    if not isinstance(text, str):
        raise TypeError(f"tr: expected a string, got {type(text).__name__}")
    return text


def translate(context: str, text: str) -> str:
    """The text itself."""
    return tr(text)


def getContext(filename: str) -> str:
    """Context of a file's texts: its name without folder and ending."""
    return os.path.splitext(os.path.basename(filename))[0]
