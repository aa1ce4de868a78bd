"""Section Prior visit: proposal, edited prompts, drafts, table, verdict; what must never happen to the prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adapt_stub import stub_adapt
from panel_driver import PanelDriver, dice
from SegmentAnythingMedLib.adaptive.flags import Flag
from visit_bench import make_visits, moved

MIDDLE = 5


@pytest.fixture
def calls(monkeypatch):
    """The engine is replaced by a quick one; what it was asked."""
    from SegmentAnythingMedLib.adaptive import visits

    asked = []

    def quick(prior, follow_up, model, **given):
        asked.append(given)
        found = stub_adapt(prior, follow_up, model, **given)
        if "bright" not in found.structures:
            return found
        flag = Flag("amber", ("The contour moved by more than expected.",), (3, 6))
        found.structures["bright"] = replace(found.structures["bright"], flag=flag)
        return found

    monkeypatch.setattr(visits, "adapt", quick)
    return asked


@pytest.fixture
def at(slicer_gui, slice_view):
    """The module with both visits chosen."""
    visits = make_visits()
    driver = PanelDriver(slicer_gui, slice_view())
    driver.visits = visits
    driver.parameters.inputVolume = visits.today
    driver.parameters.priorVolume, driver.parameters.priorSegmentation = visits.prior, visits.segmentation
    driver.show(visits.today, (40, 32, MIDDLE))
    yield driver
    driver.close()


def content(segmentation) -> dict[str, bytes]:
    """Everything of a segmentation that must not change."""
    import slicer

    inner = segmentation.GetSegmentation()
    ids = [inner.GetNthSegmentID(n) for n in range(inner.GetNumberOfSegments())]
    arrays = {n: slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, n) for n in ids}
    return {n: (inner.GetSegment(n).GetName(), arrays[n].tobytes(), arrays[n].shape) for n in ids}


def lines(at: PanelDriver) -> dict[str, tuple[str, ...]]:
    table = at.ui.visitTable
    rows = [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount)]
    return {texts[0]: tuple(texts[1:]) for texts in rows}


def propose(at: PanelDriver) -> None:
    at.press("proposeButton")
    at.wait()
    assert at.problem == ""


def draft(at: PanelDriver, name: str) -> str:
    return next(row.segment_id for row in at.panel.visit.rows if row.name == name)


def nodes_of(at: PanelDriver, name: str, role: str) -> list:
    from SegmentAnythingMedLib.apps.slicer.prompt_nodes import prompt_nodes, role_of

    shown = at.panel.visit.work.shown
    return [node for node in prompt_nodes(shown, draft(at, name)) if role_of(node) == role]


def test_nothing_can_be_done_before_both_visits_are_chosen(slicer_gui) -> None:
    at = PanelDriver(slicer_gui)
    for name in ("proposeButton", "segmentVisitButton", "acceptVisitButton", "exportRtButton", "exportSegButton"):
        assert not getattr(at.ui, name).enabled
    assert "Choose the image" in at.ui.visitHint.text
    at.close()


def test_prompts_are_shown_first_and_nothing_is_written(at, calls) -> None:
    before = content(at.visits.segmentation)
    propose(at)
    shown = at.panel.visit.work.shown
    assert shown is not at.visits.segmentation
    assert at.parameters.segmentation is shown, "the drafts are what the tools work on now"
    for name in ("bright", "dark"):
        assert not at.mask(draft(at, name)).any()
        assert len(nodes_of(at, name, "box")) == at.visits.masks[name].any(axis=(1, 2)).sum()
        (points,) = nodes_of(at, name, "positive")
        assert points.GetNumberOfControlPoints() == len(nodes_of(at, name, "box"))
    assert set(lines(at)) == {"bright", "dark"}
    assert lines(at)["bright"][-1] == "not written"
    assert not at.controller.can_undo
    assert content(at.visits.segmentation) == before
    at.wait()
    assert not at.mask(draft(at, "bright")).any(), "a proposal is not answered prompt by prompt"


def test_drafts_are_new_segments_named_after_the_prior_ones(at, calls) -> None:
    from SegmentAnythingMedLib.apps.slicer.provenance import read_provenance

    before = content(at.visits.segmentation)
    at.visits.segmentation.GetSegmentation().GetSegment(at.visits.ids["dark"]).SetTag("TerminologyEntry", "Liver~x")
    propose(at)
    at.press("segmentVisitButton")
    at.wait()
    assert len(calls) == 1, "nothing was edited: the results that were shown are written"
    inner = at.panel.visit.work.shown.GetSegmentation()
    made = inner.GetSegment(draft(at, "dark"))
    assert (made.GetName(), made.GetColor()) == ("dark", (0.9, 0.2, 0.1))
    import vtk

    value = vtk.reference("")
    assert made.GetTag("TerminologyEntry", value)
    assert str(value) == "Liver~x"
    for name, mask in at.visits.masks.items():
        assert at.mask(draft(at, name)).sum() > mask.sum()
    known = read_provenance(at.panel.visit.work.shown, draft(at, "bright"))
    assert (known.status, known.settings["mode"]) == ("draft", "prior visit")
    assert known.settings["transform"]["sha256"]
    assert known.model["name"] == "built-in"
    assert known.prompts
    at.visits.segmentation.GetSegmentation().GetSegment(at.visits.ids["dark"]).RemoveTag("TerminologyEntry")
    assert content(at.visits.segmentation) == before
    ids = [draft(at, name) for name in ("bright", "dark")]
    at.press("undoButton")
    assert not any(at.mask(segment_id).any() for segment_id in ids), "one step for all structures"
    at.press("redoButton")
    assert all(at.mask(segment_id).any() for segment_id in ids)
    assert set(lines(at)) == {"bright", "dark"}


def test_edited_prompts_are_given_back_and_only_those(at, calls) -> None:
    propose(at)
    (points,) = nodes_of(at, "bright", "positive")
    where = np.zeros(3)
    points.GetNthControlPointPositionWorld(3, where)
    points.SetNthControlPointPositionWorld(3, where + np.array([1.6, 0.0, 0.0]))
    at.wait()
    at.press("segmentVisitButton")
    at.wait()
    given = calls[1]["prompts"]
    assert list(given) == ["bright"]
    ((index, prompts),) = given["bright"].items()
    first = at.panel.visit.work
    assert first.proposal is None
    assert prompts.points.shape == (1, 2)
    assert prompts.box is not None
    assert prompts.mask is not None, "the rough mask of the proposal stays"
    assert not isinstance(calls[1]["transform"], str), "not registered again"
    assert at.mask(draft(at, "bright"))[index].any()


def test_an_added_point_is_an_edit_too(at, calls) -> None:
    propose(at)
    at.panel.work_on(at.panel.visit.work.shown, draft(at, "dark"))
    at.press("negativeButton")
    at.click((20, 10, MIDDLE))
    at.wait()
    at.press("segmentVisitButton")
    at.wait()
    assert list(calls[1]["prompts"]) == ["dark"]
    assert list(calls[1]["prompts"]["dark"]) == [MIDDLE]
    assert 0 in calls[1]["prompts"]["dark"][MIDDLE].labels


def test_a_click_in_the_table_goes_to_the_slices_to_look_at(at, calls) -> None:
    propose(at)
    at.press("segmentVisitButton")
    at.wait()
    names = [row.name for row in at.panel.visit.rows]
    seen = []
    for name in ("dark", "bright", "bright", "bright"):
        number = names.index(name)
        at.ui.visitTable.setCurrentCell(number, 0)
        at.ui.visitTable.cellClicked.emit(number, 0)
        assert at.parameters.segmentID == draft(at, name)
        seen.append(at.panel.shown_slice())
    assert seen[0] in range(3, 8), "without a slice to look at, one in its middle"
    assert seen[1:] in ([3, 6, 3], [6, 3, 6])
    assert at.ui.visitReasons.text.startswith("The contour moved")
    assert "3, 6" in at.ui.visitReasons.text
    assert "amber" in lines(at)["bright"][0]
    assert at.table(), "the list of slices is that of the draft"
    assert any("Prior visit" in texts[0] for texts in at.table().values())


def test_accept_and_reject_one_by_one(at, calls) -> None:
    from SegmentAnythingMedLib.apps.slicer.provenance import read_provenance

    propose(at)
    at.press("segmentVisitButton")
    at.wait()
    shown = at.panel.visit.work.shown
    ids = {name: draft(at, name) for name in at.visits.masks}
    for number, row in enumerate(at.panel.visit.rows):
        at.ui.visitTable.setCurrentCell(number, 0)
        at.panel.visit.refresh()
        at.press("acceptVisitButton" if row.name == "bright" else "rejectVisitButton")
    assert read_provenance(shown, ids["bright"]).status == "accepted"
    assert at.mask(ids["bright"]).any()
    assert not at.mask(ids["dark"]).any()
    assert [texts[-1] for texts in lines(at).values()] == ["accepted", "rejected"]
    at.press("undoButton")
    assert at.mask(ids["dark"]).any()


def test_forget_leaves_nothing(at, calls) -> None:
    import slicer

    before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    propose(at)
    at.press("dropVisitButton")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == before
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == count
    assert lines(at) == {}


def test_visits_that_do_not_belong_together_are_asked_about(at, monkeypatch) -> None:
    import slicer
    from SegmentAnythingMedLib.adaptive import visits
    from SegmentAnythingMedLib.errors import InputError

    seen = []

    def stops(prior, follow_up, model, **given):
        seen.append(given["allow"])
        if "visits.patient" not in given["allow"]:
            raise InputError("visits.patient", "The headers name different patients.")
        return stub_adapt(prior, follow_up, model, **given)

    monkeypatch.setattr(visits, "adapt", stops)
    answers = iter((False, True))
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text, title: next(answers))
    at.press("proposeButton")
    at.wait()
    assert "different patients" in at.problem
    assert lines(at) == {}
    at.press("proposeButton")
    at.wait()
    assert seen[-1] == {"visits.patient"}
    assert len(lines(at)) == 2


def test_the_image_is_removed_or_the_scene_closed_meanwhile(at, calls) -> None:
    import slicer

    propose(at)
    slicer.mrmlScene.RemoveNode(at.visits.today)
    assert at.panel.visit.work.proposal is None
    assert not at.ui.segmentVisitButton.enabled
    slicer.mrmlScene.Clear(0)
    at.wait()
    assert lines(at) == {}


def test_after_saving_and_loading_the_table_is_there_again(at, calls, tmp_path) -> None:
    import slicer

    propose(at)
    at.press("segmentVisitButton")
    at.wait()
    before = lines(at)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    at.wait()
    assert lines(at) == {}
    slicer.util.loadScene(path)
    at.wait()
    assert lines(at) == before
    assert at.parameters.alignment == "register"
    assert at.parameters.priorVolume.GetName() == "before"


def test_packages_come_in_their_order_and_once(at, calls, monkeypatch) -> None:
    """First what every job needs (torch), then what compares visits; nothing of it before the button is pressed."""
    from SegmentAnythingMedLib.apps.slicer import controller_core, visit_work

    order = []
    monkeypatch.setattr(controller_core, "import_engine", lambda: order.append("engine"))
    monkeypatch.setattr(visit_work, "import_adaptive", lambda: order.append("adaptive"))
    monkeypatch.setattr(at.controller, "_install", lambda: order.append("install engine"))
    monkeypatch.setattr(at.panel.visit.work, "_install", lambda: order.append("install adaptive"))
    at.controller._engine_ready = False
    propose(at)
    propose(at)
    assert order == ["install engine", "engine", "install adaptive", "adaptive"]


def test_some_structures_only(at, calls) -> None:
    import qt

    items = at.ui.priorStructures
    assert [items.item(n).text() for n in range(items.count)] == ["bright", "dark"]
    items.item(0).setCheckState(qt.Qt.Unchecked)
    at.press("proposeButton")
    at.wait()
    assert set(lines(at)) == {"dark"}
    items.item(1).setCheckState(qt.Qt.Unchecked)
    assert not at.ui.proposeButton.enabled


def test_alignment_and_method_reach_the_engine(at, calls) -> None:
    at.ui.alignmentSelector.setCurrentIndex(1)
    at.ui.visitMethodSelector.setCurrentIndex(1)
    assert (at.parameters.alignment, at.parameters.visitMethod) == ("same", "registration")
    propose(at)
    assert calls[0]["method"] == "registration"
    assert calls[0]["transform"].kind == "identity"


def test_refusals_are_said(at, calls) -> None:
    at.parameters.priorVolume = at.visits.today
    at.press("proposeButton")
    assert "Expected two images" in at.problem
    at.parameters.priorVolume = at.visits.prior
    at.ui.alignmentSelector.setCurrentIndex(2)
    assert at.ui.priorTransformSelector.enabled
    at.press("proposeButton")
    assert "Expected a transform" in at.problem


def test_with_the_real_engine_as_in_python(at) -> None:
    """The draft in the scene is what the library gives on the same data, voxel by voxel."""
    import qt
    from SegmentAnythingMedLib import PriorVisit, adapt, load_model
    from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
    from SegmentAnythingMedLib.apps.slicer.volumes import volume_from_node
    from standin.qt_gui import GUI

    at.ui.alignmentSelector.setCurrentIndex(1)
    at.ui.priorStructures.item(1).setCheckState(qt.Qt.Unchecked)
    at.press("proposeButton")
    GUI.pump_until(lambda: not at.controller.busy, 900)
    at.press("segmentVisitButton")
    at.wait()
    assert at.problem == ""
    mask, found = at.visits.masks["bright"], at.mask(draft(at, "bright"))
    assert dice(found, moved(mask)) > max(0.8, dice(found, mask))
    before, today = volume_from_node(at.visits.prior), volume_from_node(at.visits.today)
    model = load_model("built-in", device="cpu")
    known = adapt(PriorVisit(before, {"bright": mask}), today, model, transform=VisitTransform.identity())
    np.testing.assert_array_equal(found, known.structures["bright"].mask)
    (row,) = at.panel.visit.rows
    assert (row.outcome, row.colour) == (known.structures["bright"].outcome, known.structures["bright"].flag.colour)
