"""The module's file on the bench: loading, life, keys, propagation, the self test with and without Qt."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from panel_driver import MODULE, PanelDriver, dice

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


def test_what_the_application_shows(slicer_host) -> None:
    from standin.module_loading import load_module, unload_module

    before = set(sys.modules)
    loaded = load_module(MODULE, slicer_host, gui=False)
    parent = loaded.instance.parent
    assert parent.title == "Segment Anything Med"
    assert parent.categories == ["Segmentation"]
    for text in (parent.helpText, parent.acknowledgementText):
        assert "ot for clinical use" in text
    assert "torch" not in set(sys.modules) - before
    unload_module(loaded, slicer_host)


def test_propagation_fills_the_list_and_a_click_goes_there(at, phantom) -> None:
    k = phantom.centre[2]
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    at.press("propagateButton")
    assert at.ui.cancelButton.enabled
    assert not at.ui.propagateButton.enabled
    at.wait()
    assert not at.ui.cancelButton.enabled
    assert dice(at.mask(), phantom.mask) > 0.8
    table = at.table()
    assert table[k][0] == "From your prompts"
    assert table[k + 1][0] == "Followed upwards"
    assert {row[-1] for row in table.values()} <= {"fine", "look", "doubtful"}
    assert "Ends below:" in at.status
    widget = at.ui.sliceTable
    row = next(n for n in range(widget.rowCount) if int(widget.item(n, 0).text()) == k + 1)
    widget.setCurrentCell(row, 0)
    assert at.panel.shown_slice() == k + 1
    at.press("repromptButton")
    assert at.panel.tools.active == "positive"
    at.panel.propagation.table.select(None)
    at.press("nextDoubtfulButton")
    shown = at.panel.shown_slice()
    assert at.table()[shown][-1] in ("look", "doubtful")
    at.ui.doubtfulFirstCheckBox.click()
    order = [at.ui.sliceTable.item(n, 4).text() for n in range(at.ui.sliceTable.rowCount)]
    assert order == sorted(order, key=["doubtful", "look", "fine"].index)
    tinted = at.ui.sliceTable.item(0, 0).background().color().name()
    assert tinted != at.ui.sliceTable.item(len(order) - 1, 0).background().color().name()


def test_direction_limits_stop_mark(at, phantom) -> None:
    k = phantom.centre[2]
    at.ui.directionSelector.currentIndex = 1
    assert at.parameters.direction == "up"
    at.ui.limitedCheckBox.click()
    assert at.parameters.upperLimit == SHAPE[0] - 1
    at.ui.lowerLimitSpinBox.value = k
    at.ui.upperLimitSpinBox.value = k + 1
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    at.press("propagateButton")
    at.wait()
    assert sorted(np.flatnonzero(at.mask().any(axis=(1, 2)))) == [k, k + 1]
    assert "limit reached" in at.status
    at.ui.limitedCheckBox.click()
    at.ui.directionSelector.currentIndex = 2
    at.press("stopButton")
    at.show(phantom.node, (48, 40, k - 2))
    at.click((48, 40, k - 2))
    at.wait()
    at.press("propagateButton")
    at.wait()
    assert at.table()[k - 2][0] == "End: your stop mark"
    assert not at.mask()[k - 2].any()
    at.ui.limitedCheckBox.click()
    at.ui.lowerLimitSpinBox.value = k + 5
    assert "LO <= HI" in at.problem


def test_settings_reach_the_controller(at) -> None:
    from SegmentAnythingMedLib.apps.slicer.collecting import DISPLAY
    from SegmentAnythingMedLib.propagation.settings import PropagationSettings

    at.ui.iouThresholdSlider.value = 0.75
    at.ui.patienceSpinBox.value = 4
    assert (at.controller.settings.iou_threshold, at.controller.settings.patience) == (0.75, 4)
    at.press("strictButton")
    assert at.controller.settings == PropagationSettings.strict()
    assert at.ui.iouThresholdSlider.value == 0.8
    at.press("defaultsButton")
    assert at.controller.settings == PropagationSettings()
    for slider in ("areaRatio", "predictedIouThreshold", "confidenceDrop", "depthDoubt", "appearance"):
        before = at.controller.settings
        widget = getattr(at.ui, f"{slider}Slider")
        widget.value = widget.maximum
        assert at.controller.settings != before, slider
    at.ui.displayWindowCheckBox.click()
    assert at.controller.window == DISPLAY
    at.ui.axisSelector.currentIndex = 2
    assert at.controller.resolved_axis == "j"


def test_model_and_device(at, tmp_path) -> None:
    names = [at.ui.modelSelector.itemData(n) for n in range(at.ui.modelSelector.count)]
    assert (names[0], names[-1]) == ("built-in", "from file")
    assert not at.ui.modelPath.isVisibleTo(at.ui.modelPath.parent())
    at.ui.modelSelector.currentIndex = names.index("sam-vit-b")
    assert at.controller.model_name == "sam-vit-b"
    assert "Apache-2.0" in at.ui.modelNote.text
    at.ui.modelSelector.currentIndex = len(names) - 1
    assert at.ui.modelPath.isVisibleTo(at.ui.modelPath.parent())
    at.ui.modelPath.currentPath = str(tmp_path / "mine.pth")
    assert at.controller.model_name == str(tmp_path / "mine.pth")
    at.ui.deviceSelector.currentIndex = 1
    assert at.controller.device == "cpu"


def test_a_missing_checkpoint_is_said_in_the_panel(at, phantom, tmp_path) -> None:
    at.parameters.model = str(tmp_path / "missing.safetensors")
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    assert "check the path" in at.problem
    assert not at.mask().any()
    at.parameters.model = "built-in"
    at.press("segmentSliceButton")
    at.wait()
    assert at.problem == ""
    assert at.mask().any()


def test_keys_work_only_in_the_module(slicer_gui, phantom, slice_view) -> None:
    from standin.module_loading import enter_module, exit_module
    from standin.qt_gui import GUI

    window = GUI.main_window()
    at = PanelDriver(slicer_gui, slice_view())
    at.show(phantom.node, phantom.centre)
    tools = ("positive", "negative", "box", "scribble", "scribble_negative", "stop")
    for key, tool in zip("PNOSDM", tools, strict=True):
        at.key(key, window)
        assert at.panel.tools.active == tool, key
    at.key("Escape", window)
    assert at.panel.tools.active is None
    at.key("P", window)
    at.click(phantom.centre)
    at.wait()
    first = at.mask()
    at.key("A", window)
    assert (at.mask() != first).any()
    at.key("Ctrl+Z", window)
    at.key("Ctrl+Z", window)
    assert not at.mask().any()
    at.key("Ctrl+Y", window)
    np.testing.assert_array_equal(at.mask(), first)
    at.key("U", window)
    at.wait()
    assert at.mask().sum() > first.sum()
    at.key("Ctrl+Return", window)
    assert "Accepted" in at.ui.draftLabel.text
    at.key("Q", window)
    at.key("E", window)
    assert at.panel.tools.active == "positive"
    exit_module(at.widget)
    assert (at.panel.tools.active, at.panel.shortcuts.installed) == (None, False)
    at.key("O", window)
    assert at.panel.tools.active is None
    enter_module(at.widget)
    enter_module(at.widget)
    at.key("O", window)
    assert at.panel.tools.active == "box"
    for entry in at.panel.shortcuts.entries:
        assert f"<b>{entry.key}</b>" in at.ui.shortcutsLabel.text
    at.close()
    at.key("O", window)
    assert at.panel.tools.active is None


def test_keys_of_slicers_own_stay_slicers(at) -> None:
    """A key of the window would be taken away from the views: the user guide's lists of view and window keys."""
    views = {*"BFVRGT", "[", "]", "{", "}", "+", "-", "Left", "Right", "Up", "Down", "End", "Home", "PgDown", "Ins"}
    window = {f"Ctrl+{key}" for key in ("F", "O", "S", "W", "H", "B", "`", *"012345")}
    assert not {entry.key for entry in at.panel.shortcuts.entries} & (views | window)


def test_another_module_is_shown_while_it_propagates(at, phantom) -> None:
    from standin.module_loading import enter_module, exit_module

    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    at.press("propagateButton")
    exit_module(at.widget)
    at.wait()
    assert dice(at.mask(), phantom.mask) > 0.8
    enter_module(at.widget)
    assert len(at.table()) > 3


def test_reload_doubles_nothing(slicer_gui, phantom, slice_view) -> None:
    import qt
    from standin.qt_gui import GUI

    window, view, counts = GUI.main_window(), slice_view(), []
    for _round in range(3):
        at = PanelDriver(slicer_gui, view)
        assert at.parameters.inputVolume is phantom.node
        parts = (at.widget, at.panel.watch, at.panel.inputs)
        live = [shortcut for shortcut in window.findChildren(qt.QShortcut) if shortcut.enabled]
        listeners = len(at.controller.listeners._callbacks)
        counts.append([len(live), listeners, *(len(part.Observations) for part in parts)])
        panel, worker = at.panel, at.controller.board.worker
        at.close()
        assert [part.Observations for part in parts] == [[], [], []]
        assert not panel._timer.active
        assert worker.thread is None or not worker.thread.is_alive()
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][:2] == [len(panel.shortcuts.entries), 1]


def test_the_volume_is_removed_while_it_is_segmented(at, phantom) -> None:
    import slicer

    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    at.press("propagateButton")
    slicer.mrmlScene.RemoveNode(phantom.node)
    at.wait()
    assert at.parameters.inputVolume is None
    assert not at.ui.positiveButton.enabled


def test_the_scene_is_closed_and_another_one_used(at, make_volume) -> None:
    import slicer

    at.press("positiveButton")
    at.click((48, 40, 6))
    at.wait()
    at.press("propagateButton")
    slicer.mrmlScene.Clear(0)
    at.wait()
    assert (at.parameters.inputVolume, at.parameters.segmentID, at.table()) == (None, "", {})
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
    other = make_volume("oblique", shape=SHAPE)
    at.ui.volumeSelector.setCurrentNode(other.node)
    at.press("positiveButton")
    at.show(other.node, other.centre)
    at.click(other.centre)
    at.wait()
    assert dice(at.mask()[6], other.mask[6]) > 0.85
