"""Words of the captions."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from SegmentAnythingMedLib.apps.figure_layout import Window
from SegmentAnythingMedLib.apps.figure_panel import Content, caption, draw_panel, numbers_text, reason_text
from SegmentAnythingMedLib.propagation import records
from SegmentAnythingMedLib.propagation.records import SliceRecord


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("seed", "seed"),
        ("forward", "forward"),
        ("interpolated", "interpolated"),
        ("stopped:iou", "stopped: low IoU"),
        ("stopped:something_new", "stopped: something new"),
    ],
)
def test_reasons_in_words(reason: str, words: str) -> None:
    assert reason_text(SliceRecord(3, reason)) == words


def test_every_stop_reason_has_words_of_its_own() -> None:
    stops = [value for name, value in vars(records).items() if name.startswith("STOPPED_")]
    assert len(stops) >= 7
    assert len({reason_text(SliceRecord(0, stop)) for stop in stops}) == len(stops)
    assert not any("_" in reason_text(SliceRecord(0, stop)) for stop in stops)


def test_numbers() -> None:
    forward = SliceRecord(3, "forward", iou=0.914, area_ratio=1.0249, predicted_iou=0.5)
    assert numbers_text(forward) == "IoU 0.91  area ×1.02"
    assert numbers_text(SliceRecord(3, "seed", predicted_iou=0.876)) == "estimated IoU 0.88"
    assert numbers_text(SliceRecord(3, "stopped:user")) == ""


def test_caption_of_one_object() -> None:
    content = Content({}, {"organ": {4: SliceRecord(4, "stopped:area", iou=0.6, area_ratio=2.5)}}, {})
    assert caption("k", 4, content) == ["k 4  stopped: area jumps", "IoU 0.60  area ×2.50"]
    assert caption("j", 5, content) == ["j 5"]


def test_caption_of_many_objects() -> None:
    content = Content({}, {f"organ {n}": {4: SliceRecord(4, "forward")} for n in range(6)}, {})
    lines = caption("i", 4, content)
    assert lines[:2] == ["i 4", "organ 0: forward"]
    assert lines[-1] == "and 2 more"
    assert len(lines) == 6


def test_colours_follow_the_order_of_names() -> None:
    content = Content({"b": {}}, {"a": {}, "b": {}}, {"c": {}})
    assert content.names == ["b", "a", "c"]
    assert len({content.colour(name) for name in content.names}) == 3


def test_outline_lies_on_pixel_borders_and_closes_at_the_window() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[5:20, 6:11] = True  # reaches the lowest row
    window = Window(2, 3, 20, 30)
    axes = Figure().add_subplot()
    draw_panel(axes, np.zeros((18, 27)), 0, window, Content({"a": {0: mask}}, {}, {}))
    (line,) = axes.collections[0].get_paths()
    low, high = line.vertices.min(axis=0), line.vertices.max(axis=0)
    assert low.tolist() == [5.5, 4.5]
    assert high.tolist() == [10.5, 19.5]
    assert line.vertices[0].tolist() == line.vertices[-1].tolist()
    assert axes.get_ylim() == (19.5, 1.5)
