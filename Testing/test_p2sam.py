"""P2SAM: the published protocol step for step, the default's repairs, retrieval, and the box for look-alikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from SegmentAnythingMedLib import Session, load_model
from SegmentAnythingMedLib.adaptive.one_shot import Reference
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings
from SegmentAnythingMedLib.adaptive.persam import PerSAM
from SegmentAnythingMedLib.adaptive.tokens import foreground_cells
from SegmentAnythingMedLib.adaptive.views import square_region, view
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from tiny_sam import stock_sam
from tiny_sam2 import require_sam2

ot = pytest.importorskip("ot", reason="the extra 'adaptive' is not installed")
SHAPE = (96, 128)


def scene(shift=(0, 0), seed=0, grow=1.0):
    """Slices [3, 96, 128] with an object of two textures and a distractor; and the object's mask."""
    rng = np.random.default_rng(seed)
    k, j, i = np.indices((3, *SHAPE))
    object_ = ((j - 40 - shift[0]) / 18) ** 2 + ((i - 45 - shift[1]) / 15) ** 2 < grow
    other = (j - 60) ** 2 + (i - 100) ** 2 < 12**2
    voxels = 60 + rng.normal(0, 6, k.shape) + 90 * object_ + 40 * (object_ & (i > 45 + shift[1])) + 60 * other
    return Volume(voxels.astype(np.int16), Affine.from_parts((1, 1, 3), (0, 0, 0), None), modality="MR"), object_


@pytest.fixture(scope="module")
def sam():
    return SamModel(stock_sam(256), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))


@pytest.fixture(scope="module")
def built_in():
    return load_model("built-in", device="cpu")


def pair(model, side=90.0, **moved):
    """A reference and a target of another visit."""
    (first, mask), (second, truth) = scene(), scene(seed=1, **moved)
    before, after = Session(first, model, axis="k"), Session(second, model, axis="k")
    region = [square_region(one, (45, 40), side) if model.uses_regions else None for one in (before, after)]
    return Reference(view(before, 1, region[0]), mask[1]), view(after, 1, region[1]), truth[1]


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


# ------------------------------------------------------------------------------------- the published protocol


class LiteralP2SAM:
    """The medical path written down once more from its description, for SAM, with nothing of the library's in it."""

    def __init__(self, model):
        self.model, self.decodes = model, []

    def tokens(self, features):
        return np.asarray(features.tensors["image_embedding"], dtype=np.float32).transpose(1, 2, 0)

    def parts(self, tokens, count):
        from sklearn.cluster import KMeans

        if count == 1:
            parts = [tokens]
        else:
            labels = KMeans(count, n_init=10, random_state=0, algorithm="elkan").fit(tokens).labels_
            parts = [tokens[labels == n] for n in range(count)]
        means = [part.mean(axis=0) for part in parts]
        return [mean / np.linalg.norm(mean) for mean in means]

    def peak(self, prototype, tokens, frame, shape):
        cosine = (tokens / np.linalg.norm(tokens, axis=2, keepdims=True)) @ prototype
        steps = torch.from_numpy(cosine)[None, None]
        for size in ((4 * len(cosine),) * 2, (frame.size,) * 2):
            steps = F.interpolate(steps, size=size, mode="bilinear", align_corners=False)
        steps = steps[..., : frame.content[0], : frame.content[1]]
        values = F.interpolate(steps, size=shape, mode="bilinear", align_corners=False)[0, 0].numpy()
        row, col = np.unravel_index(np.argmax(values), shape)
        return col, row

    def decode(self, features, points, labels, low_res=None, box=None):
        prompts = SlicePrompts(np.array(points, float), np.array(labels), box=box)
        self.decodes.append((prompts, low_res))
        answer = self.model.decode(features, prompts, mask_input=low_res, multimask_output=False)
        return answer.low_res_logits[0], answer.logits[0] > 0

    def cascade(self, features, points, labels):
        low_res, _ = self.decode(features, points, labels)
        low_res, mask = self.decode(features, points, labels, low_res)
        rows, cols = np.nonzero(mask)
        box = (cols.min(), rows.min(), cols.max(), rows.max()) if len(rows) else None
        return self.decode(features, points, labels, low_res, box)

    def segment(self, reference, target, positives, negatives):
        grid = self.tokens(reference.view.features)
        inside = foreground_cells(reference.mask, reference.view.frame, grid.shape[:2], "published")
        wanted, rest, seen = grid[inside], grid[~inside], self.tokens(target.features)
        best, kept = 1e6, None
        for n_pos in positives:
            if len(wanted) < n_pos:
                continue
            points = [self.peak(p, seen, target.frame, SHAPE) for p in self.parts(wanted, n_pos)]
            for n_neg in negatives:
                more = [self.peak(p, seen, target.frame, SHAPE) for p in self.parts(rest, n_neg)] if n_neg else []
                labels = [1] * len(points) + [0] * len(more)
                low_res, mask = self.cascade(target.features, points + more, labels)
                small = F.interpolate(torch.from_numpy(low_res)[None, None], size=seen.shape[:2], mode="bilinear")
                found = seen[(small[0, 0] > 0).numpy()]
                distance = 1e6 - 1
                if len(found):
                    cost = cdist(wanted.astype(float), found.astype(float), "sqeuclidean")
                    distance = ot.emd2([], [], cost / cost.max(), numItermax=10**7) * cost.max()
                if distance < best:
                    best, kept = distance, (n_pos, n_neg, points + more, mask)
        return best, kept


@pytest.mark.parametrize("seed", [0, 1])
def test_published_protocol_step_for_step(seed):
    sam = SamModel(stock_sam(256, seed), ModelInfo("tiny", "sam", "t", f"{seed:02d}" * 32, "tiny.pth", "MIT"))
    reference, target, _ = pair(sam, shift=(6, 9))
    literal = LiteralP2SAM(sam)
    distance, (n_pos, n_neg, points, mask) = literal.segment(reference, target, (1, 2, 3), (0, 1, 2))
    settings = P2SAMSettings(protocol="published", positives=(1, 3), negatives=(0, 2))
    result = P2SAM(settings).segment([reference], target)
    assert (result.n_positive, result.n_negative) == (n_pos, n_neg)
    assert np.array_equal(result.points, points)
    assert result.distance == pytest.approx(distance, rel=1e-5)
    assert dice(result.mask, mask) > 0.999 or not (result.mask.any() or mask.any())
    assert result.decodes == len(literal.decodes) == 27


def test_published_boxes_are_inclusive_and_every_decode_is_a_single_mask(sam, monkeypatch):
    reference, target, _ = pair(sam)
    seen = []

    def spy(features, prompts, *, mask_input=None, multimask_output=False, guidance=None):
        seen.append((prompts, mask_input, multimask_output, guidance))
        return SamModel.decode(sam, features, prompts, mask_input=mask_input, multimask_output=multimask_output)

    monkeypatch.setattr(sam, "decode", spy)
    P2SAM(P2SAMSettings(protocol="published", positives=(1, 1))).segment([reference], target)
    (first, no_mask, *_), (second, low1, *_), (third, low2, *_) = seen
    assert (no_mask, first.box, second.box) == (None, None, None)
    assert low1.shape == low2.shape == (64, 64)
    assert third.box is None or all(float(edge).is_integer() for edge in third.box)
    assert not any(multi or guidance for *_, multi, guidance in seen)
    assert all(np.array_equal(first.points, asked.points) for asked, *_ in seen)


def test_natural_path_is_persams_cascade(sam, monkeypatch):
    reference, target, _ = pair(sam)
    seen = []

    def spy(features, prompts, **options):
        seen.append((prompts, options))
        return SamModel.decode(sam, features, prompts, **options)

    monkeypatch.setattr(sam, "decode", spy)
    result = P2SAM(P2SAMSettings(protocol="published", natural=True, positives=(2, 2))).segment([reference], target)
    assert [options["multimask_output"] for _, options in seen] == [False, True, True]
    guidance = seen[0][1]["guidance"]
    assert guidance.attention.shape == (16, 16)
    assert 0 < guidance.attention.min() < guidance.attention.max() < 1
    grid = reference.view.tokens
    inside = foreground_cells(reference.mask, reference.view.frame, grid.shape[:2], "published")
    assert np.allclose(guidance.embedding, grid[inside].mean(axis=0), atol=1e-6)
    assert all("guidance" not in options for _, options in seen[1:])
    assert result.labels.tolist() == [1, 1, 0]


def test_the_natural_negative_is_the_least_similar_place(sam):
    from SegmentAnythingMedLib.adaptive.similarity import in_pixels, similarity_maps

    reference, target, _ = pair(sam)
    method = P2SAM(P2SAMSettings(protocol="published", natural=True, positives=(3, 3)))
    result = method.segment([reference], target)
    maps = in_pixels(similarity_maps(method.pool([reference]).prototypes(3), target.tokens), target.frame)
    x, y = result.points[-1].astype(int)
    assert maps.mean(axis=0)[y, x] == maps.mean(axis=0).min()


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


def view_box(mask):
    rows, cols = np.nonzero(mask)
    return cols.min() - 0.5, rows.min() - 0.5, cols.max() + 0.5, rows.max() + 0.5


def _far(target):
    """A view beside the object."""
    session = target.session
    return view(session, 1, square_region(session, (100, 80), 40.0))


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
