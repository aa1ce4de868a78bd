"""The prior-visit mode on models of other families: whole slices, other features, weights that know nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from SegmentAnythingMedLib import PriorVisit, adapt
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.models.sam_network import SamShape
from tiny_sam import stock_sam
from visit_phantom import ellipsoid, visit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from bench_phantom import PseudoSam

pytest.importorskip("ot", reason="the extra 'adaptive' is not installed")

SETTINGS = VisitSettings(references=3, key_slices=2)
PRIOR, TODAY = ellipsoid(), ellipsoid((10, 40, 38), 14.0)


def random_sam():
    return SamModel(stock_sam(256), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))


def random_sam2():
    video = pytest.importorskip("video_predictor", reason="the optional package sam2 is not installed")
    return video.our_model(video.official_video())


def adapted(model, today: np.ndarray | None, **options):
    prior = PriorVisit(visit(PRIOR), {"lesion": PRIOR})
    options = {"transform": "none", "settings": SETTINGS, **options}
    return adapt(prior, visit(today, seed=1), model, **options).structures["lesion"]


class Seeing(PseudoSam):
    """SAM's frame, features and networks, random weights; masks are what is bright in the prompt's box."""

    def decode(self, features, prompts, **options):
        if prompts.box is None and prompts.mask is None:
            low, high = prompts.points.min(axis=0) - 8, prompts.points.max(axis=0) + 8
            prompts = replace(prompts, box=(*low.tolist(), *high.tolist()))
        return super().decode(features, prompts, **options)


@pytest.fixture(scope="module")
def seeing():
    return Seeing(SamShape(width=64, depth=2, heads=2, image_size=256, window=5, global_blocks=(1,)))


def test_a_model_of_whole_slices_follows_a_lesion_that_moved_and_grew(seeing) -> None:
    found = adapted(seeing, TODAY)
    assert found.outcome == "found"
    assert dice(found.mask, TODAY) > 0.85
    assert dice(found.mask, TODAY) > dice(found.warped, TODAY) + 0.05


def test_it_reports_a_lesion_that_has_gone(seeing) -> None:
    found = adapted(seeing, None)
    assert found.outcome == "possibly resolved"
    assert not found.mask.any()


@pytest.mark.parametrize("make", [random_sam, random_sam2])
def test_a_model_that_knows_nothing_leaves_the_warped_contour_and_no_green(make) -> None:
    found = adapted(make(), PRIOR)
    assert found.outcome == "registration only"
    assert np.array_equal(found.mask, found.warped)
    assert found.flag.colour != "green"
    assert found.remarks


@pytest.mark.parametrize("method", ["p2sam", "persam", "panet", "label-propagation"])
def test_the_methods_for_comparison_run_on_sam(method: str) -> None:
    found = adapted(random_sam(), TODAY, method=method, protocol="published" if method == "p2sam" else "default")
    assert found.outcome in ("found", "possibly resolved")
    assert found.mask.shape == PRIOR.shape
    present = [decision for decision in found.slices if decision.outcome == "present"]
    assert {decision.source for decision in present} == ({"matched"} if found.mask.any() else set())
    assert {decision.index for decision in present} == set(np.flatnonzero(found.mask.any(axis=(1, 2))))
