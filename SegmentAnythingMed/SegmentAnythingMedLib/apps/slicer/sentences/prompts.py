"""Sentences of prompts, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("An empty scribble was left out.")),
    ("", _("Pixel {pixel},{pixel2} of slice {index} was marked inside and outside; the last mark counts.")),
    ("", _("Slice {first} had more than one box; the last one counts.")),
    ("", _("Slice {index} has nothing but negative points: it is taken as a stop mark.")),
    ("", _("Slice {index} has {places} {negative} points; {max_points} that cover them are used.")),
    ("", _("Slice {slice} had more than one mask; the last one counts.")),
    ("", _("The box on slice {index} reached out of the image; it was clipped.")),
    ("", _("The corners of the box on slice {index} were inverted; they were put in order.")),
    ("", _("The mask drawn on slice {index} is kept as it is; the other prompts there are left out.")),
    ("", _("The mask on slice {slice} is empty and left out.")),
    ("", _("The stop mark on slice {index} is left out: the object is prompted there.")),
    ("input.missing", _("Expected a prompt file; there is no file {name}.")),
    ("input.too_large", _("Expected a prompt file of at most {max_file_bytes} MiB: {name}.")),
    ("input.unreadable", _("The prompt file {name} cannot be read: {strerror}.")),
    ("option.axis", _("Expected the axis k, j or i; got {axis}.")),
    ("option.projection", _(
        "Expected a projection such as {modes}, a combination such as box+points, or the three switches "
        "use_box, use_mask, use_points with at least one on; got {value}."
    )),
    ("option.space", _("Expected the space ijk, lps or ras; got {space}.")),
    ("prompt.box_empty", _("Expected a box with an area; got {corner0} twice.")),
    ("prompt.box_slices", _(
        "Expected both corners of a box on one slice of axis {axis}; got slices {first}, {second}."
    )),
    ("prompt.empty", _("Expected a point, box or mask on slice {index}; got none.")),
    ("prompt.json", _("Expected JSON in UTF-8 in {name}; it cannot be parsed.")),
    ("prompt.json", _("Expected version {version}; got {version2}.")),
    ("prompt.json", _("Expected {expected} at {where}; got {text}.")),
    ("prompt.kind", _("Expected a point, box, mask, scribble or stop mark; got {prompt}.")),
    ("prompt.label", _("Expected the label 1 (inside) or 0 (outside); got {label}.")),
    ("prompt.mask", _("Expected a mask of rows x columns; got an array of shape {shape}.")),
    ("prompt.mask_empty", _("Expected a mask with at least one pixel; it is empty.")),
    ("prompt.mask_empty", _("Expected a mask with at least one voxel; it is empty.")),
    ("prompt.none", _("Expected at least one object with a prompt; got none.")),
    ("prompt.none", _("Expected at least one point, box or mask; got no prompt.")),
    ("prompt.only_negative", _(
        "Expected at least one positive point, box or mask; got only negative points or stop marks. Mark "
        "the object itself first."
    )),
    ("prompt.outside", _("Expected a prompt inside the volume, voxels 0,0,0 to {last}; got {where}.")),
    ("prompt.outside", _("Expected a slice 0 to {count} on axis {axis}; got {index}.")),
    ("prompt.outside", _("Expected prompts on slices 0 to {count}; got one on slice {index}.")),
    ("prompt.position", _("Expected a box of five numbers, two corners and a slice; got {values}.")),
    ("prompt.position", _("Expected a position of three finite numbers; got {value}.")),
    ("prompt.position", _("Expected a slice number; got {value}.")),
    ("prompt.wrong_axis", _(
        "Expected a mask on axis {axis}; got one of axis {axis2}. Segment along that axis."
    )),
    ("prompt.wrong_volume", _(
        "Expected a mask of {shape} pixels on axis {axis}; got {shape2}. It was drawn on another volume "
        "or axis."
    )),
    ("prompt.wrong_volume", _(
        "Expected a mask of {shape} x {shape2} pixels on slice {index}; got {shape3}. It was drawn on "
        "another volume or axis."
    )),
    ("prompt.wrong_volume", _(
        "Expected prompts for this volume of {size} voxels; they were made for one of {size2}."
    )),
)  # fmt: skip
