"""The published rules (spec 1.1.3), gap by gap."""

from __future__ import annotations

import numpy as np
import pytest
from propagation_stub import SHAPE, StubPredictor, box_of, disc, discs, point, result_of
from SegmentAnythingMedLib.engine.predictor import SliceResult
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.prompts.projection import project
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.records import Propagation
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate

BOX = PropagationSettings.published(projection="box", box_extension=0)


def growing(count: int) -> np.ndarray:
    """Discs that differ from slice to slice, so that the source of a prompt can be told by its box."""
    return discs([4 + n for n in range(count)])


class Obedient(StubPredictor):
    """Returns the true disc whatever the prompt, and remembers which slices the prompt came from."""

    def sources(self) -> list[tuple[int, tuple[float, ...]]]:
        return [(index, prompts.box) for index, prompts, _ in self.calls]

    def predict(self, index: int, prompts: SlicePrompts, *, propagated: bool = False) -> SliceResult:
        self.calls.append((index, prompts, propagated))
        return result_of(self.truth[index])


def run(gap: int, stops: tuple[int, ...] = ()) -> tuple[Obedient, np.ndarray, Propagation]:
    """Drawn seeds on slices 0 and ``gap`` (unless they are stop marks) of a stack that ends there."""
    truth = growing(gap + 1)
    stub = Obedient(truth)
    drawn = {n: SlicePrompts(mask=truth[n]) for n in (0, gap) if n not in stops}
    result = propagate(stub, ObjectSeeds(drawn, frozenset(stops), frozenset(drawn)), BOX)
    return stub, truth, result


def box(mask: np.ndarray) -> tuple[float, ...]:
    return project(mask, "box", box_extension=0, as_published=True).box


# gap -> (slice, slices whose union is the source), in order
MEETINGS = {
    1: [],
    2: [(1, (0, 2))],
    3: [(1, (0,)), (2, (3,))],
    4: [(1, (0,)), (3, (4,)), (2, (1, 3))],
    5: [(1, (0,)), (2, (1,)), (4, (5,)), (3, (4,))],
    6: [(1, (0,)), (2, (1,)), (5, (6,)), (4, (5,)), (3, (2, 4))],
}


@pytest.mark.parametrize("gap", MEETINGS)
def test_where_the_two_walks_meet(gap: int) -> None:
    stub, truth, result = run(gap)
    expected = [(n, box(np.logical_or.reduce([truth[s] for s in sources]))) for n, sources in MEETINGS[gap]]
    assert stub.sources() == expected
    assert np.array_equal(result.stack(), truth)
    assert all(propagated for _, _, propagated in stub.calls), "always the single-mask output"


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 5])
def test_a_lower_stop_is_filled_down_to_from_above(gap: int) -> None:
    stub, truth, result = run(gap, stops=(0,))
    assert stub.sources() == [(n, box(truth[n + 1])) for n in range(gap - 1, 0, -1)]
    assert list(result.masks) == list(range(1, gap + 1)), "the stop slice stays empty"
    assert result.end_lower == "stopped:user"
    assert result.end_upper == "edge"


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 5])
def test_an_upper_stop_is_filled_up_to_from_below(gap: int) -> None:
    stub, truth, result = run(gap, stops=(gap,))
    assert stub.sources() == [(n, box(truth[n - 1])) for n in range(1, gap)]
    assert list(result.masks) == list(range(gap))
    assert result.records[gap].reason == "stopped:user"


def test_stops_on_both_sides_without_a_threshold() -> None:
    truth = growing(9)
    truth[6] = disc(5, (8, 8))
    stub = Obedient(truth)
    seeds = {4: SlicePrompts(mask=truth[4]), 1: point(3, 3, 0), 8: point(3, 3, 0)}
    result = propagate(stub, seeds, BOX)
    assert list(result.masks) == [2, 3, 4, 5, 6, 7], "a mask that jumps is kept inside"


def test_a_stop_in_the_middle_is_reported_and_ignored() -> None:
    truth = growing(7)
    drawn = {n: SlicePrompts(mask=truth[n]) for n in (0, 6)}
    result = propagate(Obedient(truth), ObjectSeeds(drawn, frozenset({3}), frozenset(drawn)), BOX)
    assert list(result.masks) == list(range(7))
    assert any("slice 3 is ignored" in note for note in result.notes)


def test_outward_the_first_slice_below_the_threshold_is_discarded() -> None:
    truth = discs([9, 9, 9, 9, 4, 9, 9])
    stub = StubPredictor(truth)
    result = propagate(stub, {1: SlicePrompts(box=box_of(truth[1]))}, BOX)
    assert list(result.masks) == [0, 1, 2, 3]
    assert (result.lower, result.upper) == (0, 3)
    assert result.records[4].reason == "stopped:iou"
    assert set(stub.visited) == {0, 1, 2, 3, 4}, "no patience"
    assert (result.end_lower, result.end_upper) == ("edge", "stopped:iou")


def test_the_first_step_may_fail_on_both_sides() -> None:
    truth = discs([0, 0, 9, 0, 0])
    result = propagate(StubPredictor(truth), {2: SlicePrompts(box=box_of(truth[2]))}, BOX)
    assert (result.lower, result.upper) == (2, 2)
    assert (result.end_lower, result.end_upper) == ("stopped:absent", "stopped:absent")


def test_gates_of_ours_do_not_apply() -> None:
    truth = discs([9] * 4 + [12] * 3)
    seeds = {1: SlicePrompts(box=box_of(truth[1]))}
    settings = PropagationSettings.published(projection="box", box_extension=4, area_ratio=1.1)
    assert propagate(StubPredictor(truth), seeds, settings).upper == 6
    ours = PropagationSettings(projection="box", box_extension=4, area_ratio=1.1, patience=0)
    assert propagate(StubPredictor(truth), seeds, ours).upper == 3


def test_single_point_becomes_many_points_where_walks_meet() -> None:
    truth = discs([9] * 5)
    truth |= discs([9] * 5, [(24, 44)] * 5)
    stub = Obedient(truth)
    drawn = {n: SlicePrompts(mask=truth[n]) for n in (0, 4)}
    propagate(stub, ObjectSeeds(drawn, drawn=frozenset(drawn)), PropagationSettings.published())
    points = {index: len(prompts.points) for index, prompts, _ in stub.calls}
    assert points[1] == points[3] == 1
    assert points[2] > 1


def test_an_empty_source_between_seeds_gives_an_empty_slice_and_no_call() -> None:
    truth = growing(6)
    truth[1] = False
    stub = Obedient(truth)
    drawn = {n: SlicePrompts(mask=truth[n]) for n in (0, 5)}
    result = propagate(stub, ObjectSeeds(drawn, drawn=frozenset(drawn)), BOX)
    assert 2 not in result.masks
    assert [index for index, _, _ in stub.calls] == [1, 4, 3]


def test_a_flipped_stack_gives_the_flipped_masks() -> None:
    truth = discs([5, 6, 7, 8, 9, 8, 7])
    upright = propagate(StubPredictor(truth), {n: SlicePrompts(box=box_of(truth[n])) for n in (1, 5)}, BOX)
    flipped = propagate(StubPredictor(truth[::-1]), {6 - n: SlicePrompts(box=box_of(truth[n])) for n in (1, 5)}, BOX)
    assert np.array_equal(upright.stack(), flipped.stack()[::-1])
    assert upright.shape == SHAPE


class Looking(Obedient):
    """Remembers whether only the surroundings of the prompt were asked for."""

    looks_near = True

    def predict(self, index: int, prompts: SlicePrompts, *, near: bool = False, **more: bool) -> SliceResult:
        self.near = {**getattr(self, "near", {}), index: near}
        return super().predict(index, prompts, **more)


@pytest.mark.parametrize("near", [None, False, True])
@pytest.mark.parametrize("published", [True, False])
def test_followed_objects_are_looked_for_near_the_prompt_if_wanted(published, near):
    truth = growing(5)
    settings = PropagationSettings(projection="box", as_published=published, near=near)
    stub = Looking(truth)
    propagate(stub, {2: SlicePrompts(box=(8.0, 8.0, 24.0, 24.0))}, settings)
    expected = (not published) if near is None else near
    assert stub.near.pop(2) is False  # the prompted slice itself is always looked at whole
    assert stub.near
    assert set(stub.near.values()) == {expected}


def test_near_is_a_switch():
    with pytest.raises(InputError) as caught:
        PropagationSettings(near="yes")
    assert caught.value.code == "option.near"
