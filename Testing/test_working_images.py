"""Small copies of visits for registration: where they lie, what is body, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from registration_phantom import body, rotation
from SegmentAnythingMedLib.adaptive.working_images import affine_of, body_near, working_image
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume


def grey(image):
    return sitk.GetArrayFromImage(image.image)


@pytest.mark.parametrize("direction", [np.eye(3), rotation(0.4, 0.2, -0.3), np.eye(3)[:, [2, 0, 1]] * (-1, 1, 1)])
def test_coarser_voxels_stay_in_their_place(direction):
    spot = np.zeros((24, 40, 36), dtype=np.float32)
    spot[8:12, 20:24, 12:16] = 100
    volume = Volume(spot, Affine.from_parts((1.0, 1.0, 1.5), (10, -20, 30), direction), modality="MR")
    image = working_image(volume, 4.0)
    assert np.allclose(image.image.GetSpacing(), (4.0, 4.0, 4.5))
    i, j, k = (int(n) for n in np.argwhere(grey(image) == grey(image).max())[0][::-1])
    place = np.array(image.image.TransformIndexToPhysicalPoint((i, j, k)))
    assert np.linalg.norm(place - volume.affine.ijk_to_lps([[13.5, 21.5, 9.5]])) < 2.5
    assert affine_of(image.image).is_orthogonal()


def test_the_body_is_the_patient_not_the_table_and_has_no_holes():
    volume, organ = body()
    voxels = volume.voxels.copy()
    voxels[:, 90:92, 20:76] = 200
    voxels[:, 40:44, 40:44] = -1000
    image = working_image(replace(volume, voxels=voxels), 2.5)
    mask = sitk.GetArrayFromImage(image.body) > 0
    assert mask.shape == volume.shape
    assert mask[organ].all()
    assert mask[:, 41:43, 41:43].all()
    assert not mask[:, 89:, :].any()
    assert 0.3 < mask.mean() < 0.6
    assert np.abs(image.centre - volume.affine.ijk_to_lps([[47.5, 47.5, 19.5]])).max() < 4.0


def test_a_sheared_grid_becomes_an_upright_one_with_the_same_places():
    volume, organ = body(shape=(20, 48, 48), spacing=(5.0, 5.0, 6.0))
    matrix = volume.affine.matrix.copy()
    matrix[1, 2] = 1.5
    image = working_image(replace(volume, affine=Affine(matrix)), 5.0)
    middle = Affine(matrix).ijk_to_lps(np.argwhere(organ).mean(axis=0)[None, ::-1])[0]
    index = image.image.TransformPhysicalPointToIndex(middle.tolist())
    assert grey(image)[index[::-1]] == pytest.approx(0.62, abs=0.12)
    assert affine_of(image.image).is_orthogonal()


def test_a_single_slice_is_made_thick_enough_and_remembered_as_thin():
    volume, _ = body(shape=(21, 48, 48), spacing=(5.0, 5.0, 6.0))
    one = Volume(volume.voxels[10:11], volume.affine, modality="CT", is_hu=True)
    image = working_image(one, 5.0)
    assert image.image.GetSize() == (48, 48, 5)
    assert image.slices == 1
    assert np.allclose(image.image.TransformIndexToPhysicalPoint((0, 0, 2)), volume.affine.origin)


def test_voxels_that_are_no_numbers_count_as_the_lowest():
    volume, _ = body(shape=(10, 48, 48), spacing=(5.0, 5.0, 6.0))
    voxels = volume.voxels.astype(np.float32)
    voxels[3, 5, 5], voxels[4, 5, 5] = np.nan, np.inf
    values = grey(working_image(replace(volume, voxels=voxels), 5.0))
    assert np.isfinite(values).all()
    assert values[3, 5, 5] == values.min()


def test_images_without_contrast_and_colour_are_refused():
    for voxels in (np.full((6, 8, 8), 3.0), np.full((6, 8, 8), np.nan), np.zeros((6, 8, 8, 3), dtype=np.uint8)):
        with pytest.raises(InputError) as caught:
            working_image(Volume(voxels, Affine(np.eye(4))), 2.0)
        assert caught.value.code == "visits.registration"


def test_the_region_around_points_stays_within_the_image():
    volume, _ = body(shape=(20, 48, 48), spacing=(5.0, 5.0, 6.0))
    image = working_image(volume, 5.0)
    corner = volume.affine.ijk_to_lps([[0, 0, 0]])
    part, inside = body_near(image, corner, 20.0)
    assert part.GetSize() == inside.GetSize() == (5, 5, 5)
    assert np.allclose(part.GetOrigin(), image.image.GetOrigin())
    part, _ = body_near(image, volume.affine.ijk_to_lps([[24, 24, 10], [26, 24, 10]]), 20.0)
    assert part.GetSize() == (11, 9, 9)
