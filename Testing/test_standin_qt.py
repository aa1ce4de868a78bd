"""Qt of the bench: PythonQt's manners, Slicer's widgets on a real scene, .ui files, shortcuts, nothing left behind."""

from __future__ import annotations

import sys

import pytest

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="column">
<item><widget class="qMRMLNodeComboBox" name="selector"><property name="nodeTypes"><stringlist>
<string>vtkMRMLScalarVolumeNode</string></stringlist></property>{more}
<property name="SlicerParameterName" stdset="0"><string>volume</string></property></widget></item>
<item><widget class="QPushButton" name="button"><property name="text"><string>Go</string></property></widget></item>
</layout></widget>
<customwidgets/><resources/>
<connections><connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>{receiver}</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


WRONG_UI = [{"more": '<property name="nodeType"><string>x</string></property>'}, {"receiver": "?"}]


def write_ui(folder, more: str = "", receiver: str = "selector") -> str:
    path = folder / "panel.ui"
    path.write_text(UI.format(more=more, receiver=receiver), encoding="utf-8")
    return str(path)


def test_qt_gives_away_no_none_that_it_does_not_own(slicer_gui) -> None:
    """PySide6 6.12.0 does, and before Python 3.12 the process dies when None has run out, after minutes."""
    from standin.qt_gui import GUI

    before = sys.getrefcount(None)
    for _ in range(2000):
        GUI.process_events()
    assert sys.getrefcount(None) > before - 1000


def test_properties_are_attributes(slicer_gui) -> None:
    import qt

    button = qt.QPushButton("Go")
    assert button.text == "Go"
    button.enabled = False
    assert not button.enabled
    with pytest.raises(TypeError):
        button.text()
    with pytest.raises(AttributeError, match="not allowed"):
        button.colour = "red"
    with pytest.raises(AttributeError, match="overwritten"):
        button.clicked = None
    with pytest.raises(AttributeError, match="does not accept"):
        button.enabled = object()


def test_signals_by_their_signature(slicer_gui) -> None:
    import qt
    from standin.qt_object import UnknownSignal

    seen = []
    button = qt.QPushButton("Go")

    def without_argument() -> None:
        seen.append("clicked")

    button.connect("clicked(bool)", without_argument)
    button.click()
    assert button.disconnect("clicked(bool)", without_argument)
    button.click()
    assert seen == ["clicked"]
    with pytest.raises(UnknownSignal):
        button.connect("pushed()", without_argument)


def test_errors_in_slots_are_collected(slicer_gui, capsys) -> None:
    import qt

    button = qt.QPushButton("Go")
    button.connect("clicked()", lambda: 1 / 0)
    with slicer_gui.errors.expected("ZeroDivisionError"):
        button.click()


def test_own_subclasses_take_attributes(slicer_gui) -> None:
    import qt

    class Filter(qt.QObject):
        pass

    item = Filter()
    item.memory = 3
    assert item.memory == 3


def test_ui_file_with_a_real_scene(slicer_gui, make_volume, tmp_path) -> None:
    import slicer

    panel = slicer.util.loadUI(write_ui(tmp_path))
    ui = slicer.util.childWidgetVariables(panel)
    panel.setMRMLScene(slicer.mrmlScene)
    assert ui.button.text == "Go"
    assert type(ui.selector) is slicer.qMRMLNodeComboBox
    node = make_volume().node
    assert ui.selector.currentNode() is node
    slicer.mrmlScene.RemoveNode(node)
    assert ui.selector.currentNode() is None


@pytest.mark.parametrize(
    "wrong", [{"more": '<property name="nodeType"><string>x</string></property>'}, {"receiver": "?"}]
)
def test_mistakes_in_a_ui_file_raise(slicer_gui, tmp_path, wrong: dict[str, str]) -> None:
    import slicer

    with pytest.raises(RuntimeError, match=r"no property nodeType|missing object"):
        slicer.util.loadUI(write_ui(tmp_path, **wrong))


def test_node_selector_offers_fitting_nodes(slicer_gui, make_volume) -> None:
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLSegmentationNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    seen: list[object] = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    selector.setCurrentNode(make_volume().node)
    assert selector.currentNode() is None
    node = selector.addNode()
    assert node.IsA("vtkMRMLSegmentationNode")
    assert seen == [node]


def test_parameters_follow_widgets_both_ways(slicer_gui, make_volume, tmp_path) -> None:
    import slicer
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    Parameters = parameterNodeWrapper(
        type("Parameters", (), {"__annotations__": {"volume": slicer.vtkMRMLScalarVolumeNode}})
    )
    panel = slicer.util.loadUI(write_ui(tmp_path, '<property name="noneEnabled"><bool>true</bool></property>'))
    ui = slicer.util.childWidgetVariables(panel)
    panel.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters = Parameters(node)
    tag = parameters.connectParametersToGui({"volume": ui.selector})
    volume = make_volume().node
    ui.selector.setCurrentNode(volume)
    assert parameters.volume is volume
    parameters.volume = None
    assert ui.selector.currentNode() is None
    parameters.disconnectGui(tag)
    ui.selector.setCurrentNode(volume)
    assert parameters.volume is None


def test_shortcuts_of_the_main_window(slicer_gui) -> None:
    import qt
    import slicer
    from standin.qt_gui import GUI

    assert slicer.util.mainWindow() is None
    window = GUI.main_window()
    assert slicer.util.mainWindow() is window
    pressed = []
    shortcut = qt.QShortcut(qt.QKeySequence("Ctrl+Shift+K"), window)
    shortcut.connect("activated()", lambda: pressed.append(1))
    GUI.press(window, "Ctrl+Shift+K")
    assert pressed == [1]
    shortcut.setParent(None)
    shortcut.deleteLater()
    GUI.press(window, "Ctrl+Shift+K")
    assert pressed == [1]


def test_timers_run_when_pumped(slicer_gui) -> None:
    import qt
    from standin.qt_gui import GUI

    ticks = []
    timer = qt.QTimer()
    timer.setInterval(5)
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    GUI.pump_until(lambda: len(ticks) >= 3)
    timer.stop()
    assert not timer.active


def test_widgets_of_another_test_are_gone(slicer_host) -> None:
    import slicer

    assert not hasattr(slicer, "qMRMLNodeComboBox")
