"""PANet (Wang et al. 2019): every pixel goes to the nearer of two mean vectors. No decoder takes part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ...models.frame import OUTSIDE_LOGIT, Frame
from ...prompts.types import Box
from ..one_shot import OneShotResult, Reference, nothing_found, require_references
from ..parts import unit
from ..similarity import seen_pixels
from ..views import View
from .answers import allowed_pixels, answer, map_in_pixels

SCALE = 20.0
"""Factor on cosines, as published."""


class PANet:
    """Masked average pooling of upsampled features, then the class of greater cosine.

    The published network has an encoder of its own, trained in episodes; here it is the frozen encoder of the model, as
    in P2SAM's comparison. Its alignment loss exists in training only.
    """

    name = "panet"

    def segment(
        self,
        references: Sequence[Reference],
        target: View,
        *,
        restrict: np.ndarray | None = None,
        box: Box | None = None,
        avoid: np.ndarray | None = None,
    ) -> OneShotResult:
        """See :class:`~SegmentAnythingMedLib.adaptive.one_shot.OneShotMethod`.

        There are no points; ``restrict`` and ``box`` bound the mask itself.
        """
        require_references(references)
        prototypes = class_means(references)
        if prototypes is None:
            return nothing_found(target.shape)
        cosines = unit(target.tokens) @ unit(prototypes).T
        logits = map_in_pixels(target, SCALE * (cosines[..., 0] - cosines[..., 1]))
        logits[~allowed_pixels(target, restrict, box)] = OUTSIDE_LOGIT
        return answer(target, logits, avoid=avoid)


def class_means(references: Sequence[Reference]) -> np.ndarray | None:
    """Mean features of the object and of the rest, float64 [2, C]; None when a view shows only one of the two."""
    sums, weights = 0.0, np.zeros(2)
    for reference in references:
        seen = reference.view
        mask = seen.show(reference.mask).astype(bool)
        shown = seen_pixels(seen.frame)
        shape = seen.tokens.shape[:2]
        shares = np.stack([pulled_back(part & shown, seen.frame, shape).ravel() for part in (mask, ~mask)])
        sums = sums + shares @ seen.tokens.reshape(-1, seen.tokens.shape[-1]).astype(np.float64)
        weights += shares.sum(axis=1)
    return None if (weights <= 0).any() else sums / weights[:, None]


def pulled_back(mask: np.ndarray, frame: Frame, shape: tuple[int, int]) -> np.ndarray:
    """How much each cell contributes to the pixels of a mask when features are upsampled to it, float64 [h, w].

    Pooling features under a mask after bilinear upsampling is pooling cells with these weights; upsampling hundreds of
    channels to a whole slice is saved. The weights are the transpose of the (linear) upsampling, by autograd.
    """
    cells = torch.zeros(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    whole = F.interpolate(cells, size=(frame.size, frame.size), mode="bilinear")
    region = frame.region
    patch = F.interpolate(
        whole[..., : frame.content[0], : frame.content[1]], size=(region.height, region.width), mode="bilinear"
    )[0, 0]
    height, width = frame.slice_shape
    r0, r1, c0, c1 = max(region.row0, 0), min(region.row1, height), max(region.col0, 0), min(region.col1, width)
    inside = patch[r0 - region.row0 : r1 - region.row0, c0 - region.col0 : c1 - region.col0]
    (inside * torch.from_numpy(np.ascontiguousarray(mask[r0:r1, c0:c1]))).sum().backward()
    return cells.grad[0, 0].numpy()
