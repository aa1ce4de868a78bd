"""The stage of one structure: both visits on one grid, and the way between its pixels and the follow-up's."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.arena import centre_of, open_arena, rigid_around
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.intensity import estimate_mapping
from stub_model import StubModel
from visit_phantom import SHAPE, ellipsoid, visit

PRIOR = ellipsoid((10, 30, 32), 9.0)
NEAR = VisitSettings(search_mm=4, extent_mm=2)


def arena_on(axis: str = "k", transform: VisitTransform | None = None, warped: np.ndarray = PRIOR):
    prior, today = visit(PRIOR), visit(PRIOR, seed=1)
    mappings = (estimate_mapping(prior, "auto"), estimate_mapping(today, "auto"))
    transform = transform or VisitTransform.identity()
    return open_arena(prior, PRIOR, today, warped, [ellipsoid()], transform, StubModel(), mappings, axis, NEAR)


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_what_is_cut_out_can_be_pasted_back(axis: str) -> None:
    arena = arena_on(axis)
    assert np.array_equal(arena.paste(arena.warped, SHAPE), PRIOR)
    assert np.array_equal(arena.cut(PRIOR), arena.warped)
    assert arena.follow_up.count == arena.prior.count == len(arena.warped)
    assert arena.follow_up.shape == arena.prior.shape == arena.warped.shape[1:]
    assert arena.neighbours.any()


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_a_part_of_the_stage_keeps_its_place(axis: str) -> None:
    arena = arena_on(axis)
    part = np.s_[1:4, 2:9, 3:8]
    near, whole = arena.closer(part), arena.follow_up.volume
    assert np.array_equal(np.moveaxis(near.voxels, "kji".index(axis), 0), arena.cut(visit(PRIOR, seed=1).voxels)[part])
    corner = [3, 2]
    corner.insert(2 - "kji".index(axis), 1)
    expected = whole.affine.ijk_to_lps(np.array([corner], dtype=float))
    assert np.allclose(near.affine.ijk_to_lps(np.zeros((1, 3))), expected)


@pytest.mark.parametrize("axis", ["k", "j", "i"])
def test_prompts_go_there_and_back(axis: str) -> None:
    arena = arena_on(axis)
    inside = arena.warped[len(arena.warped) // 2]
    prompts = SlicePrompts(points=np.array([[3.0, 4.0]]), labels=np.array([1]), box=(1.0, 2.0, 8.0, 9.0), mask=inside)
    whole = arena.whole_prompts(prompts, SHAPE)
    plane = np.moveaxis(PRIOR, "kji".index(axis), 0)[arena.first + len(arena.warped) // 2]
    assert np.array_equal(whole.mask, plane)
    back = arena.cut_prompts(whole)
    assert np.array_equal(back.points, prompts.points)
    assert back.box == prompts.box
    assert np.array_equal(back.mask, inside)


def test_the_prior_lies_where_the_transform_has_it() -> None:
    """The same voxels of both sessions show the same tissue."""
    move = VisitTransform.translation((-6.0, 3.0, 0.0))
    warped = np.roll(PRIOR, (-3, 6), axis=(1, 2))
    arena = arena_on(transform=move, warped=warped)
    assert dice(arena.rigid, arena.warped) > 0.98
    shown = np.stack([arena.prior.stack.image(n) for n in range(arena.prior.count)])
    ring = arena.cut(ellipsoid((10, 27, 38), 14.0) & ~ellipsoid((10, 27, 38), 11.5))
    assert shown[arena.rigid].mean() - shown[ring].mean() > 150


def test_the_rigid_map_keeps_size_and_follows_centre_and_turn() -> None:
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * 1.3, (5, -3, 2)  # grown as well
    warped = ellipsoid((10, 40, 36), 9.0)
    volume = visit(None)
    rigid = rigid_around(VisitTransform.from_matrix(matrix), warped, volume, PRIOR, volume)
    assert np.allclose(rigid.matrix[:3, :3], turn, atol=1e-6)
    there = rigid.map_points([centre_of(warped, volume)])[0]
    assert np.allclose(there, centre_of(PRIOR, volume))
