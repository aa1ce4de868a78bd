"""Sentences of adaptive, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("Expected a number between {low} and {high} for {name}; got {value}.")),
    ("", _("Expected a whole number for {name}; got {value}.")),
    ("", _("Expected the {what} {known}, got {value}.")),
    ("", _("Expected true or false for {name}; got {name2}.")),
    ("adaptive.package", _(
        "Methods that compare visits need the Python package {package}, which is not installed. Install "
        "the extra: pip install \"segment-anything-med[adaptive]\"."
    )),
    ("option.distance", _("Expected the distance {distances}, got {name}.")),
    ("option.interpolation", _("Expected one of {interpolations}, got {interpolation}.")),
    ("option.method", _("Expected one of the methods {method_names}; got {name}.")),
    ("option.policy", _("Expected {policies} for {all}; got {policy}.")),
    ("option.range", _("Expected at least one finalist and one token.")),
    ("option.range", _("Expected {name} as smallest and largest number, {least} or more, got {high}.")),
    ("option.token_rule", _("Expected the token rule area or published, got {mode}.")),
    ("reference.mask", _("Expected a reference mask of the slice's shape {shape}, got {mask}.")),
    ("reference.none", _("Expected at least one slice on which the object is known, got none.")),
    ("segment.empty", _("The structure is empty on the prior visit; leave it out.")),
    ("segment.empty", _("The structure {name} is empty on the prior visit; leave it out.")),
    ("segment.shape", _(
        "Expected a mask of shape {shape} for {name}, on the grid of the prior image; got {shape2}."
    )),
    ("segment.shape", _("Expected a mask of shape {shape}, got {shape2}.")),
    ("visits.overlap", _(
        "The two visits show nothing in common: no position lets the bodies overlap. Nothing can be "
        "registered; check that both images show the same part of the body, or segment without a "
        "registration."
    )),
    ("visits.registration", _("Expected an image with contrast to register, got one grey value only.")),
    ("visits.registration", _("Expected images with one value per voxel to register, got colour.")),
    ("visits.registration", _(
        "The two images could not be registered: they show too little in common. Give a transform, or "
        "segment without one."
    )),
    ("visits.structures", _("Expected at least one structure of the prior visit; got none.")),
    ("visits.transform", _("Expected a finite 4x4 matrix with the last row 0 0 0 1.")),
    ("visits.transform", _(
        "Expected a linear transform to turn round; one that deforms is inverted over a region only."
    )),
    ("visits.transform", _("Expected a transform of 3-D space, got one of {getdimension}-D space.")),
    ("visits.transform", _("Expected a transform that can be inverted, got a singular matrix.")),
)  # fmt: skip
