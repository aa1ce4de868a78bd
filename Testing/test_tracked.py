"""SAM 2 as the tracker with P2SAM's corrections: when it is corrected, with what, and when it is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings
from SegmentAnythingMedLib.adaptive.tracked import follow, placed_before, remembered
from SegmentAnythingMedLib.adaptive.views import view
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.memory_bank import MemoryBank
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.errors import Cancelled, ModelError
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from stub_model import StubModel, two_balls
from tiny_sam2 import require_sam2

video = pytest.importorskip("video_predictor", reason="the optional package sam2 is not installed")
pytest.importorskip("ot", reason="the extra 'adaptive' is not installed")


@pytest.fixture(scope="module")
def session():
    require_sam2()
    model = video.our_model(video.official_video())
    return Session(video.blobs(6), model, axis="k", window="50,300", cache=FeatureCache())


@pytest.fixture(scope="module")
def known(session):
    mask = np.zeros(session.shape, dtype=bool)
    mask[14:37, 19:42] = True
    return mask


class Fixed(P2SAM):
    """Answers what it is told, at distances that it is told."""

    def __init__(self, answer, distances):
        super().__init__(P2SAMSettings(positives=(1, 1)))
        self.answer, self.distances, self.boxes = answer, distances, []

    def segment(self, references, target, *, restrict=None, box=None, avoid=None):
        self.boxes.append(box)
        found = super().segment(references, target)
        return replace(found, **self.answer, empty=False)

    def distance(self, references, target, mask):
        return next(self.distances)


def plain_track(session, memories, indices):
    bank, found = MemoryBank(memories), []
    for index in indices:
        result = session.tracker.tracked(index, bank, backward=indices.step < 0)
        bank.remember(index, result.memory, indices.step)
        found.append(result)
    return found


@pytest.mark.parametrize("indices", [range(1, 5), range(4, 0, -1)])
def test_a_track_that_is_never_corrected_is_the_plain_track(session, known, indices):
    start = indices[0] - indices.step
    memories = remembered(session, {start: known})
    rows = follow(session, [Reference(view(session, start), known)], memories, indices, win_by=1.0)
    for row, result in zip(rows, plain_track(session, memories, indices), strict=True):
        assert not row.corrected
        assert len(row.points) == 0
        assert np.array_equal(row.mask, result.mask)
        assert row.object_score == result.object_score


def test_a_clear_win_becomes_a_correction_with_the_logits_of_the_track(session, known):
    memories = remembered(session, {0: known})
    points, labels = np.array([(30.0, 25.0), (80.0, 10.0)]), np.array([1, 0])
    # of the track, of the correction, of the kept one
    method = Fixed({"distance": 5.0, "points": points, "labels": labels}, iter([10.0, 4.0, 4.0]))
    (row,) = follow(session, [Reference(view(session, 0), known)], memories, range(1, 2), method=method)
    assert row.corrected
    assert (row.track_distance, row.p2sam_distance) == (10.0, 5.0)
    assert np.array_equal(row.points, points)
    bank = MemoryBank(memories)
    track = session.tracker.tracked(1, bank)
    again = session.tracker.prompted(1, SlicePrompts(points, labels), bank=bank, base=track.low_res)
    assert np.array_equal(row.mask, again.mask)
    assert not np.array_equal(row.mask, track.mask)


@pytest.mark.parametrize(
    ("own", "distances"),
    [
        (9.5, [10.0, 10.0]),  # nearer, but not by a tenth
        (5.0, [10.0, 11.0, 10.0]),  # the correction made it worse
    ],
)
def test_a_track_is_left_alone_where_p2sam_does_not_help(session, known, own, distances):
    memories = remembered(session, {0: known})
    method = Fixed({"distance": own}, iter(distances))
    (row,) = follow(session, [Reference(view(session, 0), known)], memories, range(1, 2), method=method)
    assert not row.corrected
    assert np.array_equal(row.mask, plain_track(session, memories, range(1, 2))[0].mask)


def test_where_the_track_is_lost_only_a_likely_answer_counts(session, known):
    memories = remembered(session, {0: known})
    for own, corrected in ((11.0, True), (30.0, False)):
        distances = iter([10.0, 10.0, np.inf, 3.0, 3.0] if corrected else [10.0, 10.0, np.inf, np.inf])
        method = Fixed({"distance": own}, distances)
        rows = follow(session, [Reference(view(session, 0), known)], memories, range(1, 3), method=method)
        assert [row.corrected for row in rows] == [False, corrected]


def test_the_box_follows_the_mask_and_only_for_look_alikes(session, known):
    memories = remembered(session, {0: known})
    references = [Reference(view(session, 0), known)]
    for start, moves in (((10.0, 10.0, 40.0, 40.0), True), (None, False)):
        method = Fixed({"distance": 99.0}, iter([10.0] * 8))
        rows = follow(session, references, memories, range(1, 3), method=method, start_box=start)
        assert method.boxes[0] == start
        rows_, cols = np.nonzero(rows[0].mask)
        tight = (cols.min() - 0.5, rows_.min() - 0.5, cols.max() + 0.5, rows_.max() + 0.5)
        assert method.boxes[1] == (tight if moves else None)


def test_real_p2sam_competes_on_every_slice(session, known):
    rows = follow(
        session, [Reference(view(session, 0), known)], remembered(session, {0: known}), range(1, 5), win_by=0.0
    )
    assert [row.index for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row.mask.shape == session.shape
        assert not row.corrected or row.p2sam_distance < row.track_distance


def test_slices_of_another_visit_come_before_the_first_one(session, known):
    memories = list(remembered(session, {2: known, 3: known}).values())
    assert placed_before(memories, 5, 1) == {3: memories[0], 4: memories[1]}
    assert placed_before(memories, 0, -1) == {2: memories[0], 1: memories[1]}
    before_all = placed_before(memories, 0, 1)
    assert list(before_all) == [-2, -1]
    rows = follow(session, [Reference(view(session, 2), known)], before_all, range(3), win_by=1.0)
    assert len(rows) == 3


def test_a_model_without_memory_and_a_cancel(session, known):
    volume, labels = two_balls()
    with pytest.raises(ModelError) as caught:
        remembered(Session(volume, StubModel()), {10: labels[10] == 1})
    assert caught.value.code == "model.no_memory"
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        follow(
            session,
            [Reference(view(session, 0), known)],
            remembered(session, {0: known}),
            range(1, 3),
            progress=progress,
        )
