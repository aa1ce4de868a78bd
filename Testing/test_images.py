"""Images: what goes out comes back, on the same grid, or nothing changes on disk."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files import nifti as nifti_module
from SegmentAnythingMedLib.files.images import load_mask, load_volume, read_mask, save_mask, save_volume
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha")


def oblique(shape=(4, 5, 6), dtype=np.int16, flip=False) -> Volume:
    direction = Rotation.from_euler("xyz", [20, -35, 150], degrees=True).as_matrix()
    if flip:
        direction[:, 2] *= -1
    affine = Affine.from_parts((0.7, 0.9, 5.0), (-120.5, 33.25, 812.0), direction)
    values = np.random.default_rng(0).integers(0, 100, shape)
    return Volume(values.astype(dtype), affine)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("flip", [False, True])
def test_voxels_and_geometry_come_back(tmp_path, suffix, flip):
    volume = oblique(flip=flip)
    save_volume(volume, tmp_path / f"image{suffix}")
    again = load_volume(tmp_path / f"image{suffix}")
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    assert again.voxels.dtype == np.int16
    assert again.affine.displacement(volume.affine, volume.shape) < 1e-4
    assert again.same_grid(volume)
    assert [file.name for file in tmp_path.iterdir()] == [f"image{suffix}"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.bool_, np.uint8), (np.uint8, np.uint8), (np.uint16, np.uint16), (np.int32, np.int32),
        (np.uint32, np.uint32), (np.int64, np.int64), (np.float16, np.float32), (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)  # fmt: skip
def test_types_are_kept_without_wrap(tmp_path, suffix, dtype, stored):
    volume = oblique(dtype=dtype)
    if np.dtype(dtype).kind in "iu":
        voxels = volume.voxels.copy()
        voxels[0, 0, :2] = np.iinfo(dtype).max, np.iinfo(dtype).min
        volume = replace(volume, voxels=voxels)
    save_volume(volume, tmp_path / f"image{suffix}")
    again = load_volume(tmp_path / f"image{suffix}").voxels
    assert again.dtype == stored
    np.testing.assert_array_equal(again, volume.voxels.astype(stored))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("flip", [False, True])
def test_simpleitk_sees_the_same_nifti(tmp_path, suffix, flip):
    volume = oblique(flip=flip)
    save_volume(volume, tmp_path / f"image{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"image{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.voxels)
    for index in ((0, 0, 0), (5, 4, 3)):
        expected = volume.affine.ijk_to_lps([index])[0]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected, atol=1e-3)


def test_simpleitk_nifti_is_read_where_simpleitk_sees_it(tmp_path):
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.uint16).reshape(3, 4, 5))
    image.SetDirection(Rotation.from_euler("zyx", [10, 5, -70], degrees=True).as_matrix().ravel())
    image.SetOrigin((1.5, -20, 300))
    image.SetSpacing((0.5, 2, 3))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    volume = load_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.voxels, sitk.GetArrayFromImage(image))
    place = image.TransformIndexToPhysicalPoint((4, 3, 2))
    np.testing.assert_allclose(volume.affine.ijk_to_lps([[4, 3, 2]])[0], place, atol=1e-4)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_sheared_grid_survives(tmp_path, suffix):
    matrix = np.diag([1.0, 1, 2, 1])
    matrix[1, 2] = 0.5
    volume = Volume(np.zeros((3, 4, 5), np.uint8), Affine(matrix))
    save_volume(volume, tmp_path / f"a{suffix}")
    np.testing.assert_allclose(load_volume(tmp_path / f"a{suffix}").affine.matrix, matrix, atol=1e-6)


def test_a_mask_on_a_nifti_has_bit_for_bit_its_sform(tmp_path):
    save_volume(oblique(), tmp_path / "image.nii.gz")
    image = load_volume(tmp_path / "image.nii.gz")
    save_mask(np.ones(image.shape, bool), image, tmp_path / "mask.nii.gz")
    headers = [gzip.decompress((tmp_path / name).read_bytes())[:348] for name in ("image.nii.gz", "mask.nii.gz")]
    assert headers[0][280:328] == headers[1][280:328]
    qform = [struct.unpack("<2h6f", header[252:280]) for header in headers]
    np.testing.assert_allclose(qform[0], qform[1], atol=1e-6)


def test_equal_masks_give_equal_bytes(tmp_path):
    volume = oblique()
    for name in ("a.nii.gz", "b.nii.gz"):
        save_mask(volume.voxels > 50, volume, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("channels", [2, 3, 5])
def test_channels_come_back(tmp_path, suffix, channels):
    volume = oblique((3, 4, 5, channels), np.uint8)
    save_volume(volume, tmp_path / f"a{suffix}")
    again = load_volume(tmp_path / f"a{suffix}")
    assert again.channels == channels
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    if suffix != ".nii.gz" or channels == 3:  # ITK shows other NIfTI vectors as a fifth dimension
        image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), again.voxels)


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [([0, 1], np.uint8), ([0, 300], np.uint16), ([-1, 5], np.int16), ([0, 10**6], np.int32)],
)
def test_labels_take_the_smallest_type(tmp_path, labels, dtype):
    like = oblique((1, 1, 2))
    save_mask(np.array(labels).reshape(1, 1, 2), like, tmp_path / "a.nrrd")
    voxels = load_volume(tmp_path / "a.nrrd").voxels
    assert voxels.dtype == dtype
    np.testing.assert_array_equal(voxels.ravel(), labels)


def test_a_mask_on_another_grid_is_resampled_by_position(tmp_path):
    like = oblique((6, 7, 8))
    mask = np.zeros(like.shape, np.uint8)
    mask[1:4, 2:6, 3:5] = 7
    # flipped along I and cropped: other indices, same places
    flipped = Affine(like.affine.shifted((7, 0, 1)).matrix @ np.diag([-1.0, 1, 1, 1]))
    save_volume(Volume(mask[1:, :, ::-1], flipped), tmp_path / "mask.nrrd")
    loaded = read_mask(tmp_path / "mask.nrrd", like)
    assert loaded.resampled
    assert "resampled" in loaded.notes[0]
    np.testing.assert_array_equal(loaded.labels, mask)
    save_mask(mask, like, tmp_path / "same.nrrd")
    assert not read_mask(tmp_path / "same.nrrd", like).resampled


def test_pictures_are_volumes_of_one_slice(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(tmp_path / "a.png"))
    volume = load_volume(tmp_path / "a.png")
    assert volume.shape == (1, 20, 30)
    assert volume.channels == 3
    np.testing.assert_array_equal(volume.voxels[0], pixels)
    np.testing.assert_array_equal(volume.spacing, (1, 1, 1))
    assert any("spacing 1 mm" in note for note in volume.notes)


def test_scaled_nifti_keeps_integers(tmp_path):
    voxels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    nifti_module.write_nifti(tmp_path / "a.nii", voxels, Affine(np.eye(4)))
    data = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2f", data, 112, 2.0, -1024.0)
    (tmp_path / "a.nii").write_bytes(data)
    volume = load_volume(tmp_path / "a.nii")
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, voxels.astype(int) * 2 - 1024)
    struct.pack_into("<2f", data, 112, 0.5, 1.0)
    (tmp_path / "a.nii").write_bytes(data)
    np.testing.assert_allclose(load_volume(tmp_path / "a.nii").voxels, voxels * 0.5 + 1)


def test_disagreeing_forms_are_told_and_the_sform_wins(tmp_path):
    nifti_module.write_nifti(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16), Affine(np.eye(4)))
    data = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", data, 292, 7.5)  # srow_x[3]: 7.5 mm to the right
    (tmp_path / "a.nii").write_bytes(data)
    volume = load_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.affine.origin, (-7.5, 0, 0))
    assert any("disagree by up to 7.5 mm" in note for note in volume.notes)


def test_an_error_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "mask.nii.gz"
    target.write_bytes(b"precious")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nifti_module, "_write_voxels", full_disk)
    with pytest.raises(InputError, match="No space left") as caught:
        save_mask(np.ones((4, 5, 6), bool), oblique(), target)
    assert caught.value.code == "output.not_writable"
    assert target.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [target]


def test_all_real_images_load_on_the_grid_that_simpleitk_sees(shared_data: Path):
    files = [file for pattern in ("*.nii.gz", "*.nrrd") for file in sorted(shared_data.rglob(pattern))]
    assert len(files) > 20
    for file in files:
        volume, image = load_volume(file), sitk.ReadImage(str(file))
        size = (*image.GetSize(), 1)[:3]
        assert volume.shape == size[::-1], file.name
        last = tuple(n - 1 for n in image.GetSize())
        place = np.zeros(3)
        place[: image.GetDimension()] = image.TransformIndexToPhysicalPoint(last)
        corner = volume.affine.ijk_to_lps([[n - 1 for n in size]])[0]
        assert np.abs(corner - place).max() < 1e-3, file.name
        array = sitk.GetArrayFromImage(image).reshape(volume.voxels.shape)
        some = slice(None, None, max(1, volume.shape[0] // 4))
        np.testing.assert_array_equal(volume.voxels[some], array[some])


def test_a_picture_and_its_mask_share_a_grid(shared_data: Path):
    folder = shared_data / "endoscopy-polyp"
    image = load_volume(next((folder / "images").glob("*.jpg")))
    mask = load_mask(next((folder / "masks").glob("*.jpg")), image)
    assert mask.shape == image.shape
    assert set(np.unique(mask)) == {0, 1}
    assert 0.1 < mask.mean() < 0.6


def test_in_a_png_with_a_palette_the_index_is_the_label(tmp_path):
    from PIL import Image

    labels = np.zeros((12, 20), dtype=np.uint8)
    labels[2:5, 3:9], labels[7:9, 10:18] = 1, 2
    picture = Image.fromarray(labels, mode="P")
    picture.putpalette([0, 0, 0, 200, 30, 30, 30, 200, 200] + [0] * (253 * 3))
    picture.save(tmp_path / "labels.png")
    Image.fromarray(labels * 100).save(tmp_path / "image.png")
    volume = load_volume(tmp_path / "image.png")
    assert np.array_equal(load_mask(tmp_path / "labels.png", volume)[0], labels)
