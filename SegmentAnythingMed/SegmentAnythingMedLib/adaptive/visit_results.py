"""What the prior-visit mode is given and what it returns: plain records, with a reason for everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..prompts.types import SlicePrompts
from ..space.volume import Volume

if TYPE_CHECKING:
    from .agreement import Agreement
    from .flags import Flag
    from .preflight import PreflightFinding, VisitFacts
    from .registration import RegistrationReport
    from .transforms import VisitTransform
    from .visit_settings import VisitSettings

FOUND, RESOLVED, NOT_IN_IMAGE, REGISTRATION_ONLY = "found", "possibly resolved", "not in image", "registration only"
OUTCOMES = (FOUND, RESOLVED, NOT_IN_IMAGE, REGISTRATION_ONLY)

PRESENT, ABSENT, OUTSIDE = "present", "absent", "outside"
"""Outcomes of a slice: the structure is on it, is not, or the slice was not looked at because it lies too far away."""

SEGMENTED, PROPAGATED, MATCHED, WARPED, EDITED = "segmented", "propagated", "matched", "warped", "edited"
"""Sources of a slice's mask: the model from the warped mask and the prior's look; the same from the neighbouring
slice; part matches (P2SAM); the warped mask itself; prompts of a person."""


@dataclass(frozen=True, eq=False)
class PriorVisit:
    """The earlier visit: an image and what was contoured on it. Nothing in it is ever modified.

    Attributes:
        volume: the image.
        masks: structure -> bool [K, J, I] on the volume's grid, none empty.
        facts: what the headers say of the visit, or None.
        sources: structure -> where its contour comes from, for reports (``RTSTRUCT``, a file's name), may be empty.

    Raises:
        InputError: ``visits.structures`` without any structure; ``segment.shape`` for a mask of another shape;
            ``segment.empty`` for an empty mask.
    """

    volume: Volume
    masks: Mapping[str, np.ndarray]
    facts: VisitFacts | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.masks:
            raise InputError("visits.structures", "Expected at least one structure of the prior visit; got none.")
        checked = {}
        for name, mask in self.masks.items():
            mask = np.asarray(mask)
            if mask.shape != self.volume.shape:
                raise InputError(
                    "segment.shape",
                    f"Expected a mask of shape {self.volume.shape} for {name}, on the grid of the prior image; got "
                    f"{mask.shape}.",
                )
            mask = mask.astype(bool, copy=False).view()
            if not mask.any():
                raise InputError("segment.empty", f"The structure {name} is empty on the prior visit; leave it out.")
            mask.setflags(write=False)
            checked[name] = mask
        object.__setattr__(self, "masks", checked)


@dataclass(frozen=True, eq=False)
class SliceDecision:
    """What was decided about one structure on one slice of the follow-up, and why.

    Attributes:
        index: slice of ``Adaptation.axis``.
        outcome: ``present``, ``absent`` or ``outside``.
        source: how the mask was made (``segmented``, ``propagated``, ``matched``, ``warped``, ``edited``); empty when
            absent.
        area_mm2: of the mask of this slice.
        rho: appearance distance to the prior as a multiple of the prior's own; None where nothing was measured.
        predicted_iou: the model's own estimate, 0..1, or None.
        displacement_mm: distance of the centroid from the warped one, or None.
        candidates: source -> score (lower is better) of everything that was tried.
        words: one sentence.
        prompts: what the model was given; may be edited and handed back to :func:`adapt`.
    """

    index: int
    outcome: str
    source: str = ""
    area_mm2: float = 0.0
    rho: float | None = None
    predicted_iou: float | None = None
    displacement_mm: float | None = None
    candidates: Mapping[str, float] = field(default_factory=dict)
    words: str = ""
    prompts: SlicePrompts | None = None


@dataclass(frozen=True)
class StructureChanges:
    """Size on both visits.

    Attributes:
        prior_ml, follow_up_ml: volumes.
        prior_diameter_mm, follow_up_diameter_mm: longest in-plane diameters.
        volume_percent, diameter_percent: change relative to the prior, -100 when nothing is left.
        centroid_shift_mm: distance of the draft's centroid from the warped one; None without a draft.
    """

    prior_ml: float
    follow_up_ml: float
    prior_diameter_mm: float
    follow_up_diameter_mm: float
    volume_percent: float
    diameter_percent: float
    centroid_shift_mm: float | None


@dataclass(frozen=True, eq=False)
class StructureResult:
    """The draft of one structure on the follow-up.

    Attributes:
        name: as on the prior visit.
        outcome: ``found``, ``possibly resolved``, ``not in image`` or ``registration only``.
        mask: the draft that is offered, bool [K, J, I] of the follow-up; all False when there is nothing to offer.
        segmented: S, what the model found, joined with W where the visits look alike.
        warped: W, the prior's mask through the transform.
        flag: green, amber or red with reasons and slices.
        agreement: the figures behind the flag, of the model's own answer and W (``volume_to_prior``: of S); None where
            they cannot be compared.
        slices: one decision per slice that was looked at, in order.
        changes: sizes on both visits.
        prompts: slice -> prompts used, editable.
        heat_map: float32 [K, J, I] likeness to the prior's structure 0..1, for a structure that was not found; or None.
        remarks: sentences.
    """

    name: str
    outcome: str
    mask: np.ndarray
    segmented: np.ndarray
    warped: np.ndarray
    flag: Flag
    agreement: Agreement | None
    slices: tuple[SliceDecision, ...]
    changes: StructureChanges
    prompts: Mapping[int, SlicePrompts]
    heat_map: np.ndarray | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What :func:`~SegmentAnythingMedLib.adaptive.visits.adapt` returns.

    Attributes:
        structures: structure -> result, in the order of the prior's masks.
        axis: voxel axis of the follow-up's slices (``k``, ``j``, ``i``).
        transform: maps points of the follow-up to points of the prior, LPS mm.
        registration: how well it fits; None for a given transform or none.
        findings: of the preflight, overrides included.
        settings: as used.
        method: ``p2sam``, ``registration``...
        protocol: ``default`` or ``published``.
        model: identity of the model for a report (name, family, sha256...).
        remarks: sentences for the user.
        seconds: wall time by step.
        counts: encodes and decodes of both visits.
        completed: False after a cancel; structures then holds those that were finished.
    """

    structures: dict[str, StructureResult]
    axis: str
    transform: VisitTransform
    registration: RegistrationReport | None
    findings: tuple[PreflightFinding, ...]
    settings: VisitSettings
    method: str
    protocol: str
    model: Mapping[str, Any]
    remarks: tuple[str, ...]
    seconds: dict[str, float]
    counts: dict[str, int] = field(default_factory=dict)
    completed: bool = True
