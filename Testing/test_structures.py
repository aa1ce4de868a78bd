"""One door for structures of every kind of file: names, masks, and a word on what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import make_series, write
from rtstruct_phantom import save, structure_set
from seg_phantom import make_seg
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.drafts import Code, Draft
from SegmentAnythingMedLib.files.images import load_volume, save_mask
from SegmentAnythingMedLib.files.rtstruct_write import write_rtstruct
from SegmentAnythingMedLib.files.structures import load_structures, pick, structure_kind
from test_rtstruct import SQUARE, on_slice


@pytest.fixture
def volume(tmp_path):
    return read_series(write(tmp_path / "ct", make_series()))


def box(volume, first=2, last=4) -> np.ndarray:
    mask = np.zeros(volume.shape, bool)
    mask[first:last, 2:9, 2:8] = True
    return mask


def seg_file(volume, path: Path, labels=("Liver", "Spleen"), **tags) -> Path:
    pixels = np.zeros(volume.shape[1:])
    pixels[2:9, 2:8] = 1
    source = volume.source
    frames = [(1, source.positions[n], pixels) for n in (2, 3)]
    return save(make_seg(frames, source.pixel_spacing, source.orientation.ravel(), labels=labels, **tags), path)


def test_all_kinds_give_the_same_mask(tmp_path, volume):
    regions = {"Liver": [on_slice(volume, 2), on_slice(volume, 3)]}
    save(structure_set(regions), tmp_path / "rt.dcm")
    seg_file(volume, tmp_path / "seg.dcm")
    save_mask(box(volume), volume, tmp_path / "mask.nrrd")
    for name, kind, called in (
        ("rt.dcm", "rtstruct", "Liver"), ("seg.dcm", "seg", "Liver"), ("mask.nrrd", "labels", "label 1"),
    ):  # fmt: skip
        found = load_structures(tmp_path / name, volume)
        assert found.kind == kind
        assert list(found.masks) == [called]
        np.testing.assert_array_equal(found.masks[called], box(volume))


def test_what_a_follow_up_takes_over(tmp_path, volume):
    save(structure_set({"GTV": [on_slice(volume, 2)]}), tmp_path / "rt.dcm")
    found = load_structures(tmp_path / "rt.dcm", volume)
    (one,) = found.structures
    assert (one.number, one.colour, one.interpreted_type) == (1, (255, 0, 1), "GTV")
    assert (found.approval, found.sop_instance_uid) == ("APPROVED", "1.2.77")
    (first, empty) = load_structures(seg_file(volume, tmp_path / "seg.dcm"), volume).structures
    assert (first.tracking_id, first.code, first.category) == ("Liver", Code("1", "99X", "Thing"), first.code)
    assert (empty.status, empty.why) == ("empty", "it is empty")


def test_tracking_ids_come_back_from_our_own_files(tmp_path, volume):
    draft = Draft("A", box(volume), tracking_id="GTV of May", tracking_uid="2.25.77")
    write_rtstruct(tmp_path / "rt.dcm", volume, [draft])
    (one,) = load_structures(tmp_path / "rt.dcm", volume).structures
    assert (one.tracking_id, one.tracking_uid) == ("GTV of May", "2.25.77")


def test_every_region_tells_its_fate(tmp_path, volume):
    far = SQUARE + 500
    regions = {
        "Good": [on_slice(volume, 2)], "Empty": [], "Point": [on_slice(volume, 2, SQUARE[:1], kind="POINT")],
        "Open": [on_slice(volume, 2, kind="OPEN_PLANAR")], "Away": [on_slice(volume, 2, far)],
        "Good#2": [on_slice(volume, 3)],
    }  # fmt: skip
    save(structure_set(regions), tmp_path / "rt.dcm")
    found = load_structures(tmp_path / "rt.dcm", volume)
    assert [one.name for one in found.structures] == ["Good", "Empty", "Point", "Open", "Away", "Good (2)"]
    assert [one.status for one in found.structures] == ["ok", "empty", "not_closed", "not_closed", "outside", "ok"]
    assert list(found.masks) == ["Good", "Good (2)"]
    words = " ".join(found.remarks)
    for text in ("Several regions share a name", "Empty: left out, it is empty", "Away: left out, it lies outside"):
        assert text in words
    with pytest.raises(InputError, match="choose by number: 1, 6") as caught:
        load_structures(tmp_path / "rt.dcm", volume, ["Good"])
    assert caught.value.code == "structures.ambiguous"
    assert list(load_structures(tmp_path / "rt.dcm", volume, ["6", "Empty"]).masks) == ["Good (2)"]


def test_choosing(volume):
    given = [(4, "Liver"), (7, "liver"), (9, "4"), (2, "Spleen")]
    assert pick(given, None) == [0, 1, 2, 3]
    assert pick(given, ["Liver"]) == [0]
    assert pick(given, ["4"]) == [2]  # a name counts more than a number
    assert pick(given, ["SPLEEN", 7, "7"]) == [1, 3]
    with pytest.raises(InputError, match=r"'Liver', 'liver', '4', 'Spleen'; got 'Kidney'"):
        pick(given, ["Kidney"])
    with pytest.raises(InputError, match="2 structures are named 'LIVER'"):
        pick(given, ["LIVER"])


def test_another_frame_of_reference(tmp_path, volume):
    save(structure_set({"A": [on_slice(volume, 2)]}, frame="1.2.3.8"), tmp_path / "rt.dcm")
    seg_file(volume, tmp_path / "seg.dcm", FrameOfReferenceUID="1.2.3.8")
    for name, code in (("rt.dcm", "rtstruct.frame_of_reference"), ("seg.dcm", "seg.frame_of_reference")):
        with pytest.raises(InputError, match="another frame of reference") as caught:
            load_structures(tmp_path / name, volume)
        assert caught.value.code == code
        assert load_structures(tmp_path / name, volume, other_frame=True).masks


def test_a_folder_stands_for_its_only_structure_file(tmp_path, volume):
    folder = tmp_path / "both"
    folder.mkdir()
    save(structure_set({"A": [on_slice(volume, 2)]}), folder / "rt.dcm")
    assert list(load_structures(folder, volume).masks) == ["A"]
    seg_file(volume, folder / "seg.dcm")
    with pytest.raises(InputError, match=r"give one: rt\.dcm, seg\.dcm") as caught:
        load_structures(folder, volume)
    assert caught.value.code == "structures.several"


def test_elsewhere_and_not_there(tmp_path, volume):
    save(structure_set({"A": [on_slice(volume, 2, SQUARE + 500)]}), tmp_path / "rt.dcm")
    with pytest.raises(InputError, match="none of its structures is inside") as caught:
        load_structures(tmp_path / "rt.dcm", volume)
    assert caught.value.code == "mask.elsewhere"
    with pytest.raises(InputError, match="was not found"):
        load_structures(tmp_path / "gone.dcm", volume)
    (tmp_path / "empty.dcm").touch()
    with pytest.raises(InputError, match="is empty"):
        load_structures(tmp_path / "empty.dcm", volume)


def test_names_of_a_slicer_segmentation(tmp_path, volume):
    labels = box(volume).astype(np.uint8)
    labels[0] = 2
    save_mask(labels, volume, tmp_path / "a.seg.nrrd")
    content = (tmp_path / "a.seg.nrrd").read_bytes()
    fields = b"\nSegment0_LabelValue:=1\nSegment0_Name:=Left kidney\nSegment1_LabelValue:=2\nSegment1_Name:= \n\n"
    (tmp_path / "a.seg.nrrd").write_bytes(content.replace(b"\n\n", fields, 1))
    assert list(load_structures(tmp_path / "a.seg.nrrd", volume).masks) == ["Left kidney", "label 2"]
    np.testing.assert_array_equal(
        load_structures(tmp_path / "a.seg.nrrd", volume, ["2"]).structures[0].mask, labels == 2
    )


def test_kinds(tmp_path, volume):
    assert structure_kind(tmp_path / "ct" / "slice000.dcm") is None
    assert structure_kind(tmp_path / "ct") is None
    assert structure_kind(tmp_path / "nothing") is None
    (tmp_path / "fake.dcm").write_bytes(b"hello" * 100)
    assert structure_kind(tmp_path / "fake.dcm") is None


def test_contours_of_a_real_planning_ct(shared_data: Path):
    folder = shared_data / "ct-pelvis-dicom-rtstruct"
    image = load_volume(folder / "ct")
    every = load_structures(folder / "rtstruct.dcm", image)
    assert len(every.structures) > 1
    name = next(iter(every.masks))
    one = load_structures(folder / "rtstruct.dcm", image, [name])
    np.testing.assert_array_equal(one.masks[name], every.masks[name])


@pytest.mark.filterwarnings("ignore:The value length")
@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b", "Ж" * 300, "🫀 sinistra", "קיבה‏", "C:\\x:*?", "."])
def test_25_a_name_is_never_a_path(tmp_path, volume, name):
    """Names of regions are kept for people and never become a file's name; what is written is safe and unique."""
    given = structure_set({name: [on_slice(volume, 2)]})
    given.SpecificCharacterSet = "ISO_IR 192"
    save(given, tmp_path / "rt.dcm")
    (one,) = load_structures(tmp_path / "rt.dcm", volume).structures
    assert one.name
    assert "\0" not in one.name
    before = sorted(tmp_path.rglob("*"))
    written = write_rtstruct(tmp_path / "out.dcm", volume, [Draft(one.name, one.mask), Draft(one.name, one.mask)])
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "out.dcm"])
    assert len(set(written.names)) == 2
    assert all(len(text.encode()) <= 64 and "\\" not in text for text in written.names)
    again = load_structures(tmp_path / "out.dcm", volume)
    assert [entry.name for entry in again.structures] == list(written.names)
