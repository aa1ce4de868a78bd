"""One volume and one model: the object everybody talks to.

A session opens a volume, encodes the slices that are asked for (and no others), keeps their features, and answers
prompts. The command line, the console, the server and the Slicer worker all drive this object; propagation uses it
through :class:`~SegmentAnythingMedLib.engine.predictor.SlicePredictor`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import PromptError, SegmentAnythingMedError
from ..models.frame import Region
from ..models.interface import PromptableModel, SliceFeatures
from ..progress import Progress
from ..prompts.projection import mask_bounds
from ..prompts.types import SlicePrompts
from ..space.intensity import IntensityMapping, estimate_mapping
from ..space.planes import SliceStack
from ..space.volume import Volume
from .appearance import RING_PX, contrast_of, mean_under, seems_to_go_on
from .features import FeatureCache
from .orientation import Orientation
from .point_search import agreement, find_object
from .regions import choose_region, extent_of, still_fits
from .results import Counters, SessionResult, ordered
from .slice_encoder import SliceEncoder
from .step_down import StepDown
from .tracking import Tracker


class Session:
    """A model on the slices of a volume.

    Args:
        volume: never modified.
        model: from ``load_model``.
        axis: voxel axis of the stack: ``k``, ``j``, ``i`` or ``auto``.
        window: intensity mapping, see :func:`~SegmentAnythingMedLib.space.intensity.estimate_mapping`, or a mapping.
        cache: where features are kept; a private one in memory by default. May be shared by sessions.
        reuse_regions: use the features of a region encoded before when it is as good as the one that would be chosen.
            Re-prompting then encodes nothing; a mask can differ in a few border pixels from that of a fresh session.

    Attributes:
        stack: the slices.
        mapping: intensity mapping in use.
        count, shape, pixel_spacing, slice_spacing: of the stack (``SlicePredictor``).
        orientation: how slices are turned before the model sees them; prompts and masks stay in stored pixels.
        key: of this session: an edited propagation reuses its own earlier results only.
        counters: number and time of encodes and decodes.
        lean: what is done where memory is short, and its ``notes``.

    Raises:
        InputError: ``option.axis``, ``option.window``.
    """

    looks_near = True

    def __init__(
        self,
        volume: Volume,
        model: PromptableModel,
        *,
        axis: str = "auto",
        window: str | IntensityMapping = "auto",
        cache: FeatureCache | None = None,
        reuse_regions: bool = True,
    ) -> None:
        self.volume, self.model = volume, model
        self.stack = SliceStack(volume, axis)
        self.mapping = window if isinstance(window, IntensityMapping) else estimate_mapping(volume, window)
        self.count, self.shape = self.stack.count, self.stack.shape
        self.pixel_spacing, self.slice_spacing = self.stack.pixel_spacing, self.stack.slice_spacing
        self.orientation = Orientation.of(self.stack)
        self._shape, self._spacing = map(self.orientation.pair, (self.shape, self.pixel_spacing))  # as shown
        self._owns_cache = cache is None
        self.cache = FeatureCache() if cache is None else cache
        self.reuse_regions = reuse_regions
        self.counters = Counters()
        self.lean = StepDown(self)
        self._encoder = SliceEncoder(self)
        self._shown = self._encoder.shown
        self._lock = threading.RLock()
        self._closed = False
        self._tracker: Tracker | None = None
        self.key = uuid.uuid4().hex

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the features kept in memory (a cache that was given is left to its owner); no more prompts."""
        with self._lock:
            self._closed = True
            self._shown.clear()
            if self._owns_cache:
                self.cache.clear()

    @property
    def tracker(self) -> Tracker | None:
        """Propagation with memory, for a model that has one (SAM 2, MedSAM2); else None."""
        if self._tracker is None and getattr(self.model, "has_memory", False):
            from .memory_tracker import MemoryTracker

            self._tracker = MemoryTracker(self)
        return self._tracker

    def encode(self, indices: range | list[int], progress: Progress | None = None) -> int:
        """Encode whole slices ahead of time (idle time, or an explicit wish); returns how many were new.

        ``range(session.count)`` prepares the whole volume: prompts and propagations then encode nothing, but for
        regions around small objects. Models that use regions are shown whole slices only for point prompts, so there
        is little to gain for them. Slices are encoded together where the hardware gains by it (``look_ahead`` of the
        model). A cancel keeps what is done.
        """
        progress = progress or Progress()
        before = self.counters.encodes
        progress.start("Encoding slices", len(indices))
        for number, index in enumerate(indices):
            progress.check()
            self.expect(index, indices[number + 1 :])
            self.features(index, None)
            progress.advance()
        return self.counters.encodes - before

    def expect(self, index: int, onward: Sequence[int]) -> None:
        """Announce that slice ``index`` is asked for next and then, unless the walk ends, ``onward`` in this order.

        If ``index`` has to be encoded as a whole slice, up to ``model.look_ahead`` of the others are encoded with it;
        see :class:`~SegmentAnythingMedLib.engine.look_ahead.LookAhead`. Results do not depend on it.
        """
        with self._lock:
            self._encoder.expect(index, onward)

    def features(self, index: int, region: Region | None) -> SliceFeatures:
        """Features of a slice or a region of it (in pixels of the shown slice), from the cache or made now.

        Raises:
            InputError: ``option.slice``.
        """
        with self._lock:
            if self._closed:
                raise SegmentAnythingMedError("session.closed", "The session was closed; open a new one.")
            return self._encoder.features(index, region)

    def predict(
        self,
        index: int,
        prompts: SlicePrompts,
        *,
        propagated: bool = False,
        previous: SessionResult | None = None,
        near: bool = False,
    ) -> SessionResult:
        """The mask of one object on one slice.

        Args:
            index: slice of the stack.
            prompts: all prompts of the object on this slice.
            propagated: the prompts come from a neighbouring slice: one mask, no choice among candidates.
            previous: the last result of the same object on this slice; its logits become the mask prompt, as SAM's
                own interactive use does.
            near: the mask around the prompted box or mask is wanted, as when an object is followed from slice to slice:
                some models are faster when they may leave out what lies apart from it.

        Returns:
            The mask that the model thinks best; all False when it finds nothing.

        Raises:
            PromptError: ``prompt.empty``, ``prompt.only_negative``, ``prompt.references``.
        """
        return self._ranked(index, prompts, propagated, previous, False, near)[0]

    def candidates(self, index: int, prompts: SlicePrompts) -> list[SessionResult]:
        """SAM's three candidate masks for the prompts, best predicted IoU first; see :meth:`predict`."""
        return self._ranked(index, prompts, False, None, True)

    def goes_on(self, mask: np.ndarray, index: int, beyond: int) -> bool | None:
        """Whether the object under a mask of slice ``index`` seems to be on slice ``beyond`` too; encodes nothing.

        See :func:`~SegmentAnythingMedLib.engine.appearance.seems_to_go_on`.
        """
        around = _around(mask, RING_PX + 1)
        here, there = (self.mapping.apply(self.stack.image(n)[around]) for n in (index, beyond))
        return seems_to_go_on(here, mask[around], there)

    def contrast(self, mask: np.ndarray, index: int) -> tuple[float, float] | None:
        """Mean (0..1) under a mask and of its surroundings, or None where the object does not stand out."""
        around = _around(mask, RING_PX + 1)
        return contrast_of(self.mapping.apply(self.stack.image(index)[around]), mask[around])

    def mean_under(self, mask: np.ndarray, index: int) -> float:
        """Mean (0..1) of a slice under a mask, not empty."""
        around = _around(mask, 0)
        return mean_under(self.mapping.apply(self.stack.image(index)[around]), mask[around])

    def reference(self, mask: np.ndarray, index: int) -> Any | None:
        """What the object under a mask (bool [H, W]) of slice ``index`` looks like, for prompts on other slices.

        None for a model that does not use references, and for an empty or very small mask. Encodes nothing where the
        object was prompted before.
        """
        if not self.model.uses_references or not mask.any():
            return None
        with self._lock:
            shown = np.ascontiguousarray(self.orientation.show(mask))
            box = extent_of(SlicePrompts(mask=shown))
            known = self._shown.get(index, {}) if self.reuse_regions else {}
            seen = [region for region in known if region is not None and region.contains_box(box)]
            region = min(seen, key=lambda region: region.height, default=None) or self._region(index, box)
            return self.model.reference(self.features(index, region), shown)

    def _ranked(
        self,
        index: int,
        prompts: SlicePrompts,
        propagated: bool,
        previous: SessionResult | None,
        want_all: bool,
        near: bool = False,
    ) -> list[SessionResult]:
        if prompts.empty:
            raise PromptError("prompt.empty", "Expected a point, a box or a mask on the slice, got none.")
        if prompts.only_negative:
            raise PromptError(
                "prompt.only_negative", "Expected at least one positive prompt; got negative points only."
            )
        if prompts.references and not self.model.uses_references:
            raise PromptError("prompt.references", f"The model {self.model.info.name} does not use references.")
        prompts = self.orientation.show_prompts(prompts, self.shape)
        with self._lock:
            results = self._answers(index, prompts, propagated, previous, want_all, near)
        return [self._stored(result) for result in results]

    def _answers(
        self,
        index: int,
        prompts: SlicePrompts,
        propagated: bool,
        previous: SessionResult | None,
        want_all: bool,
        near: bool,
    ) -> list[SessionResult]:
        """Prompts and results in pixels of the shown slice; all helpers below likewise."""
        if previous is not None and previous.low_res_logits is not None and previous.mask.any():
            previous = replace(previous, mask=self.orientation.show(previous.mask))
            return self._corrected(index, prompts, previous, want_all)
        box = extent_of(prompts)
        if box is None and self.model.uses_regions:
            return self._from_points(index, prompts, propagated, want_all)
        region = None if box is None else self._region(index, box)
        ambiguous = box is None and len(prompts.points) == 1 and not propagated
        return self._decode(index, region, prompts, None, want_all or ambiguous, near)

    def _stored(self, result: SessionResult) -> SessionResult:
        mask, logits = (np.ascontiguousarray(self.orientation.store(array)) for array in (result.mask, result.logits))
        return replace(result, mask=mask, logits=logits)

    def _corrected(
        self, index: int, prompts: SlicePrompts, previous: SessionResult, want_all: bool
    ) -> list[SessionResult]:
        region = previous.region
        positive = prompts.points[prompts.labels == 1]
        box = extent_of(replace(prompts, mask=previous.mask))
        inside = region is None or all(region.contains_box((x, y, x, y)) for x, y in positive)
        if inside:
            results = self._decode(index, region, prompts, previous.low_res_logits, want_all)
        else:  # a click outside what the model was shown: look at more, with the last mask as the mask prompt
            mask_too = replace(prompts, mask=previous.mask)
            results = self._decode(index, self._region(index, box), mask_too, None, want_all)
        if not self.model.uses_regions or extent_of(prompts) is not None:
            return results
        # The last mask may have been of another object altogether, say of the brain in place of a tumour: clicks that
        # it still contradicts after the correction are answered afresh.
        kept = agreement(results[0].mask, prompts)
        if kept == 1:
            return results
        fresh = self._from_points(index, prompts, False, want_all)
        return fresh if agreement(fresh[0].mask, prompts) > kept else results

    def _from_points(self, index: int, prompts: SlicePrompts, propagated: bool, want_all: bool) -> list[SessionResult]:
        """Points alone, for a model that must know the object's size: search over sizes, then look closely."""

        def decode(region: Region | None, asked: SlicePrompts, several: bool) -> list[SessionResult]:
            """What the search asks for, on this slice."""
            return self._decode(index, region, asked, None, several)

        return find_object(
            decode, prompts, self._shape, self._spacing, lambda box: self._region(index, box),
            several=want_all, single_mask=propagated,
        )  # fmt: skip

    def _region(self, index: int, box: tuple[float, float, float, float]) -> Region | None:
        wanted = choose_region(self.model, box, self._shape, self._spacing)
        known = self._shown.get(index, {})
        if wanted is None or wanted in known or not self.reuse_regions:
            return wanted
        fitting = (region for region in known if region is not None and still_fits(region, box, self._spacing))
        return next(fitting, wanted)

    def _decode(
        self,
        index: int,
        region: Region | None,
        prompts: SlicePrompts,
        mask_input: np.ndarray | None,
        several: bool,
        near: bool = False,
    ) -> list[SessionResult]:
        more = {"near": True} if near and self.model.decodes_near else {}
        features = self.features(index, region)
        begun = time.perf_counter()
        prediction = self.lean.run(
            lambda: self.model.decode(features, prompts, mask_input=mask_input, multimask_output=several, **more)
        )
        self.counters.decodes += 1
        self.counters.decode_s += time.perf_counter() - begun
        return ordered(prediction, region)


def _around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    row0, row1, col0, col1 = mask_bounds(mask)
    return np.s_[max(row0 - margin, 0) : row1 + margin, max(col0 - margin, 0) : col1 + margin]
