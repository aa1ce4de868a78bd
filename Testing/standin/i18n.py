"""Stand-in for ``slicer.i18n``. No translation is loaded unless a test loads one with :func:`load`.

As in Slicer, the context of a text is its file, with the package's name before it, and a translation that has other
fields than the text is not used.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable

SLICER_NAME = "i18n"
_FIELDS = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")
_translators: list[Callable[[str, str], str]] = []


def load(translator: Callable[[str, str], str] | None) -> None:
    """Use ``translator(context, text)`` from now on; None: no translation (tests call this)."""
    _translators[:] = [] if translator is None else [translator]


def translate(context: str, text: str) -> str:
    """The text in the language that is loaded; a text that is not a string is refused."""
    if not isinstance(text, str):
        raise TypeError(f"translate: expected a string, got {type(text).__name__}")
    return _translators[0](context, text) if _translators else text


def getContext(sourceFile: str) -> str:
    """Context of a file's texts: its name without ending, behind the name of the package that it lies in."""
    folder, name = os.path.split(sourceFile)
    if not os.path.isfile(sourceFile):
        return name
    package = os.path.isfile(os.path.join(folder, "__init__.py"))
    stem = name.replace(".py", "")
    return f"{os.path.basename(folder)}.{stem}" if package else stem


def tr(text: str) -> str:
    """The text in the language that is loaded, in the context of the file that asks."""
    if not _translators:
        return translate("", text)
    caller = inspect.currentframe().f_back
    translated = translate(getContext(inspect.getsourcefile(caller) or inspect.getfile(caller)), text)
    return translated if set(_FIELDS.findall(text)) == set(_FIELDS.findall(translated)) else text
