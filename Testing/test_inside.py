"""Between seeds: every slice is filled, from both sides, and held to the interpolated shape."""

from __future__ import annotations

import numpy as np
import pytest
from propagation_stub import SHAPE, StubPredictor, box_of, disc, discs, result_of
from SegmentAnythingMedLib.engine.predictor import SliceResult
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.inside import NEIGHBOURHOOD_PX, Opinion, blended
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.shapes import ShapeBlend, centroid, iou, shifted
from SegmentAnythingMedLib.propagation.walk import propagate


def seeds_of(truth: np.ndarray, *slices: int) -> dict[int, SlicePrompts]:
    return {n: SlicePrompts(box=box_of(truth[n])) for n in slices}


def drawn(masks: dict[int, np.ndarray]) -> ObjectSeeds:
    return ObjectSeeds({n: SlicePrompts(mask=m) for n, m in masks.items()}, drawn=frozenset(masks))


class Silent(StubPredictor):
    """A model that never finds anything."""

    def predict(self, index: int, prompts: SlicePrompts, *, propagated: bool = False) -> SliceResult:
        self.calls.append((index, prompts, propagated))
        return result_of(np.zeros(self.shape, dtype=bool))


@pytest.mark.parametrize("gap", [1, 2, 3, 4, 5, 6, 9])
def test_gaps_of_every_length_are_filled_from_both_sides(gap: int) -> None:
    truth = discs([8] * (gap + 1))
    stub = StubPredictor(truth)
    result = propagate(stub, seeds_of(truth, 0, gap))
    assert np.array_equal(result.stack(), truth)
    assert [result.records[n].reason for n in range(1, gap)] == ["blend"] * (gap - 1)
    assert all(stub.visited[n] == 2 for n in range(1, gap))
    assert (result.records[0].reason, result.records[gap].reason) == ("seed", "seed")


@pytest.mark.parametrize("gap", [2, 3, 5, 6])
def test_a_silent_model_leaves_the_interpolated_shape(gap: int) -> None:
    result = propagate(Silent(discs([5] * (gap + 1))), drawn({0: disc(5), gap: disc(11)}))
    areas = [result.masks[n].sum() for n in range(gap + 1)]
    assert areas == sorted(areas)
    for n in range(1, gap):
        assert result.records[n].reason == "interpolated"
        assert result.records[n].rejected == "stopped:absent"
        assert iou(result.masks[n], disc(5 + 6 * n / gap)) > 0.85


def test_no_threshold_leaves_a_hole_between_seeds() -> None:
    truth = discs([8, 8, 8, 8, 8, 8, 8])
    truth[3] = np.roll(truth[3], 20, axis=1)
    strict = PropagationSettings(iou_threshold=1.0, area_ratio=1.0, patience=0)
    result = propagate(StubPredictor(truth), seeds_of(truth, 0, 6), strict)
    assert list(result.masks) == list(range(7))
    assert result.records[3].reason == "interpolated"
    assert iou(result.masks[3], disc(8)) > 0.95


def test_a_walk_that_went_astray_starts_again_from_the_shape() -> None:
    truth = discs([8] * 9)

    class Leaking(StubPredictor):
        def predict(self, index: int, prompts: SlicePrompts, *, propagated: bool = False) -> SliceResult:
            self.calls.append((index, prompts, propagated))
            return result_of(disc(23) if index == 3 else self.truth[index])

    stub = Leaking(truth)
    result = propagate(stub, drawn({0: truth[0], 8: truth[8]}), PropagationSettings(projection="box"))
    assert np.array_equal(result.stack(), truth)
    assert result.records[3].reason == "interpolated"
    assert result.records[3].rejected == "stopped:iou"
    boxes = [prompts.box for index, prompts, _ in stub.calls if index == 4]
    assert all(box[2] - box[0] < 20 for box in boxes), "slice 4 was not prompted with the leak"


def test_drawn_seeds_are_never_altered_or_asked_for() -> None:
    masks = {1: disc(7), 5: disc(6, (22, 25))}
    stub = StubPredictor(discs([9] * 7))
    result = propagate(stub, drawn(masks))
    for n, mask in masks.items():
        assert np.array_equal(result.masks[n], mask)
        assert result.records[n].reason == "drawn"
        assert stub.visited[n] == 0


def test_model_seeds_are_what_the_model_answered_to_the_user() -> None:
    truth = discs([8, 9, 10, 9, 8])
    result = propagate(StubPredictor(truth), seeds_of(truth, 1, 3))
    assert np.array_equal(result.masks[1], truth[1])
    assert np.array_equal(result.masks[3], truth[3])


def test_several_gaps_and_both_outer_runs() -> None:
    truth = discs([8] * 14)
    result = propagate(StubPredictor(truth), seeds_of(truth, 3, 6, 7, 10))
    assert np.array_equal(result.stack(), truth)
    reasons = "".join(result.records[n].reason[0] for n in range(14))
    assert reasons == "bbb" + "s" + "bb" + "ss" + "bb" + "s" + "fff"


def opinion(value: float, mask: np.ndarray) -> Opinion:
    return Opinion.of(SliceResult(mask, np.where(mask, value, -value).astype(np.float32), 0.5), mask)


def test_the_nearer_seed_has_more_weight() -> None:
    small, large = disc(5), disc(10)
    near_small, _ = blended(opinion(4, small), opinion(4, large), 0.25, SHAPE)
    near_large, _ = blended(opinion(4, small), opinion(4, large), 0.75, SHAPE)
    assert np.array_equal(near_small, small)
    assert np.array_equal(near_large, large)


def test_an_overconfident_walk_does_not_outvote_the_other() -> None:
    mask, score = blended(opinion(9, disc(5)), opinion(1000, disc(10)), 0.4, SHAPE)
    assert np.array_equal(mask, disc(5))
    assert score == pytest.approx(0.5)


def test_opinions_are_cropped_and_far_pixels_are_background() -> None:
    here, there = disc(4, (8, 8)), disc(4, (36, 46))
    kept = opinion(4, here)
    assert kept.logits.size < 0.4 * here.size
    assert kept.bounds[1] == np.flatnonzero(here.any(axis=1))[-1] + 1 + NEIGHBOURHOOD_PX
    mask, _ = blended(kept, opinion(4, there), 0.5, SHAPE)
    assert not mask.any(), "each walk denies what only the other one saw"


def test_flipping_the_stack_flips_the_blend() -> None:
    rng = np.random.default_rng(1)
    truth = discs([6 + rng.random() * 5 for _ in range(8)], [(24 + rng.random(), 28 + rng.random()) for _ in range(8)])
    upright = propagate(StubPredictor(truth), seeds_of(truth, 0, 7))
    flipped = propagate(StubPredictor(truth[::-1]), seeds_of(truth[::-1], 0, 7))
    assert np.array_equal(upright.stack(), flipped.stack()[::-1])


# Shapes


def test_a_blend_begins_and_ends_with_its_masks() -> None:
    first, second = disc(5, (20, 20)), disc(9, (24, 30))
    blend = ShapeBlend(first, second, (1.0, 1.0))
    assert np.array_equal(blend.at(0.0), first)
    assert np.array_equal(blend.at(1.0), second)


def test_a_blend_of_masks_that_do_not_overlap_travels_with_the_centroid() -> None:
    blend = ShapeBlend(disc(5, (12, 10)), disc(5, (36, 46)), (1.0, 1.0))
    for weight in (0.25, 0.5, 0.75):
        shape = blend.at(weight)
        assert shape.sum() == pytest.approx(disc(5).sum(), rel=0.1)
        assert centroid(shape) == pytest.approx((12 + 24 * weight, 10 + 36 * weight), abs=0.6)


def test_a_blend_of_rings_that_miss_each_other_is_not_empty() -> None:
    ring = disc(10) & ~disc(8)
    assert ShapeBlend(ring, disc(3), (1.0, 1.0)).at(0.5).any()


def test_distances_are_in_millimetres() -> None:
    tall, wide = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    tall[10:38, 24:32], wide[20:28, 10:46] = True, True
    square = ShapeBlend(tall, wide, (1.0, 1.0)).at(0.5)
    thick = ShapeBlend(tall, wide, (5.0, 1.0)).at(0.5)
    assert np.array_equal(square, ShapeBlend(tall, wide, (3.0, 3.0)).at(0.5))
    assert not np.array_equal(square, thick)


def test_masks_at_the_edge_of_the_slice() -> None:
    corner = np.zeros(SHAPE, bool)
    corner[:6, :6] = True
    blend = ShapeBlend(corner, corner, (1.0, 1.0))
    assert np.array_equal(blend.at(0.5), corner)
    assert np.array_equal(shifted(corner, (-3, 2))[:3, 2:8], np.ones((3, 6), bool))
    assert shifted(corner, (-3, 2)).sum() == 18
    assert shifted(corner, (-60, 0)).sum() == 0


def test_iou_of_empty_masks_is_zero() -> None:
    assert iou(disc(0), disc(0)) == 0.0
    assert iou(disc(5), disc(0)) == 0.0
    assert iou(disc(5), disc(5)) == 1.0
