"""The prior-visit mode from end to end on a small patient, with the built-in model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from SegmentAnythingMedLib import load_model
from SegmentAnythingMedLib.adaptive.preflight import VisitFacts
from SegmentAnythingMedLib.adaptive.registration import RegistrationReport
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.visit_results import EDITED, Adaptation
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.adaptive.visits import PriorVisit, adapt
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.evaluation.metrics import dice
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from visit_phantom import SHAPE, ellipsoid, visit

PRIOR = ellipsoid()
SETTINGS = VisitSettings(references=3, key_slices=2, baseline=False)


@pytest.fixture(scope="module")
def model():
    return load_model("built-in")


def adapted(model, follow_up: Volume, masks=None, **options) -> Adaptation:
    options = {"transform": "none", "settings": SETTINGS, **options}
    return adapt(PriorVisit(visit(PRIOR), masks or {"lesion": PRIOR}), follow_up, model, **options)


@pytest.fixture(scope="module")
def grown(model) -> tuple[np.ndarray, Adaptation]:
    truth = ellipsoid((10, 40, 40), 15.0)
    return truth, adapted(model, visit(truth, seed=1))


def test_a_lesion_that_moved_and_grew_is_followed(grown) -> None:
    truth, result = grown
    found = result.structures["lesion"]
    assert found.outcome == "found"
    assert dice(found.segmented, truth) > 0.85
    assert dice(found.segmented, truth) > dice(found.warped, truth) + 0.1
    assert np.array_equal(found.mask, found.segmented)
    assert found.changes.volume_percent == pytest.approx(95, abs=30)
    assert found.agreement is not None
    assert found.flag.colour in ("amber", "red")


def test_agreement_is_that_of_the_model_alone_however_much_the_warped_contour_counts(model) -> None:
    follow_up = visit(ellipsoid((10, 36, 40)), seed=1)
    alone, joined = (
        adapted(model, follow_up, settings=replace(SETTINGS, trust=trust)).structures["lesion"] for trust in (0.0, 5.0)
    )
    assert not np.array_equal(alone.segmented, joined.segmented)
    assert joined.agreement.dice == alone.agreement.dice
    assert joined.agreement.gaps_mm == alone.agreement.gaps_mm
    assert joined.agreement.volume_to_prior != alone.agreement.volume_to_prior  # of what is offered


def test_every_slice_of_the_draft_has_a_decision_and_a_reason(grown) -> None:
    _, result = grown
    found = result.structures["lesion"]
    decided = {d.index: d for d in found.slices}
    for index in range(SHAPE[0]):
        area = np.count_nonzero(found.segmented[index])
        if area:
            assert decided[index].outcome == "present"
            assert decided[index].area_mm2 == pytest.approx(area)
            assert decided[index].source
        elif index in decided:
            assert decided[index].outcome == "absent"
    assert all(d.words for d in found.slices)
    assert set(found.prompts) <= set(decided)


def test_prompts_are_those_of_the_whole_slice(grown) -> None:
    truth, result = grown
    prompts = result.structures["lesion"].prompts[10]
    assert prompts.mask.shape == SHAPE[1:]
    assert dice(prompts.mask, truth[10]) > 0.7
    assert not prompts.references
    rows, cols = np.nonzero(prompts.mask)
    assert prompts.box[0] <= cols.min()
    assert prompts.box[3] >= rows.max()


def test_nothing_is_invented_where_the_lesion_is_gone(model) -> None:
    found = adapted(model, visit(None, seed=1)).structures["lesion"]
    assert found.outcome == "possibly resolved"
    assert not found.mask.any()
    assert not found.segmented.any()
    assert found.warped.any()
    assert found.heat_map is not None
    assert found.heat_map.shape == SHAPE
    assert found.flag.colour != "green"
    assert found.changes.volume_percent == -100


def test_a_lesion_outside_the_image_is_said_to_be_so(model) -> None:
    away = Volume(visit(PRIOR).voxels, Affine(np.diag([1, 1, 2.5, 1.0])).shifted((500, 0, 0)), modality="MR")
    found = adapted(model, away, allow=("visits.overlap",)).structures["lesion"]
    assert found.outcome == "not in image"
    assert not found.mask.any()


def test_registration_alone_offers_the_warped_mask(model) -> None:
    move = VisitTransform.translation((-4.0, 0.0, 0.0))
    found = adapted(model, visit(ellipsoid((10, 36, 40))), transform=move, method="registration").structures["lesion"]
    assert found.outcome == "registration only"
    assert dice(found.mask, ellipsoid((10, 36, 40))) > 0.98


def test_a_lesion_far_from_where_it_was_is_recognised(model) -> None:
    truth = ellipsoid((10, 36, 52), 12.0)  # 16 mm on, more than its radius
    found = adapted(model, visit(truth, seed=2)).structures["lesion"]
    assert found.outcome == "found"
    assert dice(found.segmented, truth) > 0.8


def test_structures_do_not_share_voxels(model) -> None:
    other = ellipsoid((10, 36, 36), 12.0)
    left, right = other.copy(), other.copy()
    left[:, :, 36:], right[:, :, :36] = False, False
    result = adapted(model, visit(other, seed=1), {"left": left, "right": right})
    first, second = (result.structures[name].segmented for name in ("left", "right"))
    assert not (first & second).any()
    assert list(result.structures) == ["left", "right"]


def test_prompts_of_a_person_overrule(model) -> None:
    truth = ellipsoid((10, 40, 40), 15.0)
    box = SlicePrompts(box=(30.0, 30.0, 50.0, 50.0))
    result = adapted(model, visit(truth, seed=1), prompts={"lesion": {10: box}})
    decision = next(d for d in result.structures["lesion"].slices if d.index == 10)
    assert decision.source == EDITED
    assert decision.prompts.box == box.box


def test_orientation_and_slice_thickness_of_the_prior_do_not_matter(model) -> None:
    """The prior's voxels in another order and direction are the same prior."""
    prior = visit(PRIOR)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    # voxel (i, j, k) of the turned volume is voxel (k, 71 - i, j) of the first
    turn[0, 2], turn[1, 0], turn[1, 3], turn[2, 1] = 1, -1, 71, 1
    voxels = np.ascontiguousarray(prior.voxels.transpose(2, 0, 1)[:, :, ::-1])
    turned = Volume(voxels, Affine(prior.affine.matrix @ turn), modality="MR")
    mask = np.ascontiguousarray(PRIOR.transpose(2, 0, 1)[:, :, ::-1])
    truth = ellipsoid((10, 39, 38), 13.0)
    results = [
        adapt(PriorVisit(volume, {"lesion": m}), visit(truth, seed=1), model, transform="none", settings=SETTINGS)
        for volume, m in ((prior, PRIOR), (turned, mask))
    ]
    first, second = (r.structures["lesion"].segmented for r in results)
    assert dice(first, second) > 0.97
    assert dice(second, truth) > 0.85


def test_twice_the_same(model, grown) -> None:
    truth, result = grown
    again = adapted(model, visit(truth, seed=1))
    assert np.array_equal(again.structures["lesion"].segmented, result.structures["lesion"].segmented)


def test_a_cancel_keeps_what_is_finished(model) -> None:
    progress = Progress(lambda p: p.cancel() if p.label.startswith("Looking") and p.done == 1 else None)
    result = adapted(model, visit(PRIOR), {"one": PRIOR, "two": PRIOR}, progress=progress)
    assert list(result.structures) == ["one"]
    assert not result.completed
    assert any("Cancelled" in remark for remark in result.remarks)


def test_inputs_are_left_alone(model) -> None:
    prior, today, mask = visit(PRIOR), visit(ellipsoid((10, 38, 38)), seed=1), PRIOR.copy()
    before = prior.voxels.copy(), today.voxels.copy()
    adapt(PriorVisit(prior, {"lesion": mask}), today, model, transform="none", settings=SETTINGS)
    assert np.array_equal(prior.voxels, before[0])
    assert np.array_equal(today.voxels, before[1])
    assert np.array_equal(mask, PRIOR)


class Astray:
    """A registrar that throws everything out of the image."""

    def register(self, prior, follow_up, *, structures, progress=None):
        return VisitTransform.translation((400.0, 0.0, 0.0), "registration"), RegistrationReport(kind="rigid")


def test_a_registration_gone_astray_does_not_lose_the_structure(model) -> None:
    truth = ellipsoid((10, 38, 38), 13.0)
    found = adapted(model, visit(truth, seed=1), transform="auto", registrar=Astray()).structures["lesion"]
    assert found.outcome == "found"
    assert dice(found.segmented, truth) > 0.85
    assert found.flag.colour != "green"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"structures": ["liver"]}, "visits.structures"),
        ({"prompts": {"liver": {}}}, "visits.structures"),
        ({"method": "magic"}, "option.method"),
        ({"protocol": "magic"}, "option.protocol"),
        ({"transform": "magic"}, "option.transform"),
    ],
)
def test_wrong_options_are_refused_in_words(model, options, code) -> None:
    with pytest.raises(InputError) as caught:
        adapted(model, visit(PRIOR), **options)
    assert caught.value.code == code


def test_another_patient_is_refused_unless_allowed(model) -> None:
    facts = VisitFacts(patient="a"), VisitFacts(patient="b")
    prior = replace(PriorVisit(visit(PRIOR), {"lesion": PRIOR}), facts=facts[0])
    options = {"facts": facts[1], "transform": "none", "method": "registration"}
    with pytest.raises(InputError) as caught:
        adapt(prior, visit(PRIOR), model, **options)
    assert caught.value.code == "visits.patient"
    result = adapt(prior, visit(PRIOR), model, allow=("visits.patient",), **options)
    assert any(finding.overridden for finding in result.findings)


@pytest.mark.parametrize(("masks", "code"), [
    ({}, "visits.structures"),
    ({"lesion": np.zeros(SHAPE, bool)}, "segment.empty"),
    ({"lesion": np.ones((2, 2, 2), bool)}, "segment.shape"),
])  # fmt: skip
def test_masks_of_the_prior_are_checked(masks, code) -> None:
    with pytest.raises(InputError) as caught:
        PriorVisit(visit(PRIOR), masks)
    assert caught.value.code == code


@pytest.mark.parametrize("method", ["persam", "panet", "copy"])
def test_baselines_run_slice_by_slice(model, method) -> None:
    found = adapted(model, visit(PRIOR, seed=1), method=method).structures["lesion"]
    assert found.outcome == "found"
    if method == "copy":
        assert dice(found.mask, PRIOR) > 0.95


def test_a_part_that_slid_aside_is_found_from_a_second_anchor(model) -> None:
    def cylinder(first: int, end: int, column: int) -> np.ndarray:
        rows, cols = np.indices(SHAPE[1:])
        mask = np.zeros(SHAPE, dtype=bool)
        mask[first:end] = (rows - 36) ** 2 + (cols - column) ** 2 <= 64
        return mask

    before, truth = cylinder(3, 17, 30), cylinder(3, 12, 30) | cylinder(12, 17, 44)
    result = adapt(
        PriorVisit(visit(before), {"lesion": before}), visit(truth, seed=1), model, transform="none",
        settings=VisitSettings(baseline=False),
    )  # fmt: skip
    found = result.structures["lesion"]
    assert dice(found.segmented[12:], truth[12:]) > 0.85
    assert any("second anchor" in reason for reason in found.flag.reasons)
    assert found.flag.colour != "green"
