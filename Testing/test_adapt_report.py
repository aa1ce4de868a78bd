"""The report, drafts and figure of a prior visit, from results of every kind."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pydicom
import pytest
from adapt_stub import stub_adapt
from dicom_balls import save_ball_series
from SegmentAnythingMedLib.adaptive.visit_results import PriorVisit, SliceDecision
from SegmentAnythingMedLib.apps.adapt_drafts import describe_draft, drafts_of, label_map, origin_of, slice_runs
from SegmentAnythingMedLib.apps.adapt_figure import heading, save_visit_figure
from SegmentAnythingMedLib.apps.adapt_report import (
    SCHEMA_PATH,
    build_adapt_report,
    describe_prompts,
    percent,
    plain,
    uid_sha256,
)
from SegmentAnythingMedLib.files.drafts import Code, Draft
from SegmentAnythingMedLib.files.images import load_volume
from SegmentAnythingMedLib.files.rtstruct_write import write_rtstruct
from SegmentAnythingMedLib.files.structures import load_structures
from SegmentAnythingMedLib.prompts.json_form import prompts_from_json
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.planes import SliceStack
from stub_model import two_balls

SCHEMA = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Prior with three structures from an approved RTSTRUCT, the follow-up, and the stub's results."""
    folder = tmp_path_factory.mktemp("visits")
    prior = load_volume(save_ball_series(folder / "prior", SeriesInstanceUID="1.2.3.50", StudyInstanceUID="1.2.3.60"))
    today = load_volume(save_ball_series(folder / "today"))
    labels = two_balls()[1]
    drafts = [
        Draft("GTV", labels == 1, colour=(1, 2, 3), interpreted_type="GTV", tracking_uid="1.2.55", tracking_id="GTV 1"),
        Draft("Node", labels == 2),
        Draft("Far", labels == 2),
    ]
    write_rtstruct(folder / "prior.dcm", prior, drafts)
    signed = pydicom.dcmread(folder / "prior.dcm")
    signed.ApprovalStatus = "APPROVED"
    signed.save_as(folder / "prior.dcm")
    loaded = load_structures(folder / "prior.dcm", prior)
    visit = PriorVisit(prior, loaded.masks)
    return visit, loaded, today, stub_adapt(visit, today)


def test_the_report_fits_its_schema_and_names_nobody(visits):
    prior, loaded, today, result = visits
    report = build_adapt_report(
        result, prior, today, loaded=loaded, hashes={"prior_mask": "cd" * 32}, outputs={"mask": "structures.nii.gz"}
    )
    jsonschema.validate(report, SCHEMA)
    text = json.dumps(report, allow_nan=False)
    for secret in ("SECRET", "1.2.3.50", "1.2.3.60", loaded.sop_instance_uid):
        assert secret not in text
    assert report["prior"]["series_uid_sha256"] == uid_sha256("1.2.3.50")
    assert report["prior"]["structures"]["approval"] == "APPROVED"
    assert report["prior"]["structures"]["tracking"]["GTV"] == "GTV 1"
    assert report["prior"]["structures"]["file_sha256"] == "cd" * 32
    assert [one["outcome"] for one in report["structures"]] == ["found", "possibly resolved", "not in image"]
    assert [one["draft"] for one in report["structures"]] == ["segmented", "none", "none"]
    first, gone, away = report["structures"]
    assert first["slices"][0]["candidates"] == {"segmented": 0.4, "warped": None}
    assert [p["type"] for p in first["slices"][0]["prompts"]] == ["box", "point", "mask"]
    assert gone["agreement"] is None
    assert gone["voxels"] == away["voxels"] == 0
    assert report["findings"][0]["overridden"] is True
    assert {"source": "job", "object": "Node", "text": "A remark."} in report["warnings"]


def test_the_schema_refuses_what_is_missing(visits):
    prior, loaded, today, result = visits
    report = build_adapt_report(result, prior, today, loaded=loaded)
    for key in ("transform", "findings", "structures", "prior"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in report.items() if k != key}, SCHEMA)


def test_prompts_are_written_as_prompts_are_read(visits):
    """The box covers the same pixels, the points are the same voxels, the mask the same pixels."""
    stack = SliceStack(visits[2], "k")
    mask = np.zeros(stack.shape, bool)
    mask[3:5, 7] = True
    given = SlicePrompts(np.array([[7.0, 3.0], [1.0, 2.0]]), np.array([1, 0]), (6.5, 2.5, 9.5, 5.5), mask)
    form = describe_prompts(given, 11, stack)
    for item in form:
        item.pop("ijk", None), item.pop("lps", None)
    (prompts,) = prompts_from_json({"version": 1, "objects": [{"name": "a", "prompts": form}]}).objects.values()
    box, inside, outside, drawn = prompts
    assert (box.corner0, box.corner1) == ((7.0, 3.0, 11.0), (9.0, 5.0, 11.0))
    assert (inside.position, inside.label, outside.position, outside.label) == ((7, 3, 11), 1, (1, 2, 11), 0)
    assert (drawn.slice, drawn.keep) == (11, False)
    np.testing.assert_array_equal(drawn.mask, mask)


def test_numbers_that_json_does_not_know_become_null():
    given = {1: np.float32(np.inf), "a": (np.nan, np.int64(3), np.array([1.0, -np.inf]))}
    assert plain(given) == {"1": None, "a": [None, 3, [1.0, None]]}


def test_changes_in_words():
    assert [percent(x) for x in (-0.2, 0.4, 12.5, -100.0, None, np.nan)] == [
        "±0 %", "±0 %", "+12 %", "-100 %", "? %", "? %",
    ]  # fmt: skip


def test_drafts_carry_over_what_identifies_a_structure(visits):
    prior, loaded, _, result = visits
    (draft,) = drafts_of(result, prior, loaded)  # no draft of what was not found: nothing is invented
    assert (draft.name, draft.colour, draft.interpreted_type) == ("GTV", (1, 2, 3), "GTV")
    assert (draft.tracking_id, draft.tracking_uid, draft.algorithm) == ("GTV 1", "1.2.55", "AUTOMATIC")
    assert draft.code == Draft("x", draft.mask).code == Code("85756007", "SCT", "Tissue")
    for words in ("found, green", "1.2.3.50", loaded.sop_instance_uid, "transform ", "slices k: 5-15 segmented",
                  "box on 11 slices"):  # fmt: skip
        assert words in draft.description, draft.description
    origin = origin_of(result, loaded)
    assert (origin.predecessor_uid, origin.model, origin.mode) == (
        loaded.sop_instance_uid,
        "stub",
        "prior visit, p2sam",
    )


def test_edited_prompts_make_it_semiautomatic(visits):
    prior, loaded, today, _ = visits
    result = stub_adapt(prior, today)
    one = result.structures["GTV"]
    object.__setattr__(one, "slices", (*one.slices, SliceDecision(16, "present", "edited")))
    assert drafts_of(result, prior, loaded)[0].algorithm == "SEMIAUTOMATIC"
    assert slice_runs(one) == "5-15 segmented, 16 edited"
    assert "prior series" not in describe_draft(result, one)


def test_124_an_approved_prior_gives_an_unapproved_draft(visits, tmp_path):
    prior, loaded, today, result = visits
    write_rtstruct(tmp_path / "out.dcm", today, drafts_of(result, prior, loaded), origin_of(result, loaded))
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert written.ApprovalStatus == "UNAPPROVED"
    assert written.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == loaded.sop_instance_uid
    (roi,) = written.StructureSetROISequence
    assert (roi.TrackingUID, roi.TrackingID, roi.ROIGenerationAlgorithm) == ("1.2.55", "GTV 1", "AUTOMATIC")
    assert "slices k: 5-15 segmented" in roi.ROIDescription


def test_labels_overlap_in_order():
    first, second = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    first[0], second[0, 0] = True, True
    labels, remarks = label_map({"a": first, "b": second}, first.shape)
    assert labels[0].tolist() == [[2] * 4, [1] * 4, [1] * 4]
    assert [(remark.object, remark.text[:8]) for remark in remarks] == [("b", "4 voxels")]


def test_the_figure_shows_every_outcome(visits, tmp_path):
    prior, _, today, result = visits
    save_visit_figure(tmp_path / "f.png", result, prior, today, title="prior → today")
    picture = load_volume(tmp_path / "f.png").voxels[0]
    assert picture.shape[0] > 700
    assert picture.shape[1] > 1200
    for colour in ((255, 210, 31), (49, 198, 247), (94, 224, 176), (61, 220, 78), (255, 77, 77), (255, 176, 32)):
        near = np.abs(picture[..., :3].astype(int) - colour).max(axis=-1) < 12
        assert near.sum() > 20, f"nothing is drawn in {colour}"
    assert heading("Node", result.structures["Node"]) == "Node: possibly resolved (7.1 ml on the prior)"


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_the_figure_of_any_axis_and_another_orientation(tmp_path, axis):
    """The prior is shown in today's plane, whatever way it was stored."""
    from dataclasses import replace

    from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
    from SegmentAnythingMedLib.apps.adapt_figure import _mappings
    from SegmentAnythingMedLib.apps.adapt_panels import Scene
    from SegmentAnythingMedLib.space.affine import Affine
    from SegmentAnythingMedLib.space.volume import Volume

    volume, labels = two_balls()
    turned = np.diag([-1.0, 1.0, 1.0, 1.0])  # the same places, columns stored backwards
    turned[0, 3] = volume.shape[2] - 1
    prior = Volume(volume.voxels[:, :, ::-1], Affine(volume.affine.matrix @ turned), modality="MR")
    visit = PriorVisit(prior, {"ball": (labels == 1)[:, :, ::-1]})
    result = stub_adapt(visit, volume, settings=VisitSettings(axis=axis))
    scene = Scene.of(result, visit, volume, _mappings(prior, volume, "auto"))
    for pair in scene.pairs("ball", result.structures["ball"], 3):
        np.testing.assert_allclose(pair.prior, pair.follow_up, atol=1e-4)
        np.testing.assert_allclose(pair.before, pair.warped, atol=1e-4)
        assert 0.02 < pair.before.mean() < 0.5
    away = replace(result.structures["ball"], warped=labels == 9, segmented=labels == 9, mask=labels == 9)
    (pair,) = scene.pairs("ball", away, 3)
    assert pair.before.any()
    assert not pair.warped.any()
