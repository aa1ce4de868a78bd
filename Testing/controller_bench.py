"""A controller with a stub model on a phantom in a real MRML scene, and a gate that holds the worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from stub_model import StubModel

WINDOW = "80,100"
"""The phantom's ellipsoid becomes white in it, everything else black."""


class Gate:
    """Holds the worker's thread in the ``count``-th decode from now until it is opened."""

    def __init__(self, model: StubModel, count: int = 1) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self._at = model.decodes + count
        model.before_decode = self

    def __call__(self, count: int) -> None:
        if count == self._at:
            self.reached.set()
            assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


class Bench:
    """What a test of the controller needs.

    Attributes:
        controller, model: under test.
        heard: (event, data) in order.
        phantom: the volume with its true mask.
        segmentation, segment_id: where masks go.
    """

    def __init__(self, phantom: Any, segmentation: Any, segment_id: str) -> None:
        self.phantom, self.segmentation, self.segment_id = phantom, segmentation, segment_id
        self.model = StubModel()
        self.heard: list[tuple[str, Any]] = []
        self.controller = self.new_controller()

    def new_controller(self) -> Any:
        from SegmentAnythingMedLib.apps.slicer.controller import Controller
        from SegmentAnythingMedLib.apps.slicer.engine_host import EngineHost

        made = Controller(EngineHost(open_model=lambda name, device: self.model))
        made.listen(lambda event, data: self.heard.append((event, data)))
        made.window = WINDOW
        made.volume, made.segmentation, made.segment_id = self.phantom.node, self.segmentation, self.segment_id
        return made

    @property
    def centre(self) -> tuple[int, int, int]:
        return self.phantom.centre

    @property
    def middle(self) -> int:
        return self.phantom.centre[2]

    def of(self, event: str) -> list[Any]:
        return [data for name, data in self.heard if name == event]

    def add_segment(self, name: str = "second") -> str:
        return self.segmentation.GetSegmentation().AddEmptySegment("", name)

    def place(self, ijk: tuple[float, float, float], role: str = "positive", segment_id: str = "") -> Any:
        """Put a point there; the controller is not told."""
        from SegmentAnythingMedLib.apps.slicer.markups import prompt_node

        node = prompt_node(self.segmentation, segment_id or self.segment_id, self.phantom.node, role)
        node.AddControlPoint(*self.phantom.world(ijk))
        return node

    def prompt(self, k: int | None = None, role: str = "positive", offset: tuple[int, int] = (0, 0)) -> Any:
        """Put a point on slice ``k`` of the ellipsoid's axis and let the controller answer."""
        i, j, middle = self.centre
        node = self.place((i + offset[0], j + offset[1], middle if k is None else k), role)
        self.run()
        return node

    def run(self) -> None:
        self.controller.prompts_changed()
        self.finish()

    def finish(self) -> None:
        assert self.controller.wait(60)

    def propagate(self, **options: Any) -> None:
        self.controller.propagate(**options)
        self.finish()

    def poll_until(self, condition: Callable[[], bool]) -> None:
        """Poll as the panel's timer does."""
        for _ in range(3000):
            self.controller.poll()
            if condition():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it did not happen within 30 s")

    def mask(self, segment_id: str = "", phantom: Any = None) -> np.ndarray:
        from SegmentAnythingMedLib.apps.slicer.writing import read_segment

        return read_segment(self.segmentation, segment_id or self.segment_id, (phantom or self.phantom).node)

    def filled(self, segment_id: str = "") -> list[int]:
        """Slices with content."""
        return np.flatnonzero(self.mask(segment_id).any(axis=(1, 2))).tolist()

    def paint(self, k: int, mask: np.ndarray | None, segment_id: str = "") -> None:
        """The user's own painting: a slice becomes ``mask`` (None: a small square)."""
        import slicer

        if mask is None:
            mask = np.zeros(self.phantom.mask.shape[1:], dtype=bool)
            mask[5:15, 5:15] = True
        whole = self.mask(segment_id)
        whole[k] = mask
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            whole.astype(np.uint8), self.segmentation, segment_id or self.segment_id, self.phantom.node
        )


@pytest.fixture
def bench(slicer_host: Any, make_volume: Any, make_segmentation: Any) -> Iterator[Bench]:
    """A controller on a small oblique, transformed phantom."""
    phantom = make_volume("oblique_transformed", shape=(24, 64, 64))
    made = Bench(phantom, *make_segmentation(phantom.node))
    yield made
    made.model.before_decode = lambda count: None
    assert made.controller.close()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)
