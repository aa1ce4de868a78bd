"""Sentences of errors, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("The operation was cancelled; what was finished before is kept.")),
)  # fmt: skip
