"""What a structure is made of: a classifier of single voxels, learnt on the prior visit of this very patient.

The prior's contour labels every voxel in and around the structure. A forest of random trees learns from them what
brightness, blurred brightness, texture and edges tell inside from outside, and reads them on the follow-up. It knows
nothing of shape and place, which is what the model and the warped contour know, so it errs elsewhere: where a tumour
has grown it recognises the new part, however the registration has bent the old contour.

It is heard as far as it is right: every block of slices of the prior is classified by trees that have not seen it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from .mask_distance import distance_to
from .packages import forest_class

AROUND_MM = 12.0
"""Depth of the shell in and around the structure that is learnt from."""
BLURS_MM = (1.0, 2.0, 4.0)
EDGE_MM = 1.5
MOST_SAMPLES = 4000
"""Voxels inside, and as many outside, that the trees are shown."""
FEWEST_SAMPLES = 60
FINE_MM = 1.0
"""Voxels are thinned out as far as they stay at most this far apart: the least blur is no finer."""
BLOCKS = 6
"""Blocks of slices; odd ones are classified by trees that saw the even ones, and the reverse."""
LEAST_ACCURACY, HEARD = 0.75, (0.85, 0.97)
"""Accuracy on unseen slices (0.5 is guessing) below which there is no classifier; from which it has a voice in where
the border lies, and from which a full one."""
SMOOTH_MM = 1.0
SUREST = 0.99
ELSEWHERE = -3.0
"""Logit where nothing is asked."""


@dataclass(frozen=True, eq=False)
class Tissue:
    """A classifier of voxels.

    Attributes:
        accuracy: mean of the shares of voxels inside and outside that are told rightly on unseen slices, 0..1.
        voice: how much it should be heard, 0..1.
    """

    accuracy: float
    _forest: Any

    @property
    def voice(self) -> float:
        """From ``accuracy``."""
        return float(np.clip(np.interp(self.accuracy, HEARD, (0.0, 1.0)), 0.0, 1.0))

    def logits(self, image: np.ndarray, where: np.ndarray, spacing: np.ndarray) -> np.ndarray:
        """Whether voxels look like the structure.

        Args:
            image: float32 [N, H, W] in the brightness of the prior.
            where: bool [N, H, W], the voxels in question.
            spacing: (slice, row, column) in mm.

        Returns:
            float32 [N, H, W], smoothed; low where nothing was asked.
        """
        step = _step(spacing)
        seen, asked = image[_every(step)], where[_every(step)]
        out = np.full(seen.shape, ELSEWHERE, dtype=np.float32)
        if asked.any():
            inside = self._forest.predict_proba(voxel_features(seen, spacing * step)[asked])[:, 1]
            inside = np.clip(inside, 1 - SUREST, SUREST)
            out[asked] = np.log(inside / (1 - inside))
        out = ndimage.gaussian_filter(out, SMOOTH_MM / (spacing * step))
        if seen.shape == image.shape:
            return out
        return ndimage.affine_transform(out, 1.0 / step, 0.0, image.shape, order=1, mode="nearest")


def learn_tissue(image: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> Tissue | None:
    """Learn from a labelled image; None where too little can be learnt, or what was learnt says little elsewhere.

    Args:
        image: float32 [N, H, W], the prior, 0..1.
        mask: bool [N, H, W], the structure.
        spacing: (slice, row, column) in mm.

    Raises:
        InputError: ``adaptive.package`` without scikit-learn.
    """
    step = _step(spacing)
    image, mask, spacing = image[_every(step)], mask[_every(step)], spacing * step
    depth = distance_to(mask, spacing) - distance_to(~mask, spacing)
    shell = (np.abs(depth) <= AROUND_MM) & (np.abs(depth) > 0.3 * spacing[1])  # the very border is neither
    features, inside = voxel_features(image, spacing)[shell], mask[shell]
    slices = np.nonzero(shell)[0]
    random = np.random.default_rng(0)
    halves = (slices // max(1, len(np.unique(slices)) // BLOCKS)) % 2
    rights = []
    for half in (0, 1):
        taught = _balanced(inside, halves != half, random)
        asked = halves == half
        if taught is None or not inside[asked].any() or inside[asked].all():
            return None
        said = _trained(features[taught], inside[taught]).predict(features[asked])
        rights += [(said == inside[asked])[inside[asked] == side].mean() for side in (True, False)]
    accuracy = float(np.mean(rights))
    if accuracy < LEAST_ACCURACY:
        return None
    taught = _balanced(inside, np.ones(len(inside), dtype=bool), random)
    return Tissue(accuracy, _trained(features[taught], inside[taught]))


def _step(spacing: np.ndarray) -> np.ndarray:
    """Voxels from one that is looked at to the next, per axis: more than one where they are finer than what counts."""
    return np.maximum(1, np.floor(FINE_MM / spacing + 1e-6)).astype(int)


def _every(step: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(None, None, int(n)) for n in step)


def voxel_features(image: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Brightness, blurred brightness, texture and edges, float32 [N, H, W, 6].

    Args:
        image: float32 [N, H, W].
        spacing: (slice, row, column) in mm.
    """
    blurred = [ndimage.gaussian_filter(image, mm / spacing) for mm in BLURS_MM]
    variance = ndimage.gaussian_filter(image**2, BLURS_MM[1] / spacing) - blurred[1] ** 2
    edges = ndimage.gaussian_gradient_magnitude(image, EDGE_MM / spacing)
    return np.stack([image, *blurred, np.sqrt(np.maximum(variance, 0.0)), edges], axis=-1)


def _balanced(inside: np.ndarray, among: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    """Indices of equally many voxels of both sides; None for too few."""
    sides = [np.flatnonzero(among & (inside == side)) for side in (True, False)]
    count = min(*map(len, sides), MOST_SAMPLES)
    if count < FEWEST_SAMPLES:
        return None
    return np.concatenate([random.choice(side, count, replace=False) for side in sides])


def _trained(features: np.ndarray, inside: np.ndarray) -> Any:
    forest = forest_class()(n_estimators=60, min_samples_leaf=10, random_state=0, n_jobs=1)
    return forest.fit(features, inside)
