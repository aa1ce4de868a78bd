"""Sentences of space, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _(
        "The file does not name its modality; the values look like Hounsfield units and were taken for "
        "CT."
    )),
    ("", _("The image has no contrast in this window: all voxels lie outside it; choose another window.")),
    ("", _("The image has no contrast: all voxels have the same value.")),
    ("", _("The window {name} is meant for Hounsfield units; these voxels do not seem to be HU.")),
    ("option.axis", _("Expected the axis k, j, i or auto, got {axis}.")),
    ("option.slice", _("Expected a slice 0 to {count} on axis {axis}, got {index}.")),
    ("option.window", _(
        "Expected LEVEL,WIDTH, auto, header, percentile, range or one of {known}; got {spec}."
    )),
    ("option.window", _(
        "Expected a display window in the image header, found none; give a preset or LEVEL,WIDTH."
    )),
    ("option.window", _("Expected a finite level and a width above zero, got {spec}.")),
    ("volume.dtype", _("Expected integer or real voxels, got type {dtype}.")),
    ("volume.geometry", _("Expected a 4x4 affine, got an array of shape {shape}.")),
    ("volume.geometry", _(
        "Expected finite numbers for origin, spacing and direction, got NaN or infinity; repair the "
        "header."
    )),
    ("volume.geometry", _("Expected the last row of an affine to be 0 0 0 1, got {matrix}.")),
    ("volume.geometry", _("Expected three independent voxel axes, got parallel ones; repair the directions.")),
    ("volume.geometry", _("Expected three voxel spacings above zero, got {steps} mm; repair the header.")),
    ("volume.geometry", _("Expected voxel spacings above zero, got {steps} mm; repair the header.")),
    ("volume.shape", _("Expected a mask of shape {shape}, got {shape2}.")),
    ("volume.shape", _(
        "Expected voxels [K, J, I] or [K, J, I, C] with at least one voxel, got shape {shape}."
    )),
)  # fmt: skip
