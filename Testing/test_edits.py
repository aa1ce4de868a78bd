"""After an edit only what depends on it is done again."""

from __future__ import annotations

import numpy as np
import pytest
from propagation_stub import StubPredictor, box_of, disc, discs, point
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds, fingerprint
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects

TRUTH = discs([8] * 24)


def seed(n: int, grow: float = 0.0) -> SlicePrompts:
    x0, y0, x1, y1 = box_of(TRUTH[n])
    return SlicePrompts(box=(x0 - grow, y0 - grow, x1 + grow, y1 + grow))


@pytest.fixture
def before():
    """Seeds on 5, 10, 15 of 24 slices, propagated."""
    stub = StubPredictor(TRUTH)
    seeds = {n: seed(n) for n in (5, 10, 15)}
    return seeds, propagate(stub, seeds)


def again(seeds, previous, **kwargs) -> tuple[set[int], object]:
    """Slices that a second run visits, and its result, which must equal a run from nothing."""
    stub = StubPredictor(TRUTH)
    result = propagate(stub, seeds, previous=previous, **kwargs)
    fresh = propagate(StubPredictor(TRUTH), seeds, **kwargs)
    assert np.array_equal(result.stack(), fresh.stack())
    assert result.to_json() == fresh.to_json()
    return set(stub.visited), result


def test_nothing_changed_nothing_done(before) -> None:
    seeds, previous = before
    assert again(seeds, previous)[0] == set()


def test_a_middle_seed_touches_the_two_gaps_beside_it(before) -> None:
    seeds, previous = before
    assert again({**seeds, 10: seed(10, grow=1)}, previous)[0] == set(range(6, 15))


def test_an_outermost_seed_touches_its_gap_and_its_outer_run(before) -> None:
    seeds, previous = before
    assert again({**seeds, 15: seed(15, grow=1)}, previous)[0] == set(range(11, 24))
    assert again({**seeds, 5: seed(5, grow=1)}, previous)[0] == set(range(10))


def test_a_new_seed_outside_makes_a_gap_of_the_old_outer_run(before) -> None:
    seeds, previous = before
    assert again({**seeds, 20: seed(20)}, previous)[0] == set(range(16, 24))


def test_a_new_seed_inside_splits_its_gap(before) -> None:
    seeds, previous = before
    assert again({**seeds, 12: seed(12)}, previous)[0] == {11, 12, 13, 14}


def test_a_deleted_seed_merges_its_gaps(before) -> None:
    seeds, previous = before
    left = {n: prompts for n, prompts in seeds.items() if n != 10}
    assert again(left, previous)[0] == set(range(6, 15))


def test_a_stop_mark_touches_the_run_it_lies_on(before) -> None:
    seeds, previous = before
    visited, result = again({**seeds, 20: point(28, 24, 0)}, previous)
    assert visited == set(range(16, 20))
    assert result.upper == 19
    visited, _ = again({**seeds, 12: point(28, 24, 0)}, previous)
    assert visited == {11, 13, 14}


def test_a_drawn_slice_is_kept_and_its_neighbours_follow(before) -> None:
    seeds, previous = before
    mine = disc(6, (22, 26))
    objects = ObjectSeeds({**seeds, 18: SlicePrompts(mask=mine)}, drawn=frozenset({18}))
    visited, result = again(objects, previous)
    assert visited == {16, 17, 19, 20, 21, 22, 23}
    assert np.array_equal(result.masks[18], mine)


def test_limits_touch_only_the_outer_runs(before) -> None:
    seeds, previous = before
    settings = PropagationSettings(limits=(3, 20))
    assert again(seeds, previous, settings=settings)[0] == {3, 4, 16, 17, 18, 19, 20}


def test_other_settings_keep_the_seeds(before) -> None:
    seeds, previous = before
    visited, _ = again(seeds, previous, settings=PropagationSettings(iou_threshold=0.7))
    assert visited == set(range(24)) - {5, 10, 15}


def test_another_model_or_volume_keeps_nothing(before) -> None:
    seeds, previous = before
    stub = StubPredictor(TRUTH)
    stub.key = "another model"
    propagate(stub, seeds, previous=previous)
    assert set(stub.visited) == set(range(24))


def test_what_a_cancel_left_unfinished_is_done_again_and_the_rest_is_not(before) -> None:
    seeds, _ = before
    progress = Progress(lambda p: p.cancel() if p.done == 13 else None)
    partial = propagate(StubPredictor(TRUTH), seeds, progress=progress)
    assert not partial.completed
    assert set(range(6, 10)) <= set(partial.masks), "the first gap was done"
    visited, result = again(seeds, partial)
    assert result.completed
    assert visited == set(range(24)) - {5, 10, 15, 6, 7, 8, 9}


def test_earlier_results_are_not_changed_by_later_ones(before) -> None:
    seeds, previous = before
    kept = previous.stack()
    propagate(StubPredictor(TRUTH), {**seeds, 10: seed(10, grow=1)}, previous=previous)
    assert np.array_equal(previous.stack(), kept)


def test_objects_are_edited_one_by_one() -> None:
    objects = {"a": {5: seed(5)}, "b": {9: seed(9)}}
    previous = propagate_objects(StubPredictor(TRUTH), objects)
    stub = StubPredictor(TRUTH)
    propagate_objects(stub, {**objects, "b": {9: seed(9, grow=1)}}, previous=previous)
    assert set(stub.visited.values()) == {1}
    assert stub.calls[0][0] == 9


def test_fingerprints_tell_prompts_apart() -> None:
    mask = disc(5)
    kinds = [
        SlicePrompts(),
        point(3, 4),
        point(4, 3),
        point(3, 4, 0),
        SlicePrompts(box=(1, 2, 3, 4)),
        SlicePrompts(mask=mask),
        SlicePrompts(mask=~mask),
        SlicePrompts(mask=mask.T),
    ]
    assert len({fingerprint(k) for k in kinds}) == len(kinds)
    assert fingerprint(SlicePrompts(mask=mask.copy())) == fingerprint(SlicePrompts(mask=mask))
