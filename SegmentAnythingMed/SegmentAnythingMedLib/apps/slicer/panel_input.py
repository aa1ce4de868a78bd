"""Panel, section Input: volume, segmentation, segment, model and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ...models.catalog import BUILT_IN, list_models
from .new_segments import add_segment, new_segmentation
from .parameters import ModuleParameters

FROM_FILE = "from file"
DEVICES = ("auto", "cpu", "cuda")


class InputPart(VTKObservationMixin):
    """Shows and changes what is segmented, where it goes and by which model.

    Args:
        ui: widgets by name.
        changed: called after the user chose something here that the parameter node does not tell by itself.
    """

    def __init__(self, ui: Any, changed: Callable[[], None]) -> None:
        super().__init__()
        self.ui, self._changed = ui, changed
        self._parameters: ModuleParameters | None = None
        self._showing = False
        self._fill()
        ui.segmentsTable.selectionMode = qt.QAbstractItemView.SingleSelection
        ui.segmentsTable.connect("selectionChanged(QItemSelection,QItemSelection)", self._segment_chosen)
        ui.addSegmentButton.connect("clicked()", self._add_segment_clicked)
        ui.modelSelector.connect("currentIndexChanged(int)", self._model_chosen)
        ui.modelPath.connect("currentPathChanged(QString)", self._path_chosen)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._device_chosen)

    def show(self, parameters: ModuleParameters | None) -> None:
        """Show the state of a parameter node; None: of no scene."""
        self._parameters = parameters
        self._showing = True
        try:
            self._show_segments()
            self._show_model()
        finally:
            self._showing = False

    def close(self) -> None:
        """Let go of the scene."""
        self._parameters = None
        self.removeObservers()

    def need_segment(self) -> tuple[Any, str]:
        """The current segmentation and segment; made when there is none.

        Returns:
            vtkMRMLSegmentationNode, segment ID.
        """
        parameters = self._parameters
        if parameters.segmentation is None:
            parameters.segmentation = new_segmentation(parameters.inputVolume)
        if parameters.segmentation.GetSegmentation().GetSegment(parameters.segmentID) is None:
            parameters.segmentID = add_segment(parameters.segmentation)
        return parameters.segmentation, parameters.segmentID

    def refill(self) -> None:
        """Models were fetched, imported or removed: list them anew."""
        self._showing = True
        try:
            self.ui.modelSelector.clear()
            for entry in list_models():
                words = entry.name if entry.available else _("{model} (not downloaded)").format(model=entry.name)
                self.ui.modelSelector.addItem(words, entry.name)
            self.ui.modelSelector.addItem(_("From a file"), FROM_FILE)
        finally:
            self._showing = False

    def _fill(self) -> None:
        self.refill()
        for name, words in zip(DEVICES, (_("Automatic"), _("Processor (CPU)"), _("Graphics card (CUDA)")), strict=True):
            self.ui.deviceSelector.addItem(words, name)

    def _show_segments(self) -> None:
        parameters, table = self._parameters, self.ui.segmentsTable
        node = parameters.segmentation if parameters else None
        if table.segmentationNode() is not node:
            self.removeObservers(self._segments_modified)
            table.setSegmentationNode(node)
            if node is not None:
                for event in (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved):
                    self.addObserver(node.GetSegmentation(), event, self._segments_modified)
        self.ui.addSegmentButton.enabled = bool(parameters and parameters.inputVolume)
        if node is not None:
            self._keep_valid_segment()
            wanted = [parameters.segmentID] if parameters.segmentID else []
            if list(table.selectedSegmentIDs()) != wanted:
                table.setSelectedSegmentIDs(wanted)

    def _keep_valid_segment(self) -> None:
        """The chosen segment may be gone, or belong to the segmentation before."""
        segmentation = self._parameters.segmentation.GetSegmentation()
        if segmentation.GetSegment(self._parameters.segmentID) is None:
            first = segmentation.GetNthSegmentID(0) if segmentation.GetNumberOfSegments() else ""
            self._parameters.segmentID = first

    def _show_model(self) -> None:
        model = self._parameters.model if self._parameters else BUILT_IN
        names = [entry.name for entry in list_models()]
        from_file = model not in names
        self.ui.modelSelector.currentIndex = len(names) if from_file else names.index(model)
        self.ui.modelPath.visible = from_file
        if from_file and self.ui.modelPath.currentPath != model:
            self.ui.modelPath.currentPath = model
        self.ui.modelNote.text = _("Checkpoint file of the SAM family.") if from_file else model_note(model)
        device = self._parameters.device if self._parameters else DEVICES[0]
        if device not in DEVICES and self.ui.deviceSelector.findData(device) < 0:
            self.ui.deviceSelector.addItem(device, device)
        self.ui.deviceSelector.currentIndex = self.ui.deviceSelector.findData(device)

    def _segments_modified(self, *_arguments: object) -> None:
        self.show(self._parameters)
        self._changed()

    def _segment_chosen(self, *_arguments: object) -> None:
        if self._showing or self._parameters is None:
            return
        chosen = self.ui.segmentsTable.selectedSegmentIDs()
        if chosen and chosen[0] != self._parameters.segmentID:
            self._parameters.segmentID = chosen[0]

    def _add_segment_clicked(self) -> None:
        parameters = self._parameters
        if parameters.segmentation is None:
            parameters.segmentation = new_segmentation(parameters.inputVolume)
        parameters.segmentID = add_segment(parameters.segmentation)

    def _model_chosen(self, index: int) -> None:
        if self._showing or self._parameters is None:
            return
        name = self.ui.modelSelector.itemData(index)
        self._parameters.model = self.ui.modelPath.currentPath if name == FROM_FILE else name

    def _path_chosen(self, path: str) -> None:
        if not self._showing and self._parameters is not None and path:
            self._parameters.model = path

    def _device_chosen(self, index: int) -> None:
        if not self._showing and self._parameters is not None:
            self._parameters.device = self.ui.deviceSelector.itemData(index)


def model_note(name: str) -> str:
    """What one must know of a model of the catalogue: description, licence, where its file goes."""
    entry = next(entry for entry in list_models() if entry.name == name)
    licence = _("unknown licence") if entry.licence == "unknown" else entry.licence
    words = _("{description} Licence of the weights: {licence}.")
    note = words.format(description=entry.description, licence=licence)
    if entry.available:
        return note
    return note + " " + _("It is not on this computer: download or import it in the section Models.")
