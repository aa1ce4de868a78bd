"""Does an object seem to go on in another slice? Asked of the pixels, before a slice is encoded for nothing."""

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
    near = ndimage.binary_dilation(mask)
    ring = ndimage.binary_dilation(near, iterations=RING_PX) & ~near
    if not ring.any():
        return None
    here, beyond = (image.reshape(*mask.shape, -1).mean(axis=-1) for image in (here, beyond))
    inside, outside = here[mask], here[ring]
    contrast = float(inside.mean() - outside.mean())
    if abs(contrast) <= WEAK_CONTRAST * float(np.hypot(inside.std(), outside.std())) / np.sqrt(2):
        return None
    return bool(abs(float(beyond[mask].mean() - inside.mean())) <= CLOSE * abs(contrast))
