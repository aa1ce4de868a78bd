"""What the panel remembers: one typed parameter node per scene, saved with the scene."""

# The wrapper reads the annotations of the class when it is made: they must be types, not strings.
from typing import Annotated, Any

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLTransformNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

_KEPT = "SegmentAnythingMedParameters"
_REFERENCES = ("inputVolume", "segmentation", "priorVolume", "priorSegmentation", "priorTransform")
DIRECTIONS = ("both", "up", "down")
AXES = ("auto", "k", "j", "i")
ALIGNMENTS = ("register", "same", "given")
VISIT_METHODS = ("p2sam", "registration")
ADJUSTABLE = {
    "iou_threshold": "iouThreshold",
    "area_ratio": "areaRatio",
    "predicted_iou_threshold": "predictedIouThreshold",
    "confidence_drop": "confidenceDrop",
    "depth_doubt": "depthDoubt",
    "appearance": "appearance",
    "patience": "patience",
}
"""Fields of ``PropagationSettings`` that the panel shows -> fields of :class:`ModuleParameters`."""


@parameterNodeWrapper
class ModuleParameters:
    """State of the panel.

    Attributes:
        inputVolume: what is segmented.
        segmentation: where masks go; None until the first segment is needed.
        segmentID: current segment; empty for none.
        model: name of the catalogue or path of a checkpoint file.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        axis: voxel axis of the slices, or ``auto``.
        live: a prompt is answered at once.
        displayWindow: the display's window and level are what the model is shown.
        overwritePainted: slices that the user changed by hand may be written over.
        direction: of a propagation.
        limited, lowerLimit, upperLimit: first and last slice a propagation may touch, inclusive.
        doubtfulFirst: order of the slice table.
        priorVolume, priorSegmentation: the earlier visit.
        alignment: how the visits lie to each other; ``priorTransform`` for ``given``.
        visitMethod: how structures are looked for.
        iouThreshold ... patience: see ``PropagationSettings``.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segmentID: str = ""
    model: str = "built-in"
    device: str = "auto"
    axis: Annotated[str, Choice(list(AXES))] = "auto"
    live: bool = True
    displayWindow: bool = False
    overwritePainted: bool = False
    direction: Annotated[str, Choice(list(DIRECTIONS))] = "both"
    limited: bool = False
    lowerLimit: Annotated[int, WithinRange(0, 99999)] = 0
    upperLimit: Annotated[int, WithinRange(0, 99999)] = 0
    doubtfulFirst: bool = False
    iouThreshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    areaRatio: Annotated[float, WithinRange(1.0, 20.0)] = 2.0
    predictedIouThreshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    confidenceDrop: Annotated[float, WithinRange(0.0, 1.0)] = 0.3
    depthDoubt: Annotated[float, WithinRange(0.0, 1.0)] = 0.1
    appearance: Annotated[float, WithinRange(0.0, 1.0)] = 0.3
    patience: Annotated[int, WithinRange(0, 20)] = 1
    priorVolume: vtkMRMLScalarVolumeNode
    priorSegmentation: vtkMRMLSegmentationNode
    priorTransform: vtkMRMLTransformNode
    alignment: Annotated[str, Choice(list(ALIGNMENTS))] = "register"
    visitMethod: Annotated[str, Choice(list(VISIT_METHODS))] = "p2sam"


def wrapped(node: Any) -> ModuleParameters:
    """The wrapper of a parameter node: one for as long as the application runs.

    A wrapper that is bound to a panel observes its node through a function that holds the wrapper. Once nothing else
    holds it, Python's garbage collector takes the function apart, but the node goes on calling it, and the application
    crashes. So no wrapper is ever let go, not even when the module is reloaded.
    """
    kept = getattr(slicer.modules, _KEPT, None)
    if kept is None:
        kept = []
        setattr(slicer.modules, _KEPT, kept)
    for parameters in kept:
        if type(parameters) is ModuleParameters and parameters.parameterNode is node:
            # References of a loaded scene are resolved without a word; the wrapper keeps what it read before.
            if any(getattr(parameters, name) is not node.GetNodeReference(name) for name in _REFERENCES):
                parameters.Modified()
            return parameters
    kept.append(ModuleParameters(node))
    return kept[-1]


def propagation_settings(parameters: ModuleParameters) -> Any:
    """``PropagationSettings`` of what the panel shows; what it does not show keeps the library's defaults.

    Raises:
        InputError: ``option.limits`` when the last slice comes before the first.
    """
    from ...propagation.settings import PropagationSettings

    limits = (parameters.lowerLimit, parameters.upperLimit) if parameters.limited else None
    shown = {field: getattr(parameters, name) for field, name in ADJUSTABLE.items()}
    return PropagationSettings(**shown, limits=limits)


def show_settings(parameters: ModuleParameters, settings: Any) -> None:
    """Put the adjustable values of a ``PropagationSettings`` into the parameter node, in one step."""
    was_modifying = parameters.StartModify()
    for field, name in ADJUSTABLE.items():
        setattr(parameters, name, getattr(settings, field))
    parameters.EndModify(was_modifying)


def connect_gui(parameters: ModuleParameters, ui: Any) -> int:
    """Bind the widgets that name a parameter in their property SlicerParameterName; the tag is for ``disconnectGui``.

    ``connectGui`` does the same, but returns no tag: what it binds stays bound to the widgets of a closed panel.
    """
    named = {widget.property("SlicerParameterName"): widget for widget in vars(ui).values()}
    return parameters.connectParametersToGui({name: widget for name, widget in named.items() if name})
