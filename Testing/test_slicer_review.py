"""Accept, reject, candidates, provenance and what a saved scene brings back."""

from __future__ import annotations

import numpy as np
import pytest
from controller_bench import bench, dice
from SegmentAnythingMedLib.errors import InputError
from stub_model import StubModel

__all__ = ["bench"]
pytest.importorskip("slicer")


def provenance(bench):
    from SegmentAnythingMedLib.apps.slicer.provenance import read_provenance

    return read_provenance(bench.segmentation, bench.segment_id)


def test_how_it_was_made_is_in_the_segment(bench):
    bench.prompt()
    bench.propagate(direction="up")
    found = provenance(bench)
    assert (found.status, found.axis, found.model["sha256"]) == ("draft", "k", "ab" * 32)
    assert found.device["device"] == "cpu"
    assert len(found.image["voxels_sha256"]) == 64
    assert found.settings["direction"] == "up"
    assert found.prompts[0]["type"] == "point"
    assert found.reasons()[bench.middle] == "seed"
    assert found.reasons()[bench.middle + 1] == "forward"
    assert found.ends["lower"] == bench.middle
    assert bench.controller.status == "draft"


def test_accept_makes_it_final_until_the_next_mask(bench):
    bench.prompt()
    bench.controller.accept("A. Reader")
    assert bench.controller.status == provenance(bench).status == "accepted"
    assert provenance(bench).reviewer == "A. Reader"
    bench.prompt(bench.middle + 1)
    assert bench.controller.status == "draft"


def test_reject_puts_back_what_was_there_in_one_step(bench):
    bench.paint(bench.middle + 8, None)
    painted = bench.mask()
    bench.prompt()
    bench.propagate(limits=(0, bench.middle + 5))
    result = bench.mask()
    assert result.sum() > painted.sum()
    bench.controller.reject()
    assert np.array_equal(bench.mask(), painted)
    assert bench.controller.records == {}
    assert bench.controller.status == ""
    assert bench.controller.undo()
    assert np.array_equal(bench.mask(), result)
    assert bench.controller.status == "draft"


def test_reject_goes_back_to_the_last_accept(bench):
    bench.prompt()
    bench.controller.accept()
    accepted = bench.mask()
    bench.prompt(offset=(3, 3))
    bench.propagate()
    assert len(bench.filled()) > 5
    bench.controller.reject()
    assert np.array_equal(bench.mask(), accepted)
    assert bench.controller.status == "accepted"
    bench.controller.reject()
    assert "nothing to reject" in bench.of("status")[-1]
    assert np.array_equal(bench.mask(), accepted)


def test_reject_leaves_what_the_user_painted_since(bench):
    bench.prompt()
    bench.propagate()
    bench.paint(bench.middle + 1, None)
    painted = bench.mask()[bench.middle + 1]
    bench.controller.reject()
    assert bench.filled() == [bench.middle + 1]
    assert np.array_equal(bench.mask()[bench.middle + 1], painted)
    assert "1 slices that you painted" in bench.of("status")[-1]


def test_what_was_painted_before_is_still_the_users_after_a_reject(bench):
    bench.paint(bench.middle, None)
    painted = bench.mask()
    bench.controller.overwrite_painted = True
    bench.prompt()
    assert not np.array_equal(bench.mask(), painted)
    bench.controller.reject()
    assert np.array_equal(bench.mask(), painted)
    bench.controller.overwrite_painted = False
    bench.prompt(offset=(1, 1))
    assert np.array_equal(bench.mask(), painted)
    assert bench.of("slice_result")[-1].protected == (bench.middle,)


def test_a_rejected_mask_does_not_come_back_by_itself(bench):
    bench.prompt()
    bench.controller.reject()
    bench.run()
    assert bench.filled() == []
    bench.controller.segment_slice()
    bench.finish()
    assert bench.filled() == [bench.middle]


def test_slices_of_two_axes_are_put_back(bench):
    bench.paint(bench.middle + 4, None)
    painted = bench.mask()
    bench.prompt()
    bench.controller.axis = "j"
    bench.prompt(offset=(1, 1))
    bench.controller.axis = "k"
    bench.prompt(offset=(2, 1))
    bench.controller.reject()
    assert np.array_equal(bench.mask(), painted)
    assert bench.controller.undo()


@pytest.fixture
def reopened(bench, slicer_host, tmp_path):
    """Save the scene, close it, open it again; the bench then looks at the new nodes through a new controller."""

    def reopen():
        import slicer
        import vtk

        thumbnail = vtk.vtkImageData()
        thumbnail.SetDimensions(8, 8, 1)
        thumbnail.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
        path = str(tmp_path / "scene.mrb")
        assert slicer.mrmlScene.WriteToMRB(path, thumbnail)
        bench.controller.scene_closing()
        slicer.mrmlScene.Clear(0)
        assert slicer.mrmlScene.ReadFromMRB(path)
        phantom = bench.phantom
        node = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
        bench.phantom = type(phantom)(node, phantom.mask, phantom.centre, phantom.ijk_to_world)
        bench.segmentation = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0]
        bench.controller.close()
        bench.controller = bench.new_controller()
        bench.heard.clear()
        return bench

    return reopen


def test_a_saved_scene_brings_back_prompts_masks_records_and_provenance(bench, reopened):
    bench.prompt()
    bench.propagate()
    masks, records, found = bench.mask(), bench.controller.records, provenance(bench)
    again = reopened()
    assert np.array_equal(again.mask(), masks)
    assert {k: r.reason for k, r in again.controller.records.items()} == {k: r.reason for k, r in records.items()}
    assert provenance(again).model == found.model
    assert provenance(again).prompts == found.prompts
    assert again.controller.status == "draft"
    decodes = again.model.decodes
    again.run()
    assert again.of("prompts")[-1].slices == (again.middle,)
    assert again.model.decodes == decodes, "an answered prompt is not answered anew"
    again.prompt(again.middle + 2, offset=(1, 0))
    assert again.of("slice_result")[-1].slices == (again.middle + 2,)
    again.propagate()
    assert again.of("error") == []


def test_after_a_reload_reject_empties_only_what_still_is_ours(bench, reopened):
    bench.prompt()
    bench.propagate()
    again = reopened()
    again.paint(again.middle, None)
    again.controller.reject()
    assert again.filled() == [again.middle]
    assert again.controller.status == ""


def test_after_a_reload_an_accepted_segment_is_not_rejected(bench, reopened):
    bench.prompt()
    bench.controller.accept()
    again = reopened()
    assert again.controller.status == "accepted"
    again.controller.reject()
    assert again.filled() == [again.middle]


class TestCandidates:
    @pytest.fixture
    def three(self, bench):
        """A model with three different answers."""

        class Three(StubModel):
            def decode(self, features, prompts, *, mask_input=None, multimask_output=False):
                found = super().decode(features, prompts, mask_input=mask_input, multimask_output=multimask_output)
                if multimask_output:
                    logits = found.logits.copy()
                    logits[1, :30], logits[2, 34:] = -5, -5
                    scores = np.array([0.9, 0.8, 0.7], dtype=np.float32)
                    found = type(found)(found.low_res_logits, scores, logits)
                return found

        bench.model = Three()
        return bench

    def test_they_are_offered_after_the_mask(self, three):
        three.prompt()
        offered = three.controller.candidates
        assert (offered.index, len(offered.predicted_iou), offered.chosen) == (three.middle, 3, 0)
        events = [event for event, _ in three.heard]
        assert events.index("slice_result") < events.index("candidates")
        assert three.of("candidates")[-1].chosen == 0

    def test_the_chosen_one_is_written_undone_and_kept_by_a_propagation(self, three):
        three.prompt()
        first = three.mask()[three.middle]
        three.controller.choose_candidate(1)
        second = three.mask()[three.middle]
        assert not np.array_equal(first, second)
        assert second.any()
        assert three.controller.candidates.chosen == 1
        three.controller.undo()
        assert np.array_equal(three.mask()[three.middle], first)
        three.controller.redo()
        three.propagate(limits=(three.middle - 2, three.middle + 2))
        assert np.array_equal(three.mask()[three.middle], second)
        assert three.controller.records[three.middle].reason == "seed"

    def test_another_prompt_on_the_slice_asks_the_model_again(self, three):
        three.prompt()
        three.controller.choose_candidate(1)
        three.prompt(offset=(1, 0))
        assert dice(three.mask()[three.middle], three.phantom.mask[three.middle]) > 0.95

    def test_there_is_no_fourth(self, three):
        with pytest.raises(InputError) as caught:
            three.controller.choose_candidate(0)
        assert caught.value.code == "option.candidate"
        three.prompt()
        with pytest.raises(InputError):
            three.controller.choose_candidate(3)
