"""A person at the module's panel: presses its buttons and keys, clicks and drags in real slice views, waits, reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from conftest import REPOSITORY

MODULE = REPOSITORY / "SegmentAnythingMed" / "SegmentAnythingMed.py"
PATIENCE_S = 120.0


class PanelDriver:
    """The module, opened on the bench.

    Args:
        host: the booted stand-in with Qt.
        view: a slice view that is known to the layout, or None.

    Attributes:
        loaded: what loading the module made. widget, ui, panel, controller: of the module.
    """

    def __init__(self, host: Any, view: Any = None) -> None:
        from standin.module_loading import load_module

        self.host, self.view = host, view
        self.loaded = load_module(MODULE, host)
        self.widget = self.loaded.widget
        self.ui, self.panel = self.widget.ui, self.widget.panel

    @property
    def controller(self) -> Any:
        """Of the panel."""
        return self.panel.controller

    @property
    def parameters(self) -> Any:
        """Of the scene that is open."""
        return self.widget._parameterNode

    def close(self) -> None:
        """Leave the module and clean up; nothing may be left behind."""
        from standin.module_loading import unload_module

        unload_module(self.loaded, self.host)

    # ---- hands ----

    def press(self, name: str) -> None:
        """Press an enabled button of the panel."""
        button = getattr(self.ui, name)
        assert button.enabled, f"{name} is not enabled"
        button.click()

    def key(self, sequence: str, owner: Any) -> None:
        """Press a key while a window has the focus."""
        from standin.qt_gui import GUI

        GUI.press(owner, sequence)

    def show(self, volume: Any, ijk: tuple[float, float, float]) -> None:
        """Turn the view to a voxel of a volume."""
        self.view.show(volume)
        self.view.look_at(self.world(volume, ijk))
        self.view.window.Render()

    def click(self, ijk: tuple[float, float, float], volume: Any = None) -> None:
        """Click on a voxel in the view; the view must show its slice."""
        self.view.window.Render()
        self.view.click(*self.pixel(ijk, volume))

    def drag(self, *corners: tuple[float, float, float]) -> None:
        """Press on the first voxel, move over the others, release on the last."""
        pixels = [self.pixel(ijk) for ijk in corners]
        self.view.mouse("move", *pixels[0])
        self.view.mouse("press", *pixels[0])
        for x, y in pixels[1:]:
            self.view.mouse("move", x, y)
        self.view.mouse("release", *pixels[-1])

    def wait(self) -> None:
        """Let the module work until nothing is left to do."""
        from standin.qt_gui import GUI

        GUI.pump(40)
        GUI.pump_until(lambda: not self.controller.busy, PATIENCE_S)

    # ---- eyes ----

    @property
    def status(self) -> str:
        """The status line."""
        return self.ui.statusLabel.text

    @property
    def problem(self) -> str:
        """What the panel says is wrong; empty when nothing is."""
        shown = not self.ui.errorLabel.isHidden()
        assert shown == bool(self.ui.errorLabel.text)
        return self.ui.errorLabel.text

    def mask(self, segment_id: str = "") -> np.ndarray:
        """A segment on the grid of the volume, bool [K, J, I]."""
        from SegmentAnythingMedLib.apps.slicer.reading import read_segment

        parameters = self.parameters
        return read_segment(parameters.segmentation, segment_id or parameters.segmentID, parameters.inputVolume)

    def table(self) -> dict[int, tuple[str, ...]]:
        """The list of slices as it is shown: slice -> texts of its other columns."""
        widget = self.ui.sliceTable
        rows = [[widget.item(row, column).text() for column in range(5)] for row in range(widget.rowCount)]
        return {int(texts[0]): tuple(texts[1:]) for texts in rows}

    def pixel(self, ijk: tuple[float, float, float], volume: Any = None) -> tuple[float, float]:
        """Where a voxel is in the view."""
        x, y, depth = self.view.ras_to_view(self.world(volume or self.parameters.inputVolume, ijk))
        assert abs(depth) < 3, "the view does not show this slice"
        return float(x), float(y)

    @staticmethod
    def world(volume: Any, ijk: tuple[float, float, float]) -> np.ndarray:
        """RAS mm of a voxel."""
        from SegmentAnythingMedLib.apps.slicer.geometry import ijk_to_world, map_points

        return map_points(ijk_to_world(volume), ijk)[0]

    def picture(self, path: Path) -> None:
        """A picture of the panel."""
        from standin.qt_gui import GUI

        GUI.picture(self.widget.parent, path)


def dice(found: np.ndarray, reference: np.ndarray) -> float:
    """Overlap of two masks, 0..1."""
    return 2 * np.count_nonzero(found & reference) / max(np.count_nonzero(found) + np.count_nonzero(reference), 1)
