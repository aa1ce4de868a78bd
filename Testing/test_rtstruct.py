"""RTSTRUCT in: every form of contour becomes the mask that it means, on the right slices, or is reported."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import AXIAL, make_series, make_slice, phantom, write
from rtstruct_phantom import contour, save, structure_set
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.images import load_volume, read_mask
from SegmentAnythingMedLib.files.rtstruct import read_structure_set
from SegmentAnythingMedLib.files.rtstruct_masks import masks_on
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume, map_mask

ORIENTATIONS = {
    "axial": AXIAL, "coronal": (1.0, 0, 0, 0, 0, -1), "sagittal": (0.0, 1, 0, 0, 0, -1), "prone": (-1.0, 0, 0, 0, 1, 0),
    "oblique": (0.8, 0.6, 0.0, -0.36, 0.48, 0.8), "mirrored": (-1.0, 0, 0, 0, -1, 0),
}  # fmt: skip
SQUARE = np.array([[1.5, 1.5], [7.5, 1.5], [7.5, 8.5], [1.5, 8.5]])  # pixels 2..7 x 2..8: 42 of them
HOLE = np.array([[3.5, 3.5], [5.5, 3.5], [5.5, 6.5], [3.5, 6.5]])  # pixels 4..5 x 4..6: 6 of them


@pytest.fixture
def series(tmp_path):
    return read_series(write(tmp_path / "ct", make_series()))


def on_slice(volume: Volume, k: float, polygon=SQUARE, **how):
    """A contour in pixel coordinates (I, J) of slice ``k``, as DICOM item."""
    ijk = np.column_stack([polygon, np.full(len(polygon), float(k))])
    return contour(volume.affine.ijk_to_lps(ijk), **how)


def read(tmp_path, regions, **how):
    return read_structure_set(save(structure_set(regions, **how), tmp_path / "rt.dcm"))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_contours_land_on_their_voxels_in_any_orientation(tmp_path, name):
    volume = read_series(write(tmp_path / "ct", make_series(orientation=ORIENTATIONS[name])))
    images = volume.source.sop_instance_uids
    found = read(tmp_path, {"A": [on_slice(volume, 2, image=images[2]), on_slice(volume, 3, image=images[3])]})
    (result,) = masks_on(found, volume)
    assert (result.status, result.notes) == ("ok", ())
    wanted = np.zeros(volume.shape, bool)
    wanted[2:4, 2:9, 2:8] = True
    np.testing.assert_array_equal(result.mask, wanted)


def keyhole():
    return np.concatenate([SQUARE[:1], HOLE[[0, 3, 2, 1, 0]], SQUARE[:1], SQUARE[1:]])


@pytest.mark.parametrize("form", ["even-odd", "xor", "keyhole", "reversed"])
def test_holes_in_every_form(tmp_path, series, form):
    forms = {
        "even-odd": [on_slice(series, 1), on_slice(series, 1, HOLE)],
        "xor": [on_slice(series, 1, kind="CLOSEDPLANAR_XOR"), on_slice(series, 1, HOLE, kind="CLOSEDPLANAR_XOR")],
        "keyhole": [on_slice(series, 1, keyhole())],
        "reversed": [on_slice(series, 1, HOLE[::-1]), on_slice(series, 1)],
    }
    (result,) = masks_on(read(tmp_path, {"A": forms[form]}), series)
    assert result.mask[1].sum() == 42 - 6
    assert not result.mask[1, 4:7, 4:6].any()


def test_island_in_a_hole(tmp_path, series):
    island = np.array([[3.5, 4.5], [4.5, 4.5], [4.5, 5.5], [3.5, 5.5]])
    rings = [on_slice(series, 1, polygon) for polygon in (SQUARE, HOLE, island)]
    (result,) = masks_on(read(tmp_path, {"A": rings}), series)
    assert result.mask[1].sum() == 42 - 6 + 1
    assert result.mask[1, 5, 4]


def test_a_copy_of_a_contour_makes_no_hole(tmp_path, series):
    (result,) = masks_on(read(tmp_path, {"A": [on_slice(series, 1), on_slice(series, 1)]}), series)
    assert result.mask.sum() == 42
    assert any("twice" in note for note in result.notes)


def test_each_region_tells_its_own_fate(tmp_path, series):
    regions = {
        "good": [on_slice(series, 1)],
        "empty": [],
        "point": [on_slice(series, 1, SQUARE[:1], kind="POINT")],
        "open": [on_slice(series, 1, kind="OPEN_PLANAR")],
        "away": [on_slice(series, 40)],
        "beside": [on_slice(series, 1, SQUARE + 500)],
        "tiny": [on_slice(series, 1, SQUARE * 0.01 + 3.1)],
        "line": [on_slice(series, 1, SQUARE[[0, 1, 0]])],
        "cut": [on_slice(series, 1, SQUARE + 4)],
    }
    results = {result.roi.name: result for result in masks_on(read(tmp_path, regions), series)}
    statuses = {name: result.status for name, result in results.items()}
    assert statuses == {
        "good": "ok", "empty": "empty", "point": "not_closed", "open": "not_closed", "away": "outside",
        "beside": "outside", "tiny": "too_small", "line": "too_small", "cut": "ok",
    }  # fmt: skip
    assert any("OPEN_PLANAR" in note for note in results["open"].notes)
    assert any("beyond the image's slices" in note for note in results["away"].notes)
    assert any("border" in note for note in results["cut"].notes)
    assert not any(results[name].mask.any() for name in statuses if statuses[name] != "ok")


def test_names_twice_are_chosen_by_number(tmp_path, series):
    found = read(tmp_path, {"A#1": [on_slice(series, 1)], "A#2": [on_slice(series, 2)]})
    assert any("share a name" in note for note in found.notes)
    with pytest.raises(InputError, match="choose by number: 1, 2") as caught:
        masks_on(found, series, ["A"])
    assert caught.value.code == "rtstruct.ambiguous_roi"
    (second,) = masks_on(found, series, [2])
    assert second.mask[2].any()
    with pytest.raises(InputError) as caught:
        masks_on(found, series, ["B"])
    assert caught.value.code == "rtstruct.no_such_roi"


def test_another_frame_of_reference_is_refused_unless_asked_for(tmp_path, series):
    found = read(tmp_path, {"A": [on_slice(series, 1)]}, frame="9.9", series="9.8")
    with pytest.raises(InputError) as caught:
        masks_on(found, series)
    assert caught.value.code == "rtstruct.frame_of_reference"
    assert "SECRET" not in str(caught.value)
    (result,) = masks_on(found, series, other_frame=True)
    assert result.mask.sum() == 42
    assert any("on request" in note for note in result.notes)


def test_one_region_of_another_frame_is_left_out_and_said(tmp_path, series):
    dataset = structure_set({"A": [on_slice(series, 1)], "B": [on_slice(series, 1)]})
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "9.9"
    here, elsewhere = masks_on(read_structure_set(save(dataset, tmp_path / "rt.dcm")), series)
    assert (here.status, elsewhere.status) == ("ok", "other_frame")
    assert not elsewhere.mask.any()


def test_own_slices_count_more_than_the_name_of_the_frame(tmp_path, series):
    image = series.source.sop_instance_uids[1]
    found = read(tmp_path, {"A": [on_slice(series, 1, image=image)]}, frame="9.9")
    (result,) = masks_on(found, series)
    assert result.mask[1].sum() == 42
    assert any("own slices" in note for note in result.notes)


def test_missing_references_are_placed_by_position(tmp_path, series):
    found = read(tmp_path, {"A": [on_slice(series, 3)]}, frame="", series="")
    (result,) = masks_on(found, series)
    assert result.mask[3].sum() == 42
    assert any("names no image series" in note for note in found.notes)


def test_a_wrong_image_reference_loses_against_the_position(tmp_path, series):
    image = series.source.sop_instance_uids[5]
    (result,) = masks_on(read(tmp_path, {"A": [on_slice(series, 2, image=image)]}), series)
    assert result.mask[2].any()
    assert not result.mask[5].any()
    assert any("another slice" in note for note in result.notes)


def test_between_slices_and_gaps(tmp_path, series):
    found = read(tmp_path, {"A": [on_slice(series, 1.3), on_slice(series, 4, SQUARE + 1)]})
    (result,) = masks_on(found, series)
    assert np.flatnonzero(result.mask.any(axis=(1, 2))).tolist() == [1, 4]
    assert any("between slices" in note for note in result.notes)
    assert any("2 slices" in note and "no contour" in note for note in result.notes)
    (filled,) = masks_on(found, series, interpolate=True)
    assert np.flatnonzero(filled.mask.any(axis=(1, 2))).tolist() == [1, 2, 3, 4]
    assert any("interpolated" in note for note in filled.notes)


def uneven(tmp_path):
    places = np.array([[0, 0, z] for z in (0.0, 2, 5, 9, 11, 16)])
    slices = [
        make_slice(p, place, InstanceNumber=n) for n, (p, place) in enumerate(zip(phantom(6), places, strict=True))
    ]
    return read_series(write(tmp_path / "uneven", slices)), places


def test_uneven_and_tilted_series_use_the_true_slices(tmp_path):
    volume, places = uneven(tmp_path)
    assert volume.source.resampled
    rings = [contour(np.column_stack([SQUARE * (0.6, 0.8), np.full(4, z)])) for z in places[:, 2]]
    (result,) = masks_on(read(tmp_path, {"A": rings}), volume)
    np.testing.assert_array_equal(result.mask.any(axis=(1, 2)), np.ones(volume.shape[0], bool))
    assert (result.mask.sum(axis=(1, 2)) == 42).all()
    tilted = read_series(write(tmp_path / "tilt", make_series(lean=(0.0, 0.9))))
    source = tilted.source
    rings = [contour(np.column_stack([SQUARE * (0.6, 0.8), np.zeros(4)]) + p) for p in source.positions]
    (result,) = masks_on(read(tmp_path, {"A": rings}), tilted)
    centre = np.array([np.argwhere(plane).mean(axis=0)[0] for plane in result.mask])
    np.testing.assert_allclose(
        centre - centre[0], np.arange(6) * 0.9 / 0.8, atol=0.51
    )  # the tilt is followed to the nearest row
    assert (result.mask.sum(axis=(1, 2)) == 42).all()


@pytest.mark.parametrize("flip", [False, True])
def test_other_grids_without_a_series(tmp_path, series, flip):
    """On a finer grid without gaps, and on a left-handed one, the same place is filled."""
    matrix = series.affine.matrix.copy()
    matrix[:3, 2] /= 2
    shape = (11, *series.shape[1:])
    if flip:
        matrix[:3, 3] += matrix[:3, 0] * (shape[2] - 1)
        matrix[:3, 0] *= -1
    other = Volume(np.zeros(shape, np.int16), Affine(matrix))
    rings = [on_slice(series, k) for k in (1, 2, 3)]
    found = read(tmp_path, {"A": rings})
    (result,) = masks_on(found, other)
    (reference,) = masks_on(found, series)
    # halfway between two slices both ways of rounding are right
    assert np.array_equal(result.mask[::2], map_mask(reference.mask, series, other)[::2])
    assert result.mask[2:7].any(axis=(1, 2)).all()


def test_sagittal_contours_on_an_axial_grid():
    """A box drawn on sagittal planes of another orientation fills the box on the axial grid."""
    from SegmentAnythingMedLib.files.rtstruct import Contour, Roi, StructureSet

    volume = Volume(np.zeros((12, 14, 16), np.int16), Affine.from_parts((1.0, 1.0, 1.5)))
    box = np.array([[2.6, 1.4], [9.4, 1.4], [9.4, 10.6], [2.6, 10.6]])
    rings = tuple(Contour("CLOSED_PLANAR", np.column_stack([np.full(4, x), box]), "") for x in (4.0, 6.0, 8.0))
    (result,) = masks_on(StructureSet("", "", "", "", (), (), frozenset(), (Roi(1, "A", "", rings),)), volume)
    wanted = np.zeros(volume.shape, bool)
    wanted[1:8, 3:10, 4:10] = True  # z 1.5..10.5, y 3..9, x from 3 (not included) to 9
    np.testing.assert_array_equal(result.mask, wanted)
    assert any("not parallel" in note for note in result.notes)


def test_broken_contours_and_files(tmp_path, series):
    dataset = structure_set({"A": [on_slice(series, 1), on_slice(series, 2), on_slice(series, 3)]})
    dataset.ROIContourSequence[0].ContourSequence[1].ContourData = ["1", "2"]
    del dataset.ROIContourSequence[0].ContourSequence[2].ContourData
    found = read_structure_set(save(dataset, tmp_path / "rt.dcm"))
    assert found.rois[0].broken == 2
    assert any("2 contours could not be read" in note for note in found.notes)
    whole = (tmp_path / "rt.dcm").read_bytes()
    for name, content, code in [
        ("empty.dcm", b"", "input.empty"), ("text.dcm", b"hello " * 50, "rtstruct.unreadable"),
    ]:  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_structure_set(tmp_path / name)
        assert caught.value.code in (code, "rtstruct.not_one")
    for length in range(140, len(whole), 97):  # cut anywhere: read or refused, nothing else
        (tmp_path / "cut.dcm").write_bytes(whole[:length])
        with suppress(InputError):
            read_structure_set(tmp_path / "cut.dcm")
    with pytest.raises(InputError) as caught:
        read_structure_set(tmp_path / "ct" / "slice000.dcm")
    assert caught.value.code == "rtstruct.not_one"
    with pytest.raises(InputError) as caught:
        read_structure_set(tmp_path / "none.dcm")
    assert caught.value.code == "input.missing"


def test_what_is_read_besides_contours(tmp_path, series):
    found = read(tmp_path, {"Läsion/../x\x00": [on_slice(series, 1)]})
    (roi,) = found.rois
    assert roi.colour == (255, 0, 1)
    assert roi.interpreted_type == "GTV"
    assert "\x00" not in roi.name
    assert found.approval == "APPROVED"
    assert found.series_uids == ("1.2.3.4",)


REAL = [
    ("ct-pelvis-dicom-rtstruct/ct", "ct-pelvis-dicom-rtstruct/rtstruct.dcm",
     "ct-pelvis-dicom-rtstruct/labels_rasterised.nrrd", {"urinary_bladder": 8, "femur_left": 9, "femur_right": 10}),
    ("sarcoma-dicom-rtstruct/CT/image", "sarcoma-dicom-rtstruct/CT/rtstruct.dcm",
     "sarcoma-dicom-rtstruct/CT/mask.nii.gz", {"GTV_Mass_CT": 1}),
    ("sarcoma-dicom-rtstruct/MR_T1/image", "sarcoma-dicom-rtstruct/MR_T1/rtstruct.dcm",
     "sarcoma-dicom-rtstruct/MR_T1/mask.nii.gz", {"GTV_Mass_MR_T1": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("images", "file", "labels", "values"), REAL, ids=[case[1] for case in REAL])
def test_real_contours_give_their_reference_masks(shared_data: Path, images, file, labels, values):
    volume = load_volume(shared_data / images)
    reference = read_mask(shared_data / labels, volume).labels
    for result in masks_on(read_structure_set(shared_data / file), volume, list(values)):
        np.testing.assert_array_equal(result.mask, reference == values[result.roi.name])
    bare = replace(volume, source=None)  # the same grid as it comes from a NIfTI file
    (first, *_) = masks_on(read_structure_set(shared_data / file), bare, list(values)[:1])
    np.testing.assert_array_equal(first.mask, reference == values[first.roi.name])


@pytest.mark.parametrize(
    ("name", "voxels", "word"),
    [("rtstruct", [1443], "own slices"), ("rtstruct_invalid_reference", [4976, 3697, 4519, 6954], "beyond"),
     ("rtstruct_non_existent_reference", [4976, 3697, 4519, 6954], "beyond")],
)  # fmt: skip
def test_format_cases_with_broken_references(shared_data: Path, name, voxels, word):
    folder = shared_data / "rtstruct-format-cases" / "two_slices"
    results = masks_on(read_structure_set(folder / f"{name}.dcm"), load_volume(folder / "ct"))
    assert [int(result.mask.sum()) for result in results] == voxels
    assert all(any(word in note for note in result.notes) for result in results)


def test_structures_of_another_patient_are_refused(shared_data: Path):
    found = read_structure_set(shared_data / "sarcoma-dicom-rtstruct" / "CT" / "rtstruct.dcm")
    with pytest.raises(InputError) as caught:
        masks_on(found, load_volume(shared_data / "ct-pelvis-dicom-rtstruct" / "ct"))
    assert caught.value.code == "rtstruct.frame_of_reference"
