"""Features of a session's slices: out of its cache, or made now, several together where the hardware gains by it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..models.frame import Frame, Region
from ..models.interface import SliceFeatures
from .features import feature_key, slice_key
from .look_ahead import LookAhead
from .step_down import ONE_BY_ONE

if TYPE_CHECKING:
    from .session import Session


class _View(NamedTuple):
    """What a model is shown: the shown slice as a whole, the frame that tells which part, the key of its features."""

    image: np.ndarray
    frame: Frame
    key: str


class SliceEncoder:
    """The encoding side of a session; its calls are made under the session's lock.

    Args:
        session: its slices, model, intensity mapping, cache and counters are used.

    Attributes:
        shown: slice -> region -> content hash of its pixels, of everything that was asked for.
    """

    def __init__(self, session: Session) -> None:
        self.shown: dict[int, dict[Region | None, str]] = {}
        self._session = session
        self._look_ahead = LookAhead()

    def expect(self, index: int, onward: Sequence[int]) -> None:
        """See :meth:`Session.expect`."""
        self._look_ahead.expect(index, onward)

    def features(self, index: int, region: Region | None) -> SliceFeatures:
        """See :meth:`Session.features`."""
        session, begun = self._session, time.perf_counter()
        view = self._view(index, region)
        found, patches = session.cache.get(view.key), []
        if found is None:
            views = [view] if region is not None else [view, *self._beside(index, view.key)]
            patches = [session.mapping.apply(one.frame.crop(one.image)) for one in views]
        session.counters.prepare_s += time.perf_counter() - begun
        if found is None:
            found = self._encoded(views, patches)
        if region is None:
            self._look_ahead.nbytes = found.nbytes
        return found

    def _view(self, index: int, region: Region | None) -> _View:
        session = self._session
        image = session.orientation.show(session.stack.image(index))
        shape, spacing = map(session.orientation.pair, (session.shape, session.pixel_spacing))
        frame = session.model.frame(shape, spacing, region)
        shown = self.shown.setdefault(index, {})
        if region not in shown:
            shown[region] = slice_key(frame.visible(image))
        return _View(image, frame, feature_key(shown[region], session.model.info, frame, session.mapping.describe()))

    def _beside(self, index: int, key: str) -> list[_View]:
        """Whole slices to encode together with ``index``, whose key is given; slices of equal content once."""
        cache, most = self._session.cache, self._session.model.look_ahead
        views = {view.key: view for view in (self._view(n, None) for n in self._look_ahead.beside(index, most, cache))}
        return [view for view in views.values() if view.key != key and view.key not in cache]

    def _encoded(self, views: list[_View], patches: list[np.ndarray]) -> SliceFeatures:
        """Features of the first view; those of the others are in the cache then, unless memory was short."""
        session, begun = self._session, time.perf_counter()
        allowed = session.model.look_ahead

        def work() -> list[SliceFeatures]:
            """Only the first view when it is repeated for lack of memory."""
            count = 1 + session.model.look_ahead
            return session.model.encode(patches[:count], [view.frame for view in views[:count]])

        made = session.lean.run(work)
        if session.model.look_ahead < allowed:  # the model itself has found that a batch does not fit
            session.lean.told(ONE_BY_ONE)
        session.counters.encodes += len(made)
        session.counters.encoder_calls += 1
        session.counters.encode_s += time.perf_counter() - begun
        ahead = list(zip(views, made, strict=False))[:0:-1]
        for view, features in ahead:  # the farthest first: what is needed soonest is dropped last
            session.cache.put(view.key, features)
        return session.cache.put(views[0].key, made[0])
