"""P2SAM: retrieval, the default's repairs, and the box for look-alikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib import Session, load_model
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings
from SegmentAnythingMedLib.adaptive.persam import PerSAM
from SegmentAnythingMedLib.adaptive.views import square_region, view
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from tiny_sam import stock_sam
from tiny_sam2 import require_sam2
from visit_scene import SHAPE, dice, pair, scene, view_box

ot = pytest.importorskip("ot", reason="the extra 'adaptive' is not installed")


@pytest.fixture(scope="module")
def sam():
    return SamModel(stock_sam(256), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))


@pytest.fixture(scope="module")
def built_in():
    return load_model("built-in", device="cpu")


# ---------------------------------------------------------------------------------------------- retrieval


def test_one_part_without_negative_is_persams_positive_point(sam):
    reference, target, _ = pair(sam, shift=(5, 3))
    one = P2SAM(P2SAMSettings(protocol="published", positives=(1, 1), negatives=(0, 0))).segment([reference], target)
    assert np.array_equal(one.points, PerSAM("published").segment([reference], target).points[:1])


@pytest.mark.parametrize("protocol", ["published", "default"])
def test_more_candidates_never_have_a_larger_least_distance(sam, protocol):
    reference, target, _ = pair(sam, shift=(8, -6))
    base = P2SAMSettings(protocol=protocol, retrieval="full")
    fixed = {
        n: P2SAM(replace(base, positives=(n, n))).segment([reference], target).distance for n in range(1, 5)
    }  # fmt: skip
    retrieved = P2SAM(replace(base, positives=(1, 4))).segment([reference], target)
    assert retrieved.distance == pytest.approx(min(fixed.values()))
    assert retrieved.distance == pytest.approx(fixed[retrieved.n_positive])


def test_ties_keep_the_fewer_parts(sam, monkeypatch):
    from SegmentAnythingMedLib.adaptive import distance

    monkeypatch.setitem(distance.DISTANCES, "wasserstein", lambda a, b: 5.0)
    reference, target, _ = pair(sam)
    result = P2SAM(P2SAMSettings(protocol="published", positives=(1, 3))).segment([reference], target)
    assert (result.n_positive, result.n_negative) == (1, 1)


@pytest.mark.parametrize("distance", ["jensen-shannon", "hungarian"])
def test_ablation_distances_choose_among_the_same_candidates(sam, distance):
    reference, target, _ = pair(sam)
    base = P2SAMSettings(protocol="published", positives=(1, 3))
    other = P2SAM(replace(base, distance=distance)).segment([reference], target)
    assert other.distance == min(row.distance for row in other.candidates)
    published = P2SAM(base).segment([reference], target)
    for one, two in zip(other.candidates, published.candidates, strict=True):
        assert np.array_equal(one.points, two.points)


def test_cheap_retrieval_finishes_the_best_only(built_in):
    reference, target, truth = pair(built_in, shift=(7, 5))
    wide = P2SAMSettings(positives=(1, 5), negatives=(1, 3))
    full = P2SAM(replace(wide, retrieval="full")).segment([reference], target)
    cheap = P2SAM(replace(wide, retrieval="cheap", finalists=2)).segment([reference], target)
    tried = sum(1 for row in full.candidates if len(row.points))
    assert cheap.decodes == tried + 4
    assert sum(row.words == "first decode only" for row in cheap.candidates) == tried - 2
    assert full.decodes == 3 * tried
    assert abs(dice(cheap.mask, truth) - dice(full.mask, truth)) < 0.05


def test_where_decodes_cost_their_full_price_only_promising_candidates_are_decoded(sam):
    """Numbers of object parts first, then all negatives for the best two of them, then two to the end."""
    reference, target, _ = pair(sam, shift=(7, 5))
    settings = P2SAMSettings(positives=(1, 5), negatives=(1, 3))
    result = P2SAM(settings).segment([reference], target)
    tried = [row for row in result.candidates if len(row.points)]
    decoded = [row for row in tried if row.words != "not decoded"]
    assert result.decodes == len(decoded) + 4 <= 5 + 4 + 4
    assert all(np.isnan(row.distance) for row in tried if row.words == "not decoded")
    leaders = {row.n_positive: row for row in reversed(tried)}
    assert all(row.words != "not decoded" for row in leaders.values())
    best = sorted(leaders, key=lambda n: np.nan_to_num(leaders[n].distance, nan=np.inf))
    assert {row.n_positive for row in decoded if row not in leaders.values()} <= set(best)
    assert len({row.n_positive for row in decoded if row not in leaders.values()}) <= 2


# ------------------------------------------------------------------------------------------------ behaviour


def test_a_moved_and_grown_object_is_found(built_in):
    reference, target, truth = pair(built_in, shift=(9, 8), grow=1.3)
    result = P2SAM().segment([reference], target)
    assert dice(result.mask, truth) > 0.85
    assert dice(result.mask, truth) > dice(reference.mask, truth) + 0.1
    assert truth[tuple(result.points[0].astype(int)[::-1])]


def test_the_reference_as_its_own_target(built_in):
    reference, target, _ = pair(built_in)
    own = P2SAM().segment([reference], reference.view)
    box = view_box(reference.mask)
    prompted = reference.view.session.predict(1, SlicePrompts(box=box))
    assert dice(own.mask, reference.mask) >= dice(prompted.mask, reference.mask) - 0.05
    assert own.distance < 0.2 * P2SAM().segment([reference], _far(target)).distance


def _far(target):
    """A view beside the object."""
    session = target.session
    return view(session, 1, square_region(session, (100, 80), 40.0))


def test_any_mask_can_be_judged_on_the_scale_of_the_results(built_in):
    reference, target, truth = pair(built_in, shift=(5, 5))
    method = P2SAM(P2SAMSettings(retrieval="full"))
    result = method.segment([reference], target)
    assert method.distance([reference], target, result.mask) == pytest.approx(result.distance, rel=1e-6)
    assert method.distance([reference], target, truth) < method.distance([reference], target, ~truth)
    assert method.distance([reference], target, truth & False) == np.inf


def test_results_are_in_stored_pixels_however_slices_are_stored(built_in):
    reference, target, _ = pair(built_in, shift=(6, -4))
    plain = P2SAM().segment([reference], target)
    (first, mask), (second, _) = scene(), scene(seed=1, shift=(6, -4))
    turned = []
    for volume in (first, second):
        direction = np.diag([-1.0, 1.0, 1.0])
        voxels = np.ascontiguousarray(volume.voxels[:, :, ::-1])
        affine = Affine.from_parts((1, 1, 3), (float(SHAPE[1] - 1), 0, 0), direction)
        turned.append(Session(Volume(voxels, affine, modality="MR"), built_in, axis="k"))
    regions = [square_region(one, (SHAPE[1] - 1 - 45, 40), 90.0) for one in turned]
    flipped = P2SAM().segment(
        [Reference(view(turned[0], 1, regions[0]), np.ascontiguousarray(mask[1][:, ::-1]))],
        view(turned[1], 1, regions[1]),
    )
    assert np.array_equal(flipped.mask[:, ::-1], plain.mask)
    assert np.array_equal(flipped.points, [(SHAPE[1] - 1 - x, y) for x, y in plain.points])


@pytest.mark.parametrize("protocol", ["default", "published"])
def test_an_empty_reference_gives_an_empty_result(sam, protocol):
    reference, target, _ = pair(sam)
    nothing = Reference(reference.view, np.zeros(SHAPE, dtype=bool))
    result = P2SAM(P2SAMSettings(protocol=protocol)).segment([nothing], target)
    assert result.empty
    assert not result.mask.any()
    assert result.mask.shape == SHAPE
    assert result.distance == np.inf
    assert result.candidates[0].words


def test_fewer_tokens_than_parts(sam):
    reference, target, _ = pair(sam)
    small = np.zeros(SHAPE, dtype=bool)
    small[38:42, 40:44] = True
    tiny = Reference(reference.view, small)
    assert len(P2SAM().pool([tiny]).foreground) < 5
    result = P2SAM(P2SAMSettings(positives=(5, 6))).segment([tiny], target)
    assert result.candidates
    assert max(row.n_positive for row in result.candidates) <= 4
    published = P2SAM(P2SAMSettings(protocol="published", positives=(5, 6))).segment([tiny], target)
    assert published.empty


def test_an_empty_answer_is_kept_when_published_and_reported_by_default(sam, monkeypatch):
    reference, target, _ = pair(sam)

    def nothing(features, prompts, **options):
        answer = SamModel.decode(sam, features, prompts, **options)
        return replace(answer, logits=answer.logits * 0 - 5, low_res_logits=answer.low_res_logits * 0 - 5)

    monkeypatch.setattr(sam, "decode", nothing)
    published = P2SAM(P2SAMSettings(protocol="published")).segment([reference], target)
    assert (published.distance, published.n_positive, published.empty) == (1e6 - 1, 1, True)
    default = P2SAM().segment([reference], target)
    assert default.empty
    assert default.distance == np.inf
    assert {row.words for row in default.candidates} <= {"empty", "first decode only", "not decoded"} | {
        "in the cells of a candidate with fewer parts"
    }


def test_default_points_neither_repeat_nor_contradict_each_other(sam):
    reference, target, _ = pair(sam)
    result = P2SAM(P2SAMSettings(positives=(1, 5), negatives=(1, 3))).segment([reference], target)
    cell = 16 / 2  # pixels: 256 for 128 columns
    for row in result.candidates:
        assert len(np.unique(np.column_stack([row.points, row.labels]), axis=0)) == len(row.points)
        cells = (row.points + 0.5) // cell
        positive, negative = cells[row.labels == 1], cells[row.labels == 0]
        assert not any((positive == one).all(axis=1).any() for one in negative)


def test_negatives_are_capped_for_models_that_cannot_use_many(sam, monkeypatch):
    monkeypatch.setattr(sam, "negatives_cap", 2, raising=False)
    reference, target, _ = pair(sam)
    result = P2SAM(P2SAMSettings(positives=(1, 1), negatives=(1, 6))).segment([reference], target)
    assert {row.n_negative for row in result.candidates} == {1, 2}
    published = P2SAM(P2SAMSettings(protocol="published", positives=(1, 1), negatives=(6, 6)))
    assert np.count_nonzero(published.segment([reference], target).labels == 0) == 6


def test_positives_stay_where_they_may_lie(sam):
    reference, target, _ = pair(sam)
    restrict = np.zeros(SHAPE, dtype=bool)
    restrict[70:90, 100:120] = True
    result = P2SAM().segment([reference], target, restrict=restrict)
    for row in result.candidates:
        assert all(restrict[int(y), int(x)] for x, y in row.points[row.labels == 1])
    nowhere = P2SAM().segment([reference], target, restrict=np.zeros(SHAPE, dtype=bool))
    assert nowhere.empty
    assert nowhere.decodes == 0


def test_other_structures_get_no_positive_and_one_negative(sam):
    reference, target, _ = pair(sam)
    avoid = np.zeros(SHAPE, dtype=bool)
    avoid[:, 64:] = True
    result = P2SAM(P2SAMSettings(negatives=(0, 0))).segment([reference], target, avoid=avoid)
    for row in (row for row in result.candidates if len(row.points)):
        assert not any(avoid[int(y), int(x)] for x, y in row.points[row.labels == 1])
        assert all(avoid[int(y), int(x)] for x, y in row.points[row.labels == 0])
        assert np.count_nonzero(row.labels == 0) <= 1


def test_a_box_tells_look_alikes_apart(built_in):
    """Two equal objects; the reference shows one of them: only the box says which one it is."""
    k, j, i = np.indices((1, *SHAPE))
    left, right = ((j - 48) ** 2 + (i - x) ** 2 < 14**2 for x in (36, 92))
    noise = np.random.default_rng(2).normal(0, 5, k.shape)
    voxels = (60 + 90 * (left | right) + noise).astype(np.int16)
    session = Session(Volume(voxels, Affine.from_parts((1, 1, 3), (0, 0, 0), None)), built_in, axis="k")
    whole = view(session, 0, square_region(session, (64, 48), 128.0))
    for truth, other in ((left[0], right[0]), (right[0], left[0])):
        found = P2SAM().segment([Reference(whole, left[0])], whole, box=view_box(truth))
        assert dice(found.mask, truth) > 0.8
        assert np.count_nonzero(found.mask & other) < 0.1 * np.count_nonzero(other)


def test_sam2_in_image_mode_gets_at_most_three_negatives():
    require_sam2()
    from SegmentAnythingMedLib.models.sam2 import Sam2Model
    from SegmentAnythingMedLib.models.sam2_network import Sam2Shape, build_sam2

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_sam2(Sam2Shape("tiny", "2.1", 128))
    model = Sam2Model(network, ModelInfo("tiny2", "sam2", "t", "ef" * 32, "tiny.pt", "Apache-2.0"))
    reference, target, _ = pair(model)
    result = P2SAM(P2SAMSettings(positives=(1, 2), negatives=(5, 8))).segment([reference], target)
    assert max(np.count_nonzero(row.labels == 0) for row in result.candidates) <= 3
    assert result.mask.shape == SHAPE
    assert result.decodes > 0
    natural = P2SAM(P2SAMSettings(protocol="published", natural=True)).segment([reference], target)
    assert natural.labels.tolist().count(0) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"protocol": "newest"},
        {"retrieval": "lazy"},
        {"distance": "euclid"},
        {"positives": (0, 2)},
        {"negatives": (3, 1)},
        {"finalists": 0},
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(InputError, match="Expected") as caught:
        P2SAMSettings(**wrong)
    assert caught.value.code.startswith("option.")


def test_without_references_there_is_nothing_to_do(sam):
    _, target, _ = pair(sam)
    with pytest.raises(InputError) as caught:
        P2SAM().segment([], target)
    assert caught.value.code == "reference.none"
