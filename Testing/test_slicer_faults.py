"""What may happen to a scene while the worker computes: nothing is lost, nothing is written to the wrong place."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from conftest import REPOSITORY
from controller_bench import Bench, Gate, bench, dice

__all__ = ["bench"]
pytest.importorskip("slicer")


@pytest.fixture(params=["live", "propagation"])
def running(bench, request):
    """Held in the middle of a job: ``bench`` and the gate."""
    if request.param == "live":
        gate = Gate(bench.model)
        bench.place(bench.centre)
        bench.controller.prompts_changed()
    else:
        bench.prompt()
        gate = Gate(bench.model, 4)
        bench.controller.propagate()
    bench.poll_until(gate.reached.is_set)
    bench.controller.poll()
    bench.heard.clear()
    return bench, gate


def all_nodes():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLNode")


def test_79_scene_closed_mid_run(running):
    import slicer

    bench, gate = running
    bench.controller.scene_closing()
    slicer.mrmlScene.Clear(0)
    nodes = {node.GetID() for node in all_nodes()}
    assert "cancelled" in bench.of("dropped")[0]
    gate.open()
    bench.finish()
    assert {node.GetID() for node in all_nodes()} == nodes, "no orphan node"
    assert (bench.of("error"), bench.of("slice_result"), bench.of("propagated")) == ([], [], [])
    assert not bench.controller.busy


def test_79_scene_closed_without_a_word_to_the_controller(running):
    import slicer

    bench, gate = running
    slicer.mrmlScene.Clear(0)
    nodes = {node.GetID() for node in all_nodes()}
    gate.open()
    bench.finish()
    assert {node.GetID() for node in all_nodes()} == nodes
    assert "removed" in bench.of("dropped")[0]
    assert (bench.of("error"), bench.of("slice_result"), bench.of("propagated")) == ([], [], [])


def test_79_after_a_closed_scene_the_next_one_works(running, make_volume, make_segmentation):
    import slicer

    bench, gate = running
    bench.controller.scene_closing()
    slicer.mrmlScene.Clear(0)
    bench.phantom = make_volume("left_handed", shape=(24, 64, 64))
    bench.segmentation, bench.segment_id = make_segmentation(bench.phantom.node)
    controller = bench.controller
    controller.volume, controller.segmentation = bench.phantom.node, bench.segmentation
    controller.segment_id = bench.segment_id
    gate.open()
    bench.prompt()
    assert bench.filled() == [bench.middle], "ids are given again, results are not"
    assert dice(bench.mask()[bench.middle], bench.phantom.mask[bench.middle]) > 0.95


def test_80_volume_deleted_mid_run(running):
    import slicer

    bench, gate = running
    bench.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(None)
    slicer.mrmlScene.RemoveNode(bench.phantom.node)
    gate.open()
    bench.finish()
    assert len(bench.of("dropped")) == 1
    assert "image was removed" in bench.of("dropped")[0]
    assert (bench.of("error"), bench.of("slice_result"), bench.of("propagated")) == ([], [], [])


def test_80_segment_deleted_mid_run(running):
    bench, gate = running
    bench.segmentation.GetSegmentation().RemoveSegment(bench.segment_id)
    again = bench.segmentation.GetSegmentation().AddEmptySegment(bench.segment_id, "another")
    assert again == bench.segment_id
    gate.open()
    bench.finish()
    assert "segment was removed" in bench.of("dropped")[0]
    assert bench.filled(again) == [], "a new segment of the same id gets nothing"


def test_80_nodes_removed_as_the_scene_tells(running):
    import slicer

    bench, gate = running
    node = bench.segmentation
    slicer.mrmlScene.RemoveNode(node)
    bench.controller.node_removed(node)
    assert bench.controller.segmentation is None
    assert "removed" in bench.of("dropped")[0]
    gate.open()
    bench.finish()
    assert (bench.of("error"), bench.of("slice_result"), bench.of("propagated")) == ([], [], [])


def test_80_a_removed_image_is_let_go_of(bench):
    import slicer

    bench.prompt()
    bench.propagate()
    node, controller = bench.phantom.node, bench.controller
    assert controller.host._sessions
    slicer.mrmlScene.RemoveNode(node)
    controller.node_removed(node)
    bench.finish()
    assert not controller.host._sessions
    assert not controller.host._propagations
    assert not controller.scribe._states
    assert controller.volume is None
    assert bench.of("error") == []


def test_81_segment_renamed_and_moved_mid_run(running):
    bench, gate = running
    segmentation = bench.segmentation.GetSegmentation()
    other = bench.add_segment("organ")
    segmentation.GetSegment(bench.segment_id).SetName("renamed")
    segmentation.SetSegmentIndex(bench.segment_id, 1)
    gate.open()
    bench.finish()
    assert bench.middle in bench.filled()
    assert bench.filled(other) == []
    assert bench.of("dropped") == []


def test_82_another_module_is_used_mid_run(running):
    """The panel may be left, the segment may be changed: what runs goes on and is written to its own segment."""
    bench, gate = running
    bench.controller.segment_id = bench.add_segment()
    gate.open()
    bench.finish()
    assert bench.middle in bench.filled()
    assert bench.filled(bench.controller.segment_id) == []
    assert bench.controller.records == {}


def test_83_quit_mid_run(running):
    bench, gate = running
    threading.Timer(0.3, gate.open).start()
    assert bench.controller.close(5), "ended within five seconds"
    assert not bench.controller.board.worker.thread.is_alive()
    before = bench.filled()
    bench.controller.poll()
    assert bench.filled() == before
    assert not bench.controller.busy


def test_84_another_image_is_loaded_mid_run(running, make_volume, make_segmentation):
    bench, gate = running
    other = make_volume("permuted", shape=(20, 64, 64), name="other")
    segmentation, segment_id = make_segmentation(other.node)
    controller = bench.controller
    controller.volume, controller.segmentation, controller.segment_id = other.node, segmentation, segment_id
    gate.open()
    bench.finish()
    assert bench.middle in bench.filled(), "the result stays on the old image"
    assert not Bench.mask(bench_of(segmentation, segment_id, other)).any()


def bench_of(segmentation, segment_id, phantom):
    made = object.__new__(Bench)
    made.segmentation, made.segment_id, made.phantom = segmentation, segment_id, phantom
    return made


def test_85_reloaded_in_developer_mode(bench):
    """A module that is loaded anew makes a new controller: the old one hears and does nothing more."""
    old, heard = bench.controller, []
    for _ in range(3):
        old.listen(heard.append)
    old.unlisten(heard.append)
    bench.prompt()
    assert heard == [], "held once, let go of once"
    assert old.close()
    bench.controller = bench.new_controller()
    bench.heard.clear()
    bench.prompt(bench.middle + 1)
    assert len(bench.of("slice_result")) == 1
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is None, "nothing of the scene holds on to a closed controller"


def test_86_a_model_that_is_missing_after_a_scene_was_opened(bench):
    from SegmentAnythingMedLib.apps.slicer.controller import Controller

    controller = Controller()
    controller.listen(lambda event, data: bench.heard.append((event, data)))
    controller.volume, controller.segmentation = bench.phantom.node, bench.segmentation
    controller.segment_id, controller.model_name = bench.segment_id, "models/of-another-machine.safetensors"
    bench.place(bench.centre)
    controller.prompts_changed()
    assert controller.wait(300)  # imports what other models need
    assert bench.of("error")[0].code == "checkpoint.missing"
    assert bench.filled() == []
    assert controller.close()


def test_87_two_modules_edit_one_segmentation(bench):
    """The Segment Editor writes between two of our results: its segment keeps every voxel, ours too."""
    other = bench.add_segment("theirs")
    gate = Gate(bench.model)
    bench.place(bench.centre)
    bench.controller.prompts_changed()
    bench.poll_until(gate.reached.is_set)
    bench.paint(bench.middle, None, other)
    theirs = bench.mask(other)
    gate.open()
    bench.finish()
    assert bench.filled() == [bench.middle]
    assert np.array_equal(bench.mask(other), theirs)
    bench.controller.undo()
    assert np.array_equal(bench.mask(other), theirs)


def test_87_two_controllers_on_one_segment(bench):
    second = bench.new_controller()
    bench.prompt()
    first = bench.mask()
    i, j, k = bench.centre
    bench.place((i, j, k + 2))
    second.prompts_changed()
    assert second.wait(60)
    assert bench.filled() == [k, k + 2]
    bench.run()
    assert bench.filled() == [k, k + 2]
    assert bench.controller.undo()
    assert np.array_equal(bench.mask()[k], np.zeros_like(first[k]))
    assert bench.filled() == [k + 2], "each takes back its own steps only"
    assert second.close()


def test_voxels_edited_mid_run(running):
    import slicer

    bench, gate = running
    slicer.util.arrayFromVolume(bench.phantom.node)[:] = 0
    slicer.util.arrayFromVolumeModified(bench.phantom.node)
    gate.open()
    bench.finish()
    assert "image has changed" in bench.of("dropped")[0]
    assert bench.of("slice_result") == bench.of("propagated") == []


class TestSequence:
    """A 4-D image: the current frame is what is segmented."""

    @pytest.fixture
    def frames(self, bench):
        import slicer

        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
        voxels = slicer.util.arrayFromVolume(bench.phantom.node).copy()
        for n in range(3):
            slicer.util.updateVolumeFromArray(bench.phantom.node, np.roll(voxels, 6 * n, axis=2))
            sequence.SetDataNodeAtValue(bench.phantom.node, str(n))
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())

        def show(n):
            browser.SetSelectedItemNumber(n)
            slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)

        slicer.modules.sequences.logic().UpdateAllProxyNodes()
        show(0)
        proxy = browser.GetProxyNode(sequence)
        proxy.SetAndObserveTransformNodeID(bench.phantom.node.GetTransformNodeID())
        bench.phantom = replace(bench.phantom, node=proxy)
        bench.controller.volume = proxy
        return bench, show

    def test_the_current_frame_is_segmented(self, frames):
        bench, show = frames
        bench.prompt()
        first = bench.mask()[bench.middle]
        show(2)
        bench.controller.segment_slice()
        bench.finish()
        moved = bench.mask()[bench.middle]
        assert dice(np.roll(first, 12, axis=1), moved) > 0.9
        assert not np.array_equal(first, moved)

    def test_a_frame_that_changes_mid_run_is_dropped_with_words(self, frames):
        bench, show = frames
        gate = Gate(bench.model)
        bench.place(bench.centre)
        bench.controller.prompts_changed()
        bench.poll_until(gate.reached.is_set)
        show(1)
        gate.open()
        bench.finish()
        assert "another frame" in bench.of("dropped")[0]
        assert bench.filled() == []
        bench.run()
        assert bench.filled() == [bench.middle], "the prompt is answered on the frame that is shown"


def test_field_segmenting_b_does_not_erase_parts_of_a_and_undo_restores_all(bench):
    """Slicer forum, t/47792: the editor's overwrite mode is honoured, one step restores all segments."""
    import slicer

    bench.prompt()
    first, before = bench.segment_id, bench.mask()
    editor = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetSingletonTag("SegmentEditor")
    editor.SetAndObserveSegmentationNode(bench.segmentation)
    editor.SetOverwriteMode(editor.OverwriteAllSegments)
    bench.segment_id = bench.controller.segment_id = bench.add_segment()
    bench.prompt(offset=(1, 1))
    assert bench.mask(first).sum() < before.sum(), "the user wants it so"
    assert bench.controller.undo()
    assert np.array_equal(bench.mask(first), before)
    editor.SetOverwriteMode(editor.OverwriteNone)
    bench.controller.segment_slice()
    bench.finish()
    assert np.array_equal(bench.mask(first), before)
    assert bench.mask().any()


FIRST_JOBS = """
import sys, threading
import numpy as np
from SegmentAnythingMedLib import Affine, Volume
from SegmentAnythingMedLib.apps.slicer.engine_host import EngineHost
from SegmentAnythingMedLib.apps.slicer.plans import import_engine
from SegmentAnythingMedLib.apps.slicer.requests import *
from SegmentAnythingMedLib.apps.slicer.worker import Worker
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
import_engine()
before = set(sys.modules)
host, worker = EngineHost(), Worker()
volume = Volume(np.arange(4 * 40 * 40, dtype=np.int16).reshape(4, 40, 40), Affine(np.eye(4)))
scan, model, box = Scan(volume, "1"), ModelChoice("built-in", "cpu"), BoxPrompt((9, 9, 1), (30, 30, 1))
jobs = [
    worker.submit(host.predict, PredictRequest(scan, model, (box,))),
    worker.submit(host.propagate, PropagateRequest(scan, model, {"a": (box,)}, PropagationSettings())),
    worker.submit(host.estimate, EstimateRequest(scan, model)),
]
assert worker.wait(jobs[-1], 100)
print([job.state for job in jobs], sorted(set(sys.modules) - before))
"""


def test_field_nothing_is_imported_off_the_main_thread(slicer_host):
    """Slicer forum, t/47550: an import in another thread left Qt objects in the wrong one."""
    folder = REPOSITORY / "SegmentAnythingMed"
    ran = subprocess.run([sys.executable, "-c", FIRST_JOBS], cwd=folder, capture_output=True, text=True)
    assert ran.stdout.strip() == "['done', 'done', 'done'] []", ran.stdout + ran.stderr


def test_field_a_limit_is_said_to_be_one(bench):
    """Slicer forum, t/43733: a result that ends at a plane must say why."""
    bench.prompt()
    bench.propagate(limits=(bench.middle - 1, bench.middle + 1))
    assert bench.of("propagated")[-1].ends[bench.segment_id] == ("limit", "limit")
    bench.propagate()
    assert len(bench.filled()) > 5, "and it can be continued"
