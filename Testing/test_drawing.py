"""Drawing by dragging in real slice views, and what becomes of it: boxes and scribbles in exact voxels."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.errors import PromptError
from SegmentAnythingMedLib.prompts.volume_prompts import BoxPrompt, ScribblePrompt
from slicer_fixtures import VOLUME_KINDS


def drag(view, points) -> None:
    """Press at the first pixel, move over the others, release at the last."""
    view.mouse("move", *points[0])
    view.mouse("press", *points[0])
    for x, y in points[1:]:
        view.mouse("move", x, y)
    view.mouse("release", *points[-1])


def show_plane(view, phantom, axis: str = "k") -> None:
    """Turn a view to the slices along an axis, at the middle of the phantom."""
    columns = {"k": (0, 1, 2), "j": (0, 2, 1), "i": (1, 2, 0)}[axis]
    steps = phantom.ijk_to_world[:3, :3]
    across, down, normal = (steps[:, n] / np.linalg.norm(steps[:, n]) for n in columns)
    if np.dot(np.cross(across, -down), normal) < 0:
        normal = -normal
    centre = phantom.world(phantom.centre)
    view.node.SetSliceToRASByNTP(*normal, *across, *centre, 0)
    view.show(phantom.node)
    view.look_at(centre)
    view.window.Render()


@pytest.fixture
def drawings(slicer_host, slice_view):
    """(view, drawn, slipped, start): ``start(shape)`` lets one draw."""
    from SegmentAnythingMedLib.apps.slicer.drawing import SliceDrawing

    view, drawn, slipped, running = slice_view(), [], [], []

    def start(shape: str):
        drawing = SliceDrawing(shape, lambda node, points: drawn.append(points), lambda: slipped.append(1))
        running.append(drawing)
        return drawing

    yield view, drawn, slipped, start
    for drawing in running:
        drawing.stop()


def test_a_rectangle_is_where_it_was_drawn(drawings, make_volume) -> None:
    view, drawn, slipped, start = drawings
    phantom = make_volume()
    view.show(phantom.node).look_at(phantom.world(phantom.centre))
    start("rectangle")
    drag(view, [(60, 70), (90, 100), (130, 150)])
    expected = [view.view_to_ras(x, y) for x, y in ((60, 70), (130, 70), (130, 150), (60, 150))]
    np.testing.assert_allclose(drawn[0], expected, atol=1e-9)
    assert not slipped
    drag(view, [(60, 70), (61, 71)])
    assert (len(drawn), slipped) == (1, [1])


def test_the_line_is_seen_while_it_is_drawn_and_gone_afterwards(drawings, make_volume) -> None:
    view, drawn, _slipped, start = drawings
    view.show(make_volume().node)
    drawing = start("line")
    blank = view.array()
    view.mouse("press", 60, 60)
    for x in range(70, 200, 10):
        view.mouse("move", x, 60)
    yellow = view.array().astype(int)
    assert ((yellow[..., 0] > 200) & (yellow[..., 2] < 90)).sum() > 100
    view.mouse("release", 200, 60)
    assert len(drawn[0]) > 10
    np.testing.assert_array_equal(view.array(), blank)
    drawing.stop()
    drag(view, [(60, 70), (90, 100)])
    assert len(drawn) == 1


def test_the_left_button_is_taken_and_given_back(drawings, make_volume) -> None:
    view, _drawn, _slipped, start = drawings
    view.show(make_volume().node)
    heard: list[str] = []
    for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent", "RightButtonPressEvent"):
        view.interactor.AddObserver(event, lambda _caller, name: heard.append(name), 5.0)
    drawing = start("line")
    drag(view, [(60, 70), (150, 180)])
    view.mouse("right_press", 60, 60)
    assert heard == ["RightButtonPressEvent"]
    drawing.stop()
    drag(view, [(60, 70), (150, 180)])
    assert heard[1:] == ["LeftButtonPressEvent", "LeftButtonReleaseEvent"]


def test_one_can_draw_in_views_that_come_later(slicer_host, drawings, make_volume, slice_view) -> None:
    _view, drawn, _slipped, start = drawings
    drawing = start("line")
    later = slice_view("Green", "Coronal").show(make_volume().node)
    slicer_host.views.setLayout(3)
    drag(later, [(60, 70), (150, 180)])
    assert len(drawn) == 1
    drawing.stop()
    slicer_host.views.setLayout(2)
    drag(later, [(60, 70), (150, 180)])
    assert len(drawn) == 1


@pytest.mark.parametrize("kind", VOLUME_KINDS)
@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_a_box_comes_back_in_voxels(drawings, make_volume, make_segmentation, kind: str, axis: str) -> None:
    from SegmentAnythingMedLib.apps.slicer.drawn_prompts import add_drawing
    from SegmentAnythingMedLib.apps.slicer.geometry import map_points, world_to_ijk
    from SegmentAnythingMedLib.apps.slicer.markups import collect

    view, drawn, _slipped, start = drawings
    phantom = make_volume(kind)
    node, segment_id = make_segmentation(phantom.node)
    show_plane(view, phantom, axis)
    start("rectangle")
    drag(view, [(60, 70), (90, 100), (150, 160)])
    add_drawing(node, segment_id, phantom.node, "box", view.node, drawn[0], axis)
    collected = collect(node, segment_id, phantom.node, axis)
    assert collected.notes == ()
    (box,) = collected.prompts
    assert isinstance(box, BoxPrompt)
    corners = map_points(world_to_ijk(phantom.node), drawn[0])
    low, high = np.minimum(box.corner0, box.corner1), np.maximum(box.corner0, box.corner1)
    column = "ijk".index(axis)
    assert low[column] == high[column] == phantom.centre[column]
    for n in {0, 1, 2} - {column}:
        assert low[n] - 0.5 == pytest.approx(corners[:, n].min(), abs=1e-3)
        assert high[n] + 0.5 == pytest.approx(corners[:, n].max(), abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "axis", "words"), [("oblique", "k", "Rotate to volume plane"), ("straight", "j", "slices along K")]
)
def test_a_box_in_another_view_is_refused_and_nothing_is_made(
    drawings, make_volume, make_segmentation, kind: str, axis: str, words: str
) -> None:
    import slicer
    from SegmentAnythingMedLib.apps.slicer.drawn_prompts import add_drawing

    view, drawn, _slipped, start = drawings
    phantom = make_volume(kind)
    node, segment_id = make_segmentation(phantom.node)
    view.show(phantom.node).look_at(phantom.world(phantom.centre))
    start("rectangle")
    drag(view, [(60, 70), (150, 160)])
    before = slicer.mrmlScene.GetNumberOfNodes()
    with pytest.raises(PromptError, match=words):
        add_drawing(node, segment_id, phantom.node, "box", view.node, drawn[0], axis)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.parametrize(("role", "label"), [("scribble", 1), ("scribble_negative", 0)])
def test_a_scribble_in_an_oblique_view_is_mapped_exactly(
    drawings, make_volume, make_segmentation, role: str, label: int
) -> None:
    from SegmentAnythingMedLib.apps.slicer.drawn_prompts import add_drawing
    from SegmentAnythingMedLib.apps.slicer.geometry import map_points, world_to_ijk
    from SegmentAnythingMedLib.apps.slicer.markups import collect

    view, drawn, _slipped, start = drawings
    phantom = make_volume("oblique_transformed")
    node, segment_id = make_segmentation(phantom.node)
    view.show(phantom.node).look_at(phantom.world(phantom.centre))
    start("line")
    drag(view, [(110 + n, 120 + n // 3) for n in range(0, 40, 2)])
    add_drawing(node, segment_id, phantom.node, role, view.node, drawn[0], "k")
    (scribble,) = collect(node, segment_id, phantom.node, "k").prompts
    assert isinstance(scribble, ScribblePrompt)
    assert scribble.label == label
    stroke = map_points(world_to_ijk(phantom.node), drawn[0])
    found = np.asarray(scribble.polyline)
    distances = np.linalg.norm(found[:, None] - stroke[None], axis=2).min(axis=1)
    assert distances.max() < 1.0
    assert np.linalg.norm(found[0] - stroke[0]) < 1e-5
    assert np.linalg.norm(found[-1] - stroke[-1]) < 1e-5


def test_a_long_stroke_is_thinned_evenly() -> None:
    pytest.importorskip("slicer")
    from SegmentAnythingMedLib.apps.slicer.drawn_prompts import SCRIBBLE_POINTS, thinned

    stroke = np.column_stack([np.linspace(0, 10, 400) ** 2, np.zeros(400), np.zeros(400)])
    few = thinned(np.repeat(stroke, 2, axis=0), SCRIBBLE_POINTS)
    assert len(few) == SCRIBBLE_POINTS
    np.testing.assert_array_equal(few[[0, -1]], stroke[[0, -1]])
    assert np.ptp(np.diff(few[:, 0])) < 1.5
    np.testing.assert_array_equal(thinned(stroke[:5], SCRIBBLE_POINTS), stroke[:5])
