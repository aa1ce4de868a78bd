"""Tracking with memory: order, what is read, what ends a walk, what may come back, what an edit does again."""

from __future__ import annotations

import numpy as np
import pytest
from memory_stub import StubTracker
from propagation_stub import SHAPE, ball, box_of, disc, discs, point
from SegmentAnythingMedLib.errors import InputError, PromptError
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects


def box_seed(truth: np.ndarray, *indices: int) -> dict[int, SlicePrompts]:
    return {index: SlicePrompts(box=box_of(truth[index])) for index in indices}


def reasons(result) -> dict[int, str]:
    return {index: record.reason for index, record in result.records.items()}


def test_a_ball_is_tracked_to_its_ends_with_a_reason_for_every_slice():
    truth = ball(24, 9.5, 11)
    stub = StubTracker(truth)
    result = propagate(stub, box_seed(truth, 11), MemorySettings(area_ratio=50, iou_threshold=0.1))
    assert np.array_equal(result.stack(), truth)
    assert not stub.calls, "the prompt engine is not asked"
    found = reasons(result)
    assert (found[11], found[12], found[10]) == ("seed", "forward", "backward")
    assert set(found) == {call.index for call in stub.asked}
    assert result.end_upper == result.end_lower == "stopped:object_score"
    record = result.records[12]
    assert (record.object_score, record.predicted_iou, record.area) == (5.0, 0.9, truth[12].sum())


def test_directions_have_separate_memories_of_what_can_be_read():
    truth = discs([8] * 41)
    stub = StubTracker(truth)
    propagate(stub, box_seed(truth, 20))
    for call in stub.asked[1:]:
        step = -1 if call.backward else 1
        behind = [call.index - step * n for n in range(1, 21)]
        behind = [n for n in behind if (n - 20) * step > 0]
        assert call.reads == ((20,), tuple(sorted(behind[:6])))
        assert call.pointers == tuple(sorted(behind[:15]))
    assert stub.order() == [*((n, False) for n in range(21, 41)), *((n, True) for n in range(19, -1, -1))]


def test_memory_does_not_grow_with_the_number_of_slices():
    stub = StubTracker(discs([8] * 120))
    propagate(stub, box_seed(stub.truth, 0))
    sizes = [call.nbytes for call in stub.asked]
    assert max(sizes) == sizes[40] == sizes[-1]


def test_coupled_the_way_down_reads_what_the_way_up_left():
    truth = discs([8] * 40)
    stub = StubTracker(truth)
    propagate(stub, box_seed(truth, 20), MemorySettings(coupled=True))
    down = {call.index: call for call in stub.asked if call.backward}
    assert down[19].reads == ((20,), tuple(range(21, 26)))
    assert down[19].pointers == tuple(range(21, 35))
    assert down[15].reads == ((20,), (16, 17, 18, 19, 21))
    assert down[3].reads == ((20,), (4, 5, 6, 7, 8, 9))


@pytest.mark.parametrize("coupled", [False, True])
def test_a_gap_is_tracked_both_ways_and_blended(coupled):
    truth = discs([8] * 21)
    stub = StubTracker(truth)
    result = propagate(stub, box_seed(truth, 5, 12), MemorySettings(coupled=coupled))
    assert np.array_equal(result.stack(), truth)
    found = reasons(result)
    assert all(found[n] == "blend" for n in range(6, 12))
    inner = [entry for entry in stub.order() if 5 < entry[0] < 12]
    assert inner == [*((n, False) for n in range(6, 12)), *((n, True) for n in range(11, 5, -1))]
    first_down = next(call for call in stub.asked if call.index == 4)
    assert first_down.reads == ((5, 12), tuple(range(6, 11)) if coupled else ())


def test_a_gap_is_always_filled():
    truth = discs([8] * 9)
    stub = StubTracker(truth)
    stub.scores = {4: -3.0}
    stub.answers = {5: np.ones(SHAPE, bool)}
    result = propagate(stub, box_seed(truth, 2, 6))
    assert reasons(result)[4] == reasons(result)[5] == "interpolated"
    assert result.records[4].rejected == "stopped:object_score"
    assert result.records[5].rejected == "stopped:full"
    assert np.array_equal(result.stack(), truth)
    above = [call for call in stub.asked if call.index == 3 and call.backward]
    assert 5 not in above[0].reads[1], "a leak is not remembered"


def test_absence_ends_a_walk_after_patience_and_is_remembered():
    truth = discs([8] * 7 + [0] * 8)
    stub = StubTracker(truth)
    result = propagate(stub, box_seed(truth, 3))
    assert result.upper == 6
    assert result.end_upper == "stopped:object_score"
    assert [n for n, _ in stub.order()][:6] == [4, 5, 6, 7, 8, 9], "two slices of patience, then one more"
    assert {reasons(result)[n] for n in (7, 8, 9)} == {"stopped:object_score"}
    last = next(call for call in stub.asked if call.index == 9)
    assert {7, 8} <= set(last.reads[1])


def test_the_object_may_reappear_elsewhere_and_smaller():
    truth = discs([8] * 7 + [0, 0] + [4] * 4, [(24, 28)] * 9 + [(10, 10)] * 4)
    stub = StubTracker(truth)
    result = propagate(stub, box_seed(truth, 3))
    assert np.array_equal(result.stack(), truth)
    assert result.records[9].note == "reappears"
    assert reasons(result)[7] == "stopped:object_score"
    assert result.end_upper == "edge"


def test_a_refused_slice_is_not_remembered_and_gets_the_shape_between():
    truth = discs([8] * 10)
    stub = StubTracker(truth)
    stub.answers = {5: disc(20)}
    result = propagate(stub, box_seed(truth, 3))
    assert reasons(result)[5] == "interpolated"
    assert result.records[5].rejected == "stopped:iou"
    assert np.array_equal(result.stack(), truth)
    after = next(call for call in stub.asked if call.index == 6)
    assert after.reads[1] == (4,)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (disc(8, (24, 45)), "stopped:iou"),
        (disc(12), "stopped:area"),
        (np.ones(SHAPE, bool), "stopped:full"),
    ],
)
def test_why_a_walk_stops(answer, reason):
    truth = discs([8] * 12)
    stub = StubTracker(truth)
    stub.answers = dict.fromkeys(range(7, 12), answer)
    result = propagate(stub, box_seed(truth, 4), MemorySettings(iou_threshold=0.4))
    assert result.end_upper == reason
    assert (result.lower, result.upper) == (0, 6)
    assert max(n for n, _ in stub.order()) == 9


def test_a_seed_that_covers_everything_is_flagged_and_not_tracked():
    stub = StubTracker(np.ones((5, *SHAPE), bool))
    result = propagate(stub, {2: SlicePrompts(box=(-0.5, -0.5, 55.5, 47.5))})
    assert list(result.masks) == [2]
    assert result.end_lower == result.end_upper == "stopped:full"
    assert any("covers the whole slice" in note for note in result.notes)


def test_limits_and_stop_marks_are_never_passed():
    truth = discs([8] * 20)
    stub = StubTracker(truth)
    seeds = ObjectSeeds(box_seed(truth, 10), frozenset({14}))
    result = propagate(stub, seeds, MemorySettings(limits=(6, 18)))
    assert (result.lower, result.upper) == (6, 13)
    assert (result.end_lower, result.end_upper) == ("limit", "stopped:user")
    assert {n for n, _ in stub.order()} == {6, 7, 8, 9, 11, 12, 13}


def test_stop_marks_split_a_gap():
    truth = discs([8] * 12)
    stub = StubTracker(truth)
    result = propagate(stub, ObjectSeeds(box_seed(truth, 2, 9), frozenset({5, 6})))
    assert not {5, 6} & set(result.masks)
    assert {5, 6} & {n for n, _ in stub.order()} == set()


@pytest.mark.parametrize("masks", ["refined", "verbatim"])
def test_a_drawn_slice_keeps_its_mask_and_what_is_remembered_is_chosen(masks):
    truth = discs([8] * 9)
    drawn = disc(7)
    stub = StubTracker(truth)
    stub.refined = truth[4]
    result = propagate(stub, {4: SlicePrompts(mask=drawn)}, MemorySettings(masks=masks))
    assert np.array_equal(result.masks[4], drawn)
    assert reasons(result)[4] == "drawn"
    (call,) = (call for call in stub.asked if call.kind == "prompted")
    assert call.verbatim == (masks == "verbatim")
    assert (call.prompts.box is None) == call.verbatim


def test_a_refinement_that_contradicts_the_drawing_is_not_believed():
    truth = discs([8] * 9)
    stub = StubTracker(truth)
    stub.refined = disc(5, (40, 10))
    result = propagate(stub, {4: SlicePrompts(mask=disc(8))})
    assert [call.verbatim for call in stub.asked if call.kind == "prompted"] == [False, True]
    assert "remembered as drawn" in result.records[4].note


def test_points_on_a_tracked_slice_correct_it():
    truth = discs([8] * 15)
    stub = StubTracker(truth)
    seeds = box_seed(truth, 5)
    first = propagate(stub, seeds)
    stub.asked.clear()
    click = point(28, 24)
    second = propagate(stub, {**seeds, 9: click}, previous=first)
    prompted = [call for call in stub.asked if call.kind == "prompted"]
    assert [call.index for call in prompted] == [9], "the first seed is used again"
    assert prompted[0].reads[0] == (5,)
    assert not prompted[0].backward
    assert np.array_equal(prompted[0].base, first.runs[next(k for k in first.runs if "memory" in k)].low_res[9])
    assert (second.records[9].reason, second.records[9].note) == ("seed", "correction")
    fresh = next(call for call in stub.asked if call.index == 10)
    assert fresh.reads == ((5, 9), ()), "nothing tracked before is remembered"
    stub.asked.clear()
    third = propagate(stub, {**seeds, 9: click}, previous=second)
    assert not stub.asked, "nothing changed, nothing is done"
    assert np.array_equal(third.stack(), second.stack())
    moved = propagate(stub, {**seeds, 9: point(27, 24)}, previous=third)
    again = [call for call in stub.asked if call.kind == "prompted"]
    assert np.array_equal(again[0].base, prompted[0].base), "a changed correction starts where the first one did"
    assert moved.records[9].note == "correction"


def test_points_after_all_seeds_were_removed_mean_something_new():
    truth = discs([8] * 15)
    stub = StubTracker(truth)
    first = propagate(stub, box_seed(truth, 5))
    stub.asked.clear()
    second = propagate(stub, {9: point(28, 24)}, previous=first)
    assert stub.asked[0].base is None
    assert second.records[9].note == ""


def test_a_correction_outlives_a_moved_seed():
    truth = discs([8] * 15)
    stub = StubTracker(truth)
    first = propagate(stub, box_seed(truth, 5))
    second = propagate(stub, {**box_seed(truth, 5), 9: point(28, 24)}, previous=first)
    third = propagate(stub, {5: SlicePrompts(box=(18, 14, 38, 34)), 9: point(28, 24)}, previous=second)
    assert third.records[9].note == "correction"


def test_the_same_points_without_history_are_a_seed_like_others():
    truth = discs([8] * 15)
    stub = StubTracker(truth)
    propagate(stub, {**box_seed(truth, 5), 9: point(28, 24)})
    assert all(call.base is None for call in stub.asked)


def test_an_edit_does_again_only_what_reads_it():
    truth = discs([8] * 80)
    stub = StubTracker(truth)
    settings = MemorySettings(conditioning_slices=1)
    first = propagate(stub, box_seed(truth, 5, 40, 75), settings)
    stub.asked.clear()
    changed = {**box_seed(truth, 5, 40), 75: point(28, 24)}
    second = propagate(stub, changed, settings, previous=first)
    assert {n for n, _ in stub.order()} == {*range(41, 75), *range(76, 80)}
    assert stub.order("prompted") == [(75, False)]
    whole = propagate(StubTracker(truth), changed, settings)
    assert np.array_equal(second.stack(), whole.stack())
    assert reasons(second) == reasons(whole)


def test_by_default_every_walk_reads_up_to_four_seeds_and_is_done_again():
    truth = discs([8] * 20)
    stub = StubTracker(truth)
    first = propagate(stub, box_seed(truth, 5, 10))
    stub.asked.clear()
    propagate(stub, {**box_seed(truth, 5), 10: point(28, 24)}, previous=first)
    assert {n for n, _ in stub.order()} == set(range(20)) - {5, 10}
    stub.asked.clear()
    third = propagate(stub, ObjectSeeds(box_seed(truth, 5, 10), frozenset({17})), previous=first)
    assert {n for n, _ in stub.order()} == set(range(11, 17)), "a stop mark concerns one walk"
    assert third.upper == 16


def test_objects_meet_on_slices_and_do_not_see_each_other():
    truth = discs([8] * 12)
    stub = StubTracker(truth)
    results = propagate_objects(stub, {"a": box_seed(truth, 3), "b": box_seed(truth, 6)})
    alone = propagate(StubTracker(truth), box_seed(truth, 6))
    assert np.array_equal(results["b"].stack(), alone.stack())
    up = [n for n, backward in stub.order() if not backward]
    assert up == sorted(up), "each slice is visited for all objects at once"


def test_a_flipped_stack_gives_a_flipped_result():
    truth = discs([0, 0, 4, 6, 7, 8, 8, 8, 7, 7, 6, 5, 0, 0, 0])
    seeds = box_seed(truth, 5, 9)
    flipped = {len(truth) - 1 - n: prompts for n, prompts in seeds.items()}
    result = propagate(StubTracker(truth), seeds)
    mirrored = propagate(StubTracker(truth[::-1].copy()), flipped)
    assert np.array_equal(result.stack(), mirrored.stack()[::-1])
    assert (result.end_lower, result.end_upper) == (mirrored.end_upper, mirrored.end_lower)


@pytest.mark.parametrize("after", [0, 1, 4, 9])
def test_cancel_between_slices_keeps_what_is_done(after):
    truth = discs([8] * 12)
    stub, seen = StubTracker(truth), []

    def listen(progress: Progress) -> None:
        seen.append(progress.done)
        if progress.done >= after and progress.label:
            progress.cancel()

    progress = Progress(listen)
    result = propagate(stub, box_seed(truth, 4), progress=progress)
    assert not result.completed
    assert len(stub.asked) <= after + 1
    assert len(result.masks) == len(stub.asked)
    again = propagate(stub, box_seed(truth, 4), previous=result)
    assert again.completed
    assert np.array_equal(again.stack(), truth)


def test_bad_seeds_are_left_out_with_a_note():
    truth = discs([8] * 6)
    stub = StubTracker(truth)
    stub.answers = {1: np.zeros(SHAPE, bool)}
    result = propagate(stub, box_seed(truth, 1, 4))
    assert "slice 1" in " ".join(result.notes)
    assert result.records[1].reason != "seed"
    stub.answers[4] = np.zeros(SHAPE, bool)
    with pytest.raises(PromptError) as caught:
        propagate(stub, box_seed(truth, 1, 4))
    assert caught.value.code == "prompt.no_mask"


def test_engine_choice():
    truth = discs([8] * 6)
    able, plain = StubTracker(truth), StubTracker(truth)
    plain.tracker = None
    seeds = box_seed(truth, 2)
    propagate(able, seeds, engine="prompt")
    assert able.calls
    assert not able.asked
    propagate(able, seeds, PropagationSettings.published())
    assert not able.asked, "micro-sam's rules belong to the prompt engine"
    propagate(able, seeds, PropagationSettings(limits=(1, 3)))
    assert {n for n, _ in able.order()} == {1, 3}
    propagate(plain, seeds)
    assert plain.calls
    for wrong in (
        {"engine": "memory", "predictor": plain},
        {"engine": "auto", "settings": MemorySettings(), "predictor": plain},
        {"engine": "prompt", "settings": MemorySettings(), "predictor": able},
        {"engine": "both", "predictor": able},
    ):
        with pytest.raises(InputError) as caught:
            propagate(wrong.pop("predictor"), seeds, **wrong)
        assert caught.value.code == "option.engine"


def test_a_listener_hears_of_every_slice_and_settings_may_differ_by_object():
    truth = discs([8] * 10)
    stub, heard = StubTracker(truth), {"a": {}, "b": {}}
    results = propagate_objects(
        stub,
        {"a": box_seed(truth, 2, 6), "b": box_seed(truth, 4)},
        {"a": PropagationSettings(), "b": MemorySettings(limits=(3, 5))},
        listener=lambda name, decided: heard[name].update(decided),
    )
    for name, result in results.items():
        assert {index: record for index, (record, _) in heard[name].items()} == dict(result.records)
        assert set(result.masks) == {index for index, (_, mask) in heard[name].items() if mask is not None}
    assert set(results["b"].masks) == {3, 4, 5}


def test_the_rest_of_the_way_is_estimated():
    truth = discs([8] * 30)
    stub, most = StubTracker(truth), []
    propagate(stub, box_seed(truth, 10), progress=Progress(lambda progress: most.append(progress.at_most)))
    known = [number for number in most if number is not None]
    assert known[0] >= known[-1]
    assert known[-1] == 0
