"""The controller on real MRML: live prompts, undo, several segments, candidates, messages."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from controller_bench import Gate, bench, dice
from SegmentAnythingMedLib.errors import InputError, ModelError, PromptError

__all__ = ["bench"]
pytest.importorskip("slicer")


class TestLive:
    def test_a_point_becomes_the_mask_of_its_slice(self, bench):
        bench.prompt()
        assert bench.filled() == [bench.middle]
        assert dice(bench.mask(), bench.phantom.mask & (np.arange(24) == bench.middle)[:, None, None]) > 0.95
        written = bench.of("slice_result")[-1]
        assert (written.slices, written.axis, written.segment_id) == ((bench.middle,), "k", bench.segment_id)
        assert 0 < written.seconds < 60
        assert bench.controller.records[bench.middle].reason == "seed"
        assert (bench.of("busy")[0], bench.of("busy")[-1], bench.of("error")) == (True, False, [])
        assert bench.of("model")[-1].model["name"] == "stub"

    def test_only_the_slices_whose_prompts_changed_are_asked_again(self, bench):
        bench.controller.want_candidates = False
        bench.prompt()
        decodes = bench.model.decodes
        bench.prompt(bench.middle + 2)
        assert bench.model.decodes == decodes + 1
        assert bench.filled() == [bench.middle, bench.middle + 2]
        assert bench.of("slice_result")[-1].slices == (bench.middle + 2,)
        bench.run()
        assert bench.model.decodes == decodes + 1, "nothing has changed"

    def test_the_network_runs_in_the_worker_and_everything_else_in_the_main_thread(self, bench):
        seen = set()
        bench.model.before_decode = lambda count: seen.add(threading.current_thread())
        told = set()
        bench.controller.listen(lambda event, data: told.add(threading.current_thread()))
        bench.prompt()
        bench.propagate()
        assert seen == {bench.controller.board.worker.thread}
        assert told == {threading.main_thread()}

    def test_two_fast_prompts_give_the_answer_to_the_last(self, bench):
        i, j, k = bench.centre
        gate = Gate(bench.model)
        bench.place((i, j, k))
        bench.controller.prompts_changed()
        bench.controller.poll()
        assert gate.reached.wait(30)
        bench.place((i, j, k + 1))
        bench.controller.prompts_changed()
        bench.controller.poll()
        bench.place((i, j, k + 2))
        bench.controller.prompts_changed()
        gate.open()
        bench.finish()
        assert bench.filled() == [k, k + 1, k + 2]
        assert len(bench.of("slice_result")) == 1
        assert bench.controller.undo()
        assert bench.filled() == []

    def test_a_point_that_was_removed_again_leaves_no_mask(self, bench):
        gate = Gate(bench.model)
        node = bench.place(bench.centre)
        bench.controller.prompts_changed()
        bench.controller.poll()
        assert gate.reached.wait(30)
        node.RemoveNthControlPoint(0)
        gate.open()
        bench.run()
        assert bench.filled() == []
        assert bench.of("slice_result") == []

    def test_removing_all_prompts_of_a_slice_removes_its_mask_and_no_other(self, bench):
        node = bench.prompt()
        bench.prompt(bench.middle + 2)
        node.RemoveNthControlPoint(0)
        bench.run()
        assert bench.filled() == [bench.middle + 2]
        assert list(bench.controller.records) == [bench.middle + 2]
        node.RemoveNthControlPoint(0)
        bench.run()
        assert bench.filled() == []
        assert bench.controller.undo()
        assert bench.filled() == [bench.middle + 2]

    def test_negative_points_alone_are_said_in_words_and_take_the_mask_away(self, bench):
        bench.prompt(role="negative")
        assert "only negative" in bench.of("status")[-1]
        assert bench.of("error") == []
        node = bench.prompt(offset=(1, 1))
        assert bench.filled() == [bench.middle]
        node.RemoveNthControlPoint(0)
        bench.run()
        assert bench.filled() == []

    def test_not_live_waits_for_the_wish(self, bench):
        bench.controller.live = False
        bench.prompt()
        assert bench.filled() == []
        assert bench.of("prompts")[-1].slices == (bench.middle,)
        bench.controller.segment_slice()
        bench.finish()
        assert bench.filled() == [bench.middle]

    def test_a_painted_slice_is_left_alone_unless_asked(self, bench):
        bench.paint(bench.middle, None)
        painted = bench.mask()
        bench.prompt()
        assert np.array_equal(bench.mask(), painted)
        assert bench.of("slice_result")[-1].protected == (bench.middle,)
        assert any("paint" in note for note in bench.of("slice_result")[-1].notes)
        bench.controller.overwrite_painted = True
        bench.controller.segment_slice()
        bench.finish()
        assert dice(bench.mask()[bench.middle], bench.phantom.mask[bench.middle]) > 0.95

    def test_painting_over_a_mask_keeps_the_painting(self, bench):
        bench.prompt()
        bench.paint(bench.middle, None)
        painted = bench.mask()
        bench.prompt(offset=(2, 2))
        assert np.array_equal(bench.mask(), painted)

    @pytest.mark.parametrize("axis", ["k", "j", "i"])
    def test_every_axis(self, bench, axis):
        bench.controller.axis = axis
        bench.prompt()
        found = bench.mask()
        index = dict(zip("ijk", bench.centre, strict=True))[axis]
        others = tuple(n for n, name in enumerate("kji") if name != axis)
        assert np.flatnonzero(found.any(axis=others)).tolist() == [index]
        assert bench.of("slice_result")[-1].axis == axis

    def test_the_display_window_can_be_the_models(self, bench):
        bench.phantom.node.GetDisplayNode().SetWindowLevel(50, 1000)
        bench.controller.window = "display"
        bench.prompt()
        assert bench.filled() == [], "everything is black in this window"
        bench.phantom.node.GetDisplayNode().SetWindowLevel(100, 80)
        bench.controller.segment_slice()
        bench.finish()
        assert bench.filled() == [bench.middle]

    def test_the_users_voxels_are_never_changed(self, bench):
        import slicer

        before = slicer.util.arrayFromVolume(bench.phantom.node).copy()
        bench.prompt()
        bench.propagate()
        assert np.array_equal(slicer.util.arrayFromVolume(bench.phantom.node), before)


class TestUndo:
    def test_undo_leaves_the_prompts_alone_and_is_not_undone_by_the_next_prompt(self, bench):
        node = bench.prompt()
        assert bench.controller.can_undo
        assert bench.controller.undo()
        assert (bench.filled(), node.GetNumberOfControlPoints()) == ([], 1)
        bench.run()
        assert bench.filled() == [], "the prompt has not changed"
        bench.prompt(bench.middle + 2)
        assert bench.filled() == [bench.middle + 2]
        bench.controller.segment_slice()
        bench.finish()
        assert bench.filled() == [bench.middle, bench.middle + 2], "asked for, it comes again"

    def test_many_steps_back_and_forth(self, bench):
        slices = [bench.middle + n for n in (-2, -1, 0, 1, 2)]
        for k in slices:
            bench.prompt(k)
        for left in range(4, -1, -1):
            assert bench.controller.undo()
            assert bench.filled() == slices[:left]
            assert list(bench.controller.records) == slices[:left]
        assert not bench.controller.undo()
        for done in range(1, 6):
            assert bench.controller.redo()
            assert bench.filled() == slices[:done]
        assert not bench.controller.can_redo

    def test_a_prompt_that_is_dragged_makes_one_step(self, bench):
        node = bench.prompt()
        first = bench.mask()
        i, j, k = bench.centre
        for n in (2, 4, 6):
            node.SetNthControlPointPositionWorld(0, *bench.phantom.world((i, j, k + n)))
            bench.run()
            assert bench.filled() == [k + n]
        assert bench.controller.undo()
        assert np.array_equal(bench.mask(), first)
        assert bench.controller.undo()
        assert bench.filled() == []
        assert not bench.controller.can_undo

    def test_moves_in_two_segments_are_two_steps(self, bench):
        i, j, k = bench.centre
        segments = [bench.segment_id, bench.add_segment()]
        nodes = []
        for segment in segments:
            bench.controller.segment_id = segment
            nodes.append(bench.place((i, j, k), segment_id=segment))
            bench.run()
        for n in (1, 2):
            for segment, node in zip(segments, nodes, strict=True):
                bench.controller.segment_id = segment
                node.SetNthControlPointPositionWorld(0, *bench.phantom.world((i, j, k + n)))
                bench.run()
        assert bench.controller.undo()
        assert [bench.filled(segment) for segment in segments] == [[k + 2], [k + 1]]

    def test_the_same_answer_again_makes_no_step(self, bench):
        bench.prompt()
        bench.controller.segment_slice()
        bench.finish()
        assert bench.controller.undo()
        assert not bench.controller.can_undo

    def test_after_an_undo_the_slice_does_not_count_as_painted(self, bench):
        bench.prompt()
        bench.controller.undo()
        bench.prompt(offset=(1, 0))
        assert bench.filled() == [bench.middle]


class TestSegments:
    def test_every_segment_keeps_its_prompts_and_masks(self, bench):
        bench.prompt()
        first, second = bench.segment_id, bench.add_segment()
        bench.segment_id = bench.controller.segment_id = second
        assert bench.controller.records == {}
        bench.prompt(bench.middle + 2)
        bench.controller.segment_id = first
        assert list(bench.controller.records) == [bench.middle]
        decodes = bench.model.decodes
        bench.run()
        assert bench.model.decodes == decodes, "switching asks nothing again"
        assert (bench.filled(first), bench.filled(second)) == ([bench.middle], [bench.middle + 2])

    def test_another_segment_loses_nothing_unless_the_editor_says_so(self, bench):
        bench.prompt()
        first, before = bench.segment_id, bench.mask()
        bench.segment_id = bench.controller.segment_id = bench.add_segment()
        bench.prompt(offset=(1, 1))
        assert np.array_equal(bench.mask(first), before)
        assert bench.mask().any()


class TestMessages:
    def test_nothing_chosen_is_said_in_words(self, bench):
        bench.controller.segment_id = ""
        for action in (bench.controller.segment_slice, bench.controller.propagate, bench.controller.accept):
            with pytest.raises(InputError) as caught:
                action()
            assert caught.value.code == "segment.missing"
        bench.controller.volume = None
        with pytest.raises(InputError) as caught:
            bench.controller.propagate()
        assert caught.value.code == "volume.missing"
        bench.run()
        assert (bench.controller.records, bench.controller.candidates, bench.controller.resolved_axis) == (
            {},
            None,
            None,
        )

    def test_no_prompt_is_said_in_words(self, bench):
        for action in (bench.controller.segment_slice, bench.controller.propagate):
            with pytest.raises(PromptError) as caught:
                action()
            assert caught.value.code == "prompt.none"

    def test_a_model_that_is_missing_is_an_error_event_and_work_goes_on_with_another(self, bench):
        def open_model(name, device):
            if name == "missing":
                raise ModelError("checkpoint.missing", "Model 'missing' needs a file.")
            return bench.model

        bench.controller.host._open_model = open_model
        bench.controller.model_name = "missing"
        bench.prompt()
        assert [error.code for error in bench.of("error")] == ["checkpoint.missing"]
        assert not bench.controller.busy
        bench.controller.model_name = "there"
        bench.run()
        assert bench.filled() == [bench.middle], "the unanswered prompt is answered now"

    def test_out_of_memory_is_an_error_event_and_the_next_prompt_works(self, bench):
        def fail(count):
            raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")

        bench.model.before_decode = fail
        bench.prompt()
        assert [error.code for error in bench.of("error")] == ["device.memory"]
        bench.model.before_decode = lambda count: None
        bench.prompt(offset=(1, 0))
        assert bench.filled() == [bench.middle]

    def test_an_unforeseen_error_is_an_event_with_its_text_and_goes_to_the_log(self, bench, caplog):
        def fail(count):
            raise ZeroDivisionError("by zero")

        bench.model.before_decode = fail
        bench.prompt()
        assert bench.of("error")[0].code == "job.failed"
        assert "ZeroDivisionError: by zero" in str(bench.of("error")[0])
        assert "Traceback" in caplog.text
        bench.model.before_decode = lambda count: None
        bench.prompt(offset=(1, 0))
        assert bench.filled() == [bench.middle]

    def test_an_estimate_before_the_work(self, bench):
        bench.controller.estimate((2, 11))
        bench.finish()
        assert bench.of("estimate")[0]["slices"] == 10
        assert bench.of("estimate")[0]["memory_bytes"] > 0

    def test_prepare_opens_the_model_before_the_first_prompt(self, bench):
        bench.controller.prepare()
        bench.finish()
        assert bench.controller.host.model is bench.model
        assert bench.of("model")[0].voxels_sha256

    def test_what_is_needed_is_installed_before_the_first_job_and_only_then(self, bench):
        installed = []
        controller = type(bench.controller)(bench.controller.host, before_first_use=lambda: installed.append(1))
        assert installed == []
        controller.prepare()
        controller.wait(10)
        controller.prepare()
        controller.wait(10)
        assert installed == [1]
        assert controller.close()

    def test_the_sam_2_package_is_asked_for_with_a_model_of_that_family(self, bench):
        installed = []
        controller = type(bench.controller)(bench.controller.host, before_sam2=lambda: installed.append(1))
        for name, count in (("built-in", 0), ("sam2-tiny", 1), ("built-in", 1), ("sam2-tiny", 1)):
            controller.model_name = name
            controller.prepare()
            assert controller.wait(10)
            assert len(installed) == count
        assert controller.close()
