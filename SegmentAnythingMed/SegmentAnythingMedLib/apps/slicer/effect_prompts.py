"""Prompts given inside of the Segment Editor effect: from pixels of a slice view to voxels. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from ...errors import PromptError
from ...prompts.volume_prompts import BoxPrompt, PointPrompt, Prompt
from ...space.planes import AXES
from .geometry import axis_of_view, map_points, world_to_ijk

SKEW = 0.5
"""Largest distance, in voxels, of a drawn rectangle's corners from a rectangle along the voxels."""


class Place(NamedTuple):
    """A slice of a segment: id of the segment, axis ``k``, ``j`` or ``i``, slice number."""

    segment_id: str
    axis: str
    index: int


@dataclass(eq=False)
class PromptedSlice:
    """Prompts of one slice and what the slice held.

    Attributes:
        before: bool [rows, columns], content before the first prompt; masks are added to it.
        after: content after the last answer; None before there was one.
        prompts: in the order in which they were given.
        marks: (position in RAS mm [n, 3], label) of what is shown for each prompt: 1 inside, 0 outside, 2 box.
    """

    before: np.ndarray
    after: np.ndarray | None = None
    prompts: list[Prompt] = field(default_factory=list)
    marks: list[tuple[np.ndarray, int]] = field(default_factory=list)


def ras_of_pixels(slice_node: slicer.vtkMRMLSliceNode, pixels: Sequence[Sequence[float]]) -> np.ndarray:
    """Pixels (x, y) of a slice view in RAS mm, float64 [N, 3]."""
    matrix = slice_node.GetXYToRAS()
    return np.array([matrix.MultiplyPoint((float(x), float(y), 0.0, 1.0))[:3] for x, y in pixels])


def point_prompt(slice_node: Any, volume: Any, pixel: Sequence[float], label: int) -> tuple[str, int, PointPrompt]:
    """A click in a slice view as a prompt on the nearest slice: (axis, slice, prompt).

    Raises:
        PromptError: ``prompt.oblique_view``, ``prompt.outside``. InputError: ``volume.transform``.
    """
    axis, place = _axis(slice_node, volume)
    ijk = map_points(world_to_ijk(volume), ras_of_pixels(slice_node, [pixel]))[0]
    index = _slice(volume, ijk, place)
    ijk[place] = index
    return axis, index, PointPrompt(tuple(map(float, ijk)), label)


def box_prompt(
    slice_node: Any, volume: Any, pixel: Sequence[float], opposite: Sequence[float]
) -> tuple[str, int, BoxPrompt]:
    """A rectangle drawn in a slice view as a prompt on the nearest slice: (axis, slice, prompt).

    Raises:
        PromptError: ``prompt.oblique_view``; ``prompt.oblique_box`` when the view is turned within its plane, so that
            the rectangle is not one of voxels; ``prompt.outside``. InputError: ``volume.transform``.
    """
    axis, place = _axis(slice_node, volume)
    (x0, y0), (x1, y1) = pixel, opposite
    corners = ras_of_pixels(slice_node, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    ijk = map_points(world_to_ijk(volume), corners)
    index = _slice(volume, ijk.mean(axis=0), place)
    ijk[:, place] = index
    low, high = ijk.min(axis=0), ijk.max(axis=0)
    off = np.minimum(np.abs(ijk - low), np.abs(ijk - high)).max()
    if off > SKEW:
        raise PromptError(
            "prompt.oblique_box",
            _(
                "Expected a rectangle along the voxels; the view is turned, and the corners are {off:.1f} voxels off. "
                "Turn the view to the volume's plane (Slice view menu > Rotate to volume plane), or use points."
            ).format(off=off),
        )
    return axis, index, BoxPrompt(tuple(map(float, low)), tuple(map(float, high)))


def _axis(slice_node: Any, volume: Any) -> tuple[str, int]:
    axis = axis_of_view(slice_node, volume)
    if axis is None:
        raise PromptError(
            "prompt.oblique_view",
            _(
                "Expected a view along the slices of the volume; this view cuts them at an angle. Rotate it to the "
                "volume plane (Slice view menu > Rotate to volume plane)."
            ),
        )
    return axis, 2 - AXES.index(axis)  # of an index (I, J, K)


def _slice(volume: Any, ijk: np.ndarray, place: int) -> int:
    """Nearest slice; half way between two it is the higher one."""
    count = volume.GetImageData().GetDimensions()[place]
    index = int(np.floor(ijk[place] + 0.5))
    if not 0 <= index < count:
        raise PromptError(
            "prompt.outside",
            _("Expected a prompt on a slice 0 to {n} of the volume; this view shows {index}.").format(
                n=count - 1, index=index
            ),
        )
    return index
