"""Several prompts on a slice at once: the same answers as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from SegmentAnythingMedLib import load_model
from SegmentAnythingMedLib.errors import PromptError
from SegmentAnythingMedLib.models.interface import ModelInfo
from SegmentAnythingMedLib.models.sam import SamModel
from SegmentAnythingMedLib.prompts.types import SlicePrompts
from tiny_sam import stock_sam

SHAPE = (90, 110)


def models():
    yield load_model("built-in", device="cpu")
    yield SamModel(stock_sam(), ModelInfo("tiny", "sam", "t", "cd" * 32, "tiny.pth", "MIT"))


def features_of(model):
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disc = (rows - 40) ** 2 + (cols - 50) ** 2 < 20**2
    picture = (0.3 + 0.4 * disc + np.random.default_rng(0).normal(0, 0.03, SHAPE)).astype(np.float32)
    return model.encode([picture], [model.frame(SHAPE, (1.0, 1.0))])[0], disc


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.info.name)
def test_together_is_as_one_by_one(model):
    features, disc = features_of(model)
    known = model.reference(features, disc) if model.uses_references else None
    references = () if known is None else (known,)
    one, two = np.array([(50.0, 40.0)]), np.array([(45.0, 35.0), (90.0, 70.0)])
    last = np.random.default_rng(1).normal(size=(model.low_res_size,) * 2).astype(np.float32)
    asked = [
        (SlicePrompts(one, np.array([1])), None),
        (SlicePrompts(two, np.array([1, 0])), None),
        (SlicePrompts(box=(28.0, 18.0, 72.0, 62.0)), None),
        (SlicePrompts(one + 4, np.array([1])), None),
        (SlicePrompts(one, np.array([1])), last),
        (SlicePrompts(two, np.array([1, 0]), box=(28.0, 18.0, 72.0, 62.0)), last),
        (SlicePrompts(box=(28.0, 18.0, 72.0, 62.0), mask=disc), None),
        (SlicePrompts(one, np.array([1]), references=references), None),
    ]
    together = model.decode_many(
        features, [prompts for prompts, _ in asked], mask_inputs=[low_res for _, low_res in asked]
    )
    for (prompts, low_res), answer in zip(asked, together, strict=True):
        alone = model.decode(features, prompts, mask_input=low_res)
        assert answer.logits.shape == (1, *SHAPE)
        assert np.allclose(answer.logits, alone.logits, atol=1e-3)
        assert np.allclose(answer.low_res_logits, alone.low_res_logits, atol=1e-3)
        assert np.allclose(answer.predicted_iou, alone.predicted_iou, atol=1e-4)


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.info.name)
def test_one_empty_prompt_among_several_is_refused(model):
    features, _ = features_of(model)
    with pytest.raises(PromptError) as caught:
        model.decode_many(features, [SlicePrompts(np.array([(5.0, 5.0)]), np.array([1])), SlicePrompts()])
    assert caught.value.code == "prompt.empty"
    assert model.decode_many(features, []) == []
