"""Settings of the prior-visit mode are checked when they are made."""

from __future__ import annotations

import json

import pytest
from SegmentAnythingMedLib.adaptive.visit_settings import VisitSettings
from SegmentAnythingMedLib.errors import InputError


def test_defaults_are_plain_values() -> None:
    assert json.loads(json.dumps(VisitSettings().to_json()))["search_mm"] == 20.0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"search_mm": 0}, "option.search_mm"),
        ({"search_mm": "far"}, "option.search_mm"),
        ({"presence": float("nan")}, "option.presence"),
        ({"references": 2.5}, "option.references"),
        ({"references": True}, "option.references"),
        ({"propagate": "yes"}, "option.propagate"),
        ({"trust": -1}, "option.trust"),
        ({"policy": {"cord": "magic"}}, "option.policy"),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict, code: str) -> None:
    with pytest.raises(InputError) as caught:
        VisitSettings(**change)
    assert caught.value.code == code


def test_a_policy_for_one_structure_goes_before_the_one_for_all() -> None:
    settings = VisitSettings(policy={"": "warped", "tumour": "segmented"})
    assert settings.policy_of("tumour") == "segmented"
    assert settings.policy_of("cord") == "warped"
    assert VisitSettings().policy_of("cord") == "segmented"
