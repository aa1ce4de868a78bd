"""Settings of propagation with memory."""

from __future__ import annotations

import json
import math

import pytest
from SegmentAnythingMedLib.errors import InputError
from SegmentAnythingMedLib.propagation.memory_settings import MemorySettings
from SegmentAnythingMedLib.propagation.settings import PropagationSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("masks", "rough"),
        ("published", "sam3"),
        ("coupled", 1),
        ("conditioning_slices", -1),
        ("conditioning_slices", 1.5),
        ("conditioning_slices", "all"),
        ("object_score_threshold", math.nan),
        ("object_score_threshold", "high"),
        ("object_score_threshold", -1.0),
        ("patience", -1),
        ("iou_threshold", 2),
        ("as_published", True),
    ],
)
def test_bad_values_are_named(name, value):
    with pytest.raises(InputError) as caught:
        MemorySettings(**{name: value})
    assert caught.value.code == f"option.{name}"
    assert name in caught.value.message or name == "as_published"


def test_published_rules_know_no_limits():
    with pytest.raises(InputError) as caught:
        MemorySettings.as_sam2(limits=(1, 2))
    assert caught.value.code == "option.limits"


def test_wishes_of_the_other_engine_are_taken_over_but_not_its_defaults():
    settings = MemorySettings.of(PropagationSettings(iou_threshold=0.7, limits=(2, 9)))
    assert (settings.iou_threshold, settings.limits, settings.patience) == (0.7, (2, 9), 2)
    assert MemorySettings.of(PropagationSettings.strict()).patience == 0
    assert MemorySettings.of(PropagationSettings()) == MemorySettings()
    own = MemorySettings(coupled=True)
    assert MemorySettings.of(own) is own


def test_they_are_plain_values_for_a_report():
    values = json.loads(json.dumps(MemorySettings.as_medsam2().to_json()))
    assert (values["published"], values["masks"], values["conditioning_slices"]) == ("medsam2", "verbatim", 4)
