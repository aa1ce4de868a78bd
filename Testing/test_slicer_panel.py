"""The panel on the bench: every button, selector and key drives the real module on real MRML."""

from __future__ import annotations

import numpy as np
import pytest
from panel_driver import PanelDriver, dice

SHAPE = (12, 80, 96)


@pytest.fixture
def phantom(slicer_gui, make_volume):
    return make_volume(shape=SHAPE)


@pytest.fixture
def at(slicer_gui, phantom, slice_view):
    """The module, opened; the view shows the middle of the phantom."""
    driver = PanelDriver(slicer_gui, slice_view())
    driver.show(phantom.node, phantom.centre)
    yield driver
    driver.close()


def corners(phantom) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Corner voxels of the box around the phantom's middle slice."""
    k = phantom.centre[2]
    j, i = np.nonzero(phantom.mask[k])
    return (i.min(), j.min(), k), (i.max(), j.max(), k)


def test_what_is_there_at_the_beginning(at, phantom) -> None:
    assert at.parameters.inputVolume is phantom.node
    assert at.ui.volumeSelector.currentNode() is phantom.node
    assert (at.status, at.problem) == ("Ready.", "")
    assert at.ui.modelSelector.currentText == "built-in"
    for name in ("propagateButton", "cancelButton", "acceptButton", "undoButton", "seedButton", "clearAllButton"):
        assert not getattr(at.ui, name).enabled
    assert at.ui.draftLabel.isHidden()


def test_a_click_becomes_a_mask(at, phantom) -> None:
    at.press("positiveButton")
    assert at.parameters.segmentation is not None
    at.click(phantom.centre)
    at.wait()
    k = phantom.centre[2]
    mask = at.mask()
    assert dice(mask[k], phantom.mask[k]) > 0.9
    assert not mask[:k].any()
    assert not mask[k + 1 :].any()
    assert at.status == f"Slice {k} is in the segment."
    assert "not reviewed" in at.ui.draftLabel.text
    assert at.table()[k][0] == "From your prompts"
    answers = [button.text for button in at.panel.prompts.answers if button.enabled]
    assert len(answers) == 3


def test_the_model_is_opened_while_the_user_aims(at) -> None:
    assert at.controller.host.model is None
    at.press("positiveButton")
    at.wait()
    assert at.controller.host.model is not None
    at.press("boxButton")
    assert not at.controller.busy


def test_no_volume_no_tool(slicer_gui, slice_view) -> None:
    at = PanelDriver(slicer_gui, slice_view())
    assert not at.ui.positiveButton.enabled
    at.panel.actions.toggle_tool("positive")
    assert at.panel.tools.active is None
    at.panel.actions.propagate()
    assert "Expected a volume" in at.problem
    at.close()


@pytest.mark.parametrize(
    ("button", "tool"),
    [
        ("positiveButton", "positive"), ("negativeButton", "negative"), ("boxButton", "box"),
        ("scribbleButton", "scribble"), ("scribbleOutsideButton", "scribble_negative"), ("stopButton", "stop"),
    ],
)  # fmt: skip
def test_every_tool_is_taken_and_put_down(at, button: str, tool: str) -> None:
    at.press("positiveButton" if button != "positiveButton" else "boxButton")
    at.press(button)
    assert at.panel.tools.active == tool
    assert [name for name, one in at.panel.prompts.buttons.items() if one.checked] == [tool]
    at.press(button)
    assert at.panel.tools.active is None
    assert not any(one.checked for one in at.panel.prompts.buttons.values())
    import slicer

    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() != interaction.Place


def test_another_mouse_mode_puts_the_tool_down(at) -> None:
    import slicer

    at.press("positiveButton")
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    assert at.panel.tools.active is None
    assert not at.ui.positiveButton.checked


def test_box_scribble_negative_point_and_clearing(at, phantom) -> None:
    from SegmentAnythingMedLib.apps.slicer.markups import collect

    k = phantom.centre[2]
    at.press("boxButton")
    at.drag(*corners(phantom))
    at.wait()
    assert dice(at.mask()[k], phantom.mask[k]) > 0.9
    at.press("negativeButton")
    at.click((3, 3, k))
    at.press("scribbleButton")
    at.drag((40, 40, k), (45, 42, k), (52, 40, k))
    at.press("scribbleOutsideButton")
    at.drag((4, 70, k), (30, 72, k))
    at.wait()
    parameters = at.parameters

    def kinds() -> list[str]:
        found = collect(parameters.segmentation, parameters.segmentID, phantom.node, "k").prompts
        return sorted(type(prompt).__name__ for prompt in found)

    assert kinds() == ["BoxPrompt", "PointPrompt", "ScribblePrompt", "ScribblePrompt"]
    assert at.problem == ""
    at.show(phantom.node, (48, 40, k + 2))
    at.press("clearSliceButton")
    assert f"0 prompts removed from slice {k + 2}" in at.status
    at.show(phantom.node, phantom.centre)
    at.press("clearSliceButton")
    assert f"4 prompts removed from slice {k}" in at.status
    assert kinds() == []
    at.wait()
    assert not at.mask().any()


def test_a_short_drag_is_a_slip(at, phantom) -> None:
    at.press("boxButton")
    at.drag(phantom.centre, phantom.centre)
    at.wait()
    assert "Hold the mouse button down" in at.status
    assert not at.mask().any()


def test_clear_all(at, phantom) -> None:
    from SegmentAnythingMedLib.apps.slicer.prompt_nodes import prompt_nodes

    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    at.press("clearAllButton")
    assert at.panel.tools.active is None
    assert prompt_nodes(at.parameters.segmentation, at.parameters.segmentID) == []
    at.wait()
    assert not at.mask().any()


def test_not_live_until_asked(at, phantom) -> None:
    at.ui.liveCheckBox.click()
    assert at.parameters.live is False
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    assert not at.mask().any()
    at.press("segmentSliceButton")
    at.wait()
    assert at.mask().any()


def test_answers_are_chosen(at, phantom) -> None:
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    k, chosen = phantom.centre[2], []
    for button in ("candidate3Button", "candidate1Button", "candidate2Button"):
        at.press(button)
        assert [one.name for one in at.panel.prompts.answers if one.checked] == [button]
        chosen.append(at.mask()[k])
    assert all((chosen[n] != chosen[m]).any() for n, m in ((0, 1), (1, 2), (0, 2)))


def test_accept_reject_undo_redo(at, phantom) -> None:
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    first = at.mask()
    at.press("acceptButton")
    assert at.ui.draftLabel.text == "Accepted by you after review."
    assert not at.ui.rejectButton.enabled
    at.press("undoButton")
    assert not at.mask().any()
    at.press("redoButton")
    np.testing.assert_array_equal(at.mask(), first)
    at.press("negativeButton")
    at.click((60, 40, phantom.centre[2]))
    at.wait()
    assert (at.mask() != first).any()
    assert "not reviewed" in at.ui.draftLabel.text
    at.press("rejectButton")
    np.testing.assert_array_equal(at.mask(), first)


def test_a_closed_surface_comes_back_when_prompting_is_over(at, phantom) -> None:
    from standin.module_loading import enter_module, exit_module

    k = phantom.centre[2]
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    node = at.parameters.segmentation
    node.CreateClosedSurfaceRepresentation()
    surface = node.GetSegmentation().ContainsRepresentation
    at.press("negativeButton")
    at.click((60, 40, k))
    at.wait()
    assert not surface("Closed surface")
    exit_module(at.widget)
    assert surface("Closed surface")
    enter_module(at.widget)
    at.press("candidate3Button")
    assert not surface("Closed surface")
    at.press("acceptButton")
    assert surface("Closed surface")


def test_segments_have_prompts_of_their_own(at, phantom) -> None:
    from SegmentAnythingMedLib.apps.slicer.prompt_nodes import prompt_nodes

    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    parameters, first = at.parameters, at.parameters.segmentID
    at.press("addSegmentButton")
    second = parameters.segmentID
    assert second != first
    assert at.panel.tools.active is None
    assert list(at.ui.segmentsTable.selectedSegmentIDs()) == [second]
    (node,) = prompt_nodes(parameters.segmentation, first)
    assert (node.GetDisplayVisibility(), node.GetLocked()) == (0, 1)
    assert not at.ui.candidate1Button.enabled
    at.ui.segmentsTable.setSelectedSegmentIDs([first])
    assert parameters.segmentID == first
    assert (node.GetDisplayVisibility(), node.GetLocked()) == (1, 0)
    assert at.table()
    parameters.segmentation.GetSegmentation().RemoveSegment(first)
    assert parameters.segmentID == second
    assert at.table() == {}


def test_a_painted_slice_is_kept_unless_asked(at, phantom) -> None:
    import slicer

    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    parameters, k = at.parameters, phantom.centre[2]
    painted = at.mask()
    painted[k] = False
    painted[k, 5:9, 5:9] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        painted.astype(np.uint8), parameters.segmentation, parameters.segmentID, phantom.node
    )
    at.click((50, 42, k))
    at.wait()
    np.testing.assert_array_equal(at.mask(), painted)
    assert f"Kept as you painted them: slice {k}." in at.status
    at.ui.overwriteCheckBox.click()
    at.click((46, 38, k))
    at.wait()
    assert dice(at.mask()[k], phantom.mask[k]) > 0.9


def test_use_segment_as_seed(at, phantom, make_segmentation) -> None:
    import slicer

    node, segment_id = make_segmentation(phantom.node)
    k, drawn = phantom.centre[2], np.zeros(SHAPE, np.uint8)
    drawn[k] = phantom.mask[k]
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, node, segment_id, phantom.node)
    at.parameters.segmentation, at.parameters.segmentID = node, segment_id
    at.press("seedButton")
    assert "1 slice" in at.status
    at.press("propagateButton")
    at.wait()
    mask = at.mask()
    np.testing.assert_array_equal(mask[k], phantom.mask[k])
    assert mask[k - 1].any()
    assert mask[k + 1].any()
    assert at.table()[k][0] == "Your own mask"


def test_what_a_propagation_will_take_is_said_when_it_is_long(at, phantom) -> None:
    cost = {"seconds": 40.0, "slices": 36, "most_seconds": 300.0, "most_slices": 270, "memory_bytes": 3 << 29}
    at.panel.controller.listeners.tell("estimate", cost)
    assert "About 40 s" in at.status
    assert "at most 5 min (270 slices); about 1536 MiB" in at.status
    at.panel.say("")
    at.panel.controller.listeners.tell("estimate", {**cost, "most_seconds": 2.0})
    assert "About" not in at.status


def test_what_nobody_foresaw_is_shown_and_the_panel_lives_on(at, phantom, slicer_gui, monkeypatch) -> None:
    import slicer

    slicer_gui.set_testing(False)

    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **options: shown.append(text))

    def broken() -> None:
        raise ZeroDivisionError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(at.controller, "undo", broken)
        with pytest.raises(ZeroDivisionError):  # goes on to the log
            at.panel.actions.undo()
    assert "Something unforeseen" in shown[0]
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    assert at.mask().any()
