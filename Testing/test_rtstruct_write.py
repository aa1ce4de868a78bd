"""RTSTRUCT out: what is written is what was given, on the original slices, never approved, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import make_enhanced, make_series, make_slice, phantom, write
from SegmentAnythingMedLib.errors import Cancelled, InputError
from SegmentAnythingMedLib.files import rtstruct_write
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.drafts import Code, Draft, Origin, unique_names
from SegmentAnythingMedLib.files.images import load_volume, read_mask
from SegmentAnythingMedLib.files.mask_agreement import dice, edge_distance
from SegmentAnythingMedLib.files.rtstruct import read_structure_set
from SegmentAnythingMedLib.files.rtstruct_masks import masks_on
from SegmentAnythingMedLib.files.rtstruct_write import HOLES, write_rtstruct
from SegmentAnythingMedLib.progress import Progress
from test_rtstruct import ORIENTATIONS


def blob(shape, seed=0):
    """Islands, holes, lone pixels and pixels that touch at a corner; the volume's edges too."""
    return np.random.default_rng(seed).random(shape) < 0.55


@pytest.fixture
def series(tmp_path):
    return read_series(write(tmp_path / "ct", make_series()))


def round_trip(tmp_path, volume, masks, **how):
    path = tmp_path / "rt.dcm"
    written = write_rtstruct(path, volume, [Draft(f"S{n}", mask) for n, mask in enumerate(masks)], **how)
    return written, pydicom.dcmread(path), masks_on(read_structure_set(path), volume)


@pytest.mark.parametrize("holes", HOLES)
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_round_trip_is_exact_in_any_orientation(tmp_path, name, holes):
    volume = read_series(write(tmp_path / "ct", make_series(orientation=ORIENTATIONS[name])))
    masks = [blob(volume.shape, seed) for seed in (0, 1)]
    written, dataset, results = round_trip(tmp_path, volume, masks, holes=holes)
    assert (written.dice, written.edge_px, written.empty) == (1.0, 0.0, ())
    for mask, result in zip(masks, results, strict=True):
        np.testing.assert_array_equal(result.mask, mask)
        assert (result.status, result.notes) == ("ok", ())
    kinds = {c.ContourGeometricType for roi in dataset.ROIContourSequence for c in roi.ContourSequence}
    assert kinds == {"CLOSEDPLANAR_XOR" if holes == "xor" else "CLOSED_PLANAR"}
    values = [str(x) for roi in dataset.ROIContourSequence for c in roi.ContourSequence for x in c.ContourData]
    assert max(map(len, values)) <= 16


def test_large_coordinates_and_a_long_contour(tmp_path):
    comb = np.zeros((6, 120, 400), np.uint16)
    slices = [make_slice(p, (-12345.678901, 9876.54321, 2.5 * n), PixelSpacing=[0.123456, 0.123456]) for n, p in
              enumerate(comb)]  # fmt: skip
    volume = read_series(write(tmp_path / "ct", slices))
    mask = np.zeros(volume.shape, bool)
    mask[2, 1:119, ::2] = True
    mask[2, 60, :] = True  # one contour of 1600 points: more than 64 kB of text
    _, dataset, (result,) = round_trip(tmp_path, volume, [mask])
    np.testing.assert_array_equal(result.mask, mask)
    assert dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints > 1500


def test_tilted_and_uneven_series_get_contours_on_their_true_slices(tmp_path):
    tilted = read_series(write(tmp_path / "tilt", make_series(lean=(0.0, 0.9))))
    places = [(0.0, 0, z) for z in (0.0, 2, 5, 9, 11, 16)]
    slices = [
        make_slice(p, place, InstanceNumber=n) for n, (p, place) in enumerate(zip(phantom(6), places, strict=True))
    ]
    uneven = read_series(write(tmp_path / "uneven", slices))
    for volume in (tilted, uneven):
        assert volume.source.resampled
        mask = np.zeros(volume.shape, bool)
        mask[1:-1, 4:10, 2:8] = True
        written, dataset, (result,) = round_trip(tmp_path, volume, [mask])
        assert written.dice == 1.0
        for contour in dataset.ROIContourSequence[0].ContourSequence:
            n = volume.source.sop_instance_uids.index(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            np.testing.assert_allclose(points[:, 2], volume.source.positions[n, 2], atol=1e-5)
        assert dice(result.mask, mask) > 0.8  # one slice of a thick step more or less
        centres = [np.argwhere(m).mean(axis=0) for m in (result.mask, mask)]
        np.testing.assert_allclose(centres[0][1:], centres[1][1:], atol=0.6)


def test_what_the_file_says(tmp_path, series):
    prior = Origin("unit-model", "ab" * 32, "prior visit", "1.2.840.10008.5.1.4.1.1.481.3", "1.2.99")
    drafts = [
        Draft("Parotid_L", blob(series.shape), "AUTOMATIC", (1, 2, 3), "organ", tracking_uid="1.2.55",
              code=Code("45289007", "SCT", "Parotid gland")),
        Draft("Parotid_L", blob(series.shape, 1)),
        Draft("nothing", np.zeros(series.shape, bool)),
        Draft("../" + "Läsion " * 20 + "\x00🙂\\x", blob(series.shape, 2), "MANUAL"),
    ]  # fmt: skip
    written = write_rtstruct(tmp_path / "rt.dcm", series, drafts, prior)
    dataset = pydicom.dcmread(tmp_path / "rt.dcm")
    source = series.source
    assert dataset.ApprovalStatus == "UNAPPROVED"
    assert (dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID) == ("SECRET^NAME", "SECRETID", "1.2.3")
    assert dataset.SeriesInstanceUID == written.series_uid != source.series_uid
    assert dataset.SeriesDescription == "AI draft - unit-model - unapproved"
    assert len(dataset.StructureSetLabel) <= 16
    assert dataset.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == "1.2.99"
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    referenced = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert (frame.FrameOfReferenceUID, referenced.SeriesInstanceUID) == ("1.2.3.9", source.series_uid)
    assert [i.ReferencedSOPInstanceUID for i in referenced.ContourImageSequence] == list(source.sop_instance_uids)
    rois = dataset.StructureSetROISequence
    assert [r.ROIGenerationAlgorithm for r in rois] == ["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]
    assert [r.ROIName for r in rois][:2] == ["Parotid_L", "Parotid_L (2)"]
    assert len(rois[2].ROIName) <= 64
    assert "🙂" in rois[2].ROIDescription
    assert written.empty == ("nothing",)
    assert rois[0].TrackingUID == "1.2.55"
    assert rois[1].TrackingUID.is_valid
    assert "abababababab" in rois[0].ROIDescription
    observed = dataset.RTROIObservationsSequence
    assert [o.RTROIInterpretedType for o in observed] == ["ORGAN", "", ""]
    assert all(o.ROIInterpreter in ("", None) for o in observed)
    assert dataset.ROIContourSequence[0].ROIDisplayColor == [1, 2, 3]
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in source.sop_instance_uids


def test_an_approved_prior_does_not_make_the_draft_approved(tmp_path, series):
    written = write_rtstruct(tmp_path / "one.dcm", series, [Draft("A", blob(series.shape))])
    signed = pydicom.dcmread(tmp_path / "one.dcm")
    signed.ApprovalStatus = "APPROVED"
    signed.save_as(tmp_path / "signed.dcm")
    prior = read_structure_set(tmp_path / "signed.dcm")
    origin = Origin(predecessor_class_uid=prior.sop_class_uid, predecessor_uid=prior.sop_instance_uid)
    write_rtstruct(tmp_path / "two.dcm", series, [Draft("A", blob(series.shape))], origin)
    assert read_structure_set(tmp_path / "two.dcm").approval == "UNAPPROVED"
    follows = pydicom.dcmread(tmp_path / "two.dcm").PredecessorStructureSetSequence[0]
    assert follows.ReferencedSOPInstanceUID == written.sop_instance_uid


def test_frames_of_one_file_are_referred_to(tmp_path):
    make_enhanced(frame_order=[3, 1, 0, 2, 5, 4]).save_as(tmp_path / "mf.dcm", enforce_file_format=True)
    volume = read_series(tmp_path / "mf.dcm")
    mask = np.zeros(volume.shape, bool)
    mask[1, 2, 3] = True
    _, dataset, (result,) = round_trip(tmp_path, volume, [mask])
    np.testing.assert_array_equal(result.mask, mask)
    image = dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0]
    assert image.ReferencedFrameNumber == 2  # second frame of the file


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"source": None}, "rtstruct.no_series"), ({"frame_of_reference_uid": ""}, "rtstruct.no_frame_of_reference"),
        ({"mask": False}, "rtstruct.nothing_to_write"), ({"algorithm": "MAGIC"}, "rtstruct.algorithm"),
        ({"shape": (1, 2, 3)}, "volume.shape"), ({"files": (Path("gone.dcm"),)}, "dicom.source_gone"),
        ({"holes": "filled"}, "option.holes"), ({"folder": "none"}, "output.folder"),
    ],
)  # fmt: skip
def test_refusals_leave_the_old_file(tmp_path, series, change, code):
    path = tmp_path / change.get("folder", ".") / "rt.dcm"
    if path.parent.is_dir():
        path.write_bytes(b"old")
    volume = replace(series, source=None) if "source" in change else series
    fields = {key: change[key] for key in ("frame_of_reference_uid", "files") if key in change}
    if fields:
        volume = replace(series, source=replace(series.source, **fields))
    mask = np.ones(change.get("shape", series.shape), bool) & change.get("mask", True)
    with pytest.raises(InputError) as caught:
        write_rtstruct(path, volume, [Draft("A", mask, change.get("algorithm", "AUTOMATIC"))],
                       holes=change.get("holes", "separate"))  # fmt: skip
    assert caught.value.code == code
    assert "SECRET" not in str(caught.value)
    assert not path.parent.is_dir() or path.read_bytes() == b"old"


def test_a_wrong_contour_is_found_before_it_counts_as_written(tmp_path, series, monkeypatch):
    """A tracer that is off by a pixel, one that fills holes, and one that loses a slice: nothing is kept."""
    true_trace, path = rtstruct_write.trace, tmp_path / "rt.dcm"
    mask = np.zeros(series.shape, bool)
    mask[1:5, 2:10, 1:9] = True
    mask[1:5, 4:8, 3:7] = False
    faults = [
        lambda plane: [polygon + np.array([1.0, 0.0]) for polygon in true_trace(plane)],
        lambda plane: true_trace(plane)[:1],
        lambda plane: [] if plane.sum() == mask[1].sum() else true_trace(plane),
    ]
    for fault in faults:
        monkeypatch.setattr(rtstruct_write, "trace", fault)
        with pytest.raises(InputError) as caught:
            write_rtstruct(path, series, [Draft("A", mask)])
        assert caught.value.code == "rtstruct.verification"
        assert list(tmp_path.glob("*.dcm")) == list(tmp_path.glob(".*.tmp*")) == []


def test_cancel_leaves_nothing(tmp_path, series):
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        write_rtstruct(tmp_path / "rt.dcm", series, [Draft("A", blob(series.shape))], progress=progress)
    assert not (tmp_path / "rt.dcm").exists()


def test_agreement_measures():
    one = np.zeros((2, 8, 8), bool)
    one[:, 2:6, 2:6] = True
    assert dice(one, one) == 1.0
    assert edge_distance(one, one) == 0.0
    assert edge_distance(one, np.roll(one, 2, axis=2)) == 2.0
    filled = one.copy()
    filled[1] = False
    assert edge_distance(one, filled) == float("inf")


def test_names_fit_and_differ():
    assert unique_names(["a", "a", "", "b\\c\x01", "x" * 80, "x" * 80]) == [
        "a", "a (2)", "Structure 3", "b/c", "x" * 64, "x" * 60 + " (2)",
    ]  # fmt: skip


REAL = [
    ("ct-multiorgan-dicom/ct", "ct-multiorgan-dicom/labels.nii.gz"),
    ("mr-brain-glioma-dicom-seg/t1_post", "mr-brain-glioma-dicom-seg/tumor_on_t1_grid.nrrd"),
    ("pet-headneck-dicom-seg/pet", "pet-headneck-dicom-seg/labels.nrrd"),
    ("sarcoma-dicom-rtstruct/MR_T1/image", "sarcoma-dicom-rtstruct/MR_T1/mask.nii.gz"),
]


@pytest.mark.parametrize(("images", "labels"), REAL, ids=[case[0] for case in REAL])
def test_real_structures_survive_the_round_trip(shared_data: Path, tmp_path, images, labels):
    """JPEG 2000 CT, oblique MR, PET with eleven lesions, MR: every structure comes back voxel by voxel."""
    volume = load_volume(shared_data / images)
    reference = read_mask(shared_data / labels, volume).labels
    if not volume.source.study_uid:  # the JPEG 2000 series has lost its UIDs
        with pytest.raises(InputError) as caught:
            write_rtstruct(tmp_path / "rt.dcm", volume, [Draft("A", reference > 0)])
        assert caught.value.code == "rtstruct.no_uids"
        uids = tuple(f"1.2.{n}" for n in range(len(volume.source.files)))
        source = replace(volume.source, study_uid="1.2", series_uid="1.3", sop_instance_uids=uids)
        volume = replace(volume, source=source)
    values = [value for value in np.unique(reference) if value][:12]
    written, _, results = round_trip(tmp_path, volume, [reference == value for value in values])
    assert (written.dice, written.edge_px) == (1.0, 0.0)
    for value, result in zip(values, results, strict=True):
        np.testing.assert_array_equal(result.mask, reference == value)


def test_format_case_without_frame_of_reference_is_refused(shared_data: Path, tmp_path):
    volume = load_volume(shared_data / "rtstruct-format-cases" / "oblique" / "ct")
    with pytest.raises(InputError) as caught:
        write_rtstruct(tmp_path / "rt.dcm", volume, [Draft("A", np.ones(volume.shape, bool))])
    assert caught.value.code == "rtstruct.no_frame_of_reference"
    source = replace(volume.source, frame_of_reference_uid="1.2.3.4")
    mask = blob(volume.shape)
    _, _, (result,) = round_trip(tmp_path, replace(volume, source=source), [mask])
    np.testing.assert_array_equal(result.mask, mask)
