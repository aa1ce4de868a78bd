"""What the figure of a prior visit shows: which slices of a structure, and both visits cut in the same plane.

The prior is cut through the linear part of the transform: it stays as it was, only turned and shifted, and what is left
beside today's image is what really changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..adaptive.transforms import VisitTransform
from ..adaptive.visit_results import Adaptation, PriorVisit, StructureResult
from ..space.intensity import IntensityMapping
from ..space.planes import SliceStack
from ..space.volume import Volume

PIXELS = 220
CONTEXT, LEAST_SIDE_MM = 1.8, 40.0
"""Side of a panel as a multiple of the structure's size, and at least that many mm."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One plane in both visits, square and of the same size in mm.

    Attributes:
        index: slice of the follow-up.
        side_mm: of the square.
        prior, follow_up: float64 [PIXELS, PIXELS], 0..1; the follow-up is None when the place lies outside of it.
        before: mask of the prior, float32 0..1 of the same shape.
        warped, segmented: W and S of the follow-up, the same.
        words: the decision of the slice.
    """

    index: int
    side_mm: float
    prior: np.ndarray
    follow_up: np.ndarray | None
    before: np.ndarray
    warped: np.ndarray
    segmented: np.ndarray
    words: str


@dataclass(frozen=True, eq=False)
class Scene:
    """Both visits as the figure needs them.

    Attributes:
        prior: the earlier visit.
        stack: slices of the follow-up.
        mappings: intensities of (prior, follow-up).
        transform: follow-up -> prior.
    """

    prior: PriorVisit
    stack: SliceStack
    mappings: tuple[IntensityMapping, IntensityMapping]
    transform: VisitTransform

    @classmethod
    def of(
        cls,
        result: Adaptation,
        prior: PriorVisit,
        follow_up: Volume,
        mappings: tuple[IntensityMapping, IntensityMapping],
    ) -> Scene:
        """Scene of a result."""
        return cls(prior, SliceStack(follow_up, result.axis), mappings, result.transform)

    def pairs(self, name: str, one: StructureResult, most: int) -> list[Pair]:
        """Up to ``most`` planes of a structure, in the order of the slices."""
        shown = choose_slices(one, self.stack, most)
        side = self._side_mm(name, one)
        if not shown:
            return [self._pair(name, one, *self._place_of_prior(name), side)]
        return [self._pair(name, one, index, self._centre(one, index), side) for index in shown]

    def _centre(self, one: StructureResult, index: int) -> np.ndarray:
        """(x, y) in the middle of what is there: the draft, else S, else W."""
        for mask in (one.mask, one.segmented, one.warped):
            rows, columns = np.nonzero(self.stack.mask_slice(mask, index))
            if len(rows):
                return np.array([columns.min() + columns.max(), rows.min() + rows.max()]) / 2
        return np.array(self.stack.shape[::-1]) / 2

    def _place_of_prior(self, name: str) -> tuple[int, np.ndarray]:
        """Where the prior's structure would lie on the follow-up's slices; may be outside of them."""
        kji = np.argwhere(self.prior.masks[name]).mean(axis=0)
        point = self.prior.volume.affine.ijk_to_lps([kji[::-1]])
        today = np.linalg.inv(self.transform.linear_part)
        point = point @ today[:3, :3].T + today[:3, 3]
        index, xy = self.stack.to_plane(self.stack.volume.affine.lps_to_ijk(point))
        return int(index[0]), xy[0]

    def _side_mm(self, name: str, one: StructureResult) -> float:
        sizes = [
            _extent_mm(mask, volume)
            for mask, volume in (
                (self.prior.masks[name], self.prior.volume),
                (one.warped, self.stack.volume), (one.segmented, self.stack.volume),
            )
        ]  # fmt: skip
        return max(LEAST_SIDE_MM, CONTEXT * max(sizes))

    def _pair(self, name: str, one: StructureResult, index: int, centre: np.ndarray, side: float) -> Pair:
        stack, volume = self.stack, self.stack.volume
        steps = (np.arange(PIXELS) + 0.5) / PIXELS * side - side / 2
        x = centre[0] + steps / stack.pixel_spacing[1]
        y = centre[1] + steps / stack.pixel_spacing[0]
        plane = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        today = stack.to_ijk(index, plane)
        before = volume.affine.ijk_to_lps(today) @ self.transform.linear_part[:3, :3].T
        before = self.prior.volume.affine.lps_to_ijk(before + self.transform.linear_part[:3, 3])
        outside = not 0 <= index < stack.count
        decision = next((s for s in one.slices if s.index == index), None)
        return Pair(
            index,
            side,
            _image(self.prior.volume, before, self.mappings[0]),
            None if outside else _image(volume, today, self.mappings[1]),
            _cut(self.prior.masks[name].view(np.uint8), before),
            _cut(one.warped.view(np.uint8), today),
            _cut(one.segmented.view(np.uint8), today),
            "" if decision is None else (decision.source or decision.outcome),
        )


def choose_slices(one: StructureResult, stack: SliceStack, most: int) -> list[int]:
    """The slice where W and S are largest, those that the flag points at, and the ends, up to ``most``."""
    areas = _areas(one.warped, stack) + _areas(one.segmented, stack)
    present = np.flatnonzero(areas)
    if not len(present):
        return []
    gaps = {} if one.agreement is None else dict(one.agreement.gaps_mm)
    doubtful = sorted(one.flag.slices, key=lambda n: -gaps.get(n, 0.0))
    quarters = np.quantile(present, (0.25, 0.75), method="nearest").astype(int).tolist()
    wanted = [int(areas.argmax()), *doubtful[: max(1, most - 2)], *quarters, *doubtful]
    kept = [n for n in dict.fromkeys(wanted) if 0 <= n < stack.count and areas[n]]
    return sorted(kept[:most])


def _areas(mask: np.ndarray, stack: SliceStack) -> np.ndarray:
    return np.array([np.count_nonzero(stack.mask_slice(mask, n)) for n in range(stack.count)])


def _extent_mm(mask: np.ndarray, volume: Volume) -> float:
    """Longest side of the bounding box; 0 for an empty mask."""
    sides = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        sides.append((used[-1] - used[0] + 1) * float(volume.spacing[2 - axis]) if len(used) else 0.0)
    return max(sides)


def _cut(voxels: np.ndarray, ijk: np.ndarray) -> np.ndarray:
    """Voxels [K, J, I] at continuous indices, linear, 0 outside: float32 [PIXELS, PIXELS]."""
    flat = ndimage.map_coordinates(voxels, ijk[:, ::-1].T, output=np.float32, order=1, mode="constant", cval=0.0)
    return flat.reshape(PIXELS, PIXELS)


def _image(volume: Volume, ijk: np.ndarray, mapping: IntensityMapping) -> np.ndarray:
    """The image at continuous indices as 0..1, black outside."""
    voxels = volume.voxels if volume.channels == 1 else volume.voxels[..., 0]
    # nearest at the border: a volume of one slice is as thick as its slice, and linear would fade it out
    flat = ndimage.map_coordinates(voxels, ijk[:, ::-1].T, output=np.float32, order=1, mode="nearest")
    inside = volume.contains(ijk)
    return np.where(inside, mapping.apply(flat), 0.0).reshape(PIXELS, PIXELS)
