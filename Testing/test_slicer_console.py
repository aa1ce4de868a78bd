"""The console functions: the same masks as the command line, without panel or Qt; many cases, errors, provenance."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from SegmentAnythingMedLib.apps.cli import main
from SegmentAnythingMedLib.errors import Cancelled, InputError, PromptError
from SegmentAnythingMedLib.files.images import load_volume, read_mask, save_volume
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.json_form import prompts_to_json
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, PointPrompt, StopMark, VolumePrompts
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from stub_model import StubModel, save_balls, two_balls

pytest.importorskip("slicer")
BLADDER = BoxPrompt((122, 55, 14), (188, 111, 14))
FIRST, SECOND = BoxPrompt((9, 9, 10), (31, 31, 10)), PointPrompt((40, 44, 14))
STUB = {"model": StubModel(), "window": "100,160"}


@pytest.fixture
def console(slicer_host):
    from SegmentAnythingMedLib.apps.slicer import console

    return console


def load(path):
    import slicer

    node = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), path.name.split(".")[0])
    assert node is not None
    return node


def read(found, name="object"):
    import slicer
    from SegmentAnythingMedLib.apps.slicer.writing import read_segment

    volume = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
    return read_segment(found.segmentation, found.segment_ids[name], volume)


@pytest.fixture
def balls(console, tmp_path):
    return load(save_balls(tmp_path))


class TestSameAsTheCommandLine:
    @pytest.mark.parametrize(("command", "propagates"), [(["--limits", "12,16"], True), (["--no-propagate"], False)])
    def test_the_shipped_sample(self, console, sample, tmp_path, command, propagates):
        out = tmp_path / "mask.nii.gz"
        box = "122,55,188,111,14"
        code = main(
            ["segment", str(sample / "ct.nii.gz"), "--box", box, "--output", str(out), "--device", "cpu", *command]
        )
        assert code == 0
        node = load(sample / "ct.nii.gz")
        options = {"settings": PropagationSettings(limits=(12, 16))} if propagates else {}
        run = console.propagate if propagates else console.segment
        found = run(node, [BLADDER], device="cpu", **options)
        theirs = read_mask(out, load_volume(sample / "ct.nii.gz")).labels > 0
        assert theirs.any()
        assert np.array_equal(read(found), theirs)

    @pytest.mark.parametrize("direction", [None, ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, 1.0))])
    def test_several_objects_of_an_oblique_image(self, console, tmp_path, direction):
        volume, _ = two_balls(direction=None if direction is None else np.array(direction))
        path, prompts = tmp_path / "balls.nrrd", VolumePrompts({"left": [FIRST, StopMark(13)], "right": [SECOND]})
        save_volume(volume, path)
        (tmp_path / "prompts.json").write_text(json.dumps(prompts_to_json(prompts)))
        out = tmp_path / "mask.nrrd"
        code = main(["segment", str(path), "--prompts", str(tmp_path / "prompts.json"), "--output", str(out)])
        assert code == 0
        found = console.propagate(load(path), tmp_path / "prompts.json")
        labels = read_mask(out, load_volume(path)).labels
        for value, name in enumerate(("left", "right"), 1):
            assert np.array_equal(read(found, name), labels == value)
            assert (labels == value).any()

    def test_a_file_of_a_batch(self, console, tmp_path):
        path = save_balls(tmp_path)
        out, ours = tmp_path / "cli.nii.gz", tmp_path / "batch.nii.gz"
        assert main(["segment", str(path), "--box", "9,9,31,31,10", "--output", str(out)]) == 0
        (done,) = console.batch([{"volume": path, "prompts": [FIRST], "output": ours}])
        assert done.state == "done"
        volume = load_volume(path)
        assert np.array_equal(read_mask(out, volume).labels, read_mask(ours, volume).labels)


    def test_90_paths_with_spaces_other_letters_and_great_length(self, console, tmp_path):
        folder = tmp_path / "Köpfe und Hälse" / "患者 Ж 01" / ("long " * 20).strip() / ("longer " * 20).strip()
        folder.mkdir(parents=True)
        path, ours = save_balls(folder), folder / "маска 1.nii.gz"
        assert len(str(path)) > 260
        (done,) = console.batch([{"volume": path, "prompts": [FIRST], "output": ours}], **STUB)
        assert (done.state, done.output) == ("done", ours)
        assert read_mask(ours, load_volume(path)).labels.any()


class TestOne:
    def test_into_a_new_segmentation_with_provenance(self, console, balls):
        from SegmentAnythingMedLib.apps.slicer.provenance import read_provenance

        found = console.propagate(balls, [FIRST], **STUB)
        record = read_provenance(found.segmentation, found.segment_ids["object"])
        assert (record.status, record.model["name"], record.axis) == ("draft", "stub", "k")
        assert record.reasons()[10] == "seed"
        assert record.prompts[0]["type"] == "box"
        assert record.ends["completed"] is True
        assert found.millilitres["object"] == pytest.approx(np.count_nonzero(read(found)) * 0.002)
        assert "This model is a stub." in found.notes
        assert found.segmentation.GetSegmentation().GetNumberOfSegments() == 1

    def test_into_segments_of_a_name_or_id(self, console, balls, make_segmentation):
        segmentation, segment_id = make_segmentation(balls, "kidney")
        by_name = console.segment(balls, {"kidney": [FIRST], "new one": [SECOND]}, segmentation, **STUB)
        assert by_name.segment_ids["kidney"] == segment_id
        assert segmentation.GetSegmentation().GetSegment(by_name.segment_ids["new one"]).GetName() == "new one"
        by_id = console.segment(balls, [SECOND], segmentation, segment_id, **STUB)
        assert by_id.segment_ids == {"object": segment_id}
        assert np.flatnonzero(read(by_id).any(axis=(1, 2))).tolist() == [14], "what it wrote before is replaced"

    def test_prompts_that_lie_in_the_scene(self, console, balls, make_segmentation):
        from SegmentAnythingMedLib.apps.slicer.geometry import ijk_to_world, map_points
        from SegmentAnythingMedLib.apps.slicer.markups import prompt_node

        segmentation, segment_id = make_segmentation(balls, "kidney")
        node = prompt_node(segmentation, segment_id, balls, "positive")
        node.AddControlPoint(*map_points(ijk_to_world(balls), np.array([40.0, 44.0, 14.0]))[0])
        found = console.segment(balls, None, segmentation, "kidney", **STUB)
        assert read(found, "kidney")[14, 44, 40]
        with pytest.raises(PromptError) as caught:
            console.segment(balls, **STUB)
        assert caught.value.code == "prompt.none"

    def test_painted_slices_are_kept_unless_asked(self, console, balls, make_segmentation):
        import slicer

        segmentation, segment_id = make_segmentation(balls, "object")
        mask = np.zeros((24, 64, 64), dtype=np.uint8)
        mask[11, 2:6, 2:6] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment_id, balls)
        found = console.propagate(balls, [FIRST], segmentation, **STUB)
        assert found.protected["object"] == (11,)
        assert np.array_equal(read(found)[11], mask[11] > 0)
        found = console.propagate(balls, [FIRST], segmentation, overwrite_painted=True, **STUB)
        assert not read(found)[11, 3, 3]

    def test_errors_are_those_of_the_library_and_nothing_is_left_behind(self, console, balls):
        import slicer

        def nodes():
            return [node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode")]

        before = nodes()
        for prompts, code in (([], "prompt.none"), ([PointPrompt((99, 0, 0))], "prompt.outside")):
            with pytest.raises(PromptError) as caught:
                console.propagate(balls, prompts, **STUB)
            assert caught.value.code == code
        with pytest.raises(InputError) as caught:
            console.propagate(None, [FIRST], **STUB)
        assert caught.value.code == "volume.missing"
        with pytest.raises(InputError) as caught:
            console.propagate(balls, {"a": [FIRST], "b": [SECOND]}, segment="one", **STUB)
        assert caught.value.code == "option.segment"
        assert nodes() == before

    def test_cancel(self, console, balls):
        progress = Progress()
        progress.cancel()
        with pytest.raises(Cancelled):
            console.propagate(balls, [FIRST], progress=progress, **STUB)
        progress = Progress(lambda p: p.cancel() if p.label == "Propagating" and p.done == 3 else None)
        found = console.propagate(balls, [FIRST], progress=progress, **STUB)
        assert not found.result.completed
        assert 0 < len(np.flatnonzero(read(found).any(axis=(1, 2)))) < 9


class TestBatch:
    def test_one_that_fails_does_not_stop_the_others(self, console, balls, tmp_path):
        path = save_balls(tmp_path)
        cases = [
            (balls, [FIRST]),
            {"volume": balls, "prompts": [], "name": "no prompts"},
            {"volume": tmp_path / "missing.nii.gz", "prompts": [FIRST]},
            {"volume": path, "prompts": [SECOND], "output": tmp_path / "out.nii.gz"},
            {"prompts": [FIRST]},
            "nonsense",
        ]
        results = console.batch(cases, **STUB)
        assert [one.state for one in results] == ["done", "failed", "failed", "done", "failed", "failed"]
        assert [one.name for one in results] == [
            "balls", "no prompts", "missing.nii.gz", "balls.nii.gz", "case 5", "case 6"
        ]  # fmt: skip
        assert [one.error and one.error.code for one in results] == [
            None, "prompt.none", "input.missing", None, "option.case", "option.case"
        ]  # fmt: skip
        assert results[0].segment_ids
        assert results[3].output.is_file()
        assert results[3].segmentation is None

    def test_a_table_of_all(self, console, balls, tmp_path):
        results = console.batch([(balls, {"a": [FIRST], "b": [SECOND]}), (balls, [])], **STUB)
        console.write_csv(results, tmp_path / "table.csv")
        with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["case"], row["object"], row["state"]) for row in rows] == [
            ("balls", "a", "done"), ("balls", "b", "done"), ("balls", "", "failed")
        ]  # fmt: skip
        assert float(rows[0]["millilitres"]) > 1
        assert (rows[0]["end_lower"], rows[2]["code"]) == ("stopped:iou", "prompt.none")

    def test_cancel_leaves_the_rest(self, console, balls):
        progress = Progress(lambda p: p.cancel() if p.done == 1 else None)
        results = console.batch([(balls, [FIRST])] * 3, progress=progress, **STUB)
        assert [one.state for one in results] == ["done", "cancelled", "cancelled"]
        assert (progress.done, progress.total) == (3, 3)

    def test_prompted_slices_only(self, console, balls):
        (done,) = console.batch([(balls, [FIRST])], propagate=False, **STUB)
        assert done.objects["object"].slices == 1
