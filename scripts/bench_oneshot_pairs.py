"""Pairs of a slice on which an object is known and a slice on which it is looked for, from real scans.

Where both visits share a space the reference is the labelled slice nearest to the target in the patient, and both are
shown in squares of equal size in mm around the *reference's* place: the truth of the target is used for scoring (and to
leave out slices without the object, as in the published protocol) and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from SegmentAnythingMedLib import Session, Volume, load_mask, load_volume
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.views import View, square_region, view
from SegmentAnythingMedLib.evaluation.known_truth import Change, make_follow_up

ZOOM = 3.0
"""Side of the square over the longer side of the reference's box, for models that see regions."""
MOVED = Change("moved", deformation_mm=12.0, shift_mm=8.0, gamma=0.85, noise=0.02)
"""What a scan goes through where copying the mask would be right by construction."""


@dataclass(frozen=True, eq=False)
class Visit:
    """A volume and where the object is on it, bool [K, J, I]."""

    volume: Volume
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Task:
    """One target slice.

    Attributes:
        group: kind of pair, a line of the table.
        pair: the two visits; slices of one pair are pooled to a volume Dice.
        reference: the known slice.
        target: where the object is looked for.
        truth: bool [H, W] of the target in stored pixels.
        natural: a photograph: no space in common, natural-image path.
        near: bool [H, W], where methods are told to look, or None.
    """

    group: str
    pair: str
    reference: Reference
    target: View
    truth: np.ndarray
    natural: bool = False
    near: np.ndarray | None = None


def tasks(data: Path, model: Any, *, zoom: float = ZOOM, most: int = 4, only: str = "") -> Iterator[Task]:
    """All tasks of all pairs, ``most`` slices a pair, evenly spread; ``only`` is part of the group's name."""
    for group, pair, before, after in visits(data, only):
        yield from sliced(group, pair, before, after, model, zoom, most)
    if only in "photographs":
        yield from photographs(data / "natural-oneshot", model)


def visits(data: Path, only: str = "") -> Iterator[tuple[str, str, Visit, Visit]]:
    """(group, pair, prior, follow-up) of all medical pairs."""
    for maker in (cardiac, brain, lesions, other_modality, moved_copies):
        if only in maker.__name__.replace("_", " "):
            for pair, before, after in maker(data):
                yield maker.__name__.replace("_", " "), pair, before, after


def read(image: Path, labels: Path, value: int | None = None, modality: str | None = None) -> Visit:
    """A volume with one of its labels, or all of them; NIfTI does not say the modality."""
    volume = load_volume(image)
    volume = volume if modality is None else replace(volume, modality=modality)
    found = np.asarray(load_mask(labels, volume))
    return Visit(volume, found > 0 if value is None else found == value)


def moved(visit: Visit, seed: int) -> Visit:
    """The scan deformed, its object shifted, with another contrast and new noise; the truth goes along."""
    made = make_follow_up(visit.volume, {"object": visit.mask}, MOVED, seed)
    return Visit(made.volume, made.masks["object"])


def cardiac(data: Path) -> Iterator[tuple[str, Visit, Visit]]:
    """The same heart at end-diastole and end-systole, both ways; nothing is made up."""
    for folder in sorted((data / "mr-cardiac-cine-two-phases").glob("SC-*")):
        relaxed, contracted = (read(folder / f"image_{p}.nrrd", folder / f"lv_{p}.nrrd") for p in ("ed", "es"))
        yield f"{folder.name} ED to ES", relaxed, contracted
        yield f"{folder.name} ES to ED", contracted, relaxed


def brain(data: Path) -> Iterator[tuple[str, Visit, Visit]]:
    """Brain, two visits; the second is moved, since one mask serves both."""
    folder = data / "mr-brain-ms-two-visits" / "patient01"
    both = [cut(read(folder / f"visit{n}_flair.nii.gz", folder / "brainmask.nii.gz"), 20, 32) for n in (1, 2)]
    yield "visit 1 to 2, moved", both[0], moved(both[1], 0)
    yield "visit 2 to 1, moved", both[1], moved(both[0], 1)


def lesions(data: Path) -> Iterator[tuple[str, Visit, Visit]]:
    """Lesions that are new or grown at the second visit, from their largest slice to the slices beside it.

    There is no lesion mask of each visit, only one of changes: both slices are of the second visit.
    """
    folder = data / "mr-brain-ms-two-visits" / "patient01"
    first, second = (read(folder / f"visit{n}_flair.nii.gz", folder / "lesion_change.nii.gz") for n in (1, 2))
    parts, count = ndimage.label(second.mask, structure=np.ones((3, 3, 3)))
    for part in range(1, count + 1):
        mask = parts == part
        areas = mask.sum(axis=(1, 2))
        grown = second.volume.voxels[mask].mean() > first.volume.voxels[mask].mean()
        if not grown or np.count_nonzero(areas >= 20) < 2:
            continue
        largest = np.zeros_like(mask)
        largest[np.argmax(areas)] = mask[np.argmax(areas)]
        beside = mask & ~largest & (areas >= 20)[:, None, None]
        yield f"lesion {part}", Visit(second.volume, largest), Visit(second.volume, beside)


def other_modality(data: Path) -> Iterator[tuple[str, Visit, Visit]]:
    """The same tumour on another modality, moved: the original masks coincide in space."""
    for number, folder in enumerate(sorted((data / "sarcoma-ct-mr-pet").glob("STS_*"))):
        seen = {
            name: read(folder / f"{name}_image.nii.gz", folder / f"{name}_mask.nii.gz", modality=modality)
            for name, modality in (("CT", "CT"), ("MR_T1", "MR"), ("PET", "PT"))
        }
        for before, after in (("CT", "MR_T1"), ("MR_T1", "CT"), ("CT", "PET"), ("MR_T1", "PET")):
            yield f"{folder.name} {before} to {after}, moved", seen[before], moved(seen[after], number)


def moved_copies(data: Path) -> Iterator[tuple[str, Visit, Visit]]:
    """The same scan, moved, with another contrast."""
    for number, folder in enumerate(sorted((data / "sarcoma-ct-mr-pet").glob("STS_*"))):
        for name in ("CT", "MR_T1", "PET"):
            visit = read(folder / f"{name}_image.nii.gz", folder / f"{name}_mask.nii.gz")
            yield f"{folder.name} {name}, moved", visit, moved(visit, 10 + number)
    for name, value in (("bladder", 8), ("left femur", 9)):
        pelvis = data / "ct-pelvis-dicom-rtstruct"
        visit = read(pelvis / "ct", pelvis / "labels_rasterised.nrrd", value)
        visit = Visit(halved(visit.volume), visit.mask[:, ::2, ::2])
        yield f"{name} CT, moved", visit, moved(visit, 20 + value)
    nodule = read(data / "ct-lung-nodule" / "ct.nrrd", data / "ct-lung-nodule" / "nodule.nrrd")
    yield "lung nodule CT, moved", nodule, moved(nodule, 30)


def halved(volume: Volume) -> Volume:
    """Every second row and column: a deformation of 512 x 512 would take minutes."""
    steps = volume.affine.matrix @ np.diag([2.0, 2.0, 1.0, 1.0])
    return replace(volume, voxels=volume.voxels[:, ::2, ::2], affine=type(volume.affine)(steps), source=None)


def cut(visit: Visit, first: int, last: int) -> Visit:
    """Slices ``first`` to ``last`` of a volume."""
    affine = visit.volume.affine.shifted((0, 0, first))
    volume = replace(visit.volume, voxels=visit.volume.voxels[first : last + 1], affine=affine)
    return Visit(volume, visit.mask[first : last + 1])


def sliced(group: str, pair: str, before: Visit, after: Visit, model: Any, zoom: float, most: int) -> Iterator[Task]:
    """Target slices of one pair, each with the nearest labelled slice of the prior visit."""
    here, there = Session(after.volume, model, axis="k"), Session(before.volume, model, axis="k")
    truths = np.stack([here.stack.mask_slice(after.mask, n) for n in range(here.count)])
    known = np.stack([there.stack.mask_slice(before.mask, n) for n in range(there.count)])
    labelled = np.flatnonzero(truths.any(axis=(1, 2)))
    if len(labelled) > most:
        labelled = labelled[np.round(np.linspace(0, len(labelled) - 1, most + 2)[1:-1]).astype(int)]
    for index in labelled:
        number = nearest_labelled(here, int(index), there, known)
        mask = known[number]
        whole = max(extent * spacing for extent, spacing in zip(there.shape, there.pixel_spacing, strict=True))
        centre, side = square_of(mask, there.pixel_spacing, zoom, whole)
        regions: list[Any] = [None, None]
        if model.uses_regions:
            place = through(there, number, centre, here)
            regions = [square_region(there, centre, side), square_region(here, place, side)]
        reference = Reference(view(there, number, regions[0]), mask)
        yield Task(group, pair, reference, view(here, int(index), regions[1]), truths[index])


def nearest_labelled(here: Session, index: int, there: Session, known: np.ndarray) -> int:
    """The labelled slice of the prior visit that is nearest to the middle of a slice of the follow-up."""
    rows, cols = here.shape
    middle = here.volume.affine.ijk_to_lps(here.stack.to_ijk(index, [(cols / 2, rows / 2)]))
    number, _ = there.stack.to_plane(there.volume.affine.lps_to_ijk(middle))
    labelled = np.flatnonzero(known.any(axis=(1, 2)))
    return int(min(labelled, key=lambda n: (abs(n - number[0]), n)))


def square_of(
    mask: np.ndarray, spacing: tuple[float, float], zoom: float, whole: float
) -> tuple[tuple[float, float], float]:
    """Centre (x, y) of a mask's box and side in mm of the square around it, at most ``whole``."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    longest = max((rows[-1] - rows[0] + 1) * spacing[0], (cols[-1] - cols[0] + 1) * spacing[1])
    return ((cols[0] + cols[-1]) / 2, (rows[0] + rows[-1]) / 2), min(max(zoom * longest, 20 * max(spacing)), whole)


def through(there: Session, number: int, xy: tuple[float, float], here: Session) -> tuple[float, float]:
    """The same place in the patient, (x, y) on the other volume."""
    lps = there.volume.affine.ijk_to_lps(there.stack.to_ijk(number, [xy]))
    _, ((x, y),) = here.stack.to_plane(here.volume.affine.lps_to_ijk(lps))
    return float(x), float(y)


def photographs(folder: Path, model: Any) -> Iterator[Task]:
    """Every picture of the toy from every other one; whole pictures."""
    sessions, masks = [], []
    for path in sorted(folder.glob("*_mask.png")):
        volume = load_volume(folder / path.name.replace("_mask.png", ".jpg"))
        sessions.append(Session(volume, model))
        masks.append(np.asarray(load_mask(path, volume))[0] > 0)
    for a, first in enumerate(sessions):
        for b, second in enumerate(sessions):
            if a != b:
                reference = Reference(view(first, 0), masks[a])
                yield Task("photographs", f"toy {a} to {b}", reference, view(second, 0), masks[b], natural=True)
