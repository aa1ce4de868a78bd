"""A SAM 2 network on the slices of a session: features from its cache, prompts and masks in its pixels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from ..errors import PromptError
from ..models.device import to_device
from ..models.network_prompts import network_prompts
from ..models.preparation import PREPARATIONS
from ..models.sam2 import EMBEDDING, FINE, MIDDLE, Sam2Model
from ..prompts.types import SlicePrompts
from .memory_bank import MemoryBank
from .memory_network import Answer, Current, MemoryNetwork
from .tracking import TrackedSlice

if TYPE_CHECKING:
    from ..models.frame import Frame
    from .session import Session

_CORNERS = (2, 3)


class MemoryTracker:
    """The memory side of a session whose model has one; see :class:`~SegmentAnythingMedLib.engine.tracking.Tracker`.

    Whole slices are shown, since memory of a place is worth nothing at another place. Features are those of the
    session: encoded once for both directions, all objects and every edit, kept in half precision within the bound of
    its cache.

    Args:
        session: with a model that has memory.
    """

    def __init__(self, session: Session) -> None:
        model: Sam2Model = session.model
        self._session, self._model = session, model
        self._preparation = PREPARATIONS[model.preprocessing]
        self._memory_network: MemoryNetwork | None = None

    @property
    def _network(self) -> MemoryNetwork:
        """Made anew when the model has moved to another device."""
        model, made = self._model, self._memory_network
        if made is None or made.device != model.device:
            made = self._memory_network = MemoryNetwork(
                model.network, model.device, model.dtype, self._session.count, model.info.name, fast=model.fast
            )
        return made

    def prompted(
        self,
        index: int,
        prompts: SlicePrompts,
        *,
        verbatim: bool = False,
        bank: MemoryBank | None = None,
        base: np.ndarray | None = None,
        backward: bool = False,
    ) -> TrackedSlice:
        """Segment a slice from its own prompts; see the protocol.

        Raises:
            PromptError: ``prompt.empty``; ``prompt.only_negative`` when there is nothing to correct either.
        """
        if prompts.empty:
            raise PromptError("prompt.empty", "Expected a point, a box or a mask on the slice, got none.")
        if prompts.only_negative and base is None:
            raise PromptError(
                "prompt.only_negative", "Expected at least one positive prompt; got negative points only."
            )
        return self._session.lean.run(lambda: self._prompted(index, prompts, verbatim, bank, base, backward))

    def _prompted(
        self,
        index: int,
        prompts: SlicePrompts,
        verbatim: bool,
        bank: MemoryBank | None,
        base: np.ndarray | None,
        backward: bool,
    ) -> TrackedSlice:
        session = self._session
        shown = session.orientation.show_prompts(prompts, session.shape)
        current, frame = self._current(index)
        begun = time.perf_counter()
        if verbatim and shown.mask is not None and shown.box is None and not len(shown.points):
            answer = self._network.taken(current, shown.mask)
        else:
            asked = network_prompts(shown, frame, self._preparation, self._model.low_res_size, _float(base))
            points, labels = asked.points, asked.labels
            if asked.box is not None:
                points = np.concatenate([np.reshape(asked.box, (2, 2)), points])
                labels = np.concatenate([_CORNERS, labels])
            reading = None if bank is None else bank.read(index, backward)
            answer = self._network.prompted(current, points, labels, asked.mask, index, reading, backward)
        return self._result(current, answer, True, begun)

    def tracked(self, index: int, bank: MemoryBank, *, backward: bool = False) -> TrackedSlice:
        """Segment a slice from memory; see the protocol."""
        return self._session.lean.run(lambda: self._tracked(index, bank, backward))

    def _tracked(self, index: int, bank: MemoryBank, backward: bool) -> TrackedSlice:
        current, _ = self._current(index)
        begun = time.perf_counter()
        answer = self._network.tracked(current, index, bank.read(index, backward), backward)
        return self._result(current, answer, False, begun)

    def _current(self, index: int) -> tuple[Current, Frame]:
        features = self._session.features(index, None)
        top, fine, middle = (
            to_device(features.tensors[name], self._model.device)[None] for name in (EMBEDDING, FINE, MIDDLE)
        )
        return Current(top, (fine, middle)), features.frame

    def _result(self, current: Current, answer: Answer, prompted: bool, begun: float) -> TrackedSlice:
        session = self._session
        memory = self._network.memory(current, answer, prompted)
        shown = self._network.upscaled(answer, session.orientation.pair(session.shape))
        logits = np.ascontiguousarray(session.orientation.store(shown))
        session.counters.decodes += 1
        session.counters.decode_s += time.perf_counter() - begun
        return TrackedSlice(
            mask=logits > 0,
            logits=logits,
            predicted_iou=answer.predicted_iou,
            object_score=float(answer.score),
            memory=memory,
            low_res=answer.low_res[0, 0].cpu().numpy().astype(np.float16),
        )


def _float(base: np.ndarray | None) -> np.ndarray | None:
    return None if base is None else base.astype(np.float32)
