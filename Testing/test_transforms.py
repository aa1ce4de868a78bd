"""The transform between visits: one direction, whatever it is made from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from registration_phantom import bump, rotation
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform, chain, parts_of
from SegmentAnythingMedLib.errors import InputError

POINTS = np.random.default_rng(0).uniform(-80, 80, (20, 3))


def rigid(x=0.2, y=-0.1, z=0.4, move=(5.0, -3.0, 8.0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(x, y, z), move
    return matrix


def test_points_of_the_follow_up_go_to_the_prior_as_simpleitk_resamples():
    prior = sitk.Image(10, 10, 10, sitk.sitkUInt8)
    prior[7, 3, 4] = 9
    transform = VisitTransform.translation((2.0, 1.0, 0.0))
    pulled = sitk.Resample(prior, prior, transform.itk, sitk.sitkNearestNeighbor)
    assert pulled[5, 2, 4] == 9
    assert np.allclose(transform.map_points([(5, 2, 4)]), [(7, 3, 4)])


def test_kinds_and_matrices():
    scale = np.diag([1.0, 1.1, 1.0, 1.0])
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    for made, kind in (
        (VisitTransform.identity(), "identity"),
        (VisitTransform.translation((1, 0, 0)), "translation"),
        (VisitTransform.from_matrix(rigid()), "rigid"),
        (VisitTransform.from_matrix(scale), "affine"),
        (VisitTransform.from_matrix(mirror), "affine"),
        (bump((0, 0, 0), (3, 0, 0), 20.0), "deformable"),
    ):
        assert made.kind == kind
        assert made.is_linear == (kind != "deformable")
    assert np.allclose(VisitTransform.from_matrix(rigid()).matrix, rigid())


def test_following_one_another_and_back():
    first, second = VisitTransform.from_matrix(rigid()), VisitTransform.from_matrix(rigid(0.0, 0.5, 0.0))
    both = first.then(second)
    assert np.allclose(both.map_points(POINTS), second.map_points(first.map_points(POINTS)))
    assert np.allclose(both.inverse().map_points(both.map_points(POINTS)), POINTS)
    deforms = bump((0, 0, 0), (3, 0, 4), 30.0)
    mixed = deforms.then(second)
    assert np.allclose(mixed.map_points(POINTS), second.map_points(deforms.map_points(POINTS)))
    assert np.allclose(mixed.linear_part, second.matrix)
    assert parts_of(mixed.itk)[0].GetTransformEnum() == sitk.sitkDisplacementField
    assert np.allclose(chain(mixed.itk, first.itk).TransformPoint((1.0, 2.0, 3.0)),
                       first.map_points(mixed.map_points([(1, 2, 3)]))[0])  # fmt: skip
    with pytest.raises(InputError) as caught:
        mixed.inverse()
    assert caught.value.code == "visits.transform"


def test_the_digest_is_of_the_map_not_of_its_form():
    euler = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.2, -0.1, 0.4, (5.0, -3.0, 8.0))
    assert VisitTransform(euler).digest == VisitTransform.from_matrix(rigid()).digest
    assert VisitTransform.identity().digest == VisitTransform.translation((0, 0, 0)).digest
    assert VisitTransform.from_matrix(rigid()).digest != VisitTransform.from_matrix(rigid(0.21)).digest
    assert bump((0, 0, 0), (3, 0, 4), 30.0).digest == bump((0, 0, 0), (3, 0, 4), 30.0).digest
    assert bump((0, 0, 0), (3, 0, 4), 30.0).digest != bump((0, 0, 0), (3, 0, 4.001), 30.0).digest


def test_reports_are_json():
    told = json.loads(json.dumps(bump((0, 0, 0), (3, 0, 4), 30.0).describe()))
    assert (told["kind"], told["matrix"], told["parts"]) == ("deformable", None, ["displacement field"])
    assert "follow-up" in told["direction"]


@pytest.mark.parametrize(
    "matrix", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.diag([1, 1, 0, 1]), np.ones((4, 4))]
)
def test_matrices_that_are_no_map_are_refused(matrix):
    with pytest.raises(InputError) as caught:
        VisitTransform.from_matrix(matrix)
    assert caught.value.code == "visits.transform"


def test_a_transform_of_the_plane_is_refused():
    with pytest.raises(InputError) as caught:
        VisitTransform(sitk.Euler2DTransform())
    assert caught.value.code == "visits.transform"
