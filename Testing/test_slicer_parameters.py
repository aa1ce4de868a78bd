"""The parameter node: its defaults are the library's, and what it shows becomes settings."""

from __future__ import annotations

import pytest
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.propagation.settings import PropagationSettings


@pytest.fixture
def parameters(slicer_host):
    import slicer
    from SegmentAnythingMedLib.apps.slicer.parameters import ModuleParameters

    return ModuleParameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


def test_defaults_are_those_of_the_library(parameters) -> None:
    from SegmentAnythingMedLib.apps.slicer.parameters import propagation_settings

    assert propagation_settings(parameters) == PropagationSettings()


def test_settings_go_there_and_back(parameters) -> None:
    from SegmentAnythingMedLib.apps.slicer.parameters import propagation_settings, show_settings

    changed = PropagationSettings(
        iou_threshold=0.7, area_ratio=3.0, predicted_iou_threshold=0.2, confidence_drop=0.1, depth_doubt=0.0,
        appearance=0.4, patience=3,
    )  # fmt: skip
    modified = []
    parameters.AddObserver("ModifiedEvent", lambda *_: modified.append(1))
    show_settings(parameters, changed)
    assert propagation_settings(parameters) == changed
    assert len(modified) == 1
    show_settings(parameters, PropagationSettings.strict())
    assert propagation_settings(parameters) == PropagationSettings.strict()


def test_limits(parameters) -> None:
    from SegmentAnythingMedLib.apps.slicer.parameters import propagation_settings

    parameters.lowerLimit, parameters.upperLimit = 3, 9
    assert propagation_settings(parameters).limits is None
    parameters.limited = True
    assert propagation_settings(parameters).limits == (3, 9)
    parameters.upperLimit = 2
    with pytest.raises(InputError, match="LO <= HI"):
        propagation_settings(parameters)
