"""DICOM SEG in: every kind of file gives the masks that it means, at the right place."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import SPACING, make_series, write
from seg_phantom import make_seg
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.dicom_seg import read_seg
from SegmentAnythingMedLib.files.images import load_volume, read_mask
from SegmentAnythingMedLib.files.seg_masks import segments_on
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from test_rtstruct import ORIENTATIONS

OBLIQUE = ORIENTATIONS["oblique"]


def cropped(volume, masks, low=(3, 2), shape=(7, 5), kind="BINARY", value=1):
    """Frames of segments 1, 2... cut to ``shape`` (rows, columns) at pixel ``low`` (J, I); empty ones left out."""
    frames = []
    for number, mask in enumerate(masks, 1):
        for k in reversed(range(len(mask))):  # the order of frames is free
            window = mask[k, low[0] : low[0] + shape[0], low[1] : low[1] + shape[1]]
            place = volume.affine.ijk_to_lps([[low[1], low[0], k]])[0]
            if window.any():
                frames.append((None if kind == "LABELMAP" else number, place, window * value))
    return frames


def boxes(volume):
    """Two overlapping boxes within the crop of :func:`cropped`."""
    masks = [np.zeros(volume.shape, bool) for _ in range(2)]
    masks[0][1:4, 4:9, 2:5] = True
    masks[1][2:5, 6:10, 3:7] = True
    return masks


def save(dataset, tmp_path) -> Path:
    dataset.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    return tmp_path / "seg.dcm"


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_cropped_overlapping_frames_in_any_orientation(tmp_path, name):
    volume = read_series(write(tmp_path / "ct", make_series(orientation=ORIENTATIONS[name])))
    masks = boxes(volume)
    seg = read_seg(save(make_seg(cropped(volume, masks), SPACING, ORIENTATIONS[name]), tmp_path))
    for mask, result in zip(masks, segments_on(seg, volume), strict=True):
        np.testing.assert_array_equal(result.mask, mask)
        assert (result.status, result.notes) == ("ok", ())
    bare = replace(volume, source=None)
    for mask, result in zip(masks, segments_on(seg, bare), strict=True):
        np.testing.assert_array_equal(result.mask, mask)


def test_label_maps_and_fractions(tmp_path):
    volume = read_series(write(tmp_path / "ct", make_series(orientation=OBLIQUE)))
    one, two = boxes(volume)
    two &= ~one
    labels = one * 1 + two * 2
    frames = cropped(volume, [labels], kind="LABELMAP")
    seg = read_seg(save(make_seg(frames, SPACING, OBLIQUE, "LABELMAP"), tmp_path))
    for mask, result in zip((one, two), segments_on(seg, volume), strict=True):
        np.testing.assert_array_equal(result.mask, mask)
    frames = cropped(volume, [one, two], kind="FRACTIONAL", value=120)  # 120 of 200: 0.6
    seg = read_seg(save(make_seg(frames, SPACING, OBLIQUE, "FRACTIONAL"), tmp_path))
    assert [r.mask.sum() for r in segments_on(seg, volume, threshold=0.6)] == [one.sum(), two.sum()]
    assert [r.status for r in segments_on(seg, volume, threshold=0.61)] == ["empty", "empty"]
    with pytest.raises(InputError) as caught:
        segments_on(seg, volume, threshold=0)
    assert caught.value.code == "option.threshold"


def test_frames_across_the_slices_of_the_image(tmp_path):
    """A box stored as sagittal frames on an axial grid."""
    volume = Volume(np.zeros((9, 10, 11), np.int16), Affine.from_parts((1.0, 1.0, 2.0)))
    frames = [(1, (x, 2.0, 2.0), np.ones((4, 3))) for x in (3.0, 4.0, 5.0)]  # rows along z (2 mm), columns along y
    seg = read_seg(save(make_seg(frames, (2.0, 1.0), (0, 1, 0, 0, 0, 1)), tmp_path))
    result, other = segments_on(seg, volume)
    wanted = np.zeros(volume.shape, bool)
    wanted[1:5, 2:5, 3:6] = True
    np.testing.assert_array_equal(result.mask, wanted)
    assert other.status == "empty"


def test_frames_beyond_the_image_are_said(tmp_path):
    volume = read_series(write(tmp_path / "ct", make_series()))
    origin = volume.affine.origin
    frames = [(1, origin + np.array([0, 0, 2.5 * n]), np.ones((12, 10))) for n in range(4, 9)]
    frames += [(2, origin + np.array([500.0, 0, 0]), np.ones((12, 10)))]
    seg = read_seg(save(make_seg(frames, SPACING, ORIENTATIONS["axial"]), tmp_path))
    part, away = segments_on(seg, volume)
    assert part.mask.any(axis=(1, 2)).tolist() == [False] * 4 + [True] * 2
    assert "lie within the image" in part.notes[0]
    assert away.status == "outside"


def test_another_frame_of_reference(tmp_path):
    volume = read_series(write(tmp_path / "ct", make_series()))
    masks = boxes(volume)
    dataset = make_seg(cropped(volume, masks), SPACING, ORIENTATIONS["axial"], FrameOfReferenceUID="9.9")
    seg = read_seg(save(dataset, tmp_path))
    with pytest.raises(InputError) as caught:
        segments_on(seg, volume)
    assert caught.value.code == "seg.frame_of_reference"
    assert "SECRET" not in str(caught.value)
    assert segments_on(seg, volume, other_frame=True)[0].mask.sum() == masks[0].sum()


def test_labels_twice_and_unknown(tmp_path):
    volume = read_series(write(tmp_path / "ct", make_series()))
    dataset = make_seg(cropped(volume, boxes(volume)), SPACING, ORIENTATIONS["axial"], labels=("a", "a"))
    seg = read_seg(save(dataset, tmp_path))
    for wanted, code in (("a", "seg.ambiguous_segment"), ("b", "seg.no_such_segment")):
        with pytest.raises(InputError) as caught:
            segments_on(seg, volume, [wanted])
        assert caught.value.code == code
    assert segments_on(seg, volume, [2])[0].segment.number == 2


def test_damaged_and_foreign_files(tmp_path):
    volume = read_series(write(tmp_path / "ct", make_series()))
    dataset = make_seg(cropped(volume, boxes(volume)), SPACING, ORIENTATIONS["axial"])
    whole = save(dataset, tmp_path).read_bytes()
    cut = tmp_path / "cut.dcm"
    for length in range(0, len(whole), 61):
        cut.write_bytes(whole[:length])
        with suppress(InputError):
            segments_on(read_seg(cut), volume)
    del dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    short = make_seg(cropped(volume, boxes(volume)), SPACING, ORIENTATIONS["axial"], PixelData=b"\0\0")
    for broken, code in ((dataset, "seg.no_geometry"), (short, "seg.truncated"), (make_series()[0], "seg.not_one")):
        with pytest.raises(InputError) as caught:
            segments_on(read_seg(save(broken, tmp_path)), volume)
        assert caught.value.code == code
    cut.write_bytes(b"")
    for path, code in ((cut, "input.empty"), (tmp_path / "none.dcm", "input.missing")):
        with pytest.raises(InputError) as caught:
            read_seg(path)
        assert caught.value.code == code


REAL = [
    ("pet-headneck-dicom-seg/seg.dcm", "pet-headneck-dicom-seg/pet", "pet-headneck-dicom-seg/labels.nrrd"),
    ("mr-brain-glioma-dicom-seg/tumor_seg.dcm", "mr-brain-glioma-dicom-seg/t1_post",
     "mr-brain-glioma-dicom-seg/tumor_on_t1_grid.nrrd"),
    ("dicom-seg-format-cases/dcmqi_23x38x3/label_seg.dcm", "dicom-seg-format-cases/dcmqi_23x38x3/image",
     "dicom-seg-format-cases/dcmqi_23x38x3/nrrd/label.nrrd"),
    ("dicom-seg-format-cases/dcmqi_23x38x3/label_seg.dcm", "dicom-seg-format-cases/dcmqi_23x38x3/multiframe/mf.dcm",
     "dicom-seg-format-cases/dcmqi_23x38x3/nrrd/label.nrrd"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "images", "labels"), REAL, ids=[case[1] for case in REAL])
def test_real_segmentations_give_their_reference_masks(shared_data: Path, file, images, labels):
    volume = load_volume(shared_data / images)
    reference = read_mask(shared_data / labels, volume).labels
    results = segments_on(read_seg(shared_data / file), volume)
    assert len(results) == len(np.unique(reference)) - 1
    for result in results:
        np.testing.assert_array_equal(result.mask, reference == result.segment.number)


CASES = ("binary", "binary_fractional", "true_fractional", "binary_overlap", "binary_single_frame")


@pytest.mark.parametrize("case", CASES)
def test_format_cases_agree_with_another_reader(shared_data: Path, case):
    """Frame by frame, the same pixels as highdicom's reader at the same places."""
    highdicom = pytest.importorskip("highdicom")
    path = shared_data / "dicom-seg-format-cases" / "highdicom" / f"seg_image_ct_{case}.dcm"
    theirs, seg = highdicom.seg.segread(path), read_seg(path)
    assert len(seg.frames) == theirs.number_of_frames
    for segment in seg.segments:
        for frame in [frame for frame in seg.frames if frame.segment == segment.number]:
            matrix = np.column_stack([*frame.steps, np.cross(*frame.steps), frame.origin])
            like = Volume(np.zeros((1, *seg.shape), np.int16), Affine(np.vstack([matrix, [0, 0, 0, 1]])))
            (ours,) = segments_on(seg, like, [segment.number])
            pixels = theirs.get_stored_frame(frame.index + 1)
            np.testing.assert_array_equal(ours.mask[0], pixels >= 0.5 * seg.largest)


HEADER = dict.fromkeys(
    (
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
        "StudyTime",
        "ReferringPhysicianName",
    ),
    "",
)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("name", ["axial", "sagittal", "oblique"])
def test_files_that_another_writer_made(tmp_path, kind, name):
    """All three kinds as highdicom writes them, with its empty frames left out."""
    highdicom = pytest.importorskip("highdicom")
    images = make_series(orientation=ORIENTATIONS[name], SliceThickness=2.5, **HEADER)
    volume = read_series(write(tmp_path / "ct", images))
    labels = np.zeros(volume.shape, np.uint8)
    labels[1:4, 2:9, 2:8], labels[2:5, 4:6, 5:9] = 1, 2
    order = [volume.source.sop_instance_uids.index(image.SOPInstanceUID) for image in images]
    code = highdicom.sr.CodedConcept("85756007", "SCT", "Tissue")
    described = [
        highdicom.seg.SegmentDescription(n, f"S{n}", code, code, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL)
        for n in (1, 2)
    ]
    pixels = labels[order]
    if kind == "FRACTIONAL":
        pixels = np.stack([pixels == 1, pixels == 2], axis=-1) * 0.8
    theirs = highdicom.seg.Segmentation(
        images, pixels, kind, described, "1.2.4", 1, "1.2.5", 1, "maker", "model", "1", "none"
    )
    theirs.save_as(tmp_path / "theirs.dcm")
    seg = read_seg(tmp_path / "theirs.dcm")
    assert seg.kind == kind
    for result in segments_on(seg, volume):
        np.testing.assert_array_equal(result.mask, labels == result.segment.number)
