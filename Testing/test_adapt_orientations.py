"""A prior stored one way, a follow-up stored another: drafts land where the structures are, in every kind of file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_balls import STEP, save_ball_series
from dicom_phantom import make_slice, positions, write
from SegmentAnythingMedLib.apps import adapt_command
from SegmentAnythingMedLib.files.drafts import Draft
from SegmentAnythingMedLib.files.images import load_volume
from SegmentAnythingMedLib.files.mask_agreement import dice
from SegmentAnythingMedLib.files.rtstruct_write import write_rtstruct
from SegmentAnythingMedLib.files.structures import load_structures
from SegmentAnythingMedLib.space.volume import Volume, map_mask
from stub_model import SIDE, StubModel, two_balls
from test_adapt_cli import report_of, run
from test_bad_inputs_visits import LINE, PRIOR, TODAY
from test_rtstruct import ORIENTATIONS

COUNT = 24
CASES = {name: (ORIENTATIONS[name], False) for name in ("sagittal", "oblique", "mirrored", "prone")}
CASES["uneven"] = (ORIENTATIONS["axial"], True)
CASES["oblique and uneven"] = (ORIENTATIONS["oblique"], True)


def save_today(folder: Path, prior: Volume, orientation, uneven: bool) -> Path:
    """The prior's image again, on slices of another orientation about the same centre."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    along = np.arange(COUNT) * STEP
    if uneven:
        along = along + np.resize([0.0, 0.5, -0.4], COUNT)
    middle = prior.affine.ijk_to_lps([(np.array(prior.shape[::-1]) - 1) / 2])[0]
    corner = middle - (row + column) * (SIDE - 1) / 2 - normal * (COUNT - 1) * STEP / 2
    shift = along - np.arange(COUNT) * STEP
    places = positions(COUNT, orientation, STEP, corner) + shift[:, None] * normal
    slices = []
    for n, place in enumerate(places):
        matrix = np.eye(4)
        matrix[:3] = np.column_stack([row, column, normal, place])
        plane = Volume(np.zeros((1, SIDE, SIDE), np.int16), type(prior.affine)(matrix))
        pixels = map_mask(prior.voxels.astype(np.int16), prior, plane)[0].astype(np.uint16)
        tags = {"Modality": "MR", "PixelSpacing": [1.0, 1.0], "RescaleIntercept": 0, "WindowCenter": None, **TODAY}
        slices.append(make_slice(pixels, place, orientation, **{"InstanceNumber": n + 1, **tags}))
    return write(folder, slices)


@pytest.mark.parametrize("name", CASES)
def test_drafts_land_where_the_structures_are(tmp_path, monkeypatch, capsys, name):
    pytest.importorskip("highdicom")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapt_command, "load_model", lambda *_: StubModel())
    prior, labels = load_volume(save_ball_series(tmp_path / "prior", **PRIOR)), two_balls()[1]
    write_rtstruct("prior.dcm", prior, [Draft("Left", labels == 1), Draft("Right", labels == 2)])
    today = load_volume(save_today(tmp_path / "today", prior, *CASES[name]))
    line = [text if text != "nifti,rtstruct" else "nifti,rtstruct,seg" for text in LINE]
    code, _, err = run(capsys, *line)
    assert code == 0, err
    report = report_of("out/report.json")
    truth = map_mask(labels, prior, today)
    stored = load_volume("out/structures.nii.gz").voxels
    drafts = {kind: load_structures(f"out/structures.{kind}.dcm", today).masks for kind in ("rtstruct", "seg")}
    for value, structure in enumerate(("Left", "Right"), 1):
        assert dice(stored == value, truth == value) > 0.95
        for kind, masks in drafts.items():
            assert dice(masks[structure], stored == value) > (0.9 if today.source.resampled else 0.9999), kind
    assert all(report["dicom"][kind]["dice"] >= 0.99 for kind in drafts)
    assert all(report["dicom"][kind]["edge_px"] <= 0.6 for kind in drafts)
    assert today.source.resampled == CASES[name][1]
