"""A stand-in for the engine of the prior-visit mode: quick results of every kind, for tests of what is around it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from SegmentAnythingMedLib.adaptive.agreement import Agreement
from SegmentAnythingMedLib.adaptive.flags import Flag
from SegmentAnythingMedLib.adaptive.preflight import PreflightFinding
from SegmentAnythingMedLib.adaptive.registration_report import RegistrationReport
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.visit_results import (
    FOUND,
    NOT_IN_IMAGE,
    RESOLVED,
    Adaptation,
    PriorVisit,
    SliceDecision,
    StructureChanges,
    StructureResult,
)
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume, map_mask

MODEL = {"name": "stub", "family": "stub", "variant": "", "sha256": "ab" * 32, "source": "stub.bin", "licence": "MIT"}


def stub_adapt(prior: PriorVisit, follow_up: Volume, model=None, **given) -> Adaptation:
    """W is the prior's mask at the same place; S is the same, grown by a pixel in every slice.

    The last structure of three or more is ``not in image``, the one before ``possibly resolved``.
    """
    settings = given.get("settings") or VisitSettings()
    stack = SliceStack(follow_up, settings.axis)
    names = list(prior.masks)
    results = {}
    for n, (name, mask) in enumerate(prior.masks.items()):
        warped = map_mask(mask, prior.volume, follow_up)
        outcome = FOUND if len(names) < 3 or n < len(names) - 2 else (RESOLVED, NOT_IN_IMAGE)[n - len(names) + 2]
        results[name] = result_of(name, mask, prior.volume, warped, outcome, stack)
    transform = given.get("transform", "auto")
    registered = RegistrationReport("rigid", 0.1, 0.2, 0.3, words=("The visits fit.",))
    if isinstance(transform, VisitTransform):
        registered = None
    return Adaptation(
        structures=results,
        axis=stack.axis,
        transform=transform if registered is None else VisitTransform.translation((1e-6, 0.0, 0.0), "registration"),
        registration=registered,
        findings=(PreflightFinding("visits.same_study", "stop", "Both visits are of one study.", "", True),),
        settings=settings,
        method=given.get("method", "p2sam"),
        protocol=given.get("protocol", "default"),
        model=MODEL,
        remarks=("A stub did this.",),
        seconds={"segment": 0.5},
        counts={"encodes": 3},
        completed=True,
    )


def result_of(name: str, mask, prior: Volume, warped: np.ndarray, outcome: str, stack: SliceStack) -> StructureResult:
    """One structure of a given outcome."""
    nothing = np.zeros_like(warped)
    grown = ndimage.binary_dilation(warped, np.ones((1, 3, 3), bool))
    segmented = grown if outcome == FOUND else nothing
    warped = nothing if outcome == NOT_IN_IMAGE else warped
    prior_ml, today_ml = (
        float(np.count_nonzero(m)) * v.voxel_ml for m, v in ((mask, prior), (segmented, stack.volume))
    )
    decisions, prompts = [], {}
    for index in np.flatnonzero([stack.mask_slice(warped, n).any() for n in range(stack.count)]).tolist():
        if outcome == FOUND:
            rows, columns = np.nonzero(stack.mask_slice(warped, index))
            box = (columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5)
            point = np.array([[float(columns.mean()), float(rows.mean())]])
            prompts[index] = SlicePrompts(point, np.ones(1, np.int64), box, stack.mask_slice(warped, index).copy())
        decisions.append(
            SliceDecision(
                index, "present" if outcome == FOUND else "absent", "segmented" if outcome == FOUND else "", 12.5, 0.9,
                0.8, 1.25, {"segmented": 0.4, "warped": float("inf")}, "The model and the warped contour agree.",
                prompts.get(index),
            )
        )  # fmt: skip
    agreement = (
        Agreement(0.9, 0.95, 1.1, 1.1, 0.5, 0.1, 0.1, gaps_mm={decisions[0].index: float("inf")}) if decisions else None
    )
    flags = {
        FOUND: Flag("green", ("Registration and appearance agree.",)),
        RESOLVED: Flag("red", ("Nothing like it was found on the follow-up.",), (10,)),
        NOT_IN_IMAGE: Flag("amber", ("It lies outside of the follow-up.",)),
    }
    percent = 100 * (today_ml / prior_ml - 1)
    diameter = (22.0, 10.0, 0.5) if today_ml else (0.0, -100.0, None)
    changes = StructureChanges(prior_ml, today_ml, 20.0, diameter[0], percent, *diameter[1:])
    return StructureResult(
        name, outcome, segmented, segmented, warped, flags[outcome], agreement if outcome == FOUND else None,
        tuple(decisions), changes, prompts, remarks=("A remark.",) if outcome == RESOLVED else (),
    )  # fmt: skip
