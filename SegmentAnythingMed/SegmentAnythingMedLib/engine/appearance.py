"""What pixels alone say of an object: does it stand out, and does another slice show it too?"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RING_PX = 4
"""Width of the surroundings that an object is compared with; one pixel next to its border is left out as mixed."""
WEAK_CONTRAST = 0.5
"""An object whose mean differs from that of its surroundings by less than this many standard deviations cannot be
told from them by its mean."""
CLOSE = 1 / 3
"""Change of the mean under the mask, in parts of the contrast, up to which it still looks like the object. Two slices
on, a bladder changed by up to 0.2 inside and by 0.5 or more behind its ends."""


def seems_to_go_on(here: np.ndarray, mask: np.ndarray, beyond: np.ndarray) -> bool | None:
    """Whether the pixels under a mask look like the object, compared to its surroundings, on another slice too.

    Averages under the whole mask are compared, so noise matters little. None where pixels cannot tell: the object does
    not stand out on its own slice.

    Args:
        here: float [h, w] or [h, w, C], the slice that the mask belongs to (or the part around the mask).
        mask: bool [h, w], not empty.
        beyond: like ``here``, the other slice.
    """
    seen = contrast_of(here, mask)
    if seen is None:
        return None
    inside, outside = seen
    return bool(abs(mean_under(beyond, mask) - inside) <= CLOSE * abs(inside - outside))


def contrast_of(image: np.ndarray, mask: np.ndarray) -> tuple[float, float] | None:
    """Mean under a mask and mean of its surroundings; None where the object does not stand out.

    Args:
        image: float [h, w] or [h, w, C], the slice or the part around the mask.
        mask: bool [h, w], not empty.
    """
    near = ndimage.binary_dilation(mask)
    ring = ndimage.binary_dilation(near, iterations=RING_PX) & ~near
    if not ring.any():
        return None
    grey = image.reshape(*mask.shape, -1).mean(axis=-1)
    inside, outside = grey[mask], grey[ring]
    contrast = float(inside.mean() - outside.mean())
    if abs(contrast) <= WEAK_CONTRAST * float(np.hypot(inside.std(), outside.std())) / np.sqrt(2):
        return None
    return float(inside.mean()), float(outside.mean())


def mean_under(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean of an image [h, w] or [h, w, C] under a mask."""
    return float(image[mask].mean())
