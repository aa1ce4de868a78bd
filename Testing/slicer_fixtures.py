"""Fixtures on real MRML: a booted host with or without Qt, a fresh scene for each test, volumes, offscreen views.

A test fails when an exception ended in an observer or a slot, or when VTK reported an error, even if the test's own
assertions hold. It is skipped, by name, where slicer-core, PySide6 or OpenGL is missing.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from standin import i18n

sys.modules.setdefault("slicer.i18n", i18n)
"""The application has it; without it no file of the module that tells the user something could be imported."""
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow" if os.name == "posix" else "")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

VOLUME_KINDS = ("straight", "oblique", "left_handed", "permuted", "transformed", "oblique_transformed")


@dataclass(frozen=True)
class PhantomVolume:
    """A volume in the scene with a bright ellipsoid.

    Attributes:
        node: vtkMRMLScalarVolumeNode, int16.
        mask: bool [K, J, I], the ellipsoid.
        centre: its centre, voxel (I, J, K).
        ijk_to_world: float64 [4, 4], RAS mm, parent transform included.
    """

    node: Any
    mask: np.ndarray
    centre: tuple[int, int, int]
    ijk_to_world: np.ndarray

    def world(self, ijk: tuple[float, float, float]) -> np.ndarray:
        """Point of a voxel (I, J, K), RAS mm."""
        return (self.ijk_to_world @ [*ijk, 1.0])[:3]


def _need_slicer_core() -> None:
    if find_spec("slicer") is None or find_spec("vtk") is None:
        pytest.skip("slicer-core is not installed (it has wheels for some platforms and Python 3.10 to 3.13 only)")


def _checked(host: Any) -> Iterator[Any]:
    host.fresh()
    yield host
    report = host.errors.report()
    host.fresh()
    gc.collect()
    assert not report, f"errors in observers, slots or VTK:\n{report}"


@pytest.fixture
def slicer_host() -> Iterator[Any]:
    """The booted stand-in without Qt: ``qt`` and ``ctk`` can be imported and refuse every use."""
    _need_slicer_core()
    from standin.host import the_host

    yield from _checked(the_host().close_gui())


@pytest.fixture
def slicer_gui() -> Iterator[Any]:
    """The booted stand-in with Qt, drawn nowhere."""
    _need_slicer_core()
    if find_spec("PySide6") is None:
        pytest.skip("PySide6 is not installed")
    from standin.host import the_host

    host = the_host().open_gui()
    yield from _checked(host)
    host.close_gui()


@pytest.fixture
def rendering() -> None:
    """The test is skipped where VTK cannot draw."""
    _need_slicer_core()
    from standin.views import can_render

    if not can_render():
        pytest.skip("no OpenGL: neither EGL, OSMesa nor a display")


def ijk_to_ras(kind: str) -> np.ndarray:
    """Geometry of a kind of volume without its parent transform, float64 [4, 4]."""
    if kind not in VOLUME_KINDS:
        raise ValueError(f"unknown kind of volume {kind!r}; one of {VOLUME_KINDS}")
    direction = np.diag([-1.0, -1.0, 1.0])
    if kind.startswith("oblique"):
        a, b = np.deg2rad([25.0, 12.0])
        about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        direction = about_z @ about_x @ direction
    elif kind == "left_handed":
        direction = np.diag([-1.0, -1.0, -1.0])
    elif kind == "permuted":
        direction = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = direction @ np.diag([0.8, 0.9, 2.5])
    matrix[:3, 3] = [40.0, 30.0, -30.0]
    return matrix


def parent_matrix() -> np.ndarray:
    """A rigid transform with an odd rotation and shift, float64 [4, 4]."""
    a = np.deg2rad(-33.0)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    matrix[:3, 3] = [11.0, -7.0, 5.5]
    return matrix


def add_phantom(kind: str = "straight", shape: tuple[int, int, int] = (24, 80, 96), name: str = "CT") -> PhantomVolume:
    """Add a volume [K, J, I] with a bright ellipsoid in its middle to the scene."""
    import slicer

    centre = (shape[2] // 2, shape[1] // 2, shape[0] // 2)
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    radii = (shape[2] * 0.21, shape[1] * 0.19, shape[0] * 0.29)
    inside = ((i - centre[0]) / radii[0]) ** 2 + ((j - centre[1]) / radii[1]) ** 2 + ((k - centre[2]) / radii[2]) ** 2
    mask = inside < 1
    noise = np.random.default_rng(7).normal(0, 12, shape)
    voxels = (np.where(mask, 180.0, -20.0) + noise).astype(np.int16)
    matrix = ijk_to_ras(kind)
    node = slicer.util.addVolumeFromArray(voxels, ijkToRAS=matrix, name=name)
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(400, 80)
    if kind.endswith("transformed"):
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
        slicer.util.updateTransformMatrixFromArray(transform, parent_matrix())
        node.SetAndObserveTransformNodeID(transform.GetID())
        matrix = parent_matrix() @ matrix
    return PhantomVolume(node, mask, centre, matrix)


@pytest.fixture
def make_volume() -> Callable[..., PhantomVolume]:
    """``make_volume(kind="straight", shape=(24, 80, 96))``; use together with ``slicer_host`` or ``slicer_gui``."""
    return add_phantom


@pytest.fixture
def make_segmentation() -> Callable[..., tuple[Any, str]]:
    """``make_segmentation(volume_node, name="organ", node=None, with_transform=True)``: an empty segment, (node, id).

    The segmentation has the volume's reference geometry, and its parent transform unless ``with_transform`` is False
    (the application gives a new segmentation no transform).
    """

    def make(volume_node: Any, name: str = "organ", node: Any = None, with_transform: bool = True) -> tuple[Any, str]:
        import slicer

        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
            node.CreateDefaultDisplayNodes()
            if with_transform:
                # Before the reference geometry: it is kept in the segmentation's own frame, and saving resamples to it.
                node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
            node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        return node, node.GetSegmentation().AddEmptySegment("", name)

    return make


@pytest.fixture
def slice_view(rendering: None) -> Callable[..., Any]:
    """``slice_view(name="Red", orientation="Axial", size=(256, 256))``: an offscreen view known to the layout manager.

    Use after ``slicer_host`` or ``slicer_gui``, which close it.
    """

    def make(name: str = "Red", orientation: str = "Axial", size: tuple[int, int] = (256, 256)) -> Any:
        from standin.host import the_host
        from standin.views import SliceView

        host = the_host()
        return host.views.add_slice_view(SliceView(host, name, orientation, size))

    return make
