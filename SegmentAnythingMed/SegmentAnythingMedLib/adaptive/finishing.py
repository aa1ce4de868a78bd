"""A draft with its figures: what is offered, how far both opinions agree, and how much it needs a person's eye."""

from __future__ import annotations

import numpy as np

from . import visit_results as words_of
from .changes import changes_between
from .drafting import VisitPair
from .flags import AMBER, Flag
from .registration import RegistrationReport
from .structures import Draft
from .visit_results import StructureResult
from .warping import WarpedMask


def offered(draft: Draft, policy: str) -> np.ndarray:
    """The mask that is offered: S where something was found, W where only the registration speaks, else nothing."""
    if draft.outcome == words_of.REGISTRATION_ONLY:
        return draft.warped
    if draft.outcome != words_of.FOUND:
        return np.zeros_like(draft.warped)
    return draft.warped if policy == "warped" else draft.segmented


def finished(draft: Draft, pair: VisitPair, warped: WarpedMask, report: RegistrationReport | None) -> StructureResult:
    """The result of one structure."""
    mask = offered(draft, pair.settings.policy_of(draft.name))
    prior_mask = pair.prior.masks[draft.name]
    changes = changes_between(pair.prior.volume, prior_mask, pair.follow_up, mask, draft.warped)
    for array in (mask, draft.segmented, draft.warped):
        array.setflags(write=False)
    return StructureResult(
        draft.name, draft.outcome, mask, draft.segmented, draft.warped, Flag(AMBER, ("not assessed",)), None,
        draft.slices, changes, draft.prompts, draft.heat_map, draft.remarks,
    )  # fmt: skip
