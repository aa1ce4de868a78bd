"""Which slices are shown, which part of them, in how many columns."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.apps.figure_layout import (
    CONTEXT,
    NARROWEST,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    Window,
    arrange,
    choose_slices,
    choose_window,
)
from SegmentAnythingMedLib.prompts.types import SlicePrompts


def test_all_slices_when_they_fit() -> None:
    assert choose_slices([5, 3, 4], [], 10, 30) == [3, 4, 5]
    assert choose_slices([5, -1, 10], [5], 10, 30) == [5]
    assert choose_slices([], [], 10, 30) == [5]
    assert choose_slices([], [], 1, 30) == [0]


def test_important_slices_survive_thinning() -> None:
    shown = choose_slices(range(100), [0, 37, 99, 400], 100, 12)
    assert {0, 37, 99} <= set(shown)
    assert len(shown) == 12
    assert max(np.diff(shown)) <= 25
    assert shown == sorted(shown)
    crowded = choose_slices(range(100), range(50), 100, 10)
    assert len(crowded) == 10
    assert (crowded[0], crowded[-1]) == (0, 49)
    assert len(choose_slices(range(100), [], 100, 1)) == 1


def test_window_is_the_objects_with_context_in_mm() -> None:
    mask = np.zeros((200, 300), dtype=bool)
    mask[80:121, 100:141] = True  # 40 rows of 2 mm, 40 columns of 1 mm between centres
    window = choose_window([mask], [], mask.shape, (2.0, 1.0))
    context = CONTEXT * 80
    assert window.col0 == pytest.approx(100 - context, abs=1)
    assert window.col1 == pytest.approx(140 + context, abs=2)
    assert window.row0 == pytest.approx(80 - context / 2, abs=1)
    assert window.row1 == pytest.approx(120 + context / 2, abs=2)


def test_window_holds_prompts_and_stays_inside() -> None:
    prompts = SlicePrompts(points=np.array([[2.0, 3.0]]), labels=np.array([1]), box=(250.0, 150.0, 290.0, 198.0))
    assert choose_window([], [prompts], (200, 300), (1.0, 1.0)) == Window(0, 0, 200, 300)
    corner = SlicePrompts(points=np.array([[299.0, 0.0]]), labels=np.array([1]))
    window = choose_window([], [corner], (200, 300), (1.0, 1.0))
    assert (window.row0, window.col1) == (0, 300)
    assert window.row1 < 20
    assert window.col0 > 280


def test_window_without_anything_is_the_whole_slice() -> None:
    empty = np.zeros((20, 30), dtype=bool)
    assert choose_window([empty], [SlicePrompts()], (20, 30), (1.0, 1.0)) == Window(0, 0, 20, 30)
    assert Window(2, 3, 20, 30).slices == (slice(2, 20), slice(3, 30))
    assert Window(2, 3, 20, 30).extent == (2.5, 29.5, 19.5, 1.5)


@pytest.mark.parametrize("count", [1, 2, 7, 20, 30])
@pytest.mark.parametrize("aspect", [0.25, 0.8, 1.0, 3.0])
def test_arrangement_fits_the_page_and_holds_all(count: int, aspect: float) -> None:
    grid = arrange(count, aspect, 2)
    assert grid.columns * grid.rows >= count
    assert (grid.rows - 1) * grid.columns < count
    assert grid.height == pytest.approx(grid.width * aspect)
    assert grid.size[0] <= PAGE_WIDTH + 1e-6
    if grid.width > NARROWEST:
        assert grid.size[1] <= PAGE_HEIGHT + 1e-6
