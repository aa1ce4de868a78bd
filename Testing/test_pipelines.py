"""The whole job as a function: one or several objects, every axis, cancel, geometry."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.apps.pipelines import NOT_PROPAGATED, combine, segment_volume
from SegmentAnythingMedLib.errors import Cancelled, DeviceError, InputError, ModelError, PromptError
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, MaskPrompt, PointPrompt, StopMark, VolumePrompts
from SegmentAnythingMedLib.propagation.records import Propagation
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume, map_mask
from stub_model import StubModel, two_balls

FIRST, SECOND = BoxPrompt((9, 9, 10), (31, 31, 10)), PointPrompt((40, 44, 14))
WINDOW = "100,160"


def segment(volume, prompts, model=None, **options):
    return segment_volume(volume, prompts, model or StubModel(), window=WINDOW, **options)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_one_box_becomes_the_object():
    volume, labels = two_balls()
    before = volume.voxels.copy()
    result = segment(volume, [FIRST])
    assert dice(result.labels == 1, labels == 1) > 0.97  # the last slices shrink too fast for the IoU stop
    assert result.labels.max() == 1
    assert result.values == {"object": 1}
    assert (result.completed, result.propagated, result.stack.axis) == (True, True, "k")
    assert result.results["object"].records[10].reason == "seed"
    assert result.millilitres("object") == pytest.approx(np.count_nonzero(result.labels) * 0.002)
    assert result.counters.encodes <= 11 + 2
    assert np.array_equal(volume.voxels, before)


def test_several_objects_get_a_label_each():
    volume, labels = two_balls()
    result = segment(volume, VolumePrompts({"left": [FIRST], "right": [SECOND]}))
    assert result.values == {"left": 1, "right": 2}
    for value in (1, 2):
        assert dice(result.labels == value, labels == value) > 0.97


def test_twice_the_same_is_the_same():
    volume, _ = two_balls()
    one, two = (segment(volume, [FIRST, StopMark(13)]) for _ in range(2))
    assert np.array_equal(one.labels, two.labels)
    assert one.results["object"].to_json() == two.results["object"].to_json()


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_every_axis(axis):
    volume, labels = two_balls((1.0, 1.0, 1.0))
    corners = {"k": ((9, 9, 10), (31, 31, 10)), "j": ((9, 20, 0), (31, 20, 21)), "i": ((20, 9, 0), (20, 31, 21))}
    result = segment(volume, [BoxPrompt(*corners[axis])], axis=axis)
    assert result.stack.axis == axis
    # slices of another shape than the stub's are stretched: borders move by part of a voxel
    assert dice(result.labels == 1, labels == 1) > (0.97 if axis == "k" else 0.9)


def test_without_propagation_only_prompted_slices():
    volume, labels = two_balls()
    drawn = np.zeros((64, 64), dtype=bool)
    drawn[10:20, 10:20] = True
    result = segment(volume, [FIRST, MaskPrompt(drawn, 12)], propagate=False)
    assert np.flatnonzero(result.labels.any(axis=(1, 2))).tolist() == [10, 12]
    assert np.array_equal(result.labels[12] > 0, drawn)
    assert dice(result.labels[10] > 0, labels[10] == 1) == 1
    records = result.results["object"].records
    assert [records[n].reason for n in (10, 12)] == ["seed", "drawn"]
    assert result.results["object"].end_upper == NOT_PROPAGATED
    assert not result.propagated


def test_settings_reach_the_walk():
    volume, _ = two_balls()
    result = segment(volume, [FIRST], settings=PropagationSettings(limits=(9, 11)))
    assert np.flatnonzero(result.labels.any(axis=(1, 2))).tolist() == [9, 10, 11]
    assert result.results["object"].end_upper == "limit"


def test_overlap_goes_to_the_later_object_and_is_told():
    volume, _ = two_balls()
    stack = SliceStack(volume)
    both = {}
    for name, low in (("first", 0), ("second", 5)):
        mask = np.zeros(stack.shape, dtype=bool)
        mask[low : low + 10, :10] = True
        both[name] = Propagation(24, stack.shape, {3: mask}, {}, 3, 3, "edge", "edge", True)
    labels, values, remarks = combine(both, stack)
    assert values == {"first": 1, "second": 2}
    assert (np.count_nonzero(labels == 1), np.count_nonzero(labels == 2)) == (50, 100)
    assert [(remark.object, remark.text[:9]) for remark in remarks] == [("first", "50 voxels")]


def test_remarks_say_where_they_come_from():
    volume, _ = two_balls()
    volume = volume.with_notes(["A note of the file."])
    prompts = [FIRST, PointPrompt((20, 20, 10)), PointPrompt((20, 20, 10), 0)]
    remarks = [(remark.source, remark.text) for remark in segment(volume, prompts).remarks]
    assert ("image", "A note of the file.") in remarks
    assert ("model", "This model is a stub.") in remarks
    contradiction = [source for source, text in remarks if "last mark counts" in text]
    assert contradiction == ["prompts"]


def test_cancel_keeps_what_is_done():
    volume, labels = two_balls()
    progress = Progress()
    model = StubModel(lambda count: progress.cancel() if count == 4 else None)
    result = segment(volume, [FIRST], model, progress=progress)
    assert not result.completed
    done = np.flatnonzero(result.labels.any(axis=(1, 2)))
    assert 10 in done
    assert len(done) == 4
    assert all(dice(result.labels[n] > 0, labels[n] == 1) > 0.99 for n in done)
    assert result.remarks[-1].source == "job"
    assert "Cancelled" in result.remarks[-1].text


def test_cancel_without_propagation_keeps_what_is_done():
    volume, _ = two_balls()
    progress = Progress()
    model = StubModel(lambda count: progress.cancel())
    prompts = VolumePrompts({"a": [FIRST, BoxPrompt((9, 9, 11), (31, 31, 11))], "b": [SECOND]})
    result = segment(volume, prompts, model, progress=progress, propagate=False)
    assert not result.completed
    assert np.flatnonzero(result.labels.any(axis=(1, 2))).tolist() == [10]


def test_cancel_before_anything_is_done():
    volume, _ = two_balls()
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        segment(volume, [FIRST], progress=progress)


@pytest.mark.parametrize("propagate", [True, False])
def test_nothing_found_is_an_error(propagate):
    volume, _ = two_balls()
    with pytest.raises(PromptError) as caught:
        segment(volume, [PointPrompt((60, 3, 10))], propagate=propagate)
    assert caught.value.code == "prompt.no_mask"


def test_one_of_two_objects_not_found_is_a_remark():
    volume, _ = two_balls()
    prompts = VolumePrompts({"air": [PointPrompt((60, 3, 10))], "ball": [SECOND]})
    result = segment(volume, prompts)
    assert result.values == {"air": 1, "ball": 2}
    assert set(np.unique(result.labels)) == {0, 2}
    assert any(remark.object == "air" and "nothing" in remark.text for remark in result.remarks)


def test_prompts_and_options_are_checked_before_the_model_is_opened():
    volume, _ = two_balls()
    for prompts, options, error in (
        ([PointPrompt((99, 0, 0))], {}, PromptError),
        ([FIRST], {"axis": "x"}, InputError),
        ([FIRST], {"window": "sunny"}, InputError),
        ([FIRST], {}, ModelError),
    ):
        with pytest.raises(error):
            segment_volume(volume, prompts, "nowhere.safetensors", **options)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried ..."), RuntimeError("x: can't allocate memory")]
)
def test_too_little_memory_is_said_in_words(error):
    def fail(_count):
        raise error

    volume, _ = two_balls()
    with pytest.raises(DeviceError) as caught:
        segment(volume, [FIRST], StubModel(fail))
    assert caught.value.code == "device.memory"


def moved(volume: Volume, voxels: np.ndarray, matrix: np.ndarray) -> Volume:
    """The same object on another grid: ``matrix`` maps new voxel indices to old ones."""
    return Volume(voxels, Affine(volume.affine.matrix @ matrix), modality=volume.modality)


def copies(volume: Volume) -> dict[str, Volume]:
    """The volume flipped, with other axis orders, cropped and turned in the patient."""
    n = np.array(volume.shape[::-1])
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[[0, 2], 3] = n[[0, 2]] - 1
    swap = np.eye(4)[[1, 2, 0, 3]]  # old (I, J, K) = new (J, K, I)
    crop = np.eye(4)
    crop[:3, 3] = 3, 2, 1
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    oblique = Affine.from_parts(volume.spacing, (31.0, -8.0, 4.0), turn @ np.roll(np.eye(3), 1, axis=0))
    return {
        "flipped": moved(volume, volume.voxels[::-1, :, ::-1], flip),
        "permuted": moved(volume, volume.voxels.transpose(1, 2, 0), swap),
        "cropped": moved(volume, volume.voxels[1:, 2:, 3:], crop),
        "oblique": Volume(volume.voxels, oblique, modality=volume.modality),
    }


@pytest.mark.parametrize("kind", ["flipped", "permuted", "cropped", "oblique"])
def test_the_object_lands_in_the_same_place_of_the_patient(kind):
    volume, _ = two_balls()
    other = copies(volume)[kind]
    first = segment(volume, [FIRST])
    corners = volume.affine.ijk_to_lps([FIRST.corner0, FIRST.corner1])
    if kind == "oblique":  # the patient is turned with the grid
        corners = other.affine.ijk_to_lps(volume.affine.lps_to_ijk(corners))
    second = segment(other, [BoxPrompt(*map(tuple, corners), space="lps")])
    back = second.labels if kind == "oblique" else map_mask(second.labels, other, volume)
    inside = np.ones(volume.shape, dtype=bool)
    if kind == "cropped":
        inside[:1] = inside[:, :2] = inside[:, :, :3] = False
    assert dice((back > 0) & inside, (first.labels > 0) & inside) > 0.97
