"""The Segment Editor effect in an editor of the stand-in, on a phantom in an offscreen view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from stub_model import StubModel

ANSWER_S = 60
WINDOW = "80,100"
"""The phantom's ellipsoid becomes white in it, everything else black."""


class Bench(NamedTuple):
    phantom: Any
    segmentation: Any
    segment: str
    view: Any
    editor: Any

    @property
    def effect(self) -> Any:
        return self.editor.effect.self()

    def cells(self) -> np.ndarray:
        import slicer

        array = slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, self.segment, self.phantom.node)
        return array > 0

    def pixel(self, ijk: tuple[float, float, float]) -> tuple[float, float]:
        x, y, _ = self.view.ras_to_view(self.phantom.world(ijk))
        return x, y

    def answer(self) -> None:
        """Wait for the worker, then let the effect write as its timer does."""
        session = self.effect.session
        while session.busy:
            assert session.wait(ANSWER_S)
            self.effect._poll()


@pytest.fixture
def stub(slicer_gui, monkeypatch: pytest.MonkeyPatch) -> StubModel:
    """A model that answers at once, in place of the built-in one."""
    from SegmentAnythingMedLib.apps.slicer import effect_session
    from SegmentAnythingMedLib.apps.slicer.engine_host import EngineHost

    model = StubModel()
    monkeypatch.setattr(effect_session, "EngineHost", lambda: EngineHost(open_model=lambda name, device: model))
    return model


@pytest.fixture
def real_bench(slicer_gui, make_volume, make_segmentation, slice_view) -> Iterator[Callable[..., Bench]]:
    from SegmentAnythingMedLib.apps.slicer.effect_registration import register_effect
    from standin.segment_editor import StandInSegmentEditor

    made = []

    def make(kind: str = "straight") -> Bench:
        phantom = make_volume(kind)
        segmentation, segment = make_segmentation(phantom.node)
        view = slice_view(size=(300, 300)).show(phantom.node)
        view.node.RotateToVolumePlane(phantom.node)
        view.logic.FitSliceToAll(300, 300)
        view.look_at(phantom.world(phantom.centre))
        register_effect()
        editor = StandInSegmentEditor(slicer_gui, segmentation, phantom.node, segment)
        editor.setActiveEffectByName("Segment Anything")
        made.append(editor)
        return Bench(phantom, segmentation, segment, view, editor)

    yield make
    for editor in made:
        editor.close()


@pytest.fixture
def bench(stub, real_bench) -> Callable[..., Bench]:
    def make(kind: str = "straight") -> Bench:
        here = real_bench(kind)
        here.effect.session.window = WINDOW
        return here

    return make


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)
