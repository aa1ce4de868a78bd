"""The walk outward: what is accepted, what ends it, and what it costs."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from propagation_stub import SHAPE, StubPredictor, ball, box_of, disc, discs, point, result_of
from SegmentAnythingMedLib.errors import PromptError
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.shapes import iou
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects


def box_seed(truth: np.ndarray, index: int) -> dict[int, SlicePrompts]:
    return {index: SlicePrompts(box=box_of(truth[index]))}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("projection", ["mask", "box", "points", "points_and_mask", "single_point", "box+points"])
def test_a_ball_is_followed_to_its_ends_with_every_projection(projection: str) -> None:
    truth = ball(24, 9.5, 11)
    result = propagate(StubPredictor(truth), box_seed(truth, 11), PropagationSettings(projection=projection))
    assert result.completed
    assert dice(result.stack(), truth) > 0.97
    reasons = {index: record.reason for index, record in result.records.items()}
    assert reasons[11] == "seed"
    assert reasons[12] == "forward"
    assert reasons[10] == "backward"
    assert result.end_lower.startswith("stopped:")
    assert result.end_upper.startswith("stopped:")
    assert (result.lower, result.upper) == (min(result.masks), max(result.masks))


@pytest.mark.parametrize("radius", [4.5, 6.5, 9.5])
def test_an_object_on_k_slices_costs_at_most_k_plus_2_of_them(radius: float) -> None:
    truth = ball(30, radius, 14)
    stub = StubPredictor(truth)
    propagate(stub, box_seed(truth, 14))
    assert len(stub.visited) <= truth.any(axis=(1, 2)).sum() + 2
    assert set(stub.visited.values()) == {1}, "no slice is decoded twice"


def test_a_blunt_object_costs_k_plus_2_without_patience() -> None:
    truth = discs([0] * 5 + [8] * 7 + [0] * 5)
    stub = StubPredictor(truth)
    result = propagate(stub, box_seed(truth, 8), PropagationSettings(patience=0))
    assert len(stub.visited) == 7 + 2
    assert np.array_equal(result.stack(), truth)


def test_every_visited_slice_has_a_record_with_numbers() -> None:
    truth = ball(24, 9.5, 11)
    stub = StubPredictor(truth)
    result = propagate(stub, box_seed(truth, 11))
    assert set(result.records) == set(stub.visited)
    record = result.records[12]
    assert record.iou == pytest.approx(iou(truth[11], truth[12]))
    assert record.area == truth[12].sum()
    assert record.area_ratio == pytest.approx(truth[12].sum() / truth[11].sum())
    assert record.predicted_iou == pytest.approx(0.9)
    assert record.components == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("absent", "stopped:absent"),
        ("full", "stopped:full"),
        ("jump", "stopped:iou"),
        ("growth", "stopped:area"),
        ("doubt", "stopped:predicted_iou"),
        ("score", "stopped:object_score"),
    ],
)
def test_why_a_walk_stops(change: str, reason: str) -> None:
    truth = discs([8] * 12)
    stub = StubPredictor(truth)
    replies = {"absent": disc(0), "full": np.ones(SHAPE, bool), "jump": disc(8, (24, 38)), "growth": disc(10)}
    settings = PropagationSettings(area_ratio=1.5, predicted_iou_threshold=0.5)
    predict = stub.predict

    def altered(index: int, prompts: SlicePrompts, *, propagated: bool = False):
        answer = predict(index, prompts, propagated=propagated)
        if index < 7:
            return answer
        scores = {"doubt": (0.3, None), "score": (0.9, -1.0)}.get(change, (0.9, None))
        return result_of(replies.get(change, answer.mask), *scores)

    stub.predict = altered
    result = propagate(stub, box_seed(truth, 4), settings)
    assert result.end_upper == reason
    assert result.records[7].reason == reason
    assert result.upper == 6
    assert 7 not in result.masks, "a slice that stops the walk is discarded"
    assert result.end_lower == "edge"
    assert result.lower == 0


def test_strict_settings_end_earlier() -> None:
    truth = discs([0, 0, 6, 7, 8, 9, 10, 9, 8, 7, 6, 0, 0])
    usual = propagate(StubPredictor(truth), box_seed(truth, 6))
    strict = propagate(StubPredictor(truth), box_seed(truth, 6), PropagationSettings.strict())
    assert set(strict.masks) < set(usual.masks)
    assert all(record.iou >= 0.8 for record in strict.records.values() if record.reason in ("forward", "backward"))
    assert strict.end_upper == strict.end_lower == "stopped:iou"


def test_the_first_step_may_fail_on_both_sides() -> None:
    truth = discs([0, 0, 0, 7, 0, 0, 0])
    result = propagate(StubPredictor(truth), box_seed(truth, 3))
    assert (result.lower, result.upper) == (3, 3)
    assert list(result.masks) == [3]


def test_one_bad_slice_is_jumped_over_and_filled() -> None:
    truth = discs([8] * 11)
    broken = truth.copy()
    broken[7] = False
    result = propagate(StubPredictor(broken), box_seed(truth, 4))
    assert result.end_upper == "edge"
    assert result.records[7].reason == "interpolated"
    assert result.records[7].rejected == "stopped:absent"
    assert np.array_equal(result.masks[7], truth[7])


def test_two_bad_slices_end_a_walk_with_patience_1_and_not_with_2() -> None:
    truth = discs([8] * 11)
    broken = truth.copy()
    broken[6:8] = False
    seeds = box_seed(truth, 3)
    assert propagate(StubPredictor(broken), seeds).upper == 5
    result = propagate(StubPredictor(broken), seeds, PropagationSettings(patience=2))
    assert result.upper == 10
    assert np.array_equal(result.stack(), truth)


def test_an_object_that_has_shrunk_is_not_looked_for_behind_its_end() -> None:
    truth = discs([12, 12, 12, 10, 8, 6, 0, 6, 6])
    result = propagate(StubPredictor(truth), box_seed(truth, 1))
    assert result.upper == 5
    assert 7 not in result.records


def test_limits_are_inclusive_and_named() -> None:
    truth = discs([8] * 12)
    stub = StubPredictor(truth)
    result = propagate(stub, box_seed(truth, 5), PropagationSettings(limits=(3, 7)))
    assert list(result.masks) == [3, 4, 5, 6, 7]
    assert set(stub.visited) == {3, 4, 5, 6, 7}
    assert (result.end_lower, result.end_upper) == ("limit", "limit")


def test_a_stop_mark_is_never_passed_and_stays_empty() -> None:
    truth = discs([8] * 12)
    stub = StubPredictor(truth)
    seeds = {5: SlicePrompts(box=box_of(truth[5])), 8: point(28, 24, 0), 2: point(28, 24, 0)}
    result = propagate(stub, seeds)
    assert list(result.masks) == [3, 4, 5, 6, 7]
    assert {2, 8}.isdisjoint(stub.visited)
    assert result.records[8].reason == "stopped:user"
    assert (result.end_lower, result.end_upper) == ("stopped:user", "stopped:user")


def test_stop_marks_between_seeds_split_the_range() -> None:
    truth = discs([8] * 16)
    seeds = {n: SlicePrompts(box=box_of(truth[n])) for n in (3, 12)}
    result = propagate(StubPredictor(truth), ObjectSeeds(seeds, stops=frozenset({6, 7, 9})))
    assert sorted(set(range(16)) - set(result.masks)) == [6, 7, 8, 9]
    assert (result.end_lower, result.end_upper) == ("edge", "edge")


def test_a_seed_that_covers_the_slice_is_flagged_and_not_propagated() -> None:
    truth = np.ones((5, *SHAPE), dtype=bool)
    stub = StubPredictor(truth)
    result = propagate(stub, {2: point(5, 5)})
    assert list(stub.visited) == [2]
    assert (result.end_lower, result.end_upper) == ("stopped:full", "stopped:full")
    assert "whole slice" in result.records[2].note
    assert any("whole slice" in note for note in result.notes)


def test_both_parts_of_a_structure_that_splits_are_followed() -> None:
    truth = discs([12] * 9)
    for n in range(4, 9):
        truth[n, :, 26:31] = False
    result = propagate(StubPredictor(truth), box_seed(truth, 1), PropagationSettings(area_ratio=3))
    assert np.array_equal(result.stack(), truth)
    assert result.records[4].components == 2
    assert "split" in result.records[4].note
    stub = StubPredictor(truth)
    propagate(stub, box_seed(truth, 1), PropagationSettings(area_ratio=3))
    assert stub.visited[6] == 2, "one decode per part"


def test_a_part_below_five_percent_is_not_prompted() -> None:
    truth = discs([12] * 6)
    truth[:, 2:4, 2:4] = True
    stub = StubPredictor(truth)
    propagate(stub, {2: SlicePrompts(box=(0, 0, 55, 47))})
    assert set(stub.visited.values()) == {1}


def test_motion_compensation_follows_a_thin_oblique_structure() -> None:
    centres = [(24, 8 + 4 * n) for n in range(10)]
    truth = discs([3] * 10, centres)
    settings = {"projection": "box", "box_extension": 4, "area_ratio": 3}

    class Follower(StubPredictor):
        def predict(self, index: int, prompts: SlicePrompts, *, propagated: bool = False):
            self.calls.append((index, prompts, propagated))
            return result_of(self.truth[index])

    plain = propagate(Follower(truth, 3.0), box_seed(truth, 4), PropagationSettings(**settings))
    assert list(plain.masks) == [4]
    moved = propagate(
        Follower(truth, 3.0), box_seed(truth, 4), PropagationSettings(**settings, motion_compensation=True)
    )
    assert list(moved.masks) == list(range(10))
    assert moved.records[5].shift == (0, 4)
    too_far = propagate(
        Follower(truth, 1.0), box_seed(truth, 4), PropagationSettings(**settings, motion_compensation=True)
    )
    assert list(too_far.masks) == [4], "4 px between slices 1 mm apart is steeper than 60 degrees"


def test_a_flipped_stack_gives_the_flipped_result() -> None:
    truth = ball(21, 9.5, 8)
    centres = [(24, 20 + n) for n in range(21)]
    truth = np.stack([np.roll(truth[n], c[1] - 28, axis=1) for n, c in enumerate(centres)])
    upright = propagate(StubPredictor(truth), {n: SlicePrompts(box=box_of(truth[n])) for n in (5, 9)})
    flipped = propagate(StubPredictor(truth[::-1]), {20 - n: SlicePrompts(box=box_of(truth[n])) for n in (5, 9)})
    assert np.array_equal(upright.stack(), flipped.stack()[::-1])
    assert upright.end_lower == flipped.end_upper


def test_the_three_axes_of_an_isotropic_phantom_give_the_same_labels() -> None:
    grid = np.indices((30, 30, 30)) - 14
    truth = (grid**2).sum(axis=0) < 81
    stacks = []
    for axis in range(3):
        slices = np.moveaxis(truth, axis, 0)
        settings = PropagationSettings(iou_threshold=0.2, area_ratio=9)
        result = propagate(StubPredictor(slices), box_seed(slices, 14), settings)
        stacks.append(np.moveaxis(result.stack(), 0, axis))
    assert np.array_equal(stacks[0], stacks[1])
    assert np.array_equal(stacks[0], stacks[2])
    assert np.array_equal(stacks[0], truth)


def test_a_run_is_repeatable() -> None:
    truth = ball(24, 9.5, 11)
    runs = [propagate(StubPredictor(truth), box_seed(truth, 11)) for _ in range(2)]
    assert np.array_equal(runs[0].stack(), runs[1].stack())
    assert runs[0].to_json() == runs[1].to_json()


def test_seeds_that_the_model_does_not_see_are_refused() -> None:
    truth = discs([8] * 6)
    with pytest.raises(PromptError, match="found no object for the prompts on slice 3") as caught:
        propagate(StubPredictor(truth), {3: point(1, 1)})
    assert caught.value.code == "prompt.no_mask"
    result = propagate(StubPredictor(truth), {3: point(1, 1), 4: point(28, 24)})
    assert any("slice 3" in note for note in result.notes)
    assert result.records[4].reason == "seed"


def test_cancel_keeps_what_is_done() -> None:
    truth = discs([8] * 20)
    progress = Progress(lambda p: p.cancel() if p.done == 5 else None)
    result = propagate(StubPredictor(truth), box_seed(truth, 6), progress=progress)
    assert not result.completed
    assert list(result.masks) == [6, 7, 8, 9, 10]
    assert result.end_lower == result.end_upper == "cancelled"


def test_objects_share_slices_and_equal_their_single_runs() -> None:
    truth = np.zeros((20, *SHAPE), dtype=bool)
    truth[3:15] |= disc(7, (14, 14))
    truth[6:18] |= disc(7, (34, 40))
    seeds = {"a": {8: point(14, 14)}, "b": {10: point(40, 34)}}
    stub = StubPredictor(truth)
    both = propagate_objects(stub, seeds)
    for name, prompts in seeds.items():
        alone = propagate(StubPredictor(truth), prompts)
        assert np.array_equal(both[name].stack(), alone.stack())
    order = [index for index, _, _ in stub.calls[2:]]
    assert sum(a != b for a, b in pairwise(order)) <= len(set(order)) + 4, "visits are interleaved"


def test_an_object_that_is_not_found_does_not_stop_the_others() -> None:
    truth = discs([8] * 6)
    both = propagate_objects(StubPredictor(truth), {"a": {2: point(28, 24)}, "b": {2: point(1, 1)}})
    assert len(both["a"].masks) == 6
    assert not both["b"].masks
    assert both["b"].notes


def test_the_report_is_plain_json() -> None:
    truth = ball(24, 9.5, 11)
    report = propagate(StubPredictor(truth), box_seed(truth, 11)).to_json()
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["end_upper"] == report["end_upper"]
    assert [r["index"] for r in again["records"]] == sorted(r["index"] for r in again["records"])


def test_a_listener_hears_of_every_slice_as_it_is_decided() -> None:
    truth = discs([0, 6, 7, 8, 8, 8, 7, 6, 5, 0, 0, 0])
    told: list[int] = []
    heard: dict[int, tuple] = {}

    def listener(name, decided) -> None:
        assert name == "a"
        told.extend(decided)
        heard.update(decided)

    result = propagate_objects(
        StubPredictor(truth), {"a": {**box_seed(truth, 3), **box_seed(truth, 6)}}, listener=listener
    )["a"]
    assert {index: record for index, (record, _) in heard.items()} == dict(result.records)
    assert {index for index, (_, mask) in heard.items() if mask is not None} == set(result.masks)
    assert all(heard[index][1] is mask for index, mask in result.masks.items())
    assert told[:2] == [3, 6], "seeds come first"
    again: list[int] = []
    edited = {
        **{**box_seed(truth, 3), **box_seed(truth, 6)},
        11: SlicePrompts(points=np.array([[1.0, 1.0]]), labels=np.array([0])),
    }
    propagate_objects(
        StubPredictor(truth), {"a": edited}, previous={"a": result}, listener=lambda _name, more: again.extend(more)
    )
    assert set(again).isdisjoint({3, 4, 5, 6}), "what was taken over is not told again"


def test_progress_says_how_many_slices_are_left_at_most() -> None:
    truth = discs([8] * 20)
    left: list[int | None] = []
    progress = Progress(lambda p: left.append(p.at_most))
    propagate(StubPredictor(truth), {**box_seed(truth, 6), **box_seed(truth, 10)}, progress=progress)
    assert left[:2] == [None, None], "start, and the first of two seeds"
    assert left[2:] == list(range(2 * 3 + 9 + 6, -1, -1))
    assert progress.longest_s == 0.0


def test_objects_may_have_settings_of_their_own() -> None:
    truth = discs([8] * 12)
    settings = {"a": PropagationSettings(limits=(4, 8)), "b": PropagationSettings()}
    seeds = {"a": box_seed(truth, 6), "b": box_seed(truth, 6)}
    both = propagate_objects(StubPredictor(truth), seeds, settings)
    assert (both["a"].lower, both["a"].upper) == (4, 8)
    assert (both["b"].lower, both["b"].upper) == (0, 11)
