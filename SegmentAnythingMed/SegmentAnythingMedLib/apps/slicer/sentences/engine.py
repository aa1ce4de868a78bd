"""Sentences of engine, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("Encoding slices")),
    ("prompt.empty", _("Expected a point, a box or a mask on the slice, got none.")),
    ("prompt.only_negative", _("Expected at least one positive prompt; got negative points only.")),
    ("prompt.references", _("The model {name} does not use references.")),
    ("session.closed", _("The session was closed; open a new one.")),
)  # fmt: skip
