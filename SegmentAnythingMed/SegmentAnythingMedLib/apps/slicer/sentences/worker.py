"""Sentences of worker, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("Cancelled before anything was finished; nothing was written.")),
    ("", _("Cancelled: the masks are what was finished before.")),
    ("", _("Expected {what} to be installed; it cannot be imported. Nothing was changed; install it first.")),
    ("", _("Measuring the model on one slice")),
    ("", _("Measuring the model on the first slices")),
    ("", _("Opening the model")),
    ("", _("Reading intensities")),
    ("", _("Reading the original series")),
    ("", _("Segmenting")),
    ("", _("The model found nothing for the prompts on slice {index}.")),
    ("", _(
        "The projection was not used: this model remembers the object. Use --engine prompt for "
        "projections."
    )),
    ("", _("{value} voxels also belong to a later object, which got them.")),
    ("device.memory", _(
        "There is too little free memory for this model and image. What was finished is kept; close other"
        " programs, choose a smaller model, or compute on the CPU."
    )),
    ("device.memory", _(
        "{who} has too little free memory for this model and image; close other programs, choose a "
        "smaller model, or use --device cpu."
    )),
    ("job.failed", _(
        "An unexpected error stopped this step ({name}: {first}). What was finished is kept, nothing else"
        " was changed; please report it with the text in the log."
    )),
    ("prompt.no_mask", _(
        "The model found no object for the prompts on slice {slices}. Nothing was changed; move the "
        "prompt or add a point or a box."
    )),
    ("prompt.none", _("Expected a point or a box on slice {index}; got none.")),
    ("prompt.none", _("Expected at least one object with a prompt.")),
    ("prompt.outside_limits", _(
        "Expected a prompt within the limits {low} to {high}; all prompts are on other slices: {seeds}."
    )),
    ("visits.other_series", _(
        "Expected the DICOM series of today's image; the voxels of these files lie elsewhere. Choose the "
        "folder of the series that was loaded."
    )),
    ("visits.other_series", _(
        "Expected the files of today's series in one folder; they are in several. Choose a folder that "
        "holds it."
    )),
    ("worker.stopped", _("The module is closing; nothing new can be started.")),
)  # fmt: skip
