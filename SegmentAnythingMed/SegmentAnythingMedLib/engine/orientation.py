"""Slices are shown to a model the way people look at them, however their voxels are stored.

Networks are not indifferent to mirrored or turned pictures, and the same scan is stored one way in DICOM, another in
NIfTI. So a slice is flipped and transposed (nothing is resampled) until its columns run towards the patient's left or
else back, and its rows towards the back or else the feet: the radiological convention. Then the same object of the same
patient gives the same mask from every copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..prompts.types import SlicePrompts
from ..space.planes import SliceStack

_COLUMNS = np.array([2.0, 1.0, 0.0])
"""How much a direction in LPS is worth for columns: left before back..."""
_ROWS = np.array([0.0, 1.0, -2.0])
"""... and for rows: feet or back, whatever the plane offers. Weights for which the three standard planes come out."""


@dataclass(frozen=True)
class Orientation:
    """Transposition, then flips, from a stored slice to a shown one.

    Attributes:
        transpose: exchange rows and columns first.
        flip_rows: then reverse the order of the rows.
        flip_cols: then reverse the order of the columns.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_cols: bool = False

    @classmethod
    def of(cls, stack: SliceStack) -> Orientation:
        """The orientation in which slices of a stack are shown; stored as it is where the choice is a tie."""
        origin, along_col, along_row = stack.volume.affine.ijk_to_lps(stack.to_ijk(0, [(0, 0), (1, 0), (0, 1)]))
        steps = [(step - origin) / np.linalg.norm(step - origin) for step in (along_col, along_row)]
        best, best_worth = cls(), -np.inf
        for transpose, flip_rows, flip_cols in product((False, True), repeat=3):
            columns, rows = steps[::-1] if transpose else steps
            worth = _COLUMNS @ columns * (-1 if flip_cols else 1) + _ROWS @ rows * (-1 if flip_rows else 1)
            if worth > best_worth + 1e-6:
                best, best_worth = cls(transpose, flip_rows, flip_cols), worth
        return best

    def pair(self, values: tuple) -> tuple:
        """Shape or pixel spacing (rows, columns), exchanged if need be."""
        return tuple(values[::-1]) if self.transpose else tuple(values)

    def show(self, image: np.ndarray) -> np.ndarray:
        """A stored slice [H, W] or [H, W, C] as a view that is shown."""
        image = image.swapaxes(0, 1) if self.transpose else image
        return image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]

    def store(self, image: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`show`."""
        image = image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]
        return image.swapaxes(0, 1) if self.transpose else image

    def show_points(self, points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Plane coordinates (x, y) [N, 2] of a stored slice of ``shape`` (rows, columns) -> of the shown one."""
        points = np.array(points, dtype=np.float64).reshape(-1, 2)
        rows, cols = self.pair(shape)
        points = points[:, ::-1].copy() if self.transpose else points
        if self.flip_cols:
            points[:, 0] = cols - 1 - points[:, 0]
        if self.flip_rows:
            points[:, 1] = rows - 1 - points[:, 1]
        return points

    def show_prompts(self, prompts: SlicePrompts, shape: tuple[int, int]) -> SlicePrompts:
        """Prompts on a stored slice -> on the shown one."""
        if self == Orientation():
            return prompts
        box = prompts.box
        if box is not None:
            corners = self.show_points(np.reshape(box, (2, 2)), shape)
            box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        mask = None if prompts.mask is None else np.ascontiguousarray(self.show(prompts.mask))
        return replace(prompts, points=self.show_points(prompts.points, shape), box=box, mask=mask)
