"""The walk ends where the model is much less sure than it was, or where the pixels do not look like the object."""

from __future__ import annotations

import pytest
from propagation_stub import StubPredictor, box_of, discs
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.evidence import SMALLEST_DROP, Confidence
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.stopping import Terms
from SegmentAnythingMedLib.propagation.walk import propagate

COUNT, SEED, RADIUS = 40, 5, 8.0


def _run(doubtful: dict[int, float], spacing: float = 1.0, **changes):
    predictor = StubPredictor(discs([RADIUS] * COUNT), slice_spacing=spacing)
    predictor.predicted_iou = doubtful
    settings = PropagationSettings(patience=0, **changes)
    return propagate(predictor, {SEED: SlicePrompts(box=box_of(predictor.truth[SEED]))}, settings)


def test_a_sure_model_walks_to_the_edge():
    result = _run({})
    assert (result.lower, result.upper) == (0, COUNT - 1)
    assert result.end_upper == "edge"


@pytest.mark.parametrize(("iou", "upper"), [(0.65, COUNT - 1), (0.55, 9)])
def test_a_fall_below_the_best_so_far_ends_the_walk(iou, upper):
    result = _run(dict.fromkeys(range(10, COUNT), iou), depth_doubt=0.0)
    assert result.upper == upper
    if upper == 9:
        assert result.end_upper == "stopped:confidence"
        assert result.records[10].predicted_iou == pytest.approx(0.55)


def test_the_same_fall_counts_more_far_from_the_seed():
    near = _run({9: 0.7, 10: 0.7})
    assert near.end_upper == "edge"
    far = _run(dict.fromkeys(range(30, COUNT), 0.7))
    assert far.upper == 29
    assert far.end_upper == "stopped:confidence"


def test_depth_is_measured_in_mm():
    assert _run({14: 0.7}, spacing=1.0).end_upper == "edge"
    assert _run({14: 0.7}, spacing=5.0).end_upper == "stopped:confidence"


def test_one_is_off():
    assert _run(dict.fromkeys(range(10, COUNT), 0.01), confidence_drop=1.0).end_upper == "edge"


def test_allowed_drop_never_vanishes():
    settings = PropagationSettings(confidence_drop=0.2, depth_doubt=0.5)
    terms = Terms.of(settings, StubPredictor(discs([RADIUS] * COUNT)))
    confidence = Confidence(terms, discs([RADIUS])[0], 0)
    confidence.accept(0.8)
    confidence.accept(0.7)
    assert confidence.least(1) == pytest.approx(0.6)
    assert confidence.least(39) == pytest.approx(0.8 - SMALLEST_DROP)


class Seeing(StubPredictor):
    """Knows the pixels: the object is 1, what surrounds it 0, and the slices say what is under the mask."""

    def __init__(self, truth, under: dict[int, float], visible: bool = True) -> None:
        super().__init__(truth)
        self.under, self.visible = under, visible

    def contrast(self, mask, index):
        return (1.0, 0.0) if self.visible else None

    def mean_under(self, mask, index):
        return self.under.get(index, 1.0)


@pytest.mark.parametrize(
    ("under", "visible", "changes", "end"),
    [
        (0.5, True, {}, "edge"),
        (0.2, True, {}, "stopped:appearance"),
        (0.2, True, {"appearance": 0.1}, "edge"),
        (0.2, True, {"appearance": 0.0}, "edge"),
        (0.2, False, {}, "edge"),
    ],
)
def test_a_mask_on_other_looking_pixels_ends_the_walk(under, visible, changes, end):
    predictor = Seeing(discs([RADIUS] * COUNT), dict.fromkeys(range(12, COUNT), under), visible)
    seeds = {SEED: SlicePrompts(box=box_of(predictor.truth[SEED]))}
    result = propagate(predictor, seeds, PropagationSettings(patience=0, **changes))
    assert result.end_upper == end
    assert result.upper == (11 if end.startswith("stopped") else COUNT - 1)
    if end.startswith("stopped"):
        assert result.records[12].appearance == pytest.approx(under)
