"""Sentences of models, made by scripts/update_sentences.py. Not for editing."""

from .form import form as _

SENTENCES = (
    ("", _(
        "By hand: save {file_name} from {source} and put it into {model_folder}, or: segment-anything-med"
        " models import FILE --as {name}."
    )),
    ("", _("Checking {file_name}")),
    ("", _("Checking {name}")),
    ("", _("Copying {name}")),
    ("", _("Get it with: segment-anything-med models download {name}. ")),
    ("", _("Model {name} is not on this machine, and nothing is downloaded without being asked for. ")),
    ("", _("Registered by the user.")),
    ("", _("The low-rank factors of {file_name} (SHA-256 {sha256}) were merged into {base}.")),
    ("", _(
        "{name} needs more memory for one slice than {device} has free ({free} of {total} GiB); close "
        "other programs that use the GPU, or use --device cpu."
    )),
    ("", _(
        "{text}By hand: save {file_name} from {source} into {model_folder}, or: segment-anything-med "
        "models import FILE --as {name}."
    )),
    ("checkpoint.ambiguous", _(
        "{file_name} is {words}; that may be one of {choices}, and each wants its images prepared in its "
        "own way. Tell which one it is: {families}"
    )),
    ("checkpoint.base", _(
        "{file_name} changes {wish}, which is not here; download it, or put it beside the file."
    )),
    ("checkpoint.base", _(
        "{file_name} holds low-rank factors without the network that they change. Name that network: put "
        "{{\"base\": \"sam-vit-b\", \"family\": \"sam\"}} into {file_name2}.json beside it (a name of the "
        "catalogue, or of a file in the same folder)."
    )),
    ("checkpoint.base", _("{wish} holds low-rank factors too; name a whole network as base.")),
    ("checkpoint.empty", _("{name} has zero bytes; fetch it again.")),
    ("checkpoint.html", _(
        "{name} holds a web page or a pointer, not weights: the download led to a page instead of the "
        "file. Open the link in a browser, save the file itself and replace this one."
    )),
    ("checkpoint.mismatch", _(
        "The low-rank factors of {layer} in {file_name} are incomplete or do not fit the weights they "
        "change; give the checkpoint as it was saved by its training."
    )),
    ("checkpoint.mismatch", _(
        "{file_name} does not fit the network ({own} tensors): {part}. Check that file, family and "
        "variant belong together."
    )),
    ("checkpoint.mismatch", _(
        "{file_name} holds {count} pairs of low-rank factors and {base} tensors that {base_name} lacks; "
        "{depth} blocks need {depth2} pairs (query and value of each) and nothing else. Check that both "
        "files belong together."
    )),
    ("checkpoint.mismatch", _(
        "{file_name} lacks tensors of TinyViT's four stages (layers.N.blocks.M.*); give a complete "
        "checkpoint."
    )),
    ("checkpoint.mismatch", _(
        "{file_name} lacks the adapters of SAM-Med2D (blocks.N.Adapter.channel.0.weight), or has an odd "
        "number of tokens per side; give the checkpoint as it was published."
    )),
    ("checkpoint.mismatch", _(
        "{file_name} lacks the encoder tensors of SAM (pos_embed, blocks.N.attn.rel_pos_h); give a "
        "complete SAM checkpoint."
    )),
    ("checkpoint.mismatch", _(
        "{file_name} was said to be of variant {variant}, but its tensors are those of {variant2}. Check "
        "that file and description belong together."
    )),
    ("checkpoint.mismatch", _(
        "{file_name} was said to be {title} ({family}), but its tensors are those of {words}. Name the "
        "family that it belongs to, or give another file."
    )),
    ("checkpoint.mismatch", _("{name} does not fit the built-in network of this version ({reason}).")),
    ("checkpoint.mismatch", _("{name} is not a checkpoint of the built-in network.")),
    ("checkpoint.mismatch", _("{name}: missing {missing}, unexpected {unexpected}.")),
    ("checkpoint.missing", _("Checkpoint {path} is not a file; give the path of a weights file.")),
    ("checkpoint.missing", _("Checkpoint {wish} is not a file; check the path.")),
    ("checkpoint.missing", _("The weights {name} are missing; reinstall the library.")),
    ("checkpoint.missing", _("There is no file of {name} in {model_folder}.")),
    ("checkpoint.sha256", _(
        "{file_name} is another file than that of {whose}: SHA-256 should be {expected}, is {found}; not "
        "taken."
    )),
    ("checkpoint.sha256", _(
        "{name} is not the expected file: SHA-256 should be {lower}, is {sha256}; it was not loaded. "
        "Fetch it again from its official source."
    )),
    ("checkpoint.sha256", _(
        "{path} is another file than expected (SHA-256 should be {expected}, is {found}). It was left as "
        "it is; remove or rename it, then download again."
    )),
    ("checkpoint.sidecar", _(
        "\"image_size\" of {file_name} must be a multiple of 32 from 64 to 4096; got {told}. Correct it."
    )),
    ("checkpoint.sidecar", _("{name} must say the family, e.g. \"family\": \"medsam\".")),
    ("checkpoint.sidecar", _("{problem}; got a {name}. Correct or remove it.")),
    ("checkpoint.sidecar", _("{problem}; it is larger than 64 KiB. Correct or remove it.")),
    ("checkpoint.sidecar", _("{problem}; it is not JSON. Correct or remove it.")),
    ("checkpoint.sidecar", _("{problem}; {key} is not a text. Correct or remove it.")),
    ("checkpoint.truncated", _(
        "{name} ({st_size} bytes) is damaged or incomplete ({reason}); fetch it again."
    )),
    ("checkpoint.truncated", _("{name} is damaged or incomplete.")),
    ("checkpoint.truncated", _("{name} is damaged or incomplete; fetch it again.")),
    ("checkpoint.unknown_family", _(
        "{what}; it runs {families} and the built-in model. Give another file, or name its family if it "
        "is one of these."
    )),
    ("checkpoint.unreadable", _(
        "{name} is neither a safetensors nor a PyTorch file; give the weights file as it was published."
    )),
    ("checkpoint.unreadable", _(
        "{name} should hold named tensors, but holds a {name2}; save the state_dict."
    )),
    ("checkpoint.unsafe", _(
        "{name} holds more than numbers (Python objects that could run code), so it was not opened. Get a"
        " weights-only or safetensors version from its source."
    )),
    ("checkpoint.unsafe", _(
        "{name} would unpack to {unpacked} bytes, far more than its own size; it was not opened."
    )),
    ("checkpoint.unsafe_torch", _(
        "Reading {name} safely needs PyTorch >= {safe_torch}.{safe_torch2}, this is {version} "
        "(CVE-2026-24747); upgrade PyTorch, or use a .safetensors file."
    )),
    ("device.missing", _(
        "Device {wish} was asked for, but PyTorch {version} sees {count} CUDA devices; use --device cpu "
        "(or auto), or install a CUDA build of PyTorch and the NVIDIA driver."
    )),
    ("device.precision", _("Precision must be one of {precisions}; got {precision}.")),
    ("device.precision", _(
        "{device} has no instructions for {precision} and would only emulate it, many times slower than "
        "fp32; use precision auto or fp32."
    )),
    ("device.unknown", _("Device must be auto, cpu, cuda or cuda:N; got {wish}.")),
    ("device.unusable", _(
        "Device {wish} is there, but PyTorch {version} cannot compute on it ({fault}); use --device cpu "
        "(or auto), or install a PyTorch build for this GPU and driver."
    )),
    ("download.broken", _("{host} sent no weights. {message}")),
    ("download.changed", _(
        "{host} now has another {file_name} than the one first seen here (SHA-256 was {seen}, is "
        "{sha256}); it was removed. If the change is meant: segment-anything-med models download {name} "
        "--accept-change."
    )),
    ("download.disk_full", _("The disk is full; {name} was not taken in.")),
    ("download.folder", _(
        "Cannot write to {model_folder}: {reason}. Let {folder_variable} name a folder that can be "
        "written."
    )),
    ("download.manual", _("{name} cannot be fetched by a program. {entry}")),
    ("download.offline", _(
        "{file_name} is not on this machine, and the network may not be used (offline). {entry}"
    )),
    ("download.sha256", _(
        "{host} sent another file than {file_name} (SHA-256 should be {sha256}, is {sha2562}); it was "
        "removed."
    )),
    ("input.missing", _("{source} is not a file; give the path of a weights file.")),
    ("input.unreadable", _("{source} cannot be read: {strerror}.")),
    ("licence.not_accepted", _(
        "{entry} Nothing was downloaded; to accept it: segment-anything-med models download {name} "
        "--accept-licence."
    )),
    ("licence.research_only", _("{entry} {commercial_variable} is set, so it is not downloaded.")),
    ("model.file_name", _(
        "Expected a plain file name of letters, digits, '.', '_' and '-' that ends in {suffixes}; got "
        "{name}. Rename the file."
    )),
    ("model.name", _(
        "Expected a name of lower-case letters, digits, '.', '_' and '-' (at most 64); got {name}."
    )),
    ("model.name_taken", _("Another model has the file name {file_name}; rename the file.")),
    ("model.name_taken", _("{name} is the file of {name2}, not of {wish}.")),
    ("model.name_taken", _("{name} names itself {name2}, which is taken.")),
    ("model.name_taken", _(
        "{target} is there already, with other content. It was left as it is; remove or rename it first."
    )),
    ("model.nan", _("The network returned numbers that are not finite; is the image finite?")),
    ("model.nan", _(
        "The {part} of {name} returned NaN or infinity in float32; its weights may be damaged. Check the "
        "checkpoint, or use another model."
    )),
    ("model.needs_prompt", _(
        "The model {name} always needs a prompt; choose weights of SAM or SAM 2 tuned to the object."
    )),
    ("model.no_references", _("The model {name} does not use references.")),
    ("model.no_tokens", _("The model {name} offers no features that could be compared.")),
    ("model.not_ours", _(
        "{path} was not put there by this program, or was changed since; it was left. Delete it yourself."
    )),
    ("model.package", _(
        "SAM 2 and MedSAM2 need the Python package sam2, which cannot be imported here ({error}). Install"
        " it after torch with: {install}"
    )),
    ("model.segment_anything", _("Expected the Python package segment-anything to be installed; it is not.")),
    ("model.shipped", _("{name} comes with the package; choose another name.")),
    ("model.shipped", _("{name} comes with the package; there is nothing to download.")),
    ("model.shipped", _("{name} is part of the package and stays.")),
    ("model.unknown", _("There is no model {name} ({name2}).")),
    ("model.unknown", _(
        "There is no model {wish} ({wish2}); give one of these names or the path of a checkpoint file."
    )),
    ("model.unrecognised", _(
        "{name} is none of the known files (SHA-256 {sha256}).{hint} Say what it is: --as NAME for a "
        "model of the list, or --as NAME --family FAMILY for another one."
    )),
    ("prompt.empty", _("A prompt needs at least one point, a box or a mask; got none of them.")),
    ("prompt.empty", _("Expected a point, a box or a mask that is not too small for the network; got none.")),
    ("prompt.mask_input", _(
        "mask_input must be the low-resolution logits of a decode, shape {side}; got {mask_input}. Give a"
        " mask of the slice as prompts.mask instead."
    )),
    ("prompt.references", _("The weights of {name} do not use references; leave them.")),
)  # fmt: skip
