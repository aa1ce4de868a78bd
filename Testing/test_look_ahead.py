"""Slices encoded ahead of a walk: fewer calls, the same masks, never beyond a limit, little for nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from SegmentAnythingMedLib import load_model
from SegmentAnythingMedLib.engine.features import FeatureCache
from SegmentAnythingMedLib.engine.look_ahead import NOWHERE, LookAhead, after
from SegmentAnythingMedLib.engine.session import Session
from SegmentAnythingMedLib.engine.step_down import FEWER, ON_CPU, ONE_BY_ONE
from SegmentAnythingMedLib.errors import Cancelled
from SegmentAnythingMedLib.models import sam, sam2
from SegmentAnythingMedLib.models.device import Profile
from SegmentAnythingMedLib.models.encoding import run_encoder
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.progress import Progress
from SegmentAnythingMedLib.prompts.seeds import ObjectSeeds
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.settings import PropagationSettings
from SegmentAnythingMedLib.propagation.walk import propagate, propagate_objects
from SegmentAnythingMedLib.space.affine import Affine
from SegmentAnythingMedLib.space.volume import Volume
from stub_model import SIDE, StubModel
from tiny_sam import stock_sam
from tiny_sam2 import require_sam2

COUNT, FIRST, LAST = 40, 8, 27
AHEAD = 3
BOX = SlicePrompts(box=(18, 18, 46, 46))
LOOSE = {"iou_threshold": 0.0, "area_ratio": 1000.0, "confidence_drop": 1.0, "appearance": 0.0}
"""Masks of random weights jump."""


class Batched(StubModel):
    """Notes how many slices each call of the encoder got."""

    def __init__(self, look_ahead: int = AHEAD, spoil: Callable[[int], None] = lambda _count: None) -> None:
        super().__init__()
        self.look_ahead, self.calls, self._spoil = look_ahead, [], spoil

    def encode(self, images, frames):
        self._spoil(len(images))
        self.calls.append(len(images))
        return super().encode(images, frames)


def tube() -> Volume:
    """Bright from slice ``FIRST`` to ``LAST``; no two slices are equal."""
    voxels = np.full((COUNT, SIDE, SIDE), 100, dtype=np.int16)
    voxels[FIRST : LAST + 1, 20:45, 20:45] = 160
    voxels[:, 0, 0] += np.arange(COUNT, dtype=np.int16)
    return Volume(voxels, Affine.from_parts(spacing=(1, 1, 1)), modality="MR")


def session_of(model: StubModel | None = None, **options) -> Session:
    return Session(tube(), model or Batched(), axis="k", window="100,160", **options)


def seen(session: Session) -> set[int]:
    """Slices that the session has looked at for its model."""
    return set(session._encoder.shown)


@pytest.mark.parametrize("settings", [None, PropagationSettings.published()], ids=["ours", "published"])
def test_fewer_calls_give_the_same_masks_and_little_is_encoded_for_nothing(settings):
    plain, ahead = session_of(Batched(0)), session_of()
    wanted, found = (propagate(session, {16: BOX}, settings) for session in (plain, ahead))
    assert np.array_equal(found.stack(), wanted.stack())
    assert found.to_json()["records"] == wanted.to_json()["records"]
    assert set(wanted.masks) == set(range(FIRST, LAST + 1))
    assert plain.counters.encoder_calls == plain.counters.encodes == len(wanted.records)
    assert plain.counters.encodes < ahead.counters.encodes <= plain.counters.encodes + 2 * AHEAD
    assert ahead.counters.encoder_calls == len(ahead.model.calls) <= 1 + 2 * 4
    assert ahead.counters.encodes == sum(ahead.model.calls) == len(seen(ahead)), "no slice is encoded twice"
    assert ahead.model.calls[0] == 1, "the first mask does not wait for other slices"
    propagate(ahead, {16: BOX}, settings)
    assert ahead.counters.encoder_calls == len(ahead.model.calls), "and nothing is encoded when it is done again"


def test_limits_and_stop_marks_are_never_passed():
    session = session_of()
    propagate(session, {16: BOX}, PropagationSettings(limits=(14, 21)))
    assert seen(session) == set(range(14, 22))
    session = session_of()
    propagate(session, ObjectSeeds({16: BOX}, stops=frozenset({11, 20})))
    assert seen(session) == set(range(12, 20))


def test_between_two_seeds_nothing_is_for_nothing():
    session = session_of()
    propagate(session, {10: BOX, 24: BOX}, PropagationSettings(limits=(10, 24)))
    assert session.counters.encodes == 15
    assert session.model.calls == [1, 1, 4, 4, 4, 1]


def test_objects_share_what_was_encoded_ahead():
    session = session_of()
    both = propagate_objects(session, {"a": {16: BOX}, "b": {16: BOX}})
    assert session.counters.encodes <= len(both["a"].records) + 2 * AHEAD
    assert np.array_equal(both["a"].stack(), both["b"].stack())


def test_a_cancel_ends_it_and_keeps_what_is_done():
    session, told = session_of(), []
    progress = Progress(lambda one: (told.append(one.done), one.done == 3 and one.cancel()))
    found = propagate(session, {16: BOX}, progress=progress)
    assert not found.completed
    assert set(found.masks) == {16, 17, 18}
    assert session.model.calls == [1, 4]
    assert told[-1] == 3


def test_no_more_is_encoded_than_the_cache_keeps():
    nbytes = session_of().features(0, None).nbytes
    for kept, largest in ((1, 1), (2, 2), (8, 4)):
        session = session_of(cache=FeatureCache(ram_bytes=kept * nbytes, overflow_bytes=0))
        found = propagate(session, {16: BOX}, PropagationSettings(limits=(10, 24)))
        assert set(found.masks) == set(range(10, 25))
        assert max(session.model.calls) == largest
        assert session.counters.encodes == 15, "nothing was dropped before it was read"
        assert session.cache.nbytes <= kept * nbytes


@pytest.mark.parametrize("limit", [MemoryError, torch.OutOfMemoryError])
def test_memory_too_short_for_several_slices_is_enough_for_one(limit):
    def spoil(count: int) -> None:
        if count > 1:
            raise limit("out of memory")

    session, wanted = session_of(Batched(spoil=spoil)), session_of(Batched(0))
    allowed = session.cache.ram_bytes
    found = propagate(session, {16: BOX})
    assert np.array_equal(found.stack(), propagate(wanted, {16: BOX}).stack())
    assert session.lean.notes == [ONE_BY_ONE]
    assert session.cache.ram_bytes == allowed
    assert session.counters.encodes == wanted.counters.encodes
    assert session.model.look_ahead == 0


def sam_of(monkeypatch, batch: int, device: str = "cpu") -> sam.SamModel:
    forced = {device: Profile(None, batch)}
    monkeypatch.setattr(sam, "choose_profile", lambda device, precision: forced.get(device, Profile(None, 1)))
    info = ModelInfo("tiny", "sam", "vit_64", "0" * 64, "test", "Apache-2.0")
    return sam.SamModel(stock_sam(), info, device=device)


def test_a_model_that_splits_a_batch_stops_looking_ahead(monkeypatch):
    """A GPU of which PyTorch says itself that it is full; the stand-in computes on the CPU."""
    model = sam_of(monkeypatch, 4, device="cpu:0")
    embed = model._network.image_encoder.forward
    sizes = []

    def full(batch):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(batch)

    monkeypatch.setattr(model._network.image_encoder, "forward", full)
    session = session_of(model)
    propagate(session, {16: BOX}, PropagationSettings(limits=(12, 22), **LOOSE))
    assert sizes == [1, 4] + [1] * 10
    assert session.lean.notes == [ONE_BY_ONE]
    assert session.counters.encodes == 11


def test_what_does_not_help_is_followed_by_the_next_steps(monkeypatch):
    model, encode = sam_of(monkeypatch, 4, device="cpu:0"), sam.SamModel.encode

    def full(self, images, frames):
        if self.device != "cpu" and session.counters.encodes:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, images, frames)

    monkeypatch.setattr(sam.SamModel, "encode", full)
    session = session_of(model)
    found = propagate(session, {16: BOX}, PropagationSettings(limits=(12, 22), **LOOSE))
    assert session.lean.notes == [ONE_BY_ONE, FEWER, ON_CPU]
    assert found.completed
    assert session.counters.encodes == 11


def test_logits_of_sam_are_those_of_slices_encoded_alone(monkeypatch):
    sessions = [session_of(sam_of(monkeypatch, batch)) for batch in (1, 4)]
    settings = PropagationSettings(limits=(10, 24), **LOOSE)
    wanted, found = (propagate(session, {16: BOX}, settings) for session in sessions)
    assert [session.counters.encodes for session in sessions] == [15, 15]
    assert [session.counters.encoder_calls for session in sessions] == [15, 5]
    assert len(wanted.masks) > 8
    assert np.mean(found.stack() != wanted.stack()) <= 1e-5
    for index in range(10, 25):
        one, other = (session.predict(index, BOX).logits for session in sessions)
        assert np.abs(one - other).max() <= 1e-4 * np.ptp(one)


def test_tracking_with_memory_looks_ahead_too(monkeypatch):
    require_sam2()
    import video_predictor as video

    official, settings = video.official_video(), MemorySettings(limits=(1, 8), iou_threshold=0.0, area_ratio=1000.0)
    sessions = []
    for batch in (1, 4):
        monkeypatch.setattr(sam2, "choose_profile", lambda device, precision, batch=batch: Profile(None, batch))
        sessions.append(Session(video.blobs(10), video.our_model(official), axis="k", window="50,300"))
    box = SlicePrompts(box=(18.0, 13.0, 42.0, 37.0))
    wanted, found = (propagate(session, {3: box}, settings, engine="memory") for session in sessions)
    assert [session.counters.encodes for session in sessions] == [8, 8]
    assert [session.counters.encoder_calls for session in sessions] == [8, 4]
    assert np.mean(found.stack() != wanted.stack()) <= 1e-5
    for index in range(1, 9):
        one, other = (session.predict(index, box).logits for session in sessions)
        assert np.abs(one - other).max() <= 1e-4 * np.ptp(one)


def test_regions_are_not_looked_at_ahead():
    small, model = SlicePrompts(box=(5, 5, 9, 9)), Batched()
    voxels = np.full((12, 256, 256), 100, dtype=np.int16)
    voxels[:, 5:10, 5:10] = 160
    voxels[:, 20, 20] += np.arange(12, dtype=np.int16)
    session = Session(Volume(voxels, Affine.from_parts(spacing=(1, 1, 1))), model, axis="k", window="100,160")
    found = propagate(session, {6: small})
    assert len(found.masks) == 12
    assert set(model.calls) == {1}
    assert all(None not in regions for regions in session._encoder.shown.values())


def test_a_cpu_encodes_slice_by_slice():
    assert Profile(None, 1).look_ahead == 0
    assert load_model("built-in", device="cpu").look_ahead == 0
    assert StubModel.look_ahead == 0


def test_a_volume_is_prepared_in_batches_with_progress_and_cancel():
    session, told = session_of(), []
    assert session.encode(range(20), Progress(lambda one: told.append((one.done, one.total)))) == 20
    assert session.model.calls == [1, 4, 4, 4, 4, 3]
    assert told == [(n, 20) for n in range(21)]
    progress = Progress(lambda one: one.done == 2 and one.cancel())
    with pytest.raises(Cancelled):
        session.encode([30, 32, 34, 36, 38], progress)
    assert session.counters.encodes == 24
    assert session.encode(range(20)) == 0


def test_what_was_announced_counts_once_and_for_its_slice_only():
    look, cache = LookAhead(), FeatureCache(ram_bytes=1000)
    look.expect(4, range(5, 9))
    assert look.beside(4, 3, cache) == [], "how large features are is not known yet"
    look.nbytes = 100
    look.expect(4, range(5, 9))
    assert look.beside(5, 3, cache) == []
    assert look.beside(4, 3, cache) == [5, 6, 7]
    assert look.beside(4, 3, cache) == []
    look.expect(4, after(range(9, -1, -1), 4))
    assert look.beside(4, 9, cache) == [3, 2, 1, 0]
    assert not len(after(range(3), 2))
    assert not len(NOWHERE)


def test_equal_slices_are_encoded_once():
    volume = Volume(np.full((8, SIDE, SIDE), 100, dtype=np.int16), Affine.from_parts(spacing=(1, 1, 1)))
    session = Session(volume, Batched(), axis="k", window="100,160")
    assert session.encode(range(8)) == 1


def test_a_slice_that_overflows_does_not_change_its_neighbours():
    layer, calls = torch.nn.Linear(4, 4), []

    def run(batch):
        found = layer(batch)
        calls.append((found.dtype, len(batch)))
        overflows = (batch[:, :1] > 5) & (found.dtype is torch.bfloat16)
        return (torch.where(overflows, torch.inf, found),)

    inputs = torch.ones(3, 4)
    inputs[1] = 10
    (found,) = run_encoder(run, inputs, device="cpu", dtype=torch.bfloat16, name="tiny")
    assert calls == [(torch.bfloat16, 3), (torch.float32, 1)]
    (alone,) = run_encoder(run, inputs[:1], device="cpu", dtype=torch.bfloat16, name="tiny")
    assert torch.equal(found[:1], alone)
    np.testing.assert_allclose(found[1], layer(inputs[1]).detach())
