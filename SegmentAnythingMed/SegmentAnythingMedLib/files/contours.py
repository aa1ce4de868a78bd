"""Polygons and pixels: the even-odd fill at pixel centres, and the trace along pixel edges that it undoes exactly.

Coordinates are continuous (I, J) pixel indices; the centre of a pixel is a whole number, its edges lie at halves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_Edges = dict[tuple[int, int], list[tuple[int, int]]]


def fill(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies inside an odd number of polygons.

    Holes, islands in holes, exclusive-or contours and keyholes (a bridge is passed twice and cancels) need no case of
    their own.

    Args:
        polygons: float64 [N, 2] each, (I, J); closed by their first point.
        shape: (rows, columns).

    Returns:
        bool [rows, columns]. Of a pixel centre exactly on an edge, the left and upper edge count as inside.
    """
    rows, columns = shape
    toggles = np.zeros((rows, columns + 1), dtype=np.int32)
    for polygon in polygons:
        x0, y0 = polygon[:, 0], polygon[:, 1]
        x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
        low = np.clip(np.ceil(np.minimum(y0, y1)), 0, rows).astype(np.int64)
        high = np.clip(np.ceil(np.maximum(y0, y1)), 0, rows).astype(np.int64)
        count = high - low
        edge = np.repeat(np.arange(len(polygon)), count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + low[edge]
        x = x0[edge] + (row - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        np.add.at(toggles, (row, np.clip(np.ceil(x), 0, columns).astype(np.int64)), 1)
    return (np.cumsum(toggles, axis=1)[:, :columns] & 1).astype(bool)


def contains(polygons: Sequence[np.ndarray], points: np.ndarray) -> np.ndarray:
    """Which points [M, 2] lie inside an odd number of polygons, bool [M]."""
    inside = np.zeros(len(points), dtype=bool)
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            crossed = (points[:, 1] >= min(y0, y1)) & (points[:, 1] < max(y0, y1))
            crossed &= points[:, 0] >= x0 + (points[:, 1] - y0) * ((x1 - x0) / (y1 - y0))
            inside ^= crossed
    return inside


def area(polygon: np.ndarray) -> float:
    """Signed area in pixels, positive when the polygon turns from I to J (counter-clockwise about the normal I x J)."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def trace(mask: np.ndarray) -> list[np.ndarray]:
    """Closed polygons along the pixel edges of a mask; :func:`fill` gives exactly the mask back.

    Pixels that touch at a corner only are separate islands. Points on straight runs are left out, which changes
    nothing; nothing else is simplified, so that areas stay exact and a lone pixel is a square of four points.

    Args:
        mask: bool [rows, columns].

    Returns:
        float64 [N, 2] each, (I, J). Outer polygons have positive :func:`area`, holes negative.
    """
    box = _used(mask)
    if box is None:
        return []
    (top, bottom), (left, right) = box
    after = _edges(np.pad(mask[top:bottom, left:right], 1))
    loops = []
    while after:
        start = min(after)
        here, (heading, *_) = start, after[start]
        corners = []
        while True:
            corner, here = here, (here[0] + heading[0], here[1] + heading[1])
            corners.append(corner)
            _take(after, corner, heading)
            if here == start:  # leftmost, so that no second edge leaves it
                break
            heading = _turn(after[here], heading)
        loops.append(_straightened(np.array(corners, dtype=np.float64)) + np.array([left - 1.5, top - 1.5]))
    return loops


def _used(mask: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def _edges(mask: np.ndarray) -> _Edges:
    """Corner (I, J) -> headings of the unit edges that leave it, with the mask on their right (I right, J down)."""
    after: _Edges = {}
    sides = (
        (mask & ~np.roll(mask, 1, axis=0), (0, 0), (1, 0)),
        (mask & ~np.roll(mask, -1, axis=1), (1, 0), (0, 1)),
        (mask & ~np.roll(mask, -1, axis=0), (1, 1), (-1, 0)),
        (mask & ~np.roll(mask, 1, axis=1), (0, 1), (0, -1)),
    )
    for border, (right, down), heading in sides:
        for j, i in np.argwhere(border).tolist():
            after.setdefault((i + right, j + down), []).append(heading)
    return after


def _take(after: _Edges, corner: tuple[int, int], heading: tuple[int, int]) -> None:
    after[corner].remove(heading)
    if not after[corner]:
        del after[corner]


def _turn(choices: list[tuple[int, int]], heading: tuple[int, int]) -> tuple[int, int]:
    """Where two edges leave a corner, stay with the same pixel: turn right."""
    right = (-heading[1], heading[0])
    return right if right in choices else choices[0]


def _straightened(corners: np.ndarray) -> np.ndarray:
    before, behind = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    return corners[(before != behind).any(axis=1)]


def keyholes(polygons: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Join every hole to what surrounds it by a bridge of no width, so that one polygon holds both.

    Args:
        polygons: from :func:`trace`, of one slice.

    Returns:
        As many polygons as there are outer ones.
    """
    joined = [polygon for polygon in polygons if area(polygon) > 0]
    holes = sorted((polygon for polygon in polygons if area(polygon) < 0), key=lambda hole: hole[:, 0].min())
    for hole in holes:
        start = _top_left(hole)
        target, at, x = _ray(joined, hole[start])
        outer = joined[target]
        bridge = np.array([[x, hole[start, 1]]])
        ring = np.concatenate([np.roll(hole, -start, axis=0), hole[start][None]])
        joined[target] = np.concatenate([outer[: at + 1], bridge, ring, bridge, outer[at + 1 :]])
    return joined


def _top_left(hole: np.ndarray) -> int:
    """Index of the highest of the leftmost points; the hole's pixels lie right of it and below."""
    left = np.flatnonzero(hole[:, 0] == hole[:, 0].min())
    return int(left[np.argmin(hole[left, 1])])


def _ray(polygons: Sequence[np.ndarray], point: np.ndarray) -> tuple[int, int, float]:
    """The nearest edge left of a hole's corner: (polygon, index of the edge's first point, I)."""
    best = (-1, -1, -np.inf)
    row = point[1] + 0.5  # the first row of pixels of the hole: left of it, the mask reaches to the edge that is wanted
    for number, polygon in enumerate(polygons):
        following = np.roll(polygon, -1, axis=0)
        low, high = np.minimum(polygon[:, 1], following[:, 1]), np.maximum(polygon[:, 1], following[:, 1])
        upright = (low < row) & (row < high) & (polygon[:, 0] < point[0])
        for edge in np.flatnonzero(upright).tolist():
            if polygon[edge, 0] > best[2]:
                best = (number, edge, float(polygon[edge, 0]))
    return best
