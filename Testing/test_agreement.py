"""Figures of two masks, and the flag that they raise."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib.adaptive.agreement import Agreement, measure_agreement, roughness
from SegmentAnythingMedLib.adaptive.flags import FlagThresholds, raise_flag, slice_words
from SegmentAnythingMedLib.adaptive.registration_report import RegistrationReport, StructureFit
from SegmentAnythingMedLib.adaptive.warping import WarpedMask
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

SPACING = (1.0, 1.5, 2.5)


def volume(shape=(24, 48, 64)):
    return Volume(np.zeros(shape, dtype=np.int16), Affine.from_parts(SPACING, (3, 4, 5)))


def ball(centre=(32.0, 36.0, 30.0), radius=15.0, shape=(24, 48, 64)):
    """Centre and radius in mm along I, J, K."""
    k, j, i = np.indices(shape)
    return np.linalg.norm(np.stack([i, j, k], axis=-1) * SPACING - centre, axis=-1) < radius


def agree(segmented, warped, **more):
    return measure_agreement(segmented, warped, volume(), prior_ml=14.0, **more)


def test_equal_masks_agree_in_everything():
    found = agree(ball(), ball(), box_only=ball(), distance_ratio=1.1, predicted_iou=0.9)
    assert (found.nsd, found.dice, found.volume_to_warped, found.box_dice) == (1.0, 1.0, 1.0, 1.0)
    assert found.volume_to_prior == pytest.approx(ball().sum() * np.prod(SPACING) / 14000)
    assert (found.centroid_shift_mm, found.distance_ratio, found.predicted_iou) == (0.0, 1.1, 0.9)
    assert max(found.gaps_mm.values()) == 0.0
    assert list(found.gaps_mm) == np.flatnonzero(ball().any(axis=(1, 2))).tolist()
    assert raise_flag("found", found).colour == "green"


@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0, 6.0])
def test_nsd_is_that_of_the_metrics_of_the_library(shift):
    from SegmentAnythingMedLib.evaluation.metrics import evaluate_masks

    moved = ball(centre=(32.0 + shift, 36.0, 30.0), radius=15.0 + shift / 2)
    reference = evaluate_masks(moved, ball(), SPACING, tolerance_mm=2.0)
    found = agree(moved, ball())
    assert found.nsd == pytest.approx(reference["nsd"], abs=0.08)
    assert found.dice == pytest.approx(reference["dice"])


def test_gaps_tell_the_slices_and_the_distance():
    segmented = ball()
    segmented[14:17] = np.roll(segmented[14:17], 11, axis=2)
    found = agree(segmented, ball())
    far = [index for index, gap in found.gaps_mm.items() if gap > 8]
    assert far == [14, 15, 16]
    assert found.gaps_mm[15] == pytest.approx(11, abs=2.0)
    assert found.gaps_mm[9] < 1
    flag = raise_flag("found", found)
    assert flag.slices == (14, 15, 16)
    assert any("differ by" in reason and "mm at slices 14-16" in reason for reason in flag.reasons)


def test_gaps_follow_the_axis_and_know_slices_that_only_one_mask_has():
    longer = ball() | ball(centre=(45.0, 36.0, 30.0))
    found = agree(longer, ball(), axis="i")
    assert max(found.gaps_mm) == np.flatnonzero(longer.any(axis=(0, 1))).max()
    assert found.gaps_mm[max(found.gaps_mm)] == pytest.approx(13, abs=2.0)
    with pytest.raises(InputError) as caught:
        agree(ball(), ball(), axis="x")
    assert caught.value.code == "option.axis"


def test_empty_masks_have_figures_too():
    nothing = np.zeros_like(ball())
    for segmented, warped in ((nothing, ball()), (ball(), nothing)):
        found = agree(segmented, warped)
        assert (found.nsd, found.dice, found.centroid_shift_mm, dict(found.gaps_mm)) == (0.0, 0.0, None, {})
    assert agree(nothing, ball()).volume_to_warped == 0
    assert agree(ball(), nothing).volume_to_warped is None
    assert agree(nothing, nothing).nsd == 1.0
    with pytest.raises(InputError) as caught:
        agree(ball()[1:], ball()[1:])
    assert caught.value.code == "segment.shape"


def test_roughness_sees_missing_slices_not_a_round_shape():
    areas = ball(shape=(24, 48, 64)).sum(axis=(1, 2))
    holes = areas.copy()
    holes[::2] = 0
    assert roughness(areas) < 0.1
    assert roughness(holes) > 0.9
    assert roughness(np.array([0, 5, 0])) == 0.0


def test_reports_are_json():
    told = json.loads(json.dumps(agree(ball(), ball()).describe(), allow_nan=False))
    assert told["gaps_mm"]["12"] == 0.0


GOOD = Agreement(0.95, 0.93, 1.02, 0.97, 0.8, 0.05, 0.04, 2.0, 1.0, 0.92, 0.93, dict.fromkeys(range(40, 50), 1.0))
FIT = StructureFit(0.8, 1.2, 0.0, 3.0, 5.0, 8.0, 1.0, 2.0)
REPORT = RegistrationReport("deformable", 0.2, 0.3, 0.4, {"gland": FIT})
HERE = WarpedMask(np.ones((1, 1, 1), dtype=bool), 0.0)


@pytest.mark.parametrize(
    ("change", "colour", "words"),
    [
        ({}, "green", "agree"),
        ({"nsd": 0.6}, "amber", "60% of the surfaces"),
        ({"nsd": 0.1}, "red", "10% of the surfaces"),
        ({"dice": 0.3}, "red", "Dice 0.30"),
        ({"volume_to_prior": 0.5}, "amber", "volume halved since the prior visit"),
        ({"volume_to_prior": 2.0}, "amber", "volume doubled"),
        ({"volume_to_prior": 0.1}, "red", "volume -90 %"),
        ({"volume_to_prior": 0.0}, "red", "volume -100 %"),
        ({"volume_to_warped": 1.7}, "amber", "volume +70 % against the warped contour"),
        ({"centroid_shift_mm": 7.0}, "amber", "centre 7 mm"),
        ({"centroid_shift_mm": None}, "green", "agree"),
        ({"distance_ratio": 2.0}, "amber", "2.0 times the usual distance"),
        ({"distance_ratio": None, "predicted_iou": None, "box_dice": None}, "green", "agree"),
        ({"predicted_iou": 0.3}, "red", "IoU 0.30"),
        ({"box_dice": 0.6}, "amber", "box alone"),
        ({"roughness": 0.4}, "amber", "jumps from slice to slice"),
        ({"roughness": 0.4, "roughness_warped": 0.35}, "green", "agree"),
        ({"gaps_mm": {41: 8.6, 42: 9.1, 43: 8.2, 44: 7.9, 47: 8.3}}, "amber",
         "registration and appearance differ by 9 mm at slices 41-43, 47"),
    ],
)  # fmt: skip
def test_every_signal_has_its_colour_and_words(change, colour, words):
    flag = raise_flag("found", replace(GOOD, **change), REPORT, structure="gland", warped=HERE)
    assert flag.colour == colour
    assert words in "; ".join(flag.reasons)


@pytest.mark.parametrize(
    ("report", "warped", "colour", "words"),
    [
        (
            replace(REPORT, ok=False, words=("The deformation was given up: it folds.",)),
            HERE,
            "red",
            "given up: it folds",
        ),
        (replace(REPORT, structures={"gland": replace(FIT, jacobian_min=-0.2)}), HERE, "red", "folds space"),
        (replace(REPORT, structures={"gland": replace(FIT, inverse_mm=4.0)}), HERE, "amber", "ends 4 mm from"),
        (replace(REPORT, structures={"other": replace(FIT, inverse_mm=9.0)}), HERE, "green", "agree"),
        (None, HERE, "green", "agree"),
        (REPORT, replace(HERE, outside_fraction=0.3), "amber", "30% of the structure lie outside"),
        (REPORT, replace(HERE, touches_edge=True), "amber", "touches the edge"),
        (REPORT, replace(HERE, rescued=True), "amber", "smaller than a voxel"),
    ],
)
def test_the_registration_and_the_field_of_view_count(report, warped, colour, words):
    flag = raise_flag("found", GOOD, report, structure="gland", warped=warped)
    assert flag.colour == colour
    assert words in "; ".join(flag.reasons)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("possibly resolved", "possibly resolved; no contour was made"),
        ("not in image", "outside the field of view"),
        ("registration only", "not checked against the look"),
    ],
)
def test_no_outcome_but_found_is_ever_green(outcome, words):
    flag = raise_flag(outcome, GOOD, REPORT, structure="gland", warped=replace(HERE, outside_fraction=0.01))
    assert flag.colour == "amber"
    assert words in flag.reasons[0]


def test_the_worst_comes_first_and_thresholds_can_be_changed():
    both = replace(GOOD, dice=0.6, nsd=0.2)
    flag = raise_flag("found", both, REPORT, structure="gland", remarks=("propagation stopped early",))
    assert flag.colour == "red"
    assert "surfaces" in flag.reasons[0]
    assert "propagation stopped early" in flag.reasons
    lax = FlagThresholds(nsd=(0.1, 0.05), dice=(0.5, 0.2))
    assert raise_flag("found", both, REPORT, structure="gland", thresholds=lax).colour == "green"


def test_slices_are_told_as_ranges():
    assert slice_words([5]) == "slice 5"
    assert slice_words([3, 41, 42, 43, 47, 48]) == "slices 3, 41-43, 47-48"
