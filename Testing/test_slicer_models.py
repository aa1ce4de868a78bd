"""Section Models of the panel: catalogue, licence, download, import, removal; against a web server on this machine."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from panel_driver import PanelDriver
from SegmentAnythingMedLib.files import fetch as fetching
from SegmentAnythingMedLib.models import downloads, entries, licences
from SegmentAnythingMedLib.models.entries import CatalogEntry
from weights_server import Behaviour, WeightsServer, sha256, weights

DATA, OTHER = weights(2_500_000), weights(seed=1)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server with two models. Python's collector rests: the server's threads must not take Qt's garbage apart."""
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    monkeypatch.setenv(entries.FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setenv(licences.SETTINGS_VARIABLE, str(tmp_path / "settings"))
    for name in (downloads.OFFLINE_VARIABLE, downloads.MIRROR_VARIABLE, licences.COMMERCIAL_VARIABLE, "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with WeightsServer() as running:
        built_in = entries.catalogue()[0]
        common = {"family": "sam", "variant": "vit_b", "source": "https://example.org/x", "description": "A test."}
        listed = (
            built_in,
            CatalogEntry(
                "tiny", licence="MIT", file_name="tiny.pth", size_bytes=len(DATA), sha256=sha256(DATA),
                sha256_from="records", urls=(running.url("/tiny.pth"),), citation="Nobody, 2026.", **common,
            ),
            CatalogEntry(
                "guarded", licence="CC-BY-NC-4.0", research_only=True, file_name="guarded.pth", size_bytes=len(OTHER),
                sha256=sha256(OTHER), sha256_from="records", urls=(running.url("/guarded.pth"),), **common,
            ),
            CatalogEntry("manual", licence="unknown", file_name="manual.pth", **common),
        )  # fmt: skip
        monkeypatch.setattr(entries, "catalogue", lambda: listed)
        monkeypatch.setattr("SegmentAnythingMedLib.models.stored.catalogue", lambda: listed)
        running.paths = {"/tiny.pth": Behaviour(DATA), "/guarded.pth": Behaviour(OTHER)}
        running.folder = tmp_path / "models"
        gc.disable()
        yield running
        gc.enable()


@pytest.fixture
def at(slicer_gui, server):
    driver = PanelDriver(slicer_gui)
    yield driver
    driver.close()


@pytest.fixture
def answers(monkeypatch):
    """What the user answers to the questions to come, and the questions."""
    import slicer

    class Answers:
        yes = True
        asked: tuple[str, ...] = ()

        def __call__(self, text: str, title: str = "") -> bool:
            self.asked += (text,)
            return self.yes

    made = Answers()
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", made)
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", made)
    return made


def choose(at: PanelDriver, name: str) -> None:
    names = [row.entry.name for row in at.panel.models.rows]
    at.ui.modelsTable.setCurrentCell(names.index(name), 0)


def shown(at: PanelDriver) -> dict[str, tuple[str, ...]]:
    table = at.ui.modelsTable
    rows = [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]
    return {texts[0]: tuple(texts[1:]) for texts in rows}


def finish(at: PanelDriver) -> str:
    from standin.qt_gui import GUI

    GUI.pump_until(lambda: not at.panel.models.shelf.busy, 60)
    return at.ui.modelProgressLabel.text


def test_opening_the_module_asks_nothing_of_the_network(at, server) -> None:
    at.wait()
    assert server.requests == []
    assert at.panel.models.shelf._worker is None
    table = shown(at)
    assert table["built-in"][0] == "built in"
    assert table["tiny"] == ("no", "2.5 MB", "MIT")
    assert table["guarded"][2] == "CC-BY-NC-4.0, research only"
    assert str(server.folder) in at.ui.modelFolderLabel.text
    assert not server.folder.exists()


def test_download_shows_progress_and_the_model_can_be_chosen(at, server) -> None:
    choose(at, "tiny")
    assert "Nobody, 2026." in at.ui.modelDetails.text
    at.press("downloadModelButton")
    assert "tiny can be used now" in finish(at)
    assert (server.folder / "tiny.pth").read_bytes() == DATA
    assert shown(at)["tiny"][0] == "yes"
    assert "2.5 MB" in at.ui.modelFolderLabel.text
    texts = [at.ui.modelSelector.itemText(n) for n in range(at.ui.modelSelector.count)]
    assert "tiny" in texts
    assert "guarded (not downloaded)" in texts
    at.press("useModelButton")
    assert at.parameters.model == "tiny"
    assert not at.ui.downloadModelButton.enabled


def test_a_licence_is_accepted_first(at, server, answers) -> None:
    choose(at, "guarded")
    answers.yes = False
    at.press("downloadModelButton")
    assert (server.requests, at.panel.models.shelf.busy) == ([], False)
    assert "research" in answers.asked[0]
    assert "Nothing was downloaded" in at.ui.modelProgressLabel.text
    answers.yes = True
    at.press("downloadModelButton")
    assert "can be used now" in finish(at)
    assert len(answers.asked) == 2


def test_a_cancelled_download_goes_on_later(at, server) -> None:
    from standin.qt_gui import GUI

    server.paths["/tiny.pth"].stall = 1_500_000
    choose(at, "tiny")
    at.press("downloadModelButton")
    GUI.pump_until(lambda: "of 2 MB" in at.ui.modelProgressLabel.text)
    assert not at.ui.downloadModelButton.enabled
    assert not at.ui.importModelButton.enabled
    at.press("cancelModelButton")
    assert "Cancelled" in finish(at)
    assert shown(at)["tiny"][0] == "in part"
    server.paths["/tiny.pth"].stall = None
    at.press("downloadModelButton")
    assert "can be used now" in finish(at)
    assert [given for given in server.ranges_asked() if given], "the part was gone on with"


def test_a_wrong_file_is_refused_in_words(at, server) -> None:
    server.paths["/tiny.pth"].data = OTHER
    choose(at, "tiny")
    at.press("downloadModelButton")
    assert "Problem:" in finish(at)
    assert shown(at)["tiny"][0] != "yes"


def test_import_by_hash_and_as_the_selected_one(at, server, tmp_path, answers) -> None:
    known, unknown = tmp_path / "any-name.pth", tmp_path / "weights.pth"
    known.write_bytes(DATA)
    unknown.write_bytes(weights(seed=5))
    at.panel.models.take_in(known)
    assert "tiny can be used now" in finish(at)
    assert answers.asked == ()
    choose(at, "manual")
    assert not at.ui.downloadModelButton.enabled
    assert "by hand" in at.ui.modelDetails.text
    at.panel.models.take_in(unknown)
    finish(at)
    assert "manual" in answers.asked[0]
    assert "manual can be used now" in finish(at)
    assert (unknown.exists(), (server.folder / "manual.pth").exists()) == (True, True)


def test_the_file_dialog(at, tmp_path, monkeypatch) -> None:
    import qt

    file = tmp_path / "x.pth"
    file.write_bytes(DATA)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *arguments: str(file)))
    at.press("importModelButton")
    assert "tiny can be used now" in finish(at)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *arguments: ""))
    at.press("importModelButton")
    assert not at.panel.models.shelf.busy


def test_remove_after_a_question(at, server, answers) -> None:
    choose(at, "tiny")
    at.press("downloadModelButton")
    finish(at)
    answers.yes = False
    at.press("removeModelButton")
    assert (server.folder / "tiny.pth").exists()
    answers.yes = True
    at.press("removeModelButton")
    assert "removed" in finish(at)
    assert not (server.folder / "tiny.pth").exists()
    assert shown(at)["tiny"][0] == "no"


def test_prompts_are_answered_meanwhile_and_closing_stops_it(slicer_gui, server, make_volume, slice_view) -> None:
    phantom = make_volume(shape=(12, 80, 96))
    at = PanelDriver(slicer_gui, slice_view())
    at.show(phantom.node, phantom.centre)
    server.paths["/tiny.pth"].stall = 1_000_000
    choose(at, "tiny")
    at.press("downloadModelButton")
    at.press("positiveButton")
    at.click(phantom.centre)
    at.wait()
    assert at.mask().any()
    shelf = at.panel.models.shelf
    assert shelf.busy
    thread = shelf._worker.thread
    at.close()
    thread.join(10)
    assert not thread.is_alive()
    assert not (server.folder / "tiny.pth").exists()
    assert Path(server.folder / ".downloads" / "tiny.pth.part").exists()


def test_closing_the_application_asks_while_something_is_fetched(slicer_gui, server, answers) -> None:
    from standin.qt_gui import GUI

    window, at = GUI.main_window(), PanelDriver(slicer_gui)
    server.paths["/tiny.pth"].stall = 1_000_000
    choose(at, "tiny")
    at.press("downloadModelButton")
    GUI.pump_until(lambda: "MB" in at.ui.modelProgressLabel.text)
    answers.yes = False
    assert not GUI.close_application(window)
    assert at.panel.models.shelf.busy
    answers.yes = True
    assert GUI.close_application(window)
    assert len(answers.asked) == 2
    assert (server.folder / ".downloads" / "tiny.pth.part").exists()
    at.close()
