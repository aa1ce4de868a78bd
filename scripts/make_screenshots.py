"""Pictures of the 3D Slicer module for README and tutorial, taken on the test bench: python scripts/make_screenshots.py

The panel is drawn by Qt with stand-ins for Slicer's own widgets, the slice views by Slicer's real MRML libraries; in
Slicer the panel looks like the rest of the application. Needs slicer-core, PySide6 and OpenGL.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PANEL_WIDTH = 460
INPUT, PROMPTS, RESULT = "inputSection", "promptsSection", "resultSection"
PROPAGATION, SETTINGS, KEYS = "propagationSection", "settingsSection", "shortcutsSection"
VISIT, MODELS = "visitSection", "modelsSection"
SECTIONS = (INPUT, PROMPTS, RESULT, PROPAGATION, SETTINGS, VISIT, MODELS, KEYS)

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow" if os.name == "posix" else "")
sys.path[:0] = [str(REPOSITORY / "Testing"), str(REPOSITORY / "SegmentAnythingMed")]


class Camera:
    """Takes pictures of panel and slice view side by side.

    Args:
        tutorial: whose module is photographed.
        folder: where the pictures go.
    """

    def __init__(self, tutorial: Any, folder: Path) -> None:
        self.tutorial, self.folder = tutorial, folder
        folder.mkdir(parents=True, exist_ok=True)

    def shoot(self, name: str, sections: tuple[str, ...], *, view: bool = True) -> None:
        """Write ``name.png``: the panel with some sections open, beside the slice view."""
        from PIL import Image

        panel = self._panel(sections)
        parts = [panel]
        if view:
            parts.append(Image.fromarray(self.tutorial.view.array()))
        height = max(part.height for part in parts)
        whole = Image.new("RGB", (sum(part.width for part in parts) + 8 * (len(parts) - 1), height), (239, 239, 239))
        x = 0
        for part in parts:
            whole.paste(part, (x, 0))
            x += part.width + 8
        path = self.folder / f"{name}.png"
        whole.quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path.relative_to(REPOSITORY)}: {whole.width} x {whole.height}, {path.stat().st_size // 1024} KB")

    def _panel(self, sections: tuple[str, ...]) -> Any:
        from PIL import Image
        from standin.qt_gui import GUI

        at = self.tutorial.at
        for section in SECTIONS:
            getattr(at.ui, section).collapsed = section not in sections
        holder = at.widget.parent
        holder.show()
        GUI.pump(30)
        # As high as it must be with its wrapped texts, as in the scroll area of the application.
        holder.resize(PANEL_WIDTH, holder.heightForWidth(PANEL_WIDTH))
        GUI.pump(30)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "panel.png"
            at.picture(path)
            return Image.open(path).convert("RGB")


def take_all(folder: Path) -> None:
    """Go through the tutorial and take a picture of every step that shows something new."""
    from conftest import SAMPLE
    from SegmentAnythingMedLib import load_volume
    from standin.host import the_host
    from standin.views import SliceView
    from tutorial_steps import BLADDER, Tutorial

    host = the_host().open_gui().fresh()
    view = host.views.add_slice_view(SliceView(host, "Red", "Axial", (640, 480)))
    reference = load_volume(SAMPLE / "labels.nii.gz").voxels == BLADDER
    tutorial = Tutorial(host, view)
    tutorial.load_sample()
    tutorial.open_module()
    camera = Camera(tutorial, folder)
    camera.shoot("1-open", (INPUT, PROMPTS))
    tutorial.draw_box()
    tutorial.name_segment()
    camera.shoot("2-box", (INPUT, PROMPTS, RESULT))
    tutorial.correct(reference)
    camera.shoot("3-correct", (PROMPTS, RESULT))
    tutorial.propagate()
    tutorial.next_doubtful()
    camera.shoot("4-propagated", (RESULT, PROPAGATION))
    tutorial.reprompt(reference)
    camera.shoot("5-reprompted", (RESULT, PROPAGATION))
    tutorial.accept()
    camera.shoot("6-accepted", (INPUT, RESULT, PROPAGATION))
    camera.shoot("panel-settings", (SETTINGS, KEYS), view=False)
    select_model(tutorial.at, "medsam")
    camera.shoot("panel-models", (MODELS,), view=False)
    compare_visits(tutorial)
    camera.shoot("prior-visit", (VISIT,))
    tutorial.close()
    host.close_gui()


def select_model(at: Any, name: str) -> None:
    """Select a line of the list of models."""
    names = [row.entry.name for row in at.panel.models.rows]
    at.ui.modelsTable.setCurrentCell(names.index(name), 0)


def compare_visits(tutorial: Any) -> None:
    """Today's image is made from the sample, whose reference masks are the contours of the prior visit."""
    import slicer
    import vtk
    from conftest import SAMPLE
    from SegmentAnythingMedLib import load_volume
    from SegmentAnythingMedLib.apps.slicer.volumes import volume_from_node
    from SegmentAnythingMedLib.evaluation.known_truth import Change, make_follow_up
    from standin.qt_gui import GUI

    at, labels = tutorial.at, load_volume(SAMPLE / "labels.nii.gz").voxels
    masks = {name: labels == value for value, name in enumerate(("bladder", "left femur", "right femur"), start=1)}
    change = Change("smaller", deformation_mm=8.0, growth=0.7, noise=0.01)
    follow_up = make_follow_up(volume_from_node(tutorial.volume), masks, change)
    contours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Prior contours")
    contours.CreateDefaultDisplayNodes()
    contours.SetReferenceImageGeometryParameterFromVolumeNode(tutorial.volume)
    for name, mask in masks.items():
        segment_id = contours.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype("uint8"), contours, segment_id, tutorial.volume)
    matrix = vtk.vtkMatrix4x4()
    tutorial.volume.GetIJKToRASMatrix(matrix)
    today = slicer.util.addVolumeFromArray(follow_up.volume.voxels, name="Today")
    today.SetIJKToRASMatrix(matrix)
    today.GetDisplayNode().AutoWindowLevelOff()
    today.GetDisplayNode().SetWindowLevel(400, 40)
    at.parameters.segmentation.GetDisplayNode().SetVisibility(False)
    contours.GetDisplayNode().SetVisibility(False)
    at.parameters.inputVolume = today
    at.parameters.priorVolume, at.parameters.priorSegmentation = tutorial.volume, contours
    at.wait()
    for button in ("proposeButton", "segmentVisitButton"):
        at.press(button)
        GUI.pump_until(lambda: not at.controller.busy, 1200)  # registers both images
    at.show(today, (155, 83, 14))
    at.ui.visitTable.setCurrentCell(0, 0)
    at.panel.visit.refresh()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Pictures of the 3D Slicer module, taken on the test bench.")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Resources" / "Screenshots", help="folder")
    take_all(parser.parse_args().output.resolve())


if __name__ == "__main__":
    main()
