"""One structure of the prior becomes a draft on the follow-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..models.interface import PromptableModel
from ..progress import Progress
from ..prompts.types import SlicePrompts
from ..space.intensity import IntensityMapping, looks_like_hu
from ..space.planes import AXES
from ..space.statistics import volume_statistics
from ..space.volume import Volume
from . import visit_results as words_of
from .arena import Arena, open_arena
from .calibration_store import CalibrationStore
from .candidates import Candidate
from .following import without_crumbs
from .fusing import fuse, surroundings
from .methods import one_shot_method
from .one_shot import OneShotMethod
from .p2sam_settings import P2SAMSettings
from .pictures import Pictures, pictures_of
from .searching import Search, search
from .slicewise import search_slicewise
from .structures import Draft, decisions_of
from .tissue import Tissue, learn_tissue
from .tissue_evidence import weighed
from .transforms import VisitTransform
from .visit_results import PriorVisit
from .visit_settings import VisitSettings

NOT_SEEN = -2.0
"""Logit of slices on which the model found nothing: the warped contour can overrule it where the visits look alike."""
DOUBTFUL, LEAST_VOICE = (0.5, 0.85), 0.4
"""Predicted IoU between which the model's voice grows from the least to the full one beside the warped contour."""
MUCH_THE_SAME = 0.75
"""Dice on a slice from which the answer to the box alone is a second opinion on the same thing."""
OTHER_MODALITY = "the visits are of different modalities: how the structure looks could not be compared"
BEYOND = 3
"""Slices beyond those on which the model found the structure where it can do so."""


@dataclass(frozen=True, eq=False)
class VisitPair:
    """What all structures of two visits share.

    Attributes:
        prior, follow_up: the visits.
        model: for both.
        transform: follow-up -> prior, of the visits as a whole.
        mappings: intensities of prior and follow-up.
        axis: of the follow-up's slices.
        method, protocol: see ``adapt``.
        settings: see there.
        counts: encodes and decodes, added up.
        calibrations: of earlier jobs, or None.
    """

    prior: PriorVisit
    follow_up: Volume
    model: PromptableModel
    transform: VisitTransform
    mappings: tuple[IntensityMapping, IntensityMapping]
    axis: str
    method: str
    protocol: str
    settings: VisitSettings
    counts: dict[str, int]
    calibrations: CalibrationStore | None = None

    @cached_property
    def comparable(self) -> bool:
        """The visits show structures alike: same modality, as far as headers and values tell."""
        named = {volume.modality for volume in (self.prior.volume, self.follow_up)} - {None}
        if len(named) > 1:
            return False
        first, second = (
            looks_like_hu(volume, volume_statistics(volume.voxels)) for volume in (self.prior.volume, self.follow_up)
        )
        return first == second

    def draft(
        self,
        name: str,
        warped: np.ndarray,
        transform: VisitTransform,
        others: list[np.ndarray],
        given: Mapping[int, SlicePrompts],
        progress: Progress,
    ) -> Draft:
        """Look for one structure.

        Args:
            name: of the prior's masks.
            warped: bool [K, J, I] of the follow-up, not empty.
            transform: follow-up -> prior, for this structure.
            others: warped masks of the other structures.
            given: slice of the follow-up -> prompts of a person.
            progress: its ``cancel`` ends the work.
        """
        arena = open_arena(
            self.prior.volume, self.prior.masks[name], self.follow_up, warped, others, transform, self.model,
            self.mappings, self.axis, self.settings, comparable=self.comparable,
        )  # fmt: skip
        try:
            given = {index - arena.first: arena.cut_prompts(prompts) for index, prompts in given.items()}
            found = self._search(arena, {n: p for n, p in given.items() if 0 <= n < len(arena.warped)}, progress)
            return self._draft(name, arena, found, warped, transform)
        finally:
            for session in (arena.follow_up, arena.prior):
                for key in ("encodes", "decodes"):
                    self.counts[key] = self.counts.get(key, 0) + getattr(session.counters, key)
            arena.close()

    def _search(self, arena: Arena, given: Mapping[int, SlicePrompts], progress: Progress) -> Search:
        if self.method == "p2sam" and self.protocol == "default":
            by_parts = _of_parts if getattr(self.model, "has_tokens", False) else None
            return search(
                arena, self.settings, by_parts, given, progress, comparable=self.comparable, store=self.calibrations
            )
        published = self.protocol == "published"
        if self.method == "p2sam":
            method = one_shot_method("p2sam", P2SAMSettings(protocol="published"))
        else:
            method = one_shot_method(self.method)
        return search_slicewise(arena, method, self.settings.references, progress, paired_by_index=published)

    def _draft(self, name: str, arena: Arena, found: Search, warped: np.ndarray, transform: VisitTransform) -> Draft:
        shape, fit, pictures = self.follow_up.shape, None, None
        if self.comparable and found.calibration is not None:
            part = surroundings(arena.warped | arena.rigid | found.segmented, arena.spacing)
            pictures = pictures_of(arena, self.prior.volume, transform, self.mappings[0], part)
            tissue = learn_tissue(pictures.prior, pictures.rigid, arena.spacing)
            if not any(one.source == words_of.EDITED for one in found.followed.chosen.values()):
                found = weighed(found, tissue, pictures)
        logits, segmented = _logits(arena, found), found.segmented
        if found.outcome == words_of.FOUND and pictures is not None:
            joined, fit = self._joined(arena, found, logits, pictures, tissue)
            segmented = without_crumbs(joined, found.segmented)
        whole_logits = np.moveaxis(logits, 0, AXES.index(arena.axis)).astype(np.float16)
        words = found.words + arena.follow_up.mapping.notes[len(self.mappings[1].notes) :]
        heat = None
        if found.outcome == words_of.RESOLVED and found.place is not None:
            heat = arena.paste(found.place.heat_map, shape)
        return Draft(
            name, found.outcome, warped, arena.paste(segmented, shape), arena.paste(found.segmented, shape),
            None if found.boxed is None else arena.paste(found.boxed > 0, shape), arena.window,
            whole_logits, decisions_of(found, arena, segmented, shape), found, fit, heat, words,
            found.doubts if self.comparable else (*found.doubts, OTHER_MODALITY),
        )  # fmt: skip

    def _joined(
        self, arena: Arena, found: Search, logits: np.ndarray, pictures: Pictures, tissue: Tissue | None
    ) -> tuple[np.ndarray, float]:
        """The model's answer with the warped contour where the visits look alike, bool [N, H, W]; how well W fits."""
        part, chosen = pictures.part, found.followed.chosen
        decided = np.zeros(len(logits), dtype=bool)
        decided[max(min(chosen) - BEYOND, 0) : max(chosen) + 1 + BEYOND] = True
        joined = fuse(
            logits[part], decided[part[0]], pictures.warped, pictures.today, pictures.before, arena.spacing,
            self.settings.trust, tissue, found.calibration.dice,
        )  # fmt: skip
        mask = np.zeros_like(arena.warped)
        mask[part] = joined.mask
        for index, candidate in chosen.items():
            if candidate.source == words_of.EDITED:
                mask[index] = candidate.mask
        return mask, joined.fit


def _of_parts(count: int) -> OneShotMethod:
    """P2SAM with one number of parts."""
    return one_shot_method("p2sam", P2SAMSettings(positives=(count, count)))


def _logits(arena: Arena, found: Search) -> np.ndarray:
    """Logits of what was kept, [N, H, W]; low where nothing was.

    Where the answer to the warped box alone is much the same, both are averaged: it knows nothing of the prior's look
    and shape, so it errs elsewhere.
    """
    logits = np.full(arena.warped.shape, NOT_SEEN, dtype=np.float32)
    for index, candidate in found.followed.chosen.items():
        logits[index] = _clean(candidate)
        if found.boxed is None or candidate.source == words_of.EDITED:
            continue
        box = found.boxed[index] > 0
        both = np.count_nonzero(box & candidate.mask)
        if 2 * both >= MUCH_THE_SAME * (np.count_nonzero(box) + np.count_nonzero(candidate.mask)):
            logits[index] = (logits[index] + found.boxed[index]) / 2
    return logits


def _clean(candidate: Candidate) -> np.ndarray:
    """Logits that say the same as the (cleaned) mask, weaker where the model doubts itself."""
    logits = np.array(candidate.logits, dtype=np.float32)
    if candidate.predicted_iou is not None:
        logits *= np.interp(candidate.predicted_iou, DOUBTFUL, (LEAST_VOICE, 1.0))
    logits[candidate.mask] = np.maximum(logits[candidate.mask], 0.1)
    logits[~candidate.mask] = np.minimum(logits[~candidate.mask], -0.1)
    return logits
