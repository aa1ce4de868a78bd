"""The application is closed while something runs: the user is asked, the end comes within seconds, nothing is left."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from controller_bench import Gate
from effect_bench import bench, real_bench, stub
from panel_driver import PanelDriver
from stub_model import StubModel

__all__ = ["bench", "real_bench", "stub"]


@pytest.fixture
def at(slicer_gui, make_volume, slice_view):
    """The module in a main window, with a stub model in the middle of a propagation."""
    from standin.qt_gui import GUI

    window = GUI.main_window()
    phantom = make_volume(shape=(12, 80, 96))
    driver = PanelDriver(slicer_gui, slice_view())
    driver.window, driver.model = window, StubModel()
    driver.controller.host._open_model = lambda name, device: driver.model
    driver.controller.window = "80,100"
    driver.show(phantom.node, phantom.centre)
    driver.press("positiveButton")
    driver.click(phantom.centre)
    driver.wait()
    driver.gate = Gate(driver.model, 3)
    driver.press("propagateButton")
    GUI.pump_until(driver.gate.reached.is_set)
    yield driver
    driver.gate.open()
    driver.close()


@pytest.fixture
def asked(monkeypatch):
    """Answers of the user to come, and the questions that were put."""
    import slicer

    class Asked:
        questions, answer = (), True

        def __call__(self, text: str, title: str) -> bool:
            self.questions += (text,)
            return self.answer

    asked = Asked()
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", asked)
    return asked


def test_what_is_waited_for_is_less_than_five_seconds(slicer_gui) -> None:
    from SegmentAnythingMedLib.apps.slicer.quitting import STOP_S
    from SegmentAnythingMedLib.apps.slicer.worker import END_S

    assert STOP_S + END_S < 4, "the rest is for taking the panel down"


def temporary_files() -> set[Path]:
    import slicer

    folders = {Path(tempfile.gettempdir()), Path(slicer.app.temporaryPath)}
    return {path for folder in folders for path in folder.glob("*nything*")}


def test_the_user_stays_and_it_goes_on(at, asked) -> None:
    from standin.qt_gui import GUI

    asked.answer = False
    assert not GUI.close_application(at.window)
    assert not at.window.isHidden()
    assert len(asked.questions) == 1
    assert at.controller.propagating
    before = at.mask().sum()
    at.gate.open()
    at.wait()
    assert at.mask().sum() > before
    assert GUI.close_application(at.window), "nothing runs any more: nothing is asked"
    assert len(asked.questions) == 1


def test_the_user_goes_and_what_is_finished_is_kept(at, asked) -> None:
    from SegmentAnythingMedLib.apps.slicer.reading import read_segment
    from standin.qt_gui import GUI

    parameters, worker = at.parameters, at.controller.board.worker
    where = parameters.segmentation, parameters.segmentID, parameters.inputVolume
    files, before = temporary_files(), at.mask().sum()
    threading.Timer(0.2, at.gate.open).start()
    assert GUI.close_application(at.window)
    assert not worker.thread.is_alive()
    assert read_segment(*where).sum() > before, "the slices that were done are in the segment, to be saved"
    assert temporary_files() <= files
    assert at.widget.panel is None
    at.widget.exit()
    at.widget.cleanup()


def test_a_step_that_does_not_end_holds_up_nobody(at, asked) -> None:
    """The gate stays shut: without a limit this would never return. The thread is a daemon."""
    from standin.qt_gui import GUI

    worker = at.controller.board.worker
    assert GUI.close_application(at.window)
    assert worker.thread.daemon
    at.gate.open()
    worker.thread.join(10)
    assert not worker.thread.is_alive()


def test_a_script_that_quits_is_not_asked(at, asked) -> None:
    import slicer

    slicer.app.emit("aboutToQuit()")
    assert asked.questions == ()
    assert at.widget.panel is None


def test_it_ends_by_itself_while_the_question_is_open(at, monkeypatch) -> None:
    """The dialog lets timers run: the filter must not be taken away while it is asking."""
    import slicer
    from SegmentAnythingMedLib.apps.slicer.quitting import GUARD
    from standin.qt_gui import GUI

    def ask(text: str, title: str) -> bool:
        at.gate.open()
        at.wait()
        assert GUARD.watching
        assert not GUARD.may_close(), "one question at a time"
        return False

    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", ask)
    assert not GUI.close_application(at.window)
    assert not GUARD.watching


def test_the_question_as_slicer_shows_it(at, slicer_gui) -> None:
    """In an event loop, as in the application: the message box is to be deleted when control is back in it."""
    import qt
    from standin.qt_gui import GUI

    loop, seen, closed = qt.QEventLoop(), [], []

    def close() -> None:
        closed.append(GUI.close_application(at.window))
        loop.quit()

    def press_no() -> None:
        box = GUI.application.activeModalWidget()
        if box is None:
            qt.QTimer.singleShot(20, press_no)
            return
        seen.append(box.text)
        box.button(qt.QMessageBox.No).click()

    slicer_gui.set_testing(False)
    qt.QTimer.singleShot(0, close)
    qt.QTimer.singleShot(20, press_no)
    loop.exec()
    assert closed == [False]
    assert "still at work" in seen[0]


def test_nothing_is_watched_while_nothing_runs(at) -> None:
    from SegmentAnythingMedLib.apps.slicer.quitting import GUARD

    assert GUARD.watching
    at.gate.open()
    at.wait()
    assert not GUARD.watching


def test_the_effect_of_the_segment_editor_asks_too(bench, stub, asked) -> None:
    from SegmentAnythingMedLib.apps.slicer.quitting import GUARD
    from standin.qt_gui import GUI

    window, here = GUI.main_window(), bench()
    here.view.click(*here.pixel(here.phantom.centre))
    here.answer()
    before = here.cells().sum()
    gate = Gate(stub, 3)
    here.effect.options.propagate_button.click()
    GUI.pump_until(gate.reached.is_set)
    asked.answer = False
    assert not GUI.close_application(window)
    asked.answer = True
    threading.Timer(0.2, gate.open).start()
    assert GUI.close_application(window)
    assert here.cells().sum() > before
    assert not GUARD.watching
