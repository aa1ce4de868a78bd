"""Sentences of files, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _("A picture without a place in a patient: spacing 1 mm per pixel and no orientation were assumed.")),
    ("", _("A single slice without thickness: 1 mm was assumed.")),
    ("", _("Contours of structures with holes are CLOSEDPLANAR_XOR.")),
    ("", _(
        "DICOM structures refer to the slices of a DICOM series, and this image was read from another "
        "format; open the original series, or save the masks as NIfTI or NRRD."
    )),
    ("", _("Downloading from {url}")),
    ("", _("Drawn in another frame of reference; left out.")),
    ("", _("Drawn in another frame of reference; used on request.")),
    ("", _("Empty files were skipped: {empty}.")),
    ("", _("Expected a structure with at least one voxel, got none.")),
    ("", _("Expected {algorithms}, got {algorithm}.")),
    ("", _("Holes are contours of their own (even-odd); some viewers fill them.")),
    ("", _("Holes are joined to their outer contour by a bridge of no width.")),
    ("", _("It refers to none of the image's slices; contours were placed by their coordinates.")),
    ("", _("Its frame of reference differs from the image's, but it refers to the image's own slices.")),
    ("", _("MONOCHROME1: small values are meant to be shown bright; the values were kept as they are.")),
    ("", _("Neither frame of reference nor slices are named; contours were placed by their coordinates.")),
    ("", _("Of {placed} ml in the file, {kept} ml lie within the image.")),
    ("", _("PET values are in the units of the header ({unit}), not in SUV computed here.")),
    ("", _("Reading DICOM headers")),
    ("", _("Reading DICOM slices")),
    ("", _("Rescale slope or intercept is missing: the values are stored values, not HU.")),
    ("", _("Several regions share a name ({twice}); choose them by number.")),
    ("", _(
        "Slice distances vary from {min} to {max} mm; the volume was interpolated to slices every {fine} "
        "mm."
    )),
    ("", _("Stored values were scaled by the header's slope and intercept.")),
    ("", _("The NIfTI header has neither sform nor qform: position and orientation are unknown.")),
    ("", _("The NIfTI header is not in millimetres; it was converted.")),
    ("", _("The contours are not parallel to the image's slices; each stands for half the way to the next.")),
    ("", _(
        "The file was read back and {name} differs from what was to be written (Dice {overlap}, edges up "
        "to {edge} pixels apart); nothing was kept. Save the masks as NIfTI and report this."
    )),
    ("", _("The image names no frame of reference; contours were placed by their coordinates.")),
    ("", _("The rescale type of the CT is not HU: no CT window is applied.")),
    ("", _(
        "The series has lost the UIDs of its study, series or slices (often by anonymisation), so that "
        "structures cannot refer to them; export the series again with UIDs, or save the masks as NIfTI "
        "or NRRD."
    )),
    ("", _(
        "The series has no Frame of Reference UID, so that structures cannot refer to its space; save the"
        " masks as NIfTI or NRRD."
    )),
    ("", _("The series has no Frame of Reference UID: structure sets cannot refer to it.")),
    ("", _("The set names no image series; contours are placed by their coordinates.")),
    ("", _(
        "The slices are not stacked along their normal (gantry tilt, {angle} degrees): every slice was "
        "moved within its plane to an orthogonal grid; the planes are the original ones."
    )),
    ("", _("The transparency of the picture was ignored.")),
    ("", _("Writing DICOM SEG")),
    ("", _("Writing RTSTRUCT")),
    ("", _("{bad} voxels are NaN or infinite; they count as the lowest value (+infinity: highest).")),
    ("", _("{bent} contours do not lie in a plane or enclose nothing; a flattened form was used if any.")),
    ("", _("{between} planes with contours lie between slices and were moved to the nearest.")),
    ("", _("{broken} contours could not be read (points missing or not numbers) and were left out.")),
    ("", _("{copies} contours were there twice; the copies were left out.")),
    ("", _(
        "{count} slices are missing and were interpolated from their neighbours: k = {which} (between "
        "{listed} mm)."
    )),
    ("", _("{count} slices without a contour were interpolated from their neighbours.")),
    ("", _("{cut} planes with contours reach beyond the image's border and were cut there.")),
    ("", _("{damaged} DICOM files without a readable image were skipped: {names}.")),
    ("", _("{denser} planes with contours lie between others that are nearer to a slice; left out.")),
    ("", _("{dropped} slices were there twice (same SOP instance); the copies were ignored.")),
    ("", _("{empty} structures without a voxel were left out.")),
    ("", _("{gaps} slices between the first and the last have no contour.")),
    ("", _("{loose} contours that enclose nothing ({kinds}) were not filled.")),
    ("", _("{message} Files that cannot be read: {names}.")),
    ("", _("{name} has another grid than the image and was resampled to it (nearest voxel).")),
    ("", _("{name}: left out, {why}.")),
    ("", _("{name}: on the stored slices the volume is {ratio} % of that on the interpolated ones.")),
    ("", _("{not_dicom} files that are not DICOM were ignored.")),
    ("", _("{outside} of {planes} planes with contours lie beyond the image's slices; left out.")),
    ("", _("{strays} localizers or slices of another size or orientation in the series were dropped.")),
    ("", _("{usable} contours with fewer than three points were left out.")),
    ("", _("{wrong} planes of contours refer to another slice than they lie on; the position counts.")),
    ("dicom.colour", _(
        "The series is in colour (secondary capture, ultrasound or a photograph), not a volume of "
        "measurements; export single pictures as PNG to segment them."
    )),
    ("dicom.duplicate_positions", _(
        "Several slices lie at the same position (mm along the normal: {twice}{else}) and no tag tells "
        "them apart; remove the ones that do not belong."
    )),
    ("dicom.missing_slices", _(
        "{count} slices are missing, between the positions (mm along the normal) {listed}; copy the "
        "series again, or allow gaps (--allow-gaps) to have them interpolated."
    )),
    ("dicom.mixed", _(
        "The series mixes slices of different size, orientation or pixel spacing ({stacks} kinds with "
        "{sizes} slices); put each kind into a folder of its own."
    )),
    ("dicom.no_codec", _(
        "The frames are compressed as {name}, which cannot be decoded here; decompress the file."
    )),
    ("dicom.no_codec", _(
        "The pixels are compressed as {name}, and no decoder is installed; add one with: pip install "
        "\"segment-anything-med[{extra}]\""
    )),
    ("dicom.no_codec", _(
        "The pixels are stored in the way {name}, which cannot be decoded here; decompress them."
    )),
    ("dicom.no_geometry", _(
        "The series is {kind}, so that its place in the patient is unknown; choose the original series, "
        "or export single pictures as PNG."
    )),
    ("dicom.no_series", _(
        "Expected DICOM images in {path}, found no readable series (seen: {seen}{detail})."
    )),
    ("dicom.no_such_series", _("Expected one of the series {series}, got {wanted}.")),
    ("dicom.no_such_series", _("The series holds {groups} volumes, there is no #{part}.")),
    ("dicom.several_series", _("The folder holds {series} series; choose one: {listed}.")),
    ("dicom.several_volumes", _(
        "The series holds {groups} volumes at the same positions, told apart by {tag} (phases, echoes or "
        "the like); choose one: {keys}."
    )),
    ("dicom.source_gone", _(
        "The series that was segmented cannot be read any more; put its files back, or read it again."
    )),
    ("dicom.truncated", _(
        "The pixels of {name}{instance} are missing or damaged; copy the series again (nothing was filled"
        " in)."
    )),
    ("download.disk_full", _(
        "The disk is full ({what}). Make room, then repeat the command: it goes on where it stopped."
    )),
    ("download.folder", _("Cannot write to {parent}: {reason}.")),
    ("download.forbidden", _("{host} does not give the file to this program (answer {status}).")),
    ("download.html", _(
        "{url} sent a web page in place of the file (a question, a login or a limit). Open the page in a "
        "browser, save the file, and import it."
    )),
    ("download.insecure", _(
        "Expected https; {hostname} would send the file unprotected (http). Nothing was fetched."
    )),
    ("download.network", _(
        "{url} could not be reached or broke off {attempts} times ({error}).{kept} Check the network and "
        "the proxy (https_proxy)."
    )),
    ("download.not_found", _("{host} no longer has the file (answer {status}).")),
    ("download.redirect", _(
        "{full_url} sends on to other addresses without end, or to one that cannot be used. Try later, or"
        " fetch the file with a browser and import it."
    )),
    ("download.server", _("{host} gave an answer that cannot be used ({status}).")),
    ("download.size", _(
        "Expected a file of {expected} bytes; {url} has one of {found}. It was not taken: the file there "
        "is another one now, or something between here and there changes files."
    )),
    ("download.tls", _(
        "The certificate of the server cannot be trusted ({verify_message}); nothing was fetched. Where a"
        " hospital's proxy inspects traffic, let SSL_CERT_FILE name a file with its certificate."
    )),
    ("download.url", _("Expected an address https://...; got {url}.")),
    ("download.url", _("The address of the file is not a valid one.")),
    ("input.detached_outside", _(
        "{name}: its voxels are said to be in another folder, which is refused; put both files together."
    )),
    ("input.empty", _("{name} is empty (0 bytes); copy or export it again.")),
    ("input.four_d", _(
        "{name}: expected a 2-D or 3-D image, got {size}; save the phase that you want as a 3-D file."
    )),
    ("input.four_d", _(
        "{name}: expected one 3-D image, got a series of {size}; save the wanted one as a 3-D file."
    )),
    ("input.four_d", _(
        "{name}: expected one 3-D image, got {dim} of them (time or phases); save the phase that you want"
        " as a 3-D file."
    )),
    ("input.missing", _("{name}: the file {name2} that holds its voxels was not found.")),
    ("input.missing", _("{path} was not found or is a folder; give the RTSTRUCT file.")),
    ("input.missing", _("{path} was not found or is a folder; give the SEG file.")),
    ("input.missing", _("{path} was not found; check the path.")),
    ("input.too_large", _(
        "{name}: the header claims {axes} voxels, which no image has; the header is damaged."
    )),
    ("input.too_large", _(
        "{name}: {axes} voxels need {needed} GiB, this machine has {memory} GiB of memory; crop or "
        "downsample the image, or use a larger machine."
    )),
    ("input.truncated", _(
        "{name}: expected {view} bytes of voxels, the file ends after {filled}; copy the file again."
    )),
    ("input.truncated", _(
        "{name}: the header claims {axes} voxels ({needed} bytes), the file holds {stored_bytes} "
        "bytes{else}; it is damaged or was copied incompletely."
    )),
    ("input.truncated", _("{name}: the packed data end too early or are damaged; copy the file again.")),
    ("input.truncated", _("{name}: the picture ends too early; it was copied incompletely, copy it again.")),
    ("input.unreadable", _("{name} cannot be read: {reason}.")),
    ("input.unreadable", _("{name}: expected 1 to 7 axes in the NIfTI header, got {dim}.")),
    ("input.unreadable", _("{name}: expected a JPEG picture, found other content.")),
    ("input.unreadable", _("{name}: expected a header that begins with {beginnings}, found other content.")),
    ("input.unreadable", _(
        "{name}: expected a single-file NIfTI image, found other content; export it again."
    )),
    ("input.unreadable", _("{name}: the file cannot be read ({error}); export or copy it again.")),
)  # fmt: skip
