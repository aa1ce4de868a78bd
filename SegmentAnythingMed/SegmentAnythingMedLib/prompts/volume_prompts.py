"""Prompts as people give them: in a volume, in voxel indices or in patient space, for one or several objects.

:func:`~SegmentAnythingMedLib.prompts.resolve.resolve` turns them into prompts on slices,
:mod:`~SegmentAnythingMedLib.prompts.json_form` reads and writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError, PromptError
from ..space.affine import Affine, ras_to_lps
from ..space.planes import AXES, SliceStack

SPACES = ("ijk", "lps", "ras")
Position = tuple[float, float, float]


def to_ijk(positions: np.ndarray, space: str, affine: Affine) -> np.ndarray:
    """Positions [N, 3] in ``space`` -> continuous voxel indices [N, 3], to a millionth of a voxel."""
    if space == "ijk":
        return positions
    return affine.lps_to_ijk(ras_to_lps(positions) if space == "ras" else positions).round(6)


@dataclass(frozen=True)
class PointPrompt:
    """A point inside (label 1) or outside (label 0) of the object.

    A slice on which an object has nothing but negative points is a stop mark.

    Attributes:
        position: (I, J, K) voxel index, voxel centres at whole numbers, or (L, P, S) / (R, A, S) in mm.
        label: 1 or 0.
        space: ``ijk``, ``lps`` or ``ras``.

    Raises:
        PromptError: ``prompt.position``, ``prompt.label``.
        InputError: ``option.space``.
    """

    position: Position
    label: int = 1
    space: str = "ijk"

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", _position(self.position))
        _check_label(self.label)
        _check_space(self.space)


@dataclass(frozen=True)
class BoxPrompt:
    """A rectangle on one slice.

    Attributes:
        corner0: centre of a corner pixel, as ``PointPrompt.position``; the corner pixels belong to the box.
        corner1: centre of the opposite corner pixel, on the same slice.
        space: ``ijk``, ``lps`` or ``ras``.

    Raises:
        PromptError: ``prompt.position``.
        InputError: ``option.space``.
    """

    corner0: Position
    corner1: Position
    space: str = "ijk"

    def __post_init__(self) -> None:
        object.__setattr__(self, "corner0", _position(self.corner0))
        object.__setattr__(self, "corner1", _position(self.corner1))
        _check_space(self.space)

    @classmethod
    def in_plane(cls, values: Sequence[float], axis: str) -> BoxPrompt:
        """Box from five voxel indices: two in-plane corners in the order of I, J, K, then the slice.

        On axis k that is I0, J0, I1, J1, K; on axis j I0, K0, I1, K1, J; on axis i J0, K0, J1, K1, I.

        Raises:
            PromptError: ``prompt.position`` for another count of numbers.
        """
        if len(values) != 5:
            raise PromptError(
                "prompt.position", f"Expected a box of five numbers, two corners and a slice; got {len(values)}."
            )
        place = {"k": 2, "j": 1, "i": 0}[axis]
        corners = [list(values[0:2]), list(values[2:4])]
        for corner in corners:
            corner.insert(place, values[4])
        return cls(tuple(corners[0]), tuple(corners[1]))


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """A mask on one slice.

    Attributes:
        mask: bool [rows, columns] of a slice along the axis that is segmented.
        slice: slice number.
        axis: ``k``, ``j`` or ``i``, the axis that the mask was drawn for; None trusts its shape.
        keep: True: the mask is the user's final word on this slice. False: it is a hint for the model.

    Raises:
        PromptError: ``prompt.mask``, ``prompt.position``.
        InputError: ``option.axis``.
    """

    mask: np.ndarray
    slice: int
    axis: str | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        mask = np.asarray(self.mask)
        if mask.ndim != 2:
            raise PromptError("prompt.mask", f"Expected a mask of rows x columns; got an array of shape {mask.shape}.")
        object.__setattr__(self, "mask", mask > 0)
        object.__setattr__(self, "slice", _slice(self.slice))
        if self.axis is not None and self.axis not in AXES:
            raise InputError("option.axis", f"Expected the axis k, j or i; got {self.axis!r}.")


@dataclass(frozen=True, eq=False)
class ScribblePrompt:
    """A line drawn into the object (label 1) or outside of it (label 0), on one slice or across several.

    It becomes points along the line on every slice that it visits, and, when positive, a mask of the line as a hint.

    Attributes:
        polyline: float64 [N, 3], vertices as ``PointPrompt.position``.
        label: 1 or 0.
        space: ``ijk``, ``lps`` or ``ras``.

    Raises:
        PromptError: ``prompt.position``, ``prompt.label``.
        InputError: ``option.space``.
    """

    polyline: np.ndarray
    label: int = 1
    space: str = "ijk"

    def __post_init__(self) -> None:
        vertices = [_position(vertex) for vertex in self.polyline]
        object.__setattr__(self, "polyline", np.array(vertices, dtype=np.float64).reshape(-1, 3))
        _check_label(self.label)
        _check_space(self.space)


@dataclass(frozen=True)
class StopMark:
    """A slice that the object does not reach; a propagation never passes it.

    Attributes:
        slice: slice number.

    Raises:
        PromptError: ``prompt.position``.
    """

    slice: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "slice", _slice(self.slice))


Prompt = PointPrompt | BoxPrompt | MaskPrompt | ScribblePrompt | StopMark


@dataclass(frozen=True, eq=False)
class VolumePrompts:
    """Prompts for one or several objects of one volume.

    Attributes:
        objects: name -> prompts in the order in which they were given; of contradictory ones the last wins.
        size: (I, J, K) voxels of the volume they were made for, or None; they are refused on another one.
    """

    objects: Mapping[str, Sequence[Prompt]] = field(default_factory=dict)
    size: tuple[int, int, int] | None = None

    @classmethod
    def single(cls, prompts: Iterable[Prompt], name: str = "object") -> VolumePrompts:
        """Prompts of a single object."""
        return cls({name: list(prompts)})


def mask_prompts(mask: np.ndarray, stack: SliceStack, *, keep: bool = True) -> list[MaskPrompt]:
    """A mask prompt for every slice on which a mask [K, J, I] of the volume's grid has voxels.

    Raises:
        InputError: ``volume.shape`` when the mask has another shape.
        PromptError: ``prompt.mask_empty``.
    """
    found = []
    for index in range(stack.count):
        view = stack.mask_slice(mask, index) > 0
        if view.any():
            found.append(MaskPrompt(view, index, stack.axis, keep))
    if not found:
        raise PromptError("prompt.mask_empty", "Expected a mask with at least one voxel; it is empty.")
    return found


def _position(value: Any) -> Position:
    try:
        numbers = () if isinstance(value, str) else tuple(float(number) for number in value)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        raise PromptError("prompt.position", f"Expected a position of three finite numbers; got {value!r}.")
    return numbers


def _slice(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise PromptError("prompt.position", f"Expected a slice number; got {value!r}.")
    return int(value)


def _check_label(label: Any) -> None:
    if isinstance(label, bool) or label not in (0, 1):
        raise PromptError("prompt.label", f"Expected the label 1 (inside) or 0 (outside); got {label!r}.")


def _check_space(space: Any) -> None:
    if space not in SPACES:
        raise InputError("option.space", f"Expected the space ijk, lps or ras; got {space!r}.")
