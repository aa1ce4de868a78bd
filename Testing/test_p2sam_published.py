"""P2SAM's published protocol, against a second, literal writing of its steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from SegmentAnythingMedLib import load_model
from SegmentAnythingMedLib.adaptive.p2sam import P2SAM
from SegmentAnythingMedLib.adaptive.p2sam_settings import P2SAMSettings
from SegmentAnythingMedLib.adaptive.tokens import foreground_cells
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from tiny_sam import stock_sam
from visit_scene import SHAPE, dice, pair

ot = pytest.importorskip("ot", reason="the extra 'adaptive' is not installed")


@pytest.fixture(scope="module")
def sam():
    return SamModel(stock_sam(256), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))


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


def test_published_guidance_of_a_region_is_of_that_region():
    built_in = load_model("built-in", device="cpu")
    reference, target, truth = pair(built_in)
    method = P2SAM(P2SAMSettings(protocol="published", natural=True, positives=(1, 1)))
    seen = {}

    def spy(prompts, **options):
        seen.setdefault("guidance", options.get("guidance"))
        return type(target).decode(target, prompts, **options)

    object.__setattr__(target, "decode", spy)
    method.segment([reference], target)
    cells = foreground_cells(target.show(truth), target.frame, target.tokens.shape[:2])
    attention = seen["guidance"].attention
    assert attention[cells].mean() > attention[~cells].mean() + 0.1
