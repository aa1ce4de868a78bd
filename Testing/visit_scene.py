"""Two visits of a made-up patient for tests of one-shot methods: an object of two textures and a distractor."""

from __future__ import annotations

import numpy as np
from SegmentAnythingMedLib import Session
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.views import square_region, view
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

SHAPE = (96, 128)


def scene(shift=(0, 0), seed=0, grow=1.0):
    """Slices [3, 96, 128] with an object of two textures and a distractor; and the object's mask."""
    rng = np.random.default_rng(seed)
    k, j, i = np.indices((3, *SHAPE))
    object_ = ((j - 40 - shift[0]) / 18) ** 2 + ((i - 45 - shift[1]) / 15) ** 2 < grow
    other = (j - 60) ** 2 + (i - 100) ** 2 < 12**2
    voxels = 60 + rng.normal(0, 6, k.shape) + 90 * object_ + 40 * (object_ & (i > 45 + shift[1])) + 60 * other
    return Volume(voxels.astype(np.int16), Affine.from_parts((1, 1, 3), (0, 0, 0), None), modality="MR"), object_


def pair(model, side=90.0, **moved):
    """A reference and a target of another visit."""
    (first, mask), (second, truth) = scene(), scene(seed=1, **moved)
    before, after = Session(first, model, axis="k"), Session(second, model, axis="k")
    region = [square_region(one, (45, 40), side) if model.uses_regions else None for one in (before, after)]
    return Reference(view(before, 1, region[0]), mask[1]), view(after, 1, region[1]), truth[1]


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def view_box(mask):
    rows, cols = np.nonzero(mask)
    return cols.min() - 0.5, rows.min() - 0.5, cols.max() + 0.5, rows.max() + 0.5
