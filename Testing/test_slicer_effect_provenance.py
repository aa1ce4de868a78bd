"""The effect's record in the segment's tags is the one that the module's panel keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from effect_bench import WINDOW, bench, real_bench, stub

pytestmark = pytest.mark.usefixtures("rendering")
__all__ = ["bench", "real_bench", "stub"]


def known(here):
    from SegmentAnythingMedLib.apps.slicer.provenance import read_provenance

    return read_provenance(here.segmentation, here.segment)


def click(here, k_offset: int = 0) -> None:
    i, j, k = here.phantom.centre
    here.view.look_at(here.phantom.world((i, j, k + k_offset)))
    here.view.click(*here.pixel((i, j, k + k_offset)))
    here.answer()


def test_a_click_and_a_propagation_are_described(bench) -> None:
    from jsonschema import validate
    from SegmentAnythingMedLib.apps.slicer.prompt_nodes import segment_of, tag_of
    from SegmentAnythingMedLib.apps.slicer.provenance import SCHEMA_PATH, TAG

    here = bench("oblique_transformed")
    click(here)
    middle = here.phantom.centre[2]
    first = known(here)
    assert (first.status, first.axis, first.reasons()) == ("draft", "k", {middle: "seed"})
    assert first.model["name"]
    assert first.image["shape_kji"] == list(here.phantom.mask.shape)
    assert [prompt["type"] for prompt in first.prompts] == ["point"]
    assert first.settings is None
    here.effect.options.propagate_button.click()
    here.answer()
    last = known(here)
    assert len(last.reasons()) > 5
    assert last.settings["iou_threshold"] > 0
    assert last.ends["completed"]
    assert last.image["voxels_sha256"]
    segment = segment_of(here.segmentation, here.segment)
    validate(json.loads(tag_of(segment, TAG)), json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))
    assert tag_of(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    assert len(here.effect.session.slices) == 1


def test_the_module_goes_on_from_what_the_effect_wrote(bench) -> None:
    """The same fields as the panel writes; what the effect wrote is not taken for painted."""
    from SegmentAnythingMedLib.apps.slicer.controller import Controller
    from SegmentAnythingMedLib.apps.slicer.painted import painted_slices

    here = bench()
    click(here)
    here.effect.options.propagate_button.click()
    here.answer()
    of_effect = known(here)
    assert painted_slices(here.segmentation, here.segment, here.phantom.node, "k") == set()
    controller = Controller(here.effect.session._host)
    controller.volume, controller.segmentation, controller.segment_id = (
        here.phantom.node, here.segmentation, here.segment
    )  # fmt: skip
    controller.window = WINDOW
    assert set(controller.records) == set(of_effect.reasons())
    assert controller.status == "draft"
    controller.reject()
    assert not here.cells().any()
    controller.close()


def test_painted_slices_stay_painted(bench) -> None:
    import slicer
    from SegmentAnythingMedLib.apps.slicer.painted import painted_slices

    here = bench()
    cells = np.zeros(here.phantom.mask.shape, dtype=np.uint8)
    middle = here.phantom.centre[2]
    cells[middle, 3:9, 3:9] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(cells, here.segmentation, here.segment, here.phantom.node)
    click(here)
    assert here.cells()[middle, 3:9, 3:9].all()
    assert painted_slices(here.segmentation, here.segment, here.phantom.node, "k") == {middle}
    click(here, 2)
    assert painted_slices(here.segmentation, here.segment, here.phantom.node, "k") == {middle}


def test_undo_takes_the_record_back(bench) -> None:
    here = bench()
    click(here)
    here.editor.undo()
    assert known(here).reasons() == {}
