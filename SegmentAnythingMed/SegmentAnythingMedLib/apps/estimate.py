"""What a job will take, before it is done: its own model tries a slice or two of its own image on this machine.

Constants of other machines are wrong by large factors (threads, instructions, other programs, a GPU), so nothing is
taken from tables. The prompted slice is tried in the job's own session, so that what it costs is not lost; its
neighbours in a session of their own, so that the job's result and its count of encodes do not depend on the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.features import RAM_BYTES
from ..engine.memory_bank import MAP_REACH, MemoryBank
from ..engine.regions import extent_of, longest_mm
from ..errors import DeviceError
from ..files.limits import machine_memory
from ..prompts.seeds import ObjectSeeds
from ..prompts.types import SlicePrompts
from .report import peak_memory

if TYPE_CHECKING:
    from ..engine.session import Session

MEBIBYTE = 1 << 20
PROGRAM_BYTES = 900 * MEBIBYTE
"""Program, libraries and a small model, where the system does not tell (measured on Linux)."""
WARM_S = 2.0
"""A first slice that took less may have been slow for reasons of its own (libraries that prepare); others are tried."""
TRY_S = 1.0
"""So long, and at most the four nearest: a clock tells little of a few milliseconds."""
_ENDS = 2
"""Slices beyond the ends of an object, where a walk sees that it has ended."""


@dataclass(frozen=True)
class Estimate:
    """What a propagation is expected to take.

    Attributes:
        seconds_per_slice: of all objects together, encoding included.
        slices: if every object is as deep as its prompts are wide, within the limits.
        most_slices: if the objects are on all slices within the limits.
        memory_bytes: largest memory of this process for ``most_slices``.
        feature_bytes_per_slice: what is kept of an encoded slice.
    """

    seconds_per_slice: float
    slices: int
    most_slices: int
    memory_bytes: int
    feature_bytes_per_slice: int

    @property
    def seconds(self) -> float:
        """For ``slices``."""
        return self.seconds_per_slice * self.slices

    @property
    def most_seconds(self) -> float:
        """For ``most_slices``."""
        return self.seconds_per_slice * self.most_slices

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "seconds": round(self.seconds, 2), "most_seconds": round(self.most_seconds, 2)}

    def __str__(self) -> str:
        return (
            f"about {duration(self.seconds)} if the object is as deep as it is wide ({self.slices} slices), at most "
            f"{duration(self.most_seconds)} ({self.most_slices} slices); about {self.memory_bytes / MEBIBYTE:.0f} MiB "
            "of memory"
        )


@dataclass(frozen=True)
class Cost:
    """What one slice takes.

    Attributes:
        encode_s: seconds that all objects of a slice share.
        object_s: seconds for every object.
        mask: bool [H, W] that was found on the first slice that was tried, or None.
        feature_bytes: kept of one slice.
    """

    encode_s: float
    object_s: float
    mask: np.ndarray | None
    feature_bytes: int


def try_slices(session: Session, index: int, prompts: SlicePrompts, memory: bool) -> Cost:
    """Segment a slice, and its neighbours too if the first was quick, and look at the clock.

    Args:
        session: gets the features of the slice, not those of its neighbours.
        index: slice with prompts.
        prompts: of one object there; the neighbours are asked the same.
        memory: the job tracks with memory.
    """
    kept, before = session.cache.nbytes, _spent(session)
    mask = _ask(session, memory)(index, prompts).mask
    first = _since(session, before)
    feature_bytes = max(session.cache.nbytes - kept, 0)
    others: list[tuple[float, float]] = []
    near = [n for n in (index + 1, index - 1, index + 2, index - 2) if 0 <= n < session.count]
    with _like(session) as aside:
        while near and sum(first) < WARM_S and sum(map(sum, others)) < TRY_S:
            before = _spent(aside)
            _ask(aside, memory)(near.pop(0), prompts)
            others.append(_since(aside, before))
    encode, decode = (float(np.median(times)) for times in zip(*(others or [first]), strict=True))
    if memory:
        decode = _tracking_seconds(session, index, prompts)
    return Cost(encode, decode, mask, feature_bytes)


def _ask(session: Session, memory: bool) -> Callable[[int, SlicePrompts], Any]:
    return session.tracker.prompted if memory else session.predict  # tracking sees whole slices, predict may zoom


def _like(session: Session) -> Session:
    """A session on the same slices with the same model, and nothing encoded."""
    from ..engine.session import Session

    return Session(session.volume, session.model, axis=session.stack.axis, window=session.mapping)


def recall(session: Session, memory: bool, index: int, prompts: SlicePrompts) -> Cost | None:
    """What a slice took so far in a session that has encoded some; nothing is encoded for it. None for a new session.

    Args:
        session: not changed.
        index: slice with prompts, encoded before.
        prompts: of one object there.
        memory: the job tracks with memory: that is tried once.
    """
    counters = session.counters
    if not counters.encodes or not counters.decodes:
        return None
    encode, decode = _spent(session)
    before = counters.encodes
    each = _tracking_seconds(session, index, prompts) if memory else decode / counters.decodes
    return Cost(encode / before, each, None, session.cache.nbytes // max(len(session.cache), 1))


def estimate_job(
    session: Session,
    objects: Mapping[str, ObjectSeeds],
    limits: tuple[int, int] | None,
    memory: bool,
    try_out: bool = True,
) -> Estimate | None:
    """Estimate a propagation by trying its first slices.

    Args:
        session: of the job.
        objects: prompts by slice; at least one object.
        limits: slices that may be touched, or None.
        memory: the job tracks with memory.
        try_out: False uses what the session has done before, and returns None where it has done nothing.

    Raises:
        PromptError: as the propagation itself would.
    """
    low, high = limits or (0, session.count - 1)
    low, high = max(low, 0), min(high, session.count - 1)
    seeds = [(index, prompts) for one in objects.values() for index, prompts in one.seeds.items()]
    inside = [pair for pair in seeds if low <= pair[0] <= high] or seeds
    cost = try_slices(session, *inside[0], memory) if try_out else recall(session, memory, *inside[0])
    if cost is None:
        return None
    deep = _depth(session, cost.mask, [prompts for _, prompts in inside])
    first, last = min(index for index, _ in inside), max(index for index, _ in inside)
    half = math.ceil(deep / 2) + _ENDS // 2
    slices = max(min(last + half, high) - max(first - half, low) + 1, 1)
    shared = 0.0 if session.model.uses_regions else cost.encode_s
    each = cost.encode_s + cost.object_s - shared
    most = high - low + 1
    return Estimate(
        round(shared + len(objects) * each, 4), slices, most,
        memory_needed(session, len(objects), most, cost.feature_bytes), cost.feature_bytes,
    )  # fmt: skip


def memory_needed(session: Session, objects: int, slices: int, feature_bytes: int) -> int:
    """Largest memory of this process in bytes, when it has read the image and segmented a slice."""
    voxels = int(np.prod(session.volume.shape))
    labels = voxels * (1 if objects < 256 else 2)
    masks = objects * slices * int(np.prod(session.shape))
    kept = min(feature_bytes * slices * (objects if session.model.uses_regions else 1), RAM_BYTES)
    so_far = peak_memory(session.model.device)["peak_bytes"] or PROGRAM_BYTES + session.volume.voxels.nbytes
    return int(so_far + labels + masks + kept)


def check_memory(estimate: Estimate) -> None:
    """Refuse what cannot be done.

    Raises:
        DeviceError: ``device.memory`` when the job needs more memory than the machine has.
    """
    have = machine_memory()
    if have is not None and estimate.memory_bytes > have:
        raise DeviceError(
            "device.memory",
            f"This job needs about {estimate.memory_bytes / 2**30:.1f} GiB of memory, this machine has "
            f"{have / 2**30:.1f} GiB. Nothing was done; crop or downsample the image, or set limits.",
        )


def duration(seconds: float) -> str:
    """A time as a person would say it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.{1 if seconds < 600 else 0}f} min"
    return f"{seconds / 3600:.1f} h"


def _depth(session: Session, mask: np.ndarray | None, prompts: list[SlicePrompts]) -> int:
    """Slices of an object as deep as the widest of the mask and the prompts."""
    longest = 0.0
    for one in (SlicePrompts(mask=mask), *prompts):
        box = extent_of(one)
        if box is not None:
            longest = max(longest, longest_mm(box, session.pixel_spacing))
    return max(round(longest / session.slice_spacing), 1)


def _tracking_seconds(session: Session, index: int, prompts: SlicePrompts) -> float:
    """Seconds of tracking a slice, already encoded, with a memory as full as it gets from one prompted slice."""
    seed = session.tracker.prompted(index, prompts)
    bank = MemoryBank({index - MAP_REACH - 1: seed.memory})
    for behind in range(MAP_REACH, 0, -1):
        bank.remember(index - behind, seed.memory, 1)
    before = _spent(session)
    session.tracker.tracked(index, bank)
    return sum(_since(session, before))


def _spent(session: Session) -> tuple[float, float]:
    """Seconds of encoding (reading pixels included) and of decoding so far."""
    counters = session.counters
    return counters.encode_s + counters.prepare_s, counters.decode_s


def _since(session: Session, before: tuple[float, float]) -> tuple[float, float]:
    encode, decode = _spent(session)
    return encode - before[0], decode - before[1]
