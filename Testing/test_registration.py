"""Registration of two visits against known truth; what is said and offered when it fails."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from registration_phantom import body, bump, rotation
from SegmentAnythingMedLib.adaptive.deformable import DeformableSettings, Level
from SegmentAnythingMedLib.adaptive.registration import SimpleITKRegistrar, assess
from SegmentAnythingMedLib.adaptive.registration_judgement import RegistrationLimits, judge, judge_given
from SegmentAnythingMedLib.adaptive.registration_quality import jacobian
from SegmentAnythingMedLib.adaptive.registration_report import RegistrationReport, StructureFit
from SegmentAnythingMedLib.adaptive.rigid import align_rigidly, likeness
from SegmentAnythingMedLib.adaptive.transforms import VisitTransform
from SegmentAnythingMedLib.adaptive.warping import warp_image, warp_mask
from SegmentAnythingMedLib.adaptive.working_images import working_image
from SegmentAnythingMedLib.errors import Cancelled, InputError
from SegmentAnythingMedLib.files.images import load_mask, load_volume
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume

QUICK = DeformableSettings(levels=(Level(4, 2, 6.0, 20), Level(2, 2, 4.0, 20), Level(1, 1, 2.0, 15)), samples=10_000)
ORGAN = np.array([-30.0, -8.0, 0.0])
"""Middle of the phantom's organ, LPS."""


def moved(push=(0.0, 9.0, 0.0), angles=(0.03, -0.02, 0.06), shift=(10.0, -7.0, 4.0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(*angles), shift
    return bump(ORGAN, push, 30.0).then(VisitTransform.from_matrix(matrix))


@pytest.fixture(scope="module")
def visits():
    """Prior, mask, follow-up on an oblique grid of other voxels, known truth."""
    prior, organ = body()
    truth = moved()
    axes = rotation(0.2, 0.1, -0.3)[:, [1, 0, 2]] * (1, -1, 1)
    matrix = np.eye(4)
    matrix[:3, :3] = axes * (2.2, 2.6, 3.5)
    matrix[:3, 3] = ORGAN - matrix[:3, :3] @ (np.array([80, 84, 32]) / 2) + (20, 0, 0)
    grid = Volume(np.zeros((32, 84, 80), dtype=np.int16), Affine(matrix))
    follow_up = warp_image(prior, grid, truth)
    noise = np.random.default_rng(5).normal(0, 20, follow_up.shape)
    return prior, organ, replace(follow_up, voxels=(follow_up.voxels + noise).astype(np.int16)), truth


@pytest.fixture(scope="module")
def registered(visits):
    prior, organ, follow_up, _ = visits
    return SimpleITKRegistrar(settings=QUICK).register(prior, follow_up, structures={"organ": organ})


def error_mm(transform, truth, count=100):
    places = ORGAN + np.random.default_rng(0).uniform(-15, 15, (count, 3))
    return np.linalg.norm(transform.map_points(places) - truth.map_points(places), axis=1)


def test_a_known_deformation_on_an_oblique_grid_is_found(visits, registered):
    prior, organ, follow_up, truth = visits
    transform, report = registered
    assert report.ok, report.words
    assert report.kind == transform.kind == "deformable"
    assert error_mm(transform, truth).mean() < 1.5
    assert error_mm(report.rigid, truth).mean() > 4.0
    found, wanted = (warp_mask(organ, prior, follow_up, t).mask for t in (transform, truth))
    assert 2 * np.count_nonzero(found & wanted) / (found.sum() + wanted.sum()) > 0.93


def test_the_report_tells_how_well_it_fits(registered):
    _, report = registered
    assert report.similarity_before < report.similarity_rigid < report.similarity_after
    fit = report.structures["organ"]
    assert 0 < fit.jacobian_min < 1 < fit.jacobian_max < 3
    assert fit.folded_fraction == report.folded_fraction == 0
    assert 5 < fit.displacement_mm < 12
    assert report.inverse_method == "registered back"
    assert 0 < report.inverse_mm < 3
    assert fit.inverse_mm <= fit.inverse_max_mm
    told = json.loads(json.dumps(report.describe()))
    assert told["structures"]["organ"]["displacement_mm"] == pytest.approx(fit.displacement_mm)


def test_equal_images_give_equal_numbers_whatever_the_threads(visits):
    import torch

    prior, organ, follow_up, _ = visits
    tiny = DeformableSettings(levels=(Level(2, 2, 4.0, 4),), samples=5000)
    digests = set()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        registrar = SimpleITKRegistrar(settings=tiny, check_inverse=False)
        digests.add(registrar.register(prior, follow_up, structures={"organ": organ})[0].digest)
        assert torch.get_num_threads() == threads
    assert len(digests) == 1


def test_the_input_is_not_touched_and_a_cancel_is_heard(visits):
    prior, organ, follow_up, _ = visits
    before = prior.voxels.tobytes(), organ.tobytes(), follow_up.voxels.tobytes()
    progress = Progress()
    progress.cancel()
    with pytest.raises(Cancelled):
        SimpleITKRegistrar(settings=QUICK).register(prior, follow_up, structures={"organ": organ}, progress=progress)
    assert before == (prior.voxels.tobytes(), organ.tobytes(), follow_up.voxels.tobytes())


def test_another_contrast_is_registered_too(visits):
    prior, organ, follow_up, truth = visits
    inverted = replace(follow_up, voxels=np.where(follow_up.voxels > -400, 900 - follow_up.voxels, 0), modality="MR",
                       is_hu=False)  # fmt: skip
    registrar = SimpleITKRegistrar(settings=QUICK, check_inverse=False)
    transform, report = registrar.register(prior, inverted, structures={"organ": organ})
    assert report.inverse_mm is None
    assert error_mm(transform, truth).mean() < 2.5


def test_a_structure_outside_the_follow_up_leaves_the_rigid_alignment(visits):
    prior, organ, _, _ = visits
    low = Volume(prior.voxels[:18], prior.affine, modality="CT", is_hu=True)
    top = np.zeros_like(organ)
    top[36:39] = organ[18:21]
    transform, report = SimpleITKRegistrar(settings=QUICK).register(prior, low, structures={"top": top})
    assert transform.is_linear
    assert report.structures == {}
    assert np.abs(transform.map_points([ORGAN]) - ORGAN).max() < 1.0


def test_a_single_slice_is_shifted_not_tilted():
    prior, organ = body(shape=(21, 96, 96))
    one = Volume(prior.voxels[10:11], prior.affine.shifted((0, 0, 10)), modality="CT", is_hu=True)
    shifted = Volume(np.roll(one.voxels, 3, axis=2), one.affine, modality="CT", is_hu=True)
    transform, report = SimpleITKRegistrar(deformable=False).register(one, shifted, structures={"organ": organ[10:11]})
    assert transform.kind == "translation"
    assert np.abs(transform.map_points([ORGAN]) - ORGAN - (-7.5, 0, 0))[0, :2].max() < 1.0
    assert report.kind == "rigid"


def test_a_far_start_is_found_by_the_bodies_and_one_frame_of_reference_forbids_it():
    prior, _ = body()
    shift = np.array([150.0, -40.0, 60.0])
    far = Volume(prior.voxels, prior.affine.shifted(shift / prior.spacing), modality="CT", is_hu=True)
    visits = working_image(prior, 5.0), working_image(far, 5.0)
    found = align_rigidly(*visits, Progress())
    assert np.abs(found.map_points([ORGAN + shift]) - ORGAN).max() < 1.0
    assert likeness(*visits, found) > 0.6 > 0.2 > likeness(*visits, VisitTransform.identity())
    with pytest.raises(InputError) as caught:
        align_rigidly(*visits, Progress(), same_frame=True)
    assert caught.value.code == "visits.overlap"


def test_images_with_nothing_in_common_stay_where_they_are():
    prior, organ = body(shape=(30, 60, 60), spacing=(4.0, 4.0, 4.0))
    noise = np.random.default_rng(3).normal(0, 30, prior.shape).astype(np.int16)
    other = Volume(
        np.where(prior.voxels > -400, noise, -1000).astype(np.int16), prior.affine, modality="CT", is_hu=True
    )
    transform, report = SimpleITKRegistrar(settings=QUICK).register(prior, other, structures={"organ": organ})
    assert np.linalg.norm(transform.map_points([ORGAN]) - ORGAN) < 6.0
    assert "similarity" in " ".join(report.words)


@pytest.mark.parametrize(
    ("follow_up", "code"),
    [
        (np.full((20, 30, 30), 7, dtype=np.int16), "visits.registration"),
        (np.zeros((20, 30, 30, 3), dtype=np.uint8), "visits.registration"),
    ],
)
def test_images_that_cannot_be_registered_are_refused_with_a_reason(follow_up, code):
    prior, organ = body(shape=(20, 48, 48), spacing=(5.0, 5.0, 6.0))
    with pytest.raises(InputError) as caught:
        SimpleITKRegistrar().register(prior, Volume(follow_up, prior.affine), structures={"organ": organ})
    assert caught.value.code == code


def test_a_heart_is_followed_from_one_phase_to_another(shared_data):
    folder = shared_data / "mr-cardiac-cine-two-phases" / "SC-HF-I-06"
    filled, empty = (load_volume(folder / f"image_{phase}.nrrd") for phase in ("ed", "es"))
    before, after = (
        load_mask(folder / f"lv_{phase}.nrrd", like=volume) > 0 for phase, volume in (("ed", filled), ("es", empty))
    )
    transform, report = SimpleITKRegistrar(check_inverse=False).register(filled, empty, structures={"lv": before})
    found = warp_mask(before, filled, empty, transform).mask
    overlap = [2 * np.count_nonzero(mask & after) / (mask.sum() + after.sum()) for mask in (before, found)]
    assert report.ok
    assert overlap[1] > max(0.87, overlap[0] + 0.03)


FIT = StructureFit(0.8, 1.2, 0.0, 3.0, 5.0, 8.0, 1.0, 2.0)
GOOD = RegistrationReport("deformable", 0.2, 0.3, 0.4, {"organ": FIT}, 0.0, 1.0, 2.0, "registered back")


@pytest.mark.parametrize(
    ("report", "kind", "ok", "words"),
    [
        (GOOD, "deformable", True, ""),
        (replace(GOOD, structures={"organ": replace(FIT, jacobian_min=-0.1)}), "rigid", False, "folds space in organ"),
        (replace(GOOD, similarity_after=0.2), "rigid", False, "less alike"),
        (replace(GOOD, folded_fraction=0.02), "rigid", False, "folds 2.0% of the space"),
        (replace(GOOD, structures={"organ": replace(FIT, inverse_mm=4.2)}), "deformable", True, "ends 4 mm from"),
        (replace(GOOD, structures={"organ": replace(FIT, inverse_mm=8.2)}), "rigid", False, "organ ends 8 mm from"),
        (
            replace(GOOD, structures={"organ": replace(FIT, jacobian_min=0.05)}),
            "rigid",
            False,
            "in organ by 0.83 to 20.0",
        ),
        (replace(GOOD, similarity_rigid=0.08, similarity_after=0.1), "deformable", True, "look different"),
        (replace(GOOD, structures={"organ": replace(FIT, jacobian_min=0.2)}), "deformable", True, "by 0.83 to 5.00"),
        (replace(GOOD, similarity_rigid=0.01, similarity_after=0.01), "deformable", False, "little in common"),
    ],
)
def test_a_deformation_that_diverged_is_not_offered(report, kind, ok, words):
    rigid, bent = VisitTransform.translation((1, 2, 3)), bump((0, 0, 0), (5, 0, 0), 20.0)
    transform, judged = judge(report, rigid, bent, RegistrationLimits())
    assert (judged.kind, judged.ok) == (kind, ok)
    assert transform is (bent if kind == "deformable" else rigid)
    assert words in " ".join(judged.words)
    assert bool(judged.words) == bool(words)


def test_a_rigid_alignment_that_made_it_worse_is_not_offered_either():
    report = replace(GOOD, kind="rigid", similarity_before=0.5, similarity_rigid=0.3, similarity_after=0.3)
    transform, judged = judge(report, VisitTransform.translation((9, 0, 0)), None, RegistrationLimits())
    assert (transform.kind, judged.kind, judged.ok) == ("identity", "identity", False)
    assert "Equal places" in judged.words[0]


def test_a_given_transform_is_measured_and_doubted_in_words(visits):
    prior, organ, follow_up, truth = visits
    good = judge_given(assess(prior, follow_up, truth, {"organ": organ}))
    assert (good.kind, good.ok, good.words) == ("given", True, ())
    assert good.similarity_after > good.similarity_before
    folding = bump(ORGAN, (60.0, 0.0, 0.0), 15.0)
    bad = judge_given(assess(prior, prior, folding, {"organ": organ}))
    assert not bad.ok
    assert "doubtful: it folds" in bad.words[0]


def test_the_jacobian_of_a_scaling_is_its_volume_on_any_grid():
    scaled = bump((0, 0, 0), (0, 0, 0), 20.0).then(VisitTransform.from_matrix(np.diag([1.2, 1.0, 0.5, 1.0])))
    grid = Affine.from_parts((1.0, 2.0, 3.0), (-4, -5, -6), rotation(0.3, 0.2, 0.1)[:, [2, 0, 1]])
    assert np.allclose(jacobian(scaled, grid, (4, 5, 6)), 0.6)
