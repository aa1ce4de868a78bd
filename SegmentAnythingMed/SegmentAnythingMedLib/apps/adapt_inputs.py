"""Both visits as they were given: images, structures, what the headers say, and the transform between them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..adaptive.preflight import VisitFacts
from ..adaptive.transform_files import load_transform
from ..adaptive.transforms import VisitTransform
from ..adaptive.visit_results import PriorVisit
from ..errors import InputError
from ..files.images import load_volume
from ..files.structures import LABELS, LoadedStructures, load_structures
from ..models.weight_files import file_sha256
from ..progress import Progress
from ..space.volume import Volume
from .adapt_request import AdaptRequest
from .pipelines import Remark
from .visit_headers import visit_facts

OTHER_FRAME = "visits.frame"
"""Code to allow structures that were drawn in another frame of reference than the prior image's."""


@dataclass(frozen=True, eq=False)
class Visits:
    """What ``adapt`` works on.

    Attributes:
        prior: the earlier visit.
        loaded: its structures as they were read.
        follow_up: today's image.
        facts: what the follow-up's headers say, or None.
        transform: ``auto``, ``none`` or a transform.
        hashes: SHA-256 of the files by role.
        remarks: what was left out or moved on the way.
    """

    prior: PriorVisit
    loaded: LoadedStructures
    follow_up: Volume
    facts: VisitFacts | None = None
    transform: str | VisitTransform = "auto"
    hashes: dict[str, str] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()


def read_visits(
    request: AdaptRequest,
    progress: Progress,
    *,
    prior_series: str | None = None,
    series: str | None = None,
    allow_gaps: bool = False,
) -> Visits:
    """Read everything that a request names.

    Raises:
        InputError: of the files; ``structures.empty`` when a structure that was asked for, or every one, has no voxel.
        Cancelled: through ``progress``.
    """
    progress.start("Reading the prior image")
    image = load_volume(request.prior, series=prior_series, allow_gaps=allow_gaps, progress=progress)
    progress.start("Reading the structures")
    loaded = read_prior_structures(request.prior_mask, image, request.structures, request.allow)
    hashes = {"prior_mask": file_sha256(request.prior_mask)} if request.prior_mask.is_file() else {}
    transform = request.transform
    if isinstance(transform, Path):
        hashes["transform"] = _checked_sha256(transform)
    progress.start("Reading the follow-up image")
    follow_up = load_volume(request.follow_up, series=series, allow_gaps=allow_gaps, progress=progress)
    if isinstance(transform, Path):
        transform = load_transform(transform, image, follow_up)
    facts = visit_facts(follow_up)
    prior = PriorVisit(image, loaded.masks, visit_facts(image, loaded), sources_of(request.prior_mask, loaded))
    notes = [("the prior image", image.notes), ("the follow-up", follow_up.notes)]
    remarks = [Remark("image", f"Of {who}: {note}") for who, given in notes for note in given]
    remarks += [Remark("structures", note) for note in loaded.remarks]
    return Visits(prior, loaded, follow_up, facts, transform, hashes, tuple(remarks))


def read_prior_structures(
    path: Path, image: Volume, names: Collection[str] | None, allow: Collection[str]
) -> LoadedStructures:
    """Structures of the prior, of which at least one, and every one that was named, has a voxel.

    Raises:
        InputError: ``structures.empty``, ``visits.frame``; those of ``load_structures``.
    """
    try:
        loaded = load_structures(path, image, names, other_frame=OTHER_FRAME in allow)
    except InputError as error:
        if not error.code.endswith(".frame_of_reference"):
            raise
        raise InputError(
            OTHER_FRAME,
            "The prior structures were drawn in another frame of reference than the prior image's. Give the image that"
            f" they were drawn on, or allow {OTHER_FRAME} if both are known to coincide.",
        ) from None
    lost = [one for one in loaded.structures if one.why]
    if len(lost) == len(loaded.structures) or (names is not None and lost):
        detail = "; ".join(f"{one.name}: {one.why}" for one in lost[:5]) or "the file has no structure"
        raise InputError("structures.empty", f"Expected structures with a voxel on the prior image; {detail}.")
    return loaded


def sources_of(path: Path, loaded: LoadedStructures) -> dict[str, str]:
    """Structure -> where its contour comes from, in words."""
    words = {LABELS: path.name}.get(loaded.kind, loaded.kind.upper())
    return dict.fromkeys(loaded.masks, words)


def _checked_sha256(path: Path) -> str:
    if not path.is_file():
        raise InputError("input.missing", f"{path.name} was not found; give auto, none or the file of a transform.")
    return file_sha256(path)
