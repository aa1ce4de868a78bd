"""``evaluate PRED REF``: metrics of a mask against a reference, whatever kind of file either is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.images import load_volume
from ..files.structures import LABELS, LoadedStructures, Structure, load_structures, pick, structure_kind
from ..progress import Progress
from ..space.volume import Volume
from .arguments import parse_whole
from .terminal import ProgressBar, print_json, warn

_SHOWN = (
    ("Dice", "dice", ""),
    ("NSD (2 mm)", "nsd", ""),
    ("HD95", "hd95_mm", "mm"),
    ("ASSD", "assd_mm", "mm"),
    ("volume of prediction", "volume_prediction_ml", "ml"),
    ("volume of reference", "volume_reference_ml", "ml"),
    ("difference", "volume_error_ml", "ml"),
)


def run_evaluate(options: argparse.Namespace) -> None:
    """Compare on the grid of the reference, of the prediction, or of ``--image``: the first that has one.

    Raises:
        InputError: ``option.label``, ``option.image`` when neither file has a grid; ``structures.*`` and those of the
            files.
    """
    label = parse_whole(options.label, "label", lowest=1)
    if label is not None and options.structure is not None:
        raise InputError("option.label", "Expected either --label or --structure; got both.")
    wanted = options.structure if label is None else str(label)
    with ProgressBar() as bar:
        progress = Progress(bar.listen)
        progress.start("Reading the masks")
        grid = _grid(options.reference, options.prediction, options.image)
        reference = load_structures(options.reference, grid)
        prediction = load_structures(options.prediction, grid)
        notes = [*prediction.notes, *reference.notes]
        masks = [
            _chosen(prediction, wanted, Path(options.prediction).name, notes, grid, _lenient),
            _chosen(reference, wanted, Path(options.reference).name, notes, grid, _strict(label)),
        ]
        progress.start("Measuring")
        from ..evaluation.metrics import evaluate_masks

        found = evaluate_masks(*masks, grid.spacing.tolist())
    warn(notes)
    if options.json:
        print_json({"label": label, "structure": options.structure, **found, "warnings": notes})
        return
    for name, key, unit in _SHOWN:
        print(f"{name:24}{found[key]:10.4f} {unit}".rstrip())
    if found["flag"]:
        print(f"{'flag':24}{found['flag']:>10}")


def _grid(reference: str, prediction: str, image: str | None) -> Volume:
    """The volume on which masks are compared."""
    if image is not None:
        return load_volume(image)
    for path in (reference, prediction):
        if structure_kind(path) is None:
            return load_volume(path)
    raise InputError(
        "option.image",
        "DICOM structures have no grid of their own; give the image that they belong to: --image IMAGE.",
    )


Select = Callable[[LoadedStructures, str, str, list[str]], list[Structure]]


def _chosen(
    loaded: LoadedStructures, wanted: str | None, name: str, notes: list[str], grid: Volume, select: Select
) -> np.ndarray:
    """The voxels to compare, bool [K, J, I]."""
    structures = list(loaded.structures)
    if wanted is not None:
        structures = select(loaded, wanted, name, notes)
    elif len(structures) > 1:
        what = "labels" if loaded.kind == LABELS else "structures"
        choose = "--label N" if loaded.kind == LABELS else "--structure NAME"
        notes.append(f"{name} has {len(structures)} {what}; all were taken together ({choose} chooses one).")
    notes += [f"{one.name}: {note}" for one in structures for note in one.notes]
    notes += [f"{one.name} of {name} counts as empty: {one.why}." for one in structures if one.why]
    mask = np.zeros(grid.shape, dtype=bool)
    for one in structures:
        mask |= one.mask
    return mask


def _lenient(loaded: LoadedStructures, wanted: str, name: str, notes: list[str]) -> list[Structure]:
    """A prediction of one structure stands for the wanted one, whatever it is called; none at all is an empty one."""
    try:
        return _picked(loaded, wanted)
    except InputError as error:
        if error.code != "structures.unknown" or len(loaded.structures) > 1:
            if loaded.kind == LABELS and wanted.isdecimal():
                return []  # the label was not predicted
            raise
    for one in loaded.structures:
        kind = f"one label, {one.number}" if loaded.kind == LABELS else f"one structure, {one.name}"
        label = f"label {wanted}" if wanted.isdecimal() else wanted
        notes.append(f"{name} holds {kind}; it was compared with {label} of the reference.")
    return list(loaded.structures)


def _strict(label: int | None) -> Select:
    def select(loaded: LoadedStructures, wanted: str, name: str, notes: list[str]) -> list[Structure]:
        """The structures meant; a choice that does not fit is told as that file's."""
        try:
            return _picked(loaded, wanted)
        except InputError as error:
            if label is None or error.code != "structures.unknown":
                raise
        shown = ", ".join(str(one.number) for one in loaded.structures[:20]) or "none"
        raise InputError("option.label", f"Expected a label of {name} (it has {shown}); got {label}.")

    return select


def _picked(loaded: LoadedStructures, wanted: str) -> list[Structure]:
    given = [(one.number, one.name) for one in loaded.structures]
    return [loaded.structures[n] for n in pick(given, [wanted])]
