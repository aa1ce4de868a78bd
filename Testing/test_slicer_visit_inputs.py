"""Both visits of the scene for the worker: voxels or planar contours, the alignment, what is known of the patient."""

from __future__ import annotations

import numpy as np
import pytest
import visit_bench
from SegmentAnythingMedLib.errors import InputError
from slicer_fixtures import ijk_to_ras, parent_matrix

pytest.importorskip("slicer")


def add_transform(matrix: np.ndarray, name: str = "T"):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    slicer.util.updateTransformMatrixFromArray(node, matrix)
    return node


@pytest.mark.parametrize("kind", ["straight", "oblique", "left_handed"])
@pytest.mark.parametrize("moved", [False, True])
def test_planar_contours_of_an_imported_structure_set(slicer_host, kind: str, moved: bool) -> None:
    """The loops become the masks that they were drawn around, also under a transform; they stay what they are."""
    import slicer
    from SegmentAnythingMedLib.apps.slicer.planar_contours import PLANAR_CONTOUR, is_contoured
    from SegmentAnythingMedLib.apps.slicer.visit_inputs import prior_structures

    matrix = ijk_to_ras(kind)
    visits = visit_bench.make_visits(matrix)
    imported = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "RTSTRUCT")
    imported.GetSegmentation().SetSourceRepresentationName(PLANAR_CONTOUR)
    for name, mask in visits.masks.items():
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation(PLANAR_CONTOUR, visit_bench.contours_of(mask, matrix))
        imported.GetSegmentation().AddSegment(segment)
    if moved:
        transform = add_transform(parent_matrix())
        for node in (imported, visits.prior):
            node.SetAndObserveTransformNodeID(transform.GetID())
    found = prior_structures(imported, visits.prior)
    assert is_contoured(imported)
    for name, mask in visits.masks.items():
        np.testing.assert_array_equal(found.masks[name], mask)


def test_segments_with_voxels_some_of_them(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer.visit_inputs import prior_structures

    visits = visit_bench.make_visits()
    content = visits.segmentation.GetSegmentation()
    content.AddEmptySegment("", "empty")
    twin = content.AddEmptySegment("", "bright")
    found = prior_structures(visits.segmentation, visits.prior)
    assert list(found.masks) == ["bright", "dark"]
    assert ["empty" in note or "bright (2)" in note for note in found.notes] == [True, True]
    one = prior_structures(visits.segmentation, visits.prior, {visits.ids["dark"]})
    assert one.segment_ids == {"dark": visits.ids["dark"]}
    with pytest.raises(InputError) as caught:
        prior_structures(visits.segmentation, visits.prior, {twin})
    assert caught.value.code == "visits.structures"
    for arguments, code in (
        ((None, visits.prior), "segment.no_segmentation"),
        ((visits.segmentation, None), "volume.missing"),
    ):
        with pytest.raises(InputError) as caught:
            prior_structures(*arguments)
        assert caught.value.code == code


def ras_map(transform, points: np.ndarray) -> np.ndarray:
    """RAS of today -> RAS of the prior."""
    flip = np.array([-1, -1, 1])
    return transform.map_points(points * flip) * flip


POINTS = np.array([[0.0, 0, 0], [10, -20, 30], [-7, 3, 11]])


def test_the_alignment_as_the_scene_shows_it(slicer_host) -> None:
    from SegmentAnythingMedLib.apps.slicer.visit_inputs import visit_transform

    visits = visit_bench.make_visits()
    assert visit_transform("register", None, visits.prior, visits.today) == "auto"
    same = visit_transform("same", None, visits.prior, visits.today)
    np.testing.assert_allclose(ras_map(same, POINTS), POINTS, atol=1e-9)
    node = add_transform(parent_matrix())
    visits.prior.SetAndObserveTransformNodeID(node.GetID())
    moved = visit_transform("same", None, visits.prior, visits.today)
    back = np.linalg.inv(parent_matrix())
    np.testing.assert_allclose(ras_map(moved, POINTS), POINTS @ back[:3, :3].T + back[:3, 3], atol=1e-9)
    given = visit_transform("given", node, visits.prior, visits.today)
    np.testing.assert_allclose(ras_map(given, POINTS), ras_map(moved, POINTS), atol=1e-9)
    with pytest.raises(InputError) as caught:
        visit_transform("given", None, visits.prior, visits.today)
    assert caught.value.code == "visits.transform"


def test_a_transform_node_lays_the_prior_over_today(slicer_host) -> None:
    """What registration gives: applied to the prior it matches today; points of today are mapped backwards."""
    from SegmentAnythingMedLib.apps.slicer.visit_inputs import visit_transform

    visits = visit_bench.make_visits()
    given = visit_transform("given", add_transform(parent_matrix()), visits.prior, visits.today)
    back = np.linalg.inv(parent_matrix())
    np.testing.assert_allclose(ras_map(given, POINTS), POINTS @ back[:3, :3].T + back[:3, 3], atol=1e-9)
    assert given.is_linear


def test_a_bent_transform_keeps_its_direction(slicer_host) -> None:
    import slicer
    import vtk
    from SegmentAnythingMedLib.apps.slicer.visit_inputs import visit_transform

    visits = visit_bench.make_visits()
    grid = vtk.vtkImageData()
    grid.SetDimensions(9, 9, 9)
    grid.SetOrigin(-80, -80, -40)
    grid.SetSpacing(20, 20, 15)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    field = vtk.util.numpy_support.vtk_to_numpy(grid.GetPointData().GetScalars())
    x = np.linspace(-1, 1, len(field))
    field[:] = np.column_stack([3 * np.cos(x), 2 * x, np.full_like(x, 1.5)])
    bent = slicer.vtkOrientedGridTransform()
    bent.SetDisplacementGridData(grid)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "bent")
    node.SetAndObserveTransformFromParent(bent)
    given = visit_transform("given", node, visits.prior, visits.today)
    assert not given.is_linear
    wanted = np.array([bent.TransformPoint(point) for point in POINTS])
    np.testing.assert_allclose(ras_map(given, POINTS), wanted, atol=0.05)
    assert np.abs(ras_map(given, POINTS) - POINTS).max() > 1


def test_what_the_subject_hierarchy_knows(slicer_host) -> None:
    import slicer
    from SegmentAnythingMedLib.apps.slicer.visit_inputs import visit_facts

    visits = visit_bench.make_visits()
    assert visit_facts(visits.prior) is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    names, facts = slicer.vtkMRMLSubjectHierarchyConstants, []
    for node, patient_id, date in ((visits.prior, "A-1", "20250102"), (visits.today, "A-2", "2026-01-02")):
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
        study = hierarchy.CreateStudyItem(patient, "study")
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(study, node)
        hierarchy.SetItemParent(item, study)
        hierarchy.SetItemUID(item, names.GetDICOMUIDName(), f"1.2.{date[-1]}")
        hierarchy.SetItemAttribute(patient, names.GetDICOMPatientIDAttributeName(), patient_id)
        hierarchy.SetItemAttribute(study, names.GetDICOMStudyDateAttributeName(), date)
        hierarchy.SetItemAttribute(item, names.GetDICOMSeriesModalityAttributeName(), "CT")
        facts.append(visit_facts(node))
    assert [one.date for one in facts] == ["20250102", "20260102"]
    assert facts[0].patient != facts[1].patient
    assert "A-1" not in str(facts[0])
    assert facts[0].modality == "CT"
