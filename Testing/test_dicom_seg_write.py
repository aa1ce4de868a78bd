"""DICOM SEG out: what is written is what was given, on the original slices, as this and another reader see it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import make_enhanced, make_series, make_slice, phantom, write
from SegmentAnythingMedLib.errors import InputError, InstallError
from SegmentAnythingMedLib.files import dicom_seg_write
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.dicom_seg import read_seg
from SegmentAnythingMedLib.files.dicom_seg_write import write_seg
from SegmentAnythingMedLib.files.drafts import Code, Draft, Origin
from SegmentAnythingMedLib.files.images import load_volume, read_mask
from SegmentAnythingMedLib.files.seg_masks import segments_on
from test_rtstruct import ORIENTATIONS
from test_rtstruct_write import blob


def test_without_highdicom_the_user_is_told_how_to_get_it(tmp_path, monkeypatch):
    volume = read_series(write(tmp_path / "ct", make_series()))
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    with pytest.raises(InstallError, match=r"pip install .*segment-anything-med\[dicom\]") as caught:
        write_seg(tmp_path / "seg.dcm", volume, [Draft("A", blob(volume.shape))])
    assert caught.value.code == "install.highdicom"
    assert not (tmp_path / "seg.dcm").exists()


@pytest.fixture
def highdicom():
    return pytest.importorskip("highdicom")


def round_trip(tmp_path, volume, masks):
    path = tmp_path / "seg.dcm"
    written = write_seg(path, volume, [Draft(f"S{n}", mask) for n, mask in enumerate(masks)])
    return written, path, segments_on(read_seg(path), volume)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_round_trip_is_exact_in_any_orientation(highdicom, tmp_path, name):
    volume = read_series(write(tmp_path / "ct", make_series(orientation=ORIENTATIONS[name])))
    masks = [blob(volume.shape, seed) for seed in (0, 1)]  # they overlap
    masks[0][0] = False
    written, path, results = round_trip(tmp_path, volume, masks)
    assert (written.dice, written.edge_px) == (1.0, 0.0)
    for mask, result in zip(masks, results, strict=True):
        np.testing.assert_array_equal(result.mask, mask)
    theirs = highdicom.seg.segread(path)
    uids = list(volume.source.sop_instance_uids)
    pixels = theirs.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels.astype(bool), np.stack(masks, axis=-1))


def test_tilted_and_uneven_series(highdicom, tmp_path):
    places = [(0.0, 0, z) for z in (0.0, 2, 5, 9, 11, 16)]
    slices = [
        make_slice(p, place, InstanceNumber=n) for n, (p, place) in enumerate(zip(phantom(6), places, strict=True))
    ]
    uneven = read_series(write(tmp_path / "uneven", slices))
    tilted = read_series(write(tmp_path / "tilt", make_series(lean=(0.0, 0.9))))
    for volume in (uneven, tilted):
        mask = np.zeros(volume.shape, bool)
        mask[:, 4:10, 2:8] = True
        written, path, _ = round_trip(tmp_path, volume, [mask])
        assert written.dice == 1.0
        frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        found = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
        np.testing.assert_allclose(sorted(map(list, found), key=lambda p: p[2]), volume.source.positions, atol=1e-4)


def test_frames_of_one_file(highdicom, tmp_path):
    enhanced = make_enhanced(frame_order=[3, 1, 0, 2, 5, 4])
    enhanced.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    enhanced.save_as(tmp_path / "mf.dcm", enforce_file_format=True)
    volume = read_series(tmp_path / "mf.dcm")
    mask = blob(volume.shape, 3)
    _, _, (result,) = round_trip(tmp_path, volume, [mask])
    np.testing.assert_array_equal(result.mask, mask)


def test_what_the_file_says(highdicom, tmp_path):
    volume = read_series(write(tmp_path / "ct", make_series()))
    drafts = [
        Draft("Liver", blob(volume.shape), "AUTOMATIC", (200, 100, 50), tracking_id="liver", tracking_uid="1.2.55",
              category=Code("123037004", "SCT", "Anatomical Structure"), code=Code("10200004", "SCT", "Liver"),
              description="found, green\\: " + "ö" * 1024),
        Draft("Liver", blob(volume.shape, 1), "MANUAL"),
        Draft("nothing", np.zeros(volume.shape, bool)),
    ]  # fmt: skip
    written = write_seg(tmp_path / "seg.dcm", volume, drafts, Origin("unit-model", "ab" * 32, "prior visit"))
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    assert written.names == ("Liver", "Liver (2)")
    assert written.empty == ("nothing",)
    assert (dataset.PatientID, dataset.StudyInstanceUID) == ("SECRETID", "1.2.3")
    assert dataset.FrameOfReferenceUID == volume.source.frame_of_reference_uid
    assert dataset.SeriesInstanceUID == written.series_uid != volume.source.series_uid
    assert dataset.SeriesDescription == "AI draft - unit-model - unapproved"
    assert "unapproved" in dataset.ContentDescription
    (series,) = dataset.ReferencedSeriesSequence
    referenced = {image.ReferencedSOPInstanceUID for image in series.ReferencedInstanceSequence}
    assert referenced <= set(volume.source.sop_instance_uids)
    assert series.SeriesInstanceUID == volume.source.series_uid
    first, second = read_seg(tmp_path / "seg.dcm").segments
    assert (first.algorithm, first.kind, first.tracking_id, first.tracking_uid) == (
        "AUTOMATIC", "Liver", "liver", "1.2.55",
    )  # fmt: skip
    assert second.algorithm == "MANUAL"
    algorithm = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert "abababababab" in algorithm.AlgorithmVersion
    assert dataset.SegmentSequence[0].SegmentDescription.startswith("found, green/: öö")
    assert len(dataset.SegmentSequence[0].SegmentDescription.encode()) <= 1024
    assert "SegmentDescription" not in dataset.SegmentSequence[1]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"source": None}, "seg.no_series"), ({"frame_of_reference_uid": ""}, "seg.no_frame_of_reference"),
     ({"mask": False}, "seg.nothing_to_write"), ({"files": (Path("gone.dcm"),)}, "dicom.source_gone")],
)  # fmt: skip
def test_refusals_leave_the_old_file(highdicom, tmp_path, change, code):
    volume, path = read_series(write(tmp_path / "ct", make_series())), tmp_path / "seg.dcm"
    path.write_bytes(b"old")
    mask = np.ones(volume.shape, bool) & change.pop("mask", True)
    if "source" in change:
        volume = replace(volume, source=None)
    elif change:
        volume = replace(volume, source=replace(volume.source, **change))
    with pytest.raises(InputError) as caught:
        write_seg(path, volume, [Draft("A", mask)])
    assert caught.value.code == code
    assert path.read_bytes() == b"old"


def test_a_wrong_frame_is_found_before_it_counts_as_written(highdicom, tmp_path, monkeypatch):
    volume = read_series(write(tmp_path / "ct", make_series()))
    true_build = dicom_seg_write._build
    monkeypatch.setattr(
        dicom_seg_write, "_build", lambda hd, volume, kept, given, origin:
        true_build(hd, volume, kept, [np.roll(mask, 1, axis=2) for mask in given], origin),
    )  # fmt: skip
    with pytest.raises(InputError) as caught:
        write_seg(tmp_path / "seg.dcm", volume, [Draft("A", blob(volume.shape))])
    assert caught.value.code == "seg.verification"
    assert list(tmp_path.glob("*.dcm")) == list(tmp_path.glob(".*.tmp*")) == []


REAL = [
    ("sarcoma-dicom-rtstruct/CT/image", "sarcoma-dicom-rtstruct/CT/mask.nii.gz"),
    ("mr-brain-glioma-dicom-seg/t1_post", "mr-brain-glioma-dicom-seg/tumor_on_t1_grid.nrrd"),
    ("dicom-seg-format-cases/dcmqi_23x38x3/image", "dicom-seg-format-cases/dcmqi_23x38x3/nrrd/label.nrrd"),
]


@pytest.mark.parametrize(("images", "labels"), REAL, ids=[case[0] for case in REAL])
def test_real_structures_survive_the_round_trip(highdicom, shared_data: Path, tmp_path, images, labels):
    volume = load_volume(shared_data / images)
    reference = read_mask(shared_data / labels, volume).labels
    values = [value for value in np.unique(reference) if value][:4]
    written, _, results = round_trip(tmp_path, volume, [reference == value for value in values])
    assert (written.dice, written.edge_px) == (1.0, 0.0)
    for value, result in zip(values, results, strict=True):
        np.testing.assert_array_equal(result.mask, reference == value)


def test_a_series_that_lost_its_uids_is_refused(highdicom, shared_data: Path, tmp_path):
    volume = load_volume(shared_data / "ct-multiorgan-dicom" / "ct")
    with pytest.raises(InputError) as caught:
        write_seg(tmp_path / "seg.dcm", volume, [Draft("A", np.ones(volume.shape, bool))])
    assert caught.value.code == "seg.no_uids"
