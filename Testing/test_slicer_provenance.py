"""Provenance in a segment's tag: complete, valid, bounded, without patient data, kept by every way of saving."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from SegmentAnythingMedLib.apps.slicer import provenance, provenance_form
from SegmentAnythingMedLib.apps.slicer.acceptance import accept, changed_since_accepted
from SegmentAnythingMedLib.apps.slicer.prompt_nodes import tag_of
from SegmentAnythingMedLib.apps.slicer.provenance import Provenance, read_provenance, write_provenance
from SegmentAnythingMedLib.apps.slicer.volumes import volume_from_node
from SegmentAnythingMedLib.apps.slicer.writing import SegmentWriter, read_segment
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt, StopMark
from SegmentAnythingMedLib.propagation.records import SliceRecord
from slicer_reference import planes, put

pytestmark = pytest.mark.usefixtures("slicer_host")
MODEL = {
    "name": "built-in",
    "family": "embedded",
    "variant": "small",
    "sha256": "a" * 64,
    "source": "shipped",
    "licence": "Apache-2.0",
}
TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)


@pytest.fixture
def scene(make_volume, make_segmentation):
    """A scan of a named person, a segmentation and a segment."""
    phantom = make_volume("oblique_transformed", name="CT")
    phantom.node.SetName("DOE^JANE 12345")
    segmentation, segment_id = make_segmentation(phantom.node)
    return phantom, segmentation, segment_id


def validate(text: str) -> dict:
    form = json.loads(text)
    schema = json.loads(provenance.SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(form, schema)
    return form


def text_of(segmentation, segment_id) -> str:
    return tag_of(segmentation.GetSegmentation().GetSegment(segment_id), provenance.TAG)


def example(volume, slices=6) -> Provenance:
    prompts = [
        PointPrompt((1.5, 2, 3)),
        BoxPrompt((1, 2, 3), (9, 8, 3)),
        ScribblePrompt(np.random.default_rng(0).uniform(0, 9, (500, 3)), 0),
        MaskPrompt(np.eye(80, 96, dtype=bool), 4, "k"),
        StopMark(9),
    ]
    records = [
        SliceRecord(n, "forward", iou=0.91234567, area=1234, area_ratio=1.01, predicted_iou=float("nan"), note="a|b:c")
        for n in range(slices)
    ]
    return Provenance(
        status="draft",
        model=MODEL,
        device={"device": "cpu", "torch": "2.12", "precision": "float32"},
        image=provenance.image_facts(volume),
        axis="k",
        preprocessing={"intensity": {"mode": "window", "lower": -160.0, "upper": np.float32(240)}},
        settings={"iou_threshold": 0.5, "limits": (3, 9)},
        prompts=provenance.plain_prompts(prompts),
        records=provenance.plain_records(records),
        ends={"lower": 0, "upper": 5, "end_lower": "edge", "end_upper": "stopped:iou", "completed": True},
        notes=("A note with | and : and a line\nbreak", "é 肝"),
    )


def test_a_full_record_fits_the_schema_and_comes_back(scene):
    phantom, segmentation, segment_id = scene
    volume = volume_from_node(phantom.node)
    SegmentWriter(segmentation, phantom.node).write(segment_id, planes(phantom.mask, "k", range(8, 12)), "k")
    write_provenance(segmentation, segment_id, example(volume))
    form = validate(text_of(segmentation, segment_id))
    found = read_provenance(segmentation, segment_id)
    assert found.model == MODEL
    assert found.axis == "k"
    assert found.status == "draft"
    assert found.reasons() == dict.fromkeys(range(6), "forward")
    assert found.records[0]["note"] == "a|b:c"
    assert found.notes == ("A note with | and : and a line\nbreak", "é 肝")
    assert [prompt["type"] for prompt in found.prompts] == ["point", "box", "scribble", "mask", "stop"]
    assert len(found.prompts[2]["polyline"]) == provenance.MAX_VERTICES
    assert found.settings["limits"] == [3, 9]
    assert sorted(found.written.hashes) == [8, 9, 10, 11]  # kept, though the new record did not carry them
    assert form["created_utc"] <= form["modified_utc"]
    again = provenance_form.from_text(provenance_form.to_text(found))
    assert provenance_form.to_text(again) == provenance_form.to_text(found)


def test_a_fresh_segment_has_none_and_the_first_write_makes_a_draft(scene):
    phantom, segmentation, segment_id = scene
    assert read_provenance(segmentation, segment_id).status == ""
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    validate(text_of(segmentation, segment_id))
    assert read_provenance(segmentation, segment_id).status == "draft"
    accept(segmentation, segment_id, "  R. Reviewer ")
    accepted = read_provenance(segmentation, segment_id)
    assert (accepted.status, accepted.reviewer) == ("accepted", "R. Reviewer")
    assert accepted.accepted_utc
    validate(text_of(segmentation, segment_id))
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12], 13: phantom.mask[13]}, "k")
    after = read_provenance(segmentation, segment_id)
    assert (after.status, after.reviewer, after.accepted_utc) == ("draft", "", "")
    assert after.created_utc == accepted.created_utc
    with pytest.raises(InputError) as refused:
        write_provenance(segmentation, segment_id, Provenance(status="perfect"))
    assert refused.value.code == "option.status"
    with pytest.raises(InputError) as missing:
        read_provenance(segmentation, "no such id")
    assert missing.value.code == "segment.missing"


def test_an_accepted_segment_tells_what_a_person_changed_and_whether_it_changed_since(scene):
    phantom, segmentation, segment_id = scene
    writer = SegmentWriter(segmentation, phantom.node)
    writer.write(segment_id, planes(phantom.mask, "k", range(8, 12)), "k")
    mask = read_segment(segmentation, segment_id, phantom.node)
    mask[9, 2:4, 2:4] = True
    put(segmentation, segment_id, phantom.node, mask)
    accept(segmentation, segment_id)
    accepted = read_provenance(segmentation, segment_id)
    assert accepted.edited_slices == (9,)
    assert len(accepted.content_hash) == 16
    validate(text_of(segmentation, segment_id))
    assert not changed_since_accepted(segmentation, segment_id)
    for node in (phantom.node, segmentation):
        node.HardenTransform()
    assert not changed_since_accepted(segmentation, segment_id)
    mask[20, 5, 5] = True
    put(segmentation, segment_id, phantom.node, mask)
    assert changed_since_accepted(segmentation, segment_id)
    writer.write(segment_id, {12: phantom.mask[12]}, "k")
    draft = read_provenance(segmentation, segment_id)
    assert (draft.status, draft.edited_slices, draft.content_hash) == ("draft", (), "")
    assert not changed_since_accepted(segmentation, segment_id)


def test_size_stays_within_bounds(scene):
    phantom, segmentation, segment_id = scene
    volume = volume_from_node(phantom.node)
    write_provenance(segmentation, segment_id, example(volume, slices=1000))
    thousand = text_of(segmentation, segment_id)
    assert len(thousand) < 200_000
    assert "shortened" not in validate(thousand)
    huge = example(volume, slices=20_000)
    written = provenance.Written("k", (20_000, 80, 96), np.eye(4), np.eye(4), dict.fromkeys(range(9000), "0" * 16))
    many = provenance.plain_prompts([PointPrompt((1, 2, 3))] * 10_000)
    assert len(many) == provenance.MAX_PROMPTS
    write_provenance(segmentation, segment_id, Provenance(**{**vars(huge), "written": written, "prompts": many}))
    form = validate(text_of(segmentation, segment_id))
    assert form["shortened"]
    assert len(text_of(segmentation, segment_id)) > 1000
    assert len(form["written"]["hashes"]) == 9_000  # what protects the user's painting is never left out


def test_nothing_of_the_patient_is_in_it(scene):
    phantom, segmentation, segment_id = scene
    segmentation.SetName("DOE^JANE segmentation")
    phantom.node.SetAttribute("DICOM.instanceUIDs", "1.2.3.4.5.6")
    phantom.node.SetAttribute("DICOM.PatientName", "DOE^JANE")
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    write_provenance(segmentation, segment_id, example(volume_from_node(phantom.node)))
    text = text_of(segmentation, segment_id)
    for part in ("DOE", "JANE", "12345", "1.2.3.4"):
        assert part not in text
    facts = json.loads(text)["image"]
    other = volume_from_node(phantom.node)
    assert facts["voxels_sha256"] == provenance.image_facts(other)["voxels_sha256"]
    slicer.util.arrayFromVolume(phantom.node)[0, 0, 0] += 1
    assert facts["voxels_sha256"] != provenance.image_facts(other)["voxels_sha256"]


@pytest.mark.parametrize("ending", [".mrb", ".seg.nrrd"])
def test_it_comes_back_from_files_with_terminology_colour_and_geometry(scene, tmp_path, ending):
    phantom, segmentation, segment_id = scene
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    segment.SetTag(segment.GetTerminologyEntryTagName(), TERMINOLOGY)
    segment.SetColor(0.25, 0.5, 0.75)
    segment.SetTag("Their.Tag", "theirs")
    SegmentWriter(segmentation, phantom.node).write(segment_id, planes(phantom.mask, "k", range(8, 12)), "k")
    write_provenance(segmentation, segment_id, example(volume_from_node(phantom.node), slices=1000))
    before, text = read_provenance(segmentation, segment_id), text_of(segmentation, segment_id)
    geometry = segmentation.GetSegmentation().GetConversionParameter("Reference image geometry")
    path = tmp_path / f"saved{ending}"
    if ending == ".mrb":
        assert slicer.util.saveScene(str(path))
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(str(path))
        segmentation = slicer.util.getNode("Segmentation")
    else:
        assert slicer.util.saveNode(segmentation, str(path))
        slicer.mrmlScene.RemoveNode(segmentation)
        segmentation = slicer.util.loadSegmentation(str(path))
    assert text_of(segmentation, segment_id) == text
    found = read_provenance(segmentation, segment_id)
    assert found.records == before.records
    assert found.written.hashes == before.written.hashes
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    assert tag_of(segment, segment.GetTerminologyEntryTagName()) == TERMINOLOGY
    np.testing.assert_allclose(segment.GetColor(), (0.25, 0.5, 0.75), atol=1e-6)
    assert tag_of(segment, "Their.Tag") == "theirs"
    assert tag_of(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    name = tag_of(segment, "DICOM.SegmentAlgorithmName")
    assert name.startswith("SegmentAnythingMed ")
    assert name.endswith(" built-in")
    kept = segmentation.GetSegmentation().GetConversionParameter("Reference image geometry")
    numbers = [[float(n) for n in one.split(";") if n] for one in (geometry, kept)]
    np.testing.assert_allclose(numbers[0], numbers[1], atol=1e-6)


def test_the_dicom_name_of_the_algorithm_fits_its_field(scene):
    _, segmentation, segment_id = scene
    write_provenance(segmentation, segment_id, Provenance(model={**MODEL, "name": "x" * 200}))
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    assert len(tag_of(segment, provenance.ALGORITHM_NAME_TAG)) == 64


def test_a_newer_minor_version_is_read_a_newer_major_one_is_kept(scene):
    phantom, segmentation, segment_id = scene
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    write_provenance(segmentation, segment_id, example(volume_from_node(phantom.node)))
    form = json.loads(text_of(segmentation, segment_id))
    segment.SetTag(provenance.TAG, json.dumps({**form, "version": "1.7", "mood": "good"}))
    assert read_provenance(segmentation, segment_id).model == MODEL
    newer = json.dumps({**form, "version": "2.0", "records": "elsewhere"})
    segment.SetTag(provenance.TAG, newer)
    found = read_provenance(segmentation, segment_id)
    assert found.newer == "2.0"
    assert found.model is None
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    assert tag_of(segment, provenance.KEPT_TAG) == newer
    assert read_provenance(segmentation, segment_id).newer == ""
    validate(text_of(segmentation, segment_id))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"schema": "somebody else"}',
        '{"schema": "segment-anything-med/provenance", "version": "1.0", "written": {"hashes": 3}}',
        '{"schema": "segment-anything-med/provenance", "version": "1.0", "records": 5}',
        '{"schema": "segment-anything-med/provenance", "version": "1.0", "records": [5]}',
        "[" * 100_000,
    ],
)
def test_a_broken_tag_is_no_provenance(scene, text):
    phantom, segmentation, segment_id = scene
    segmentation.GetSegmentation().GetSegment(segment_id).SetTag(provenance.TAG, text)
    found = read_provenance(segmentation, segment_id)
    assert (found.status, found.records, found.written, found.newer) == ("", (), None, "")
    SegmentWriter(segmentation, phantom.node).write(segment_id, {12: phantom.mask[12]}, "k")
    validate(text_of(segmentation, segment_id))
