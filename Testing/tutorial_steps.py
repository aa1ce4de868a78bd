"""The steps of docs/tutorial-slicer.md, done on the bench: the test checks them, the screenshots show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from panel_driver import PanelDriver

SEED = 14
BOX = (122, 55, SEED), (188, 111, SEED)
BLADDER = 1


class Tutorial:
    """One run of the tutorial.

    Args:
        host: the booted stand-in with Qt.
        view: the slice view in which everything is done.

    Attributes:
        at: the module's panel, from step 2 on.
        volume: the sample.
    """

    def __init__(self, host: Any, view: Any) -> None:
        self.host, self.view = host, view
        self.at: PanelDriver | None = None
        self.volume: Any = None

    def load_sample(self) -> None:
        """Step 1: the CT that comes with the module."""
        import slicer
        from SegmentAnythingMedLib.apps.slicer.sample_data import NODE_NAME, SAMPLE

        self.volume = slicer.util.loadVolume(str(SAMPLE), {"name": NODE_NAME})
        display = self.volume.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevel(400, 40)

    def open_module(self) -> None:
        """Step 2: the volume is chosen already; the view shows the middle of the bladder."""
        self.at = PanelDriver(self.host, self.view)
        self.at.show(self.volume, (155, 83, SEED))

    def draw_box(self) -> None:
        """Step 3: a box around the bladder; its mask appears."""
        self.at.press("boxButton")
        self.at.drag(*BOX)
        self.at.wait()

    def name_segment(self, name: str = "bladder") -> None:
        """Step 3, too: double-click on the name in the table of segments."""
        parameters = self.at.parameters
        parameters.segmentation.GetSegmentation().GetSegment(parameters.segmentID).SetName(name)

    def correct(self, reference: np.ndarray) -> tuple[int, int, int]:
        """Step 4: a point outside where the mask is too large, or inside where it is too small; returns where."""
        mask, true = self.at.mask()[SEED], reference[SEED]
        too_large, too_small = mask & ~true, true & ~mask
        outside = too_large.sum() >= too_small.sum()
        rows, columns = np.nonzero(too_large if outside else too_small)
        nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
        voxel = int(columns[nearest]), int(rows[nearest]), SEED
        self.at.press("negativeButton" if outside else "positiveButton")
        self.at.click(voxel)
        self.at.wait()
        self.at.panel.actions.escape()
        return voxel

    def propagate(self) -> None:
        """Step 5: through the slices, up and down."""
        self.at.press("propagateButton")
        self.at.wait()

    def next_doubtful(self) -> int:
        """Step 6: the next slice that deserves a look; returns it."""
        self.at.press("nextDoubtfulButton")
        self.view.window.Render()
        return self.at.panel.shown_slice()

    def reprompt(self, reference: np.ndarray) -> int:
        """Step 7: a box of its own for the most doubtful slice on which the bladder is; returns the slice."""
        table = self.at.table()
        doubtful = [index for index, row in table.items() if row[-1] != "fine" and reference[index].any()]
        index = max(doubtful, key=lambda n: abs(n - SEED)) if doubtful else max(table)
        self.at.panel.propagation.table.select(index)
        self.at.press("repromptButton")
        rows, columns = np.nonzero(reference[index] if reference[index].any() else reference[SEED])
        self.at.press("boxButton")
        self.at.drag((columns.min() - 1, rows.min() - 1, index), (columns.max() + 1, rows.max() + 1, index))
        self.at.wait()
        self.at.press("propagateButton")
        self.at.wait()
        return index

    def accept(self) -> None:
        """Step 8: looked at and taken."""
        self.at.panel.actions.escape()
        self.at.press("acceptButton")

    def save_and_reload(self, path: Path) -> None:
        """Step 9: save the scene, close it, open it again."""
        import slicer

        assert slicer.util.saveScene(str(path))
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(path))
        self.volume = self.at.parameters.inputVolume
        self.at.wait()

    def close(self) -> None:
        """Leave the module."""
        if self.at is not None:
            self.at.close()
