"""Forms of the library's sentences, made from its source by ``scripts/update_sentences.py``.

``ERRORS``: code of an error -> forms of its sentence. ``OTHERS``: all forms, also of notes and labels of progress.
``FILES``: form -> file that lists it, which is its context for translators' tools.
"""

from importlib import import_module
from pkgutil import iter_modules

ERRORS: dict[str, tuple[str, ...]] = {}
FILES: dict[str, str] = {}
for _found in iter_modules(__path__):
    if _found.name == "form":
        continue
    _room = import_module(f"{__name__}.{_found.name}")
    for _code, _text in _room.SENTENCES:
        FILES.setdefault(_text, _room.__file__)
        if _code:
            ERRORS[_code] = (*ERRORS.get(_code, ()), _text)
OTHERS = tuple(FILES)
