"""Sentences of adaptive, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("Cancelled: {missing} structures were not looked for; the others are complete.")),
    ("", _("Even when aligned, the images have little in common (similarity {similarity_after}).")),
    ("", _("Expected a number between {low} and {high} for {name}; got {value}.")),
    ("", _("Expected a whole number for {name}; got {value}.")),
    ("", _("Expected the {what} {known}, got {value}.")),
    ("", _("Expected true or false for {name}; got {name2}.")),
    ("", _("Following the object")),
    ("", _("It is {name} than the registration has it.")),
    ("", _("It was found {centres} mm from where the registration has it.")),
    ("", _("Looking for structures")),
    ("", _(
        "None of the structures lies in the field of view of the follow-up. Check the images and the "
        "transform, or allow visits.overlap to search by appearance alone."
    )),
    ("", _("Not here: {why}.")),
    ("", _("Nothing on the follow-up looks like the structure.")),
    ("", _("Prior and follow-up are the same series. Give today's image, or allow visits.same_study.")),
    ("", _(
        "Prior and follow-up belong to the same study. If they are meant to be compared (phases, "
        "sequences), allow visits.same_study."
    )),
    ("", _("Registered there and back, {name} ends {inverse_mm} mm from where it began.")),
    ("", _("Registering the visits")),
    ("", _("Slices are {steps} mm apart on the prior visit and {steps2} mm on the follow-up.")),
    ("", _("The aligned images look different (similarity {similarity_after}); check the fit.")),
    ("", _("The deformation scales volumes in {name} by {low} to {high}.")),
    ("", _("The deformation was given up: {problem}. The rigid alignment alone is offered.")),
    ("", _("The deformation was stored in the other direction and inverted (error at most {worst} mm).")),
    ("", _("The follow-up is older than the prior visit. Exchange the images, or allow visits.dates.")),
    ("", _("The given transform is doubtful: {problem}.")),
    ("", _("The model finds nothing here; the image fits the warped contour, which is used.")),
    ("", _("The model finds nothing there, but voxels look like the structure's: see W.")),
    ("", _("The model finds nothing there; between modalities that is no evidence: see W.")),
    ("", _("The model finds only {dice} (Dice) of this structure on the prior itself: see W.")),
    ("", _("The prior image does not reach the region of the structures on the follow-up.")),
    ("", _(
        "The prior image is of side {laterality}, the follow-up of side {laterality2}. Check them, or "
        "allow visits.laterality if a header is known to be wrong."
    )),
    ("", _(
        "The prior image is {first}, the follow-up {second}: no structure can be found by its look across"
        " modalities. Allow visits.modality to get the warped contours of the registration."
    )),
    ("", _("The prior structures refer to another series in the same frame of reference.")),
    ("", _(
        "The prior structures were drawn in another frame of reference than the prior image's. Give the "
        "image that they were drawn on, or allow visits.frame if both are known to coincide."
    )),
    ("", _(
        "The rigid alignment made the images around the structures less alike (similarity {before} "
        "before, {after} after). Equal places in patient space are offered."
    )),
    ("", _("The structure is too small for the model: see W.")),
    ("", _("The visits are of two modalities: only what registration carries over is offered.")),
    ("", _(
        "The visits seem to be of two patients: {wrong} differ. Check the images, or allow visits.patient"
        " if the headers are known to be wrong."
    )),
    ("", _("What is left is smaller than can be told from nothing.")),
    ("", _("{name} has only {count} voxel{else} on the prior visit.")),
    ("", _("{name} lies outside the field of view of the follow-up.")),
    ("", _("{name} touches the edge of the prior image and may go on beyond it.")),
    ("", _("{outside_fraction} of it lies outside the follow-up's field of view.")),
    ("", _("{share} of {name} lie outside the field of view of the follow-up.")),
    ("", _("{undefined} points of the deformation grid are undefined; they do not deform.")),
    ("adaptive.package", _(
        "Methods that compare visits need the Python package {package}, which is not installed. Install "
        "the extra: pip install \"segment-anything-med[adaptive]\"."
    )),
    ("input.missing", _("{path} was not found; check the path.")),
    ("model.no_memory", _("The model {name} has no memory; following an object needs SAM 2 or MedSAM2.")),
    ("option.axis", _("Expected one of {array_axes} for the axis, got {axis}.")),
    ("option.distance", _("Expected the distance {distances}, got {name}.")),
    ("option.interpolation", _("Expected one of {interpolations}, got {interpolation}.")),
    ("option.method", _("Expected one of the methods {method_names}; got {name}.")),
    ("option.method", _("Expected one of the methods {methods}; got {method}.")),
    ("option.policy", _("Expected {policies} for {all}; got {policy}.")),
    ("option.protocol", _("Expected the protocol {protocols}; got {protocol}.")),
    ("option.range", _("Expected at least one finalist and one token.")),
    ("option.range", _("Expected {name} as smallest and largest number, {least} or more, got {high}.")),
    ("option.token_rule", _("Expected the token rule area or published, got {mode}.")),
    ("option.transform", _("Expected auto, none or a transform; got {transform}.")),
    ("output.format", _("Expected a name ending in {writable}, got {name}.")),
    ("output.not_writable", _("Cannot write {name}.")),
    ("reference.mask", _("Expected a reference mask of the slice's shape {shape}, got {mask}.")),
    ("reference.none", _("Expected at least one slice on which the object is known, got none.")),
    ("segment.empty", _("The structure is empty on the prior visit; leave it out.")),
    ("segment.empty", _("The structure {name} is empty on the prior visit; leave it out.")),
    ("segment.shape", _("Expected a mask of shape {shape} for {name}, got {mask}.")),
    ("segment.shape", _(
        "Expected a mask of shape {shape} for {name}, on the grid of the prior image; got {shape2}."
    )),
    ("segment.shape", _("Expected a mask of shape {shape}, got {shape2}.")),
    ("segment.shape", _("Expected masks of shape {shape}, got {shape2}.")),
    ("visits.no_start", _("Expected at least one opinion on where the structure is.")),
    ("visits.overlap", _(
        "The two visits show nothing in common: no position lets the bodies overlap. Check that both "
        "images show the same part of the body, or segment by appearance alone, without a registration."
    )),
    ("visits.registration", _("Expected an image with contrast to register, got one grey value only.")),
    ("visits.registration", _("Expected images with one value per voxel to register, got colour.")),
    ("visits.registration", _(
        "The two images could not be registered: they show too little in common. Give a transform, or "
        "segment by appearance alone."
    )),
    ("visits.structures", _("Expected at least one structure of the prior visit; got none.")),
    ("visits.structures", _("Expected structures of the prior visit ({masks}); got {none}.")),
    ("visits.transform", _("Expected a finite 4x4 matrix with the last row 0 0 0 1.")),
    ("visits.transform", _(
        "Expected a linear transform to turn round; one that deforms is inverted over a region only."
    )),
    ("visits.transform", _("Expected a transform of 3-D space, got one of {getdimension}-D space.")),
    ("visits.transform", _("Expected a transform that can be inverted, got a singular matrix.")),
    ("visits.transform", _("{name} cannot be read as DICOM; export it again.")),
    ("visits.transform", _(
        "{name} holds no transform that can be read; expected .tfm, .txt, .mat, .h5 or a DICOM "
        "registration."
    )),
    ("visits.transform", _("{name} is a DICOM registration: both visits are needed to read it.")),
    ("visits.transform", _(
        "{name} relates other frames of reference than those of the visits; give the registration of "
        "these images."
    )),
    ("visits.transform", _(
        "{name}: a DICOM registration names frames of reference, which only DICOM images have; give both "
        "visits as DICOM series, or an ITK transform."
    )),
    ("visits.transform", _("{name}: a matrix of the registration is missing or cannot be inverted.")),
    ("visits.transform", _("{name}: expected a DICOM registration object (REG), found another object.")),
    ("visits.transform", _("{name}: the deformation grid does not say where it lies.")),
    ("visits.transform", _("{name}: the deformation grid is cut short or has no size.")),
    ("visits.transform", _(
        "{name}: the deformation runs from the prior to the follow-up and cannot be turned round (error "
        "{worst} mm); export the registration in the other direction."
    )),
    ("visits.transform", _("{name}: the registration is damaged; export it again.")),
)  # fmt: skip
