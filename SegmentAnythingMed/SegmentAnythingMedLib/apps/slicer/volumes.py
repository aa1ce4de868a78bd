"""A volume node as the library's volume: the one place where RAS of the scene becomes LPS of the library."""

from __future__ import annotations

import hashlib

import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ...errors import InputError
from ...space.affine import Affine, matrix_ras_to_lps
from ...space.volume import Volume
from .geometry import dimensions, own_ijk_to_ras

SHEAR_TOLERANCE = 1e-2
"""Largest cosine between two voxel axes (0.6 degrees); segmentations of the scene know perpendicular axes only."""
_MODALITY_ATTRIBUTE = "DICOM.Modality"
_HOUNSFIELD_CODES = ("[hnsf'U]", "hnsf'U")  # UCUM, as the DICOM import writes it


def volume_from_node(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The voxels and the own geometry of a volume node; nothing is copied.

    Args:
        node: a scalar volume of the scene, also the proxy of a sequence (its current frame). Parent transforms are
            left out: they move the whole volume, its voxels stay the same.

    Returns:
        A volume whose voxels are a read-only view of the node's own array [K, J, I], and whose affine ends in LPS. The
        view is good until the node gets another image; compare :func:`volume_revision`. Modality, Hounsfield units and
        the header's window are known for what was imported from DICOM. It has no name: names may be a patient's.

    Raises:
        InputError: ``volume.missing``, ``volume.empty``, ``volume.components`` (vectors, colours, tensors),
            ``volume.labelmap``, ``volume.sheared``, ``volume.dtype``, ``volume.geometry``.
    """
    if node is None:
        raise InputError("volume.missing", _("Expected a volume; none is chosen. Load or choose one."))
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(
            "volume.labelmap",
            _("Expected an image of grey values; {name} is a {kind}. Choose the image.").format(
                name=node.GetName(), kind=node.GetNodeTagName()
            ),
        )
    size = dimensions(node)
    scalars = node.GetImageData().GetPointData().GetScalars()
    if scalars is None:
        raise InputError(
            "volume.empty", _("Expected voxels in {name}; it has none. Load it first.").format(name=node.GetName())
        )
    channels = scalars.GetNumberOfComponents()
    if channels != 1:
        raise InputError(
            "volume.components",
            _(
                "Expected one value per voxel in {name}, got {channels}. Convert it to a scalar volume first (Vector "
                "to Scalar Volume module)."
            ).format(name=node.GetName(), channels=channels),
        )
    affine = Affine(matrix_ras_to_lps(own_ijk_to_ras(node)))
    if not affine.is_orthogonal(SHEAR_TOLERANCE):
        raise InputError(
            "volume.sheared",
            _(
                "Expected perpendicular voxel axes in {name}; they are sheared. Resample it first (Crop Volume or "
                "Resample Scalar Volume module)."
            ).format(name=node.GetName()),
        )
    voxels = vtk_to_numpy(scalars).reshape(size[::-1])
    modality = _modality(node)
    return Volume(voxels, affine, modality, _header_window(node), is_hu=_is_hu(node, modality))


def volume_revision(node: slicer.vtkMRMLVolumeNode) -> str:
    """What a volume node holds right now, in one short text.

    It changes when voxels, geometry or the current frame of a sequence change, and stays when only the name, the
    display or a parent transform does.

    Returns:
        The node's id and 16 hex digits; empty for no node.
    """
    if node is None:
        return ""
    image = node.GetImageData()
    facts = [node.GetID(), repr(own_ijk_to_ras(node).tolist())]
    if image is not None:
        scalars = image.GetPointData().GetScalars()
        facts += [image.GetDimensions(), image.GetMTime(), None if scalars is None else scalars.GetMTime()]
        facts += [id_of(image), id_of(scalars)]
    digest = hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()
    return f"{node.GetID()}:{digest}"


def id_of(thing: vtk.vtkObject | None) -> str:
    """Address of a VTK object: another image with the same time stamp is still another image."""
    return "" if thing is None else thing.GetAddressAsString("")


def _modality(node: slicer.vtkMRMLVolumeNode) -> str | None:
    """DICOM modality: of the series in the subject hierarchy (DICOM import), or of the node itself."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    found = hierarchy.GetItemAttribute(item, _MODALITY_ATTRIBUTE) if item else ""
    return (found or node.GetAttribute(_MODALITY_ATTRIBUTE) or "").strip().upper()[:16] or None


def _is_hu(node: slicer.vtkMRMLVolumeNode, modality: str | None) -> bool | None:
    units = node.GetVoxelValueUnits()
    if units is not None and units.GetCodeValue() in _HOUNSFIELD_CODES:
        return True
    return None if modality in (None, "CT") else False


def _header_window(node: slicer.vtkMRMLVolumeNode) -> tuple[float, float] | None:
    """(level, width) of the header's first window, which the DICOM import keeps; not what the user sees now."""
    display = node.GetDisplayNode()
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        return None
    if not display.GetNumberOfWindowLevelPresets() or display.GetWindowPreset(0) <= 0:
        return None
    return float(display.GetLevelPreset(0)), float(display.GetWindowPreset(0))
