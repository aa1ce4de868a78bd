"""The planes that contours lie in: which contours belong together, and which are no closed planar contours at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .rtstruct import CLOSED, Contour

SAME_PLANE_MM = 0.01
"""Contours of one plane; also the rounding that positions may have."""

_FLAT_MM = 0.1
"""A contour that leaves a plane by less lies in it: a small contour's own normal is mostly rounding."""

_BENT_MM = 0.5
"""A contour that leaves its own best plane by more is not planar."""


@dataclass(eq=False)
class ContourPlane:
    """Closed contours of one plane.

    Attributes:
        polygons: float64 [N, 3] each, LPS in mm.
        normal: unit normal.
        offset: place of the plane along the normal in mm.
        images: SOP Instance UIDs that the contours claim to lie on.
        keys: points of each contour to a micrometre, to tell copies.
    """

    polygons: list[np.ndarray]
    normal: np.ndarray
    offset: float
    images: set[str] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)

    @property
    def centre(self) -> np.ndarray:
        """A point of the plane amid its contours, LPS in mm."""
        return np.mean([polygon.mean(axis=0) for polygon in self.polygons], axis=0)


def planes_of(contours: Sequence[Contour], slice_normal: np.ndarray) -> tuple[list[ContourPlane], list[str]]:
    """Group the closed contours of a region by plane.

    Args:
        contours: of one region, of any type.
        slice_normal: normal of the image's slices, taken for every contour that is flat along it.

    Returns:
        Planes sorted by their offset, and notes about contours that were left out.
    """
    notes, bent, copies = [], 0, 0
    loose = [contour for contour in contours if contour.kind not in CLOSED]
    if loose:
        kinds = ", ".join(sorted({contour.kind[:16] or "no type" for contour in loose}))
        notes.append(f"{len(loose)} contours that enclose nothing ({kinds}) were not filled.")
    closed = [contour for contour in contours if contour.kind in CLOSED]
    usable = [contour for contour in closed if len(contour.points) >= 3]
    if len(usable) < len(closed):
        notes.append(f"{len(closed) - len(usable)} contours with fewer than three points were left out.")
    planes: list[ContourPlane] = []
    for contour in sorted(usable, key=lambda c: -float(np.ptp(c.points, axis=0).sum())):  # large ones tell the normal
        normal = _normal(contour.points, [slice_normal, *(plane.normal for plane in planes[:1])])
        if normal is None:
            bent += 1
            continue
        bent += float(np.ptp(contour.points @ normal)) > _BENT_MM
        offset = float(contour.points.mean(axis=0) @ normal)
        copies += not _add(planes, contour, normal, offset)
    if bent:
        notes.append(f"{bent} contours do not lie in a plane or enclose nothing; a flattened form was used if any.")
    if copies:
        notes.append(f"{copies} contours were there twice; the copies were left out.")
    return sorted(planes, key=lambda plane: plane.offset), notes


def _normal(points: np.ndarray, known: Sequence[np.ndarray]) -> np.ndarray | None:
    """Unit normal of a contour, one of the known ones if it fits; None for points on a line."""
    for normal in known:
        if np.ptp(points @ normal) <= _FLAT_MM:
            return normal
    _, sizes, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    if sizes[1] < 1e-6:
        return None
    normal = np.cross(axes[0], axes[1])
    return normal * np.sign(normal[np.argmax(np.abs(normal))])


def _add(planes: list[ContourPlane], contour: Contour, normal: np.ndarray, offset: float) -> bool:
    """Put a contour into its plane, a new one if need be; False for a copy, which even-odd would make a hole of."""
    for plane in planes:
        if abs(plane.offset - offset) <= SAME_PLANE_MM and plane.normal @ normal > 1 - 1e-4:
            break
    else:
        plane = ContourPlane([], normal, offset)
        planes.append(plane)
    key = np.round(contour.points, 3).tobytes()
    if key in plane.keys:
        return False
    plane.keys.add(key)
    plane.polygons.append(contour.points)
    if contour.image_uid:
        plane.images.add(contour.image_uid)
    return True


def usual_distance(regions: Sequence[Sequence[ContourPlane]]) -> float:
    """Median distance in mm of neighbouring planes over several regions; 0 when no region has two."""
    gaps = []
    for planes in regions:
        gaps += [gap for gap in np.diff([plane.offset for plane in planes]).tolist() if gap > SAME_PLANE_MM]
    return float(np.median(gaps)) if gaps else 0.0
