"""From slice positions to one regular grid: the policy of series reading.

    uniform, orthogonal                   the grid itself
    positions off by more than 1 %        interpolated between slices, with a note
    whole slices missing                  refused; interpolated with ``allow_gaps``
    slices shifted within their plane     (gantry tilt) each slice is moved within its plane to an orthogonal grid: the
                                          planes stay where they are, so that masks map back to the true slices
    equal positions                       refused by the caller's split, see :mod:`.dicom_series`

Slices are sorted by the projection of their position on the common normal, never by instance number or file name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..space.affine import Affine
from .dicom_headers import SliceHeader

POSITION_TOLERANCE = 0.01
"""Uneven: a slice lies off the regular grid by more than this part of the spacing."""

TILT_TOLERANCE = 1e-3
"""Tilted: tangent of the angle between the stack's direction and the normal (0.06 degrees)."""

SAME_POSITION_MM = 1e-3
_WHOLE_NUMBER_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class StackPlan:
    """How stored slices become a volume.

    Attributes:
        order: stored slices sorted along the normal (indices into the given headers).
        affine: (I, J, K) -> LPS in mm of the volume.
        shape: (K, J, I) of the volume.
        lower: int64 [K], sorted slice below (or at) each slice of the volume.
        weight: float64 [K], part of the slice above, 0..1; 0 means the stored slice itself.
        shifts: float64 [N, 2], (I, J) place of each sorted slice's first pixel on the volume's grid, in pixels.
        notes: what was done.
    """

    order: tuple[int, ...]
    affine: Affine
    shape: tuple[int, int, int]
    lower: np.ndarray
    weight: np.ndarray
    shifts: np.ndarray
    notes: tuple[str, ...]

    @property
    def regular(self) -> bool:
        """True if every slice of the volume is a stored slice, pixel by pixel."""
        same = len(self.lower) == len(self.order) and bool((self.lower == np.arange(len(self.order))).all())
        return same and not self.weight.any() and not self.shifts.any()


def plan_stack(slices: Sequence[SliceHeader], allow_gaps: bool = False) -> StackPlan:
    """Plan the volume of slices that share size, orientation and pixel spacing and have different positions.

    Raises:
        InputError: ``dicom.missing_slices`` with the positions, unless ``allow_gaps``.
    """
    first = slices[0]
    order = sorted(range(len(slices)), key=lambda n: float(slices[n].position @ first.normal))
    positions = np.array([slices[n].position for n in order])
    if len(slices) == 1:
        return _single(first)
    along = (positions - positions[0]) @ first.normal
    targets, step, notes = _targets(along, allow_gaps, float(positions[0] @ first.normal))
    shifts, tilt, more = _in_plane(positions, along, first)
    rows, cols = first.shape
    low = np.floor(shifts.min(axis=0) + 1e-9).astype(int)
    high = np.ceil(shifts.max(axis=0) - 1e-9).astype(int)
    matrix = np.eye(4)
    matrix[:3, 0] = first.orientation[0] * first.pixel_spacing[1]
    matrix[:3, 1] = first.orientation[1] * first.pixel_spacing[0]
    matrix[:3, 2] = (first.normal + tilt) * step
    matrix[:3, 3] = positions[0]
    affine = Affine(matrix).shifted((low[0], low[1], 0))
    lower = np.clip(np.searchsorted(along, targets + SAME_POSITION_MM, side="right") - 1, 0, len(along) - 2)
    weight = np.clip((targets - along[lower]) / (along[lower + 1] - along[lower]), 0.0, 1.0)
    at_upper = weight > 1 - POSITION_TOLERANCE
    lower, weight = lower + at_upper, np.where(at_upper | (weight < POSITION_TOLERANCE), 0.0, weight)
    shape = (len(targets), rows + int(high[1] - low[1]), cols + int(high[0] - low[0]))
    return StackPlan(tuple(order), affine, shape, lower, weight, shifts - low, (*notes, *more))


def _single(header: SliceHeader) -> StackPlan:
    notes, step = [], header.thickness
    if step is None:
        step = 1.0
        notes.append("A single slice without thickness: 1 mm was assumed.")
    matrix = np.eye(4)
    matrix[:3, 0] = header.orientation[0] * header.pixel_spacing[1]
    matrix[:3, 1] = header.orientation[1] * header.pixel_spacing[0]
    matrix[:3, 2] = header.normal * step
    matrix[:3, 3] = header.position
    zero = np.zeros(1)
    return StackPlan((0,), Affine(matrix), (1, *header.shape), zero.astype(int), zero, np.zeros((1, 2)), tuple(notes))


def _targets(along: np.ndarray, allow_gaps: bool, start: float) -> tuple[np.ndarray, float, list[str]]:
    """Positions of the volume's slices along the normal, their distance, and notes."""
    gaps = np.diff(along)
    step = along[-1] / (len(along) - 1)
    even = step * np.arange(len(along))
    if np.abs(along - even).max() <= POSITION_TOLERANCE * step:
        return along, step, []
    missing = _missing(gaps)
    if missing is not None:
        return _fill(along, missing, allow_gaps, start)
    middle = float(np.median(gaps))
    fine = max(float(gaps.min()), middle / 4)
    count = max(int(np.rint(along[-1] / fine)), 1)
    fine = float(along[-1]) / count
    note = (
        f"Slice distances vary from {gaps.min():.3f} to {gaps.max():.3f} mm; the volume was interpolated to slices"
        f" every {fine:.3f} mm."
    )
    return fine * np.arange(count + 1), fine, [note]


def _missing(gaps: np.ndarray) -> np.ndarray | None:
    """Slices missing in each gap; None when the gaps are not whole multiples of a common one (uneven spacing)."""
    near = gaps[gaps < 1.5 * np.median(gaps)]
    if len(near) == 0 or near.max() > near.min() * (1 + 2 * _WHOLE_NUMBER_TOLERANCE):
        return None
    ratio = gaps / near.mean()
    whole = np.rint(ratio)
    if np.abs(ratio - whole).max() > _WHOLE_NUMBER_TOLERANCE or whole.max() < 2:
        return None
    return (whole - 1).astype(int)


def _fill(
    along: np.ndarray, missing: np.ndarray, allow_gaps: bool, start: float
) -> tuple[np.ndarray, float, list[str]]:
    count = int(missing.sum())
    index = np.concatenate([[0], np.cumsum(missing + 1)])
    step = along[-1] / index[-1]
    places = [f"{start + along[n]:.2f} and {start + along[n + 1]:.2f}" for n in np.flatnonzero(missing)]
    listed = "; ".join(places[:5]) + (f"; and {len(places) - 5} more gaps" if len(places) > 5 else "")
    if not allow_gaps:
        raise InputError(
            "dicom.missing_slices",
            f"{count} slices are missing, between the positions (mm along the normal) {listed}; copy the series again,"
            " or allow gaps (--allow-gaps) to have them interpolated.",
        )
    absent = sorted(set(range(int(index[-1]) + 1)) - set(index.tolist()))
    which = ", ".join(map(str, absent[:20])) + ("..." if len(absent) > 20 else "")
    note = f"{count} slices are missing and were interpolated from their neighbours: k = {which} (between {listed} mm)."
    return step * np.arange(int(index[-1]) + 1), step, [note]


def _in_plane(positions: np.ndarray, along: np.ndarray, first: SliceHeader) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Place of every slice within the plane of the first.

    Returns:
        Shifts [N, 2] in pixels along I, J (zeros when the stack is straight), what to add to the normal so that the
        K step follows the positions exactly (zeros when tilted), and notes.
    """
    row, column = first.orientation
    drift = np.stack([(positions - positions[0]) @ row, (positions - positions[0]) @ column], axis=1)
    pixels = drift / np.array([first.pixel_spacing[1], first.pixel_spacing[0]])
    slope = drift[-1] / along[-1]
    wander = np.abs(drift - along[:, None] * slope).max() / min(first.pixel_spacing)
    if np.abs(slope).max() <= TILT_TOLERANCE and wander <= 0.1:
        return np.zeros_like(pixels), slope[0] * row + slope[1] * column, []
    angle = np.degrees(np.arctan(np.linalg.norm(slope)))
    note = (
        f"The slices are not stacked along their normal (gantry tilt, {angle:.2f} degrees): every slice was moved"
        " within its plane to an orthogonal grid; the planes are the original ones."
    )
    return pixels, np.zeros(3), [note]
