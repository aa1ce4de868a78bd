"""Drafts of a prior visit leave the scene as RTSTRUCT and DICOM SEG of today's original series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapt_stub import stub_adapt
from dicom_phantom import make_slice, positions
from panel_driver import PanelDriver
from SegmentAnythingMedLib.files.images import load_volume
from visit_bench import SHAPE, make_visits


@pytest.fixture
def series(tmp_path) -> Path:
    """Today's image as a DICOM series on disk."""
    folder = tmp_path / "series"
    folder.mkdir()
    ramp = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE) % 4000
    for number, (pixels, place) in enumerate(zip(ramp, positions(SHAPE[0]), strict=True)):
        make_slice(pixels, place, InstanceNumber=number + 1).save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def at(slicer_gui, series, monkeypatch):
    """Drafts are written; today's volume lies where the series does."""
    from SegmentAnythingMedLib.adaptive import visits

    monkeypatch.setattr(visits, "adapt", stub_adapt)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ load_volume(series).affine.matrix
    driver = PanelDriver(slicer_gui)
    driver.visits = make_visits(to_ras)
    driver.parameters.inputVolume = driver.visits.today
    driver.parameters.priorVolume, driver.parameters.priorSegmentation = driver.visits.prior, driver.visits.segmentation
    for button in ("proposeButton", "segmentVisitButton"):
        driver.press(button)
        driver.wait()
    yield driver
    driver.close()


@pytest.fixture
def choose(monkeypatch):
    """``choose(folder, file)``: what the user chooses in the dialogs."""
    import qt

    def use(folder: Path | str, file: Path | str) -> None:
        monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(lambda *given: str(folder)))
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", staticmethod(lambda *given: str(file)))

    return use


def masks(at: PanelDriver) -> dict[str, np.ndarray]:
    return {row.name: at.mask(row.segment_id) for row in at.panel.visit.rows}


def test_rtstruct(at, series, tmp_path, choose) -> None:
    from SegmentAnythingMedLib.files.rtstruct import read_structure_set
    from SegmentAnythingMedLib.files.rtstruct_masks import masks_on

    choose(series, tmp_path / "out.dcm")
    at.press("exportRtButton")
    at.wait()
    assert at.problem == ""
    assert "2 structures were written to out.dcm, unapproved" in at.status
    written, image = read_structure_set(tmp_path / "out.dcm"), load_volume(series)
    assert (written.approval, [roi.name for roi in written.rois]) == ("UNAPPROVED", ["bright", "dark"])
    assert set(written.series_uids) == {"1.2.3.4"}
    assert written.rois[0].colour == (230, 51, 26)
    for one in masks_on(written, image):
        np.testing.assert_array_equal(one.mask, masks(at)[one.roi.name])


def test_seg_holds_what_a_person_corrected(at, series, tmp_path, choose) -> None:
    import slicer
    from SegmentAnythingMedLib.files.structures import load_structures

    pytest.importorskip("highdicom")
    shown, row = at.panel.visit.work.shown, at.panel.visit.rows[0]
    mask = at.mask(row.segment_id)
    mask[2, 3:9, 4:20] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), shown, row.segment_id, at.visits.today)
    at.wait()
    choose(series, tmp_path / "out.dcm")
    at.press("exportSegButton")
    at.wait()
    assert at.problem == ""
    found = load_structures(tmp_path / "out.dcm", load_volume(series), None)
    np.testing.assert_array_equal(found.masks[row.name], mask)


def test_rejected_drafts_stay_behind(at, series, tmp_path, choose) -> None:
    from SegmentAnythingMedLib.files.rtstruct import read_structure_set

    at.ui.visitTable.setCurrentCell(1, 0)
    at.panel.visit.refresh()
    at.press("rejectVisitButton")
    choose(series, tmp_path / "out.dcm")
    at.press("exportRtButton")
    at.wait()
    assert [roi.name for roi in read_structure_set(tmp_path / "out.dcm").rois] == ["bright"]


def test_another_series_is_refused(at, series, tmp_path, choose) -> None:
    for number, path in enumerate(sorted(series.glob("*.dcm"))):
        pixels = np.zeros(SHAPE[1:], np.uint16)
        place = positions(SHAPE[0], origin=(-25.0, 12, 100))[number]
        make_slice(pixels, place, InstanceNumber=number + 1).save_as(path, enforce_file_format=True)
    choose(series, tmp_path / "out.dcm")
    at.press("exportRtButton")
    at.wait()
    assert "lie elsewhere" in at.problem
    assert not (tmp_path / "out.dcm").exists()


def test_a_dialog_that_is_closed_writes_nothing(at, series, tmp_path, choose) -> None:
    for folder, file in (("", tmp_path / "out.dcm"), (series, "")):
        choose(folder, file)
        at.press("exportRtButton")
        at.wait()
        assert at.problem == ""
    assert not (tmp_path / "out.dcm").exists()


def test_the_dicom_database_knows_the_series(at, series, tmp_path, choose, monkeypatch) -> None:
    """No folder is asked for when the volume was loaded through Slicer's DICOM module."""
    import slicer

    files = {f"1.{path.stem}": str(path) for path in series.glob("*.dcm")}

    class Database:
        def fileForInstance(self, uid: str) -> str:  # noqa: N802
            return files.get(uid, "")

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    at.visits.today.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    choose(tmp_path / "not asked", tmp_path / "out.dcm")
    at.press("exportRtButton")
    at.wait()
    assert at.problem == ""
    assert (tmp_path / "out.dcm").exists()
