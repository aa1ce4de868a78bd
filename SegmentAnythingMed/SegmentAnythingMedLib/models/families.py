"""Which family a checkpoint belongs to: that decides how its images must be prepared.

Wrong normalisation is a silent error, so a family is never guessed. In this order it is taken from: the caller; the
file's hash, when it is a published or registered one; the sidecar ``<file>.json``; the tensors, when only one family
has such; the name of a published file, with a note in the report. Else an error lists the choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ModelError
from .checkpoints import Checkpoint
from .layouts import SAM, SAM2, SAM_MED2D, TINY_VIT, Layout, foreign_layout, layout_of
from .preparation import PREPARATIONS


@dataclass(frozen=True)
class Family:
    """A network with a way to prepare images.

    Attributes:
        title: what people call it.
        networks: layouts (``layouts``) that its checkpoints can have.
        preparation: key of :data:`~SegmentAnythingMedLib.models.preparation.PREPARATIONS`.
        image_size: side of the network's input where the tensors do not tell it, else None.
    """

    title: str
    networks: tuple[str, ...]
    preparation: str
    image_size: int | None = None


FAMILIES = {
    "sam": Family("SAM", (SAM,), "sam"),
    "medicosam": Family("MedicoSAM", (SAM,), "sam"),
    "medsam": Family("MedSAM", (SAM,), "medsam"),
    "sam2": Family("SAM 2", (SAM2,), "sam2", 1024),
    "medsam2": Family("MedSAM2", (SAM2,), "medsam2", 512),
    "sam-med2d": Family("SAM-Med2D", (SAM_MED2D, SAM), "sam-med2d"),
    "mobile-sam": Family("MobileSAM", (TINY_VIT,), "sam", 1024),
    "lite-medsam": Family("LiteMedSAM", (TINY_VIT,), "lite-medsam", 256),
}
"""Families that this version runs; the built-in model (``embedded``) opens by itself."""

PREPROCESSING = {name: family.preparation for name, family in FAMILIES.items()}
"""Family -> how its images are prepared."""

_FILE_NAMES = (  # parts of the names of published files, the longer ones first
    ("medsam2", "medsam2"),
    ("medicosam", "medicosam"),
    ("vit_b_medical_imaging", "medicosam"),
    ("sam-med2d", "sam-med2d"),
    ("medsam", "medsam"),
    ("sam2.1_hiera_", "sam2"),
    ("sam_vit_b_01ec64", "sam"),
)


@dataclass(frozen=True)
class Identity:
    """What a checkpoint is.

    Attributes:
        family: key of :data:`FAMILIES`.
        variant: size within the family.
        name, licence, source: for :class:`~SegmentAnythingMedLib.models.interface.ModelInfo`.
        network: layout of the tensors.
        preparation: how images are prepared; the family's, unless registered otherwise.
        image_size: side of the network's input where the tensors do not tell it, else None.
        notes: what the user should know, e.g. what the family was taken from.
    """

    family: str
    variant: str
    name: str
    licence: str
    source: str
    network: str
    preparation: str
    image_size: int | None = None
    notes: tuple[str, ...] = ()


def identify(
    checkpoint: Checkpoint, family: str | None = None, known: Mapping[str, Mapping[str, str]] | None = None
) -> Identity:
    """Tell what a checkpoint is.

    Args:
        checkpoint: from :func:`~SegmentAnythingMedLib.models.checkpoints.read_checkpoint`.
        family: what the caller says it is, or None.
        known: SHA-256 -> what is known of a published or registered file: ``name``, ``family``, ``licence``, ``source``
            and, where they differ from the family's, ``preprocessing`` and ``image_size``.

    Raises:
        ModelError: ``checkpoint.unknown_family`` when this version cannot run it, with what was seen;
            ``checkpoint.ambiguous`` when it may be one of several families, with the choices; ``checkpoint.mismatch``
            when what is said of it and its tensors disagree.
    """
    layout = layout_of(checkpoint.tensors)
    if layout is None:
        seen = foreign_layout(checkpoint.tensors)
        raise _unknown(f"{checkpoint.file_name} looks like {seen}, which this version cannot run")
    published = dict((known or {}).get(checkpoint.sha256, {}))
    facts = {**checkpoint.sidecar, **published}
    decided, notes = _decide(checkpoint, layout, family, published)
    if decided not in FAMILIES:
        raise _unknown(f"Family {decided!r} of {checkpoint.file_name} is not one that this version runs")
    chosen = FAMILIES[decided]
    _check_agreement(checkpoint.file_name, layout, decided, facts.get("variant"))
    preparation = chosen.preparation if family else facts.get("preprocessing", chosen.preparation)
    preparation = PREPROCESSING.get(preparation, preparation)
    if preparation not in PREPARATIONS:
        raise _unknown(f"Preprocessing {preparation!r} of {checkpoint.file_name} is not one that this version knows")
    return Identity(
        family=decided,
        variant=layout.variant,
        name=facts.get("name") or checkpoint.file_name.rpartition(".")[0] or checkpoint.file_name,
        licence=facts.get("licence", "unknown"),
        source=facts.get("source", checkpoint.file_name),
        network=layout.network,
        preparation=preparation,
        image_size=_image_size(checkpoint.file_name, facts.get("image_size"), chosen.image_size),
        notes=notes,
    )


def _decide(
    checkpoint: Checkpoint, layout: Layout, family: str | None, published: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """(family, notes); raises ``checkpoint.ambiguous``."""
    sidecar = checkpoint.sidecar
    told = family or published.get("family") or sidecar.get("family") or sidecar.get("preprocessing")
    if told:
        return told, ()
    if len(layout.families) == 1:
        return layout.families[0], ()
    named = next((which for part, which in _FILE_NAMES if part in checkpoint.file_name.lower()), None)
    if named in layout.families:
        others = ", ".join(FAMILIES[name].title for name in layout.families if name != named)
        return named, (
            f"{checkpoint.file_name} was taken for {FAMILIES[named].title} by its file name; its tensors would fit "
            f"{others} too, whose images are prepared in another way. To be sure, {_how_to_name(checkpoint, named)}",
        )
    choices = ", ".join(layout.families)
    raise ModelError(
        "checkpoint.ambiguous",
        f"{checkpoint.file_name} is {layout.words}; that may be one of {choices}, and each wants its images "
        f"prepared in its own way. Tell which one it is: {_how_to_name(checkpoint, layout.families[0])}",
    )


def _how_to_name(checkpoint: Checkpoint, family: str) -> str:
    return (
        f"give the family (--family {family}, or load_model(..., family={family!r})), or put "
        f'{{"family": "{family}"}} into a file {checkpoint.file_name}.json beside it.'
    )


def _check_agreement(file_name: str, layout: Layout, family: str, variant: str | None) -> None:
    if layout.network not in FAMILIES[family].networks:
        raise ModelError(
            "checkpoint.mismatch",
            f"{file_name} was said to be {FAMILIES[family].title} ({family}), but its tensors are those of "
            f"{layout.words}. Name the family that it belongs to, or give another file.",
        )
    if variant is not None and variant != layout.variant:
        raise ModelError(
            "checkpoint.mismatch",
            f"{file_name} was said to be of variant {variant}, but its tensors are those of {layout.variant}. "
            "Check that file and description belong together.",
        )


def _image_size(file_name: str, told: str | None, usual: int | None) -> int | None:
    if told is None:
        return usual
    if not (told.isascii() and told.isdigit() and 64 <= int(told) <= 4096 and int(told) % 32 == 0):
        raise ModelError(
            "checkpoint.sidecar",
            f'"image_size" of {file_name} must be a multiple of 32 from 64 to 4096; got {told!r}. Correct it.',
        )
    return int(told)


def _unknown(what: str) -> ModelError:
    return ModelError(
        "checkpoint.unknown_family",
        f"{what}; it runs {', '.join(FAMILIES)} and the built-in model. "
        "Give another file, or name its family if it is one of these.",
    )
