"""Slice and 3D views without a window: real displayable managers and interactor styles, pictures as arrays or PNG."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

if TYPE_CHECKING:
    from .core import CoreHost

if find_spec("triton") is not None:
    # PyTorch's compiler and Mesa's software renderer each carry an LLVM: loading the compiler's second crashes.
    import triton  # noqa: F401

SLICE_MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
)
PROBE = (
    "import vtk; w = vtk.vtkRenderWindow(); w.SetOffScreenRendering(1); w.AddRenderer(vtk.vtkRenderer()); w.Render();"
    " raise SystemExit(0 if w.GetSize() else 1)"
)


@cache
def can_render() -> bool:
    """Whether VTK can draw here. Asked in a child process: without any OpenGL, VTK crashes the process."""
    return subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=False, timeout=120).returncode == 0


class OffscreenView:
    """Window, renderer and interactor; the base of both kinds of view."""

    def __init__(self, host: CoreHost, size: tuple[int, int]) -> None:
        self.host = host
        self.size = size
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetShowWindow(False)
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()

    def array(self) -> np.ndarray:
        """The view as uint8 [rows, columns, 3], first row on top."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()

    def png(self, path: str | Path) -> np.ndarray:
        """Write the view to a PNG file and return it as an array."""
        from PIL import Image

        pixels = self.array()
        Image.fromarray(pixels).save(path)
        return pixels

    def mouse(self, kind: str, x: float, y: float, *, ctrl: bool = False, shift: bool = False) -> None:
        """One mouse event: ``move``, ``press``, ``release``, ``right_press`` or ``right_release``.

        ``x`` and ``y`` are pixels of the view from its lower left corner.
        """
        self.interactor.SetEventInformation(round(x), round(y), int(ctrl), int(shift), chr(0), 0, None)
        events = {
            "move": self.interactor.MouseMoveEvent,
            "press": self.interactor.LeftButtonPressEvent,
            "release": self.interactor.LeftButtonReleaseEvent,
            "right_press": self.interactor.RightButtonPressEvent,
            "right_release": self.interactor.RightButtonReleaseEvent,
        }
        events[kind]()

    def click(self, x: float, y: float, *, ctrl: bool = False, shift: bool = False) -> None:
        """Move to a pixel, press and release the left button there."""
        for kind in ("move", "press", "release"):
            self.mouse(kind, x, y, ctrl=ctrl, shift=shift)

    def key(self, symbol: str) -> None:
        """Press and release a key; ``symbol`` is VTK's name of it (``Escape``, ``a``)."""
        self.interactor.SetKeyEventInformation(0, 0, symbol[0] if len(symbol) == 1 else chr(0), 0, symbol)
        self.interactor.KeyPressEvent()
        self.interactor.KeyReleaseEvent()

    def _use_managers(self, factory: object, names: tuple[str, ...]) -> None:
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(factory, self.renderer)


class SliceView(OffscreenView):
    """A slice view.

    Attributes:
        node: vtkMRMLSliceNode. logic: vtkMRMLSliceLogic. group: its displayable managers.
    """

    def __init__(
        self, host: CoreHost, name: str = "Red", orientation: str = "Axial", size: tuple[int, int] = (512, 512)
    ) -> None:
        super().__init__(host, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.overlay = vtk.vtkRenderer()
        self.overlay.SetLayer(1)
        self.overlay.GetActiveCamera().ParallelProjectionOn()
        self.window.SetNumberOfLayers(2)
        self.window.SetAlphaBitPlanes(1)
        self.window.AddRenderer(self.overlay)
        self._use_managers(slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), SLICE_MANAGERS)
        self._add_logic(name, orientation)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.group)
        self.style.SetInteractor(self.interactor)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._add_image()
        self.group.SetMRMLDisplayableNode(self.node)

    def show(self, volume: object, *, fit: bool = True) -> SliceView:
        """Show a volume (None: nothing) in the background layer."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID() if volume else None)
        self.logic.ResizeSliceNode(*self.size)
        if fit:
            self.logic.FitSliceToAll(*self.size)
        self.mapper.SetInputConnection(self.logic.GetImageDataConnection())
        if not self.renderer.HasViewProp(self.actor):
            self.renderer.AddViewProp(self.actor)
        return self

    def look_at(self, ras: np.ndarray) -> SliceView:
        """Centre the view on a point, RAS mm."""
        self.node.JumpSliceByCentering(*ras)
        return self

    def ras_to_view(self, ras: np.ndarray) -> np.ndarray:
        """Pixel (x, y, distance from the slice) of a point in RAS mm."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        return np.array(inverse.MultiplyPoint([*ras, 1.0]))[:3]

    def view_to_ras(self, x: float, y: float) -> np.ndarray:
        """Point in RAS mm under a pixel."""
        return np.array(self.node.GetXYToRAS().MultiplyPoint([x, y, 0.0, 1.0]))[:3]

    def close(self) -> None:
        """Take the view out of the application."""
        self.group.SetMRMLDisplayableNode(None)
        self.style.SetInteractor(None)
        self.host.applogic.GetSliceLogics().RemoveItem(self.logic)
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(None)
        self.node.SetMappedInLayout(0)
        self.window.Finalize()

    def _add_logic(self, name: str, orientation: str) -> None:
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(self.host.applogic)
        self.logic.SetMRMLScene(self.host.scene)
        self.host.applogic.GetSliceLogics().AddItem(self.logic)
        # The node of a view that was closed stays in the scene; AddSliceNode would give one that is in no scene.
        self.node = self.host.scene.GetSingletonNode(name, "vtkMRMLSliceNode") or self.logic.AddSliceNode(name)
        self.logic.SetSliceNode(self.node)
        self.node.SetOrientation(orientation)
        self.node.SetMappedInLayout(1)

    def _add_image(self) -> None:
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(self.mapper)
        self.actor.GetProperty().SetDisplayLocationToBackground()


class ThreeDView(OffscreenView):
    """A 3D view; ``node`` is its vtkMRMLViewNode."""

    def __init__(self, host: CoreHost, name: str = "View1", size: tuple[int, int] = (512, 512)) -> None:
        super().__init__(host, size)
        self._use_managers(slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), THREE_D_MANAGERS)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(host.applogic)
        self.logic.SetMRMLScene(host.scene)
        host.applogic.GetViewLogics().AddItem(self.logic)
        self.node = self.logic.AddViewNode(name)
        self.node.SetMappedInLayout(1)
        self.style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self.style.SetDisplayableManagers(self.group)
        self.style.SetInteractor(self.interactor)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyle3D())
        self.group.SetMRMLDisplayableNode(self.node)

    def reset(self) -> ThreeDView:
        """Look at everything."""
        self.window.Render()
        self.renderer.ResetCamera()
        self.renderer.ResetCameraClippingRange()
        return self

    def close(self) -> None:
        """Take the view out of the application."""
        self.group.SetMRMLDisplayableNode(None)
        self.style.SetInteractor(None)
        self.host.applogic.GetViewLogics().RemoveItem(self.logic)
        self.node.SetMappedInLayout(0)
        self.window.Finalize()
