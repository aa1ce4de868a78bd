"""Two visits of one phantom in the scene: the follow-up is shifted, the prior has contours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

SHAPE = (10, 64, 80)
SHIFT = (0, 3, 4)
"""Voxels (K, J, I) by which everything has moved on the follow-up."""


class Visits(NamedTuple):
    prior: Any
    today: Any
    segmentation: Any
    ids: dict[str, str]
    masks: dict[str, np.ndarray]


def ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    grid = np.ogrid[tuple(slice(n) for n in SHAPE)]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(grid, centre, radii, strict=True)) < 1


def make_visits(matrix: np.ndarray | None = None) -> Visits:
    """Nodes in the scene; voxels of today's image lie where the prior's do, the content is shifted."""
    import slicer

    masks = {"bright": ellipsoid((5, 28, 26), (3.6, 11, 10)), "dark": ellipsoid((5, 40, 56), (3.2, 9, 12))}
    image = np.full(SHAPE, 40.0)
    image[masks["bright"]], image[masks["dark"]] = 180.0, -90.0
    noise = np.random.default_rng(3).normal(0, 6, SHAPE)
    matrix = np.diag([-0.8, -0.9, 2.5, 1.0]) if matrix is None else matrix
    nodes = []
    for name, shift in (("before", (0, 0, 0)), ("today", SHIFT)):
        voxels = ndimage.shift(image, shift, order=0, mode="nearest") + noise
        node = slicer.util.addVolumeFromArray(voxels.astype(np.int16), ijkToRAS=matrix, name=name)
        nodes.append(node)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Contours")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(nodes[0])
    ids = {}
    for name, mask in masks.items():
        ids[name] = segmentation.GetSegmentation().AddEmptySegment("", name, [0.9, 0.2, 0.1])
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), segmentation, ids[name], nodes[0])
    return Visits(*nodes, segmentation, ids, masks)


def moved(mask: np.ndarray) -> np.ndarray:
    """Where a structure of the prior is on the follow-up."""
    return ndimage.shift(mask.astype(np.uint8), SHIFT, order=0).astype(bool)


def contours_of(mask: np.ndarray, to_ras: np.ndarray) -> Any:
    """Loops around a mask as SlicerRT keeps them: a poly data of lines in RAS, the first point repeated at the end."""
    import vtk
    from SegmentAnythingMedLib.files.contours import trace

    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        for loop in trace(mask[k]):
            ijk = np.column_stack([loop, np.full(len(loop), k), np.ones(len(loop))])
            ids = [points.InsertNextPoint(*place[:3]) for place in ijk @ to_ras.T]
            lines.InsertNextCell(len(ids) + 1)
            for n in (*ids, ids[0]):
                lines.InsertCellPoint(n)
    surface = vtk.vtkPolyData()
    surface.SetPoints(points)
    surface.SetLines(lines)
    return surface
