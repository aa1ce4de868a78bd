"""World and voxels of volume nodes: affines, transforms, views, and the volume that the library is given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
import vtk
from SegmentAnythingMedLib.apps.slicer import geometry
from SegmentAnythingMedLib.apps.slicer.volumes import volume_from_node, volume_revision
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.space.planes import AXES
from slicer_reference import bend, put_under, random_affine

pytestmark = pytest.mark.usefixtures("slicer_host")
SIZE = (14, 18, 22)  # K, J, I


def add_volume(matrix: np.ndarray, shape: tuple[int, int, int] = SIZE, dtype: type = np.int16):
    return slicer.util.addVolumeFromArray(np.zeros(shape, dtype), ijkToRAS=matrix, name="scan")


def worlds_by_vtk(node, ijk: np.ndarray) -> np.ndarray:
    """The same by Slicer's own, other means: its general transform, point by point."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([transform.TransformPoint(matrix.MultiplyPoint([*point, 1])[:3]) for point in ijk])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("parents", [0, 1, 3])
def test_voxels_go_to_the_world_and_back_through_affine_and_transforms(seed, parents):
    node = add_volume(random_affine(seed))
    put_under(node, *[random_affine(100 + 10 * seed + n) for n in range(parents)])
    ijk = np.random.default_rng(seed).uniform(-2, 20, (50, 3))
    world = geometry.map_points(geometry.ijk_to_world(node), ijk)
    np.testing.assert_allclose(world, worlds_by_vtk(node, ijk), atol=1e-9 * np.abs(world).max())
    np.testing.assert_allclose(geometry.map_points(geometry.world_to_ijk(node), world), ijk, atol=1e-6)


def test_a_transform_that_bends_space_is_refused_in_words_and_works_when_hardened():
    node = add_volume(np.diag([1.0, 1, 2, 1]))
    bend(node)
    with pytest.raises(InputError, match=r"Bent or one above it bends space. Harden") as refused:
        geometry.world_to_ijk(node)
    assert refused.value.code == "volume.transform"
    linear = add_volume(np.diag([1.0, 1, 2, 1]))
    put_under(linear, random_affine(1))
    parent = linear.GetParentTransformNode()
    bend(parent)
    with pytest.raises(InputError, match="linear transforms only"):
        geometry.ijk_to_world(linear)
    parent.SetAndObserveTransformNodeID(None)
    assert geometry.ijk_to_world(linear).shape == (4, 4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("transformed", [False, True])
def test_views_turned_to_the_volume_show_its_axes_and_oblique_views_none(seed, transformed):
    node = add_volume(random_affine(seed))
    if transformed:
        rotation = random_affine(seed + 50)
        rotation[:3, :3] /= np.linalg.norm(rotation[:3, :3], axis=0)
        put_under(node, rotation)
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    steps = geometry.ijk_to_world(node)[:3, :3]
    units = steps / np.linalg.norm(steps, axis=0)
    for axis in AXES:
        column = "ijk".index(axis)
        normal, across = units[:, column], units[:, (column + 1) % 3]
        for sign, tilt_deg, expected in ((1, 0, axis), (-1, 0.5, axis), (1, 3, None), (1, 45, None)):
            tilt = np.deg2rad(tilt_deg)
            turned = sign * (np.cos(tilt) * normal + np.sin(tilt) * across)
            view.SetSliceToRASByNTP(*turned, *across, 0, 0, 0, 0)
            assert geometry.axis_of_view(view, node) == expected


def test_orientation_presets_of_a_straight_scan(make_volume):
    node = make_volume("straight").node
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    found = {}
    for name, set_orientation in (
        ("Axial", view.SetOrientationToAxial),
        ("Sagittal", view.SetOrientationToSagittal),
        ("Coronal", view.SetOrientationToCoronal),
    ):
        set_orientation()
        found[name] = geometry.axis_of_view(view, node)
    assert found == {"Axial": "k", "Sagittal": "i", "Coronal": "j"}
    assert geometry.axis_of_view(view, make_volume("oblique").node) is None


@pytest.mark.parametrize("kind", ["straight", "oblique", "left_handed", "permuted", "oblique_transformed"])
def test_jump_to_a_slice_lands_on_its_centre(make_volume, kind):
    phantom = make_volume(kind)
    views = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode") for _ in range(3)]
    for axis, index in (("k", 3), ("j", 50), ("i", 0), ("i", 95)):
        geometry.show_slice(phantom.node, axis, index)
        centre = [47.5, 39.5, 11.5]
        centre["ijk".index(axis)] = index
        expected = phantom.world(tuple(centre))
        for view in views:
            matrix = geometry.array_of(view.GetSliceToRAS())
            distance = (expected - matrix[:3, 3]) @ matrix[:3, 2]
            assert abs(distance) < 1e-6  # the plane of the view goes through the middle of the slice
    for axis, index, code in (("k", 24, "option.slice"), ("k", -1, "option.slice"), ("x", 0, "option.axis")):
        with pytest.raises(InputError) as refused:
            geometry.show_slice(phantom.node, axis, index)
        assert refused.value.code == code


def test_modality_units_and_window_are_those_of_the_dicom_import(make_volume):
    node = make_volume("straight").node
    plain = volume_from_node(node)
    assert (plain.modality, plain.is_hu, plain.window) == (None, None, None)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    node.GetDisplayNode().AddWindowLevelPreset(350, 40)
    node.GetDisplayNode().SetWindowLevel(99, 9)
    scan = volume_from_node(node)
    assert (scan.modality, scan.is_hu, scan.window) == ("MR", False, (40, 350))
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "CT")
    assert volume_from_node(node).is_hu is None
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    assert volume_from_node(node).is_hu is True


@pytest.mark.parametrize("seed", range(3))
def test_the_library_gets_the_voxels_themselves_and_the_own_affine_in_lps(seed):
    matrix = random_affine(seed)
    node = add_volume(matrix)
    put_under(node, random_affine(9))  # moves the volume, not its voxels: not in the library's affine
    voxels = slicer.util.arrayFromVolume(node)
    voxels[3, 4, 5] = 77
    volume = volume_from_node(node)
    assert volume.voxels[3, 4, 5] == 77
    assert np.shares_memory(volume.voxels, voxels)
    assert not volume.voxels.flags.writeable
    ras = geometry.map_points(matrix, [[5, 4, 3]])[0]
    np.testing.assert_allclose(volume.affine.ijk_to_lps([[5, 4, 3]])[0], ras * [-1, -1, 1])
    assert volume.name == ""  # a node's name may be a patient's


def test_what_cannot_be_segmented_is_refused_in_words():
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    labels = slicer.util.addVolumeFromArray(
        np.zeros(SIZE, np.int16), name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    colours = slicer.util.addVolumeFromArray(
        np.zeros((*SIZE, 3), np.uint8), name="photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    for node, code in (
        (None, "volume.missing"),
        (empty, "volume.empty"),
        (labels, "volume.labelmap"),
        (colours, "volume.components"),
        (add_volume(sheared), "volume.sheared"),
    ):
        with pytest.raises(InputError) as refused:
            volume_from_node(node)
        assert refused.value.code == code
        assert refused.value.message.startswith("Expected")


def test_revision_follows_voxels_and_geometry_only():
    node = add_volume(np.eye(4))
    node.CreateDefaultDisplayNodes()
    seen = [volume_revision(node)]

    def changed() -> bool:
        seen.append(volume_revision(node))
        return seen[-1] != seen[-2]

    node.SetName("another name")
    node.GetDisplayNode().SetWindowLevel(7, 3)
    put_under(node, random_affine(3))
    assert not changed()
    slicer.util.arrayFromVolume(node)[0, 0, 0] = 5
    slicer.util.arrayFromVolumeModified(node)
    assert changed()
    node.SetSpacing(1, 1, 3)
    assert changed()
    slicer.util.updateVolumeFromArray(node, np.zeros(SIZE, np.int16))
    assert changed()
    slicer.util.updateVolumeFromArray(node, np.zeros((4, 5, 6), np.int16))
    assert changed()
    assert not changed()
    assert volume_revision(add_volume(np.eye(4))) not in seen
    assert volume_revision(None) == ""


def make_sequence(frames: int = 4):
    """A 4-D volume: its browser, and the proxy that shows the current frame."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    frame = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    for number in range(frames):
        slicer.util.updateVolumeFromArray(frame, np.full(SIZE, number, np.int16))
        sequence.SetDataNodeAtValue(frame, str(number))
    slicer.mrmlScene.RemoveNode(frame)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    logic = slicer.modules.sequences.logic()
    logic.UpdateAllProxyNodes()
    return browser, browser.GetProxyNode(sequence), logic


def test_a_sequence_works_as_its_current_frame():
    browser, proxy, logic = make_sequence()
    revisions = []
    for number in (0, 1, 3, 2):
        browser.SetSelectedItemNumber(number)
        logic.UpdateProxyNodesFromSequences(browser)
        assert volume_from_node(proxy).voxels.max() == number
        revisions.append(volume_revision(proxy))
        assert revisions[-1] == volume_revision(proxy)
    assert len(set(revisions)) == 4
