"""Intensities: from the whole volume, robust, and the same however the volume is turned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.images import load_volume
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.intensity import WINDOWS, estimate_mapping
from SegmentAnythingMedLib.space.statistics import volume_statistics
from SegmentAnythingMedLib.space.volume import Volume

EYE = Affine(np.eye(4))


def ct_like(dtype=np.int16) -> np.ndarray:
    rng = np.random.default_rng(0)
    voxels = np.full((8, 40, 40), -1000.0)
    voxels[:, 5:35, 5:35] = rng.normal(40, 20, (8, 30, 30))
    return voxels.astype(dtype)


def mr_like(dtype=np.uint16) -> np.ndarray:
    rng = np.random.default_rng(0)
    voxels = np.zeros((8, 40, 40))
    voxels[:, 5:35, 5:35] = rng.uniform(100, 900, (8, 30, 30))
    return voxels.astype(dtype)


def test_ct_takes_the_header_window_then_soft_tissue():
    header = estimate_mapping(Volume(ct_like(), EYE, modality="CT", window=(50, 300), is_hu=True))
    assert (header.lower, header.upper, header.name) == (-100, 200, "header")
    plain = estimate_mapping(Volume(ct_like(), EYE, modality="CT", is_hu=True))
    assert (plain.lower, plain.upper, plain.name) == (-160, 240, "soft-tissue")


def test_metal_does_not_move_the_window():
    voxels = ct_like(np.int32)
    clean = estimate_mapping(Volume(voxels.copy(), EYE))
    voxels[3, 10, 10] = 30000
    assert estimate_mapping(Volume(voxels, EYE)) == clean
    assert clean.name == "soft-tissue"


def test_a_file_without_modality_is_taken_for_ct_only_when_it_looks_so():
    guessed = estimate_mapping(Volume(ct_like(), EYE))
    assert any("taken for CT" in note for note in guessed.notes)
    phase = np.random.default_rng(0).integers(-4096, 4096, (4, 20, 20)).astype(np.int16)
    for voxels in (mr_like(), phase, np.random.default_rng(0).normal(0, 1, (4, 20, 20))):
        assert estimate_mapping(Volume(voxels, EYE)).mode == "percentile"
    # stored values of a CT without slope are not HU
    assert estimate_mapping(Volume(ct_like(), EYE, modality="CT", is_hu=False)).mode == "percentile"


def test_zero_background_is_left_out_and_stays_zero():
    volume = Volume(mr_like(), EYE, modality="MR")
    mapping = estimate_mapping(volume)
    inside = volume.voxels[volume.voxels > 0]
    assert mapping.ignores_zero
    assert mapping.lower == pytest.approx(np.percentile(inside, 0.5), abs=2)
    assert mapping.upper == pytest.approx(np.percentile(inside, 99.5), abs=2)
    image = mapping.apply(volume.voxels[0])
    assert image.dtype == np.float32
    assert (image[volume.voxels[0] == 0] == 0).all()
    assert 0.4 < image[6:34, 6:34].mean() < 0.6


def test_signed_images_use_all_voxels():
    voxels = np.random.default_rng(0).normal(0, 1, (10, 40, 40)).astype(np.float32)
    mapping = estimate_mapping(Volume(voxels, EYE))
    assert not mapping.ignores_zero
    assert mapping.lower == pytest.approx(np.percentile(voxels, 0.5), abs=0.02)
    assert mapping.upper == pytest.approx(np.percentile(voxels, 99.5), abs=0.02)


@pytest.mark.parametrize("voxels", [mr_like(), mr_like(np.float32), ct_like()], ids=["int", "float", "ct"])
def test_turning_the_volume_changes_nothing(voxels):
    mapping = estimate_mapping(Volume(voxels, EYE))
    for turned in (voxels[::-1], voxels[:, ::-1, ::-1], voxels.transpose(2, 0, 1)):
        assert estimate_mapping(Volume(turned, EYE)) == mapping


@pytest.mark.parametrize("shape", [(1, 30, 40), (1, 30, 40, 3), (5, 30, 40, 3)])
def test_pictures_keep_their_range(shape):
    voxels = np.random.default_rng(0).integers(50, 100, shape).astype(np.uint8)
    mapping = estimate_mapping(Volume(voxels, EYE))
    assert (mapping.lower, mapping.upper) == (0, 255)
    image = mapping.apply(voxels)
    assert image.shape == shape
    np.testing.assert_allclose(image, voxels / 255, atol=1e-6)


@pytest.mark.parametrize("name", WINDOWS)
def test_presets(name):
    level, width = WINDOWS[name]
    mapping = estimate_mapping(Volume(ct_like(), EYE), name)
    assert (mapping.lower, mapping.upper) == (level - width / 2, level + width / 2)
    image = mapping.apply(np.array([mapping.lower - 5, level, mapping.upper + 5]))
    np.testing.assert_allclose(image, [0, 0.5, 1], atol=1e-6)


def test_other_specs():
    volume = Volume(mr_like(), EYE)
    mapping = estimate_mapping(volume, " 50,200 ")
    assert (mapping.lower, mapping.upper) == (-50, 150)
    assert estimate_mapping(volume, "range").upper == volume.voxels.max()
    assert estimate_mapping(volume, "percentile") == estimate_mapping(volume)
    assert any("do not seem to be HU" in note for note in estimate_mapping(volume, "Lung").notes)


@pytest.mark.parametrize("spec", ["", "40", "40,0", "40,-3", "nan,5", "1,inf", "40;400", "nose", "1,2,3", "header"])
def test_bad_specs(spec):
    with pytest.raises(InputError) as caught:
        estimate_mapping(Volume(mr_like(), EYE), spec)
    assert caught.value.code == "option.window"


@pytest.mark.parametrize("value", [0, 7, -1000, 2.5])
@pytest.mark.parametrize("spec", ["auto", "percentile", "range", "soft-tissue"])
def test_constant_images_have_no_contrast_and_no_division(value, spec):
    voxels = np.full((3, 4, 5), value, np.float32)
    with np.errstate(all="raise"):
        mapping = estimate_mapping(Volume(voxels, EYE), spec)
        image = mapping.apply(voxels)
    assert np.isfinite(image).all()
    assert any("no contrast" in note for note in mapping.notes)


def test_a_window_beside_all_voxels_is_told():
    mapping = estimate_mapping(Volume(mr_like(), EYE), "-5000,100")
    assert any("outside it" in note for note in mapping.notes)


def test_nan_and_infinity():
    voxels = mr_like(np.float32)
    clean = estimate_mapping(Volume(voxels.copy(), EYE))
    voxels[0, 6, 6:9] = np.nan, np.inf, -np.inf
    mapping = estimate_mapping(Volume(voxels, EYE))
    assert mapping.upper == pytest.approx(clean.upper, rel=0.01)
    np.testing.assert_array_equal(mapping.apply(voxels[0, 6, 6:9]), [0, 1, 0])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.float16, np.uint32, np.int64, np.float64])
def test_every_type_without_wrap(dtype):
    values = np.arange(120).reshape(4, 5, 6) % 2 if dtype is bool else np.arange(120).reshape(4, 5, 6)
    volume = Volume(values.astype(dtype), EYE)
    image = estimate_mapping(volume, "range").apply(volume.voxels)
    np.testing.assert_allclose(image, values / values.max(), atol=1e-6)


def test_large_integers_keep_their_differences():
    values = np.int64(2) ** 40 + np.arange(101).reshape(1, 1, 101)
    image = estimate_mapping(Volume(values, EYE), "range").apply(values)
    np.testing.assert_allclose(image.ravel(), np.arange(101) / 100, atol=1e-6)


def test_sparse_images_fall_back_to_their_range():
    voxels = np.full((10, 50, 50), 5.0)
    voxels[5, 20:23, 20:23] = 80
    mapping = estimate_mapping(Volume(voxels, EYE))
    assert (mapping.lower, mapping.upper) == (5, 80)


def test_quantiles_and_fractions_are_exact_for_integers():
    values = np.arange(-50, 50, dtype=np.int16).reshape(4, 5, 5)
    statistics = volume_statistics(values)
    assert (statistics.minimum, statistics.maximum, statistics.finite) == (-50, 49, 100)
    assert statistics.quantile(0.0) == -50
    assert statistics.quantile(1.0) == 49
    assert statistics.quantile(0.5, above=0) == 25
    assert statistics.fraction(-10, 9) == pytest.approx(0.2)
    assert statistics.fraction(1000, 2000) == 0


def test_the_volume_is_not_touched_and_the_report_is_json():
    voxels = ct_like()
    before = voxels.copy()
    mapping = estimate_mapping(Volume(voxels, EYE))
    mapping.apply(voxels[3])
    np.testing.assert_array_equal(voxels, before)
    assert json.loads(json.dumps(mapping.describe()))["name"] == "soft-tissue"


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        ("ct-lung-nodule/ct.nrrd", "window"),
        ("ct-mr-multiorgan-3mm/ct.nii.gz", "window"),
        ("ct-aortic-dissection/ct.nii.gz", "window"),
        ("sarcoma-ct-mr-pet/STS_002/CT_image.nii.gz", "window"),
        ("sarcoma-ct-mr-pet/STS_002/MR_T1_image.nii.gz", "percentile"),
        ("sarcoma-ct-mr-pet/STS_002/PET_image.nii.gz", "percentile"),
        ("ct-mr-multiorgan-3mm/mr.nii.gz", "percentile"),
        ("mr-brain-lesion-t1gd/image.nrrd", "percentile"),
        ("mr-brain-ms-4contrast/flair.nii.gz", "percentile"),
        ("mr-brain-ms-two-visits/patient01/visit1_flair.nii.gz", "percentile"),
        ("mr-brain-glioma-dicom-seg/t2.nrrd", "percentile"),
        ("mr-cardiac-cine-two-phases/SC-HYP-03/image_ed.nrrd", "percentile"),
    ],
)
def test_real_files_are_recognised(shared_data: Path, file, mode):
    volume = load_volume(shared_data / file)
    mapping = estimate_mapping(volume)
    assert mapping.mode == mode
    middle = mapping.apply(volume.voxels[volume.shape[0] // 2])
    assert middle.std() > 0.05
