"""One slice of a session, or a region of it, as the methods of this package see it: encoded, with its tokens.

A session turns slices before the model sees them (``engine/orientation.py``). Whatever people and other packages give
or get is in *stored* pixels; a view's features, tokens and frame, and what its ``decode`` takes and gives, are in
*shown* pixels. The methods work in shown pixels from start to end and turn only their result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.orientation import Orientation
from ..engine.regions import square
from ..engine.session import Session
from ..models.frame import Frame, Region
from ..models.interface import PromptableModel, SliceFeatures, SlicePrediction
from ..prompts.types import Box, SlicePrompts


@dataclass(frozen=True, eq=False)
class View:
    """An encoded slice or region; made by :func:`view`.

    Attributes:
        session: whose volume and model it is.
        index: slice of the session's stack.
        features: of the model; in shown pixels.
        memo: what methods computed from this view and may want again; lives as long as the view.
    """

    session: Session
    index: int
    features: SliceFeatures
    memo: dict[Any, Any] = field(default_factory=dict)

    @property
    def model(self) -> PromptableModel:
        """The session's model."""
        return self.session.model

    @property
    def orientation(self) -> Orientation:
        """How the slice is turned before the model sees it."""
        return self.session.orientation

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the slice in stored pixels."""
        return self.session.shape

    @property
    def frame(self) -> Frame:
        """Geometry between shown pixels and the network's input; ``frame.slice_shape`` is the shown shape."""
        return self.features.frame

    @property
    def pixel_spacing(self) -> tuple[float, float]:
        """(row, column) distance of pixel centres of the shown slice in mm."""
        return self.orientation.pair(self.session.pixel_spacing)

    @cached_property
    def tokens(self) -> np.ndarray:
        """float32 [h, w, C], raw features on the token grid (of the shown slice); raises ``model.no_tokens``."""
        return self.model.tokens(self.features)

    @cached_property
    def standardised(self) -> np.ndarray:
        """float32 [h, w, C]: tokens whose channels have mean 0 and deviation 1 over the valid cells of this view.

        What a whole picture has in common (modality, contrast, position in the network's input) drops out, so that
        tokens of different visits can be compared.
        """
        shown = self.tokens[self.valid] if self.valid.any() else self.tokens.reshape(-1, self.tokens.shape[-1])
        return (self.tokens - shown.mean(axis=0)) / np.maximum(shown.std(axis=0), 1e-6)

    @cached_property
    def valid(self) -> np.ndarray:
        """bool [h, w]: cells of the token grid that show the slice, not padding; raises ``model.no_tokens``."""
        return self.model.tokens_valid(self.features)

    @property
    def token_mm(self) -> tuple[float, float]:
        """(row, column) size of a cell of the token grid in mm."""
        rows, cols = self.tokens.shape[:2]
        sx, sy = self.frame.scale
        dy, dx = self.pixel_spacing
        return self.frame.size / rows / sy * dy, self.frame.size / cols / sx * dx

    def show(self, mask: np.ndarray) -> np.ndarray:
        """An array [H, W] of stored pixels as shown."""
        return np.ascontiguousarray(self.orientation.show(mask))

    def store(self, mask: np.ndarray) -> np.ndarray:
        """An array [H, W] of shown pixels as stored."""
        return np.ascontiguousarray(self.orientation.store(mask))

    def show_points(self, points: np.ndarray) -> np.ndarray:
        """Points (x, y) [N, 2] in stored pixels -> in shown pixels."""
        return self.orientation.show_points(points, self.shape)

    def store_points(self, points: np.ndarray) -> np.ndarray:
        """Points (x, y) [N, 2] in shown pixels -> in stored pixels."""
        rows, cols = self.frame.slice_shape
        points = np.array(points, dtype=np.float64).reshape(-1, 2)
        if self.orientation.flip_cols:
            points[:, 0] = cols - 1 - points[:, 0]
        if self.orientation.flip_rows:
            points[:, 1] = rows - 1 - points[:, 1]
        return points[:, ::-1].copy() if self.orientation.transpose else points

    def show_box(self, box: Box) -> Box:
        """A box (x0, y0, x1, y1) in stored pixels -> in shown pixels."""
        corners = self.show_points(np.reshape(box, (2, 2)))
        return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())

    def decode(
        self,
        prompts: SlicePrompts,
        *,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = False,
        **more: Any,
    ) -> SlicePrediction:
        """Masks of the model for prompts, all in shown pixels; counted by the session.

        Args:
            prompts, mask_input, multimask_output: see ``PromptableModel.decode``.
            more: ``guidance``, for models that support it.
        """
        return self._counted(
            lambda: self.model.decode(
                self.features, prompts, mask_input=mask_input, multimask_output=multimask_output, **more
            )
        )

    def decode_many(
        self, prompts: Sequence[SlicePrompts], *, mask_inputs: Sequence[np.ndarray | None] | None = None
    ) -> list[SlicePrediction]:
        """Single masks for several prompts, in shown pixels; each is counted. See ``PromptableModel.decode_many``."""
        counters, begun = self.session.counters, time.perf_counter()
        predictions = self.model.decode_many(self.features, prompts, mask_inputs=mask_inputs)
        counters.decodes += len(predictions)
        counters.decode_s += time.perf_counter() - begun
        return predictions

    def decode_unprompted(self) -> SlicePrediction:
        """The model's mask for no prompt at all, in shown pixels; raises ``model.needs_prompt`` (``ModelError``)."""
        return self._counted(lambda: self.model.decode_unprompted(self.features))

    def _counted(self, decode: Callable[[], SlicePrediction]) -> SlicePrediction:
        counters, begun = self.session.counters, time.perf_counter()
        prediction = decode()
        counters.decodes += 1
        counters.decode_s += time.perf_counter() - begun
        return prediction


def view(session: Session, index: int, region: Region | None = None) -> View:
    """A slice of a session, encoded now or taken from the session's cache.

    Args:
        session: with any model.
        index: slice of the session's stack.
        region: in stored pixels, e.g. from :func:`square_region`; may reach over the slice's edge. None is the whole
            slice.

    Raises:
        InputError: ``option.slice``.
    """
    return View(session, index, session.features(index, None if region is None else _shown(region, session)))


def square_region(session: Session, centre_xy: tuple[float, float], side_mm: float) -> Region:
    """A region that is square in mm, for :func:`view`.

    Regions of equal ``side_mm`` on two volumes show equally much tissue, whatever the pixel sizes, up to rounding to
    whole pixels. The side grows in steps of 8 % (``engine.regions.square``).

    Args:
        session: whose pixel spacing counts.
        centre_xy: (x, y) in stored pixels.
        side_mm: length of a side.

    Returns:
        In stored pixels.
    """
    return square(centre_xy, side_mm, session.pixel_spacing)


def _shown(region: Region, session: Session) -> Region:
    orientation, (rows, cols) = session.orientation, session.orientation.pair(session.shape)
    row0, col0, row1, col1 = region.row0, region.col0, region.row1, region.col1
    if orientation.transpose:
        row0, col0, row1, col1 = col0, row0, col1, row1
    if orientation.flip_rows:
        row0, row1 = rows - row1, rows - row0
    if orientation.flip_cols:
        col0, col1 = cols - col1, cols - col0
    return Region(row0, col0, row1, col1)
