"""What ``info`` knows: geometry, intensities, cost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from SegmentAnythingMedLib.apps import describe
from SegmentAnythingMedLib.apps.describe import describe_job, lines_of
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import StubModel, two_balls


def test_without_a_model_nothing_is_measured():
    volume, _ = two_balls()
    facts = describe_job(volume)
    assert set(facts) == {"image", "slices", "intensity", "notes"}
    assert facts["image"]["extent_mm"] == [64.0, 64.0, 48.0]
    assert (facts["slices"]["axis"], facts["slices"]["slices"]) == ("k", 24)
    assert any(line.startswith("spacing     1 x 1 x 2 mm") for line in lines_of(facts))


@pytest.mark.parametrize(("degrees", "oblique"), [(0.0, False), (90.0, False), (10.0, True)])
def test_oblique_grids(degrees, oblique):
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    volume = Volume(np.zeros((3, 4, 5), dtype=np.uint8), Affine.from_parts((1, 1, 1), (0, 0, 0), turn))
    assert describe_job(volume)["image"]["oblique"] is oblique


def test_cost_grows_with_the_image():
    volume, _ = two_balls()
    tall = Volume(np.repeat(volume.voxels, 4, axis=0), volume.affine, modality="MR")
    small, large = (describe_job(one, StubModel())["estimate"] for one in (volume, tall))
    assert large["memory_bytes"] > small["memory_bytes"]
    assert large["image_bytes"] == 4 * small["image_bytes"]
    assert small["feature_bytes_per_slice"] == 64 * 64 * 2
    assert small["seconds_whole_stack"] >= 20 * small["seconds_per_slice"] - 0.01


def test_notes_of_image_and_model_and_too_little_memory(monkeypatch):
    monkeypatch.setattr(describe, "machine_memory", lambda: 1000)
    volume, _ = two_balls()
    facts = describe_job(volume.with_notes(["A note."]), StubModel())
    assert facts["notes"][0] == "A note."
    assert "This model is a stub." in facts["notes"]
    assert "crop or downsample" in facts["notes"][-1]
    assert json.loads(json.dumps(facts))["estimate"]["machine_memory_bytes"] == 1000
