"""The montage as a picture: what is drawn, where, and that nothing is left behind on an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from SegmentAnythingMedLib.apps.figure import patient_sides, save_montage
from SegmentAnythingMedLib.apps.figure_panel import COLOURS, NEGATIVE_COLOUR, PROMPT_COLOUR, REFERENCE_COLOUR
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.records import SliceRecord
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.intensity import IntensityMapping
from SegmentAnythingMedLib.space.planes import SliceStack
from SegmentAnythingMedLib.space.volume import Volume

MAPPING = IntensityMapping(0.0, 100.0, "window", "test")


def stack_of(voxels: np.ndarray, spacing: tuple[float, float, float] = (1.0, 3.0, 5.0), axis: str = "k") -> SliceStack:
    return SliceStack(Volume(voxels, Affine.from_parts(spacing, (0, 0, 0), np.eye(3))), axis)


def square(low: int = 10, high: int = 20) -> np.ndarray:
    """Rows low..high-1, columns 15..44 of a slice of 40 x 60."""
    mask = np.zeros((40, 60), dtype=bool)
    mask[low:high, 15:45] = True
    return mask


def pixels(path: Path, colour: str) -> np.ndarray:
    """(row, column) of the pixels close to a colour."""
    wanted = tuple(int(colour[n : n + 2], 16) for n in (1, 3, 5))
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return np.argwhere(np.abs(picture - wanted).max(axis=2) <= 60)  # lines are antialiased


def sides(found: np.ndarray) -> tuple[int, int]:
    """Height and width of the rectangle around pixels."""
    return tuple(np.ptp(found, axis=0) + 1)


@pytest.fixture
def seed() -> dict:
    record = SliceRecord(2, "forward", iou=0.9, area=300, area_ratio=1.0)
    return {"masks": {"organ": {2: square()}}, "records": {"organ": {2: record}}, "prompts": {}}


def test_outline_is_in_true_proportions(tmp_path: Path, seed: dict) -> None:
    """10 rows of 3 mm and 30 columns of 1 mm are a square in the patient, and in the picture."""
    path = tmp_path / "figure.png"
    save_montage(path, stack_of(np.zeros((5, 40, 60), np.int16)), MAPPING, **seed, title="a title")
    found = pixels(path, COLOURS[0])
    found = found[found[:, 0] < np.asarray(Image.open(path)).shape[0] - 45]  # without the legend
    height, width = sides(found)
    assert height == pytest.approx(width, rel=0.03)
    assert height > 100
    assert list(tmp_path.iterdir()) == [path]


def test_prompt_reference_and_stop_are_drawn(tmp_path: Path, seed: dict) -> None:
    path = tmp_path / "figure.png"
    stack = stack_of(np.zeros((5, 40, 60), np.int16))
    save_montage(path, stack, MAPPING, **seed)
    plain = {colour: len(pixels(path, colour)) for colour in (PROMPT_COLOUR, NEGATIVE_COLOUR, REFERENCE_COLOUR)}
    assert plain[PROMPT_COLOUR] == plain[NEGATIVE_COLOUR] == 0
    seed["records"]["organ"][3] = SliceRecord(3, "stopped:iou", iou=0.2)
    save_montage(path, stack, MAPPING, **seed)
    assert len(pixels(path, NEGATIVE_COLOUR)) > 400  # frame of the stopped slice
    points = SlicePrompts(np.array([[20.0, 12.0], [3.0, 30.0]]), np.array([1, 0]), (9.5, 5.5, 49.5, 26.5))
    given = seed | {"records": {}, "prompts": {"organ": {2: points}}}
    save_montage(path, stack, MAPPING, **given, references={"organ": {2: square(12, 24)}})
    assert len(pixels(path, PROMPT_COLOUR)) > 200
    assert 0 < len(pixels(path, NEGATIVE_COLOUR)) < 400
    assert len(pixels(path, REFERENCE_COLOUR)) > plain[REFERENCE_COLOUR] + 50


def test_image_shows_the_mapped_slice(tmp_path: Path) -> None:
    voxels = np.zeros((5, 40, 60), np.int16)
    voxels[2, :, 30:] = 100
    path = tmp_path / "figure.png"
    save_montage(path, stack_of(voxels), MAPPING, {}, {}, {})  # nothing but the middle slice
    grey = np.asarray(Image.open(path).convert("RGB")).astype(int)
    white = np.argwhere(grey.min(axis=2) == 255)
    black = np.argwhere(grey.max(axis=2) == 0)
    assert len(white) > 10000
    assert white[:, 1].min() > np.median(black[:, 1])
    assert sides(white)[0] / sides(white)[1] == pytest.approx(40 * 3 / 30, rel=0.05)


@pytest.mark.parametrize("axis", ["j", "i"])
def test_other_axes_and_colour(tmp_path: Path, axis: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 100, (12, 40, 60, 3)).astype(np.uint8)
    stack = stack_of(voxels, axis=axis)
    mask = np.zeros(stack.shape, dtype=bool)
    mask[4:8, 10:20] = True
    path = tmp_path / "figure.png"
    save_montage(path, stack, MAPPING, {"a": {5: mask}, "b": {6: mask}}, {}, {"b": {6: SlicePrompts(mask=mask)}})
    assert len(pixels(path, COLOURS[0])) > 50
    assert len(pixels(path, COLOURS[1])) > 50


@pytest.mark.parametrize(
    ("matrix", "axis", "letters"),
    [
        (np.diag([1.0, 1.0, 2.0]), "k", ("R", "A")),  # I to the left, J to the back of the patient, K upward
        (np.diag([-1.0, 1.0, 2.0]), "k", ("L", "A")),
        (np.diag([1.0, 1.0, 2.0]), "j", ("R", "I")),
        (np.array([[0, 0, 2.0], [1.0, 0.1, 0], [0, -1.0, 0]]), "k", ("A", "S")),  # sagittal, a little oblique
    ],
)
def test_sides_of_the_patient(matrix: np.ndarray, axis: str, letters: tuple[str, str]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    stack = SliceStack(Volume(np.zeros((4, 5, 6)), Affine(affine)), axis)
    assert patient_sides(stack) == letters


def test_many_slices_are_thinned_to_a_readable_page(tmp_path: Path) -> None:
    voxels = np.zeros((400, 40, 60), np.int16)
    masks = {"organ": {n: square() for n in range(20, 380)}}
    records = {"organ": {n: SliceRecord(n, "forward", iou=0.9) for n in range(20, 380)}}
    path = tmp_path / "figure.png"
    save_montage(path, stack_of(voxels), MAPPING, masks, records, {}, "long " * 200)
    assert max(Image.open(path).size) < 2000


def test_a_missing_folder_is_refused_and_nothing_is_written(tmp_path: Path, seed: dict) -> None:
    with pytest.raises(InputError) as caught:
        save_montage(tmp_path / "no" / "figure.png", stack_of(np.zeros((5, 40, 60))), MAPPING, **seed)
    assert caught.value.code == "output.folder"
    assert list(tmp_path.iterdir()) == []
