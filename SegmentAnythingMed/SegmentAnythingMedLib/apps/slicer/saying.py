"""What the library says, in the user's language.

The library knows no Qt and no Slicer, so its sentences come finished and in English. Their forms are listed in
``sentences``, made from the library's source by ``scripts/update_sentences.py``, each inside of ``_()`` for the tools
of translators. A sentence is matched with its form, the form is translated, and the values are put back in. English is
what is shown where there is no translation, or no form.
"""

from __future__ import annotations

import re
import string
from functools import cache

from slicer import i18n

from ...errors import SegmentAnythingMedError
from . import sentences

_MOST_LETTERS = 4000
"""Longer texts are shown as they are: matching is for sentences."""


def said(told: str | SegmentAnythingMedError) -> str:
    """A sentence of the library, or of one of its errors, as it is shown to the user."""
    if isinstance(told, SegmentAnythingMedError):
        return _said(told.message, sentences.ERRORS.get(told.code, ())) or said(told.message)
    return _said(told, sentences.OTHERS) or told


def _said(text: str, forms: tuple[str, ...]) -> str:
    """Translation of the first of the forms that a text has; empty for none. The most particular forms come first."""
    if len(text) > _MOST_LETTERS:
        return ""
    for form in sorted(forms, key=_letters, reverse=True):
        found = _pattern(form).fullmatch(text)
        if found is not None:
            return _translated(form).format(**found.groupdict())
    return ""


def _translated(form: str) -> str:
    translated = i18n.translate(i18n.getContext(sentences.FILES[form]), form)
    return translated if _fields(translated) <= _fields(form) else form  # a slip of a translator must not raise


@cache
def _pattern(form: str) -> re.Pattern[str]:
    parts = []
    for literal, field, _spec, _conversion in string.Formatter().parse(form):
        parts.append(re.escape(literal))
        if field is not None:
            parts.append(f"(?P<{field}>.*?)")
    return re.compile("".join(parts), re.DOTALL)


@cache
def _letters(form: str) -> int:
    return sum(len(literal) for literal, *_rest in string.Formatter().parse(form))


def _fields(form: str) -> set[str]:
    try:
        return {field for _literal, field, _spec, _conversion in string.Formatter().parse(form) if field is not None}
    except ValueError:  # a lonely bracket
        return {""}
