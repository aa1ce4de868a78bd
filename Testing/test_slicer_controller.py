"""The controller on real MRML: prompts to masks, propagation, undo, review."""

from __future__ import annotations

import numpy as np
import pytest
from stub_model import StubModel

pytest.importorskip("slicer")


class Recorder:
    """Listener that keeps everything."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []

    def __call__(self, event, data) -> None:
        self.heard.append((event, data))

    def of(self, event) -> list:
        return [data for name, data in self.heard if name == event]


class Bench:
    """A controller with a stub model on a phantom in the scene."""

    def __init__(self, volume, segmentation, segment_id) -> None:
        from SegmentAnythingMedLib.apps.slicer.controller import Controller
        from SegmentAnythingMedLib.apps.slicer.engine_host import EngineHost

        self.model = StubModel()
        self.controller = Controller(EngineHost(open_model=lambda name, device: self.model))
        self.heard = Recorder()
        self.controller.listen(self.heard)
        self.controller.window = "80,100"
        self.volume, self.segmentation, self.segment_id = volume, segmentation, segment_id
        self.controller.volume, self.controller.segmentation = volume.node, segmentation
        self.controller.segment_id = segment_id

    def place(self, *ijk, role="positive", segment_id=None):
        from SegmentAnythingMedLib.apps.slicer.markups import prompt_node

        node = prompt_node(self.segmentation, segment_id or self.segment_id, self.volume.node, role)
        return node, node.AddControlPoint(*self.volume.world(ijk))

    def prompt(self, *ijk, role="positive"):
        placed = self.place(*ijk, role=role)
        self.run()
        return placed

    def run(self):
        self.controller.prompts_changed()
        assert self.controller.wait(30)

    def mask(self, segment_id=None):
        from SegmentAnythingMedLib.apps.slicer.writing import read_segment

        return read_segment(self.segmentation, segment_id or self.segment_id, self.volume.node)


@pytest.fixture
def bench(slicer_host, make_volume, make_segmentation):
    volume = make_volume("oblique_transformed", shape=(24, 64, 64))
    made = Bench(volume, *make_segmentation(volume.node))
    yield made
    assert made.controller.close()


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)


def test_a_point_becomes_the_mask_of_its_slice(bench):
    i, j, k = bench.volume.centre
    bench.prompt(i, j, k)
    mask = bench.mask()
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [k]
    assert dice(mask[k], bench.volume.mask[k]) > 0.95
    written = bench.heard.of("slice_result")[-1]
    assert (written.slices, written.axis, written.segment_id) == ((k,), "k", bench.segment_id)
    assert bench.controller.records[k].reason == "seed"
    assert bench.heard.of("busy") == [True, False]
    assert bench.heard.of("error") == []
