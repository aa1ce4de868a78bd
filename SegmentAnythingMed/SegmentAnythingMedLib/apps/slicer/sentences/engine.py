"""Sentences of engine, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("Encoding slices")),
    ("", _("Memory was short: fewer features are kept, which can mean that slices are encoded again.")),
    ("", _("Memory was short: slices are no longer encoded ahead, but one by one, which can take longer.")),
    ("", _("The memory of the GPU was not enough; the rest was computed on the CPU, which takes longer.")),
    ("device.lost", _(
        "The GPU stopped answering in the middle of the work (it was reset, or its driver failed). Start "
        "the program again; use --device cpu until the GPU is well."
    )),
    ("device.memory", _(
        "The machine has too little free memory for this model and image{told}, even with few features "
        "kept{cpu}; close other programs, choose a smaller model, or crop the image."
    )),
    ("prompt.empty", _("Expected a point, a box or a mask on the slice, got none.")),
    ("prompt.only_negative", _("Expected at least one positive prompt; got negative points only.")),
    ("prompt.references", _("The model {name} does not use references.")),
    ("session.closed", _("The session was closed; open a new one.")),
)  # fmt: skip
