"""The module's own test class runs on the bench as it would in Slicer, without Qt."""

from __future__ import annotations

import pytest
from panel_driver import MODULE

TESTS = (
    "test_console",
    "test_oblique_volume_under_a_transform",
    "test_other_segments_lose_nothing",
    "test_sample",
    "test_scene_is_saved_and_restored",
)


@pytest.fixture
def module(slicer_host):
    """The module, loaded without its panel."""
    from standin.module_loading import load_module, unload_module

    loaded = load_module(MODULE, slicer_host, gui=False)
    yield loaded
    unload_module(loaded, slicer_host)


@pytest.mark.parametrize("name", TESTS)
def test_self_test(module, name: str) -> None:
    case = module.file.SegmentAnythingMedTest()
    case.setUp()
    try:
        getattr(case, name)()
    finally:
        case.tearDown()


def test_reload_and_test_runs_all_of_them(module, monkeypatch) -> None:
    kind, ran = module.file.SegmentAnythingMedTest, []
    assert sorted(name for name in dir(kind) if name.startswith("test")) == sorted(TESTS)
    for name in TESTS:
        monkeypatch.setattr(kind, name, lambda self, name=name: ran.append(name))
    module.instance.runTest(msec=1)
    assert ran == sorted(TESTS)
