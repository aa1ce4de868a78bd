"""Does an object seem to go on in another slice? Asked of the pixels, before a slice is encoded for nothing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RING_PX = 4
"""Width of the surroundings that an object is compared with; one pixel next to its border is left out as mixed."""
WEAK_CONTRAST = 0.5
"""An object whose mean differs from that of its surroundings by less than this many standard deviations cannot be
told from them by its mean."""


def seems_to_go_on(here: np.ndarray, mask: np.ndarray, beyond: np.ndarray) -> bool:
    """Whether the pixels under a mask look more like the object than like its surroundings on another slice too.

    Averages under the whole mask are compared, so noise matters little. The answer is a hint for saving work: where
    pixels cannot tell, it is True.

    Args:
        here: float [h, w] or [h, w, C], the slice that the mask belongs to (or the part around the mask).
        mask: bool [h, w], not empty.
        beyond: like ``here``, the other slice.
    """
    near = ndimage.binary_dilation(mask)
    ring = ndimage.binary_dilation(near, iterations=RING_PX) & ~near
    if not ring.any():
        return True
    here, beyond = (image.reshape(*mask.shape, -1).mean(axis=-1) for image in (here, beyond))
    inside, outside = here[mask], here[ring]
    contrast = float(inside.mean() - outside.mean())
    if abs(contrast) <= WEAK_CONTRAST * float(np.hypot(inside.std(), outside.std())) / np.sqrt(2):
        return True
    return bool((float(beyond[mask].mean()) - float(outside.mean())) / contrast > 0.5)
