"""Tracking gives the masks of the official SAM2VideoPredictor on the same frames; its modes as published, in full.

Random weights say nothing about an organ, so masks alone would prove little: logits are compared too, and the networks
are chosen so that objects cover a tenth of the slices, come and go, and differ from slice to slice.
"""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.memory_bank import MemoryBank
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.memory_published import largest_part
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.walk import propagate_objects
from tiny_sam2 import require_sam2

video = pytest.importorskip("video_predictor", reason="the optional package sam2 is not installed")

BOX = (18.0, 13.0, 42.0, 37.0)
COUNT, SHAPE = 9, (80, 96)
EXACT, HALF = 1e-5, 1e-3
"""Of the range of the logits: with float32 features, and with those of the cache (float16)."""


@pytest.fixture(scope="module", autouse=True)
def _needs_sam2():
    require_sam2()


class ExactCache(FeatureCache):
    """Keeps features as they come."""

    def put(self, key, features):
        self._kept[key] = features
        return features


class Networks:
    """The official predictor, our model with its weights, features of our model."""

    def __init__(self, official, version: str = "2.1") -> None:
        self.official, self.version, self.model = official, version, video.our_model(official, version)
        self.cache = ExactCache()

    def session(self, exact: bool = True) -> Session:
        cache = self.cache if exact else FeatureCache()
        return Session(video.blobs(COUNT, SHAPE), self.model, axis="k", window="50,300", cache=cache)

    def state(self) -> dict:
        return video.state_of(self.official, self.session())


@pytest.fixture(scope="module", params=["2.1", "2.0"])
def networks(request) -> Networks:
    return Networks(video.official_video(request.param), request.param)


@pytest.fixture(scope="module")
def moody() -> Networks:
    """The object comes and goes."""
    official = video.official_video("2.1", seed=2)
    return Networks(video.moody(official, Networks(official).session()))


def circle(row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.indices(SHAPE)
    return (rows - row) ** 2 + (cols - col) ** 2 < radius**2


def points(*given: tuple[float, float, int]) -> SlicePrompts:
    array = np.array(given, dtype=float)
    return SlicePrompts(points=array[:, :2], labels=array[:, 2].astype(np.int64))


PROMPTS = {
    "box": SlicePrompts(box=BOX),
    "one point": points((30, 25, 1)),
    "points": points((30, 25, 1), (36, 20, 1), (70, 50, 0)),
    "box and point": SlicePrompts(box=BOX, points=np.array([[60.0, 40.0]]), labels=np.array([0])),
    "mask": SlicePrompts(mask=circle(25, 30, 12)),
}


def tell(official, state, index: int, name: str, prompts: SlicePrompts) -> np.ndarray:
    """The same prompts for the official predictor; its logits [H, W] on the slice."""
    if prompts.mask is not None:
        _, names, logits = official.add_new_mask(state, index, name, prompts.mask)
    else:
        given = {"points": prompts.points, "labels": prompts.labels} if len(prompts.points) else {}
        _, names, logits = official.add_new_points_or_box(
            state, index, name, box=None if prompts.box is None else np.array(prompts.box), **given
        )
    return logits[names.index(name), 0].numpy()


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over the range; absence (-1024 everywhere) must agree."""
    spread = float(theirs.max() - theirs.min())
    return float(np.abs(ours - theirs).max()) / max(spread, 1e-6)


class Spy:
    """Keeps the logits of everything that a session tracks: (object, slice, direction) -> [H, W]."""

    def __init__(self, session: Session) -> None:
        self.seen: list[tuple[int, bool, np.ndarray]] = []
        self._tracked = session.tracker.tracked
        session.tracker.tracked = self

    def __call__(self, index, bank, *, backward=False):
        answer = self._tracked(index, bank, backward=backward)
        self.seen.append((index, backward, answer.logits))
        return answer


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_prompted_slice_has_the_official_logits(networks, kind):
    session = networks.session()
    theirs = tell(networks.official, networks.state(), 4, "a", PROMPTS[kind])
    ours = session.tracker.prompted(4, PROMPTS[kind], verbatim=True)
    assert difference(ours.logits, theirs) < EXACT
    assert ours.mask.any()
    assert not ours.mask.all()


def compare_passes(networks: Networks, kind: str) -> dict[int, np.ndarray]:
    """Both passes of one object: every logit, then the masks; returns the official logits."""
    session, state = networks.session(), networks.state()
    tell(networks.official, state, 4, "a", PROMPTS[kind])
    theirs = {way: video.passes(networks.official, state, way)["a"] for way in (False, True)}
    spy = Spy(session)
    seeds = {"a": ObjectSeeds({4: PROMPTS[kind]}, drawn=frozenset({4} if kind == "mask" else ()))}
    result = propagate_objects(session, seeds, MemorySettings.as_sam2())["a"]
    asked = {(index, way) for way in theirs for index in theirs[way] if index != 4}
    assert {(index, way) for index, way, _ in spy.seen} == asked
    assert max(difference(logits, theirs[way][index]) for index, way, logits in spy.seen) < EXACT
    expected = {**theirs[False], **theirs[True]}
    for index, logits in expected.items():
        if index != 4 or kind != "mask":  # a drawn slice keeps its mask
            assert differing(result, index, logits) <= 1
    return expected


def differing(result, index: int, logits: np.ndarray) -> int:
    return int(np.count_nonzero(result.masks.get(index, np.zeros(SHAPE, bool)) != (logits > 0)))


@pytest.mark.parametrize("kind", PROMPTS)
def test_every_slice_of_both_passes_has_the_official_logits(networks, kind):
    expected = compare_passes(networks, kind)
    areas = {int(np.count_nonzero(logits > 0)) for logits in expected.values()}
    assert len(areas) > 5, "the same mask everywhere would prove nothing"


@pytest.mark.parametrize("kind", ["box", "one point"])
def test_absence_is_official_too(moody, kind):
    expected = compare_passes(moody, kind)
    if kind == "box":
        present = {bool((logits > 0).any()) for logits in expected.values()}
        assert present == {True, False}, "the object has to come and go"


def test_several_objects_with_their_own_slices(networks):
    """An object is tracked from the first prompted slice of all, there from the future."""
    session, state = networks.session(), networks.state()
    given = {
        "a": {6: PROMPTS["box"]},
        "b": {3: points((75, 50, 1)), 8: SlicePrompts(box=(60, 40, 84, 60))},
        "c": {5: PROMPTS["points"]},
    }
    for name, seeds in given.items():
        for index, prompts in seeds.items():
            tell(networks.official, state, index, name, prompts)
    up, down = (video.passes(networks.official, state, way) for way in (False, True))
    results = propagate_objects(session, given, MemorySettings.as_sam2())
    for name in given:
        assert results[name].masks
        for index, logits in {**up[name], **down[name]}.items():
            assert differing(results[name], index, logits) <= 1, (name, index)


def test_half_precision_features_flip_no_more_than_a_thousandth_of_the_pixels(networks):
    session, state = networks.session(exact=False), networks.state()
    tell(networks.official, state, 4, "a", PROMPTS["box"])
    theirs = {way: video.passes(networks.official, state, way)["a"] for way in (False, True)}
    spy = Spy(session)
    result = propagate_objects(session, {"a": {4: PROMPTS["box"]}}, MemorySettings.as_sam2())["a"]
    expected = {**theirs[False], **theirs[True]}
    flipped = sum(differing(result, index, logits) for index, logits in expected.items())
    assert flipped <= 0.001 * COUNT * SHAPE[0] * SHAPE[1]
    assert max(difference(logits, theirs[way][index]) for index, way, logits in spy.seen) < HALF


def test_as_medsam2_the_passes_are_reset_united_and_cut_to_the_largest_part(networks, moody):
    for one in (networks, moody):
        masks = np.zeros((COUNT, *SHAPE), dtype=bool)
        for reverse in (False, True):
            state = one.state()
            tell(one.official, state, 4, "a", PROMPTS["box"])
            for index, logits in video.passes(one.official, state, reverse)["a"].items():
                masks[index] |= logits > 0
        expected = largest_part({n: mask for n, mask in enumerate(masks) if mask.any()}, COUNT, SHAPE)
        seeds = {"a": {4: PROMPTS["box"]}}
        result = propagate_objects(one.session(), seeds, MemorySettings.as_medsam2())["a"]
        assert set(result.masks) == set(expected)
        assert all(np.count_nonzero(result.masks[n] != expected[n]) <= 2 for n in expected)
        assert all(result.records[n].accepted == (n in expected) for n in result.records)


def test_a_correction_has_the_official_logits(networks):
    """A click on a tracked slice: earlier logits, memory of the prompted slices, conditioning from then on."""
    official, session, state = networks.official, networks.session(), networks.state()
    tell(official, state, 4, "a", PROMPTS["box"])
    video.passes(official, state, False)
    outputs = state["output_dict_per_obj"][0]
    base = outputs["non_cond_frame_outputs"][7]["pred_masks"]
    outputs["non_cond_frame_outputs"].clear()  # ours forgets what may carry the mistake, but not what is corrected
    state["temp_output_dict_per_obj"][0]["cond_frame_outputs"][7] = {"pred_masks": base}
    click, kept = points((50, 40, 1), (20, 60, 0)), base[0, 0].numpy()
    theirs = tell(official, state, 7, "a", click)
    seed = session.tracker.prompted(4, PROMPTS["box"])
    ours = session.tracker.prompted(7, click, bank=MemoryBank({4: seed.memory}), base=kept)
    assert difference(ours.logits, theirs) < EXACT
    assert not np.array_equal(ours.mask, session.tracker.prompted(7, click).mask)
    expected = video.passes(official, state, False)["a"]
    bank = MemoryBank({4: seed.memory, 7: ours.memory})
    for index in (5, 6, 8):
        answer = session.tracker.tracked(index, bank)
        bank.remember(index, answer.memory, 1)
        assert difference(answer.logits, expected[index]) < EXACT, index
