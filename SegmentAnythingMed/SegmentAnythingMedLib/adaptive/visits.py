"""Yesterday's contours to today's scan: registration proposes, the model segments, appearance arbitrates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..models.interface import PromptableModel
from ..progress import Progress
from ..prompts.types import SlicePrompts
from ..space.volume import Volume
from .visit_results import Adaptation, PriorVisit, SliceDecision, StructureChanges, StructureResult
from .visit_settings import VisitSettings

if TYPE_CHECKING:
    from .preflight import VisitFacts
    from .transforms import VisitTransform

__all__ = ["Adaptation", "PriorVisit", "SliceDecision", "StructureChanges", "StructureResult", "adapt"]


def adapt(
    prior: PriorVisit,
    follow_up: Volume,
    model: PromptableModel,
    *,
    structures: Sequence[str] | None = None,
    transform: str | VisitTransform = "auto",
    method: str = "p2sam",
    protocol: str = "default",
    settings: VisitSettings | None = None,
    progress: Progress | None = None,
    allow: Collection[str] = (),
    facts: VisitFacts | None = None,
    prompts: Mapping[str, Mapping[int, SlicePrompts]] | None = None,
) -> Adaptation:
    """Draft contours of a follow-up visit from those of the prior visit.

    Args:
        prior: image and masks of the earlier visit; never modified.
        follow_up: today's image; never modified.
        model: an open model.
        structures: names of those wanted; all when None.
        transform: ``auto`` registers, ``none`` compares equal places in the patient, or a transform that maps points
            of the follow-up to points of the prior.
        method: ``p2sam``; ``registration`` offers the warped masks only; or a one-shot baseline, slice by slice.
        protocol: ``default``, or ``published`` for the published slice pairing (for comparisons).
        settings: defaults when None.
        progress: told of every step; its ``cancel`` ends the work and keeps the structures that are finished.
        allow: codes of preflight findings that are accepted (``visits.patient``...); recorded in the findings.
        facts: what the headers say of the follow-up, or None.
        prompts: structure -> slice -> prompts of a person, in place of the chosen ones on those slices.

    Returns:
        One result per structure; nothing of the prior's is changed.

    Raises:
        InputError: ``visits.structures`` for unknown names; ``visits.*`` of the preflight; ``option.*``.
    """
    raise NotImplementedError
