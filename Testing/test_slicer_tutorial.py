"""docs/tutorial-slicer.md, followed step by step on the bench."""

from __future__ import annotations

import re

import numpy as np
import pytest
from panel_driver import dice
from tutorial_steps import BLADDER, SEED, Tutorial


@pytest.fixture
def reference(sample) -> np.ndarray:
    """The bladder, bool [K, J, I]."""
    from SegmentAnythingMedLib import load_volume

    return load_volume(sample / "labels.nii.gz").voxels == BLADDER


@pytest.fixture
def tutorial(slicer_gui, slice_view):
    """A run of the tutorial, closed at the end."""
    run = Tutorial(slicer_gui, slice_view(size=(480, 480)))
    yield run
    run.close()


def test_every_step_of_the_tutorial(tutorial, reference, tmp_path) -> None:
    tutorial.load_sample()
    tutorial.open_module()
    at = tutorial.at
    assert at.ui.volumeSelector.currentNode() is tutorial.volume
    tutorial.draw_box()
    tutorial.name_segment()
    boxed = at.mask()
    assert dice(boxed[SEED], reference[SEED]) > 0.85
    assert "not reviewed" in at.ui.draftLabel.text
    tutorial.correct(reference)
    assert (at.mask() != boxed).any()
    assert dice(at.mask()[SEED], reference[SEED]) > 0.85
    tutorial.propagate()
    assert dice(at.mask(), reference) > 0.6
    assert len(at.table()) > 10
    shown = tutorial.next_doubtful()
    assert at.table()[shown][-1] in ("look", "doubtful")
    again = tutorial.reprompt(reference)
    assert at.table()[again][0] == "From your prompts"
    assert dice(at.mask(), reference) > 0.65
    tutorial.accept()
    assert "Accepted" in at.ui.draftLabel.text
    mask, table = at.mask(), at.table()
    tutorial.save_and_reload(tmp_path / "tutorial.mrb")
    np.testing.assert_array_equal(at.mask(), mask)
    assert at.table() == table
    assert "Accepted" in at.ui.draftLabel.text


def test_the_page_has_every_step_and_its_pictures_exist(repository) -> None:
    page = (repository / "docs" / "tutorial-slicer.md").read_text(encoding="utf-8")
    numbers = [int(n) for n in re.findall(r"^## Step (\d+)", page, re.MULTILINE)]
    assert numbers == list(range(1, 10))
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert len(pictures) >= 5
    for picture in pictures:
        file = (repository / "docs" / picture).resolve()
        assert file.is_file(), picture
        assert file.stat().st_size < 250_000, picture
    keys = re.findall(r"\*\*([A-Z])\*\*", page)
    actions = repository / "SegmentAnythingMed" / "SegmentAnythingMedLib" / "apps" / "slicer" / "panel_actions.py"
    from_panel = set(re.findall(r'\("([A-Z])", _\(', actions.read_text(encoding="utf-8")))
    assert len(from_panel) == 10
    assert set(keys) <= from_panel
