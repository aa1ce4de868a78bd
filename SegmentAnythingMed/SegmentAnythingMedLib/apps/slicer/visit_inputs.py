"""Both visits of the scene as the worker wants them: the prior's masks, the alignment, what is known of the patient."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ...errors import InputError
from .geometry import array_of, local_to_world
from .planar_contours import contour_masks, is_contoured
from .reading import read_segment

if TYPE_CHECKING:
    from ...adaptive.preflight import VisitFacts
    from ...adaptive.transforms import VisitTransform

REGISTER, SAME, GIVEN = "register", "same", "given"
ALIGNMENTS = (REGISTER, SAME, GIVEN)
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_KEY = secrets.token_bytes(32)
"""Digests of identities can be compared while the application runs, and never looked up."""


@dataclass(frozen=True, eq=False)
class PriorStructures:
    """Structures of the prior visit.

    Attributes:
        masks: name -> bool [K, J, I] of the prior volume, none empty.
        segment_ids: name -> segment of the prior segmentation.
        notes: what was left out or moved, in words.
    """

    masks: dict[str, np.ndarray]
    segment_ids: dict[str, str]
    notes: tuple[str, ...]


def prior_structures(segmentation: Any, volume: Any, wanted: set[str] | None = None) -> PriorStructures:
    """The segments of the prior visit as masks on the prior image.

    Args:
        segmentation: of the prior visit: voxels, or the planar contours of an imported RTSTRUCT. It is only read.
        volume: the prior image, on whose grid contours are converted.
        wanted: ids of the segments wanted; None is all.

    Raises:
        InputError: ``segment.no_segmentation``, ``volume.missing``, ``segment.*``, ``volume.*``;
            ``visits.structures`` when nothing is left.
    """
    if volume is None:
        raise InputError("volume.missing", _("Expected the image of the prior visit; none is chosen."))
    if segmentation is None or segmentation.GetSegmentation() is None:
        raise InputError("segment.no_segmentation", _("Expected the segmentation of the prior visit; none is chosen."))
    content = segmentation.GetSegmentation()
    ids = [content.GetNthSegmentID(n) for n in range(content.GetNumberOfSegments())]
    contoured = contour_masks(segmentation, volume) if is_contoured(segmentation) else None
    masks: dict[str, np.ndarray] = {}
    places: dict[str, str] = {}
    notes: list[str] = []
    for segment_id in ids:
        if wanted is not None and segment_id not in wanted:
            continue
        name = _free_name(content.GetSegment(segment_id).GetName() or segment_id, masks)
        mask, said = (
            (read_segment(segmentation, segment_id, volume), ()) if contoured is None else contoured[segment_id]
        )
        notes += [_("{name}: {what}").format(name=name, what=words) for words in said]
        if mask.any():
            masks[name], places[name] = mask, segment_id
        else:
            notes.append(_("{name} has no voxel on the prior image and is left out.").format(name=name))
    if not masks:
        raise InputError(
            "visits.structures", _("Expected at least one structure on the prior image; none has a voxel.")
        )
    return PriorStructures(masks, places, tuple(notes))


def visit_transform(kind: str, node: Any, prior: Any, today: Any) -> str | VisitTransform:
    """How points of today's image become points of the prior one.

    Args:
        kind: ``register`` (found by the library), ``same`` (both lie in one space, as the scene shows them), or
            ``given``: by a transform node.
        node: the transform that lays the prior image over today's when it is applied to the prior image: what Slicer's
            registration modules give with today's image as the fixed one. It may be bent.
        prior, today: volume nodes; their parent transforms are taken into account.

    Raises:
        InputError: ``visits.transform``, ``volume.transform``.
    """
    from ...adaptive.transforms import VisitTransform

    if kind == REGISTER:
        return "auto"
    to_world, from_world = local_to_world(today), np.linalg.inv(local_to_world(prior))
    start = VisitTransform.from_matrix(_TO_LPS @ to_world @ _TO_LPS, "scene")
    end = VisitTransform.from_matrix(_TO_LPS @ from_world @ _TO_LPS, "scene")
    if kind == SAME:
        return start.then(end, "scene")
    if node is None:
        raise InputError("visits.transform", _("Expected a transform of the scene; none is chosen."))
    if prior.GetParentTransformNode() is node:  # applied already: the scene shows it
        return start.then(end, "transform node")
    return start.then(_inverse_of(node), "transform node").then(end, "transform node")


def visit_facts(volume: Any) -> VisitFacts | None:
    """What the subject hierarchy says of an image that was loaded from DICOM; None for other images."""
    from ...adaptive.preflight import VisitFacts

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume)
    names = slicer.vtkMRMLSubjectHierarchyConstants
    series = hierarchy.GetItemUID(item, names.GetDICOMUIDName()) if item else ""
    if not series:
        return None
    patient = hierarchy.GetItemAncestorAtLevel(item, names.GetDICOMLevelPatient())
    study = hierarchy.GetItemAncestorAtLevel(item, names.GetDICOMLevelStudy())

    def said(where: int, name: str) -> str:
        """An attribute of an item, or nothing."""
        return (hierarchy.GetItemAttribute(where, name) or "").strip() if where else ""

    sex = said(patient, names.GetDICOMPatientSexAttributeName())
    date = said(study, names.GetDICOMStudyDateAttributeName()).replace("-", "")
    return VisitFacts(
        patient=_digest(said(patient, names.GetDICOMPatientIDAttributeName())),
        sex=sex if sex in ("M", "F", "O") else None,
        birth_date=_digest(said(patient, names.GetDICOMPatientBirthDateAttributeName()).replace("-", "")),
        modality=said(item, names.GetDICOMSeriesModalityAttributeName()) or None,
        date=date if len(date) == 8 and date.isdecimal() else None,
        study_uid=(hierarchy.GetItemUID(study, names.GetDICOMUIDName()) if study else "") or None,
        series_uid=series,
        frame_of_reference_uid=said(item, names.GetDICOMFrameOfReferenceUIDAttributeName()) or None,
    )


def _inverse_of(node: Any) -> VisitTransform:
    """World -> before the transform was applied, in LPS, exactly as the node has it."""
    from ...adaptive.transforms import VisitTransform

    if node.IsTransformToWorldLinear():
        matrix = vtk.vtkMatrix4x4()
        node.GetMatrixTransformFromWorld(matrix)
        return VisitTransform.from_matrix(_TO_LPS @ array_of(matrix) @ _TO_LPS, "transform node")
    if node.GetParentTransformNode() is not None:
        raise InputError(
            "visits.transform",
            _("Expected a bent transform that lies under no other one; harden {name} first.").format(
                name=node.GetName()
            ),
        )
    return _from_file(node)


def _from_file(node: Any) -> VisitTransform:
    """A bent transform by way of ITK's file, which holds the direction that is wanted: from the parent's space."""
    import SimpleITK as sitk

    from ...adaptive.transforms import VisitTransform

    with tempfile.TemporaryDirectory(prefix="segment-anything-med-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "transform.h5"
        storage = slicer.vtkMRMLTransformStorageNode()
        storage.SetFileName(str(path))
        if not storage.WriteData(node):
            raise InputError(
                "visits.transform",
                _("Expected a transform that can be stored as an ITK file; {name} cannot.").format(name=node.GetName()),
            )
        return VisitTransform(sitk.ReadTransform(str(path)), "transform node")


def _free_name(name: str, taken: dict[str, Any]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _digest(text: str) -> str | None:
    return hmac.new(_KEY, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest() if text else None
