"""One object, one box in millimetres, stored in many ways: the mask lands in the same place of the patient."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_copies import Change, Copy, chain, crop, flip, permute, turn
from propagation_stub import StubPredictor
from SegmentAnythingMedLib import Session, load_mask, load_model, load_volume, propagate
from SegmentAnythingMedLib.prompts.resolve import resolve
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, VolumePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume, map_mask

SAME = 0.97
COPIES: dict[str, Change] = {
    "flipped i": flip("i"),
    "flipped j": flip("j"),
    "flipped k": flip("k"),
    "flipped in all axes": flip("i", "j", "k"),
    "rows for columns": permute((0, 2, 1)),
    "slices along j": permute((1, 0, 2)),
    "slices along i": permute((2, 1, 0)),
    "cyclic order": permute((1, 2, 0)),
    "oblique": turn((14, -25, 35)),
    "turned far": turn((20, -35, 50)),
    "cropped": crop((1, 9, 14), (2, 21, 5)),
    "everything": chain(crop((1, 6, 3), (0, 11, 17)), turn((-10, 25, 40)), flip("k", "i"), permute((2, 0, 1))),
}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def phantom() -> Copy:
    """An egg in soft tissue, in Hounsfield units; 1 x 1 x 2.5 mm, already oblique."""
    k, j, i = np.indices((22, 110, 120))
    egg = ((k - 10) / 6.2) ** 2 + ((j - 50) / 19) ** 2 + ((i - 62) / (25 + (j - 50) / 6)) ** 2 < 1
    voxels = np.random.default_rng(3).normal(0, 12, egg.shape) - 60 + 160 * egg
    tilt = turn((5, 0, 0))(
        Copy.of(Volume(voxels.astype(np.int16), Affine(np.diag([1.0, 1.0, 2.5, 1.0])), is_hu=True), egg)
    )
    return Copy(tilt.volume, egg, np.eye(4))


@pytest.fixture(scope="module")
def bladder(sample) -> Copy:
    volume = load_volume(sample / "ct.nii.gz")
    return Copy.of(volume, np.asarray(load_mask(sample / "labels.nii.gz", volume)) == 1)


def box_mm(copy: Copy) -> np.ndarray:
    """Corners [2, 3] of a box on the object's middle slice along K, LPS in mm."""
    present = np.flatnonzero(copy.labels.any(axis=(1, 2)))
    middle = int(present[len(present) // 2])
    rows, cols = np.nonzero(copy.labels[middle])
    corners = [(cols.min() - 1, rows.min() + 1, middle), (cols.max() + 1, rows.max() + 2, middle)]
    return copy.volume.affine.ijk_to_lps(np.array(corners, dtype=float))


def seeds_of(copy: Copy, corners_mm: np.ndarray, stack: SliceStack):
    placed = corners_mm @ copy.motion[:3, :3].T + copy.motion[:3, 3]
    prompt = BoxPrompt(tuple(placed[0]), tuple(placed[1]), "lps")
    return resolve(VolumePrompts.single([prompt]), stack)["object"]


def by_model(copy: Copy, corners_mm: np.ndarray, model) -> np.ndarray:
    """Mask [K, J, I] of the copy: session and propagation along the axis that the library chooses."""
    session = Session(copy.volume, model)
    assert session.slice_spacing == pytest.approx(2.5)
    return in_volume(session.stack, propagate(session, seeds_of(copy, corners_mm, session.stack)))


def by_stub(copy: Copy, corners_mm: np.ndarray) -> np.ndarray:
    """The same with a model that cuts the true object to its prompts, and so knows no direction."""
    stack = SliceStack(copy.volume, "auto")
    truth = np.stack([stack.mask_slice(copy.labels, n) for n in range(stack.count)])
    stub = StubPredictor(truth, stack.slice_spacing)
    stub.pixel_spacing = stack.pixel_spacing
    return in_volume(stack, propagate(stub, seeds_of(copy, corners_mm, stack)))


def in_volume(stack: SliceStack, result) -> np.ndarray:
    out = np.zeros(stack.volume.shape, dtype=bool)
    for index, mask in result.masks.items():
        stack.mask_slice(out, index)[...] = mask
    return out


def agreement(original: Copy, mask: np.ndarray, copy: Copy, other: np.ndarray) -> float:
    """Dice on the original's grid, within what the copy shows."""
    turned = copy.turned_back()
    shown = map_mask(np.ones(turned.shape, dtype=bool), turned, original.volume)
    return dice(mask & shown, map_mask(other, turned, original.volume))


@pytest.fixture(scope="module")
def model():
    return load_model("built-in", device="cpu")


@pytest.fixture(scope="module")
def on_phantom(model):
    original = phantom()
    corners = box_mm(original)
    return original, corners, by_model(original, corners, model)


@pytest.fixture(scope="module")
def on_bladder(model, bladder):
    corners = box_mm(bladder)
    return bladder, corners, by_model(bladder, corners, model)


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_copies(name: str) -> None:
    original = phantom()
    copy = COPIES[name](original)
    back = map_mask(copy.volume.voxels, copy.turned_back(), original.volume)
    shown = map_mask(np.ones(copy.volume.shape, dtype=bool), copy.turned_back(), original.volume)
    assert np.count_nonzero(shown) == copy.volume.voxels.size
    assert np.array_equal(back[shown], original.volume.voxels[shown])


@pytest.mark.parametrize("name", COPIES)
def test_engine_on_the_bladder(name: str, bladder: Copy) -> None:
    corners, copy = box_mm(bladder), COPIES[name](bladder)
    mask = by_stub(bladder, corners)
    assert dice(mask, bladder.labels) > SAME
    assert agreement(bladder, mask, copy, by_stub(copy, corners)) > 0.999


@pytest.mark.parametrize("name", COPIES)
def test_built_in_model_on_a_phantom(name: str, on_phantom, model) -> None:
    original, corners, mask = on_phantom
    copy = COPIES[name](original)
    assert agreement(original, mask, copy, by_model(copy, corners, model)) >= SAME


# A patient turned by more than 45 degrees is shown to the network turned by 90, as other patients lie: no longer the
# same picture, and the network is not indifferent to that on a real scan (0.92 with early weights).
@pytest.mark.parametrize("name", [name for name in COPIES if name != "turned far"])
def test_built_in_model_on_the_bladder(name: str, on_bladder, model) -> None:
    original, corners, mask = on_bladder
    copy = COPIES[name](original)
    assert agreement(original, mask, copy, by_model(copy, corners, model)) >= SAME
