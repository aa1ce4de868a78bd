"""A draft with its figures: what is offered, how far both opinions agree, and how much it needs a person's eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import visit_results as words_of
from .agreement import Agreement, measure_agreement
from .changes import changes_between
from .drafting import VisitPair
from .flags import raise_flag
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
    agreement = _agreement(draft, pair, changes.prior_ml)
    flag = raise_flag(draft.outcome, agreement, report, structure=draft.name, warped=warped, remarks=draft.doubts)
    for array in (mask, draft.segmented, draft.warped):
        array.setflags(write=False)
    return StructureResult(
        draft.name, draft.outcome, mask, draft.segmented, draft.warped, flag, agreement,
        draft.slices, changes, draft.prompts, draft.heat_map, draft.remarks,
    )  # fmt: skip


def _agreement(draft: Draft, pair: VisitPair, prior_ml: float) -> Agreement | None:
    """The model's own answer against W, which S has been joined with; None where there is no S."""
    if draft.outcome != words_of.FOUND:
        return None
    agreement = measure_agreement(
        draft.own, draft.warped, pair.follow_up, prior_ml=prior_ml, axis=pair.axis, box_only=draft.boxed,
        distance_ratio=_median([d.rho for d in draft.slices]),
        predicted_iou=_median([d.predicted_iou for d in draft.slices]),
    )  # fmt: skip
    volume_ml = np.count_nonzero(draft.segmented) * pair.follow_up.voxel_ml
    return replace(agreement, volume_to_prior=volume_ml / prior_ml)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.median(known)) if known else None
