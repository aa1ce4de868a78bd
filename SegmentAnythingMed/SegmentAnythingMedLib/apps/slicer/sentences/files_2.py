"""Sentences of files, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("input.unreadable", _("{name}: the name of its voxel file is damaged; export it again.")),
    ("input.unsafe", _("{name}: {reason}; expected {readable}.")),
    ("input.unsupported", _("{name}: expected {readable}.")),
    ("install.highdicom", _(
        "Writing DICOM SEG needs the package highdicom, which is not installed; add it with: pip install "
        "\"segment-anything-med[dicom]\""
    )),
    ("mask.elsewhere", _("{name} lies elsewhere: none of its labelled voxels is inside the image.")),
    ("mask.elsewhere", _("{name} lies elsewhere: none of its structures is inside the image.")),
    ("option.holes", _("Expected one of {holes}, got {holes2}.")),
    ("option.threshold", _("Expected a threshold above 0 and up to 1, got {threshold}.")),
    ("output.folder", _("The folder for {name} does not exist; create it first.")),
    ("output.format", _("A NIfTI-1 axis has at most 32767 voxels, got {shape}; write .nrrd.")),
    ("output.format", _("Expected a name ending in {writable}, got {name}.")),
    ("output.not_a_file", _("Expected a file name to write to, {name} is a folder.")),
    ("output.not_writable", _("Cannot write {name}: {error}.")),
    ("output.not_writable", _("Cannot write {name}: {reason}.")),
    ("rtstruct.ambiguous_roi", _("{found} regions are named {wanted}; choose by number: {numbers}.")),
    ("rtstruct.frame_of_reference", _(
        "The structures were drawn in another frame of reference than the image's, and refer to none of "
        "its slices; choose the image that they were drawn on, register the two, or ask for them as they "
        "are (other_frame)."
    )),
    ("rtstruct.no_rois", _("{name} names no region of interest.")),
    ("rtstruct.no_such_roi", _("Expected one of the regions {listed}, got {wanted}.")),
    ("rtstruct.not_one", _("Expected an RTSTRUCT, {name} is another kind of file ({kind}).")),
    ("rtstruct.nothing_to_write", _("No structure has a voxel on a stored slice of the series.")),
    ("rtstruct.unreadable", _("{name} is damaged or no DICOM file; copy or export it again.")),
    ("rtstruct.verification", _("The file was read back with other structures; nothing was kept.")),
    ("seg.ambiguous_segment", _("{found} segments are named {name}; choose by number: {numbers}.")),
    ("seg.frame_of_reference", _(
        "The segmentation was made in another frame of reference than the image's; choose the image that "
        "it was made on, register the two, or ask for it as it is (other_frame)."
    )),
    ("seg.no_geometry", _(
        "{name}: the frames have no position in the patient, so that they cannot be laid on an image."
    )),
    ("seg.no_such_segment", _("Expected one of the segments {listed}, got {name}.")),
    ("seg.not_one", _("Expected a DICOM SEG for volumes, {name} is another kind of file ({found}).")),
    ("seg.nothing_to_write", _("No structure has a voxel on a stored slice of the series.")),
    ("seg.source", _(
        "The headers of the series lack something that a DICOM SEG must repeat; save the masks as "
        "RTSTRUCT or NIfTI instead."
    )),
    ("seg.truncated", _("Frame {index} of the segmentation is missing or damaged; copy the file again.")),
    ("seg.unreadable", _("{name} is damaged or no DICOM file; copy or export it again.")),
    ("seg.verification", _("The file was read back with other segments; nothing was kept.")),
    ("structures.ambiguous", _("{found} structures are named {one}; choose by number: {numbers}.")),
    ("structures.several", _("The folder holds {found} structure files; give one: {listed}.")),
    ("structures.unknown", _("Expected one of the structures {listed}; got {one}.")),
    ("volume.all_nan", _("{name}: no voxel is a number (all NaN or infinite).")),
    ("volume.dtype", _("Expected a boolean or integer mask, got {dtype}.")),
    ("volume.dtype", _("Expected labels that fit 32 bits, got {lowest} to {highest}.")),
    ("volume.dtype", _("{name}: expected integer or real voxels, got {kind}.")),
    ("volume.dtype", _("{name}: expected integer, real or RGB voxels, got NIfTI datatype {code}.")),
    ("volume.dtype", _("{name}: expected one label per voxel, got {channels} channels.")),
    ("volume.dtype", _("{name}: expected whole numbers as labels, got fractions or NaN.")),
    ("volume.geometry", _("{name}: expected spacings above zero, the header says {text} mm.")),
    ("volume.geometry", _(
        "{name}: expected voxel spacings above zero, the header says {text}; repair the header."
    )),
    ("volume.shape", _("Expected a mask of shape {shape}, got {mask} ({name}).")),
    ("volume.shape", _("Expected a mask of shape {shape}, got {shape2}.")),
    ("volume.shape", _("{name}: expected a voxel or more along every axis, the header says {axes}.")),
)  # fmt: skip
