"""Prompts in a volume -> seeds on the slices of a stack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy import ndimage

from ..errors import PromptError
from ..space.planes import SliceStack
from .seeds import ObjectSeeds
from .types import Box, SlicePrompts
from .volume_prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    StopMark,
    VolumePrompts,
    to_ijk,
)

MAX_POINTS = 32
"""Points of one label on one slice; more are thinned (every point is a token to decode, and SAM saw about ten)."""
SCRIBBLE_POINTS = 8
"""Points along a scribble on one slice."""
SCRIBBLE_STEP_PX = 0.25


def resolve(prompts: VolumePrompts, stack: SliceStack) -> dict[str, ObjectSeeds]:
    """Seeds, stop marks and drawn slices of every object on the slices of ``stack``.

    What can be repaired is repaired and noted (inverted or too large boxes, contradictory or too many points, empty
    scribbles and masks); the rest is refused before anything is done.

    Raises:
        PromptError: ``prompt.none``, ``prompt.only_negative``, ``prompt.outside``, ``prompt.box_empty``,
            ``prompt.box_slices`` (corners on different slices), ``prompt.wrong_volume``, ``prompt.wrong_axis``.
    """
    size = stack.volume.shape[::-1]
    if prompts.size is not None and tuple(prompts.size) != tuple(size):
        raise PromptError(
            "prompt.wrong_volume",
            f"Expected prompts for this volume of {_times(size)} voxels; they were made for one of "
            f"{_times(prompts.size)}.",
        )
    if not prompts.objects:
        raise PromptError("prompt.none", "Expected at least one object with a prompt; got none.")
    resolved = {}
    for name, given in prompts.objects.items():
        try:
            resolved[name] = _seeds(given, stack)
            resolved[name].check(stack.count, stack.shape)
        except PromptError as error:
            if len(prompts.objects) == 1:
                raise
            raise PromptError(error.code, f"Object {name!r}: {error.message}") from None
    return resolved


@dataclass
class _Gathered:
    """Prompts of one object on one slice, in the order in which they came."""

    points: list[tuple[float, float, int]] = field(default_factory=list)
    box: Box | None = None
    hint: np.ndarray | None = None
    drawn: np.ndarray | None = None


class _Collector:
    """Sorts the prompts of one object by slice."""

    def __init__(self, stack: SliceStack) -> None:
        self.stack, self.slices, self.stops, self.notes = stack, {}, set(), []

    def on(self, index: int) -> _Gathered:
        return self.slices.setdefault(int(index), _Gathered())

    def add(self, prompt: Prompt) -> None:
        if isinstance(prompt, PointPrompt):
            indices, points = self._place([prompt.position], prompt.space)
            self.on(indices[0]).points.append((*points[0], prompt.label))
        elif isinstance(prompt, BoxPrompt):
            self._add_box(prompt)
        elif isinstance(prompt, MaskPrompt):
            self._add_mask(prompt)
        elif isinstance(prompt, ScribblePrompt):
            self._add_scribble(prompt)
        elif isinstance(prompt, StopMark):
            self._check_slice(prompt.slice)
            self.stops.add(prompt.slice)
        else:
            raise PromptError("prompt.kind", f"Expected a point, box, mask, scribble or stop mark; got {prompt!r}.")

    def _place(self, positions: Iterable, space: str) -> tuple[np.ndarray, np.ndarray]:
        given = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
        ijk = to_ijk(given, space, self.stack.volume.affine)
        outside = np.flatnonzero(~self.stack.volume.contains(ijk))
        if len(outside):
            raise self._outside(given[outside[0]], space, ijk[outside[0]])
        indices, points = self.stack.to_plane(ijk)
        return np.clip(indices, 0, self.stack.count - 1), points

    def _outside(self, given: np.ndarray, space: str, ijk: np.ndarray) -> PromptError:
        where = f"{_commas(given)} ({space})" + ("" if space == "ijk" else f", which is voxel {_commas(ijk)}")
        last = [n - 1 for n in self.stack.volume.shape[::-1]]
        return PromptError(
            "prompt.outside", f"Expected a prompt inside the volume, voxels 0,0,0 to {_commas(last)}; got {where}."
        )

    def _check_slice(self, index: int) -> None:
        if not 0 <= index < self.stack.count:
            raise PromptError(
                "prompt.outside",
                f"Expected a slice 0 to {self.stack.count - 1} on axis {self.stack.axis}; got {index}.",
            )

    def _add_box(self, prompt: BoxPrompt) -> None:
        ijk = to_ijk(np.array([prompt.corner0, prompt.corner1]), prompt.space, self.stack.volume.affine)
        (first, second), corners = self.stack.to_plane(ijk)
        if first != second:
            raise PromptError(
                "prompt.box_slices",
                f"Expected both corners of a box on one slice of axis {self.stack.axis}; got slices {first}, {second}.",
            )
        rows, cols = self.stack.shape
        low, high = corners.min(axis=0), corners.max(axis=0)
        if not 0 <= first < self.stack.count or (low > (cols - 0.5, rows - 0.5)).any() or (high < -0.5).any():
            raise self._outside(np.array(prompt.corner0), prompt.space, ijk[0])
        if np.array_equal(corners[0], corners[1]):
            raise PromptError("prompt.box_empty", f"Expected a box with an area; got {_commas(prompt.corner0)} twice.")
        self._note_box(first, corners, (low < -0.5).any() or (high > (cols - 0.5, rows - 0.5)).any(), prompt.space)
        place = self.on(first)
        if place.box is not None:
            self.notes.append(f"Slice {first} had more than one box; the last one counts.")
        place.box = (
            float(max(low[0] - 0.5, -0.5)),
            float(max(low[1] - 0.5, -0.5)),
            float(min(high[0] + 0.5, cols - 0.5)),
            float(min(high[1] + 0.5, rows - 0.5)),
        )

    def _note_box(self, index: int, corners: np.ndarray, too_large: bool, space: str) -> None:
        # In patient space the signs of the axes decide which corner is the lower one: nothing to remark.
        if space == "ijk" and (corners[0] > corners[1]).any():
            self.notes.append(f"The corners of the box on slice {index} were inverted; they were put in order.")
        if too_large:
            self.notes.append(f"The box on slice {index} reached out of the image; it was clipped.")

    def _add_mask(self, prompt: MaskPrompt) -> None:
        self._check_slice(prompt.slice)
        if prompt.axis is not None and prompt.axis != self.stack.axis:
            raise PromptError(
                "prompt.wrong_axis",
                f"Expected a mask on axis {self.stack.axis}; got one of axis {prompt.axis}. Segment along that axis.",
            )
        if prompt.mask.shape != tuple(self.stack.shape):
            raise PromptError(
                "prompt.wrong_volume",
                f"Expected a mask of {_times(self.stack.shape)} pixels on axis {self.stack.axis}; got "
                f"{_times(prompt.mask.shape)}. It was drawn on another volume or axis.",
            )
        if not prompt.mask.any():
            self.notes.append(f"The mask on slice {prompt.slice} is empty and left out.")
            return
        place = self.on(prompt.slice)
        if place.drawn is not None and prompt.keep:
            self.notes.append(f"Slice {prompt.slice} had more than one mask; the last one counts.")
        if prompt.keep:
            place.drawn = prompt.mask
        else:
            place.hint = prompt.mask if place.hint is None else place.hint | prompt.mask

    def _add_scribble(self, prompt: ScribblePrompt) -> None:
        if not len(prompt.polyline):
            self.notes.append("An empty scribble was left out.")
            return
        indices, points = self._place(_dense(prompt.polyline, prompt.space, self.stack), "ijk")
        for index in np.unique(indices):
            line, place = points[indices == index], self.on(index)
            few = line[np.unique(np.linspace(0, len(line) - 1, SCRIBBLE_POINTS).round().astype(int))]
            place.points += [(float(x), float(y), prompt.label) for x, y in few]
            if prompt.label == 1:
                mask = _line_mask(line, self.stack.shape)
                place.hint = mask if place.hint is None else place.hint | mask


def _dense(polyline: np.ndarray, space: str, stack: SliceStack) -> np.ndarray:
    """Points along a polyline in voxel indices, close enough to touch every pixel on the way."""
    vertices = to_ijk(polyline, space, stack.volume.affine)
    inside = stack.volume.contains(vertices)
    if not inside.all() or len(vertices) == 1:
        return vertices  # the caller refuses what is outside; do not walk to infinity first
    pieces = [vertices[:1]]
    for start, end in pairwise(vertices):
        steps = int(np.ceil(np.abs(end - start).max() / SCRIBBLE_STEP_PX)) or 1
        pieces.append(start + (end - start) * (np.arange(1, steps + 1) / steps)[:, None])
    return np.concatenate(pieces)


def _line_mask(line: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels of a line, three pixels wide: a thinner one vanishes in the network's small mask input."""
    mask = np.zeros(shape, dtype=bool)
    cols, rows = np.floor(line + 0.5).astype(int).T
    mask[np.clip(rows, 0, shape[0] - 1), np.clip(cols, 0, shape[1] - 1)] = True
    return ndimage.binary_dilation(mask, np.ones((3, 3), dtype=bool))


def _seeds(given: Iterable[Prompt], stack: SliceStack) -> ObjectSeeds:
    collected = _Collector(stack)
    for prompt in given:
        collected.add(prompt)
    seeds, drawn, notes = {}, set(), collected.notes
    stops = set(collected.stops)
    for index, place in sorted(collected.slices.items()):
        if place.drawn is not None:
            if place.points or place.box is not None or place.hint is not None:
                notes.append(f"The mask drawn on slice {index} is kept as it is; the other prompts there are left out.")
            seeds[index] = SlicePrompts(mask=place.drawn)
            drawn.add(index)
            continue
        points, labels = _points(place.points, index, notes)
        prompts = SlicePrompts(points, labels, place.box, place.hint)
        if prompts.only_negative:
            stops.add(index)
            if len(points) > 1:
                notes.append(f"Slice {index} has nothing but negative points: it is taken as a stop mark.")
        else:
            seeds[index] = prompts
    both = sorted(stops & set(seeds))
    notes += [f"The stop mark on slice {index} is left out: the object is prompted there." for index in both]
    return ObjectSeeds(seeds, frozenset(stops - set(seeds)), frozenset(drawn), tuple(notes))


def _points(given: list[tuple[float, float, int]], index: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Points and labels of a slice: one per pixel (the last), not too many."""
    last: dict[tuple[int, int], tuple[float, float, int]] = {}
    for x, y, label in given:
        pixel = (int(np.floor(x + 0.5)), int(np.floor(y + 0.5)))
        before = last.pop(pixel, None)
        if before is not None and before[2] != label:
            notes.append(
                f"Pixel {pixel[0]},{pixel[1]} of slice {index} was marked inside and outside; the last mark counts."
            )
        last[pixel] = (x, y, label)
    kept = list(last.values())
    for label in (1, 0):
        places = [n for n, point in enumerate(kept) if point[2] == label]
        if len(places) > MAX_POINTS:
            chosen = {places[n] for n in _spread(np.array([kept[n][:2] for n in places]), MAX_POINTS)}
            notes.append(
                f"Slice {index} has {len(places)} {'positive' if label else 'negative'} points; {MAX_POINTS} that "
                "cover them are used."
            )
            kept = [point for n, point in enumerate(kept) if point[2] != label or n in chosen]
    points = np.array([point[:2] for point in kept], dtype=np.float64).reshape(-1, 2)
    return points, np.array([point[2] for point in kept], dtype=np.int64)


def _spread(points: np.ndarray, count: int) -> list[int]:
    """Indices of ``count`` points that cover all: each next one is the farthest from those before (Gonzalez 1985)."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


def _commas(numbers: Iterable[float]) -> str:
    return ",".join(f"{number:.6g}" for number in numbers)


def _times(numbers: Iterable[int]) -> str:
    return " x ".join(str(int(number)) for number in numbers)
