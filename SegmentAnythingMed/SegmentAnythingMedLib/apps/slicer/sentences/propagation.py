"""Sentences of propagation, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("Expected a number {span} for {name}; got {value}.")),
    ("", _("Expected a whole number for {name}; got {value}.")),
    ("", _("Expected true or false for {name}; got {name2}.")),
    ("", _("Expected {words} for {name}; got {name2}.")),
    ("", _("Propagating")),
    ("", _("The mask beside other prompts on slice {index} is left out, as published.")),
    ("", _("The mask on slice {index} covers the whole slice; it is not propagated outward.")),
    ("", _("The model found nothing for the prompts on slice {index}; they are left out.")),
    ("", _("The prompts on slice {index} are outside the limits and left out.")),
    ("", _("The stop mark on slice {stop} is ignored by the published rules.")),
    ("option.as_published", _(
        "The published rules of micro-sam are for the engine 'prompt'; here published is 'sam2' or "
        "'medsam2'."
    )),
    ("option.coupled", _("Expected true or false for coupled; got {coupled}.")),
    ("option.engine", _(
        "Expected settings of the prompt engine (PropagationSettings); got those of the memory engine."
    )),
    ("option.engine", _("Expected the engine {engines}; got {wish}.")),
    ("option.engine", _("This model has no memory. Choose a SAM 2 or MedSAM2 model, or the engine prompt.")),
    ("option.limits", _("Expected limits LO,HI with LO <= HI; got {low},{high}.")),
    ("option.limits", _("Expected two slice numbers LO,HI as limits; got {value}.")),
    ("option.limits", _("The published rules know no limits; got both.")),
    ("option.near", _("Expected true, false or nothing for near; got {near}.")),
    ("prompt.no_mask", _(
        "The model found no object for the prompts on slice {slices}. Nothing was changed; move the "
        "prompt or add a point or a box."
    )),
    ("prompt.none", _("Expected at least one object with a prompt; got none.")),
    ("prompt.outside_limits", _(
        "Expected a prompt within the limits {low} to {high}; all prompts are on other slices: {seeds}."
    )),
)  # fmt: skip
