"""Propagation through the controller: written while it runs, one undo step, painted slices, several segments."""

from __future__ import annotations

import time

import numpy as np
import pytest
from controller_bench import Gate, bench, dice
from SegmentAnythingMedLib.errors import InputError

__all__ = ["bench"]
pytest.importorskip("slicer")


def extent(bench):
    return np.flatnonzero(bench.phantom.mask.any(axis=(1, 2))).tolist()


class TestWalk:
    def test_the_object_is_filled_and_every_slice_has_a_reason(self, bench):
        bench.prompt()
        bench.propagate()
        assert dice(bench.mask(), bench.phantom.mask) > 0.95
        records = bench.controller.records
        assert {records[k].reason for k in bench.filled()} == {"seed", "forward", "backward"}
        assert all(records[k].predicted_iou is not None for k in bench.filled())
        done = bench.of("propagated")[-1]
        assert done.completed
        assert done.slices[bench.segment_id] == tuple(bench.filled())
        assert done.ends[bench.segment_id][0].startswith("stopped:")
        assert done.seconds > 0

    @pytest.mark.parametrize("direction", ["up", "down", "both"])
    def test_directions(self, bench, direction):
        bench.prompt()
        bench.propagate(direction=direction)
        found, k = bench.filled(), bench.middle
        assert (found[0] < k, found[-1] > k) == (direction != "up", direction != "down")

    def test_limits(self, bench):
        bench.prompt()
        bench.propagate(limits=(bench.middle - 2, bench.middle + 1))
        assert bench.filled() == [bench.middle + n for n in (-2, -1, 0, 1)]
        assert bench.of("propagated")[-1].ends[bench.segment_id] == ("limit", "limit")
        with pytest.raises(InputError) as caught:
            bench.controller.propagate(direction="left")
        assert caught.value.code == "option.direction"

    def test_a_stop_mark_ends_it_and_takes_away_what_was_beyond(self, bench):
        bench.prompt()
        bench.propagate()
        before = bench.filled()
        i, j, k = bench.centre
        bench.place((i, j, k + 2), "stop")
        bench.propagate()
        assert bench.filled() == [n for n in before if n < k + 2]
        assert bench.controller.records[k + 2].reason == "stopped:user"
        assert bench.controller.undo()
        assert bench.filled() == before

    def test_several_seeds_fill_the_gap_between_them(self, bench):
        bench.prompt(bench.middle - 2)
        bench.prompt(bench.middle + 2)
        bench.propagate()
        assert {bench.controller.records[bench.middle + n].reason for n in (-1, 0, 1)} == {"blend"}

    def test_a_prompt_on_a_slice_asks_again_only_what_depends_on_it_and_encodes_nothing(self, bench):
        bench.controller.want_candidates = False
        bench.prompt()
        bench.propagate()
        decodes, records = bench.model.decodes, bench.controller.records
        bench.prompt(bench.middle + 2, offset=(1, 0))
        bench.propagate()
        done = bench.of("propagated")[-1]
        assert done.encodes == 0
        assert 0 < bench.model.decodes - decodes < decodes
        for k in bench.filled():
            if k < bench.middle:
                assert bench.controller.records[k] == records[k]

    def test_one_undo_step_in_all(self, bench):
        bench.prompt()
        bench.propagate()
        assert len(bench.filled()) > 5
        assert bench.controller.undo()
        assert bench.filled() == [bench.middle]
        assert list(bench.controller.records) == [bench.middle]
        assert bench.controller.redo()
        assert dice(bench.mask(), bench.phantom.mask) > 0.95


class TestWhileItRuns:
    def test_slices_are_written_as_they_are_found(self, bench):
        bench.prompt()
        gate = Gate(bench.model, 4)
        bench.controller.propagate()
        bench.poll_until(gate.reached.is_set)
        bench.controller.poll()
        assert len(bench.filled()) == 3
        assert len(bench.controller.records) == 3
        assert bench.controller.propagating
        gate.open()
        bench.finish()
        assert bench.controller.undo()
        assert bench.filled() == [bench.middle]

    def test_progress_with_an_upper_bound_of_what_is_left(self, bench):
        bench.prompt()
        bench.heard.clear()
        gate = Gate(bench.model, 4)
        bench.controller.propagate()
        bench.poll_until(gate.reached.is_set)
        bench.controller.poll()
        step = bench.of("progress")[-1]
        assert (step.label, step.done, step.at_most) == ("Propagating", 3, True)
        assert step.done < step.total <= 24
        assert step.remaining_s > 0
        gate.open()

    def test_cancel_ends_after_the_slice_that_runs_and_keeps_what_is_done(self, bench):
        bench.prompt()
        bench.model.before_decode = lambda count: time.sleep(0.05)
        bench.controller.propagate()
        bench.poll_until(lambda: len(bench.filled()) >= 3)
        bench.controller.cancel()
        decodes = bench.model.decodes
        bench.finish()
        assert bench.model.decodes <= decodes + 1, "the slice that is being computed is the last one"
        kept = bench.filled()
        assert 3 <= len(kept) < len(extent(bench)) - 2
        assert not bench.of("propagated")[-1].completed
        bench.model.before_decode = lambda count: None
        bench.propagate()
        assert set(kept) < set(bench.filled())

    def test_an_error_on_the_way_keeps_what_is_done(self, bench):
        bench.prompt()
        last = bench.model.decodes + 4

        def fail(count):
            if count >= last:  # once would be met by keeping fewer features
                raise MemoryError

        bench.model.before_decode = fail
        bench.propagate()
        assert [error.code for error in bench.of("error")] == ["device.memory"]
        assert len(bench.filled()) == len(bench.controller.records) == 3
        assert bench.controller.undo()
        assert bench.filled() == [bench.middle]

    def test_a_second_one_is_refused_while_it_runs(self, bench):
        bench.prompt()
        gate = Gate(bench.model)
        bench.controller.propagate()
        for action in (bench.controller.propagate, bench.controller.accept):
            with pytest.raises(InputError) as caught:
                action()
            assert caught.value.code == "job.running"
        gate.open()
        bench.finish()

    def test_prompts_that_change_end_it_and_the_new_ones_are_answered(self, bench):
        bench.prompt()
        gate = Gate(bench.model, 3)
        bench.controller.propagate()
        bench.poll_until(gate.reached.is_set)
        bench.controller.poll()
        i, j, k = bench.centre
        bench.place((i, j, k + 5))
        bench.controller.prompts_changed()
        gate.open()
        bench.finish()
        assert "prompts have changed" in bench.of("dropped")[-1]
        assert bench.of("propagated") == []
        assert k + 5 in bench.filled()
        assert len(bench.filled()) < 5

    def test_undo_while_it_runs_ends_it(self, bench):
        bench.prompt()
        gate = Gate(bench.model, 4)
        bench.controller.propagate()
        bench.poll_until(gate.reached.is_set)
        bench.controller.poll()
        assert bench.controller.undo()
        gate.open()
        bench.finish()
        assert bench.filled() == [bench.middle]

    def test_painting_while_it_runs_is_not_written_over(self, bench):
        bench.prompt()
        gate = Gate(bench.model, 4)
        bench.controller.propagate()
        bench.poll_until(gate.reached.is_set)
        bench.controller.poll()
        for k in (bench.middle + 1, bench.middle - 1):
            bench.paint(k, None)
        painted = bench.mask()
        gate.open()
        bench.finish()
        for k in (bench.middle + 1, bench.middle - 1):
            assert np.array_equal(bench.mask()[k], painted[k])

    def test_a_segment_set_to_completed_is_refused_once_and_ends_it(self, bench):
        import slicer

        bench.prompt()
        before = bench.mask()
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.SetSegmentStatus(bench.segmentation.GetSegmentation().GetSegment(bench.segment_id), logic.Completed)
        bench.model.before_decode = lambda count: time.sleep(0.01)
        bench.propagate()
        assert [error.code for error in bench.of("error")] == ["segment.completed"]
        assert np.array_equal(bench.mask(), before)
        assert bench.of("propagated") == []


class TestPainted:
    def test_painted_slices_are_seeds_and_stay(self, bench):
        i, j, k = bench.centre
        drawn = np.zeros(bench.phantom.mask.shape[1:], dtype=bool)
        drawn[j - 4 : j + 4, i - 4 : i + 4] = True
        bench.paint(k + 3, drawn)
        bench.prompt()
        bench.propagate()
        assert np.array_equal(bench.mask()[k + 3], drawn)
        assert bench.controller.records[k + 3].reason == "drawn"
        assert bench.controller.records[k + 1].reason in ("blend", "interpolated")
        assert bench.controller.undo()
        assert bench.filled() == [k, k + 3]

    def test_a_painted_slice_alone_is_enough(self, bench):
        bench.paint(bench.middle, bench.phantom.mask[bench.middle])
        bench.propagate()
        assert dice(bench.mask(), bench.phantom.mask) > 0.9

    def test_not_as_seeds_they_are_still_left_alone(self, bench):
        bench.prompt()
        bench.paint(bench.middle + 2, None)
        painted = bench.mask()[bench.middle + 2]
        bench.controller.painted_as_seeds = False
        bench.propagate()
        assert np.array_equal(bench.mask()[bench.middle + 2], painted)
        assert bench.of("propagated")[-1].protected[bench.segment_id] == (bench.middle + 2,)
        assert bench.controller.records[bench.middle + 2].reason == "forward"

    def test_an_erased_slice_is_where_the_object_ends(self, bench):
        bench.prompt()
        bench.propagate()
        for k in [k for k in bench.filled() if k > bench.middle + 1]:
            bench.paint(k, np.zeros(bench.phantom.mask.shape[1:], dtype=bool))
        kept = bench.filled()
        bench.propagate()
        assert bench.filled() == kept
        assert bench.controller.records[bench.middle + 2].reason == "stopped:user"

    def test_overwritten_when_asked(self, bench):
        bench.prompt()
        bench.paint(bench.middle + 2, None)
        bench.controller.overwrite_painted = True
        bench.propagate()
        assert dice(bench.mask(), bench.phantom.mask) > 0.95

    def test_another_segment_as_seed(self, bench):
        other = bench.add_segment("outline")
        bench.paint(bench.middle, bench.phantom.mask[bench.middle], other)
        assert bench.controller.seed_from_segment(segment_id=other) == 1
        bench.propagate()
        assert dice(bench.mask(), bench.phantom.mask) > 0.9
        assert bench.filled(other) == [bench.middle]


class TestSeveralSegments:
    def test_together_they_share_what_the_network_sees(self, bench):
        i, j, k = bench.centre
        bench.prompt()
        second = bench.add_segment()
        bench.place((i, j, k + 1), segment_id=second)
        gate = Gate(bench.model, 5)
        bench.controller.propagate(segment_ids=[bench.segment_id, second])
        bench.poll_until(gate.reached.is_set)
        gate.open()
        bench.finish()
        done = bench.of("propagated")[-1]
        assert set(done.slices) == {bench.segment_id, second}
        assert done.encodes <= len(extent(bench)) + 2
        for segment in (bench.segment_id, second):
            assert dice(bench.mask(segment), bench.phantom.mask) > 0.95
        assert bench.controller.undo()
        assert (bench.filled(), bench.filled(second)) == ([k], []), "one step for both"

    def test_one_without_usable_prompts_does_not_stop_the_other(self, bench):
        bench.prompt()
        second = bench.add_segment("empty one")
        bench.place(bench.centre, "stop", second)
        bench.propagate(segment_ids=[bench.segment_id, second])
        assert dice(bench.mask(), bench.phantom.mask) > 0.95
        assert bench.of("error")[-1].code == "prompt.only_negative"
        assert "empty one" in str(bench.of("error")[-1])
