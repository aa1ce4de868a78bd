"""No voxel is given away twice (``adaptive/structures.py``)."""

from __future__ import annotations

import numpy as np
from SegmentAnythingMedLib.adaptive.structures import Draft, make_exclusive

SHAPE = (2, 6, 8)
WHOLE = tuple(slice(0, n) for n in SHAPE)


def draft(name: str, columns: slice, logit: float, window=WHOLE) -> Draft:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 1:5, columns] = True
    logits = np.full(SHAPE, logit, dtype=np.float16)[window]
    return Draft(name, "found", mask, mask.copy(), mask.copy(), window=window, logits=logits)


def test_the_surer_one_gets_what_both_claim() -> None:
    window = (slice(0, 2), slice(1, 6), slice(2, 8))
    drafts = {"a": draft("a", slice(0, 5), 1.0), "b": draft("b", slice(3, 8), 2.0, window)}
    before = drafts["a"].segmented | drafts["b"].segmented
    apart = {"a": drafts["a"].segmented & ~drafts["b"].segmented, "b": drafts["b"].segmented & ~drafts["a"].segmented}
    make_exclusive(drafts, apart)
    assert not (drafts["a"].segmented & drafts["b"].segmented).any()
    assert np.array_equal(drafts["a"].segmented | drafts["b"].segmented, before)
    assert drafts["b"].segmented[:, 1:5, 3:8].all()


def test_structures_that_overlapped_on_the_prior_may_do_so_again() -> None:
    drafts = {"tumour": draft("tumour", slice(2, 4), 1.0), "organ": draft("organ", slice(0, 8), 3.0)}
    masks = {name: d.segmented.copy() for name, d in drafts.items()}
    make_exclusive(drafts, masks)
    assert all(np.array_equal(drafts[name].segmented, masks[name]) for name in masks)


def test_a_structure_without_a_search_takes_nothing() -> None:
    drafts = {"a": draft("a", slice(0, 5), 1.0), "b": draft("b", slice(3, 8), 2.0)}
    drafts["b"].logits = None
    kept = drafts["a"].segmented.copy()
    make_exclusive(drafts, {"a": kept, "b": kept & False})
    assert np.array_equal(drafts["a"].segmented, kept)
