"""What headers say about a visit: enough to compare two of them, nothing that names anybody."""

from __future__ import annotations

import pytest
from dicom_phantom import make_series, write
from SegmentAnythingMedLib.apps.visit_headers import visit_facts
from SegmentAnythingMedLib.files.dicom import read_series
from SegmentAnythingMedLib.files.structures import LoadedStructures
from stub_model import two_balls


def facts_of(folder, **tags):
    return visit_facts(read_series(write(folder, make_series(2, **tags))))


def test_the_same_patient_and_another(tmp_path):
    one = facts_of(tmp_path / "a", PatientBirthDate="19500102", PatientSex="F", StudyDate="20260102")
    same = facts_of(tmp_path / "b", PatientID=" SECRETID ", PatientBirthDate="19500102", PatientSex="F")
    other = facts_of(tmp_path / "c", PatientID="SECRETIE", PatientBirthDate="19500103", PatientSex="X")
    assert (one.patient, one.birth_date, one.sex) == (same.patient, same.birth_date, "F")
    assert other.patient != one.patient
    assert other.birth_date != one.birth_date
    assert other.sex is None
    for facts in (one, other):
        assert "SECRET" not in repr(facts)
        assert "1950" not in repr(facts)


@pytest.mark.parametrize(
    ("tags", "date"),
    [
        ({"StudyDate": "20260101", "SeriesDate": "20260102", "AcquisitionDate": "20260103"}, "20260103"),
        ({"StudyDate": "20260101", "SeriesDate": "20260102"}, "20260102"),
        ({"StudyDate": "20260101", "AcquisitionDate": ""}, "20260101"),
        ({"StudyDate": "2026"}, None),
        ({}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_the_nearest_date_counts(tmp_path, tags, date):
    assert facts_of(tmp_path, **tags).date == date


def test_sides_and_uids(tmp_path):
    left = facts_of(tmp_path / "a", Laterality="L")
    assert (left.laterality, left.modality, left.study_uid, left.series_uid) == ("L", "CT", "1.2.3", "1.2.3.4")
    assert left.frame_of_reference_uid == "1.2.3.9"
    assert facts_of(tmp_path / "b", Laterality="L", ImageLaterality="R").laterality == "R"
    assert facts_of(tmp_path / "c", Laterality="B").laterality is None


def test_structures_name_their_own_frame(tmp_path):
    volume = read_series(write(tmp_path, make_series(2)))
    loaded = LoadedStructures(
        "rtstruct", (), frame_of_reference_uids=("1.2.8",), series_uids=("1.2.7",), other_frame=True
    )
    facts = visit_facts(volume, loaded)
    assert (facts.structures_frame_uid, facts.structures_series_uid) == ("1.2.8", "1.2.7")
    own_slices = LoadedStructures("rtstruct", (), frame_of_reference_uids=("1.2.8",))
    assert visit_facts(volume, own_slices).structures_frame_uid is None


def test_other_images_say_nothing():
    assert visit_facts(two_balls()[0]) is None
