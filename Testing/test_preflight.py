"""Do the visits belong together: every mismatch has its code and sentence, and can be allowed, on the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.preflight import NOTE, STOP, VisitFacts, preflight, share_frame
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

PRIOR = VisitFacts("id", "F", "born", "L", "CT", "20260101", "1.1", "1.1.1", "1.9", "1.9", "1.1.1")
TODAY = VisitFacts("id", "F", "born", "L", "CT", "20260301", "2.1", "2.1.1", "2.9")


def volume(shape=(10, 20, 20), spacing=(1.0, 1.0, 3.0), origin=(0, 0, 0), **more):
    return Volume(np.zeros(shape, dtype=np.int16), Affine.from_parts(spacing, origin), **more)


def mask(window=np.s_[3:6, 5:12, 5:12]):
    out = np.zeros((10, 20, 20), dtype=bool)
    out[window] = True
    return out


STOPS = [
    ("visits.patient", {"patient": "other"}, "two patients: patient id differ"),
    ("visits.patient", {"sex": "M"}, "two patients: sex differ"),
    ("visits.patient", {"birth_date": "other", "sex": "M"}, "sex and birth date"),
    ("visits.laterality", {"laterality": "R"}, "side L, the follow-up of side R"),
    ("visits.dates", {"date": "20251231"}, "older than the prior"),
    ("visits.same_study", {"study_uid": "1.1"}, "the same study"),
    ("visits.same_study", {"study_uid": "1.1", "series_uid": "1.1.1"}, "the same series"),
    ("visits.modality", {"modality": "MR"}, "the prior image is CT, the follow-up MR"),
]


@pytest.mark.parametrize(("code", "change", "words"), STOPS)
def test_a_mismatch_stops_with_one_sentence_and_can_be_allowed(code, change, words):
    volumes, masks = (volume(), volume()), {"gland": mask()}
    today = replace(TODAY, **change)
    with pytest.raises(InputError) as caught:
        preflight(PRIOR, today, volumes, masks)
    assert caught.value.code == code
    assert words.lower() in caught.value.message.lower()
    assert code in caught.value.message, "the sentence names what to allow"
    findings = preflight(PRIOR, today, volumes, masks, allow={code})
    overridden = [finding for finding in findings if finding.overridden]
    assert [(finding.code, finding.severity) for finding in overridden] == [(code, STOP)]


def test_allowing_one_thing_does_not_allow_another():
    today = replace(TODAY, patient="other", date="20250101")
    with pytest.raises(InputError) as caught:
        preflight(PRIOR, today, (volume(), volume()), {"gland": mask()}, allow={"visits.patient"})
    assert caught.value.code == "visits.dates"


@pytest.mark.parametrize("field", ["patient", "sex", "birth_date", "laterality", "date", "study_uid", "modality"])
def test_what_a_header_does_not_say_is_no_mismatch(field):
    for one, other in ((replace(PRIOR, **{field: None}), TODAY), (PRIOR, replace(TODAY, **{field: None}))):
        assert preflight(one, other, (volume(), volume()), {"gland": mask()}) == []
    assert preflight(None, None, (volume(), volume()), {"gland": mask()}) == []


def test_structures_of_another_frame_are_refused_and_of_another_series_noted():
    with pytest.raises(InputError) as caught:
        preflight(replace(PRIOR, structures_frame_uid="7.7"), TODAY, (volume(), volume()), {"gland": mask()})
    assert caught.value.code == "visits.frame"
    (note,) = preflight(replace(PRIOR, structures_series_uid="7.8"), TODAY, (volume(), volume()), {"gland": mask()})
    assert (note.code, note.severity, note.overridden) == ("visits.series", NOTE, False)


def test_modalities_are_told_from_the_volumes_where_headers_are_missing():
    with pytest.raises(InputError) as caught:
        preflight(None, None, (volume(modality="CT"), volume(modality="PT")), {"gland": mask()})
    assert caught.value.code == "visits.modality"
    assert "CT, the follow-up PT" in caught.value.message


def test_overlap_is_judged_only_where_the_way_to_the_follow_up_is_known():
    far = volume(origin=(500, 0, 0))
    masks = {"gland": mask(), "low": mask(np.s_[1:3, 5:9, 5:9])}
    assert preflight(PRIOR, TODAY, (volume(), far), masks) == []
    same = replace(TODAY, frame_of_reference_uid=PRIOR.frame_of_reference_uid)
    assert share_frame(PRIOR, same)
    assert not share_frame(PRIOR, TODAY)
    assert not share_frame(PRIOR, None)
    with pytest.raises(InputError) as caught:
        preflight(PRIOR, same, (volume(), far), masks)
    assert caught.value.code == "visits.overlap"
    moved = VisitTransform.translation((-500, 0, 0))
    assert preflight(PRIOR, TODAY, (volume(), far), masks, transform=moved) == []
    assert preflight(PRIOR, same, (volume(), far), masks, allow=("visits.overlap",))[0].overridden


def test_a_structure_outside_the_new_field_of_view_is_noted_by_name():
    half = volume(shape=(6, 20, 20), origin=(0, 0, 9))
    masks = {
        "gland": mask(np.s_[5:8, 5:12, 5:12]),
        "low": mask(np.s_[1:3, 5:9, 5:9]),
        "cut": mask(np.s_[2:6, 5:9, 5:9]),
    }
    notes = preflight(PRIOR, TODAY, (volume(), half), masks, transform=VisitTransform.identity())
    assert [(note.code, note.structure) for note in notes] == [("visits.outside", "low"), ("visits.outside", "cut")]
    assert "25% of cut" in notes[1].words


def test_small_edge_and_slice_distance_are_noted():
    masks = {"dot": mask(np.s_[4, 8, 8:10]), "end": mask(np.s_[0:3, 5:9, 5:9])}
    notes = preflight(PRIOR, TODAY, (volume(), volume(spacing=(1, 1, 1))), masks)
    assert [(note.code, note.structure) for note in notes] == [
        ("visits.slices", ""), ("visits.tiny", "dot"), ("visits.edge", "end"),
    ]  # fmt: skip
    assert notes[0].describe() == {
        "code": "visits.slices", "severity": "note", "structure": "", "overridden": False,
        "words": "Slices are 3 mm apart on the prior visit and 1 mm on the follow-up.",
    }  # fmt: skip


def test_a_mask_on_another_grid_is_refused():
    with pytest.raises(InputError) as caught:
        preflight(PRIOR, TODAY, (volume(), volume()), {"gland": mask()[1:]})
    assert caught.value.code == "segment.shape"


def test_no_sentence_holds_what_a_header_said():
    secret = VisitFacts("secret-id", "M", "19500101", "R", "MR", "19990101", "9.8.7", "9.8.7.6", "9.8")
    findings = preflight(
        replace(PRIOR, structures_frame_uid="9.8"), secret, (volume(), volume()), {"gland": mask()},
        allow=("visits.patient", "visits.laterality", "visits.dates", "visits.frame", "visits.modality"),
    )  # fmt: skip
    assert len(findings) == 5
    assert not any(word in finding.words for finding in findings for word in ("secret", "1950", "1999", "9.8"))
