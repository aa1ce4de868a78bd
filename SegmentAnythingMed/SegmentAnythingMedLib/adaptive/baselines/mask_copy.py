"""The prior's contour, copied: through a given transform, or to the same place. No model looks at the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ...prompts.types import Box
from ..one_shot import OneShotResult, Reference, require_references
from ..transforms import VisitTransform
from ..views import View
from .answers import answer


class MaskCopy:
    """Every pixel of the target takes the label of the place on the nearest reference slice that it maps to.

    Args:
        transform: target's LPS -> references' LPS in mm; None: equal places.
        in_space: False copies from pixel to pixel without looking at positions in the patient, relative to the sides of
            the slice, for pictures that have none (photographs).

    The tokens are not used, so any model will do, and none is called.
    """

    name = "copy"

    def __init__(self, transform: VisitTransform | None = None, *, in_space: bool = True) -> None:
        self.transform, self.in_space = transform, in_space

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

        ``restrict`` and ``box`` say where prompts may lie; there are none here, so both are ignored.
        """
        require_references(references)
        inside = self._in_space(references, target) if self.in_space else _in_pixels(references[0], target)
        return answer(target, target.show(inside), avoid=avoid)

    def _in_space(self, references: Sequence[Reference], target: View) -> np.ndarray:
        """Float32 [H, W] in stored pixels, positive inside."""
        stack, shape = target.session.stack, target.shape
        rows, cols = np.indices(shape)
        lps = stack.volume.affine.ijk_to_lps(stack.to_ijk(target.index, np.stack([cols.ravel(), rows.ravel()], 1)))
        lps = lps if self.transform is None else self.transform.map_points(lps)
        nearest, out = np.full(len(lps), np.inf), np.full(len(lps), -1.0, dtype=np.float32)
        for reference in references:
            here = reference.view.session.stack
            _, xy = here.to_plane(here.volume.affine.lps_to_ijk(lps))
            on_slice = here.volume.affine.ijk_to_lps(here.to_ijk(reference.view.index, xy))
            away = np.linalg.norm(on_slice - lps, axis=1)
            level = ndimage.map_coordinates(
                _signed_distance(reference.mask), xy.T[::-1], order=1, mode="constant", cval=-1.0
            )
            closer = away < nearest
            out[closer], nearest[closer] = level[closer], away[closer]
        return out.reshape(shape)


def _in_pixels(reference: Reference, target: View) -> np.ndarray:
    (rows, cols), (height, width) = target.shape, reference.mask.shape
    at = np.meshgrid((np.arange(rows) + 0.5) * height / rows - 0.5, (np.arange(cols) + 0.5) * width / cols - 0.5,
                     indexing="ij")  # fmt: skip
    return ndimage.map_coordinates(_signed_distance(reference.mask), at, order=1, mode="nearest").astype(np.float32)


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Pixels to the border, positive inside: linear interpolation of it moves borders by parts of a pixel."""
    if not mask.any():
        return np.full(mask.shape, -1.0)
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.where(mask, inside - 0.5, 0.5 - ndimage.distance_transform_edt(~mask))
