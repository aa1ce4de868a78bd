"""Projected prompts and memory compete: who wins, what is remembered of it, what ends a walk, what is recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest
from memory_stub import StubTracker
from propagation_stub import ball, box_of, disc, discs, result_of
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.competing_settings import CompetingSettings
from SegmentAnythingMedLib.propagation.engines import choose_engine
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects


class Rivals(StubTracker):
    """A stub whose answer to projected prompts can differ from that of its memory."""

    def __init__(self, truth: np.ndarray) -> None:
        super().__init__(truth)
        self.projected: dict[int, np.ndarray] = {}

    def predict(self, index, prompts, *, propagated=False):
        answer = super().predict(index, prompts, propagated=propagated)
        if propagated and index in self.projected:
            return result_of(self.projected[index], answer.predicted_iou)
        return answer


def compete(stub, seeds=None, **changes):
    """The competing engine from a box on slice 10."""
    seeds = seeds or {10: SlicePrompts(box=box_of(stub.truth[10]))}
    return propagate(stub, seeds, CompetingSettings(**changes), engine="competing")


def winners(result) -> dict[int, str | None]:
    return {index: getattr(record, "engine", None) for index, record in result.records.items()}


def test_of_equals_the_memorys_mask_is_taken_and_both_are_recorded():
    stub = Rivals(discs([8] * 21))
    result = compete(stub)
    assert np.array_equal(result.stack(), stub.truth)
    assert set(winners(result).values()) == {None, "memory"}, "the seed is nobody's"
    told = result.records[11].to_json()
    assert set(told["candidates"]) == {"prompt", "memory"}
    assert told["candidates"]["prompt"]["reason"] == "forward"
    assert told["candidates"]["memory"]["score"] == pytest.approx(0.5 + 0.5 * 0.9)
    assert json.loads(json.dumps(told)) == told
    assert not stub.order("prompted")[1:], "what the memory found is remembered as it is"


def test_the_mask_that_agrees_with_the_neighbour_wins_and_becomes_memory_and_prompt():
    stub = Rivals(discs([8] * 21))
    stub.answers[13] = disc(10, (26, 30))
    stub.projected[13] = right = disc(8, (25, 29))
    result = compete(stub)
    assert winners(result)[13] == "prompt"
    assert np.array_equal(result.masks[13], right)
    remembered = [call for call in stub.asked if call.kind == "prompted" and call.verbatim]
    assert [call.index for call in remembered] == [13]
    assert np.array_equal(remembered[0].prompts.mask, right)
    following = next(call for call in stub.asked if call.kind == "tracked" and call.index == 14)
    assert 13 in following.reads[1]
    projected = next(prompts for index, prompts, _ in stub.calls if index == 14)
    assert np.array_equal(projected.mask, right)


def test_predicted_quality_decides_where_agreement_does_not_count():
    stub = Rivals(discs([8] * 21))
    stub.projected[13] = disc(7)
    stub.predicted_iou[13] = 0.95
    assert winners(compete(stub, agreement=0.0))[13] == "prompt"
    assert winners(compete(stub, agreement=1.0))[13] == "memory"


def test_a_leak_of_one_engine_is_refused_and_the_other_goes_on():
    stub = Rivals(discs([8] * 21))
    stub.answers[14] = disc(20)
    result = compete(stub)
    assert winners(result)[14] == "prompt"
    assert result.records[14].candidates["memory"]["reason"].startswith("stopped:")
    assert (result.lower, result.upper) == (0, 20)


def test_absence_is_believed_unless_the_other_mask_is_good():
    stub = Rivals(discs([8] * 21))
    stub.scores = dict.fromkeys(range(14, 21), -3.0)
    assert compete(stub).upper == 20, "the projected prompt finds the same disc"
    stub.predicted_iou = dict.fromkeys(range(14, 21), 0.65)
    result = compete(stub)
    assert result.upper == 13
    assert result.end_upper == "stopped:object_score"
    assert result.records[14].engine is None
    assert result.records[14].candidates["prompt"]["reason"] == "forward"


def test_patience_jumps_over_slices_that_both_get_wrong():
    stub = Rivals(discs([8] * 21))
    for index in (13, 14):
        stub.answers[index] = stub.projected[index] = disc(20)
    result = compete(stub)
    assert [result.records[n].reason for n in (12, 13, 14, 15)] == [
        "forward",
        "interpolated",
        "interpolated",
        "forward",
    ]
    assert compete(stub, patience=1).end_upper == "stopped:iou"


def test_a_ball_ends_where_it_ends():
    truth = ball(24, 9.5, 11)
    stub = Rivals(truth)
    result = compete(stub, {11: SlicePrompts(box=box_of(truth[11]))}, area_ratio=50, iou_threshold=0.1)
    assert np.array_equal(result.stack(), truth)
    assert result.end_lower == result.end_upper == "stopped:object_score"


def test_limits_and_stop_marks_hold():
    stub = Rivals(discs([8] * 21))
    seeds = ObjectSeeds({10: SlicePrompts(box=box_of(stub.truth[10]))}, stops=frozenset({14}))
    result = propagate(stub, seeds, CompetingSettings(limits=(7, 20)), engine="competing")
    assert (result.lower, result.upper) == (7, 13)
    assert (result.end_lower, result.end_upper) == ("limit", "stopped:user")
    assert {call.index for call in stub.asked} | set(stub.visited) <= set(range(7, 14))


def test_drawn_slices_keep_their_mask():
    stub = Rivals(discs([8] * 21))
    drawn = disc(6, (22, 26))
    seeds = ObjectSeeds({10: SlicePrompts(mask=drawn)}, drawn=frozenset({10}))
    result = propagate(stub, seeds, CompetingSettings(iou_threshold=0.2, area_ratio=4), engine="competing")
    assert np.array_equal(result.masks[10], drawn)
    assert result.records[10].reason == "drawn"


def test_a_cancel_keeps_what_is_done():
    stub = Rivals(discs([8] * 21))
    progress = Progress(lambda *_: progress.cancel() if len(stub.asked) > 4 else None)
    seeds = {"one": {10: SlicePrompts(box=box_of(stub.truth[10]))}}
    result = propagate_objects(stub, seeds, CompetingSettings(), progress)["one"]
    assert not result.completed
    assert 10 in result.masks
    assert len(result.masks) < 21


def test_a_gap_takes_the_candidates_that_agree_with_the_other_direction():
    truth = discs([8] * 21)
    stub = Rivals(truth)
    for index in range(6, 12):
        stub.projected[index] = disc(10, (26, 30))
    seeds = {n: SlicePrompts(box=box_of(truth[n])) for n in (5, 12)}
    result = compete(stub, seeds)
    inside = [result.records[n] for n in range(6, 12)]
    assert {record.reason for record in inside} == {"blend"}
    assert {record.engine for record in inside} == {"memory"}
    assert set(inside[0].candidates) == {
        "prompt forward", "memory forward", "prompt backward", "memory backward",
    }  # fmt: skip
    assert np.array_equal(result.stack()[6:12], truth[6:12])


def test_a_gap_that_both_get_wrong_is_interpolated():
    truth = discs([8] * 21)
    stub = Rivals(truth)
    for index in range(6, 12):
        stub.answers[index] = stub.projected[index] = disc(4, (8, 8))
    result = compete(stub, {n: SlicePrompts(box=box_of(truth[n])) for n in (5, 12)})
    assert [result.records[n].reason for n in range(6, 12)] == ["interpolated"] * 6
    assert np.array_equal(result.stack()[6:12], truth[6:12])


def test_a_flipped_stack_gives_the_flipped_result():
    truth = discs([6, 7, 8, 8, 8, 8, 9, 8, 7, 6, 5], [(24, 24 + n) for n in range(11)])
    masks = []
    for stack in (truth, truth[::-1].copy()):
        stub = Rivals(stack)
        seeds = {n: SlicePrompts(box=box_of(stack[n])) for n in (3, 7)}
        masks.append(compete(stub, seeds).stack())
    assert np.array_equal(masks[0], masks[1][::-1])


def test_runs_that_an_edit_does_not_touch_are_used_again():
    truth = discs([8] * 21)
    stub = Rivals(truth)
    seeds = {n: SlicePrompts(box=box_of(truth[n])) for n in (5, 12)}
    before = compete(stub, seeds)
    asked = len(stub.asked) + len(stub.calls)
    again = propagate(stub, seeds, CompetingSettings(), previous=before, engine="competing")
    assert len(stub.asked) + len(stub.calls) == asked
    assert np.array_equal(again.stack(), before.stack())
    memory = propagate(stub, seeds, MemorySettings(), previous=before, engine="memory")
    assert {record.reason for record in memory.records.values()} >= {"blend"}
    assert len(stub.asked) + len(stub.calls) > asked, "another engine does its own walks"


def test_objects_share_slices_and_do_not_see_each_other():
    left, right = discs([6] * 12, [(24, 14)] * 12), discs([6] * 12, [(24, 42)] * 12)
    stub = Rivals(left | right)
    seeds = {name: {6: SlicePrompts(box=box_of(one[6]))} for name, one in (("left", left), ("right", right))}
    found = propagate_objects(stub, seeds, engine="competing")
    order = [index for index, _, _ in stub.calls]
    assert order == sorted(order[:10]) + sorted(order[10:], reverse=True)
    assert set(found) == {"left", "right"}


def test_settings_are_checked_and_taken_over():
    for wrong in ({"agreement": 1.1}, {"against_absence": "much"}, {"published": "sam2"}):
        with pytest.raises(InputError) as caught:
            CompetingSettings(**wrong)
        assert caught.value.code == f"option.{next(iter(wrong))}"
    from_prompt = CompetingSettings.of(PropagationSettings(iou_threshold=0.6))
    assert (from_prompt.iou_threshold, from_prompt.patience, from_prompt.appearance) == (0.6, 2, 0.3)
    from_memory = CompetingSettings.of(MemorySettings(coupled=True))
    assert (from_memory.coupled, from_memory.confidence_drop) == (True, 0.3)


def test_which_engine_is_meant():
    stub = Rivals(discs([8] * 3))
    assert choose_engine(stub, CompetingSettings()) == "competing"
    assert choose_engine(stub, PropagationSettings(), "competing") == "competing"
    assert choose_engine(stub, PropagationSettings()) == "memory"
    stub.tracker = None
    with pytest.raises(InputError) as caught:
        choose_engine(stub, PropagationSettings(), "competing")
    assert caught.value.code == "option.engine"
