"""What single voxels say to the outcome of a search (``adaptive/tissue_evidence.py``), and brightness of two visits."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.pictures import Pictures, brightness_by_place, brightness_by_surroundings
from SegmentAnythingMedLib.adaptive.searching import Search
from SegmentAnythingMedLib.adaptive.tissue import learn_tissue
from SegmentAnythingMedLib.adaptive.tissue_evidence import recognised, weighed
from visit_phantom import SPACING, ellipsoid

STEPS = np.array(SPACING[::-1])
LESION = ellipsoid()
EVERYWHERE = tuple(slice(0, n) for n in LESION.shape)
NOTHING = np.zeros_like(LESION)


def picture(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    waves = 0.1 * np.sin(np.indices(mask.shape)[2] / 4.0)  # tissue has a range of grey values of its own
    return (0.3 + waves + 0.4 * mask + np.random.default_rng(seed).normal(0, 0.02, mask.shape)).astype(np.float32)


def pictures(today: np.ndarray, warped: np.ndarray = LESION, slope: float = 1.0, offset: float = 0.0) -> Pictures:
    prior = picture(LESION, 1)
    return Pictures(EVERYWHERE, slope * picture(today, 2) + offset, prior, prior, LESION, warped, STEPS)


@pytest.fixture(scope="module")
def tissue():
    return learn_tissue(picture(LESION, 1), LESION, STEPS)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.6, 0.2), (1.5, -0.1)])
def test_the_structure_is_recognised_in_other_brightness_and_elsewhere(tissue, slope: float, offset: float) -> None:
    moved = ellipsoid((10, 40, 32), 10.0)
    assert recognised(tissue, pictures(moved, slope=slope, offset=offset), moved) > 0.8
    assert recognised(tissue, pictures(NOTHING, slope=slope, offset=offset), LESION) < 0.1


def test_what_was_outlined_where_a_lesion_has_gone_is_doubtful(tissue) -> None:
    found = Search("found", LESION.copy(), doubts=("another",))
    after = weighed(found, tissue, pictures(NOTHING))
    assert after.outcome == "found"
    assert after.segmented.any()
    assert after.doubts[0] == "another"
    assert "voxels" in after.doubts[1]
    assert weighed(found, tissue, pictures(LESION)) is found


def test_a_structure_that_voxels_show_is_not_said_to_be_gone(tissue) -> None:
    missed = Search("possibly resolved", NOTHING.copy())
    after = weighed(missed, tissue, pictures(LESION))
    assert after.outcome == "registration only"
    assert "see W" in after.words[0]
    assert weighed(missed, tissue, pictures(NOTHING)) is missed


def test_voxels_that_tell_nothing_change_nothing() -> None:
    found = Search("found", LESION.copy())
    assert weighed(found, None, pictures(NOTHING)) is found


def test_brightness_is_matched_by_place_and_by_surroundings(tissue) -> None:
    seen = pictures(LESION, slope=0.7, offset=0.1)
    assert brightness_by_place(seen.before.ravel(), seen.today.ravel()) == pytest.approx((0.7, 0.1), abs=0.05)
    gone = pictures(NOTHING, slope=0.7, offset=0.1)
    assert brightness_by_surroundings(gone, NOTHING) == pytest.approx((0.7, 0.1), abs=0.05)
    flat = np.full(50, 0.4, np.float32)
    assert brightness_by_place(flat, flat + 0.1) == pytest.approx((1.0, 0.1))
