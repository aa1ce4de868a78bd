"""Part matching: the number of parts is chosen once, on the prior, and kept."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive import visit_results as words_of
from SegmentAnythingMedLib.adaptive.candidates import Asker
from SegmentAnythingMedLib.adaptive.part_matching import COUNTS, PartMatcher
from SegmentAnythingMedLib.adaptive.references import PriorLooks
from test_arena import arena_on


class Parts:
    """A method that finds what it was told to: a share of the truth of every slice; it notes what it was asked."""

    def __init__(self, count: int, share: float, truth: np.ndarray, calls: list) -> None:
        self.count, self.share, self.truth, self.calls = count, share, truth, calls

    def segment(self, references, target, *, restrict=None, box=None, avoid=None):
        """The first rows of the truth."""
        self.calls.append((self.count, target.session, target.index, references))
        mask = self.truth[target.index].copy()
        rows = np.flatnonzero(mask.any(axis=1))
        mask[rows[round(self.share * len(rows)) :]] = False
        return SimpleNamespace(
            mask=mask, logits=np.where(mask, 1.0, -1.0).astype(np.float32), predicted_iou=0.8,
            points=np.zeros((0, 2)), labels=np.zeros(0, np.int64),
        )  # fmt: skip


@pytest.mark.parametrize(("shares", "best"), [((0.5, 1.0, 0.5), 2), ((1.0, 1.0, 1.0), 1), ((0.4, 0.6, 1.0), 3)])
def test_one_number_of_parts_for_the_whole_volume(shares, best: int) -> None:
    arena, calls = arena_on(), []
    looks = PriorLooks(arena, 5)
    assert len(looks.indices) >= 3
    matcher = PartMatcher(looks, lambda n: Parts(n, shares[n - 1], arena.rigid, calls), 4.0)
    assert not calls  # nothing is tried before it is needed
    asker = Asker(arena, looks, None, arena.warped)
    answers = [matcher.match(asker, n, arena.warped[n]) for n in looks.indices]
    assert matcher.parts == best
    assert {answer.source for answer in answers} == {words_of.MATCHED}
    today = [count for count, session, *_ in calls if session is arena.follow_up]
    assert today == [best] * len(looks.indices)
    before = [count for count, session, *_ in calls if session is arena.prior]
    assert sorted(before) == sorted(COUNTS * 3)


def test_a_slice_is_never_its_own_reference() -> None:
    arena, calls = arena_on(), []
    looks = PriorLooks(arena, 4)
    assert PartMatcher(looks, lambda n: Parts(n, 1.0, arena.rigid, calls), 4.0).parts == 1
    for _, session, index, references in calls:
        assert session is arena.prior
        assert index not in [one.view.index for one in references]


def test_references_are_made_once() -> None:
    looks = PriorLooks(arena_on(), 4)
    first = looks.one_shot(looks.indices[0])
    assert all(a is b for a, b in zip(first, looks.one_shot(looks.indices[0]), strict=True))
