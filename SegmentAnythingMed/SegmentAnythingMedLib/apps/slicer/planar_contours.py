"""Planar contours of an imported RT structure set as masks on a chosen image.

SlicerRT keeps imported contours as they were drawn, as loops of points; Slicer's own conversion needs that extension.
Here the loops are filled by the library, as it fills those of an RTSTRUCT file.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from ...files.rtstruct import Contour, Roi, StructureSet
from ...files.rtstruct_masks import masks_on
from .geometry import local_to_world, map_points
from .volumes import volume_from_node

PLANAR_CONTOUR = "Planar contour"
_LPS = np.diag([-1.0, -1.0, 1.0])


def is_contoured(segmentation: slicer.vtkMRMLSegmentationNode) -> bool:
    """True if a segmentation is stored as planar contours, as an imported RTSTRUCT is."""
    return segmentation.GetSegmentation().GetSourceRepresentationName() == PLANAR_CONTOUR


def contour_masks(
    segmentation: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """Masks of the segments of an imported structure set.

    Args:
        segmentation: stored as planar contours, under linear transforms.
        volume: on whose grid the masks are wanted, under linear transforms: the image that they were drawn on.

    Returns:
        Segment id -> mask bool [K, J, I], and what was left out or moved, in words.

    Raises:
        InputError: ``volume.*``.
    """
    image = volume_from_node(volume)
    to_image = np.linalg.inv(local_to_world(volume)) @ local_to_world(segmentation)
    content = segmentation.GetSegmentation()
    ids = [content.GetNthSegmentID(n) for n in range(content.GetNumberOfSegments())]
    regions = []
    for number, segment_id in enumerate(ids, start=1):
        segment = content.GetSegment(segment_id)
        loops = [map_points(to_image, loop) @ _LPS for loop in _loops(segment.GetRepresentation(PLANAR_CONTOUR))]
        contours = tuple(Contour("CLOSED_PLANAR", loop, "") for loop in loops)
        regions.append(Roi(number, segment.GetName() or segment_id, "", contours))
    structures = StructureSet("", "", "", "", (), (), frozenset(), tuple(regions))
    found = masks_on(structures, image, [region.number for region in regions]) if regions else []
    return {segment_id: (one.mask, one.notes) for segment_id, one in zip(ids, found, strict=True)}


def _loops(surface: object) -> list[np.ndarray]:
    """Closed loops of a poly data, RAS mm [N, 3] each; the last point is not the first one again."""
    if surface is None or surface.GetNumberOfPoints() == 0:
        return []
    points = vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float64)
    loops = []
    for cells in (surface.GetLines(), surface.GetPolys()):
        if cells.GetNumberOfCells() == 0:
            continue
        ends = vtk_to_numpy(cells.GetOffsetsArray())
        members = vtk_to_numpy(cells.GetConnectivityArray())
        for first, last in pairwise(ends):
            loop = points[members[first:last]]
            if len(loop) > 1 and np.array_equal(loop[0], loop[-1]):
                loop = loop[:-1]
            loops.append(loop)
    return loops
