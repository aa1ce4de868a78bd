"""Transforms from files: ITK's, and DICOM registration objects in either direction."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import make_series, write
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from registration_phantom import bump, rotation
from SegmentAnythingMedLib.adaptive.transform_files import load_transform, save_transform
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.dicom import read_series

PRIOR, TODAY, OTHER = "1.2.3.100", "1.2.3.200", "1.2.3.300"
PLACES = np.array([-30.0, 12, 100]) + np.random.default_rng(0).uniform(0, 8, (30, 3))


def matrix(angles=(0.1, -0.2, 0.3), move=(4.0, -6.0, 9.0)):
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation(*angles), move
    return out


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Two DICOM series with frames of reference of their own."""
    folder = tmp_path_factory.mktemp("visits")
    return [
        read_series(write(folder / frame, make_series(FrameOfReferenceUID=frame, series=frame)))
        for frame in (PRIOR, TODAY)
    ]


def item(**tags):
    out = Dataset()
    for keyword, value in tags.items():
        setattr(out, keyword, value)
    return out


def matrix_item(values):
    return item(
        FrameOfReferenceTransformationMatrix=[f"{x:.10g}" for x in np.asarray(values).ravel()],
        FrameOfReferenceTransformationMatrixType="RIGID",
    )


def rigid_item(*matrices, frame="", images=()):
    out = item(MatrixRegistrationSequence=[item(MatrixSequence=[matrix_item(one) for one in matrices])])
    if frame:
        out.FrameOfReferenceUID = frame
    if images:
        out.ReferencedImageSequence = [item(ReferencedSOPInstanceUID=uid) for uid in images]
    return out


def deformable_item(frame, field=None, pre=None, post=None, origin=(-60.0, -20.0, 70.0), axes=None, step=4.0):
    out = item(SourceFrameOfReferenceUID=frame)
    for keyword, values in (("Pre", pre), ("Post", post)):
        if values is not None:
            setattr(out, f"{keyword}DeformationMatrixRegistrationSequence", [matrix_item(values)])
    if field is not None:
        axes = np.eye(3) if axes is None else axes
        out.DeformableRegistrationGridSequence = [
            item(
                ImagePositionPatient=list(origin), ImageOrientationPatient=[float(x) for x in axes[:, :2].T.ravel()],
                GridDimensions=list(field.shape[2::-1]), GridResolution=[step] * 3,
                VectorGridData=field.astype("<f4").tobytes(),
            )
        ]  # fmt: skip
    return out


def registration(path, registered, found, deformable=False, uid=None):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = uid or f"1.2.840.10008.5.1.4.1.1.66.{3 if deformable else 1}"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = item(
        SOPClassUID=meta.MediaStorageSOPClassUID, SOPInstanceUID=meta.MediaStorageSOPInstanceUID, Modality="REG",
        PatientName="SECRET^NAME", FrameOfReferenceUID=registered,
    )  # fmt: skip
    setattr(dataset, "DeformableRegistrationSequence" if deformable else "RegistrationSequence", found)
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return path


RIGID_FORMS = {
    "prior moved to today": lambda m: (TODAY, [rigid_item(np.linalg.inv(m), frame=PRIOR)]),
    "today moved to prior": lambda m: (PRIOR, [rigid_item(np.eye(4), frame=PRIOR), rigid_item(m, frame=TODAY)]),
    "both in a third frame": lambda m: (
        OTHER, [rigid_item(matrix(move=(1, 2, 3)) @ m, frame=TODAY), rigid_item(matrix(move=(1, 2, 3)), frame=PRIOR)],
    ),
    "two matrices": lambda m: (PRIOR, [rigid_item(m @ matrix((0, 0, 1)), matrix((0, 0, -1), np.linalg.inv(
        rotation(0, 0, 1)) @ np.array([-4.0, 6, -9])), frame=TODAY)]),
}  # fmt: skip


@pytest.mark.parametrize("form", RIGID_FORMS)
def test_a_rigid_registration_is_read_in_the_direction_of_its_frames(visits, tmp_path, form):
    wanted = matrix()
    path = registration(tmp_path / "reg.dcm", *RIGID_FORMS[form](wanted))
    found = load_transform(path, *visits)
    assert np.allclose(found.matrix, wanted, atol=1e-6)
    assert found.source == "DICOM REG"
    turned = load_transform(path, *visits[::-1])
    assert np.allclose(turned.matrix, np.linalg.inv(wanted), atol=1e-6)


def test_items_are_told_by_their_images_before_their_frames(visits, tmp_path):
    images = visits[1].source.sop_instance_uids
    path = registration(
        tmp_path / "reg.dcm", PRIOR,
        [rigid_item(matrix(move=(9, 9, 9)), frame=TODAY), rigid_item(matrix(), images=images[2:3])],
    )  # fmt: skip
    assert np.allclose(load_transform(path, *visits).matrix, matrix(), atol=1e-6)


def grid_of(transform, shape=(16, 14, 15), origin=(-60.0, -20.0, 70.0), axes=None, step=4.0):
    """Offsets of a deformation at the points of a grid."""
    axes = np.eye(3) if axes is None else axes
    k, j, i = np.indices(shape)
    points = np.array(origin) + step * np.stack([i, j, k], axis=-1).reshape(-1, 3) @ axes.T
    return (transform.map_points(points) - points).reshape(*shape, 3)


def test_a_deformable_registration_is_post_times_pre_plus_grid(visits, tmp_path):
    axes = rotation(0.2, 0.0, 0.3)
    bend = bump((-27.0, 15.0, 104.0), (3.0, -4.0, 2.0), 18.0)
    field = grid_of(bend, axes=axes)
    pre, post = matrix((0.05, 0, 0.1), (1, -1, 2)), matrix((0, 0.1, 0), (2, 2, -3))
    path = registration(
        tmp_path / "reg.dcm", TODAY, [deformable_item(PRIOR, field, pre, post, axes=axes)], deformable=True
    )
    found = load_transform(path, *visits)
    offsets = bend.map_points(PLACES) - PLACES
    wanted = (PLACES @ pre[:3, :3].T + pre[:3, 3] + offsets) @ post[:3, :3].T + post[:3, 3]
    assert np.abs(found.map_points(PLACES) - wanted).max() < 0.15  # between the points of a 4 mm grid
    assert found.kind == "deformable"


def test_a_deformation_of_the_other_direction_is_inverted_and_said(visits, tmp_path):
    bend = bump((-27.0, 15.0, 104.0), (3.0, -4.0, 2.0), 18.0)
    path = registration(tmp_path / "reg.dcm", PRIOR, [deformable_item(TODAY, grid_of(bend))], deformable=True)
    found = load_transform(path, *visits)  # today -> prior; the file holds prior -> today
    assert np.abs(bend.map_points(found.map_points(PLACES)) - PLACES).max() < 0.4
    assert "other direction" in " ".join(found.notes)


def test_a_deformable_object_without_a_grid_is_its_matrices(visits, tmp_path):
    post = matrix()
    path = registration(tmp_path / "reg.dcm", TODAY, [deformable_item(PRIOR, post=post)], deformable=True)
    assert np.allclose(load_transform(path, *visits).matrix, post, atol=1e-6)


def test_undefined_points_of_a_grid_do_not_deform_and_are_told(visits, tmp_path):
    field = np.full((16, 14, 15, 3), np.nan)
    path = registration(tmp_path / "reg.dcm", TODAY, [deformable_item(PRIOR, field)], deformable=True)
    found = load_transform(path, *visits)
    assert np.allclose(found.map_points(PLACES), PLACES)
    assert "3360 points" in found.notes[0]


def broken(path, kind):
    if kind == "other frames":
        return registration(path, OTHER, [rigid_item(matrix(), frame=TODAY)])
    if kind == "singular":
        return registration(path, PRIOR, [rigid_item(np.zeros((4, 4)), frame=TODAY)])
    if kind == "short grid":
        found = deformable_item(PRIOR, np.zeros((4, 4, 4, 3)))
        found.DeformableRegistrationGridSequence[0].VectorGridData = b"\0" * 100
        return registration(path, TODAY, [found], deformable=True)
    if kind == "grid nowhere":
        found = deformable_item(PRIOR, np.zeros((4, 4, 4, 3)))
        del found.DeformableRegistrationGridSequence[0].ImageOrientationPatient
        return registration(path, TODAY, [found], deformable=True)
    if kind == "another object":
        return registration(path, PRIOR, [], uid="1.2.840.10008.5.1.4.1.1.2")
    path.write_bytes(b"\0" * 128 + b"DICM" + b"rubbish")
    return path


@pytest.mark.parametrize(
    "kind", ["other frames", "singular", "short grid", "grid nowhere", "another object", "rubbish"]
)
def test_registrations_that_cannot_be_used_are_refused(visits, tmp_path, kind):
    with pytest.raises(InputError) as caught:
        load_transform(broken(tmp_path / "reg.dcm", kind), *visits)
    assert caught.value.code == "visits.transform"
    assert "SECRET" not in caught.value.message


def test_a_dicom_registration_needs_two_dicom_visits(visits, tmp_path):
    from dataclasses import replace

    path = registration(tmp_path / "reg.dcm", PRIOR, [rigid_item(matrix(), frame=TODAY)])
    for given in ((), (visits[0], replace(visits[1], source=None))):
        with pytest.raises(InputError, match="visits"):
            load_transform(path, *given)


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5"])
def test_files_of_itk_come_back_as_they_went(tmp_path, suffix):
    for made in (VisitTransform.from_matrix(matrix()), bump((0, 0, 0), (1, 2, 3), 10.0).then(
            VisitTransform.from_matrix(matrix()))):  # fmt: skip
        save_transform(made, tmp_path / f"t{suffix}")
        found = load_transform(tmp_path / f"t{suffix}")
        assert np.allclose(found.map_points(PLACES), made.map_points(PLACES), atol=1e-6)
        assert found.kind == made.kind
        assert found.source == "file"
    assert [path.name for path in tmp_path.iterdir()] == [f"t{suffix}"]


def test_files_that_are_no_transform_are_refused(tmp_path):
    (tmp_path / "t.tfm").write_text("nothing of the kind")
    sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "plane.tfm"))
    for name, code in (("t.tfm", "visits.transform"), ("plane.tfm", "visits.transform"), ("no.tfm", "input.missing")):
        with pytest.raises(InputError) as caught:
            load_transform(tmp_path / name)
        assert caught.value.code == code
    with pytest.raises(InputError) as caught:
        save_transform(VisitTransform.identity(), tmp_path / "t.png")
    assert caught.value.code == "output.format"
