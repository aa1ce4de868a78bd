"""The decoder's blocks are those of segment-anything, and come without the rest of it."""

from __future__ import annotations

import inspect
import subprocess
import sys

import torch
from conftest import REPOSITORY
from SegmentAnythingMedLib.models.sam_blocks import decoder_blocks

CODE = """
import sys
from SegmentAnythingMedLib import load_model
load_model("built-in", device="cpu")
print([name for name in ("segment_anything", "torchvision", "torch._dynamo") if name in sys.modules])
import segment_anything
print(segment_anything.SamPredictor.__name__, segment_anything.modeling.MaskDecoder.__module__)
"""


def test_the_built_in_model_does_not_wait_for_torchvision() -> None:
    folder = REPOSITORY / "SegmentAnythingMed"
    ran = subprocess.run([sys.executable, "-c", CODE], cwd=folder, capture_output=True, text=True, check=False)
    expected = "[]\nSamPredictor segment_anything.modeling.mask_decoder"
    assert ran.stdout.strip() == expected, ran.stdout + ran.stderr


def test_they_are_the_packages_own() -> None:
    from segment_anything.modeling.mask_decoder import MLP
    from segment_anything.modeling.transformer import TwoWayTransformer

    ours = decoder_blocks()
    assert decoder_blocks() is ours
    for one, other in zip(ours, (MLP, TwoWayTransformer), strict=True):
        assert inspect.getsource(one) == inspect.getsource(other)
    image, prompt = torch.rand(1, 32, 4, 4), torch.rand(1, 3, 32)
    made = [
        blocks(depth=2, embedding_dim=32, num_heads=4, mlp_dim=64).eval() for blocks in (ours[1], TwoWayTransformer)
    ]
    made[1].load_state_dict(made[0].state_dict())
    first, second = (block(image, image, prompt) for block in made)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
