"""DICOM series: every voxel has the right value at the right place, whatever the files look like."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import AXIAL, SHAPE, SPACING, hu, make_enhanced, make_series, make_slice, positions, write
from pydicom.uid import JPEG2000Lossless
from SegmentAnythingMedLib.errors import Cancelled, InputError
from SegmentAnythingMedLib.files.dicom import list_series, read_series
from SegmentAnythingMedLib.files.images import load_volume, read_mask, save_mask
from SegmentAnythingMedLib.progress import Progress

CORONAL = (1.0, 0, 0, 0, 0, -1)
SAGITTAL = (0.0, 1, 0, 0, 0, -1)
PRONE_FEET_FIRST = (-1.0, 0, 0, 0, 1, 0)
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
ORIENTATIONS = {
    "axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL, "prone": PRONE_FEET_FIRST, "oblique": OBLIQUE,
    "mirrored": (-1.0, 0, 0, 0, -1, 0),
}  # fmt: skip


def ramp(points: np.ndarray) -> np.ndarray:
    """A linear function of patient position: linear interpolation must reproduce it, whatever the grid."""
    return points @ np.array([7.0, -11.0, 5.0]) + 3000


def ramp_series(places, orientation=AXIAL, shape=SHAPE, **tags):
    """Slices at ``places`` whose stored values are the ramp at their pixels."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    j, i = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    out = []
    for n, place in enumerate(places):
        points = np.asarray(place) + i[..., None] * row * SPACING[1] + j[..., None] * column * SPACING[0]
        pixels = np.rint(ramp(points)).astype(np.int16)
        out.append(make_slice(pixels, place, orientation, InstanceNumber=n + 1, RescaleIntercept=0, **tags))
    return out


def ramp_error(volume, edge: int = 0) -> float:
    """Largest difference between the volume and the ramp at its voxels, where it is not padding."""
    k, j, i = np.meshgrid(*[np.arange(n) for n in volume.shape], indexing="ij")
    points = volume.affine.ijk_to_lps(np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))
    difference = np.abs(volume.voxels.ravel() - ramp(points)).reshape(volume.shape)
    return float(difference[volume.voxels > volume.voxels.min() + edge].max())


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_voxel_lies_where_its_slice_says(tmp_path, name):
    orientation = ORIENTATIONS[name]
    volume = read_series(write(tmp_path / "s", ramp_series(positions(5, orientation), orientation)))
    assert volume.shape == (5, *SHAPE)
    assert ramp_error(volume, edge=-1) <= 0.51
    np.testing.assert_allclose(volume.spacing, (SPACING[1], SPACING[0], 2.5), atol=1e-6)
    assert np.linalg.det(volume.affine.direction) == pytest.approx(1)


def test_file_order_and_instance_numbers_do_not_matter(tmp_path):
    slices = make_series()
    shuffled = random.Random(0).sample(slices, len(slices))
    for n, dataset in enumerate(shuffled):
        dataset.InstanceNumber = n * 7 % 5
    volume = read_series(write(tmp_path / "s", shuffled))
    np.testing.assert_array_equal(volume.voxels, hu())
    assert volume.voxels.dtype == np.int16
    assert volume.source.sop_instance_uids == tuple(dataset.SOPInstanceUID for dataset in slices)


def test_what_is_known_about_the_numbers(tmp_path):
    volume = read_series(write(tmp_path / "s", make_series()))
    assert (volume.modality, volume.is_hu, volume.window) == ("CT", True, (40.0, 400.0))
    assert volume.notes == ()
    assert volume.source.frame_of_reference_uid == "1.2.3.9"
    assert not volume.source.resampled


def test_missing_rescale_is_not_hu(tmp_path):
    volume = read_series(write(tmp_path / "s", make_series(RescaleSlope=None)))
    np.testing.assert_array_equal(volume.voxels, hu() + 1024)
    assert volume.voxels.dtype == np.uint16
    assert volume.is_hu is False
    assert any("not HU" in note for note in volume.notes)


def test_a_slope_per_slice_is_applied_per_slice(tmp_path):
    slices = make_series(Modality="PT", Units="BQML", RescaleIntercept=0)
    for n, dataset in enumerate(slices):
        dataset.RescaleSlope = 0.5 + n
    volume = read_series(write(tmp_path / "s", slices))
    expected = (hu() + 1024) * (0.5 + np.arange(6))[:, None, None]
    np.testing.assert_allclose(volume.voxels, expected, rtol=1e-6)
    assert volume.is_hu is False
    assert any("BQML" in note for note in volume.notes)


def test_a_large_value_in_a_late_slice_does_not_wrap(tmp_path):
    slices = make_series()
    pixels = np.full(SHAPE, 60000, np.uint16)
    slices[4].PixelData = pixels.tobytes()
    volume = read_series(write(tmp_path / "s", slices))
    assert volume.voxels.dtype == np.int32
    assert (volume.voxels[4] == 60000 - 1024).all()
    np.testing.assert_array_equal(volume.voxels[:4], hu()[:4])


def test_signed_twelve_in_sixteen_bits(tmp_path):
    slices = make_series(RescaleIntercept=0, BitsStored=12, HighBit=11, PixelRepresentation=1)
    # -5 in twelve bits, with rubbish in the four unused ones, as some writers leave it
    for dataset in slices:
        dataset.PixelData = np.full(SHAPE, 0x0FFB, np.uint16).tobytes()
    volume = read_series(write(tmp_path / "s", slices))
    assert (volume.voxels == -5).all()


def test_monochrome1_keeps_values_and_says_so(tmp_path):
    volume = read_series(write(tmp_path / "s", make_series(PhotometricInterpretation="MONOCHROME1")))
    np.testing.assert_array_equal(volume.voxels, hu())
    assert any("MONOCHROME1" in note for note in volume.notes)


@pytest.mark.parametrize("lean", [(0.0, 0.7), (0.43, 0.0), (-0.31, -0.9)])
@pytest.mark.parametrize("name", ["axial", "oblique"])
def test_gantry_tilt_becomes_orthogonal_without_moving_anything(tmp_path, lean, name):
    orientation = ORIENTATIONS[name]
    places = positions(6, orientation, lean=lean)
    volume = read_series(write(tmp_path / "s", ramp_series(places, orientation)))
    assert volume.affine.is_orthogonal(1e-6)
    assert any("gantry tilt" in note for note in volume.notes)
    assert ramp_error(volume) <= 1.01
    # the planes are the original ones
    normal = np.cross(orientation[:3], orientation[3:])
    k = np.arange(6)
    centres = volume.affine.ijk_to_lps(np.stack([0 * k, 0 * k, k], axis=1))
    np.testing.assert_allclose(centres @ normal, places @ normal, atol=1e-6)
    assert volume.source.resampled
    # hardly anything is lost: per slice all but the pixels at the border
    kept = (volume.voxels > volume.voxels.min()).sum(axis=(1, 2))
    assert kept.min() >= (SHAPE[0] - 1) * (SHAPE[1] - 1)


def test_a_missing_slice_is_refused_or_interpolated(tmp_path):
    slices = ramp_series(positions(7))
    folder = write(tmp_path / "s", slices[:2] + slices[3:])
    with pytest.raises(InputError, match=r"102\.50 and 107\.50") as caught:
        read_series(folder)
    assert caught.value.code == "dicom.missing_slices"
    volume = read_series(folder, allow_gaps=True)
    assert volume.shape[0] == 7
    assert ramp_error(volume, edge=-1) <= 1.01
    assert any("k = 2 " in note for note in volume.notes)
    whole = read_series(write(tmp_path / "whole", slices))
    assert volume.same_grid(whole)
    np.testing.assert_array_equal(np.delete(volume.voxels, 2, 0), np.delete(whole.voxels, 2, 0))


def test_uneven_spacing_is_interpolated_by_position(tmp_path):
    heights = np.array([0, 2.5, 5.0, 8.7, 11.0, 14.2, 16.8])
    places = np.array([-30.0, 12, 100]) + heights[:, None] * np.array([0, 0, 1.0])
    volume = read_series(write(tmp_path / "s", ramp_series(places)))
    assert any("Slice distances vary from 2.300 to 3.700" in note for note in volume.notes)
    assert ramp_error(volume, edge=-1) <= 1.01
    top = volume.affine.ijk_to_lps([[0, 0, volume.shape[0] - 1]])[0]
    np.testing.assert_allclose(top, places[-1], atol=1e-6)


def test_rounded_positions_are_uniform(tmp_path):
    places = positions(40, step=1.25)
    places[:, 2] += np.random.default_rng(0).uniform(-0.005, 0.005, 40)
    volume = read_series(write(tmp_path / "s", ramp_series(places)))
    assert not volume.source.resampled
    assert volume.spacing[2] == pytest.approx(1.25, abs=1e-3)


def test_a_single_slice_has_a_thickness(tmp_path):
    volume = read_series(write(tmp_path / "s", make_series(1, SliceThickness=5)))
    assert volume.shape == (1, *SHAPE)
    assert volume.spacing[2] == pytest.approx(5)
    bare = read_series(write(tmp_path / "t", make_series(1)))
    assert bare.spacing[2] == pytest.approx(1)
    assert any("1 mm was assumed" in note for note in bare.notes)


@pytest.mark.parametrize("name", ["axial", "oblique"])
def test_enhanced_multi_frame_equals_single_frames(tmp_path, name):
    orientation = ORIENTATIONS[name]
    enhanced = make_enhanced(frame_order=[3, 1, 0, 2, 5, 4], orientation=orientation)
    volume = read_series(write(tmp_path / "e", [enhanced]))
    single = read_series(write(tmp_path / "s", make_series(orientation=orientation)))
    np.testing.assert_array_equal(volume.voxels, single.voxels)
    assert volume.affine.almost_equal(single.affine, 1e-6)
    assert (volume.window, volume.is_hu) == (single.window, single.is_hu)
    assert volume.source.frame_numbers == (3, 2, 4, 1, 6, 5)


@pytest.mark.parametrize("tag", ["TemporalPositionIdentifier", "EchoTime", "AcquisitionNumber", "TriggerTime"])
def test_phases_are_told_apart_by_the_tag_that_separates_them(tmp_path, tag):
    second = make_series(**{tag: 10, "RescaleIntercept": 0})
    folder = write(tmp_path / "s", make_series(**{tag: 9}) + second)
    with pytest.raises(InputError, match=tag) as caught:
        read_series(folder)
    assert caught.value.code == "dicom.several_volumes"
    keys = [info.key for info in list_series(folder)]
    assert keys == ["1.2.3.4#1", "1.2.3.4#2"]
    np.testing.assert_array_equal(read_series(folder, keys[0]).voxels, hu())
    np.testing.assert_array_equal(read_series(folder, keys[1]).voxels, hu() + 1024)


def test_two_series_are_listed_and_chosen(tmp_path):
    folder = write(tmp_path / "s", make_series())
    write(tmp_path / "s" / "deeper", make_series(3, series="1.2.3.55"), "other")
    with pytest.raises(InputError, match=r"1\.2\.3\.4 \(6 slices\).*1\.2\.3\.55 \(3 slices\)") as caught:
        read_series(folder)
    assert caught.value.code == "dicom.several_series"
    assert read_series(folder, "1.2.3.55").shape[0] == 3
    assert read_series(folder, ".55").shape[0] == 3
    with pytest.raises(InputError) as caught:
        read_series(folder, "9.9")
    assert caught.value.code == "dicom.no_such_series"
    assert {info.key: info.slices for info in list_series(folder)} == {"1.2.3.4": 6, "1.2.3.55": 3}


def test_a_file_stands_for_its_series(tmp_path):
    folder = write(tmp_path / "s", make_series() + make_series(3, series="1.2.3.55"))
    volume = load_volume(folder / "slice002.dcm")
    np.testing.assert_array_equal(volume.voxels, hu())


def test_localizers_are_dropped_with_a_note(tmp_path):
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout = make_slice(np.zeros((20, 30), np.uint16), (0, 0, 0), CORONAL, ImageType=kind)
    stray = make_slice(np.zeros(SHAPE, np.uint16), (0, 0, 0), SAGITTAL)
    volume = read_series(write(tmp_path / "s", [scout, *make_series(), stray]))
    np.testing.assert_array_equal(volume.voxels, hu())
    assert any("2 localizers or slices" in note for note in volume.notes)


def test_other_files_are_skipped_and_counted(tmp_path):
    folder = write(tmp_path / "s", make_series())
    (folder / "fake.dcm").write_text("not an image")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "DICOMDIR").write_bytes((folder / "slice000.dcm").read_bytes())
    volume = read_series(folder)
    np.testing.assert_array_equal(volume.voxels, hu())
    assert any("empty.dcm" in note for note in volume.notes)
    assert any("1 files that are not DICOM" in note for note in volume.notes)


def test_a_file_without_preamble_is_read(tmp_path):
    folder = write(tmp_path / "s", make_series())
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    np.testing.assert_array_equal(read_series(folder).voxels, hu())


@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_malformed_tags_do_not_stop_the_reading(tmp_path):
    slices = make_series()
    for dataset in slices:
        dataset.SpecificCharacterSet = "NO_SUCH_SET"
        dataset.SliceThickness = "5"
        dataset.add_new((0x0009, 0x1001), "LO", "private without creator")
    folder = write(tmp_path / "s", slices)
    for file in folder.iterdir():
        data = file.read_bytes()
        broken = data.replace(b"\x18\x00\x50\x00DS\x02\x005 ", b"\x18\x00\x50\x00DS\x02\x00x?")
        assert broken != data
        file.write_bytes(broken.replace(b"SECRET^NAME ", b"\xff\xfe\x00SECRET\x80\x81\x82"))
    np.testing.assert_array_equal(read_series(folder).voxels, hu())


def test_no_patient_data_in_messages_or_notes(tmp_path):
    slices = make_series(SeriesDescription="SECRET")
    folder = write(tmp_path / "s", slices[:2] + slices[3:])
    with pytest.raises(InputError) as caught:
        read_series(folder)
    assert "SECRET" not in caught.value.message
    assert "SECRET" not in str(read_series(folder, allow_gaps=True).describe())


def test_cancel_reaches_the_reading(tmp_path):
    folder = write(tmp_path / "s", make_series())
    seen = []

    def listen(progress):
        seen.append((progress.label, progress.done))
        if progress.label == "Reading DICOM slices":
            progress.cancel()

    progress = Progress(listen)
    with pytest.raises(Cancelled):
        read_series(folder, progress=progress)
    assert ("Reading DICOM headers", 6) in seen


def test_missing_codec_names_syntax_and_package(tmp_path, monkeypatch):
    slices = make_series()
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset["PixelData"].is_undefined_length = True
        dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x02\x00\x00\x00\x00\x00"
    folder = write(tmp_path / "s", slices)

    class Unavailable:
        is_available = False

    monkeypatch.setattr("SegmentAnythingMedLib.files.dicom_pixels.get_decoder", lambda uid: Unavailable())
    with pytest.raises(InputError, match=r"JPEG 2000.*segment-anything-med\[jpeg2000\]") as caught:
        read_series(folder)
    assert caught.value.code == "dicom.no_codec"


REAL = [
    ("ct-multiorgan-dicom/ct", (20, 512, 512), (0.9766, 0.9766, 2.0), "CT", "ct-multiorgan-dicom/labels.nii.gz"),
    ("ct-pelvis-dicom-rtstruct/ct", (28, 512, 512), (0.9355, 0.9355, 2.5), "CT",
     "ct-pelvis-dicom-rtstruct/labels_rasterised.nrrd"),
    ("mr-brain-glioma-dicom-seg/t1_post", (46, 256, 248), (0.9766, 0.9766, 1.0), "MR",
     "mr-brain-glioma-dicom-seg/tumor_on_t1_grid.nrrd"),
    ("pet-headneck-dicom-seg/pet", (80, 168, 168), (3.394, 3.394, 2.025), "PT", "pet-headneck-dicom-seg/labels.nrrd"),
    ("sarcoma-dicom-rtstruct/CT/image", (49, 162, 134), (0.9766, 0.9766, 3.27), "CT",
     "sarcoma-dicom-rtstruct/CT/mask.nii.gz"),
    ("sarcoma-dicom-rtstruct/MR_T1/image", (42, 97, 54), (0.9766, 0.9766, 3.27), "MR",
     "sarcoma-dicom-rtstruct/MR_T1/mask.nii.gz"),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "shape", "spacing", "modality", "labels"), REAL, ids=[case[0] for case in REAL])
def test_real_series_fit_their_references(shared_data: Path, tmp_path, folder, shape, spacing, modality, labels):
    volume = load_volume(shared_data / folder)
    assert volume.shape == shape
    np.testing.assert_allclose(volume.spacing, spacing, atol=1e-3)
    assert volume.modality == modality
    reference = load_volume(shared_data / labels)
    moved = read_mask(shared_data / labels, volume).labels
    # by position every labelled voxel finds its place, flipped rows (the multi-organ labels) or not
    assert np.count_nonzero(moved) == np.count_nonzero(reference.voxels)
    save_mask(moved, volume, tmp_path / "mask.nii.gz")
    assert load_volume(tmp_path / "mask.nii.gz").same_grid(volume, 1e-3)


def test_labels_of_bone_are_bright_and_of_lung_dark(shared_data: Path):
    """Values and positions together: organs of the JPEG 2000 series have the HU that they should."""
    volume = load_volume(shared_data / "ct-multiorgan-dicom" / "ct")
    labels = read_mask(shared_data / "ct-multiorgan-dicom" / "labels.nii.gz", volume).labels
    names = {}
    for line in (shared_data / "ct-multiorgan-dicom" / "labels.csv").read_text().splitlines()[1:]:
        value, name = line.split(",")[:2]
        names[name] = int(value)
    present = {name: labels == value for name, value in names.items() if (labels == value).any()}
    means = {name: float(volume.voxels[mask].mean()) for name, mask in present.items()}
    assert 40 < means["liver"] < 200
    assert means["aorta"] > 100
    assert all(mean < -400 for name, mean in means.items() if name.startswith("lung_"))
    assert all(mean > 80 for name, mean in means.items() if name.startswith(("rib_", "vertebrae_")))


def test_enhanced_and_single_frame_files_of_one_phantom_agree(shared_data: Path):
    folder = shared_data / "dicom-seg-format-cases" / "dcmqi_23x38x3"
    single, multi = load_volume(folder / "image"), load_volume(folder / "multiframe" / "mf.dcm")
    np.testing.assert_array_equal(single.voxels, multi.voxels)
    assert single.same_grid(multi)
    label = read_mask(folder / "nrrd" / "label.nrrd", single)
    assert np.count_nonzero(label.labels) == 322


def test_oblique_unequal_spacing_of_the_format_case(shared_data: Path):
    volume = load_volume(shared_data / "rtstruct-format-cases" / "oblique" / "ct")
    assert volume.shape == (3, 50, 100)
    np.testing.assert_allclose(volume.spacing, (2.5, 3.5, 4.5), atol=1e-3)
    assert volume.affine.is_orthogonal()
    assert any("Frame of Reference" in note for note in volume.notes)
    assert volume.is_hu is False
