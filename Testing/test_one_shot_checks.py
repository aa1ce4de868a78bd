"""What must hold for one-shot methods by construction, whatever the model: geometry, padding, the reference itself."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib import Session, load_model
from SegmentAnythingMedLib.adaptive.baselines.matcher import Matcher, MatcherSettings
from SegmentAnythingMedLib.adaptive.methods import METHOD_NAMES, one_shot_method
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.similarity import highest, in_pixels
from SegmentAnythingMedLib.adaptive.views import square_region, view
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.models.frame import Frame
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from tiny_sam import stock_sam

SHAPE = (288, 384)
FRAMES = {
    "SAM": Frame.longest_side(SHAPE, (1.0, 1.0), 1024),
    "SAM 2": Frame.squash(SHAPE, 1024),
}


def bump(frame: Frame, x: float, y: float) -> np.ndarray:
    """A map [1, 64, 64] over the network's input that falls with the distance from a pixel of the slice."""
    ((at_x, at_y),) = frame.to_network(np.array([(x, y)]))
    cells = 16 * np.arange(64) + 7.5
    sx, sy = frame.scale
    return -np.hypot((cells[None, :] - at_x) / sx, (cells[:, None] - at_y) / sy)[None].astype(np.float32)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize(("x", "y"), [(100.0, 60.0), (200.5, 150.2), (350.0, 240.0)])
def test_both_geometries_find_the_same_place(name, x, y):
    """A cell of SAM is 6 pixels of this slice; bilinear maps peak in the cell's middle."""
    (values,) = in_pixels(bump(FRAMES[name], x, y), FRAMES[name])
    found = highest(values)
    assert values.shape == SHAPE
    assert np.abs(np.subtract(found, (x, y))).max() <= 3.5


def test_geometries_map_points_to_within_a_pixel():
    points = np.array([(0, 0), (383, 287), (17.25, 200.5)])
    for frame in FRAMES.values():
        assert np.allclose(frame.from_network(frame.to_network(points)), points)
    ramps = [in_pixels(np.tile(np.arange(64, dtype=np.float32), (64, 1))[None], frame)[0] for frame in FRAMES.values()]
    assert np.abs(ramps[0][:, 20:-20] - ramps[1][:, 20:-20]).max() * 6 <= 1.0


def scene(seed: int) -> tuple[Volume, np.ndarray]:
    k, j, i = np.indices((1, 60, 120))
    mask = (j - 30) ** 2 + (i - 50) ** 2 < 14**2
    noise = np.random.default_rng(seed).normal(0, 5, k.shape)
    return Volume((60 + 90 * mask + noise).astype(np.int16), Affine.from_parts((1, 1, 3), (0, 0, 0), None)), mask[0]


def method(name: str):
    if name == "matcher":
        return Matcher(MatcherSettings(centres=5))
    return one_shot_method(name, **({"steps": 50} if name == "persam-f" else {}))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_no_point_lies_in_padding(name):
    """Half of the network's input is padding here, and all of it looks alike."""
    sam = SamModel(stock_sam(), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))
    (first, mask), (second, _) = scene(0), scene(1)
    known = Reference(view(Session(first, sam, axis="k"), 0), mask)
    result = method(name).segment([known], view(Session(second, sam, axis="k"), 0))
    assert (result.points >= -0.5).all()
    assert (result.points <= (119.5, 59.5)).all()


@pytest.mark.parametrize("name", [name for name in METHOD_NAMES if name != "direct"])
def test_the_reference_is_found_on_its_own_slice(name):
    volume, mask = scene(0)
    session = Session(volume, load_model("built-in"), axis="k")
    seen = view(session, 0, square_region(session, (50, 30), 60.0))
    assert dice(method(name).segment([Reference(seen, mask)], seen).mask, mask) > 0.85
